//! Where the fixed parts of a filesystem lie: arithmetic only, no bytes.
//!
//! ```text
//! group 0                                             group 1 (3, 5, 7, 9, 25, …)   other groups
//! +-------+-------------+----------+-------+--------+ +-------+-----+------+------+ +------------+
//! | super | descriptors | reserved | block | inode  | | super | ... | ...  | data | | data       |
//! | block |             | for more | bit-  | bitmaps| | backup|     |      |      | |            |
//! +-------+-------------+----------+ maps  | tables | +-------+-----+------+------+ +------------+
//!                                  +-------+--------+
//!                                   of 16 groups: flex_bg
//! ```
//!
//! The same places as mke2fs chooses, so that resize2fs and the kernel's online resize find what they know. Source:
//! kernel documentation, "Block Groups" and "Flexible Block Groups" (`blockgroup.rst`).

use crate::error::{Error, Result};
use crate::raw::num::{index, lo32};

/// The block size: the only one here.
pub(crate) const BLOCK_SIZE: u64 = 4096;
/// Blocks (and the most inodes) of a group: as many as one bitmap block has bits.
pub(crate) const BLOCKS_PER_GROUP: u64 = 8 * BLOCK_SIZE;
/// Groups whose bitmaps and inode tables lie together.
pub(crate) const GROUPS_PER_FLEX: u64 = 16;
/// `s_inode_size`.
pub(crate) const INODE_SIZE: u64 = 256;
/// Inodes of one block.
pub(crate) const INODES_PER_BLOCK: u64 = BLOCK_SIZE / INODE_SIZE;
/// Group descriptors of one block.
pub(crate) const DESCS_PER_BLOCK: u64 = BLOCK_SIZE / 64;
/// Block numbers of one indirect block.
pub(crate) const ADDRS_PER_BLOCK: u64 = BLOCK_SIZE / 4;
/// The most blocks: block numbers are kept in 32 bits here and in the resize inode.
pub(crate) const MAX_BLOCKS: u64 = u32::MAX as u64;

/// What occupies a fixed run of blocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fixed {
    /// The superblock or a backup, with the descriptors and the blocks reserved for more of them. Of this group.
    Super(u64),
    /// The block bitmaps of a flex group's groups: the first of them, how many.
    BlockBitmaps(u64, u64),
    /// The inode bitmaps, likewise.
    InodeBitmaps(u64, u64),
    /// The inode table of this group.
    InodeTable(u64),
}

/// A fixed run of blocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FixedRun {
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) what: Fixed,
}

impl FixedRun {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// Where a group's bitmaps and inode table start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupPlaces {
    pub(crate) block_bitmap: u64,
    pub(crate) inode_bitmap: u64,
    pub(crate) inode_table: u64,
}

/// The sizes of a filesystem and its fixed runs, in order.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    pub(crate) blocks: u64,
    pub(crate) groups: u64,
    pub(crate) inodes_per_group: u64,
    /// Blocks of the group descriptor table.
    pub(crate) desc_blocks: u64,
    /// Blocks kept free behind it so that it can grow (`s_reserved_gdt_blocks`).
    pub(crate) reserved_gdt_blocks: u64,
    pub(crate) places: Vec<GroupPlaces>,
    pub(crate) fixed: Vec<FixedRun>,
}

impl Geometry {
    /// A filesystem of at most `blocks` blocks with at least `inodes` inodes. A last group too small for its own
    /// tables is left off, as mke2fs does.
    pub(crate) fn new(blocks: u64, inodes: u64) -> Result<Self> {
        if blocks > MAX_BLOCKS {
            return Err(Error::capacity(format!(
                "a filesystem of {blocks} blocks: at most {MAX_BLOCKS} blocks of 4 KiB (one less than 16 TiB) are supported"
            )));
        }
        let mut blocks = blocks;
        loop {
            let groups = blocks.div_ceil(BLOCKS_PER_GROUP);
            let geometry = Self::of_groups(blocks, groups, inodes)?;
            let last = blocks - BLOCKS_PER_GROUP * groups.saturating_sub(1);
            let own = if has_super(groups.saturating_sub(1)) { geometry.super_len() } else { 0 };
            if last < own + 2 + geometry.table_blocks() + 50 {
                if groups <= 1 {
                    return Err(Error::too_small(format!(
                        "a filesystem of {blocks} blocks of 4 KiB is too small to hold its own tables"
                    )));
                }
                blocks -= last;
                continue;
            }
            return geometry.placed();
        }
    }

