//! Snapshots of EBS volumes through the EBS direct APIs: an image goes up block by block, and comes back.
//!
//! ```text
//!  plan, or raw file      caller's thread                runtime's threads
//!  ┌────────┐ data        ┌──────┐ blocks of 512 KiB     ┌─────────┐ SHA-256, PutSnapshotBlock
//!  │ Source ├────────────▶│ Feed ├──────────────────────▶│ Engine  ├──────────────────────────▶ service
//!  └────────┘ zeros       └──────┘ bounded channel       └────┬────┘ retries, pace, quota
//!             unallocated                                     │ acknowledged
//!                                                        ┌────▼────┐
//!                                                        │ Journal │ goes on after a kill
//!                                                        └─────────┘
//! ```
//!
//! A block is sent if any of its bytes is allocated, be they zeros or not: what is left out of a snapshot reads as noise
//! on an encrypted volume, so only space that nothing reads before writing it may be left out.
//!
//! The rest of the library is synchronous and knows no clock; here is the one place that needs both. An [`Aws`] owns the
//! runtime. Callers see plain functions that return when the work is done and that tell a [`Watch`] how far they are.
//!
//! # Examples
//!
//! ```no_run
//! use lfs_image::ebs::{Aws, Connect, RawImage, Settings, Source, Upload};
//!
//! let aws = Aws::connect(&Connect::new())?;
//! let image = RawImage::open("disk.img")?;
//! let settings = Settings::new().description("disk.img");
//! let uploaded = Upload::new(&aws, &settings)
//!     .journal("disk.img.push".as_ref())
//!     .run(&Source::raw(&image), &mut ())?;
//! println!("{}", uploaded.snapshot_id);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: Amazon EBS User Guide, "EBS direct APIs"; the service model `ebs/2019-11-02`. Left out: incremental snapshots
//! (`ParentSnapshotId`, `ListChangedBlocks`).

#![allow(
    clippy::disallowed_methods,
    reason = "retries, deadlines and rates are about time; no image depends on it"
)]

mod block;
mod client;
mod discreet;
mod engine;
mod fault;
mod feed;
mod journal;
mod pace;
mod pull;
mod raw_image;
mod reading;
mod refusal;
mod run;
mod sending;
mod settings;
mod source;
mod upload;
mod verify;
mod volume;
mod watch;
mod wire;

#[cfg(feature = "aws-sdk-ec2")]
pub(crate) use client::patient;
pub use client::{Aws, Connect};
pub use journal::unfinished;
pub use pull::{Pull, Pulled};
pub use raw_image::RawImage;
pub use refusal::Refusal;
pub use settings::{BLOCK, Encryption, Patience, Settings};
pub use source::{Source, Survey};
pub use upload::{Digests, Failure, Leftover, Upload, Uploaded};
pub use verify::{Sample, verify};
pub use watch::{Phase, Transfer, Watch};

use crate::error::Result;

/// The calls to EC2 that a transfer needs: EBS itself can neither tell the state of a snapshot nor delete it.
///
/// Both are called from the thread that started the transfer. The module `ami` has one, its `Registrar`, with an example.
pub trait Snapshots {
    /// The state of a snapshot; `None` where there is no such snapshot.
    ///
    /// # Errors
    ///
    /// When the service doesn't tell.
    fn state(&self, snapshot_id: &str) -> Result<Option<SnapshotState>>;

    /// Deletes a snapshot in whatever state. One that isn't there counts as deleted.
    ///
    /// # Errors
    ///
    /// When the service refuses.
    fn delete(&self, snapshot_id: &str) -> Result<()>;
}

/// How far the service is with a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SnapshotState {
    /// It takes blocks, or isn't ready yet.
    Pending,
    /// It can be read and registered.
    Completed,
    /// It was given up: nobody completed it in time.
    Error,
}
