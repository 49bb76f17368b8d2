//! Partition tables as they are found on a disk: either kind, primary or backup, possibly damaged or made to harm.

use zerocopy::FromBytes as _;

use super::gpt::{self, Attributes, Gpt, Header};
use super::mbr::{self, MasterBootRecord, kinds};
use super::{CODE, SECTOR, SECTOR_BYTES};
use crate::error::{Error, Result};
use crate::raw::crc::crc32;
use crate::raw::guid::Uuid;

/// A partition table that was found.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Which kind, and what only that kind has.
    pub(crate) label: Label,
    /// By number.
    pub(crate) partitions: Vec<Partition>,
    /// The boot code in front of the table.
    #[cfg_attr(not(feature = "ebs"), allow(dead_code, reason = "for volumes larger than the image"))]
    pub(crate) code: Box<[u8; CODE]>,
    /// What is wrong but did not keep the table from being read, as clauses.
    pub(crate) problems: Vec<String>,
}

/// The kind of a partition table.
#[derive(Clone, Debug)]
pub(crate) enum Label {
    /// A GPT, which can be rendered for another disk.
    Gpt(Gpt),
    /// A classic table with this disk signature.
    Mbr(u32),
}

/// A partition that was found. It lies within the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Partition {
    /// From 1 on; numbers may be missing.
    pub(crate) number: u32,
    /// What it holds.
    pub(crate) kind: PartitionKind,
    /// What `root=PARTUUID=` calls it.
    pub(crate) partuuid: String,
    /// The first sector.
    pub(crate) first_lba: u64,
    /// The number of sectors.
    pub(crate) sectors: u64,
    /// Whether legacy boot code would start it.
    pub(crate) bootable: bool,
    /// The label; empty in a classic table.
    pub(crate) name: String,
}

/// The type of a partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PartitionKind {
    /// One of [`types`](super::types), or another.
    Gpt(Uuid),
    /// One of [`kinds`], or another.
    Mbr(u8),
}

/// Finds the partition table of a disk of `disk_sectors`, whose bytes at an offset `read_at` gives; `None` where there is
/// no table at all.
///
/// # Errors
///
/// When the disk can't be read; when there is a GPT and neither copy is sound; when a partition leaves the disk.
pub(crate) fn read(
    disk_sectors: u64,
    read_at: &dyn Fn(u64, &mut [u8]) -> Result<()>,
) -> Result<Option<Table>> {
    if disk_sectors == 0 {
        return Ok(None);
    }
    let mut sector = [0; SECTOR_BYTES];
    read_at(0, &mut sector)?;
    let mbr: MasterBootRecord = zerocopy::transmute!(sector);
    let looks_like_one = mbr.signature.get() == mbr::SIGNATURE
        && mbr.partition_record.iter().all(|p| matches!(p.boot_indicator, 0 | mbr::ACTIVE));
    if looks_like_one && mbr.partition_record.iter().any(|p| p.os_type == kinds::PROTECTIVE) {
        return read_gpt(disk_sectors, &mbr, read_at).map(Some);
    }
    if looks_like_one && mbr.partition_record.iter().any(|p| p.os_type != 0) {
        return read_mbr(disk_sectors, &mbr).map(Some);
    }
    Ok(None)
}

fn read_mbr(disk_sectors: u64, mbr: &MasterBootRecord) -> Result<Table> {
    let disk_signature = mbr.unique_mbr_signature.get();
    let mut partitions = Vec::new();
    for (number, p) in (1..).zip(&mbr.partition_record) {
        let (first_lba, sectors) = (u64::from(p.starting_lba.get()), u64::from(p.size_in_lba.get()));
        if p.os_type == 0 || sectors == 0 {
            continue;
        }
        within(disk_sectors, number, first_lba, first_lba + (sectors - 1))?;
        partitions.push(Partition {
            number,
            kind: PartitionKind::Mbr(p.os_type),
            partuuid: mbr::partuuid(disk_signature, number),
            first_lba,
            sectors,
            bootable: p.boot_indicator == mbr::ACTIVE,
            name: String::new(),
        });
    }
    Ok(Table {
        label: Label::Mbr(disk_signature),
        partitions,
        code: Box::new(mbr.boot_code),
        problems: Vec::new(),
    })
}

