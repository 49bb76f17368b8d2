//! `struct ext4_inode`: "Index Nodes", `Documentation/filesystems/ext4/inodes.rst`.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub(crate) const EXT4_BAD_INO: u32 = 1;
pub(crate) const EXT4_ROOT_INO: u32 = 2;
pub(crate) const EXT4_RESIZE_INO: u32 = 7;
pub(crate) const EXT4_JOURNAL_INO: u32 = 8;
/// The first inode that is not reserved: `lost+found`.
pub(crate) const EXT4_GOOD_OLD_FIRST_INO: u32 = 11;

/// `i_flags`: the directory has a hash tree.
pub(crate) const EXT4_INDEX_FL: u32 = 0x1000;
/// `i_flags`: `i_block` is an extent tree.
pub(crate) const EXT4_EXTENTS_FL: u32 = 0x8_0000;
/// `i_flags`: the inode holds the value of an extended attribute.
pub(crate) const EXT4_EA_INODE_FL: u32 = 0x20_0000;

pub(crate) const S_IFSOCK: u16 = 0o140_000;
pub(crate) const S_IFLNK: u16 = 0o120_000;
pub(crate) const S_IFREG: u16 = 0o100_000;
pub(crate) const S_IFBLK: u16 = 0o060_000;
pub(crate) const S_IFDIR: u16 = 0o040_000;
pub(crate) const S_IFCHR: u16 = 0o020_000;
pub(crate) const S_IFIFO: u16 = 0o010_000;

/// Bytes of an inode past its first 128 that have a meaning here: up to and with `i_projid`.
pub(crate) const EXTRA_ISIZE: u16 = 32;
/// Bytes left for extended attributes in an inode of 256 bytes.
pub(crate) const XATTR_SPACE: usize = 96;

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct Inode {
    pub(crate) i_mode: U16,
    pub(crate) i_uid: U16,
    pub(crate) i_size_lo: U32,
    pub(crate) i_atime: U32,
    pub(crate) i_ctime: U32,

    pub(crate) i_mtime: U32,
    pub(crate) i_dtime: U32,
    pub(crate) i_gid: U16,
    pub(crate) i_links_count: U16,
    pub(crate) i_blocks_lo: U32,

    pub(crate) i_flags: U32,
    pub(crate) l_i_version: U32,
    pub(crate) i_block: [u8; 60],
    pub(crate) i_generation: U32,
    pub(crate) i_file_acl_lo: U32,
    pub(crate) i_size_high: U32,
    pub(crate) i_obso_faddr: U32,
    pub(crate) l_i_blocks_high: U16,
    pub(crate) l_i_file_acl_high: U16,
    pub(crate) l_i_uid_high: U16,
    pub(crate) l_i_gid_high: U16,
    pub(crate) l_i_checksum_lo: U16,
    pub(crate) l_i_reserved: U16,

    pub(crate) i_extra_isize: U16,
    pub(crate) i_checksum_hi: U16,
    pub(crate) i_ctime_extra: U32,
    pub(crate) i_mtime_extra: U32,
    pub(crate) i_atime_extra: U32,

    pub(crate) i_crtime: U32,
    pub(crate) i_crtime_extra: U32,
    pub(crate) i_version_hi: U32,
    pub(crate) i_projid: U32,

    pub(crate) xattrs: [u8; XATTR_SPACE],
}

const _: () = assert!(size_of::<Inode>() == 256);
const _: () = assert!(offset_of!(Inode, i_block) == 0x28);
const _: () = assert!(offset_of!(Inode, i_generation) == 0x64);
const _: () = assert!(offset_of!(Inode, l_i_checksum_lo) == 0x7c);
const _: () = assert!(offset_of!(Inode, i_checksum_hi) == 0x82);
const _: () = assert!(offset_of!(Inode, xattrs) == 128 + 32);