    fn of_groups(blocks: u64, groups: u64, inodes: u64) -> Result<Self> {
        let groups = groups.max(1);
        // Whole table blocks, which also makes it a multiple of 8.
        let inodes_per_group = inodes.div_ceil(groups).max(1).next_multiple_of(INODES_PER_BLOCK);
        if inodes_per_group > BLOCKS_PER_GROUP {
            return Err(Error::too_small(format!(
                "{inodes} inodes in {groups} block groups: a group holds at most {BLOCKS_PER_GROUP}, so at least {} \
                 MiB are needed",
                inodes.div_ceil(BLOCKS_PER_GROUP) * 128
            )));
        }
        let desc_blocks = groups.div_ceil(DESCS_PER_BLOCK);
        // Room to grow to 1024 times the size, as mke2fs reserves, as far as 32-bit block numbers go.
        let grown = blocks.saturating_mul(1024).min(MAX_BLOCKS);
        let reserved_gdt_blocks = grown
            .div_ceil(BLOCKS_PER_GROUP)
            .div_ceil(DESCS_PER_BLOCK)
            .saturating_sub(desc_blocks)
            .min(ADDRS_PER_BLOCK);
        Ok(Self {
            blocks,
            groups,
            inodes_per_group,
            desc_blocks,
            reserved_gdt_blocks,
            places: Vec::new(),
            fixed: Vec::new(),
        })
    }

    /// Finds a place for every bitmap and table.
    fn placed(mut self) -> Result<Self> {
        let backups: Vec<FixedRun> = (0..self.groups)
            .filter(|group| has_super(*group))
            .map(|group| FixedRun {
                start: group * BLOCKS_PER_GROUP,
                len: self.super_len(),
                what: Fixed::Super(group),
            })
            .collect();
        self.places = vec![GroupPlaces::default(); index(self.groups)];
        self.fixed.clone_from(&backups);
        let table_blocks = self.table_blocks();
        let mut free = 0;
        let mut take = |from: u64, len: u64| -> u64 {
            free = from.max(free);
            // Every run must be contiguous: step over the backups in its way.
            let mut at = backups.partition_point(|backup| backup.end() <= free);
            while let Some(backup) = backups.get(at).filter(|backup| backup.start < free + len) {
                free = backup.end();
                at += 1;
            }
            free += len;
            free - len
        };
        for first in (0..self.groups).step_by(index(GROUPS_PER_FLEX)) {
            let count = GROUPS_PER_FLEX.min(self.groups - first);
            let start = first * BLOCKS_PER_GROUP;
            let block_bitmaps = take(start, count);
            let inode_bitmaps = take(start, count);
            self.fixed.push(FixedRun {
                start: block_bitmaps,
                len: count,
                what: Fixed::BlockBitmaps(first, count),
            });
            self.fixed.push(FixedRun {
                start: inode_bitmaps,
                len: count,
                what: Fixed::InodeBitmaps(first, count),
            });
            for nth in 0..count {
                let group = first + nth;
                let inode_table = take(start, table_blocks);
                self.fixed.push(FixedRun {
                    start: inode_table,
                    len: table_blocks,
                    what: Fixed::InodeTable(group),
                });
                self.places[index(group)] = GroupPlaces {
                    block_bitmap: block_bitmaps + nth,
                    inode_bitmap: inode_bitmaps + nth,
                    inode_table,
                };
            }
        }
        self.fixed.sort_unstable_by_key(|run| run.start);
        let end = self.fixed.iter().map(FixedRun::end).max().unwrap_or(0);
        if end > self.blocks {
            return Err(Error::too_small(format!(
                "a filesystem of {} blocks of 4 KiB is too small for the tables of {} inodes",
                self.blocks,
                self.inodes()
            )));
        }
        Ok(self)
    }

    /// Blocks of a superblock (or backup), the descriptors and the room reserved behind them.
    pub(crate) fn super_len(&self) -> u64 {
        1 + self.desc_blocks + self.reserved_gdt_blocks
    }

    /// Blocks of one group's inode table.
    pub(crate) fn table_blocks(&self) -> u64 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    /// All inodes, the reserved ones too.
    pub(crate) fn inodes(&self) -> u64 {
        self.inodes_per_group * self.groups
    }

    /// Blocks that hold fixed things.
    pub(crate) fn fixed_blocks(&self) -> u64 {
        self.fixed.iter().map(|run| run.len).sum()
    }

    /// Blocks of one group; the last may have fewer.
    pub(crate) fn group_blocks(&self, group: u64) -> u64 {
        (self.blocks - group * BLOCKS_PER_GROUP).min(BLOCKS_PER_GROUP)
    }

    /// The groups after the first that have a backup of the superblock.
    pub(crate) fn backup_groups(&self) -> impl Iterator<Item = u64> {
        (1..self.groups).filter(|group| has_super(*group))
    }

    /// The first block from `from` on that no fixed run occupies. May lie behind the end.
    pub(crate) fn next_free(&self, from: u64) -> u64 {
        let mut block = from;
        let mut at = self.fixed.partition_point(|run| run.end() <= block);
        while let Some(run) = self.fixed.get(at).filter(|run| run.start <= block) {
            block = run.end();
            at += 1;
        }
        block
    }