fn read_gpt(
    disk_sectors: u64,
    mbr: &MasterBootRecord,
    read_at: &dyn Fn(u64, &mut [u8]) -> Result<()>,
) -> Result<Table> {
    let mut problems = Vec::new();
    let copy = |lba| read_copy(disk_sectors, lba, read_at);
    let end = disk_sectors - 1;
    let gpt = match copy(1) {
        Ok((header, array)) => {
            let backup = header.alternate_lba.get();
            if backup != end {
                problems.push(format!("the backup GPT is at sector {backup}, not at the disk's last, {end}"));
            }
            match copy(backup) {
                Ok((_, other)) if other == array => {}
                Ok(_) => problems.push("the backup GPT has other partitions".to_owned()),
                Err(error) => problems.push(format!("the backup GPT is unusable: {error}")),
            }
            // Rendering for the size it was made for gives the bytes that are there.
            let made_for = backup.checked_add(1).ok_or_else(|| Error::input("the GPT has no backup"))?;
            Gpt::from_disk(made_for, &header, header.partition_entry_lba.get(), array)?
        }
        Err(primary) => {
            let (header, array) = copy(end).map_err(|backup| {
                Error::input(format!(
                    "neither the GPT at sector 1 ({primary}) nor its backup at sector {end} ({backup}) is usable"
                ))
            })?;
            problems.push(format!("the primary GPT is unusable: {primary}"));
            Gpt::from_disk(disk_sectors, &header, 2, array)?
        }
    };
    let mut partitions = Vec::new();
    for (number, record) in gpt.records() {
        let (first_lba, last_lba) = (record.starting_lba.get(), record.ending_lba.get());
        within(disk_sectors, number, first_lba, last_lba)?;
        let name: Vec<u16> =
            record.partition_name.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0).collect();
        partitions.push(Partition {
            number,
            kind: PartitionKind::Gpt(Uuid::from_guid_bytes(record.partition_type_guid)),
            partuuid: Uuid::from_guid_bytes(record.unique_partition_guid).to_string(),
            first_lba,
            sectors: last_lba - first_lba + 1,
            bootable: Attributes::from_bits_retain(record.attributes.get())
                .contains(Attributes::LEGACY_BIOS_BOOTABLE),
            name: String::from_utf16_lossy(&name),
        });
    }
    Ok(Table { label: Label::Gpt(gpt), partitions, code: Box::new(mbr.boot_code), problems })
}

fn within(disk_sectors: u64, number: u32, first_lba: u64, last_lba: u64) -> Result<()> {
    if first_lba == 0 || first_lba > last_lba || last_lba >= disk_sectors {
        return Err(Error::input(format!(
            "partition {number} from sector {first_lba} to {last_lba} is outside sectors 1 to {} of the disk",
            disk_sectors - 1
        )));
    }
    Ok(())
}

/// The header at `lba` and its entries, both with sound CRCs.
fn read_copy(
    disk_sectors: u64,
    lba: u64,
    read_at: &dyn Fn(u64, &mut [u8]) -> Result<()>,
) -> Result<(Header, Vec<u8>)> {
    let offset = |lba: u64, sectors: u64| {
        let inside = lba.checked_add(sectors).is_some_and(|end| end <= disk_sectors);
        let bytes = inside.then(|| lba.checked_mul(SECTOR)).flatten();
        bytes.ok_or_else(|| Error::input(format!("sector {lba} is beyond the disk's {disk_sectors}")))
    };
    let mut sector = [0; SECTOR_BYTES];
    read_at(offset(lba, 1)?, &mut sector)?;
    let (header, _) = Header::read_from_prefix(&sector)
        .map_err(|_| Error::internal("a GPT header is longer than a sector"))?;
    if header.signature != *gpt::SIGNATURE {
        return Err(Error::input("it has no signature"));
    }
    let size = header.header_size.get() as usize;
    if header.revision.get() != gpt::REVISION || !(size_of::<Header>()..=sector.len()).contains(&size) {
        return Err(Error::input(format!(
            "its revision is {:#x} and its header has {size} bytes",
            header.revision
        )));
    }
    let mut blank = sector;
    blank[16..20].fill(0);
    let (stored, computed) = (header.header_crc32.get(), crc32(&blank[..size]));
    if stored != computed {
        return Err(Error::input(format!("its header has the CRC {computed:08x} and says {stored:08x}")));
    }
    if header.my_lba.get() != lba {
        return Err(Error::input(format!("its header belongs to sector {}", header.my_lba)));
    }
    let (entries, entry_size) =
        (header.number_of_partition_entries.get(), header.size_of_partition_entry.get());
    if !(128..=MAX_ENTRY_SIZE).contains(&entry_size)
        || !entry_size.is_power_of_two()
        || !(1..=MAX_ENTRIES).contains(&entries)
    {
        return Err(Error::input(format!("it has {entries} entries of {entry_size} bytes")));
    }
    let mut array = vec![0; entries as usize * entry_size as usize];
    let array_lba = header.partition_entry_lba.get();
    read_at(offset(array_lba, (array.len() as u64).div_ceil(SECTOR))?, &mut array)?;
    let (stored, computed) = (header.partition_entry_array_crc32.get(), crc32(&array));
    if stored != computed {
        return Err(Error::input(format!(
            "its entries have the CRC {computed:08x}, its header says {stored:08x}"
        )));
    }
    Ok((header, array))
}

// Bounds on what a hostile header can make us read: 4 MiB.
const MAX_ENTRIES: u32 = 1024;
const MAX_ENTRY_SIZE: u32 = 4096;
