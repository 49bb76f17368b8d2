//! The library from outside: one module for each subject.

#![allow(unreachable_pub, dead_code)] // between modules of one test binary
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, speak, and look around"
)]

mod archive;
mod author;
mod handmade;
mod judge;
mod merge;
mod parsers;
mod second;
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod tarball;
mod world;
