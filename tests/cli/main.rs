//! The command from outside.

mod raw;

#[path = "../support/mod.rs"]
mod support;
