//! The inodes of a plan: from nodes, places and attributes to records.

use zerocopy::{FromZeros, IntoBytes};

use super::extents::{self, Mapped};
use super::geometry::BLOCK_SIZE;
use super::inodes::Slot;
use super::place::{Placed, sectors};
use super::records::inode::{
    EXT4_BAD_INO, EXT4_EA_INODE_FL, EXT4_EXTENTS_FL, EXT4_GOOD_OLD_FIRST_INO, EXT4_INDEX_FL,
    EXT4_JOURNAL_INO, EXT4_RESIZE_INO, EXT4_ROOT_INO, EXTRA_ISIZE, Inode, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO,
    S_IFLNK, S_IFREG, S_IFSOCK,
};
use super::survey::ranges;
use super::{Plan, inode_seed, resize};
use crate::error::Result;
use crate::raw::crc::crc32c;
use crate::raw::num::{fit, hi16, hi32, index, lo16, lo32};
use crate::raw::time::Timestamp;
use crate::tree::{Device, Kind, Meta, Tree};

/// Directories with more links than this store 1 (`dir_nlink`).
const EXT4_LINK_MAX: u32 = 65_000;

impl Plan {
    /// The inode of a number with its checksum; all zeros for reserved ones without a use.
    pub(super) fn inode(&self, tree: &Tree, ino: u32) -> Result<[u8; 256]> {
        let mut record = Inode::new_zeroed();
        let first_ea_inode = self.survey.first_ea_inode()?;
        match ino {
            EXT4_ROOT_INO => self.fill_node(tree, Slot::ROOT, &mut record)?,
            EXT4_JOURNAL_INO => match self.placement.journal {
                Some(placed) => {
                    self.fill_static(&mut record, u64::from(placed.blocks) * BLOCK_SIZE);
                    self.fill_extents(placed, ino, [(0, u64::from(placed.blocks))].into_iter(), &mut record)?;
                }
                None => return Ok([0; 256]),
            },
            EXT4_RESIZE_INO if self.geometry.reserved_gdt_blocks > 0 => {
                self.fill_static(&mut record, resize::SIZE);
                // The double-indirect block is the 14th.
                record.i_block[13 * 4..14 * 4]
                    .copy_from_slice(&lo32(self.placement.resize_block).to_le_bytes());
                set_blocks(&mut record, sectors(resize::blocks(&self.geometry)))?;
            }
            EXT4_BAD_INO..EXT4_GOOD_OLD_FIRST_INO => return Ok([0; 256]),
            _ if Some(ino) == self.survey.orphan_ino()? => {
                if let Some(placed) = self.placement.orphans {
                    self.fill_static(&mut record, u64::from(placed.blocks) * BLOCK_SIZE);
                    self.fill_extents(placed, ino, [(0, u64::from(placed.blocks))].into_iter(), &mut record)?;
                }
            }
            _ if ino >= first_ea_inode => self.fill_ea_value(ino, ino - first_ea_inode, &mut record)?,
            _ => self.fill_node(tree, Slot(ino - EXT4_GOOD_OLD_FIRST_INO + 1), &mut record)?,
        }
        record.i_extra_isize = EXTRA_ISIZE.into();
        let sum = crc32c(inode_seed(self.options.checksum_seed(), ino), record.as_bytes());
        record.l_i_checksum_lo = lo16(sum).into();
        record.i_checksum_hi = hi16(sum).into();
        let mut bytes = [0; 256];
        bytes.copy_from_slice(record.as_bytes());
        Ok(bytes)
    }

