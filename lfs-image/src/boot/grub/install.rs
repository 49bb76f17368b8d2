//! GRUB's core image on a disk: the boot sector that loads its first sector, and that sector's list of the rest.
//!
//! Source: `grub-core/boot/i386/pc/{boot,diskboot}.S` and `util/setup.c` of GRUB 2.06 and 2.12; the result is what
//! `grub-bios-setup --no-rs-codes` writes.

use std::mem::offset_of;

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Grub;
use super::core::Core;
use crate::boot::BOOT_CODE;
use crate::error::{Error, Result};
use crate::raw::num::fit;

const SECTOR: usize = 512;

/// What boot.img keeps at fixed offsets.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct BootSector {
    jump: [u8; 3],
    /// BIOS parameter block of a disk without partitions; zeros on a new disk.
    bpb: [u8; 87],
    kernel_address: U16,
    /// Where the core image's first sector is.
    kernel_sector: U64,
    /// 0xff: the drive that the BIOS booted from.
    boot_drive: u8,
    padding: u8,
    /// A jump over the code that corrects a bogus drive number; taken out for hard disks.
    drive_check: [u8; 2],
    code: [u8; 0x1b8 - 0x68],
    /// Disk signature and partition table.
    table: [u8; 70],
    signature: U16,
}

const _: () = assert!(size_of::<BootSector>() == SECTOR);
const _: () = assert!(offset_of!(BootSector, kernel_sector) == 0x5c);
const _: () = assert!(offset_of!(BootSector, drive_check) == 0x66);
const _: () = assert!(offset_of!(BootSector, table) == BOOT_CODE);

/// An entry of diskboot.img's list, `struct grub_pc_bios_boot_blocklist`. The list grows towards lower addresses and
/// ends with an entry of length 0.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct BlockList {
    start: U64,
    len: U16,
    segment: U16,
}

/// The offset of the list's first entry, the last of the sector.
const FIRST: usize = SECTOR - size_of::<BlockList>();
/// Where the core image's body is loaded, as a real-mode segment: 0x8200.
const SEGMENT: u16 = 0x820;

/// What the disk gets.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    /// The part of sector 0 before the disk signature.
    pub(crate) boot_code: [u8; BOOT_CODE],
    /// Whole sectors from the embedding area's first on.
    pub(crate) area: Vec<u8>,
}

/// Places a core image in `sectors` sectors from `lba` on: the gap behind a master boot record, or a BIOS boot
/// partition.
pub(crate) fn install(grub: &Grub<'_>, core: &Core, lba: u64, sectors: u64) -> Result<Installed> {
    let boot = grub.read("boot.img")?;
    let refuse = |file: &str, what: String| {
        Error::input(format!("{}/{file} {what}: this GRUB's format is unknown", core.path))
    };
    let mut boot = BootSector::read_from_bytes(&boot)
        .map_err(|_| refuse("boot.img", format!("is {} bytes long, not {SECTOR}", boot.len())))?;
    if boot.signature.get() != 0xaa55 {
        return Err(refuse("boot.img", format!("ends with {:#06x}, not 0xaa55", boot.signature)));
    }
    if boot.drive_check[0] != 0xeb || boot.boot_drive != 0xff || boot.kernel_address.get() != 0x8000 {
        return Err(refuse(
            "boot.img",
            format!(
                "has kernel address {:#x}, boot drive {:#x} and drive check {:x?}",
                boot.kernel_address, boot.boot_drive, boot.drive_check
            ),
        ));
    }
    boot.bpb.fill(0);
    boot.kernel_sector = lba.into();
    boot.drive_check = [0x90, 0x90];

    let mut area = core.diskboot.clone();
    let list = area.get(FIRST..).and_then(|bytes| BlockList::read_from_bytes(bytes).ok());
    if area.len() != SECTOR || list.is_none_or(|list| list.segment.get() != SEGMENT) {
        return Err(refuse(
            "diskboot.img",
            format!("of {} bytes doesn't end with {SEGMENT:#06x}", area.len()),
        ));
    }
    let body = core.body.len().div_ceil(SECTOR) as u64;
    if body + 1 > sectors {
        return Err(Error::capacity(format!(
            "GRUB's core image takes {} sectors, there is room for {sectors} from sector {lba} on",
            body + 1
        )));
    }
    let entry = BlockList {
        start: (lba + 1).into(),
        len: U16::new(fit(body, "the core image's number of sectors")?),
        segment: SEGMENT.into(),
    };
    area[FIRST..].copy_from_slice(entry.as_bytes());
    area[FIRST - size_of::<BlockList>()..FIRST].fill(0);
    area.extend_from_slice(&core.body);
    area.resize(area.len().next_multiple_of(SECTOR), 0);

    let mut boot_code = [0; BOOT_CODE];
    boot_code.copy_from_slice(&boot.as_bytes()[..BOOT_CODE]);
    Ok(Installed { boot_code, area })
}
