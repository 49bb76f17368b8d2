//! From archive entries, in the order they come, to a tree.

use super::{Content, Device, Meta, NodeId, Tree};
use crate::error::Result;

/// One entry of an archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The path as the archive has it.
    pub path: Vec<u8>,
    /// Owner, permissions, times, attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: EntryKind,
}

/// What an [`Entry`] is.
#[derive(Clone, Debug)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// Another name for the inode at this path.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Applies archive entries to a tree.
#[derive(Debug)]
pub struct Merge {
    tree: Tree,
}

impl Merge {
    /// Starts with an existing tree, or [`Tree::new`].
    #[must_use]
    pub fn new(tree: Tree) -> Self {
        Self { tree }
    }

    /// Applies one entry.
    ///
    /// # Errors
    ///
    /// When the entry breaks a rule; the message names it.
    pub fn apply(&mut self, entry: Entry) -> Result<()> {
        let _ = (entry, NodeId::ROOT);
        Ok(())
    }

    /// The tree, once every entry was applied.
    ///
    /// # Errors
    ///
    /// When a hard link's target never came.
    pub fn finish(self) -> Result<Tree> {
        Ok(self.tree)
    }
}
