//! `struct ext4_orphan_block_tail`: "Orphan file", `Documentation/filesystems/ext4/orphan.rst`.

use core::mem::size_of;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `ob_magic`.
pub(crate) const EXT4_ORPHAN_BLOCK_MAGIC: u32 = 0x0b10_ca04;

/// The end of a block of inode numbers.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct OrphanBlockTail {
    pub(crate) ob_magic: U32,
    pub(crate) ob_checksum: U32,
}

const _: () = assert!(size_of::<OrphanBlockTail>() == 8);
