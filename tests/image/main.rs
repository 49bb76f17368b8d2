//! The library from outside: one module for each subject.

mod merge;
