//! What a tree needs of a filesystem, whatever its size: inodes, directory blocks, attributes, content.
//!
//! [`Survey::objects`] is the one order in which content is placed and written. Both the placing and the writing walk it,
//! so they can't disagree.

use std::collections::BTreeMap;

use super::dirs::{self, DOTS, ROOM};
use super::geometry::{BLOCK_SIZE, BLOCKS_PER_GROUP};
use super::htree::HashTree;
use super::inodes::{Inodes, Slot};
use super::records::inode::EXT4_GOOD_OLD_FIRST_INO;
use super::records::xattr::EXT4_XATTR_REFCOUNT_MAX;
use super::xattr::Sets;
use super::{Options, extents};
use crate::error::{Error, Result};
use crate::raw::crc::crc32c;
use crate::raw::num::fit;
use crate::tree::{Content, Data, Kind, NodeId, Tree, XattrSet, show};

/// The largest file: 2^32 - 1 blocks.
const MAX_FILE: u64 = (u32::MAX as u64) * BLOCK_SIZE;
/// Targets of symbolic links up to this length stay in the inode.
const MAX_FAST_SYMLINK: usize = 59;
/// Blocks that mke2fs gives `lost+found`, so that e2fsck can use it on a full filesystem.
const LOST_FOUND_BLOCKS: u32 = 4;

/// One directory.
#[derive(Clone, Debug)]
pub(crate) struct Dir {
    pub(crate) slot: Slot,
    pub(crate) parent: Slot,
    pub(crate) subdirectories: u32,
    pub(crate) blocks: u32,
    /// Where the names don't fit into one block.
    pub(crate) htree: Option<Box<HashTree>>,
}

/// Something that occupies blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Object<'a> {
    Journal,
    /// The double-indirect block of the resize inode.
    ResizeBlock,
    Orphans,
    /// A block of attributes, which this inode is the first to use.
    Xattrs(XattrSet),
    /// An inode that uses the latest such block of its set.
    XattrUser(XattrSet, Slot),
    Directory(&'a Dir),
    Symlink(Slot, &'a [u8]),
    /// A large value of an attribute, by number.
    EaValue(usize),
    File(Slot, &'a Content),
}

/// Objects that don't come from the tree.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extras {
    pub(crate) journal: bool,
    pub(crate) resize: bool,
    pub(crate) orphans: bool,
}

/// The needs of a tree.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) inodes: Inodes,
    pub(crate) sets: Sets,
    /// In order of their slots.
    pub(crate) dirs: Vec<Dir>,
    /// Blocks of everything but journal and tables; tree blocks of extents at their worst.
    pub(crate) content_blocks: u64,
    /// Whether there is an orphan file.
    pub(crate) orphan_file: bool,
}

impl Survey {
    /// Surveys a tree that has a `lost+found`. Errors name the path.
    pub(crate) fn new(tree: &Tree, options: &Options) -> Result<Self> {
        let inodes = Inodes::number(tree)?;
        let checksum_seed = options.checksum_seed();
        let mut survey = Self {
            inodes,
            sets: Sets::default(),
            dirs: Vec::new(),
            content_blocks: 1,
            orphan_file: options.orphan_file,
        };
        let mut parents = vec![Slot::ROOT; survey.inodes.len()];
        for number in 0..survey.inodes.len() {
            let slot = Slot(fit(number as u64, "inode")?);
            let id = survey.inodes.node(slot);
            survey.look_at(tree, id, slot, &mut parents, options, checksum_seed).map_err(|error| {
                error.context(format!("`{}` does not fit into ext4", show(&path_of(tree, id))))
            })?;
        }
        let mut users = 0;
        if survey.sets.any_needs_block() {
            survey.objects(tree, Extras::default(), &mut |object| {
                users += u64::from(matches!(object, Object::Xattrs(_)));
                Ok(())
            })?;
        }
        let values =
            survey.sets.ea_values.iter().map(|value| (value.bytes.len() as u64).div_ceil(BLOCK_SIZE));
        survey.content_blocks += users + values.sum::<u64>();
        Ok(survey)
    }

