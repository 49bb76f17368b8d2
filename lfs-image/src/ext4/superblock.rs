//! The superblock and the group descriptors of a plan.

use zerocopy::{FromZeros, IntoBytes};

use super::bitmap::Bitmap;
use super::geometry::{BLOCK_SIZE, BLOCKS_PER_GROUP, Fixed, GROUPS_PER_FLEX, has_super};
use super::records::group::{EXT4_BG_BLOCK_UNINIT, EXT4_BG_INODE_UNINIT, GroupDesc};
use super::records::inode::{EXT4_GOOD_OLD_FIRST_INO, EXT4_JOURNAL_INO, EXTRA_ISIZE};
use super::records::superblock::{
    DX_HASH_HALF_MD4, EXT2_FLAGS_SIGNED_HASH, EXT3_JNL_BACKUP_BLOCKS, EXT4_CRC32C_CHKSUM,
    EXT4_DEFM_XATTR_USER_ACL, EXT4_DYNAMIC_REV, EXT4_ERRORS_CONTINUE, EXT4_SUPER_MAGIC, EXT4_VALID_FS,
    SuperBlock,
};
use super::{Plan, geometry};
use crate::raw::crc::crc32c;
use crate::raw::num::{hi16, hi32, index, lo8, lo16, lo32};

