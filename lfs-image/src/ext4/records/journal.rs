//! `struct journal_superblock_s`: "Journal (jbd2)", `Documentation/filesystems/ext4/journal.rst`. Big-endian.

use core::mem::{offset_of, size_of};

use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `h_magic`.
pub(crate) const JBD2_MAGIC_NUMBER: u32 = 0xc03b_3998;
/// `h_blocktype`: superblock, version 2.
pub(crate) const JBD2_SUPERBLOCK_V2: u32 = 4;

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct JournalSuperblock {
    pub(crate) h_magic: U32,
    pub(crate) h_blocktype: U32,
    pub(crate) h_sequence: U32,
    pub(crate) s_blocksize: U32,

    pub(crate) s_maxlen: U32,
    pub(crate) s_first: U32,
    pub(crate) s_sequence: U32,
    pub(crate) s_start: U32,

    pub(crate) s_errno: U32,
    pub(crate) s_feature_compat: U32,
    pub(crate) s_feature_incompat: U32,
    pub(crate) s_feature_ro_compat: U32,

    pub(crate) s_uuid: [u8; 16],

    pub(crate) s_nr_users: U32,
    pub(crate) s_dynsuper: U32,
    pub(crate) s_max_transaction: U32,
    pub(crate) s_max_trans_data: U32,

    pub(crate) s_checksum_type: u8,
    pub(crate) s_padding2: [u8; 3],
    pub(crate) s_num_fc_blks: U32,
    pub(crate) s_head: U32,
    pub(crate) s_padding: [U32; 40],
    pub(crate) s_checksum: U32,
    pub(crate) s_users: [u8; 768],
}

const _: () = assert!(size_of::<JournalSuperblock>() == 1024);
const _: () = assert!(offset_of!(JournalSuperblock, s_checksum) == 0xfc);
