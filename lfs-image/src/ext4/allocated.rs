//! Which blocks of an ext4 that somebody made are in use, and which of those nobody ever wrote.
//!
//! The block bitmaps tell what is in use. Among that are inode tables, and bitmaps of empty groups, which `mke2fs` leaves
//! to be initialised by the kernel; the group's descriptor says so, and nothing reads them before that.
//!
//! A map that is wrong loses data. So a filesystem must be cleanly unmounted and its superblock, descriptors
//! and bitmaps must agree with each other and with their checksums; if not, all of it counts as in use. So it does with features
//! that put things elsewhere: `bigalloc`, `meta_bg`, journals on other disks.
//!
//! Source: kernel documentation, "Block Group Descriptors" and "Checksums" (`Documentation/filesystems/ext4`).

use zerocopy::FromBytes as _;

use super::found::SUPERBLOCK;
use super::records::group::{EXT4_BG_BLOCK_UNINIT, EXT4_BG_INODE_UNINIT, GroupDesc};
use super::records::superblock::{EXT4_SUPER_MAGIC, EXT4_VALID_FS, SuperBlock};
use crate::error::{Error, Result};
use crate::raw::crc::crc32c;
use crate::raw::num::{index, lo16, lo32};

/// `bg_flags`: the group's inode table is all there, zeros included.
const EXT4_BG_INODE_ZEROED: u16 = 4;
/// `s_state`: the kernel found errors.
const EXT4_ERROR_FS: u16 = 2;

type ReadAt<'a> = &'a dyn Fn(u64, &mut [u8]) -> Result<()>;

/// Calls `mark` with the ranges of bytes that are in use, of the filesystem in `len` bytes at `offset` of a disk. `None`
/// where there is no ext2, ext3 or ext4; else the filesystem's length, or why all of it must count as in use.
///
/// # Errors
///
/// When the disk can't be read.
pub(crate) fn allocated(
    offset: u64,
    len: u64,
    read_at: ReadAt<'_>,
    mark: &mut dyn FnMut(u64, u64),
) -> Result<Option<Result<u64, String>>> {
    let (at, size) = SUPERBLOCK;
    if len < at + size as u64 {
        return Ok(None);
    }
    let mut bytes = [0; SUPERBLOCK.1];
    read_at(offset + at, &mut bytes)?;
    let sb =
        SuperBlock::ref_from_bytes(&bytes).map_err(|_| Error::internal("a superblock of another size"))?;
    if sb.s_magic.get() != EXT4_SUPER_MAGIC {
        return Ok(None);
    }
    let shape = match Shape::new(sb, &bytes, len) {
        Ok(shape) => shape,
        Err(why) => return Ok(Some(Err(why))),
    };
    let groups = match shape.groups(offset, read_at)? {
        Ok(groups) => groups,
        Err(why) => return Ok(Some(Err(why))),
    };
    if let Err(why) = shape.mark(offset, &groups, read_at, mark)? {
        return Ok(Some(Err(why)));
    }
    Ok(Some(Ok(shape.blocks * shape.block_size)))
}

/// What a superblock says about where things are.
struct Shape {
    block_size: u64,
    first_block: u64,
    blocks: u64,
    blocks_per_group: u64,
    groups: u64,
    inodes_per_group: u64,
    inode_size: u64,
    desc_size: u64,
    reserved_gdt_blocks: u64,
    sparse: bool,
    backup_groups: Option<[u64; 2]>,
    /// Of checksums, where there are any.
    seed: Option<u32>,
}

/// What a descriptor says of its group.
struct Group {
    block_bitmap: u64,
    inode_bitmap: u64,
    inode_table: u64,
    free_blocks: u64,
    flags: u16,
    unused_inodes: u64,
    block_bitmap_csum: u32,
}

