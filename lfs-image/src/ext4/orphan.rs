//! The orphan file (`orphan_file`): where a kernel since 5.15 notes inodes that are deleted but still open, in many places at
//! once instead of one list.
//!
//! Blocks of inode numbers, all 0 here, each with a magic number and a checksum at its end. Source: kernel documentation,
//! "Orphan file".

use zerocopy::IntoBytes;

use super::geometry::BLOCK_SIZE;
use super::records::orphan::{EXT4_ORPHAN_BLOCK_MAGIC, OrphanBlockTail};
use crate::raw::crc::crc32c;

/// Blocks of the file in a filesystem of `blocks` blocks, as mke2fs sizes it.
pub(crate) fn default_blocks(blocks: u64) -> u64 {
    (blocks / 4096).clamp(32, 512)
}

/// Renders the block at `place`, which comes as zeros. `seed` is the inode's.
pub(crate) fn render(place: u64, seed: u32, block: &mut [u8]) {
    let numbers = block.len() - size_of::<OrphanBlockTail>();
    let sum = crc32c(crc32c(seed, &place.to_le_bytes()), &block[..numbers]);
    let tail = OrphanBlockTail { ob_magic: EXT4_ORPHAN_BLOCK_MAGIC.into(), ob_checksum: sum.into() };
    block[numbers..].copy_from_slice(tail.as_bytes());
}

const _: () = assert!(BLOCK_SIZE > size_of::<OrphanBlockTail>() as u64);
