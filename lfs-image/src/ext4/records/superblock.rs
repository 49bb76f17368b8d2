//! `struct ext4_super_block`: "Super Block", `Documentation/filesystems/ext4/super.rst`.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `s_magic`.
pub(crate) const EXT4_SUPER_MAGIC: u16 = 0xef53;
/// `s_state`: cleanly unmounted.
pub(crate) const EXT4_VALID_FS: u16 = 1;
/// `s_errors`: go on after an error.
pub(crate) const EXT4_ERRORS_CONTINUE: u16 = 1;
/// `s_rev_level`: dynamic inode sizes and features.
pub(crate) const EXT4_DYNAMIC_REV: u32 = 1;
/// `s_flags`: directory hashes treat name bytes as signed, as x86 does.
pub(crate) const EXT2_FLAGS_SIGNED_HASH: u32 = 1;
/// `s_def_hash_version`: half-MD4.
pub(crate) const DX_HASH_HALF_MD4: u8 = 1;
/// `s_default_mount_opts`: extended attributes of users, POSIX ACLs.
pub(crate) const EXT4_DEFM_XATTR_USER_ACL: u32 = 0x0c;
/// `s_checksum_type`: CRC-32C.
pub(crate) const EXT4_CRC32C_CHKSUM: u8 = 1;
/// `s_jnl_backup_type`: `s_jnl_blocks` holds `i_block` and `i_size` of the journal.
pub(crate) const EXT3_JNL_BACKUP_BLOCKS: u8 = 1;

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct SuperBlock {
    pub(crate) s_inodes_count: U32,
    pub(crate) s_blocks_count_lo: U32,
    pub(crate) s_r_blocks_count_lo: U32,
    pub(crate) s_free_blocks_count_lo: U32,

    pub(crate) s_free_inodes_count: U32,
    pub(crate) s_first_data_block: U32,
    pub(crate) s_log_block_size: U32,
    pub(crate) s_log_cluster_size: U32,

    pub(crate) s_blocks_per_group: U32,
    pub(crate) s_clusters_per_group: U32,
    pub(crate) s_inodes_per_group: U32,
    pub(crate) s_mtime: U32,

    pub(crate) s_wtime: U32,
    pub(crate) s_mnt_count: U16,
    pub(crate) s_max_mnt_count: U16,
    pub(crate) s_magic: U16,
    pub(crate) s_state: U16,
    pub(crate) s_errors: U16,
    pub(crate) s_minor_rev_level: U16,

    pub(crate) s_lastcheck: U32,
    pub(crate) s_checkinterval: U32,
    pub(crate) s_creator_os: U32,
    pub(crate) s_rev_level: U32,

    pub(crate) s_def_resuid: U16,
    pub(crate) s_def_resgid: U16,
    pub(crate) s_first_ino: U32,
    pub(crate) s_inode_size: U16,
    pub(crate) s_block_group_nr: U16,
    pub(crate) s_feature_compat: U32,

    pub(crate) s_feature_incompat: U32,
    pub(crate) s_feature_ro_compat: U32,
    pub(crate) s_uuid: [u8; 16],
    pub(crate) s_volume_name: [u8; 16],
    pub(crate) s_last_mounted: [u8; 64],
    pub(crate) s_algorithm_usage_bitmap: U32,
    pub(crate) s_prealloc_blocks: u8,
    pub(crate) s_prealloc_dir_blocks: u8,
    pub(crate) s_reserved_gdt_blocks: U16,

    pub(crate) s_journal_uuid: [u8; 16],

    pub(crate) s_journal_inum: U32,
    pub(crate) s_journal_dev: U32,
    pub(crate) s_last_orphan: U32,
    pub(crate) s_hash_seed: [u8; 16],
    pub(crate) s_def_hash_version: u8,
    pub(crate) s_jnl_backup_type: u8,
    pub(crate) s_desc_size: U16,

    pub(crate) s_default_mount_opts: U32,
    pub(crate) s_first_meta_bg: U32,
    pub(crate) s_mkfs_time: U32,
    pub(crate) s_jnl_blocks: [U32; 17],

    pub(crate) s_blocks_count_hi: U32,
    pub(crate) s_r_blocks_count_hi: U32,
    pub(crate) s_free_blocks_count_hi: U32,
    pub(crate) s_min_extra_isize: U16,
    pub(crate) s_want_extra_isize: U16,

    pub(crate) s_flags: U32,
    pub(crate) s_raid_stride: U16,
    pub(crate) s_mmp_interval: U16,
    pub(crate) s_mmp_block: U64,

    pub(crate) s_raid_stripe_width: U32,
    pub(crate) s_log_groups_per_flex: u8,
    pub(crate) s_checksum_type: u8,
    pub(crate) s_encryption_level: u8,
    pub(crate) s_reserved_pad: u8,
    pub(crate) s_kbytes_written: U64,

    pub(crate) s_snapshot_inum: U32,
    pub(crate) s_snapshot_id: U32,
    pub(crate) s_snapshot_r_blocks_count: U64,

    pub(crate) s_snapshot_list: U32,
    pub(crate) s_error_count: U32,
    pub(crate) s_first_error_time: U32,
    pub(crate) s_first_error_ino: U32,

    pub(crate) s_first_error_block: U64,
    pub(crate) s_first_error_func: [u8; 32],
    pub(crate) s_first_error_line: U32,
    pub(crate) s_last_error_time: U32,

    pub(crate) s_last_error_ino: U32,
    pub(crate) s_last_error_line: U32,
    pub(crate) s_last_error_block: U64,

    pub(crate) s_last_error_func: [u8; 32],
    pub(crate) s_mount_opts: [u8; 64],

    pub(crate) s_usr_quota_inum: U32,
    pub(crate) s_grp_quota_inum: U32,
    pub(crate) s_overhead_clusters: U32,
    pub(crate) s_backup_bgs: [U32; 2],
    pub(crate) s_encrypt_algos: [u8; 4],
    pub(crate) s_encrypt_pw_salt: [u8; 16],
    pub(crate) s_lpf_ino: U32,
    pub(crate) s_prj_quota_inum: U32,

    pub(crate) s_checksum_seed: U32,
    pub(crate) s_wtime_hi: u8,
    pub(crate) s_mtime_hi: u8,
    pub(crate) s_mkfs_time_hi: u8,
    pub(crate) s_lastcheck_hi: u8,
    pub(crate) s_first_error_time_hi: u8,
    pub(crate) s_last_error_time_hi: u8,
    pub(crate) s_first_error_errcode: u8,
    pub(crate) s_last_error_errcode: u8,
    pub(crate) s_encoding: U16,
    pub(crate) s_encoding_flags: U16,

    pub(crate) s_orphan_file_inum: U32,
    pub(crate) s_reserved: [U32; 94],
    pub(crate) s_checksum: U32,
}

const _: () = assert!(size_of::<SuperBlock>() == 1024);
const _: () = assert!(offset_of!(SuperBlock, s_uuid) == 0x68);
const _: () = assert!(offset_of!(SuperBlock, s_hash_seed) == 0xec);
const _: () = assert!(offset_of!(SuperBlock, s_jnl_blocks) == 0x10c);
const _: () = assert!(offset_of!(SuperBlock, s_flags) == 0x160);
const _: () = assert!(offset_of!(SuperBlock, s_kbytes_written) == 0x178);
const _: () = assert!(offset_of!(SuperBlock, s_usr_quota_inum) == 0x240);
const _: () = assert!(offset_of!(SuperBlock, s_checksum_seed) == 0x270);
const _: () = assert!(offset_of!(SuperBlock, s_orphan_file_inum) == 0x280);
const _: () = assert!(offset_of!(SuperBlock, s_checksum) == 0x3fc);