impl Shape {
    fn new(sb: &SuperBlock, bytes: &[u8; SUPERBLOCK.1], len: u64) -> Result<Self, String> {
        let (compat, incompat, ro_compat) =
            (sb.s_feature_compat.get(), sb.s_feature_incompat.get(), sb.s_feature_ro_compat.get());
        if incompat & !INCOMPAT_KNOWN != 0 {
            return Err(format!("it has features that lfs-image doesn't know ({incompat:#x})"));
        }
        let checksums = ro_compat & RO_COMPAT_METADATA_CSUM != 0;
        if checksums && sb.s_checksum.get() != crc32c(!0, &bytes[..SUPERBLOCK.1 - 4]) {
            return Err("its superblock's checksum is wrong".to_owned());
        }
        if sb.s_state.get() & (EXT4_VALID_FS | EXT4_ERROR_FS) != EXT4_VALID_FS
            || incompat & INCOMPAT_RECOVER != 0
            || sb.s_last_orphan.get() != 0
        {
            return Err("it was not cleanly unmounted".to_owned());
        }
        if ro_compat & RO_COMPAT_BIGALLOC != 0 || incompat & (INCOMPAT_META_BG | INCOMPAT_JOURNAL_DEV) != 0 {
            return Err("it has one of the features bigalloc, meta_bg, journal_dev".to_owned());
        }
        let wide = incompat & INCOMPAT_64BIT != 0;
        let block_size = match sb.s_log_block_size.get() {
            log @ 0..=6 => 1024_u64 << log,
            log => return Err(format!("its blocks have 2^{log} KiB")),
        };
        let blocks = u64::from(sb.s_blocks_count_lo.get())
            | if wide { u64::from(sb.s_blocks_count_hi.get()) << 32 } else { 0 };
        let first_block = u64::from(sb.s_first_data_block.get());
        let blocks_per_group = u64::from(sb.s_blocks_per_group.get());
        let inodes_per_group = u64::from(sb.s_inodes_per_group.get());
        let inode_size = match sb.s_rev_level.get() {
            0 => 128,
            _ => u64::from(sb.s_inode_size.get()),
        };
        let desc_size = if wide { u64::from(sb.s_desc_size.get()) } else { 32 };
        let sound = blocks_per_group > 0
            && blocks_per_group <= 8 * block_size
            && first_block < blocks
            && first_block <= 1
            && blocks.checked_mul(block_size).is_some_and(|bytes| bytes <= len)
            && inodes_per_group > 0
            && inodes_per_group <= 8 * block_size
            && (128..=block_size).contains(&inode_size)
            && (32..=1024).contains(&desc_size)
            && (!wide || desc_size >= 64);
        if !sound {
            return Err("its superblock makes no sense".to_owned());
        }
        let mut seed = None;
        if checksums {
            seed = Some(if incompat & INCOMPAT_CSUM_SEED != 0 {
                sb.s_checksum_seed.get()
            } else {
                crc32c(!0, &sb.s_uuid)
            });
        }
        let sparse_2 = compat & COMPAT_SPARSE_SUPER2 != 0;
        Ok(Self {
            block_size,
            first_block,
            blocks,
            blocks_per_group,
            groups: (blocks - first_block).div_ceil(blocks_per_group),
            inodes_per_group,
            inode_size,
            desc_size,
            reserved_gdt_blocks: u64::from(sb.s_reserved_gdt_blocks.get()),
            sparse: ro_compat & RO_COMPAT_SPARSE_SUPER != 0,
            backup_groups: sparse_2.then(|| sb.s_backup_bgs.map(|group| group.get().into())),
            seed,
        })
    }

    /// The descriptors, all of them sound.
    fn groups(&self, offset: u64, read_at: ReadAt<'_>) -> Result<Result<Vec<Group>, String>> {
        /// Descriptors that are read at once.
        const BATCH: u64 = 4096;
        let mut groups = Vec::new();
        let table = offset + (self.first_block + 1) * self.block_size;
        if (self.first_block + 1) * self.block_size + self.groups * self.desc_size
            > self.blocks * self.block_size
        {
            return Ok(Err("its descriptors are beyond its end".to_owned()));
        }
        let mut bytes = Vec::new();
        for first in (0..self.groups).step_by(index(BATCH)) {
            let n = BATCH.min(self.groups - first);
            bytes.resize(index(n * self.desc_size), 0);
            read_at(table + first * self.desc_size, &mut bytes)?;
            for (number, desc) in (first..).zip(bytes.chunks_exact(index(self.desc_size))) {
                match self.group(number, desc) {
                    Ok(group) => groups.push(group),
                    Err(why) => return Ok(Err(why)),
                }
            }
        }
        Ok(Ok(groups))
    }

