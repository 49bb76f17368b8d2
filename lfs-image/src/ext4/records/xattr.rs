//! Extended attributes: "Extended Attributes", `Documentation/filesystems/ext4/attributes.rst`.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `h_magic`, of a block's header and before the attributes in an inode.
pub(crate) const EXT4_XATTR_MAGIC: u32 = 0xea02_0000;
/// The most inodes that may share a block of attributes.
pub(crate) const EXT4_XATTR_REFCOUNT_MAX: u32 = 1024;

/// `struct ext4_xattr_header`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct XattrHeader {
    pub(crate) h_magic: U32,
    pub(crate) h_refcount: U32,
    pub(crate) h_blocks: U32,
    pub(crate) h_hash: U32,
    pub(crate) h_checksum: U32,
    pub(crate) h_reserved: [U32; 3],
}

/// `struct ext4_xattr_entry` without the name that follows it.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct XattrEntry {
    pub(crate) e_name_len: u8,
    pub(crate) e_name_index: u8,
    pub(crate) e_value_offs: U16,
    pub(crate) e_value_inum: U32,
    pub(crate) e_value_size: U32,
    pub(crate) e_hash: U32,
}

const _: () = assert!(size_of::<XattrHeader>() == 32);
const _: () = assert!(offset_of!(XattrHeader, h_checksum) == 0x10);
const _: () = assert!(size_of::<XattrEntry>() == 16);
