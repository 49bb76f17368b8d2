//! The records of ext4 as they lie on disk: one struct each, with the kernel's field names. No arithmetic here.
//!
//! Source: the kernel's `Documentation/filesystems/ext4/` and `fs/ext4/ext4.h`. Everything is little-endian, except
//! the journal's records, which are big-endian.

pub(crate) mod dir;
pub(crate) mod extent;
pub(crate) mod group;
pub(crate) mod inode;
pub(crate) mod journal;
pub(crate) mod orphan;
pub(crate) mod superblock;
pub(crate) mod xattr;
