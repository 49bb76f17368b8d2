//! The master boot record: boot code, disk signature and four partitions in one sector.
//!
//! ```text
//!   0 ┌───────────────────────────────┐
//!     │ boot code, 440 bytes          │
//! 440 ├───────────────────────────────┤
//!     │ disk signature (4), 0 (2)     │
//! 446 ├───────────────────────────────┤  16 bytes each: flag, first CHS, type,
//!     │ four partitions               │  last CHS, first LBA, sectors
//! 510 ├───────────────────────────────┤
//!     │ 55 aa                         │
//! 512 └───────────────────────────────┘
//! ```
//!
//! Source: UEFI 2.10, 5.2. Cylinders, heads and sectors follow the geometry that every PC firmware assumes for a disk
//! of unknown shape: 255 heads, 63 sectors to a track.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::SECTOR_BYTES;
use crate::error::{Error, Result};
use crate::raw::num::{lo8, lo32};

/// Bytes of boot code in sector 0, in front of the disk signature.
pub(crate) const CODE: usize = 440;

/// Partition types, the one-byte kind.
pub(crate) mod kinds {
    /// A Linux filesystem.
    pub(crate) const LINUX: u8 = 0x83;
    /// Data that is no filesystem.
    pub(crate) const RAW_DATA: u8 = 0xda;
    /// A whole disk that belongs to a GPT (UEFI 2.10, 5.2.3).
    pub(crate) const PROTECTIVE: u8 = 0xee;
    /// An EFI system partition (UEFI 2.10, 5.2.2).
    pub(crate) const EFI_SYSTEM: u8 = 0xef;
}

/// A classic partition table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mbr {
    disk_signature: u32,
    partitions: [Option<Primary>; 4],
}

/// One of the four partitions of a classic table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Primary {
    /// Whether boot code that knows nothing better starts this one.
    pub(crate) bootable: bool,
    /// One of [`kinds`].
    pub(crate) kind: u8,
    /// The first sector.
    pub(crate) first_lba: u64,
    /// The number of sectors.
    pub(crate) sectors: u64,
}

impl Mbr {
    /// A table for a disk of `disk_sectors`.
    ///
    /// # Errors
    ///
    /// When a partition is empty, covers the table, overlaps another, leaves the disk, or lies beyond the 2 TiB that
    /// 32-bit sector numbers reach; when more than one is bootable; when the disk signature is 0, which names
    /// no disk.
    pub(crate) fn plan(
        disk_sectors: u64,
        disk_signature: u32,
        partitions: [Option<Primary>; 4],
    ) -> Result<Self> {
        if disk_signature == 0 {
            return Err(Error::input("a disk signature of 0 can't name a disk"));
        }
        for (number, p) in (1..).zip(&partitions) {
            let Some(p) = p else { continue };
            if p.kind == 0 {
                return Err(Error::input(format!("partition {number} has type 0, which means unused")));
            }
            let end = p.first_lba.checked_add(p.sectors).filter(|end| *end <= 1 << 32).ok_or_else(|| {
                Error::capacity(format!(
                    "partition {number} of {} sectors at sector {} reaches beyond the 2 TiB of a classic \
                     partition table",
                    p.sectors, p.first_lba
                ))
            })?;
            if p.sectors == 0 || p.first_lba == 0 || end > disk_sectors {
                return Err(Error::capacity(format!(
                    "partition {number} of {} sectors at sector {} is outside sectors 1 to {} of the disk",
                    p.sectors,
                    p.first_lba,
                    disk_sectors.saturating_sub(1)
                )));
            }
        }
        let mut sorted: Vec<(u64, u64, usize)> = (1..)
            .zip(&partitions)
            .filter_map(|(n, p)| p.map(|p| (p.first_lba, p.first_lba + (p.sectors - 1), n)))
            .collect();
        sorted.sort_unstable();
        super::refuse_overlaps(&sorted)?;
        if partitions.iter().flatten().filter(|p| p.bootable).count() > 1 {
            return Err(Error::input("more than one partition is marked bootable"));
        }
        Ok(Self { disk_signature, partitions })
    }

    /// Sector 0, with this boot code.
    pub(crate) fn sector(&self, code: &[u8; CODE]) -> [u8; SECTOR_BYTES] {
        let partitions = self.partitions.map(|p| match p {
            Some(p) => record(&p),
            None => MbrPartition::new_zeroed(),
        });
        sector(code, self.disk_signature, partitions)
    }

    /// What `root=PARTUUID=` calls partition `number` (1 to 4).
    pub(crate) fn partuuid(&self, number: u32) -> String {
        partuuid(self.disk_signature, number)
    }
}

/// The kernel's name of a partition in a classic table (`block/partitions/msdos.c`).
pub(super) fn partuuid(disk_signature: u32, number: u32) -> String {
    format!("{disk_signature:08x}-{number:02x}")
}

/// Sector 0 of a disk with a GPT: one partition over all that 32 bits can say (UEFI 2.10, 5.2.3).
pub(super) fn protective(disk_sectors: u64, code: &[u8; CODE]) -> [u8; SECTOR_BYTES] {
    let size = (disk_sectors - 1).min(u64::from(u32::MAX));
    let whole = MbrPartition {
        boot_indicator: 0,
        starting_chs: [0x00, 0x02, 0x00],
        os_type: kinds::PROTECTIVE,
        // Unlike other partitions, where the last cylinder has one number less.
        ending_chs: chs(disk_sectors - 1).unwrap_or([0xff, 0xff, 0xff]),
        starting_lba: 1.into(),
        size_in_lba: lo32(size).into(),
    };
    let none = MbrPartition::new_zeroed();
    sector(code, 0, [whole, none, none, none])
}

