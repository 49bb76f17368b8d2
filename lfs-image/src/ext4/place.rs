//! Where content goes: every object gets blocks right behind the one before it, around what is fixed.
//!
//! Because nothing is left between, the first block and the number of blocks of an object say where all its blocks are
//! ([`Geometry::runs`]); no lists of blocks are kept. This is the one step that a smarter placement (say, next to where the
//! previous image had things) would replace.

use std::collections::BTreeMap;
use std::ops::Range;

use super::geometry::{BLOCK_SIZE, BLOCKS_PER_GROUP, Geometry, MAX_BLOCKS, block32};
use super::inodes::Slot;
use super::survey::{Extras, Object, Survey, blocks, ranges};
use super::{Options, extents, features};
use crate::error::{Error, Result};
use crate::raw::num::fit;
use crate::tree::{Tree, XattrSet};

/// Where an object lies.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Placed {
    /// The first block; 0 where there is none.
    pub(crate) start: u32,
    /// Blocks of data.
    pub(crate) blocks: u32,
    /// Blocks of the extent tree, which follow the data.
    pub(crate) tree_blocks: u32,
}

/// A block of attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct XattrBlock {
    pub(crate) set: XattrSet,
    pub(crate) block: u32,
    pub(crate) refcount: u32,
}

/// The places of everything that isn't fixed.
#[derive(Debug)]
pub(crate) struct Placement {
    pub(crate) journal: Option<Placed>,
    pub(crate) resize_block: u64,
    pub(crate) orphans: Option<Placed>,
    /// By slot.
    pub(crate) inodes: Vec<Placed>,
    /// Blocks of attributes by slot, only there if any inode has one.
    pub(crate) acls: Vec<u32>,
    pub(crate) xattr_blocks: Vec<XattrBlock>,
    pub(crate) ea_values: Vec<Placed>,
    /// From the first to behind the last block; all of these are used.
    pub(crate) used: Range<u64>,
    /// The first block of the first file.
    pub(crate) files: u64,
}

impl Placement {
    /// Places everything. Fails when it doesn't fit, and says by how much.
    pub(crate) fn new(tree: &Tree, survey: &Survey, geometry: &Geometry, sizing: &Sizing) -> Result<Self> {
        let mut cursor = Cursor { geometry, next: geometry.next_free(0) };
        let start = cursor.next;
        let mut placement = Self {
            journal: None,
            resize_block: 0,
            orphans: None,
            inodes: vec![Placed::default(); survey.inodes.len()],
            acls: Vec::new(),
            xattr_blocks: Vec::new(),
            ea_values: Vec::new(),
            used: start..start,
            files: u64::MAX,
        };
        let mut latest: BTreeMap<XattrSet, usize> = BTreeMap::new();
        let extras = Extras {
            journal: sizing.journal_blocks > 0,
            resize: geometry.reserved_gdt_blocks > 0,
            orphans: sizing.orphan_blocks > 0,
        };
        survey.objects(tree, extras, &mut |object| {
            match object {
                Object::Journal => {
                    placement.journal = Some(cursor.take_file([(0, sizing.journal_blocks)].into_iter())?);
                }
                Object::Orphans => {
                    placement.orphans = Some(cursor.take_file([(0, sizing.orphan_blocks)].into_iter())?);
                }
                Object::ResizeBlock => placement.resize_block = cursor.take(1),
                Object::Xattrs(set) => {
                    latest.insert(set, placement.xattr_blocks.len());
                    let block = block32(cursor.take(1));
                    placement.xattr_blocks.push(XattrBlock { set, block, refcount: 0 });
                }
                Object::XattrUser(set, slot) => {
                    let latest = latest.get(&set).and_then(|at| placement.xattr_blocks.get_mut(*at));
                    let latest =
                        latest.ok_or_else(|| Error::internal("a block of attributes has no place"))?;
                    latest.refcount += 1;
                    if placement.acls.is_empty() {
                        placement.acls.resize(survey.inodes.len(), 0);
                    }
                    placement.acls[slot.index()] = latest.block;
                }
                Object::Directory(dir) => {
                    let range = [(0, u64::from(dir.blocks))];
                    placement.inodes[dir.slot.index()] = cursor.take_file(range.into_iter())?;
                }
                Object::Symlink(slot, _) => {
                    placement.inodes[slot.index()] = cursor.take_file([(0, 1)].into_iter())?;
                }
                Object::EaValue(nth) => {
                    let blocks = (survey.sets.ea_values[nth].bytes.len() as u64).div_ceil(BLOCK_SIZE);
                    placement.ea_values.push(cursor.take_file([(0, blocks)].into_iter())?);
                }
                Object::File(slot, content) if blocks(content) > 0 => {
                    let placed = cursor.take_file(ranges(content))?;
                    placement.files = placement.files.min(u64::from(placed.start));
                    placement.inodes[slot.index()] = placed;
                }
                Object::File(..) => {}
            }
            Ok(())
        })?;
        if cursor.next > geometry.blocks {
            let missing = cursor.next - geometry.blocks;
            return Err(Error::too_small(format!(
                "the content does not fit: the filesystem has {} MiB and needs {} MiB more",
                (geometry.blocks * BLOCK_SIZE) >> 20,
                (missing * BLOCK_SIZE).div_ceil(1 << 20)
            )));
        }
        placement.used.end = cursor.next;
        Ok(placement)
    }