    fn group(&self, number: u64, desc: &[u8]) -> Result<Group, String> {
        const CHECKSUM: std::ops::Range<usize> = 0x1e..0x20;
        // Old descriptors have the first half.
        let mut whole = [0; size_of::<GroupDesc>()];
        let n = desc.len().min(whole.len());
        whole[..n].copy_from_slice(&desc[..n]);
        let record: GroupDesc = zerocopy::transmute!(whole);
        if let Some(seed) = self.seed {
            let mut blank = desc.to_vec();
            blank[CHECKSUM].fill(0);
            let computed = lo16(crc32c(crc32c(seed, &lo32(number).to_le_bytes()), &blank));
            if computed != record.bg_checksum.get() {
                return Err(format!("the checksum of group {number} is wrong"));
            }
        }
        let wide = |lo: u32, hi: u32| u64::from(lo) | u64::from(hi) << 32;
        let both = |lo: u16, hi: u16| u32::from(lo) | u32::from(hi) << 16;
        let group = Group {
            block_bitmap: wide(record.bg_block_bitmap_lo.get(), record.bg_block_bitmap_hi.get()),
            inode_bitmap: wide(record.bg_inode_bitmap_lo.get(), record.bg_inode_bitmap_hi.get()),
            inode_table: wide(record.bg_inode_table_lo.get(), record.bg_inode_table_hi.get()),
            free_blocks: both(record.bg_free_blocks_count_lo.get(), record.bg_free_blocks_count_hi.get())
                .into(),
            // Only where there are checksums did anything keep the flags right.
            flags: if self.seed.is_some() { record.bg_flags.get() } else { 0 },
            unused_inodes: both(record.bg_itable_unused_lo.get(), record.bg_itable_unused_hi.get()).into(),
            block_bitmap_csum: both(
                record.bg_block_bitmap_csum_lo.get(),
                record.bg_block_bitmap_csum_hi.get(),
            ),
        };
        let within = |block: u64, count: u64| {
            block > self.first_block && block.checked_add(count).is_some_and(|end| end <= self.blocks)
        };
        if !within(group.block_bitmap, 1)
            || !within(group.inode_bitmap, 1)
            || !within(group.inode_table, self.table_blocks())
            || group.unused_inodes > self.inodes_per_group
        {
            return Err(format!("the descriptor of group {number} makes no sense"));
        }
        Ok(group)
    }

    fn table_blocks(&self) -> u64 {
        (self.inodes_per_group * self.inode_size).div_ceil(self.block_size)
    }

    /// The blocks of a group: the first, and the one behind the last.
    fn bounds(&self, number: u64) -> (u64, u64) {
        let start = self.first_block + number * self.blocks_per_group;
        (start, self.blocks.min(start + self.blocks_per_group))
    }

    /// What is marked as in use, of its own metadata, but was never written.
    fn never_written(&self, group: &Group) -> Vec<(u64, u64)> {
        if self.seed.is_none() {
            return Vec::new();
        }
        let mut ranges = Vec::new();
        if group.flags & EXT4_BG_BLOCK_UNINIT != 0 {
            ranges.push((group.block_bitmap, group.block_bitmap + 1));
        }
        let mut used = self.inodes_per_group - group.unused_inodes;
        if group.flags & EXT4_BG_INODE_UNINIT != 0 {
            ranges.push((group.inode_bitmap, group.inode_bitmap + 1));
            used = 0;
        }
        if group.flags & EXT4_BG_INODE_ZEROED == 0 {
            let used = (used * self.inode_size).div_ceil(self.block_size);
            ranges.push((group.inode_table + used, group.inode_table + self.table_blocks()));
        }
        ranges.retain(|(start, end)| start < end);
        ranges
    }