    /// The runs of `count` blocks from `start` on, stepping over what is fixed.
    pub(crate) fn runs(&self, start: u64, count: u64) -> Runs<'_> {
        let fixed = &self.fixed[self.fixed.partition_point(|run| run.end() <= start)..];
        Runs { fixed, next: start, left: count }
    }
}

/// Contiguous runs of blocks.
#[derive(Clone, Debug)]
pub(crate) struct Runs<'a> {
    fixed: &'a [FixedRun],
    next: u64,
    left: u64,
}

/// A contiguous run of blocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    pub(crate) start: u64,
    pub(crate) len: u64,
}

impl Runs<'_> {
    /// The first block behind all runs (fixed blocks may follow it).
    pub(crate) fn end(mut self) -> u64 {
        while self.next().is_some() {}
        self.next
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if self.left == 0 {
            return None;
        }
        while let Some((first, rest)) = self.fixed.split_first().filter(|(first, _)| first.start <= self.next)
        {
            self.next = first.end();
            self.fixed = rest;
        }
        let room = self.fixed.first().map_or(u64::MAX, |first| first.start - self.next);
        let run = Run { start: self.next, len: room.min(self.left) };
        self.next += run.len;
        self.left -= run.len;
        Some(run)
    }
}

/// Whether a group has the superblock or a backup: 0, 1 and the powers of 3, 5 and 7 (`sparse_super`).
pub(crate) fn has_super(group: u64) -> bool {
    group <= 1
        || [3, 5, 7].into_iter().any(|base| {
            let mut power: u64 = base;
            while power < group {
                power *= base;
            }
            power == group
        })
}

/// The block number as the 32 bits in which it is kept.
pub(crate) fn block32(block: u64) -> u32 {
    debug_assert!(block <= MAX_BLOCKS);
    lo32(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `dumpe2fs` of `mke2fs -t ext4 -b 4096 img 8G` (e2fsprogs 1.47.0).
    #[test]
    fn places_are_those_of_mke2fs() {
        let geometry = Geometry::new(8 << 18, 524_288).unwrap();
        assert_eq!((geometry.groups, geometry.inodes_per_group), (64, 8192));
        assert_eq!((geometry.desc_blocks, geometry.reserved_gdt_blocks), (1, 1023));
        let first = geometry.places[0];
        assert_eq!((first.block_bitmap, first.inode_bitmap, first.inode_table), (1025, 1041, 1057));
        let last_of_flex = geometry.places[15];
        assert_eq!((last_of_flex.block_bitmap, last_of_flex.inode_table), (1040, 1057 + 15 * 512));
        let next_flex = geometry.places[16];
        assert_eq!((next_flex.block_bitmap, next_flex.inode_bitmap), (524_288, 524_304));
    }

    #[test]
    fn runs_step_over_what_is_fixed() {
        let geometry = Geometry::new(8 << 18, 524_288).unwrap();
        let start = geometry.next_free(0);
        assert_eq!(start, 1057 + 16 * 512);
        let runs: Vec<Run> = geometry.runs(start, 60_000).collect();
        assert_eq!(runs[0], Run { start, len: 32_768 - start });
        assert_eq!(runs[1].start, 32_768 + 1025);
        assert_eq!(runs.iter().map(|run| run.len).sum::<u64>(), 60_000);
        assert_eq!(geometry.runs(start, 60_000).end(), runs[1].start + runs[1].len);
    }

    #[test]
    fn fixed_runs_never_overlap() {
        for (blocks, inodes) in [
            (1200, 16),
            (16_384, 4096),
            (32_768 * 3 + 700, 98_304),
            (32_768 * 17 + 5000, 32_768 * 17),
            (32_768 * 64, 32_768 * 64),
            (u64::from(u32::MAX), 1 << 28),
        ] {
            let geometry = Geometry::new(blocks, inodes).unwrap();
            assert!(geometry.inodes() >= inodes);
            let mut end = 0;
            for run in &geometry.fixed {
                assert!(run.start >= end, "{blocks}: {run:?}");
                end = run.end();
            }
            assert!(end <= geometry.blocks);
        }
    }

    #[test]
    fn a_stub_of_a_last_group_is_left_off() {
        let geometry = Geometry::new(32_768 * 2 + 100, 16_384).unwrap();
        assert_eq!((geometry.groups, geometry.blocks), (2, 65_536));
        assert!(Geometry::new(30, 16).is_err());
        assert!(Geometry::new(0, 16).is_err());
        assert!(Geometry::new(32_768, 32_784).is_err());
        assert!(Geometry::new(1 << 32, 16).is_err());
    }

    #[test]
    fn backups_are_at_powers_of_3_5_7() {
        let groups: Vec<u64> = (0..130).filter(|g| has_super(*g)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }
}