fn sector(code: &[u8; CODE], disk_signature: u32, partitions: [MbrPartition; 4]) -> [u8; SECTOR_BYTES] {
    zerocopy::transmute!(MasterBootRecord {
        boot_code: *code,
        unique_mbr_signature: disk_signature.into(),
        unknown: 0.into(),
        partition_record: partitions,
        signature: SIGNATURE.into(),
    })
}

fn record(p: &Primary) -> MbrPartition {
    // What cylinder 1023 can't reach has this value, by convention.
    const BEYOND: [u8; 3] = [254, 255, 255];
    MbrPartition {
        boot_indicator: if p.bootable { ACTIVE } else { 0 },
        starting_chs: chs(p.first_lba).unwrap_or(BEYOND),
        os_type: p.kind,
        ending_chs: chs(p.first_lba + (p.sectors - 1)).unwrap_or(BEYOND),
        starting_lba: lo32(p.first_lba).into(),
        size_in_lba: lo32(p.sectors).into(),
    }
}

/// Head, sector with the high bits of the cylinder, low bits of the cylinder; `None` beyond cylinder 1023.
fn chs(lba: u64) -> Option<[u8; 3]> {
    let (cylinder, rest) = (lba / (255 * 63), lo32(lba % (255 * 63)));
    let cylinder = u32::try_from(cylinder).ok().filter(|c| *c <= 1023)?;
    Some([lo8(rest / 63), lo8((cylinder >> 8 << 6) | (rest % 63 + 1)), lo8(cylinder)])
}

pub(super) const SIGNATURE: u16 = 0xaa55;
pub(super) const ACTIVE: u8 = 0x80;

/// UEFI 2.10, table 5.1.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct MasterBootRecord {
    pub(super) boot_code: [u8; CODE],
    pub(super) unique_mbr_signature: U32,
    pub(super) unknown: U16,
    pub(super) partition_record: [MbrPartition; 4],
    pub(super) signature: U16,
}

/// UEFI 2.10, table 5.2.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct MbrPartition {
    pub(super) boot_indicator: u8,
    pub(super) starting_chs: [u8; 3],
    pub(super) os_type: u8,
    pub(super) ending_chs: [u8; 3],
    pub(super) starting_lba: U32,
    pub(super) size_in_lba: U32,
}

const _: () = {
    assert!(size_of::<MbrPartition>() == 16);
    assert!(size_of::<MasterBootRecord>() == 512);
    assert!(std::mem::offset_of!(MasterBootRecord, partition_record) == 446);
    assert!(std::mem::offset_of!(MasterBootRecord, signature) == 510);
};

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(first_lba: u64, sectors: u64) -> Option<Primary> {
        Some(Primary { bootable: false, kind: kinds::LINUX, first_lba, sectors })
    }

    fn refusal(disk_sectors: u64, partitions: [Option<Primary>; 4]) -> String {
        Mbr::plan(disk_sectors, 1, partitions).unwrap_err().to_string()
    }

    #[test]
    fn sectors_become_cylinders() {
        assert_eq!(chs(0), Some([0, 1, 0]));
        assert_eq!(chs(2048), Some([32, 33, 0]));
        // The last sector of cylinder 1023, head 254.
        assert_eq!(chs(1024 * 255 * 63 - 1), Some([254, 0xff, 0xff]));
        assert_eq!(chs(1024 * 255 * 63), None);
        assert_eq!(chs(u64::MAX), None);
    }

    #[test]
    fn limits() {
        let disk = 1 << 33;
        assert!(Mbr::plan(disk, 1, [linux(2048, (1 << 32) - 2048), None, None, None]).is_ok());
        assert_eq!(
            refusal(disk, [linux(2048, (1 << 32) - 2047), None, None, None]),
            "partition 1 of 4294965249 sectors at sector 2048 reaches beyond the 2 TiB of a classic partition \
             table"
        );
        assert!(refusal(disk, [linux(u64::MAX, 2), None, None, None]).contains("2 TiB"));
        assert_eq!(
            refusal(4096, [None, linux(2048, 2049), None, None]),
            "partition 2 of 2049 sectors at sector 2048 is outside sectors 1 to 4095 of the disk"
        );
        assert!(refusal(4096, [linux(0, 8), None, None, None]).contains("outside"));
        assert!(refusal(4096, [linux(8, 0), None, None, None]).contains("outside"));
        assert_eq!(
            refusal(4096, [linux(2048, 8), None, linux(2055, 1), None]),
            "partitions 1 (sectors 2048 to 2055) and 3 (sectors 2055 to 2055) overlap"
        );
        let active = |first_lba| Some(Primary { bootable: true, kind: 0x83, first_lba, sectors: 8 });
        assert!(refusal(4096, [active(8), active(16), None, None]).contains("bootable"));
        assert!(Mbr::plan(4096, 0, [None; 4]).is_err());
    }

    #[test]
    fn boot_code_stays_in_front_of_the_signature() {
        let mbr = Mbr::plan(4096, 0xdead_beef, [linux(2048, 2048), None, None, None]).unwrap();
        let sector = mbr.sector(&[0x90; CODE]);
        assert!(sector[..440].iter().all(|b| *b == 0x90));
        assert_eq!(sector[440..446], [0xef, 0xbe, 0xad, 0xde, 0, 0]);
        assert_eq!(sector[510..], [0x55, 0xaa]);
        assert_eq!(mbr.partuuid(1), "deadbeef-01");
    }
}
