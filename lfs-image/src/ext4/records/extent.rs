//! Extent trees: "Extent Tree", `Documentation/filesystems/ext4/ifork.rst`.

use core::mem::size_of;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `eh_magic`.
pub(crate) const EXT4_EXT_MAGIC: u16 = 0xf30a;
/// `ee_len`: the most blocks of one initialised extent.
pub(crate) const EXT_INIT_MAX_LEN: u32 = 32_768;

/// `struct ext4_extent_header`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct ExtentHeader {
    pub(crate) eh_magic: U16,
    pub(crate) eh_entries: U16,
    pub(crate) eh_max: U16,
    pub(crate) eh_depth: U16,
    pub(crate) eh_generation: U32,
}

/// `struct ext4_extent`: a leaf.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct Extent {
    pub(crate) ee_block: U32,
    pub(crate) ee_len: U16,
    pub(crate) ee_start_hi: U16,
    pub(crate) ee_start_lo: U32,
}

/// `struct ext4_extent_idx`: an index.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct ExtentIdx {
    pub(crate) ei_block: U32,
    pub(crate) ei_leaf_lo: U32,
    pub(crate) ei_leaf_hi: U16,
    pub(crate) ei_unused: U16,
}

const _: () = assert!(size_of::<ExtentHeader>() == 12);
const _: () = assert!(size_of::<Extent>() == 12);
const _: () = assert!(size_of::<ExtentIdx>() == 12);
