//! Directory blocks and hash trees: "Directory Entries", `Documentation/filesystems/ext4/directory.rst`.

use core::mem::size_of;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub(crate) const EXT4_FT_REG_FILE: u8 = 1;
pub(crate) const EXT4_FT_DIR: u8 = 2;
pub(crate) const EXT4_FT_CHRDEV: u8 = 3;
pub(crate) const EXT4_FT_BLKDEV: u8 = 4;
pub(crate) const EXT4_FT_FIFO: u8 = 5;
pub(crate) const EXT4_FT_SOCK: u8 = 6;
pub(crate) const EXT4_FT_SYMLINK: u8 = 7;
/// The "file type" of a block's checksum tail.
pub(crate) const EXT4_FT_DIR_CSUM: u8 = 0xde;

/// `struct ext4_dir_entry_2` without the name that follows it.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct DirEntry {
    pub(crate) inode: U32,
    pub(crate) rec_len: U16,
    pub(crate) name_len: u8,
    pub(crate) file_type: u8,
}

/// `struct ext4_dir_entry_tail`: the last 12 bytes of a linear block.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct DirEntryTail {
    pub(crate) det_reserved_zero1: U32,
    pub(crate) det_rec_len: U16,
    pub(crate) det_reserved_zero2: u8,
    pub(crate) det_reserved_ft: u8,
    pub(crate) det_checksum: U32,
}

/// `struct dx_root_info`: after the `.` and `..` entries of a hash tree's first block.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct DxRootInfo {
    pub(crate) reserved_zero: U32,
    pub(crate) hash_version: u8,
    pub(crate) info_length: u8,
    pub(crate) indirect_levels: u8,
    pub(crate) unused_flags: u8,
}

/// `struct dx_countlimit` with the block of the first entry, whose hash it takes the place of.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct DxCountLimit {
    pub(crate) limit: U16,
    pub(crate) count: U16,
    pub(crate) block: U32,
}

/// `struct dx_entry`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct DxEntry {
    pub(crate) hash: U32,
    pub(crate) block: U32,
}

/// `struct dx_tail`: after the last entry that there is room for.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct DxTail {
    pub(crate) dt_reserved: U32,
    pub(crate) dt_checksum: U32,
}

const _: () = assert!(size_of::<DirEntry>() == 8);
const _: () = assert!(size_of::<DirEntryTail>() == 12);
const _: () = assert!(size_of::<DxRootInfo>() == 8);
const _: () = assert!(size_of::<DxCountLimit>() == 8);
const _: () = assert!(size_of::<DxEntry>() == 8);
const _: () = assert!(size_of::<DxTail>() == 8);
