//! What the `ext4-view` crate doesn't tell of a filesystem: which inode a name means, numbers of devices, where the holes of
//! files are, times outside of 1970 to 2038, extended attributes ([`crate::ext4_xattrs`]).
//!
//! This shares nothing with the code that writes images. It reads what may be hostile: each block of a directory counts once,
//! extents have to ascend, and nothing is allocated by a number that was only read.
//!
//! Source: kernel documentation, `Documentation/filesystems/ext4`.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use lfs_image::tree::{Device, Timestamp};
use lfs_image::{Error, ErrorKind, Result};

/// The inode of the root directory.
pub(crate) const ROOT: u32 = 2;

const SUPERBLOCK: u64 = 1024;
const MAGIC: u16 = 0xef53;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
/// What a directory's block ends with where there are checksums, and what a hash tree's node looks like: no inode.
const NOTHING: u32 = 0;

const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;
const EXTENT_MAGIC: u16 = 0xf30a;
/// An extent that is longer than this was never written.
const MAX_WRITTEN: u16 = 0x8000;
/// How deep a tree of extents may be.
const MAX_DEPTH: u16 = 5;

/// A filesystem at an offset of an image.
#[derive(Debug)]
pub(crate) struct Raw {
    image: File,
    offset: u64,
    pub(crate) block_size: u64,
    blocks: u64,
    first_block: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: u16,
    desc_size: u64,
    /// Of checksums, where there are any.
    seed: Option<u32>,
}

/// An inode as it lies there.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) number: u32,
    pub(crate) bytes: Vec<u8>,
    /// Of the checksums of what belongs to it.
    seed: Option<u32>,
}

/// Blocks of a file that lie one behind the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Extent {
    /// The first one's number in the file.
    pub(crate) logical: u64,
    /// And on the filesystem.
    pub(crate) physical: u64,
    pub(crate) len: u64,
}

fn damaged(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Input, what)
}

pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn wide(low: u32, high: u16) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl Raw {
    pub(crate) fn load(image: &File, offset: u64) -> Result<Self> {
        let image = image.try_clone().map_err(|e| Error::io("open the image again", e))?;
        let mut sb = [0; 1024];
        image.read_exact_at(&mut sb, offset + SUPERBLOCK).map_err(|e| Error::io("read the superblock", e))?;
        if le16(&sb, 0x38) != MAGIC {
            return Err(damaged("there is no ext4 filesystem"));
        }
        let (incompat, ro_compat) = (le32(&sb, 0x60), le32(&sb, 0x64));
        if incompat & INCOMPAT_META_BG != 0 {
            return Err(damaged("the filesystem has the feature meta_bg, which isn't read"));
        }
        let is_wide = incompat & INCOMPAT_64BIT != 0;
        let block_size = match le32(&sb, 0x18) {
            log @ 0..=6 => 1024_u64 << log,
            log => return Err(damaged(format!("blocks of 2^{log} KiB"))),
        };
        let seed = (ro_compat & RO_COMPAT_METADATA_CSUM != 0).then(|| match incompat & INCOMPAT_CSUM_SEED {
            0 => checksum(!0, &sb[0x68..0x78]),
            _ => le32(&sb, 0x270),
        });
        let raw = Self {
            image,
            offset,
            block_size,
            blocks: u64::from(le32(&sb, 0x4)) | if is_wide { u64::from(le32(&sb, 0x150)) << 32 } else { 0 },
            first_block: le32(&sb, 0x14).into(),
            inodes: le32(&sb, 0),
            inodes_per_group: le32(&sb, 0x28),
            inode_size: if le32(&sb, 0x4c) == 0 { 128 } else { le16(&sb, 0x58) },
            desc_size: if is_wide { le16(&sb, 0xfe).into() } else { 32 },
            seed,
        };
        let sound = raw.inodes_per_group > 0
            && (128..=raw.block_size).contains(&u64::from(raw.inode_size))
            && (32..=1024).contains(&raw.desc_size)
            && (!is_wide || raw.desc_size >= 64)
            && raw.first_block <= 1;
        if sound { Ok(raw) } else { Err(damaged("its superblock makes no sense")) }
    }

    /// Bytes at an offset of the filesystem.
    fn read_at(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        let at = self.offset.checked_add(at).ok_or_else(|| damaged("an offset beyond all files"))?;
        self.image.read_exact_at(buf, at).map_err(|e| Error::io(format!("read the image at byte {at}"), e))
    }

    /// A block; the first is none that anything points to.
    pub(crate) fn block(&self, number: u64) -> Result<Vec<u8>> {
        if number == 0 || number >= self.blocks {
            return Err(damaged(format!("block {number} of {}", self.blocks)));
        }
        let mut block = vec![0; usize::try_from(self.block_size).unwrap_or_default()];
        self.read_at(number * self.block_size, &mut block)?;
        Ok(block)
    }

    /// Where a block begins on the image.
    pub(crate) fn place(&self, block: u64) -> u64 {
        self.offset + block * self.block_size
    }

    /// A block of extended attributes, with the checksum that it should have.
    pub(crate) fn attribute_block(&self, number: u64) -> Result<Vec<u8>> {
        const CHECKSUM: std::ops::Range<usize> = 0x10..0x14;
        let block = self.block(number)?;
        if let Some(seed) = self.seed {
            let mut blank = block.clone();
            blank[CHECKSUM].fill(0);
            let computed = checksum(checksum(seed, &number.to_le_bytes()), &blank);
            if le32(&block, CHECKSUM.start) != computed {
                return Err(damaged(format!("block {number}: the checksum of its attributes is wrong")));
            }
        }
        Ok(block)
    }

    pub(crate) fn inode(&self, number: u32) -> Result<Inode> {
        let fault = |what: &str| damaged(format!("inode {number}: {what}"));
        if number == 0 || number > self.inodes {
            return Err(fault(&format!("there are {}", self.inodes)));
        }
        let (group, nth) = ((number - 1) / self.inodes_per_group, (number - 1) % self.inodes_per_group);
        let mut desc = vec![0; usize::try_from(self.desc_size).unwrap_or_default()];
        self.read_at(
            (self.first_block + 1) * self.block_size + u64::from(group) * self.desc_size,
            &mut desc,
        )?;
        let high = if self.desc_size >= 64 { le32(&desc, 0x28) } else { 0 };
        let table = u64::from(le32(&desc, 0x8)) | u64::from(high) << 32;
        if table >= self.blocks {
            return Err(fault("its table is beyond the filesystem"));
        }
        let mut bytes = vec![0; usize::from(self.inode_size)];
        self.read_at(table * self.block_size + u64::from(nth) * u64::from(self.inode_size), &mut bytes)?;
        let mut inode = Inode { number, bytes, seed: None };
        if let Some(seed) = self.seed {
            let seed = checksum(seed, &number.to_le_bytes());
            let seed = checksum(seed, &inode.bytes[0x64..0x68]);
            inode.seed = Some(seed);
            let mut blank = inode.bytes.clone();
            blank[0x7c..0x7e].fill(0);
            let has_high = inode.extra() >= 4;
            if has_high {
                blank[0x82..0x84].fill(0);
            }
            let high = if has_high { le16(&inode.bytes, 0x82) } else { 0 };
            let stored = u32::from(le16(&inode.bytes, 0x7c)) | u32::from(high) << 16;
            let computed = checksum(seed, &blank) & if has_high { !0 } else { 0xffff };
            if stored != computed {
                return Err(fault("its checksum is wrong"));
            }
        }
        Ok(inode)
    }

    /// Where the content of a file or a directory is: what isn't named was never written and reads as zeros.
    pub(crate) fn extents(&self, inode: &Inode) -> Result<Vec<Extent>> {
        let mut found = Found { raw: self, inode, extents: Vec::new(), next: 0 };
        if inode.flags() & FLAG_INLINE_DATA != 0 {
            return Err(inode.fault("its content is inline, which isn't read"));
        }
        if inode.flags() & FLAG_EXTENTS != 0 {
            found.extent_node(inode.block_map(), None)?;
        } else {
            found.block_map()?;
        }
        Ok(found.extents)
    }

    /// The names in a directory and the inodes that they mean. Blocks that were `seen` already are an error: a directory is
    /// never in two places.
    pub(crate) fn directory(&self, inode: &Inode, seen: &mut BTreeSet<u64>) -> Result<Vec<(Vec<u8>, u32)>> {
        let mut names = Vec::new();
        for Extent { physical, len, .. } in self.extents(inode)? {
            for number in physical..physical.saturating_add(len) {
                if !seen.insert(number) {
                    return Err(inode.fault(&format!("block {number} is in another directory, too")));
                }
                let block = self.block(number)?;
                let mut at = 0;
                while at < block.len() {
                    let entry = &block[at..];
                    // The largest length doesn't fit into its field where blocks have 64 KiB.
                    let len = match le16(entry, 4) {
                        0 | u16::MAX if block.len() == 1 << 16 => block.len(),
                        len => usize::from(len),
                    };
                    let name_len = usize::from(entry.get(6).copied().unwrap_or_default());
                    if len < 8 || len > entry.len() || 8 + name_len > len {
                        return Err(
                            inode.fault(&format!("the entry at byte {at} of block {number} is damaged"))
                        );
                    }
                    let name = &entry[8..8 + name_len];
                    match le32(entry, 0) {
                        NOTHING => {}
                        _ if matches!(name, b"." | b"..") => {}
                        child => names.push((name.to_vec(), child)),
                    }
                    at += len;
                }
            }
        }
        Ok(names)
    }

    /// The whole content of a file of no more than `most` bytes.
    pub(crate) fn content(&self, inode: &Inode, most: u64) -> Result<Vec<u8>> {
        let size = inode.size();
        if size > most {
            return Err(inode.fault(&format!("{size} bytes, where at most {most} can be")));
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or_default()];
        for Extent { logical, physical, len } in self.extents(inode)? {
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

fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    // The crate inverts before and after, the filesystem doesn't.
    !crc32c::crc32c_append(!seed, bytes)
}

/// A walk through what an inode says about its blocks.
struct Found<'a> {
    raw: &'a Raw,
    inode: &'a Inode,
    extents: Vec<Extent>,
    /// The first block of the file that may come next.
    next: u64,
}

impl Found<'_> {
    fn push(&mut self, logical: u64, physical: u64, len: u64) -> Result<()> {
        let end = physical.checked_add(len).filter(|end| *end <= self.raw.blocks);
        if logical < self.next || len == 0 || physical == 0 || end.is_none() {
            let what = format!("{len} blocks at {physical} for block {logical} of the file make no sense");
            return Err(self.inode.fault(&what));
        }
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

impl Inode {
    pub(crate) fn fault(&self, what: &str) -> Error {
        damaged(format!("inode {}: {what}", self.number))
    }

    /// Type and permissions.
    pub(crate) fn mode(&self) -> u16 {
        le16(&self.bytes, 0)
    }

    pub(crate) fn uid(&self) -> u32 {
        u32::from(le16(&self.bytes, 0x2)) | u32::from(le16(&self.bytes, 0x78)) << 16
    }

    pub(crate) fn gid(&self) -> u32 {
        u32::from(le16(&self.bytes, 0x18)) | u32::from(le16(&self.bytes, 0x7a)) << 16
    }

    pub(crate) fn size(&self) -> u64 {
        u64::from(le32(&self.bytes, 0x4)) | u64::from(le32(&self.bytes, 0x6c)) << 32
    }

    fn flags(&self) -> u32 {
        le32(&self.bytes, 0x20)
    }

    /// The 60 bytes that say where the content is, or are it.
    pub(crate) fn block_map(&self) -> &[u8] {
        &self.bytes[0x28..0x64]
    }

    /// Bytes beyond the first 128 that have a meaning.
    pub(crate) fn extra(&self) -> usize {
        if self.bytes.len() >= 0x82 {
            usize::from(le16(&self.bytes, 0x80)).min(self.bytes.len() - 128)
        } else {
            0
        }
    }

    /// The block with extended attributes, if there is one.
    pub(crate) fn attribute_block(&self) -> u64 {
        wide(le32(&self.bytes, 0x68), le16(&self.bytes, 0x76))
    }

    /// The number of a device, in either of the two ways that it is kept.
    pub(crate) fn device(&self) -> Device {
        let (old, new) = (le32(self.block_map(), 0), le32(self.block_map(), 4));
        if old != 0 {
            return Device { major: old >> 8 & 0xff, minor: old & 0xff };
        }
        Device { major: (new & 0xf_ff00) >> 8, minor: new & 0xff | new >> 12 & 0xf_ff00 }
    }

    /// Last access, change of the inode, modification, creation.
    pub(crate) fn times(&self) -> [Option<Timestamp>; 4] {
        let has = |end: usize| self.extra() + 128 >= end;
        let time = |at: usize, extra: usize| {
            // Two bits count how often 32 bits went round; what they hold is signed.
            let sec = i64::from(le32(&self.bytes, at).cast_signed());
            let extra = if has(extra + 4) { le32(&self.bytes, extra) } else { 0 };
            Timestamp { sec: sec + (i64::from(extra & 3) << 32), nsec: (extra >> 2).min(999_999_999) }
        };
        [
            Some(time(0x8, 0x8c)),
            Some(time(0xc, 0x84)),
            Some(time(0x10, 0x88)),
            has(0x98).then(|| time(0x90, 0x94)),
        ]
    }
}
