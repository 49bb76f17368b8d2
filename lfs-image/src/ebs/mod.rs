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
//! let uploaded = Upload::new(&aws, Settings::new().description("disk.img"))
//!     .journal("disk.img.push")
//!     .run(&Source::raw(&image), &mut ())?;
//! println!("{}", uploaded.snapshot_id);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: Amazon EBS User Guide, "EBS direct APIs"; the service model `ebs/2019-11-02`. Left out: incremental snapshots
//! (`ParentSnapshotId`, `ListChangedBlocks`).

mod client;
mod settings;
mod watch;

pub use client::{Aws, Connect};
pub use settings::{BLOCK, Encryption, Patience, Settings};
pub use watch::{Phase, Transfer, Watch};

use crate::error::Result;

/// The calls to EC2 that a transfer needs: EBS itself can neither tell the state of a snapshot nor delete it.
///
/// Both are called from the thread that started the transfer.
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

// The rest of the public surface, room by room:
//
// source.rs    Source::plan(&Image, &dyn ReadAt), Source::raw(&RawImage); .len() in bytes, .volume_gib(&Settings) -> Result<u64>,
//              .survey(&Settings) -> Result<Survey { blocks, volume_gib }> (reads no content),
//              .fingerprint(&Settings, &mut dyn Watch) -> Result<[u8; 32]> (reads and hashes all content; equal to
//              Uploaded::fingerprint of an upload of the same source)
// raw_image.rs RawImage::open(path) -> Result<RawImage>; .len(), .read_at(offset, buf), .disk() -> Option<&Disk>, .notes() (what was
//              found to be free, and why other parts are sent whole)
// upload.rs    Upload::new(&Aws, Settings).journal(path).identity(text).snapshots(&dyn Snapshots).run(&Source, &mut dyn Watch)
//                -> Result<Uploaded, Failure>
//              Uploaded { snapshot_id, volume_gib, blocks, bytes (sent in all runs), resent…, fingerprint: [u8; 32], digests: Digests,
//                journal: Option<PathBuf> }; .forget_journal() -> Result<()> once nothing is left to do with the snapshot
//                (until then the same command returns the same snapshot at once)
//              Failure { error: Error, left: Option<Leftover> }; Leftover { snapshot_id, region, resumable: bool }; .command() is the
//                `aws ec2 delete-snapshot …` that removes it
//              When run() returns Ok the service has accepted CompleteSnapshot; the snapshot may still be pending: wait for
//              `completed` before RegisterImage.
// verify.rs    verify(&Aws, snapshot_id, &Digests, Sample::{All, Blocks(n)}, &Patience, &mut dyn Watch) -> Result<Verified { blocks }>
// pull.rs      Pull::new(&Aws, snapshot_id, out_path).jobs(n).patience(p).run(&mut dyn Watch) -> Result<Pulled { path, len, blocks, .. }>
