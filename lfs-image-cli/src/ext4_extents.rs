//! Where the content of a file lies: trees of extents, and the lists of blocks that ext2 and ext3 have.

use std::collections::BTreeSet;

use lfs_image::Result;

use crate::ext4_raw::{Inode, Raw, checksum, le16, le32, wide};

const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;
const EXTENT_MAGIC: u16 = 0xf30a;
/// An extent that is longer than this was never written.
const MAX_WRITTEN: u16 = 0x8000;
/// How deep a tree of extents may be.
const MAX_DEPTH: u16 = 5;

/// Blocks of a file that lie one behind the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Extent {
    /// The first one's number in the file.
    pub(crate) logical: u64,
    /// And on the filesystem.
    pub(crate) physical: u64,
    pub(crate) len: u64,
}

impl Raw {
    /// Where the content of a file or a directory is: what isn't named was never written and reads as zeros. Asked once for each
    /// inode, since its blocks are nobody else's from then on: that bounds the work that a filesystem can make.
    pub(crate) fn extents(&self, inode: &Inode) -> Result<Vec<Extent>> {
        let (extents, left) = self.extents_within(inode, self.unclaimed.get())?;
        self.unclaimed.set(left);
        Ok(extents)
    }

    /// Where it is, and how many of `most` blocks are left.
    fn extents_within(&self, inode: &Inode, most: u64) -> Result<(Vec<Extent>, u64)> {
        let mut found = Found { raw: self, inode, extents: Vec::new(), next: 0, left: most };
        if inode.flags() & FLAG_INLINE_DATA != 0 {
            return Err(inode.fault("its content is inline, which isn't read"));
        }
        if inode.flags() & FLAG_EXTENTS != 0 {
            found.extent_node(inode.block_map(), None)?;
        } else {
            found.block_map()?;
        }
        Ok((found.extents, found.left))
    }

    /// The whole content of a file of no more than `most` bytes.
    pub(crate) fn content(&self, inode: &Inode, most: u64) -> Result<Vec<u8>> {
        let size = inode.size();
        if size > most {
            return Err(inode.fault(&format!("{size} bytes, where at most {most} can be")));
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or_default()];
        // Attributes that are inodes may belong to many, so nothing is claimed. A block of the tree may come on top.
        let (extents, _) = self.extents_within(inode, most.div_ceil(self.block_size) + 1)?;
        for Extent { logical, physical, len } in extents {
            for nth in 0..len {
                let start = (logical + nth).saturating_mul(self.block_size);
                if start >= size {
                    break;
                }
                let start = usize::try_from(start).unwrap_or_default();
                let block = self.block(physical + nth)?;
                let n = block.len().min(content.len() - start);
                content[start..start + n].copy_from_slice(&block[..n]);
            }
        }
        Ok(content)
    }
}

/// A walk through what an inode says about its blocks.
struct Found<'a> {
    raw: &'a Raw,
    inode: &'a Inode,
    extents: Vec<Extent>,
    /// The first block of the file that may come next.
    next: u64,
    /// How many blocks it may still have, those of the tree included.
    left: u64,
}

impl Found<'_> {
    fn spend(&mut self, blocks: u64) -> Result<()> {
        let left = self.left.checked_sub(blocks);
        self.left = left.ok_or_else(|| self.inode.fault("it has more blocks than there can be"))?;
        Ok(())
    }

    fn push(&mut self, logical: u64, physical: u64, len: u64) -> Result<()> {
        let end = physical.checked_add(len).filter(|end| *end <= self.raw.blocks);
        if logical < self.next || len == 0 || physical == 0 || end.is_none() {
            let what = format!("{len} blocks at {physical} for block {logical} of the file make no sense");
            return Err(self.inode.fault(&what));
        }
        self.spend(len)?;
        self.next = logical + len;
        match self.extents.last_mut() {
            Some(last) if last.logical + last.len == logical && last.physical + last.len == physical => {
                last.len += len;
            }
            _ => self.extents.push(Extent { logical, physical, len }),
        }
        Ok(())
    }

    /// A node of a tree of extents; `depth` is what the one above says.
    fn extent_node(&mut self, node: &[u8], depth: Option<u16>) -> Result<()> {
        let bad = |what: &str| self.inode.fault(&format!("a node of its extents {what}"));
        let (entries, deep) = (usize::from(le16(node, 2)), le16(node, 6));
        if le16(node, 0) != EXTENT_MAGIC
            || deep > MAX_DEPTH
            || depth.is_some_and(|depth| depth != deep)
            || 12 + 12 * entries > node.len()
            // Below the first one, an empty node is none: or one block could be named again and again.
            || (depth.is_some() && entries == 0)
        {
            return Err(bad("makes no sense"));
        }
        if let (Some(_), Some(seed)) = (depth, self.inode.seed) {
            let end = 12 + 12 * usize::from(le16(node, 4));
            if end + 4 > node.len() || le32(node, end) != checksum(seed, &node[..end]) {
                return Err(bad("has a wrong checksum"));
            }
        }
        for entry in node[12..12 + 12 * entries].chunks_exact(12) {
            let logical = u64::from(le32(entry, 0));
            if deep > 0 {
                if logical < self.next {
                    return Err(self.inode.fault("its extents don't ascend"));
                }
                self.spend(1)?;
                let block = self.raw.block(wide(le32(entry, 4), le16(entry, 8)))?;
                self.extent_node(&block, Some(deep - 1))?;
                continue;
            }
            let len = le16(entry, 4);
            if len > MAX_WRITTEN {
                // A promise of space, which reads as zeros.
                if logical < self.next {
                    return Err(self.inode.fault("its extents don't ascend"));
                }
                self.spend(u64::from(len - MAX_WRITTEN))?;
                self.next = logical + u64::from(len - MAX_WRITTEN);
                continue;
            }
            self.push(logical, wide(le32(entry, 8), le16(entry, 6)), len.into())?;
        }
        Ok(())
    }

    /// Blocks one by one, as ext2 and ext3 have them.
    fn block_map(&mut self) -> Result<()> {
        let map = self.inode.block_map().to_vec();
        let mut seen = BTreeSet::new();
        let mut logical = 0;
        for n in 0..12 {
            self.mapped(le32(&map, 4 * n).into(), &mut logical)?;
        }
        for (level, n) in [(1, 12), (2, 13), (3, 14)] {
            self.indirect(le32(&map, 4 * n).into(), level, &mut logical, &mut seen)?;
        }
        Ok(())
    }

    fn mapped(&mut self, block: u64, logical: &mut u64) -> Result<()> {
        if block != 0 {
            self.push(*logical, block, 1)?;
        }
        *logical += 1;
        Ok(())
    }

    fn indirect(
        &mut self,
        number: u64,
        level: u32,
        logical: &mut u64,
        seen: &mut BTreeSet<u64>,
    ) -> Result<()> {
        let pointers = self.raw.block_size / 4;
        if number == 0 {
            *logical += pointers.pow(level);
            return Ok(());
        }
        if !seen.insert(number) {
            return Err(self.inode.fault(&format!("block {number} lists its blocks twice")));
        }
        self.spend(1)?;
        let block = self.raw.block(number)?;
        for pointer in block.chunks_exact(4) {
            let pointer = u64::from(le32(pointer, 0));
            match level {
                1 => self.mapped(pointer, logical)?,
                _ => self.indirect(pointer, level - 1, logical, seen)?,
            }
        }
        Ok(())
    }
}
