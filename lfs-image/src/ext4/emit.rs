//! Writes a planned filesystem, block after block.
//!
//! Two streams meet in ascending order: what is fixed ([`Geometry::fixed`](super::geometry::Geometry)) and what was placed
//! ([`Survey::objects`](super::survey::Survey::objects)). [`Pen::go_to`] writes the fixed parts on the way.

use super::geometry::{BLOCK_SIZE, Fixed, FixedRun, INODES_PER_BLOCK};
use super::inodes::Slot;
use super::place::Placed;
use super::records::inode::{EXT4_GOOD_OLD_FIRST_INO, EXT4_JOURNAL_INO};
use super::survey::{Dir, Extras, Object, ranges};
use super::{Plan, dirs, inode_seed, journal, orphan, resize};
use crate::error::{Error, Result};
use crate::raw::num::{index, lo32};
use crate::raw::out::{Out, Target};
use crate::raw::store::ReadAt;
use crate::tree::{Content, Data, Tree};

const BLOCK: usize = index(BLOCK_SIZE);

impl Plan {
    /// Writes the filesystem of the tree that it was planned for, from where `out` is.
    pub(crate) fn emit<S: Target + ?Sized>(
        &self,
        tree: &Tree,
        store: &dyn ReadAt,
        out: &mut Out<'_, S>,
    ) -> Result<()> {
        let base = out.offset();
        let descriptors = self.descriptors();
        let mut pen = Pen { plan: self, tree, out, base, descriptors, fixed: &self.geometry.fixed };
        let extras = Extras {
            journal: self.journal_blocks > 0,
            resize: self.geometry.reserved_gdt_blocks > 0,
            orphans: self.placement.orphans.is_some(),
        };
        let mut xattr_blocks = self.placement.xattr_blocks.iter();
        let first_ea_inode = self.survey.first_ea_inode()?;
        self.survey.objects(tree, extras, &mut |object| match object {
            Object::Journal => pen.journal(),
            Object::ResizeBlock => {
                pen.go_to(self.placement.resize_block)?;
                resize::dind_block(&self.geometry, pen.out.reserve(BLOCK)?);
                Ok(())
            }
            Object::Orphans => pen.orphans(),
            Object::Xattrs(set) => {
                let place = xattr_blocks.next().ok_or_else(|| Error::internal("attributes have no place"))?;
                let block = u64::from(place.block);
                pen.go_to(block)?;
                let seed = self.options.checksum_seed();
                let bytes = pen.out.reserve(BLOCK)?;
                self.survey.sets.render_block(set, place.refcount, block, first_ea_inode, seed, bytes);
                Ok(())
            }
            Object::XattrUser(..) => Ok(()),
            Object::Directory(dir) => pen.directory(dir),
            Object::Symlink(slot, target) => {
                let content = Content::bytes(target);
                pen.file(store, self.placement.inodes[slot.index()], slot.ino(), &content)
            }
            Object::EaValue(nth) => {
                let content = Content::bytes(self.survey.sets.ea_values[nth].bytes.clone());
                let ino = first_ea_inode + lo32(nth as u64);
                pen.file(store, self.placement.ea_values[nth], ino, &content)
            }
            Object::File(slot, content) => {
                pen.file(store, self.placement.inodes[slot.index()], slot.ino(), content)
            }
        })?;
        pen.go_to(self.geometry.blocks)
    }
}

struct Pen<'a, 'o, 's, S: ?Sized> {
    plan: &'a Plan,
    tree: &'a Tree,
    out: &'o mut Out<'s, S>,
    /// Offset of the filesystem in the image.
    base: u64,
    descriptors: Vec<u8>,
    /// What of the fixed runs is still to come.
    fixed: &'a [FixedRun],
}

