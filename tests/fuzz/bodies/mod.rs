//! What the fuzz targets do with their bytes, as plain functions: `targets/` gives them to cargo-fuzz, and an ordinary test
//! runs them over the corpus and over mutations of it.
//!
//! A body panics where something is wrong. An error of the library is right or wrong by the rules of the body; most input is bad,
//! and bad input has to be refused.

#![allow(dead_code, reason = "no target uses all of it")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a body may panic and look around")]

pub mod archive;
pub mod boot;
pub mod disk;
pub mod draw;
pub mod fsck;
pub mod memory;
pub mod mutate;
#[cfg(feature = "ebs")]
pub mod pull;
pub mod same;
pub mod tree;