    fn look_at(
        &mut self,
        tree: &Tree,
        id: NodeId,
        slot: Slot,
        parents: &mut [Slot],
        options: &Options,
        checksum_seed: u32,
    ) -> Result<()> {
        let node = tree.node(id);
        self.sets.add(tree, node.meta.xattrs, options.ea_inode, checksum_seed)?;
        match &node.kind {
            Kind::Directory(directory) => {
                let mut subdirectories = 0;
                let mut len = DOTS;
                for (name, child) in directory.iter() {
                    len += dirs::entry_len(name);
                    if tree.node(child).as_directory().is_some() {
                        subdirectories += 1;
                        parents[self.inodes.slot(child).index()] = slot;
                    }
                }
                let htree = if len > ROOM {
                    Some(Box::new(HashTree::new(directory, &options.hash_seed)?))
                } else {
                    None
                };
                let blocks = match &htree {
                    Some(htree) => fit(htree.blocks(), "blocks of a directory")?,
                    None if slot == Slot::LOST_FOUND => LOST_FOUND_BLOCKS,
                    None => 1,
                };
                self.content_blocks += u64::from(blocks) + worst_tree_blocks(u64::from(blocks), 1);
                self.dirs.push(Dir { slot, parent: parents[slot.index()], subdirectories, blocks, htree });
            }
            Kind::File(content) => {
                if content.size() > MAX_FILE {
                    return Err(Error::capacity(format!(
                        "a file of {} bytes: ext4 holds {MAX_FILE}",
                        content.size()
                    )));
                }
                let blocks = blocks(content);
                let segments = ranges(content).count() as u64;
                self.content_blocks += blocks + worst_tree_blocks(blocks, segments);
            }
            Kind::Symlink(target) if target.len() > MAX_FAST_SYMLINK => self.content_blocks += 1,
            Kind::CharDevice(device) | Kind::BlockDevice(device)
                if device.major >= 1 << 12 || device.minor >= 1 << 20 =>
            {
                return Err(Error::capacity(format!(
                    "device {}:{}: Linux has majors below 4096 and minors below 1048576",
                    device.major, device.minor
                )));
            }
            _ => {}
        }
        Ok(())
    }

    /// All inodes, with the reserved ones, those of large attributes and the orphan file's.
    pub(crate) fn inode_count(&self) -> u64 {
        let ours = self.inodes.len() + self.sets.ea_values.len() + usize::from(self.orphan_file);
        u64::from(EXT4_GOOD_OLD_FIRST_INO) - 2 + ours as u64
    }

    /// The number of the orphan file's inode, which is the last one, if there is one.
    pub(crate) fn orphan_ino(&self) -> Result<Option<u32>> {
        self.orphan_file.then(|| fit(self.inode_count(), "inode number")).transpose()
    }

    /// The number of the first inode that holds an attribute's value.
    pub(crate) fn first_ea_inode(&self) -> Result<u32> {
        fit(u64::from(EXT4_GOOD_OLD_FIRST_INO) - 1 + self.inodes.len() as u64, "inode number")
    }

    /// The directory in a slot.
    pub(crate) fn dir(&self, slot: Slot) -> Option<&Dir> {
        self.dirs.binary_search_by_key(&slot, |dir| dir.slot).ok().map(|at| &self.dirs[at])
    }

