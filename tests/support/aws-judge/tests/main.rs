//! The judge judged: by requests made by hand, by boto3, and by coldsnap.
//!
//! By hand means by this file's own few lines of HTTP over a socket: what no client library would send.

#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, reason = "a test may panic and speak")]

mod clients;
mod faults;
mod hand;
mod refusals;
