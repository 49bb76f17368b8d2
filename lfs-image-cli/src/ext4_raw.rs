//! Superblock, group descriptors and inodes of an ext4 filesystem. [`crate::ext4_extents`] finds content, [`crate::ext4_dirs`] names,
//! [`crate::ext4_xattrs`] attributes; [`crate::ext4_tree`] makes a tree of all.
//!
//! This shares nothing with the code that writes images. It reads what may be hostile: what has a checksum has to have the right
//! one, each block of a directory counts once, extents have to ascend, files have no more blocks than there are, and nothing is
//! allocated by a number that was only read.
//!
//! Source: kernel documentation, `Documentation/filesystems/ext4`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use lfs_image::tree::{Device, Timestamp};
use lfs_image::{Error, ErrorKind, Result};

/// The inode of the root directory.
pub(crate) const ROOT: u32 = 2;

const SUPERBLOCK: u64 = 1024;
const MAGIC: u16 = 0xef53;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
const RO_COMPAT_SHARED_BLOCKS: u32 = 0x4000;
/// What may be on and is read as it is: filetype, extents, 64bit, mmp, flex_bg, ea_inode, metadata_csum_seed, large_dir, inline_data
/// (each file says whether it is), casefold.
const INCOMPAT_READ: u32 =
    0x2 | 0x40 | INCOMPAT_64BIT | 0x100 | 0x200 | 0x400 | INCOMPAT_CSUM_SEED | 0x4000 | 0x8000 | 0x2_0000;

/// A filesystem at an offset of an image.
#[derive(Debug)]
pub(crate) struct Raw {
    image: File,
    offset: u64,
    pub(crate) block_size: u64,
    pub(crate) blocks: u64,
    first_block: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: u16,
    desc_size: u64,
    /// Of checksums, where there are any.
    seed: Option<u32>,
    /// Where the tables of inodes are, of groups that were asked for.
    tables: RefCell<BTreeMap<u32, u64>>,
    /// Blocks that no file has had yet: on a sound filesystem no two have the same.
    pub(crate) unclaimed: Cell<u64>,
    /// Bytes of attributes in inodes of their own that may still be read. Many files may share one, but not for ever.
    pub(crate) values_left: Cell<u64>,
}

/// An inode as it lies there.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) number: u32,
    pub(crate) bytes: Vec<u8>,
    /// Of the checksums of what belongs to it.
    pub(crate) seed: Option<u32>,
}

pub(crate) fn damaged(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Input, what)
}

pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

pub(crate) fn wide(low: u32, high: u16) -> u64 {
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
        if incompat & INCOMPAT_RECOVER != 0 {
            return Err(damaged(
                "its journal has changes that aren't in it yet: a mount or `e2fsck -p` puts them there",
            ));
        }
        let unknown = incompat & !INCOMPAT_READ;
        if unknown != 0 || ro_compat & RO_COMPAT_SHARED_BLOCKS != 0 {
            return Err(damaged(format!(
                "the filesystem has features that aren't read (incompat {unknown:#x}, ro_compat {:#x})",
                ro_compat & RO_COMPAT_SHARED_BLOCKS
            )));
        }
        let is_wide = incompat & INCOMPAT_64BIT != 0;
        let block_size = match le32(&sb, 0x18) {
            log @ 0..=6 => 1024_u64 << log,
            log => return Err(damaged(format!("blocks of 2^{log} KiB"))),
        };
        let has_checksums = ro_compat & RO_COMPAT_METADATA_CSUM != 0;
        if has_checksums && checksum(!0, &sb[..0x3fc]) != le32(&sb, 0x3fc) {
            return Err(damaged("the checksum of its superblock is wrong"));
        }
        let seed = has_checksums.then(|| match incompat & INCOMPAT_CSUM_SEED {
            0 => checksum(!0, &sb[0x68..0x78]),
            _ => le32(&sb, 0x270),
        });
        let blocks = u64::from(le32(&sb, 0x4)) | if is_wide { u64::from(le32(&sb, 0x150)) << 32 } else { 0 };
        let raw = Self {
            image,
            offset,
            block_size,
            blocks,
            first_block: le32(&sb, 0x14).into(),
            inodes: le32(&sb, 0),
            inodes_per_group: le32(&sb, 0x28),
            inode_size: if le32(&sb, 0x4c) == 0 { 128 } else { le16(&sb, 0x58) },
            desc_size: if is_wide { le16(&sb, 0xfe).into() } else { 32 },
            seed,
            tables: RefCell::default(),
            unclaimed: Cell::new(blocks),
            values_left: Cell::new(
                blocks.saturating_mul(block_size).saturating_mul(16).saturating_add(256 << 20),
            ),
        };
        let sound = raw.inodes_per_group > 0
            && (128..=raw.block_size).contains(&u64::from(raw.inode_size))
            && (32..=1024).contains(&raw.desc_size)
            && (!is_wide || raw.desc_size >= 64)
            && raw.first_block <= 1
            // So that no sum of offsets within it overflows; the format ends long before.
            && blocks.checked_mul(block_size).is_some_and(|len| len <= 1 << 62);
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

    /// The first block of a group's table of inodes.
    fn table(&self, group: u32) -> Result<u64> {
        const CHECKSUM: std::ops::Range<usize> = 0x1e..0x20;
        if let Some(table) = self.tables.borrow().get(&group) {
            return Ok(*table);
        }
        let fault = |what: &str| damaged(format!("the descriptor of group {group}: {what}"));
        let mut desc = vec![0; usize::try_from(self.desc_size).unwrap_or_default()];
        let at = (self.first_block + 1) * self.block_size + u64::from(group) * self.desc_size;
        self.read_at(at, &mut desc)?;
        if let Some(seed) = self.seed {
            let stored = le16(&desc, CHECKSUM.start);
            desc[CHECKSUM].fill(0);
            if u32::from(stored) != checksum(checksum(seed, &group.to_le_bytes()), &desc) & 0xffff {
                return Err(fault("its checksum is wrong"));
            }
        }
        let high = if self.desc_size >= 64 { le32(&desc, 0x28) } else { 0 };
        let table = u64::from(le32(&desc, 0x8)) | u64::from(high) << 32;
        if table >= self.blocks {
            return Err(fault("its table of inodes is beyond the filesystem"));
        }
        self.tables.borrow_mut().insert(group, table);
        Ok(table)
    }

    pub(crate) fn inode(&self, number: u32) -> Result<Inode> {
        let fault = |what: &str| damaged(format!("inode {number}: {what}"));
        if number == 0 || number > self.inodes {
            return Err(fault(&format!("there are {}", self.inodes)));
        }
        let (group, nth) = ((number - 1) / self.inodes_per_group, (number - 1) % self.inodes_per_group);
        let table = self.table(group).map_err(|error| error.context(format!("inode {number}")))?;
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
}

pub(crate) fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    // The crate inverts before and after, the filesystem doesn't.
    !crc32c::crc32c_append(!seed, bytes)
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

    pub(crate) fn flags(&self) -> u32 {
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