    /// The block of attributes of an inode, or 0.
    pub(crate) fn acl(&self, slot: Slot) -> u32 {
        self.acls.get(slot.index()).copied().unwrap_or(0)
    }
}

impl Placed {
    /// The first block of the extent tree, if there is one.
    pub(crate) fn tree_start(&self, geometry: &Geometry) -> u64 {
        if self.tree_blocks == 0 {
            return 0;
        }
        geometry.next_free(geometry.runs(u64::from(self.start), u64::from(self.blocks)).end())
    }
}

struct Cursor<'a> {
    geometry: &'a Geometry,
    next: u64,
}

impl Cursor<'_> {
    /// The first of `blocks` blocks.
    fn take(&mut self, blocks: u64) -> u64 {
        let start = self.geometry.next_free(self.next);
        self.next = self.geometry.runs(start, blocks).end();
        start
    }

    /// Blocks for data at these logical ranges, and for the extent tree that maps it.
    fn take_file(&mut self, ranges: impl Iterator<Item = (u64, u64)> + Clone) -> Result<Placed> {
        let blocks = ranges.clone().map(|(_, len)| len).sum();
        let start = self.take(blocks);
        let extents = extents::map(ranges, self.geometry.runs(start, blocks)).count();
        let tree_blocks = extents::tree_blocks(extents);
        if tree_blocks > 0 {
            self.take(tree_blocks);
        }
        // Places behind the end are thrown away with an error once it is known how far they reach.
        Ok(Placed {
            start: fit(start.min(u64::from(u32::MAX)), "block number")?,
            blocks: fit(blocks, "blocks of a file")?,
            tree_blocks: fit(tree_blocks, "blocks of an extent tree")?,
        })
    }
}

/// What a filesystem of some size for a tree is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sizing {
    pub(crate) blocks: u64,
    pub(crate) inodes: u64,
    pub(crate) journal_blocks: u64,
    pub(crate) orphan_blocks: u64,
}

impl Sizing {
    /// Inodes and journal for a filesystem of `blocks` blocks.
    pub(crate) fn of(survey: &Survey, options: &Options, blocks: u64) -> Result<Self> {
        let needed = survey.inode_count();
        let inodes = match options.inodes {
            // Room for a tenth more than there is, and no fewer than mke2fs would make.
            super::InodeCount::Auto => {
                (blocks * BLOCK_SIZE / super::DEFAULT_INODE_RATIO).max(needed + needed / 10 + 16)
            }
            super::InodeCount::Ratio(bytes) => {
                let inodes = |blocks: u64| (blocks * BLOCK_SIZE).checked_div(bytes).unwrap_or(0);
                match blocks - blocks % BLOCKS_PER_GROUP {
                    // A last group that is left off takes its inodes along.
                    whole if whole > 0 && Geometry::new(blocks, inodes(blocks)).is_err() => inodes(whole),
                    _ => inodes(blocks),
                }
            }
            super::InodeCount::AtLeast(inodes) => inodes,
        };
        if inodes < needed {
            let asked = match options.inodes {
                super::InodeCount::Ratio(bytes) => format!("an inode for every {bytes} bytes are {inodes}"),
                _ => format!("{inodes} inodes were asked for"),
            };
            return Err(Error::capacity(format!(
                "{asked} and the content needs {needed} (with the 10 that ext4 reserves)"
            )));
        }
        let journal_blocks = match options.journal {
            // With an orphan file there is a journal however small the filesystem.
            super::Journal::Auto if options.orphan_file => {
                super::journal::default_blocks(blocks).max(super::journal::MIN_BLOCKS)
            }
            super::Journal::Auto => super::journal::default_blocks(blocks),
            super::Journal::None => 0,
            super::Journal::Blocks(blocks) => blocks,
        };
        let orphan_blocks = if options.orphan_file { super::orphan::default_blocks(blocks) } else { 0 };
        Ok(Self { blocks, inodes, journal_blocks, orphan_blocks })
    }