impl<S: Target + ?Sized> Pen<'_, '_, '_, S> {
    /// Writes everything fixed before `block`, and leaves the rest before it unallocated.
    fn go_to(&mut self, block: u64) -> Result<()> {
        while let Some((run, rest)) = self.fixed.split_first().filter(|(run, _)| run.start < block) {
            self.fixed = rest;
            self.out.skip_to(self.base + run.start * BLOCK_SIZE)?;
            match run.what {
                Fixed::Super(group) => self.superblock(group)?,
                Fixed::BlockBitmaps(first, count) => {
                    for group in first..first + count {
                        self.bitmap(self.plan.block_bitmap(group).as_ref())?;
                    }
                }
                Fixed::InodeBitmaps(first, count) => {
                    for group in first..first + count {
                        self.bitmap(self.plan.inode_bitmap(group).as_ref())?;
                    }
                }
                Fixed::InodeTable(group) => self.inode_table(group)?,
            }
            debug_assert_eq!(self.out.offset(), self.base + run.end() * BLOCK_SIZE);
        }
        self.out.skip_to(self.base + block * BLOCK_SIZE)
    }

    fn superblock(&mut self, group: u64) -> Result<()> {
        let geometry = &self.plan.geometry;
        let block = self.out.reserve(BLOCK)?;
        // The first KiB of the filesystem is a boot loader's.
        let at = if group == 0 { 1024 } else { 0 };
        block[at..at + 1024].copy_from_slice(&self.plan.superblock(group));
        self.out.data(&self.descriptors)?;
        if group == 0 {
            for nth in 0..geometry.reserved_gdt_blocks {
                resize::reserved_block(geometry, nth, self.out.reserve(BLOCK)?);
            }
            Ok(())
        } else {
            self.out.zeros(geometry.reserved_gdt_blocks * BLOCK_SIZE)
        }
    }

    fn bitmap(&mut self, bitmap: Option<&super::bitmap::Bitmap>) -> Result<()> {
        match bitmap {
            Some(bitmap) => self.out.data(bitmap.bytes()),
            None => self.out.unallocated(BLOCK_SIZE),
        }
    }

    /// The inodes in use; what is behind them was never initialised.
    fn inode_table(&mut self, group: u64) -> Result<()> {
        let geometry = &self.plan.geometry;
        let used = self.plan.group_used_inodes(group);
        let first = group * geometry.inodes_per_group + 1;
        let blocks = used.div_ceil(INODES_PER_BLOCK);
        for block in 0..blocks {
            let inodes = block * INODES_PER_BLOCK..used.min((block + 1) * INODES_PER_BLOCK);
            let bytes = self.out.reserve(BLOCK)?;
            for (slot, nth) in bytes.chunks_exact_mut(256).zip(inodes) {
                slot.copy_from_slice(&self.plan.inode(self.tree, lo32(first + nth))?);
            }
        }
        self.out.unallocated((geometry.table_blocks() - blocks) * BLOCK_SIZE)
    }

    fn journal(&mut self) -> Result<()> {
        let Some(placed) = self.plan.placement.journal else { return Ok(()) };
        let blocks = u64::from(placed.blocks);
        let mut first = true;
        for run in self.plan.geometry.runs(u64::from(placed.start), blocks) {
            self.go_to(run.start)?;
            let mut zeros = run.len * BLOCK_SIZE;
            if first {
                let superblock = journal::superblock(blocks, self.plan.options.uuid);
                self.out.data(&superblock)?;
                zeros -= superblock.len() as u64;
                first = false;
            }
            self.out.zeros(zeros)?;
        }
        self.tree_blocks(placed, EXT4_JOURNAL_INO, [(0, blocks)].into_iter())
    }

    fn orphans(&mut self) -> Result<()> {
        let plan = self.plan;
        let (Some(placed), Some(ino)) = (plan.placement.orphans, plan.survey.orphan_ino()?) else {
            return Ok(());
        };
        let seed = inode_seed(plan.options.checksum_seed(), ino);
        for run in plan.geometry.runs(u64::from(placed.start), u64::from(placed.blocks)) {
            self.go_to(run.start)?;
            for place in run.start..run.start + run.len {
                orphan::render(place, seed, self.out.reserve(BLOCK)?);
            }
        }
        self.tree_blocks(placed, ino, [(0, u64::from(placed.blocks))].into_iter())
    }

    fn directory(&mut self, dir: &Dir) -> Result<()> {
        let placed = self.plan.placement.inodes[dir.slot.index()];
        let inodes = &self.plan.survey.inodes;
        let tree = self.tree;
        let directory = tree
            .node(inodes.node(dir.slot))
            .as_directory()
            .ok_or_else(|| Error::internal("the tree changed after it was planned"))?;
        let seed = inode_seed(self.plan.options.checksum_seed(), dir.slot.ino());
        let dots = dirs::dots(dir.slot.ino(), dir.parent.ino());
        let names = directory.iter().map(|(name, id)| dirs::Named {
            name,
            ino: inodes.slot(id).ino(),
            file_type: dirs::file_type(&tree.node(id).kind),
        });
        let geometry = &self.plan.geometry;
        let runs = geometry.runs(u64::from(placed.start), u64::from(placed.blocks));
        let mut places = runs.flat_map(|run| run.start..run.start + run.len);
        let mut next = |render: &mut dyn FnMut(&mut [u8])| -> Result<()> {
            let place = places.next().ok_or_else(|| Error::internal("a directory outgrew its plan"))?;
            self.go_to(place)?;
            render(self.out.reserve(BLOCK)?);
            Ok(())
        };
        match &dir.htree {
            Some(htree) => htree.render(&dots, &names.collect::<Vec<_>>(), seed, next)?,
            None => {
                next(&mut |block| dirs::render(block, dots.into_iter().chain(names.clone()), seed))?;
                for _ in 1..placed.blocks {
                    next(&mut |block| dirs::render(block, std::iter::empty(), seed))?;
                }
            }
        }
        self.tree_blocks(placed, dir.slot.ino(), [(0, u64::from(placed.blocks))].into_iter())
    }

    fn file(&mut self, store: &dyn ReadAt, placed: Placed, ino: u32, content: &Content) -> Result<()> {
        for extent in self.plan.mapped(placed, ranges(content)) {
            self.go_to(extent.physical)?;
            let start = extent.logical * BLOCK_SIZE;
            let end = (extent.logical + extent.len) * BLOCK_SIZE;
            self.content(store, content, start, end.min(content.size()))?;
            self.out.zeros(end.saturating_sub(content.size()).min(BLOCK_SIZE))?;
        }
        if placed.tree_blocks > 0 {
            self.tree_blocks(placed, ino, ranges(content))?;
        }
        Ok(())
    }

    /// The bytes of a file from `start` to `end`; holes among them are zeros.
    fn content(&mut self, store: &dyn ReadAt, content: &Content, start: u64, end: u64) -> Result<()> {
        let beyond = || Error::internal("content reaches past the end of its source");
        match &content.data {
            Data::Inline(bytes) => self.out.data(&bytes[index(start)..index(end)]),
            Data::Stored(at) => self.out.copy(store, at.forward(start).ok_or_else(beyond)?, end - start),
            Data::Sparse(segments) => {
                let mut at = start;
                let first = segments.partition_point(|segment| segment.offset + segment.len <= start);
                for segment in segments[first..].iter().take_while(|segment| segment.offset < end) {
                    let from = segment.offset.max(at);
                    let to = (segment.offset + segment.len).min(end);
                    self.out.zeros(from - at)?;
                    let position = segment.at.forward(from - segment.offset).ok_or_else(beyond)?;
                    self.out.copy(store, position, to - from)?;
                    at = to;
                }
                self.out.zeros(end - at)
            }
        }
    }

    fn tree_blocks(
        &mut self,
        placed: Placed,
        ino: u32,
        ranges: impl Iterator<Item = (u64, u64)>,
    ) -> Result<()> {
        if placed.tree_blocks == 0 {
            return Ok(());
        }
        let geometry = &self.plan.geometry;
        let tree = self.plan.extent_tree(placed, ino, ranges);
        let runs = geometry.runs(placed.tree_start(geometry), u64::from(placed.tree_blocks));
        for (block, place) in tree.blocks.iter().zip(runs.flat_map(|run| run.start..run.start + run.len)) {
            self.go_to(place)?;
            self.out.data(block)?;
        }
        Ok(())
    }
}

const _: () = assert!(Slot::LOST_FOUND.0 + EXT4_GOOD_OLD_FIRST_INO - 1 == 11);