impl Plan {
    /// The superblock, or its backup in a group, with its checksum.
    pub(super) fn superblock(&self, group: u64) -> [u8; 1024] {
        let geometry = &self.geometry;
        let options = &self.options;
        // 40 bits without a sign.
        let time = options.time.clamped().sec.max(0).cast_unsigned();
        let (time_lo, time_hi) = (lo32(time), lo8(hi32(time)));
        let reserved = options.reserved_blocks(geometry.blocks);
        let free = self.free_blocks();
        let mut sb = SuperBlock::new_zeroed();
        sb.s_inodes_count = lo32(geometry.inodes()).into();
        sb.s_blocks_count_lo = lo32(geometry.blocks).into();
        sb.s_blocks_count_hi = hi32(geometry.blocks).into();
        sb.s_r_blocks_count_lo = lo32(reserved).into();
        sb.s_r_blocks_count_hi = hi32(reserved).into();
        sb.s_free_blocks_count_lo = lo32(free).into();
        sb.s_free_blocks_count_hi = hi32(free).into();
        sb.s_free_inodes_count = lo32(geometry.inodes() - self.used_inodes()).into();
        sb.s_log_block_size = 2.into(); // 1024 << 2
        sb.s_log_cluster_size = 2.into();
        sb.s_blocks_per_group = lo32(BLOCKS_PER_GROUP).into();
        sb.s_clusters_per_group = lo32(BLOCKS_PER_GROUP).into();
        sb.s_inodes_per_group = lo32(geometry.inodes_per_group).into();
        sb.s_wtime = time_lo.into();
        sb.s_wtime_hi = time_hi;
        sb.s_max_mnt_count = u16::MAX.into(); // -1: never by count
        sb.s_magic = EXT4_SUPER_MAGIC.into();
        sb.s_state = EXT4_VALID_FS.into();
        sb.s_errors = EXT4_ERRORS_CONTINUE.into();
        sb.s_lastcheck = time_lo.into();
        sb.s_lastcheck_hi = time_hi;
        sb.s_rev_level = EXT4_DYNAMIC_REV.into();
        sb.s_first_ino = EXT4_GOOD_OLD_FIRST_INO.into();
        sb.s_inode_size = lo16(lo32(geometry::INODE_SIZE)).into();
        sb.s_block_group_nr = lo16(lo32(group)).into();
        sb.s_feature_compat = self.features.compat.bits().into();
        sb.s_feature_incompat = self.features.incompat.bits().into();
        sb.s_feature_ro_compat = self.features.ro_compat.bits().into();
        sb.s_uuid = options.uuid.to_bytes();
        sb.s_volume_name = options.label;
        sb.s_reserved_gdt_blocks = lo16(lo32(geometry.reserved_gdt_blocks)).into();
        if let Some(journal) = self.placement.journal {
            sb.s_journal_inum = EXT4_JOURNAL_INO.into();
            sb.s_jnl_backup_type = EXT3_JNL_BACKUP_BLOCKS;
            let tree =
                self.extent_tree(journal, EXT4_JOURNAL_INO, [(0, u64::from(journal.blocks))].into_iter());
            let size = u64::from(journal.blocks) * BLOCK_SIZE;
            for (word, bytes) in sb.s_jnl_blocks.iter_mut().zip(tree.i_block.as_chunks::<4>().0) {
                *word = u32::from_le_bytes(*bytes).into();
            }
            sb.s_jnl_blocks[15] = hi32(size).into();
            sb.s_jnl_blocks[16] = lo32(size).into();
        }
        if let Ok(Some(ino)) = self.survey.orphan_ino() {
            sb.s_orphan_file_inum = ino.into();
        }
        sb.s_hash_seed = options.hash_seed;
        sb.s_def_hash_version = DX_HASH_HALF_MD4;
        sb.s_flags = EXT2_FLAGS_SIGNED_HASH.into();
        sb.s_desc_size = lo16(lo32(size_of::<GroupDesc>() as u64)).into();
        sb.s_default_mount_opts = EXT4_DEFM_XATTR_USER_ACL.into();
        sb.s_mkfs_time = time_lo.into();
        sb.s_mkfs_time_hi = time_hi;
        sb.s_min_extra_isize = EXTRA_ISIZE.into();
        sb.s_want_extra_isize = EXTRA_ISIZE.into();
        sb.s_log_groups_per_flex = lo8(GROUPS_PER_FLEX.trailing_zeros());
        sb.s_checksum_type = EXT4_CRC32C_CHKSUM;
        sb.s_kbytes_written = 1.into();
        sb.s_overhead_clusters = lo32(geometry.fixed_blocks() + self.journal_blocks).into();
        let mut bytes = [0; 1024];
        bytes.copy_from_slice(sb.as_bytes());
        let sum = crc32c(!0, &bytes[..1020]);
        bytes[1020..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// All group descriptors with their checksums; the last block is padded with zeros.
    pub(super) fn descriptors(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(index(self.geometry.desc_blocks * BLOCK_SIZE));
        for group in 0..self.geometry.groups {
            bytes.extend_from_slice(self.descriptor(group).as_bytes());
        }
        bytes.resize(index(self.geometry.desc_blocks * BLOCK_SIZE), 0);
        bytes
    }

    fn descriptor(&self, group: u64) -> GroupDesc {
        let geometry = &self.geometry;
        let seed = self.options.checksum_seed();
        let places = geometry.places[index(group)];
        let free_blocks = lo32(self.group_free_blocks(group));
        let used_inodes = self.group_used_inodes(group);
        let free_inodes = lo32(geometry.inodes_per_group - used_inodes);
        let directories = self.group_directories(group);
        let mut desc = GroupDesc::new_zeroed();
        desc.bg_block_bitmap_lo = lo32(places.block_bitmap).into();
        desc.bg_block_bitmap_hi = hi32(places.block_bitmap).into();
        desc.bg_inode_bitmap_lo = lo32(places.inode_bitmap).into();
        desc.bg_inode_bitmap_hi = hi32(places.inode_bitmap).into();
        desc.bg_inode_table_lo = lo32(places.inode_table).into();
        desc.bg_inode_table_hi = hi32(places.inode_table).into();
        desc.bg_free_blocks_count_lo = lo16(free_blocks).into();
        desc.bg_free_blocks_count_hi = hi16(free_blocks).into();
        desc.bg_free_inodes_count_lo = lo16(free_inodes).into();
        desc.bg_free_inodes_count_hi = hi16(free_inodes).into();
        desc.bg_used_dirs_count_lo = lo16(directories).into();
        desc.bg_used_dirs_count_hi = hi16(directories).into();
        // Inodes are handed out without gaps, so those never used are as many as are free.
        desc.bg_itable_unused_lo = lo16(free_inodes).into();
        desc.bg_itable_unused_hi = hi16(free_inodes).into();
        let mut flags = 0;
        match self.block_bitmap(group) {
            Some(bitmap) => {
                let sum = crc32c(seed, bitmap.bytes());
                desc.bg_block_bitmap_csum_lo = lo16(sum).into();
                desc.bg_block_bitmap_csum_hi = hi16(sum).into();
            }
            None => flags |= EXT4_BG_BLOCK_UNINIT,
        }
        match self.inode_bitmap(group) {
            Some(bitmap) => {
                // Only over the bits of inodes, not the whole block.
                let sum = crc32c(seed, &bitmap.bytes()[..index(geometry.inodes_per_group / 8)]);
                desc.bg_inode_bitmap_csum_lo = lo16(sum).into();
                desc.bg_inode_bitmap_csum_hi = hi16(sum).into();
            }
            None => flags |= EXT4_BG_INODE_UNINIT,
        }
        desc.bg_flags = flags.into();
        let sum = crc32c(crc32c(seed, &lo32(group).to_le_bytes()), desc.as_bytes());
        desc.bg_checksum = lo16(sum).into();
        desc
    }

    /// The block bitmap of a group, or none if nothing but its own backup of the superblock is in it.
    pub(super) fn block_bitmap(&self, group: u64) -> Option<Bitmap> {
        let geometry = &self.geometry;
        let start = group * BLOCKS_PER_GROUP;
        let len = geometry.group_blocks(group);
        let end = start + len;
        let used = &self.placement.used;
        let has_content = used.start < end && used.end > start;
        let fixed = &geometry.fixed[geometry.fixed.partition_point(|run| run.end() <= start)..];
        let fixed = fixed.iter().take_while(|run| run.start < end);
        let own_backup_only = |what: Fixed| what == Fixed::Super(group);
        let last = group + 1 == geometry.groups;
        if !last && !has_content && fixed.clone().all(|run| own_backup_only(run.what)) {
            return None;
        }
        let mut bitmap = Bitmap::new();
        for run in fixed {
            bitmap.set(run.start.max(start) - start, run.end().min(end) - start);
        }
        if has_content {
            bitmap.set(used.start.max(start) - start, used.end.min(end) - start);
        }
        bitmap.set(len, BLOCKS_PER_GROUP);
        Some(bitmap)
    }

    /// The inode bitmap of a group, or none if no inode of it is in use.
    pub(super) fn inode_bitmap(&self, group: u64) -> Option<Bitmap> {
        let used = self.group_used_inodes(group);
        if used == 0 {
            return None;
        }
        let mut bitmap = Bitmap::new();
        bitmap.set(0, used);
        bitmap.set(self.geometry.inodes_per_group, 8 * BLOCK_SIZE);
        Some(bitmap)
    }

    pub(super) fn group_free_blocks(&self, group: u64) -> u64 {
        let len = self.geometry.group_blocks(group);
        match self.block_bitmap(group) {
            Some(bitmap) => len - bitmap.count(len),
            None if has_super(group) => len - self.geometry.super_len(),
            None => len,
        }
    }

    /// Inodes in use in a group: the first ones, as they are handed out without gaps.
    pub(super) fn group_used_inodes(&self, group: u64) -> u64 {
        let first = group * self.geometry.inodes_per_group;
        self.used_inodes().saturating_sub(first).min(self.geometry.inodes_per_group)
    }

    fn group_directories(&self, group: u64) -> u32 {
        let first = group * self.geometry.inodes_per_group; // inode number less one
        let end = first + self.geometry.inodes_per_group;
        // The root directory, inode 2, comes first; the others are in order of their numbers.
        let (root, others) = match self.survey.dirs.split_first() {
            Some((_, others)) => (usize::from(group == 0), others),
            None => (0, &[][..]),
        };
        let below = |inode: u64| others.partition_point(|dir| u64::from(dir.slot.ino()) <= inode);
        lo32((below(end) - below(first) + root) as u64)
    }
}
