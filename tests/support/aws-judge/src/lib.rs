//! A checking server for the EBS direct APIs and the EC2 calls around an AMI.
//!
//! It answers as the service models say (`ebs` 2019-11-02, `ec2` 2016-11-15, `sts` 2011-06-15, `ssm` 2014-11-06), verifies
//! signatures, checksums, states and parameter rules, and misbehaves by script. `README.md` beside this crate is its manual.
//!
//! ```text
//!   server ── head ── fault? ── body (hash, uplink) ── sigv4 ── ebs | ec2 | sts | ssm ── reply ── fault?
//!                                                                 └─ state: snapshots, images, counters, violations
//! ```
//!
//! Not here: pagination of DescribeImages, any other call of EC2, and billing.

mod answer;
mod config;
mod control;
mod ebs;
mod ec2;
mod faults;
mod form;
mod images;
mod judge;
mod parameters;
mod reading;
mod register;
mod reply;
mod report;
mod server;
mod sharing;
mod sigv4;
mod snapshots;
mod start;
mod state;
mod time;
mod tls;
mod volume;
mod xml;

pub use config::Config;
pub use judge::Judge;
pub use report::{
    BlockReport, ImageReport, LogEntry, OperationReport, ParameterReport, Report, SnapshotReport, Violation,
};
pub use tls::Tls;
pub use volume::View;

/// The size of a block in bytes, the only one the service knows.
pub const BLOCK_SIZE: usize = 524_288;
