//! The records of a FAT32 volume, with the field names of fatgen103.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// "Boot Sector and BPB" with the part that FAT32 adds.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BootSector {
    pub(super) bs_jmp_boot: [u8; 3],
    pub(super) bs_oem_name: [u8; 8],
    pub(super) bpb_byts_per_sec: U16,
    pub(super) bpb_sec_per_clus: u8,
    pub(super) bpb_rsvd_sec_cnt: U16,
    pub(super) bpb_num_fats: u8,
    pub(super) bpb_root_ent_cnt: U16,
    pub(super) bpb_tot_sec16: U16,
    pub(super) bpb_media: u8,
    pub(super) bpb_fat_sz16: U16,
    pub(super) bpb_sec_per_trk: U16,
    pub(super) bpb_num_heads: U16,
    pub(super) bpb_hidd_sec: U32,
    pub(super) bpb_tot_sec32: U32,
    pub(super) bpb_fat_sz32: U32,
    pub(super) bpb_ext_flags: U16,
    pub(super) bpb_fs_ver: U16,
    pub(super) bpb_root_clus: U32,
    pub(super) bpb_fs_info: U16,
    pub(super) bpb_bk_boot_sec: U16,
    pub(super) bpb_reserved: [u8; 12],
    pub(super) bs_drv_num: u8,
    pub(super) bs_reserved1: u8,
    pub(super) bs_boot_sig: u8,
    pub(super) bs_vol_id: U32,
    pub(super) bs_vol_lab: [u8; 11],
    pub(super) bs_fil_sys_type: [u8; 8],
    pub(super) boot_code: [u8; 420],
    pub(super) signature: U16,
}

/// "FAT32 FSInfo Sector Structure and Backup Boot Sector".
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FsInfo {
    pub(super) fsi_lead_sig: U32,
    pub(super) fsi_reserved1: [u8; 480],
    pub(super) fsi_struc_sig: U32,
    pub(super) fsi_free_count: U32,
    pub(super) fsi_nxt_free: U32,
    pub(super) fsi_reserved2: [u8; 12],
    pub(super) fsi_trail_sig: U32,
}

/// "FAT 32 Byte Directory Entry Structure".
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DirEntry {
    pub(super) dir_name: [u8; 11],
    pub(super) dir_attr: u8,
    pub(super) dir_nt_res: u8,
    pub(super) dir_crt_time_tenth: u8,
    pub(super) dir_crt_time: U16,
    pub(super) dir_crt_date: U16,
    pub(super) dir_lst_acc_date: U16,
    pub(super) dir_fst_clus_hi: U16,
    pub(super) dir_wrt_time: U16,
    pub(super) dir_wrt_date: U16,
    pub(super) dir_fst_clus_lo: U16,
    pub(super) dir_file_size: U32,
}

/// "FAT Long Directory Entry Structure".
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct LongEntry {
    pub(super) ldir_ord: u8,
    pub(super) ldir_name1: [U16; 5],
    pub(super) ldir_attr: u8,
    pub(super) ldir_type: u8,
    pub(super) ldir_chksum: u8,
    pub(super) ldir_name2: [U16; 6],
    pub(super) ldir_fst_clus_lo: U16,
    pub(super) ldir_name3: [U16; 2],
}

/// Attributes of a directory entry.
pub(super) mod attr {
    pub(crate) const VOLUME_ID: u8 = 0x08;
    pub(crate) const DIRECTORY: u8 = 0x10;
    pub(crate) const ARCHIVE: u8 = 0x20;
    /// Read-only, hidden, system and volume id at once: a piece of a long name.
    pub(crate) const LONG_NAME: u8 = 0x0f;
}

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<BootSector>() == 512);
    assert!(offset_of!(BootSector, bpb_tot_sec32) == 32);
    assert!(offset_of!(BootSector, bs_vol_id) == 67);
    assert!(offset_of!(BootSector, boot_code) == 90);
    assert!(offset_of!(BootSector, signature) == 510);
    assert!(size_of::<FsInfo>() == 512);
    assert!(offset_of!(FsInfo, fsi_struc_sig) == 484);
    assert!(offset_of!(FsInfo, fsi_trail_sig) == 508);
    assert!(size_of::<DirEntry>() == 32);
    assert!(offset_of!(DirEntry, dir_wrt_time) == 22);
    assert!(size_of::<LongEntry>() == 32);
    assert!(offset_of!(LongEntry, ldir_name3) == 28);
};
