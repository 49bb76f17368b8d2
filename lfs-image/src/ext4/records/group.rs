//! `struct ext4_group_desc`: "Block Group Descriptors", `Documentation/filesystems/ext4/group_descr.rst`.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `bg_flags`: no inode of the group is in use; its bitmap is not there to be read.
pub(crate) const EXT4_BG_INODE_UNINIT: u16 = 1;
/// `bg_flags`: no block of the group is in use but for its own backup of the superblock and descriptors; its bitmap is not there to be read.
pub(crate) const EXT4_BG_BLOCK_UNINIT: u16 = 2;

/// With `64bit`, 64 bytes.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct GroupDesc {
    pub(crate) bg_block_bitmap_lo: U32,
    pub(crate) bg_inode_bitmap_lo: U32,
    pub(crate) bg_inode_table_lo: U32,
    pub(crate) bg_free_blocks_count_lo: U16,
    pub(crate) bg_free_inodes_count_lo: U16,

    pub(crate) bg_used_dirs_count_lo: U16,
    pub(crate) bg_flags: U16,
    pub(crate) bg_exclude_bitmap_lo: U32,
    pub(crate) bg_block_bitmap_csum_lo: U16,
    pub(crate) bg_inode_bitmap_csum_lo: U16,
    pub(crate) bg_itable_unused_lo: U16,
    pub(crate) bg_checksum: U16,

    pub(crate) bg_block_bitmap_hi: U32,
    pub(crate) bg_inode_bitmap_hi: U32,
    pub(crate) bg_inode_table_hi: U32,
    pub(crate) bg_free_blocks_count_hi: U16,
    pub(crate) bg_free_inodes_count_hi: U16,

    pub(crate) bg_used_dirs_count_hi: U16,
    pub(crate) bg_itable_unused_hi: U16,
    pub(crate) bg_exclude_bitmap_hi: U32,
    pub(crate) bg_block_bitmap_csum_hi: U16,
    pub(crate) bg_inode_bitmap_csum_hi: U16,
    pub(crate) bg_reserved: U32,
}

const _: () = assert!(size_of::<GroupDesc>() == 64);
const _: () = assert!(offset_of!(GroupDesc, bg_checksum) == 0x1e);
const _: () = assert!(offset_of!(GroupDesc, bg_block_bitmap_csum_hi) == 0x38);