    fn fill_node(&self, tree: &Tree, slot: Slot, record: &mut Inode) -> Result<()> {
        let node = tree.node(self.survey.inodes.node(slot));
        let placed = self.placement.inodes[slot.index()];
        let acl = self.placement.acl(slot);
        fill_meta(record, &node.meta);
        self.survey.sets.render_inode(node.meta.xattrs, &mut record.xattrs);
        record.i_file_acl_lo = acl.into();
        record.i_links_count = fit::<u16>(u64::from(node.names()), "hard links")?.into();
        let own = u64::from(placed.blocks) + u64::from(placed.tree_blocks);
        let blocks = own + u64::from(acl != 0) + self.survey.sets.ea_blocks(node.meta.xattrs);
        set_blocks(record, sectors(blocks))?;
        let kind = match &node.kind {
            Kind::Directory(_) => {
                if let Some(dir) = self.survey.dir(slot) {
                    let links = dir.subdirectories.saturating_add(2);
                    let links = if links > EXT4_LINK_MAX { 1 } else { links };
                    record.i_links_count = lo16(links).into();
                    let index_flag = if dir.htree.is_some() { EXT4_INDEX_FL } else { 0 };
                    record.i_flags = index_flag.into();
                }
                set_size(record, u64::from(placed.blocks) * BLOCK_SIZE);
                self.fill_tree(placed, slot.ino(), [(0, u64::from(placed.blocks))].into_iter(), record);
                S_IFDIR
            }
            Kind::File(content) => {
                set_size(record, content.size());
                self.fill_tree(placed, slot.ino(), ranges(content), record);
                S_IFREG
            }
            Kind::Symlink(target) => {
                set_size(record, target.len() as u64);
                if placed.blocks > 0 {
                    self.fill_tree(placed, slot.ino(), [(0, 1)].into_iter(), record);
                } else {
                    record.i_block[..target.len()].copy_from_slice(target);
                }
                S_IFLNK
            }
            Kind::CharDevice(device) => {
                fill_device(record, *device);
                S_IFCHR
            }
            Kind::BlockDevice(device) => {
                fill_device(record, *device);
                S_IFBLK
            }
            Kind::Fifo => S_IFIFO,
            Kind::Socket => S_IFSOCK,
        };
        record.i_mode = (kind | node.meta.mode & 0o7777).into();
        Ok(())
    }

    /// An inode of the filesystem's own.
    fn fill_static(&self, record: &mut Inode, size: u64) {
        fill_meta(record, &Meta::new(0, self.options.time));
        record.i_mode = (S_IFREG | 0o600).into();
        record.i_links_count = 1.into();
        set_size(record, size);
    }

    /// An inode that holds the value of an attribute. Its times are not times: see "Extended Attributes" in the kernel's
    /// documentation.
    fn fill_ea_value(&self, ino: u32, nth: u32, record: &mut Inode) -> Result<()> {
        let value = &self.survey.sets.ea_values[nth as usize];
        let placed = self.placement.ea_values[nth as usize];
        self.fill_static(record, value.bytes.len() as u64);
        self.fill_extents(placed, ino, [(0, u64::from(placed.blocks))].into_iter(), record)?;
        record.i_flags = (EXT4_EXTENTS_FL | EXT4_EA_INODE_FL).into();
        let users = self.placement.xattr_blocks.iter().filter(|block| block.set == value.set).count() as u64;
        record.i_atime = value.hash.into();
        record.i_ctime = hi32(users).into();
        record.l_i_version = lo32(users).into();
        for extra in [&mut record.i_atime_extra, &mut record.i_ctime_extra] {
            *extra = 0.into();
        }
        Ok(())
    }

    fn fill_extents(
        &self,
        placed: Placed,
        ino: u32,
        ranges: impl Iterator<Item = (u64, u64)>,
        record: &mut Inode,
    ) -> Result<()> {
        self.fill_tree(placed, ino, ranges, record);
        set_blocks(record, sectors(u64::from(placed.blocks) + u64::from(placed.tree_blocks)))
    }

    fn fill_tree(
        &self,
        placed: Placed,
        ino: u32,
        ranges: impl Iterator<Item = (u64, u64)>,
        record: &mut Inode,
    ) {
        record.i_flags = (u32::from(record.i_flags) | EXT4_EXTENTS_FL).into();
        record.i_block = if placed.tree_blocks == 0 {
            extents::root(self.mapped(placed, ranges))
        } else {
            self.extent_tree(placed, ino, ranges).i_block
        };
    }

    /// The extent tree of an object's data.
    pub(super) fn extent_tree(
        &self,
        placed: Placed,
        ino: u32,
        ranges: impl Iterator<Item = (u64, u64)>,
    ) -> extents::Tree {
        let mapped: Vec<Mapped> = self.mapped(placed, ranges).collect();
        let seed = inode_seed(self.options.checksum_seed(), ino);
        extents::render(&mapped, &self.geometry, placed.tree_start(&self.geometry), seed)
    }

