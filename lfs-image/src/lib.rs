//! Turns a root filesystem tarball into a bootable raw disk image: one process, no root, no loop devices, no
//! external programs.

#[cfg(feature = "ami")]
pub mod ami;
mod archive;
mod boot;
mod check;
mod configure;
#[cfg(feature = "ebs")]
pub mod ebs;
mod error;
mod ext4;
mod fat;
mod image;
mod progress;
mod raw;
mod sink;
mod table;
mod tree;

pub use archive::{Input, ReadOptions, Store, read_archives};
pub use check::{Finding, Severity, check_name, check_public};
pub use configure::{Fstab, HostSpec, OwnFile, Target};
pub use error::{Error, ErrorKind, Result};
pub use ext4::{Free, InodeCount, Journal};
pub use image::{
    Boot, Disk, DiskPartition, Filesystem, Firmware, GrubConfig, Image, ImageSpec, Partition, PartitionTable,
    Region, Role,
};
pub use progress::{Progress, Stage};
pub use raw::guid::Uuid;
pub use raw::sink::Sink;
pub use raw::store::{NoStore, Position, ReadAt};
pub use raw::time::Timestamp;
pub use sink::{DigestSink, FileSink, NullSink, StreamSink, Tally};
pub use tree::{
    Action, Change, Content, Device, Directory, Entry, EntryKind, Kind, Merge, Meta, Node, NodeId, Segment,
    Times, Tree, XattrSet, Xattrs,
};
