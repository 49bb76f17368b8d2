//! Turns a root filesystem tarball into a bootable raw disk image: one process, no root, no loop devices, no
//! external programs.

#![allow(dead_code)]

mod boot;
mod error;
mod raw;
mod tree;

pub use error::{Error, ErrorKind, Result};
pub use raw::guid::Uuid;
pub use raw::sink::Sink;
pub use raw::store::{NoStore, Position, ReadAt};
pub use raw::time::Timestamp;
pub use tree::{
    Content, Device, Directory, Entry, EntryKind, Kind, Merge, Meta, Node, NodeId, Segment, Times, Tree,
    XattrSet, Xattrs,
};