    fn mark(
        &self,
        offset: u64,
        groups: &[Group],
        read_at: ReadAt<'_>,
        mark: &mut dyn FnMut(u64, u64),
    ) -> Result<Result<(), String>> {
        let mut never: Vec<(u64, u64)> = groups.iter().flat_map(|group| self.never_written(group)).collect();
        never.sort_unstable();
        let mut in_use = |start: u64, end: u64| {
            // What lies in between was never written.
            let mut at = start;
            let first = never.partition_point(|(_, stop)| *stop <= start);
            for (from, to) in never[first..].iter().take_while(|(from, _)| *from < end) {
                if at < *from {
                    mark(offset + at * self.block_size, offset + from * self.block_size);
                }
                at = at.max(*to);
            }
            if at < end {
                mark(offset + at * self.block_size, offset + end * self.block_size);
            }
        };
        // A boot loader's place, which no bitmap covers where blocks have 1 KiB.
        in_use(0, self.first_block + 1);
        let mut bitmap = vec![0; index(self.block_size)];
        for (number, group) in (0..).zip(groups) {
            let (start, end) = self.bounds(number);
            if group.flags & EXT4_BG_BLOCK_UNINIT != 0 {
                in_use(start, end.min(start + self.backup_blocks(number)));
                for (first, count) in [
                    (group.block_bitmap, 1),
                    (group.inode_bitmap, 1),
                    (group.inode_table, self.table_blocks()),
                ] {
                    in_use(first, first + count);
                }
                continue;
            }
            read_at(offset + group.block_bitmap * self.block_size, &mut bitmap)?;
            if let Some(seed) = self.seed {
                let mut computed = crc32c(seed, &bitmap[..index(self.blocks_per_group / 8)]);
                if self.desc_size < 64 {
                    computed &= 0xffff;
                }
                if computed != group.block_bitmap_csum {
                    return Ok(Err(format!("the checksum of the block bitmap of group {number} is wrong")));
                }
            }
            let used = |bit: u64| bitmap[index(bit / 8)] >> (bit % 8) & 1 == 1;
            let mut free = 0;
            let mut bit = 0;
            while bit < end - start {
                let first = bit;
                let state = used(bit);
                while bit < end - start && used(bit) == state {
                    bit += 1;
                }
                if state {
                    in_use(start + first, start + bit);
                } else {
                    free += bit - first;
                }
            }
            if free != group.free_blocks {
                return Ok(Err(format!(
                    "group {number} has {free} free blocks and says {}",
                    group.free_blocks
                )));
            }
        }
        Ok(Ok(()))
    }

    /// Blocks at the start of a group that hold a copy of the superblock and the descriptors.
    fn backup_blocks(&self, group: u64) -> u64 {
        let power_of = |base: u64| {
            let mut n = base;
            while n < group {
                n *= base;
            }
            n == group
        };
        let has = match self.backup_groups {
            Some(groups) => group == 0 || groups.contains(&group),
            None => group <= 1 || !self.sparse || [3, 5, 7].into_iter().any(power_of),
        };
        if has {
            1 + (self.groups * self.desc_size).div_ceil(self.block_size) + self.reserved_gdt_blocks
        } else {
            0
        }
    }
}

const COMPAT_SPARSE_SUPER2: u32 = 0x200;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
/// filetype, recover, journal_dev, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, dirdata, metadata_csum_seed, large_dir,
/// inline_data, encrypt, casefold: none of them puts anything where the bitmaps don't tell.
const INCOMPAT_KNOWN: u32 = 0x2
    | 0x4
    | 0x8
    | 0x10
    | 0x40
    | 0x80
    | 0x100
    | 0x200
    | 0x400
    | 0x1000
    | 0x2000
    | 0x4000
    | 0x8000
    | 0x1_0000
    | 0x2_0000;
const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const RO_COMPAT_BIGALLOC: u32 = 0x200;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
