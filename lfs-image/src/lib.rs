//! Turns a root filesystem tarball into a bootable raw disk image: one process, no root, no loop devices, no
//! external programs.
//!
//! # The walk
//!
//! ```text
//! archives --read_archives--> Tree + Store --Image::plan--> Image --Image::write--> a Sink
//!                              ^   ImageSpec, HostSpec ^             ^ Progress
//!                              your own edits
//! ```
//!
//! One way, and no turning back: a [`Tree`] is all that is known of a root filesystem, wherever it came from; a planned [`Image`]
//! knows each offset before any content is read; writing goes from the first byte to the last, once. Each step can be looked at,
//! changed, or left out.
//!
//! ```no_run
//! use std::fs::File;
//!
//! use lfs_image::{FileSink, Image, ImageSpec, Input, ReadOptions, read_archives};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let input = Input::file("rootfs.tar.zst", File::open("rootfs.tar.zst")?);
//! let (tree, store) = read_archives([input], &ReadOptions::new("/var/tmp"), &mut ())?;
//! let image = Image::plan(tree, &store, &ImageSpec::new())?;
//! image.write(&store, FileSink::create("out.img")?, &mut ())?;
//! # Ok(())
//! # }
//! ```
//!
//! | to | start at |
//! |---|---|
//! | read tarballs | [`read_archives`], [`Input`], [`ReadOptions`]; module [`archive`] |
//! | build or edit a tree | [`Tree`]; module [`tree`] has its parts, and [`Merge`](tree::Merge) for entries from elsewhere |
//! | say what the disk is to be | [`ImageSpec`]; module [`host`] for what the tree becomes on it |
//! | look at a plan | [`Image`]: partitions, regions, edits, boot notes, warnings; module [`image`] |
//! | write it | [`FileSink`]; module [`sink`] has streams and digests, and [`Sink`](sink::Sink) for one's own |
//! | follow or end it | [`Progress`], [`Stage`] |
//! | see what a tree lacks, or must not make public | [`Image::check`]; module [`check`] |
//! | see what is on a disk that is there | [`Disk`](image::Disk) |
//! | hear what went wrong | [`Error`], [`ErrorKind`], [`Result`] |
//! | send it to AWS | modules `ebs` (snapshots) and `ami` (machine images), with the features of these names |
//!
//! Programs to start from are in the crate's `examples`. Types without an example are plain data, or appear in the example of the type
//! that they belong to.
//!
//! # What it doesn't do
//!
//! It never prints (what it has to say goes to `tracing`), and making an image reads no clock, no environment and no randomness: the same
//! tree and the same specification give the same bytes. Only the modules `ebs` and `ami` need them, for deadlines, tokens and the
//! configuration of AWS. It makes files only where it is told to. [`Error`] is its error, which says what and where (an upload's `ebs::Failure`
//! says also what is left behind); no input makes it panic. It has no `unsafe` of its own, and is for 64-bit hosts.
//!
//! # Features
//!
//! | feature | default | what it does |
//! |---|---|---|
//! | `gzip`, `xz`, `bzip2`, `zstd` | on | decompress, in pure Rust |
//! | `zstd-c` | off | zstd through the C library, several times faster; needs a C compiler |
//! | `ebs` | off | images to EBS snapshots and back; its TLS needs a C compiler |
//! | `ami` | off | snapshots to machine images; with it `ebs` |
//! | `aws-sdk-ec2` | off | the calls of `ami` through EC2's own SDK crate, which takes 7.5 GB to compile |
//!
//! # What stays
//!
//! Versions are semantic; before 1.0 a minor one may break something. Enums and structs that may grow are `non_exhaustive`. The bytes
//! of an image are part of the promise: a version that makes another image of the same input says so as of a breaking change. The
//! oldest Rust is 1.89; a newer one is asked for in a minor version only.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "ami")]
pub mod ami;
pub mod archive;
mod boot;
pub mod check;
mod configure;
#[cfg(feature = "ebs")]
pub mod ebs;
mod error;
mod ext4;
mod fat;
pub mod host;
pub mod image;
mod progress;
mod raw;
pub mod sink;
mod table;
pub mod tree;

pub use archive::{Input, ReadOptions, read_archives};
pub use error::{Error, ErrorKind, Result};
pub use image::{Image, ImageSpec};
pub use progress::{Progress, Stage};
pub use sink::FileSink;
pub use tree::Tree;