    /// Calls `visit` for everything that occupies blocks, in the order of the blocks: first what the kernel reads to find
    /// its way (journal, directories, attributes, long links), then the files.
    pub(crate) fn objects<'a>(
        &'a self,
        tree: &'a Tree,
        extras: Extras,
        visit: &mut dyn FnMut(Object<'a>) -> Result<()>,
    ) -> Result<()> {
        if extras.journal {
            visit(Object::Journal)?;
        }
        if extras.resize {
            visit(Object::ResizeBlock)?;
        }
        if extras.orphans {
            visit(Object::Orphans)?;
        }
        let mut users: BTreeMap<XattrSet, u32> = BTreeMap::new();
        let mut dirs = self.dirs.iter();
        for (slot, id) in self.inodes.iter() {
            let node = tree.node(id);
            let set = node.meta.xattrs;
            if set != XattrSet::EMPTY && self.sets.needs_block(set) {
                let users = users.entry(set).or_default();
                if users.is_multiple_of(EXT4_XATTR_REFCOUNT_MAX) {
                    visit(Object::Xattrs(set))?;
                }
                *users += 1;
                visit(Object::XattrUser(set, slot))?;
            }
            match &node.kind {
                Kind::Directory(_) => {
                    let dir = dirs.next().ok_or_else(|| Error::internal("a directory was not surveyed"))?;
                    visit(Object::Directory(dir))?;
                }
                Kind::Symlink(target) if target.len() > MAX_FAST_SYMLINK => {
                    visit(Object::Symlink(slot, target))?;
                }
                _ => {}
            }
        }
        for nth in 0..self.sets.ea_values.len() {
            visit(Object::EaValue(nth))?;
        }
        for (slot, id) in self.inodes.iter() {
            if let Kind::File(content) = &tree.node(id).kind
                && content.size() > 0
            {
                visit(Object::File(slot, content))?;
            }
        }
        Ok(())
    }
}

impl Options {
    /// What all checksums of metadata start from.
    pub(crate) fn checksum_seed(&self) -> u32 {
        crc32c(!0, &self.uuid.to_bytes())
    }
}

/// Runs of a file's logical blocks that hold data: start and length. Ascending, never adjacent.
pub(crate) fn ranges(content: &Content) -> impl Iterator<Item = (u64, u64)> + Clone + '_ {
    let (dense, sparse) = match &content.data {
        Data::Sparse(segments) => (None, &**segments),
        _ => (Some((0, content.size().div_ceil(BLOCK_SIZE))).filter(|(_, len)| *len > 0), &[][..]),
    };
    let mut segments = sparse.iter().peekable();
    let sparse = std::iter::from_fn(move || {
        let first = segments.next()?;
        let start = first.offset / BLOCK_SIZE;
        let mut end = (first.offset + first.len).div_ceil(BLOCK_SIZE);
        while let Some(next) = segments.next_if(|next| next.offset / BLOCK_SIZE <= end) {
            end = end.max((next.offset + next.len).div_ceil(BLOCK_SIZE));
        }
        Some((start, end - start))
    });
    dense.into_iter().chain(sparse)
}

/// Blocks of a file's data.
pub(crate) fn blocks(content: &Content) -> u64 {
    ranges(content).map(|(_, len)| len).sum()
}

/// The most tree blocks that a file of so many blocks and segments can need: every segment an extent, and one more at every
/// group, at every 32,768 blocks and at both ends of what is fixed.
fn worst_tree_blocks(blocks: u64, segments: u64) -> u64 {
    let extents = segments + 3 * (blocks / (BLOCKS_PER_GROUP / 2) + 1);
    if extents <= 4 { 0 } else { extents::tree_blocks(crate::raw::num::index(extents)) }
}

/// A path of an inode, for messages: found by a search, so not for the way of success.
pub(crate) fn path_of(tree: &Tree, wanted: NodeId) -> Vec<u8> {
    match tree.walk().find(|(_, id)| *id == wanted) {
        Some((path, _)) => [b"/", &path[..]].concat(),
        None if wanted == NodeId::ROOT => b"/".to_vec(),
        None => b"?".to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Position, Segment};

    #[test]
    fn segments_that_share_a_block_are_one_range() {
        let at = Position::new(0, 0).unwrap();
        let segment = |offset, len| Segment { offset, len, at };
        let content = Content::sparse(
            1 << 20,
            [segment(10, 20), segment(100, 5000), segment(8192, 1), segment(40_960, 4097)],
        )
        .unwrap();
        assert_eq!(ranges(&content).collect::<Vec<_>>(), [(0, 3), (10, 2)]);
        assert_eq!(blocks(&content), 5);
        assert_eq!(ranges(&Content::empty()).count(), 0);
        assert_eq!(ranges(&Content::bytes(*b"x")).collect::<Vec<_>>(), [(0, 1)]);
        assert_eq!(ranges(&Content::sparse(1 << 30, []).unwrap()).count(), 0);
    }
}
