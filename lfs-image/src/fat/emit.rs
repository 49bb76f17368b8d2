//! A planned volume becomes bytes.

use zerocopy::IntoBytes as _;
use zerocopy::little_endian::U32;

use super::geometry::FATS;
use super::records::{BootSector, FsInfo};
use super::{Plan, SECTOR};
use crate::error::{Error, Result};
use crate::raw::num::{fit, index};
use crate::raw::out::{Out, Target};
use crate::raw::store::ReadAt;

impl Plan {
    /// Writes the volume. Free clusters are unallocated space; the FATs are not.
    pub(crate) fn emit<S: Target + ?Sized>(&self, out: &mut Out<'_, S>, store: &dyn ReadAt) -> Result<()> {
        let start = out.offset();
        let end = start
            .checked_add(self.sectors() * SECTOR)
            .ok_or_else(|| Error::internal("a FAT volume beyond the end of numbers"))?;
        let boot = self.boot_sector()?;
        let info = self.fs_info();
        let copies = BACKUP * index(SECTOR);
        let mut front = vec![0; 2 * copies];
        for at in [0, copies] {
            front[at..at + size_of::<BootSector>()].copy_from_slice(boot.as_bytes());
            front[at + size_of::<BootSector>()..][..size_of::<FsInfo>()].copy_from_slice(info.as_bytes());
        }
        out.data(&front)?;
        out.zeros(u64::from(self.geometry.reserved) * SECTOR - front.len() as u64)?;
        for _ in 0..FATS {
            self.emit_fat(out)?;
        }
        if out.offset() != start + self.geometry.data() * SECTOR {
            return Err(Error::internal("the FATs are not as long as planned"));
        }
        for run in &self.runs {
            run.content.emit(out, store)?;
            let bytes = u64::from(run.clusters) * self.geometry.cluster_bytes();
            let slack = bytes.checked_sub(run.content.len());
            out.zeros(slack.ok_or_else(|| Error::internal("a file is longer than its clusters"))?)?;
        }
        out.skip_to(end)
    }

    fn emit_fat<S: Target + ?Sized>(&self, out: &mut Out<'_, S>) -> Result<()> {
        /// Entries that are rendered at once.
        const BATCH: u32 = 1 << 14;
        out.data([FAT_MEDIA, FAT_END].as_bytes())?;
        let mut next: u32 = 2;
        for run in &self.runs {
            let end = next + run.clusters;
            while next < end {
                let n = BATCH.min(end - next);
                let bytes = out.reserve(4 * n as usize)?;
                for entry in bytes.chunks_exact_mut(4) {
                    next += 1;
                    let value = if next == end { FAT_END } else { U32::new(next) };
                    entry.copy_from_slice(value.as_bytes());
                }
            }
        }
        out.zeros(u64::from(self.geometry.fat) * SECTOR - 4 * u64::from(next))
    }

    fn boot_sector(&self) -> Result<BootSector> {
        let geometry = &self.geometry;
        let mut boot_code = [0; 420];
        boot_code[..CODE.len()].copy_from_slice(&CODE);
        boot_code[CODE.len()..][..MESSAGE.len()].copy_from_slice(MESSAGE);
        Ok(BootSector {
            // Over the parameters to the code at 0x5a.
            bs_jmp_boot: [0xeb, 0x58, 0x90],
            // fatgen103: the name that the fewest drivers stumble over.
            bs_oem_name: *b"MSWIN4.1",
            bpb_byts_per_sec: fit::<u16>(SECTOR, "bytes in a sector")?.into(),
            bpb_sec_per_clus: fit(geometry.cluster_sectors.into(), "sectors in a cluster")?,
            bpb_rsvd_sec_cnt: fit::<u16>(geometry.reserved.into(), "reserved sectors")?.into(),
            bpb_num_fats: fit(FATS.into(), "number of FATs")?,
            bpb_root_ent_cnt: 0.into(),
            bpb_tot_sec16: 0.into(),
            bpb_media: MEDIA,
            bpb_fat_sz16: 0.into(),
            bpb_sec_per_trk: 63.into(),
            bpb_num_heads: 255.into(),
            bpb_hidd_sec: self.hidden_sectors.into(),
            bpb_tot_sec32: geometry.sectors.into(),
            bpb_fat_sz32: geometry.fat.into(),
            bpb_ext_flags: 0.into(),
            bpb_fs_ver: 0.into(),
            bpb_root_clus: 2.into(),
            bpb_fs_info: 1.into(),
            bpb_bk_boot_sec: fit::<u16>(BACKUP as u64, "sector of the backup")?.into(),
            bpb_reserved: [0; 12],
            bs_drv_num: 0x80,
            bs_reserved1: 0,
            bs_boot_sig: 0x29,
            bs_vol_id: self.serial.into(),
            bs_vol_lab: self.label,
            bs_fil_sys_type: *b"FAT32   ",
            boot_code,
            signature: 0xaa55.into(),
        })
    }

    fn fs_info(&self) -> FsInfo {
        FsInfo {
            fsi_lead_sig: 0x4161_5252.into(),
            fsi_reserved1: [0; 480],
            fsi_struc_sig: 0x6141_7272.into(),
            fsi_free_count: (self.geometry.clusters - self.used_clusters).into(),
            // Where to look next: the last one that was given away.
            fsi_nxt_free: (self.used_clusters + 1).into(),
            fsi_reserved2: [0; 12],
            fsi_trail_sig: 0xaa55_0000.into(),
        }
    }
}

/// The sector where the copies of the first two are.
const BACKUP: usize = 6;

/// A disk that can't be taken out.
const MEDIA: u8 = 0xf8;
/// What stands for cluster 0: the media byte.
const FAT_MEDIA: U32 = U32::new(0x0fff_ff00 | MEDIA as u32);
/// The end of a file; for cluster 1 also: unmounted in order, no errors met.
const FAT_END: U32 = U32::new(0x0fff_ffff);

/// What runs when somebody boots this volume: prints [`MESSAGE`], lets the BIOS try the next disk, stops.
#[rustfmt::skip]
const CODE: [u8; 27] = [
    0x31, 0xc0,             //        xor  ax, ax
    0x8e, 0xd8,             //        mov  ds, ax
    0xbe, 0x75, 0x7c,       //        mov  si, 0x7c00 + 0x5a + 27
    0xfc,                   //        cld
    0xac,                   // next:  lodsb
    0x84, 0xc0,             //        test al, al
    0x74, 0x09,             //        jz   done
    0xb4, 0x0e,             //        mov  ah, 0x0e        teletype output
    0xbb, 0x07, 0x00,       //        mov  bx, 7
    0xcd, 0x10,             //        int  0x10
    0xeb, 0xf2,             //        jmp  next
    0xcd, 0x18,             // done:  int  0x18            boot failed
    0xf4,                   // stop:  hlt
    0xeb, 0xfd,             //        jmp  stop
];
const MESSAGE: &[u8] = b"This volume holds EFI programs. Boot another disk, or by UEFI.\r\n\0";
const _: () = assert!(CODE.len() == 27 && CODE.len() + MESSAGE.len() <= 420);
