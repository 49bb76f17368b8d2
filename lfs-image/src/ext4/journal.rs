//! An empty, clean jbd2 journal: its superblock, and how large it is.
//!
//! As mke2fs leaves it: no features, sequence 1, nothing to replay. The kernel adds what it wants (64-bit numbers,
//! checksums) when it first mounts the filesystem for writing. Source: kernel documentation, "Journal (jbd2)".

use zerocopy::{FromZeros, IntoBytes};

use super::geometry::BLOCK_SIZE;
use super::records::journal::{JBD2_MAGIC_NUMBER, JBD2_SUPERBLOCK_V2, JournalSuperblock};
use crate::raw::guid::Uuid;
use crate::raw::num::lo32;

/// The fewest blocks of a journal (`JBD2_MIN_JOURNAL_BLOCKS`).
pub(crate) const MIN_BLOCKS: u64 = 1024;
/// The most blocks that mke2fs allows.
pub(crate) const MAX_BLOCKS: u64 = 10_240_000;

/// Blocks of the journal of a filesystem of `blocks` blocks, as mke2fs sizes it; 0 where it makes none.
pub(crate) fn default_blocks(blocks: u64) -> u64 {
    const MIB: u64 = (1 << 20) / BLOCK_SIZE;
    match blocks {
        0..2048 => 0,
        2048..0x8000 => 4 * MIB,
        0x8000..0x4_0000 => 16 * MIB,
        0x4_0000..0x8_0000 => 32 * MIB,
        0x8_0000..0x40_0000 => 64 * MIB,
        0x40_0000..0x80_0000 => 128 * MIB,
        0x80_0000..0x100_0000 => 256 * MIB,
        0x100_0000..0x200_0000 => 512 * MIB,
        _ => 1024 * MIB,
    }
}

/// The first block of the journal's file; all others are zeros.
pub(crate) fn superblock(blocks: u64, uuid: Uuid) -> [u8; 1024] {
    let mut record = JournalSuperblock::new_zeroed();
    record.h_magic = JBD2_MAGIC_NUMBER.into();
    record.h_blocktype = JBD2_SUPERBLOCK_V2.into();
    record.s_blocksize = lo32(BLOCK_SIZE).into();
    record.s_maxlen = lo32(blocks).into();
    record.s_first = 1.into();
    record.s_sequence = 1.into();
    record.s_uuid = uuid.to_bytes();
    record.s_nr_users = 1.into();
    let mut bytes = [0; 1024];
    bytes.copy_from_slice(record.as_bytes());
    bytes
}
