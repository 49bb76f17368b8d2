//! Which inode gets which number: the tree in one fixed order.
//!
//! A directory's entries are numbered together, in byte order of their names, before anything below them: so what lies
//! together in the tree lies together in the inode tables. The root directory is inode 2, `lost+found` is 11, the others
//! follow from 12 on.

use super::records::inode::{EXT4_GOOD_OLD_FIRST_INO, EXT4_ROOT_INO};
use crate::error::{Error, Result};
use crate::tree::{Kind, Meta, NodeId, Tree};

/// The directory that e2fsck hangs recovered files into.
pub(crate) const LOST_FOUND: &[u8] = b"lost+found";

/// A dense number for tables of inodes: 0 is the root directory, 1 is `lost+found`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Slot(pub(crate) u32);

impl Slot {
    pub(crate) const ROOT: Self = Self(0);
    pub(crate) const LOST_FOUND: Self = Self(1);

    /// The inode number on disk.
    pub(crate) fn ino(self) -> u32 {
        match self {
            Self::ROOT => EXT4_ROOT_INO,
            Self(slot) => EXT4_GOOD_OLD_FIRST_INO - 1 + slot,
        }
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Every inode of a tree in the order of its number.
#[derive(Clone, Debug)]
pub(crate) struct Inodes {
    nodes: Vec<NodeId>,
    /// By [`NodeId::index`]; `u32::MAX` for those without a name.
    slots: Vec<u32>,
}

impl Inodes {
    /// Numbers a tree that has a `lost+found` ([`add_lost_found`]).
    pub(crate) fn number(tree: &Tree) -> Result<Self> {
        let mut inodes = Self {
            nodes: Vec::with_capacity(tree.node_table_len()),
            slots: vec![u32::MAX; tree.node_table_len()],
        };
        inodes.push(NodeId::ROOT)?;
        let lost_found = tree
            .node(NodeId::ROOT)
            .as_directory()
            .and_then(|root| root.get(LOST_FOUND))
            .ok_or_else(|| Error::internal("the tree has no lost+found"))?;
        inodes.push(lost_found)?;
        let mut todo = vec![NodeId::ROOT];
        while let Some(id) = todo.pop() {
            let Some(directory) = tree.node(id).as_directory() else { continue };
            let first_below = todo.len();
            for (_, child) in directory.iter() {
                if inodes.slots[child.index()] == u32::MAX {
                    inodes.push(child)?;
                }
                if tree.node(child).as_directory().is_some() {
                    todo.push(child);
                }
            }
            // The stack gives back what came last.
            todo[first_below..].reverse();
        }
        Ok(inodes)
    }

    fn push(&mut self, id: NodeId) -> Result<()> {
        let slot = u32::try_from(self.nodes.len())
            .ok()
            .filter(|slot| *slot < u32::MAX - EXT4_GOOD_OLD_FIRST_INO)
            .ok_or_else(|| Error::capacity("more inodes than ext4 can number"))?;
        self.slots[id.index()] = slot;
        self.nodes.push(id);
        Ok(())
    }

    /// How many there are, without the reserved ones.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node in a slot.
    pub(crate) fn node(&self, slot: Slot) -> NodeId {
        self.nodes[slot.index()]
    }

    /// The slot of a node that has a name.
    pub(crate) fn slot(&self, id: NodeId) -> Slot {
        Slot(self.slots[id.index()])
    }

    /// All slots with their nodes, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, NodeId)> + '_ {
        (0..).map(Slot).zip(self.nodes.iter().copied())
    }
}

/// Gives a tree its `lost+found`, as mke2fs makes it, where it has none.
pub(crate) fn add_lost_found(tree: &mut Tree, meta: Meta) -> Result<()> {
    let there = tree.node(NodeId::ROOT).as_directory().and_then(|root| root.get(LOST_FOUND));
    match there.map(|id| &tree.node(id).kind) {
        Some(Kind::Directory(_)) => Ok(()),
        Some(other) => Err(Error::input(format!(
            "`lost+found` is a {}: ext4 needs a directory of that name at its root",
            other.noun()
        ))),
        None => {
            tree.insert(NodeId::ROOT, LOST_FOUND, meta, Kind::Directory(crate::tree::Directory::default()))?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Directory, Timestamp};

    #[test]
    fn siblings_are_numbered_together() {
        let mut tree = Tree::new();
        let meta = || Meta::new(0o755, Timestamp::default());
        let file = || Kind::File(Content::empty());
        let usr = tree.insert(NodeId::ROOT, b"usr", meta(), Kind::Directory(Directory::default())).unwrap();
        let below = tree.insert(usr, b"sh", meta(), file()).unwrap();
        let bin = tree.insert(NodeId::ROOT, b"bin", meta(), Kind::Directory(Directory::default())).unwrap();
        let sh = tree.insert(bin, b"z", meta(), file()).unwrap();
        tree.link(usr, b"a", sh).unwrap();
        add_lost_found(&mut tree, meta()).unwrap();
        let inodes = Inodes::number(&tree).unwrap();
        let ino = |id| inodes.slot(id).ino();
        assert_eq!([ino(NodeId::ROOT), ino(bin), ino(usr), ino(sh), ino(below)], [2, 12, 13, 14, 15]);
        assert_eq!(ino(tree.lookup(LOST_FOUND).unwrap()), 11);
        assert_eq!(inodes.len(), 6);
    }

    #[test]
    fn a_file_called_lost_found_is_refused() {
        let mut tree = Tree::new();
        tree.insert(NodeId::ROOT, LOST_FOUND, Meta::default(), Kind::Fifo).unwrap();
        assert!(add_lost_found(&mut tree, Meta::default()).is_err());
    }
}
