//! The resize inode: inode 7, which owns the blocks reserved for more group descriptors.
//!
//! Its double-indirect block lists the reserved blocks of group 0; each of those lists the block at the same place behind
//! every backup. Source: `lib/ext2fs/res_gdt.c` describes it in words; the kernel checks it in `verify_reserved_gdb`.

use super::geometry::{ADDRS_PER_BLOCK, BLOCK_SIZE, BLOCKS_PER_GROUP, Geometry, block32};
use crate::raw::num::index;

/// Blocks below the double-indirect ones: 12 direct, 1024 indirect.
const DIND_LIMIT: u64 = 12 + ADDRS_PER_BLOCK + ADDRS_PER_BLOCK * ADDRS_PER_BLOCK;

/// `i_size` of the inode: all that a double-indirect block can reach.
pub(crate) const SIZE: u64 = DIND_LIMIT * BLOCK_SIZE;

/// The double-indirect block.
pub(crate) fn dind_block(geometry: &Geometry, block: &mut [u8]) {
    for nth in 0..geometry.reserved_gdt_blocks {
        let entry = (geometry.desc_blocks + nth) % ADDRS_PER_BLOCK;
        put(block, entry, 1 + geometry.desc_blocks + nth);
    }
}

/// The `nth` reserved block of group 0.
pub(crate) fn reserved_block(geometry: &Geometry, nth: u64, block: &mut [u8]) {
    let place = 1 + geometry.desc_blocks + nth;
    for (entry, group) in (0..).zip(geometry.backup_groups()) {
        put(block, entry, group * BLOCKS_PER_GROUP + place);
    }
}

/// Blocks that the inode owns: the double-indirect one, the reserved ones and their backups.
pub(crate) fn blocks(geometry: &Geometry) -> u64 {
    1 + geometry.reserved_gdt_blocks * (1 + geometry.backup_groups().count() as u64)
}

fn put(block: &mut [u8], entry: u64, number: u64) {
    let at = index(entry * 4);
    block[at..at + 4].copy_from_slice(&block32(number).to_le_bytes());
}