    /// The extents of an object's data.
    pub(super) fn mapped<'a>(
        &'a self,
        placed: Placed,
        ranges: impl Iterator<Item = (u64, u64)> + 'a,
    ) -> impl Iterator<Item = Mapped> + 'a {
        extents::map(ranges, self.geometry.runs(u64::from(placed.start), u64::from(placed.blocks)))
    }
}

fn fill_meta(record: &mut Inode, meta: &Meta) {
    let times = meta.times.as_deref().copied().unwrap_or_default();
    let stamp = |time: Option<Timestamp>| encode_time(time.unwrap_or(meta.mtime));
    let (seconds, extra) = stamp(Some(meta.mtime));
    (record.i_mtime, record.i_mtime_extra) = (seconds.into(), extra.into());
    let (seconds, extra) = stamp(times.atime);
    (record.i_atime, record.i_atime_extra) = (seconds.into(), extra.into());
    let (seconds, extra) = stamp(times.ctime);
    (record.i_ctime, record.i_ctime_extra) = (seconds.into(), extra.into());
    let (seconds, extra) = stamp(times.crtime);
    (record.i_crtime, record.i_crtime_extra) = (seconds.into(), extra.into());
    (record.i_uid, record.l_i_uid_high) = (lo16(meta.uid).into(), hi16(meta.uid).into());
    (record.i_gid, record.l_i_gid_high) = (lo16(meta.gid).into(), hi16(meta.gid).into());
}

/// Seconds as 32 signed bits, and 30 bits of nanoseconds over 2 bits that carry the seconds from 1901 to 2446. Source:
/// kernel documentation, "Inode Timestamps".
fn encode_time(time: Timestamp) -> (u32, u32) {
    let time = time.clamped();
    let low = lo32(time.sec.cast_unsigned());
    let epoch = lo32((time.sec - i64::from(low.cast_signed())).cast_unsigned() >> 32) & 3;
    (low, time.nsec << 2 | epoch)
}

fn set_size(record: &mut Inode, size: u64) {
    record.i_size_lo = lo32(size).into();
    record.i_size_high = hi32(size).into();
}

fn set_blocks(record: &mut Inode, sectors: u64) -> Result<()> {
    record.i_blocks_lo = lo32(sectors).into();
    record.l_i_blocks_high = fit::<u16>(u64::from(hi32(sectors)), "sectors of a file, less 32 bits,")?.into();
    Ok(())
}

/// Small numbers in the old encoding, others in the new one, as `ext4_mknod` stores them.
fn fill_device(record: &mut Inode, device: Device) {
    let Device { major, minor } = device;
    let (at, number) = if major < 256 && minor < 256 {
        (0, major << 8 | minor)
    } else {
        (4, (minor & 0xff) | major << 8 | (minor & !0xff) << 12)
    };
    record.i_block[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

const _: () = assert!(index(BLOCK_SIZE) == 4096);

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the kernel's documentation, "Inode Timestamps".
    #[test]
    fn times_from_1901_to_2446() {
        for (sec, low, epoch) in [
            (-0x8000_0000, 0x8000_0000, 0),
            (-1, 0xffff_ffff, 0),
            (0, 0, 0),
            (0x7fff_ffff, 0x7fff_ffff, 0),
            (0x8000_0000, 0x8000_0000, 1),
            (0xffff_ffff, 0xffff_ffff, 1),
            (0x1_0000_0000, 0, 1),
            (0x1_7fff_ffff, 0x7fff_ffff, 1),
            (0x1_8000_0000, 0x8000_0000, 2),
            (0x3_7fff_ffff, 0x7fff_ffff, 3),
        ] {
            assert_eq!(encode_time(Timestamp { sec, nsec: 5 }), (low, 5 << 2 | epoch), "{sec:#x}");
        }
        assert_eq!(encode_time(Timestamp::from_secs(i64::MAX)).0, 0x7fff_ffff);
    }

    #[test]
    fn device_numbers() {
        let mut record = Inode::new_zeroed();
        fill_device(&mut record, Device { major: 5, minor: 1 });
        assert_eq!(record.i_block[..8], [1, 5, 0, 0, 0, 0, 0, 0]);
        let mut record = Inode::new_zeroed();
        fill_device(&mut record, Device { major: 259, minor: 0x12345 });
        assert_eq!(record.i_block[..8], [0, 0, 0, 0, 0x45, 0x03, 0x31, 0x12]);
    }
}