    /// The smallest filesystem that holds the tree and leaves `free` for more.
    pub(crate) fn smallest(survey: &Survey, options: &Options, free: super::Free) -> Result<Self> {
        let too_large = || Error::capacity("the content and the free space asked for need more than 16 TiB");
        let mut blocks = survey.content_blocks + 256;
        if let super::InodeCount::Ratio(bytes) = options.inodes {
            // One that is smaller has fewer inodes than the content.
            let least = survey.inode_count().saturating_mul(bytes).div_ceil(BLOCK_SIZE);
            if least > MAX_BLOCKS {
                return Err(Error::capacity(format!(
                    "an inode for every {bytes} bytes, and the content needs {} of them: that is more than 16 TiB",
                    survey.inode_count()
                )));
            }
            blocks = blocks.max(least);
        }
        let share = match free {
            super::Free::Bytes(bytes) if bytes > MAX_BLOCKS * BLOCK_SIZE => return Err(too_large()),
            super::Free::Bytes(_) => 0,
            super::Free::Percent(percent) => u64::from(percent) * 100,
        };
        // Hundredths of a percent of every block more that are for content and tables.
        let left = 10_000u64.checked_sub(share + u64::from(options.reserved)).filter(|left| *left > 0);
        let left = left.ok_or_else(|| {
            Error::capacity("the free and the reserved part of the filesystem leave nothing for content")
        })?;
        // Every round adds what was missing; tables grow by a few percent of that, so this ends soon. From nothing to all that
        // many inodes may want, in eighths, are 130 rounds.
        for _ in 0..256 {
            let sizing = match Self::of(survey, options, blocks) {
                Ok(sizing) => sizing,
                // A last group that is left off took some along.
                Err(_) if matches!(options.inodes, super::InodeCount::Ratio(_)) && blocks < MAX_BLOCKS => {
                    blocks = MAX_BLOCKS.min(blocks + 1024 + blocks / 8);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut is_too_small = false;
            let missing = match Geometry::new(blocks, sizing.inodes) {
                Ok(geometry) => {
                    let free = match free {
                        super::Free::Bytes(bytes) => bytes.div_ceil(BLOCK_SIZE),
                        super::Free::Percent(percent) => (geometry.blocks * u64::from(percent)).div_ceil(100),
                    };
                    let reserved = options.reserved_blocks(geometry.blocks);
                    let taken = geometry.fixed_blocks()
                        + sizing.journal_blocks
                        + sizing.orphan_blocks
                        + survey.content_blocks;
                    // The last group may have been left off.
                    let lost = blocks - geometry.blocks;
                    (taken + free + reserved).saturating_sub(geometry.blocks)
                        + if lost > 0 { 1024 } else { 0 }
                }
                // Too small for its own tables, and none is larger.
                Err(error) if blocks >= MAX_BLOCKS => return Err(Error::capacity(error.to_string())),
                Err(_) => {
                    is_too_small = true;
                    1024 + blocks / 8
                }
            };
            if missing == 0 {
                return Ok(sizing);
            }
            blocks = blocks.saturating_add((missing * 10_000).div_ceil(left));
            if blocks > MAX_BLOCKS && !is_too_small {
                return Err(too_large());
            }
            blocks = blocks.min(MAX_BLOCKS);
        }
        Err(Error::internal("no filesystem size was found"))
    }
}

/// The features of a filesystem with these sizes.
pub(crate) fn features(geometry: &Geometry, sizing: &Sizing, survey: &Survey) -> features::Features {
    let mut all = features::Features::base();
    all.compat.set(features::Compat::HAS_JOURNAL, sizing.journal_blocks > 0);
    all.compat.set(features::Compat::RESIZE_INODE, geometry.reserved_gdt_blocks > 0);
    all.compat.set(features::Compat::ORPHAN_FILE, sizing.orphan_blocks > 0);
    all.incompat.set(features::Incompat::EA_INODE, !survey.sets.ea_values.is_empty());
    all
}

/// Blocks of a file, in the 512-byte units of `i_blocks`.
pub(crate) fn sectors(blocks: u64) -> u64 {
    blocks * (BLOCK_SIZE / 512)
}
