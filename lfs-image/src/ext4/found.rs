//! The superblock of an ext2, ext3 or ext4 that somebody made.

use zerocopy::FromBytes as _;

use super::features::{Incompat, RoCompat, names};
use super::records::superblock::{EXT3_JNL_BACKUP_BLOCKS, EXT4_SUPER_MAGIC, SuperBlock};
use crate::raw::crc::crc32c;
use crate::raw::guid::Uuid;

/// Where the superblock begins, and how long it is, in bytes.
pub(crate) const SUPERBLOCK: (u64, usize) = (1024, 1024);

/// What a superblock says.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) uuid: Uuid,
    /// Up to its first NUL.
    pub(crate) label: Vec<u8>,
    pub(crate) features: Vec<String>,
    pub(crate) block_size: u64,
    pub(crate) blocks: u64,
    pub(crate) free_blocks: u64,
    pub(crate) reserved_blocks: u64,
    pub(crate) inodes: u64,
    pub(crate) free_inodes: u64,
    pub(crate) journal_blocks: u64,
    /// What is wrong with it, as clauses.
    pub(crate) problems: Vec<String>,
}

impl Found {
    /// Reads a superblock; `None` where these bytes are none.
    pub(crate) fn read(bytes: &[u8; SUPERBLOCK.1]) -> Option<Self> {
        let sb = SuperBlock::ref_from_bytes(bytes).ok()?;
        let (log_block_size, inodes) = (sb.s_log_block_size.get(), u64::from(sb.s_inodes_count.get()));
        if sb.s_magic.get() != EXT4_SUPER_MAGIC || log_block_size > 6 || inodes == 0 {
            return None;
        }
        let incompat = sb.s_feature_incompat.get();
        let wide = incompat & Incompat::BITS_64.bits() != 0;
        let count = |lo: u32, hi: u32| u64::from(lo) | if wide { u64::from(hi) << 32 } else { 0 };
        let block_size = 1024 << log_block_size;
        let journal = if sb.s_jnl_backup_type == EXT3_JNL_BACKUP_BLOCKS {
            u64::from(sb.s_jnl_blocks[15].get()) << 32 | u64::from(sb.s_jnl_blocks[16].get())
        } else {
            0
        };
        let mut problems = Vec::new();
        let ro_compat = sb.s_feature_ro_compat.get();
        let (stored, computed) = (sb.s_checksum.get(), crc32c(!0, &bytes[..SUPERBLOCK.1 - 4]));
        if ro_compat & RoCompat::METADATA_CSUM.bits() != 0 && stored != computed {
            problems.push(format!("the superblock has the checksum {computed:08x} and says {stored:08x}"));
        }
        Some(Self {
            uuid: Uuid::from_bytes(sb.s_uuid),
            label: sb.s_volume_name.iter().copied().take_while(|byte| *byte != 0).collect(),
            features: names(sb.s_feature_compat.get(), incompat, ro_compat),
            block_size,
            blocks: count(sb.s_blocks_count_lo.get(), sb.s_blocks_count_hi.get()),
            free_blocks: count(sb.s_free_blocks_count_lo.get(), sb.s_free_blocks_count_hi.get()),
            reserved_blocks: count(sb.s_r_blocks_count_lo.get(), sb.s_r_blocks_count_hi.get()),
            inodes,
            free_inodes: u64::from(sb.s_free_inodes_count.get()),
            journal_blocks: journal / block_size,
            problems,
        })
    }
}
