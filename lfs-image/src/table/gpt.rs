//! The GUID partition table, with its protective MBR.
//!
//! Both copies hold the same entries; a header says where its own copy of them lies, and a CRC of each covers it. The
//! backup copy counts from the end of the disk, so moving an image to a larger disk means rendering the table again
//! ([`Gpt::for_disk`]) and writing the first two sectors and the tail.
//!
//! Source: UEFI 2.10, 5.3.

use std::collections::BTreeMap;

use bitflags::bitflags;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::mbr::{self, CODE};
use super::{SECTOR, SECTOR_BYTES, refuse_overlaps};
use crate::error::{Error, Result};
use crate::raw::crc::crc32;
use crate::raw::guid::Uuid;
use crate::raw::num::{index, lo32};

/// Partition types.
pub(crate) mod types {
    use crate::raw::guid::Uuid;

    const fn guid(digits: u128) -> Uuid {
        Uuid::from_bytes(digits.to_be_bytes())
    }

    /// The EFI system partition (UEFI 2.10, table 5.7).
    pub(crate) const EFI_SYSTEM: Uuid = guid(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
    /// Where GRUB keeps what doesn't fit into sector 0 (GRUB manual, "BIOS installation").
    pub(crate) const BIOS_BOOT: Uuid = guid(0x21686148_6449_6e6f_744e_656564454649);
    /// Any Linux filesystem (UAPI.2 Discoverable Partitions, "Generic Linux Data Partition").
    pub(crate) const LINUX_FILESYSTEM: Uuid = guid(0x0fc63daf_8483_4772_8e79_3d69d8477de4);
}

bitflags! {
    /// Attributes of a partition: UEFI 2.10, table 5.8, and above bit 48 those of its type's owner.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub(crate) struct Attributes: u64 {
        /// The platform needs it; tools should leave it alone.
        const REQUIRED = 1 << 0;
        /// Firmware makes no block device of it.
        const NO_BLOCK_IO = 1 << 1;
        /// Boot code that knows nothing better starts this one.
        const LEGACY_BIOS_BOOTABLE = 1 << 2;
        /// The filesystem may be grown to the partition when it is mounted (UAPI.2).
        const GROW_FILESYSTEM = 1 << 59;
        /// The partition is read-only (UAPI.2).
        const READ_ONLY = 1 << 60;
        /// Nothing mounts it unasked (UAPI.2).
        const NO_AUTO = 1 << 63;
    }
}

/// One partition of a GPT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    /// 1 to 128: what Linux appends to the name of the disk.
    pub(crate) number: u32,
    /// One of [`types`].
    pub(crate) type_guid: Uuid,
    /// Names this one partition: `root=PARTUUID=`.
    pub(crate) partition_guid: Uuid,
    /// The first sector.
    pub(crate) first_lba: u64,
    /// The last sector: it still belongs to the partition.
    pub(crate) last_lba: u64,
    /// See [`Attributes`].
    pub(crate) attributes: Attributes,
    /// A label of at most 36 UTF-16 units.
    pub(crate) name: String,
}

/// A GUID partition table for a disk of a certain size.
#[derive(Clone, Debug)]
pub(crate) struct Gpt {
    disk_sectors: u64,
    disk_guid: Uuid,
    first_usable: u64,
    /// Where the primary copy of the entries begins.
    array_lba: u64,
    entry_size: u32,
    /// All slots, used or not.
    array: Vec<u8>,
}

impl Gpt {
    /// The sectors in front of the first one a partition may use.
    pub(crate) const HEAD: u64 = 2 + ARRAY_SECTORS;
    /// The sectors behind the last one a partition may use.
    pub(crate) const TAIL: u64 = 1 + ARRAY_SECTORS;
    /// The most partitions.
    pub(crate) const MAX_ENTRIES: u32 = 128;

    /// A table of these partitions.
    ///
    /// # Errors
    ///
    /// When the disk is too small for any table; when a partition is empty, leaves the usable sectors or overlaps
    /// another; when a number or GUID is used twice, a GUID is zero, or a name is too long.
    pub(crate) fn plan(disk_sectors: u64, disk_guid: Uuid, entries: &[Entry]) -> Result<Self> {
        let usable = usable(disk_sectors, Self::HEAD, ARRAY_SECTORS)?;
        let mut numbers = BTreeMap::new();
        let mut guids = BTreeMap::from([(disk_guid, 0)]);
        let mut ranges = Vec::new();
        let mut array = vec![0; index(ARRAY_SECTORS * SECTOR)];
        for entry in entries {
            let number = entry.number;
            if !(1..=Self::MAX_ENTRIES).contains(&number) {
                return Err(Error::capacity(format!(
                    "partition number {number} is not one of the {} that a GPT has room for",
                    Self::MAX_ENTRIES
                )));
            }
            if numbers.insert(number, ()).is_some() {
                return Err(Error::input(format!("there are two partitions {number}")));
            }
            if entry.type_guid == Uuid::default() {
                return Err(Error::input(format!("partition {number} has type 0, which means unused")));
            }
            if guids.insert(entry.partition_guid, number).is_some() || entry.partition_guid == Uuid::default()
            {
                return Err(Error::input(format!(
                    "partition {number} has the GUID {}, which is zero or already used on this disk",
                    entry.partition_guid
                )));
            }
            let (first, last) = (entry.first_lba, entry.last_lba);
            if first > last || first < usable.0 || last > usable.1 {
                return Err(Error::capacity(format!(
                    "partition {number} from sector {first} to {last} is outside sectors {} to {} that a GPT \
                     leaves usable on a disk of {disk_sectors}",
                    usable.0, usable.1
                )));
            }
            ranges.push((first, last, number as usize));
            let at = ENTRY * (number as usize - 1);
            array[at..at + ENTRY].copy_from_slice(record(entry)?.as_bytes());
        }
        ranges.sort_unstable();
        refuse_overlaps(&ranges)?;
        Ok(Self {
            disk_sectors,
            disk_guid,
            first_usable: usable.0,
            array_lba: 2,
            entry_size: lo32(ENTRY as u64),
            array,
        })
    }

    /// The table as it was read off a disk: fields of a header whose CRC holds, and the bytes of the entries.
    ///
    /// # Errors
    ///
    /// When no table can look like this.
    pub(super) fn from_disk(
        disk_sectors: u64,
        header: &Header,
        array_lba: u64,
        array: Vec<u8>,
    ) -> Result<Self> {
        let first_usable = header.first_usable_lba.get();
        let array_sectors = (array.len() as u64).div_ceil(SECTOR);
        if disk_sectors > u64::MAX / SECTOR {
            return Err(Error::input(format!(
                "the GPT is of a disk of {disk_sectors} sectors, whose bytes no number counts"
            )));
        }
        usable(disk_sectors, first_usable, array_sectors)?;
        if array_lba < 2 || array_lba.checked_add(array_sectors).is_none_or(|end| end > first_usable) {
            return Err(Error::input(format!(
                "the GPT's entries at sector {array_lba} are not in front of its first usable sector \
                 {first_usable}"
            )));
        }
        if first_usable > MAX_HEAD {
            return Err(Error::input(format!(
                "the GPT's first usable sector is {first_usable}, more than the {MAX_HEAD} that lfs-image reads"
            )));
        }
        Ok(Self {
            disk_sectors,
            disk_guid: Uuid::from_guid_bytes(header.disk_guid),
            first_usable,
            array_lba,
            entry_size: header.size_of_partition_entry.get(),
            array,
        })
    }

    /// The same partitions on a disk of another size.
    ///
    /// # Errors
    ///
    /// When a partition reaches beyond the sectors that the new disk leaves usable.
    #[cfg_attr(not(feature = "ebs"), allow(dead_code, reason = "for volumes larger than the image"))]
    pub(crate) fn for_disk(&self, disk_sectors: u64) -> Result<Self> {
        let (_, last_usable) = usable(disk_sectors, self.first_usable, self.array_sectors())?;
        for (number, record) in self.records() {
            if record.ending_lba.get() > last_usable {
                return Err(Error::too_small(format!(
                    "partition {number} ends at sector {}, and a disk of {disk_sectors} sectors leaves the sectors up \
                     to {last_usable} usable",
                    record.ending_lba
                )));
            }
        }
        Ok(Self { disk_sectors, ..self.clone() })
    }

    /// The disk's size in sectors.
    #[cfg_attr(not(feature = "ebs"), allow(dead_code, reason = "for volumes larger than the image"))]
    pub(crate) fn disk_sectors(&self) -> u64 {
        self.disk_sectors
    }

    /// The sector behind the last partition, wherever that lies; 0 where there is none.
    #[cfg_attr(not(feature = "ebs"), allow(dead_code, reason = "for volumes larger than the image"))]
    pub(crate) fn end_of_partitions(&self) -> u64 {
        self.records().map(|(_, record)| record.ending_lba.get().saturating_add(1)).max().unwrap_or(0)
    }

    /// The disk's own GUID.
    pub(crate) fn disk_guid(&self) -> Uuid {
        self.disk_guid
    }

    /// The first and the last sector that a partition may use.
    pub(crate) fn usable(&self) -> (u64, u64) {
        // Subtraction is safe: the disk was found to hold the table when this value was made.
        (self.first_usable, self.disk_sectors - 1 - self.array_sectors() - 1)
    }

    /// The start of the disk: protective MBR with this boot code, header, entries.
    pub(crate) fn head(&self, code: &[u8; CODE]) -> Vec<u8> {
        let mut bytes = self.first_two_sectors(code);
        bytes.resize(index(self.array_lba * SECTOR), 0);
        bytes.extend_from_slice(&self.array);
        bytes.resize(bytes.len().next_multiple_of(index(SECTOR)), 0);
        bytes
    }

    /// All of [`head`](Self::head) that depends on the size of the disk.
    pub(crate) fn first_two_sectors(&self, code: &[u8; CODE]) -> Vec<u8> {
        let mut bytes = mbr::protective(self.disk_sectors, code).to_vec();
        bytes.extend_from_slice(&self.header(1, self.disk_sectors - 1, self.array_lba));
        bytes
    }

    /// The end of the disk, from [`tail_lba`](Self::tail_lba) on: entries, header.
    pub(crate) fn tail(&self) -> Vec<u8> {
        let mut bytes = self.array.clone();
        bytes.resize(index(self.array_sectors() * SECTOR), 0);
        bytes.extend_from_slice(&self.header(self.disk_sectors - 1, 1, self.tail_lba()));
        bytes
    }

    /// The first sector of [`tail`](Self::tail).
    pub(crate) fn tail_lba(&self) -> u64 {
        self.disk_sectors - 1 - self.array_sectors()
    }

    fn array_sectors(&self) -> u64 {
        (self.array.len() as u64).div_ceil(SECTOR)
    }

    /// The slots in use, by number.
    pub(super) fn records(&self) -> impl Iterator<Item = (u32, &PartitionEntry)> {
        (1..).zip(self.array.chunks_exact(self.entry_size as usize)).filter_map(|(number, slot)| {
            let (record, _) = PartitionEntry::ref_from_prefix(slot).ok()?;
            (record.partition_type_guid != [0; 16]).then_some((number, record))
        })
    }

    fn header(&self, my_lba: u64, alternate_lba: u64, array_lba: u64) -> [u8; SECTOR_BYTES] {
        let entries = self.array.len() as u64 / u64::from(self.entry_size);
        let mut header = Header {
            signature: *SIGNATURE,
            revision: REVISION.into(),
            header_size: lo32(size_of::<Header>() as u64).into(),
            header_crc32: 0.into(),
            reserved: 0.into(),
            my_lba: my_lba.into(),
            alternate_lba: alternate_lba.into(),
            first_usable_lba: self.first_usable.into(),
            last_usable_lba: self.usable().1.into(),
            disk_guid: self.disk_guid.to_guid_bytes(),
            partition_entry_lba: array_lba.into(),
            number_of_partition_entries: lo32(entries).into(),
            size_of_partition_entry: self.entry_size.into(),
            partition_entry_array_crc32: crc32(&self.array).into(),
        };
        header.header_crc32 = crc32(header.as_bytes()).into();
        let mut sector = [0; SECTOR_BYTES];
        sector[..size_of::<Header>()].copy_from_slice(header.as_bytes());
        sector
    }
}

/// The first and last usable sector of a disk with a table of this shape.
fn usable(disk_sectors: u64, first_usable: u64, array_sectors: u64) -> Result<(u64, u64)> {
    let last = disk_sectors.checked_sub(array_sectors + 2).filter(|last| *last >= first_usable);
    let last = last.ok_or_else(|| {
        Error::too_small(format!(
            "a disk of {disk_sectors} sectors has no room for a GPT, which needs {} and one to use",
            first_usable + array_sectors + 1
        ))
    })?;
    Ok((first_usable, last))
}

fn record(entry: &Entry) -> Result<PartitionEntry> {
    let mut name = [U16::ZERO; NAME];
    let units: Vec<u16> = entry.name.encode_utf16().collect();
    if units.len() > NAME || units.contains(&0) {
        return Err(Error::input(format!(
            "the name `{}` of partition {} has a NUL or more than {NAME} UTF-16 units ({})",
            entry.name.escape_debug(),
            entry.number,
            units.len()
        )));
    }
    for (to, unit) in name.iter_mut().zip(units) {
        *to = unit.into();
    }
    Ok(PartitionEntry {
        partition_type_guid: entry.type_guid.to_guid_bytes(),
        unique_partition_guid: entry.partition_guid.to_guid_bytes(),
        starting_lba: entry.first_lba.into(),
        ending_lba: entry.last_lba.into(),
        attributes: entry.attributes.bits().into(),
        partition_name: name,
    })
}

pub(super) const SIGNATURE: &[u8; 8] = b"EFI PART";
pub(super) const REVISION: u32 = 0x0001_0000;
const ENTRY: usize = size_of::<PartitionEntry>();
/// UTF-16 units in a name.
const NAME: usize = 36;
/// The array has 16 KiB at least: UEFI 2.10, 5.3.1.
const ARRAY_SECTORS: u64 = 32;
/// Tables that leave room for a boot loader behind them stay far below: 32 MiB.
const MAX_HEAD: u64 = 1 << 16;
const _: () = assert!(ARRAY_SECTORS * SECTOR == Gpt::MAX_ENTRIES as u64 * ENTRY as u64);

/// UEFI 2.10, table 5.5.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) signature: [u8; 8],
    pub(super) revision: U32,
    pub(super) header_size: U32,
    pub(super) header_crc32: U32,
    pub(super) reserved: U32,
    pub(super) my_lba: U64,
    pub(super) alternate_lba: U64,
    pub(super) first_usable_lba: U64,
    pub(super) last_usable_lba: U64,
    pub(super) disk_guid: [u8; 16],
    pub(super) partition_entry_lba: U64,
    pub(super) number_of_partition_entries: U32,
    pub(super) size_of_partition_entry: U32,
    pub(super) partition_entry_array_crc32: U32,
}

/// UEFI 2.10, table 5.6.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct PartitionEntry {
    pub(super) partition_type_guid: [u8; 16],
    pub(super) unique_partition_guid: [u8; 16],
    pub(super) starting_lba: U64,
    pub(super) ending_lba: U64,
    pub(super) attributes: U64,
    pub(super) partition_name: [U16; NAME],
}

const _: () = {
    assert!(size_of::<Header>() == 92);
    assert!(std::mem::offset_of!(Header, header_crc32) == 16);
    assert!(std::mem::offset_of!(Header, partition_entry_array_crc32) == 88);
    assert!(size_of::<PartitionEntry>() == 128);
};

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32, first_lba: u64, last_lba: u64) -> Entry {
        Entry {
            number,
            type_guid: types::LINUX_FILESYSTEM,
            partition_guid: Uuid::from_bytes([u8::try_from(number & 0xff).unwrap() | 0x80; 16]),
            first_lba,
            last_lba,
            attributes: Attributes::empty(),
            name: String::new(),
        }
    }

    fn refusal(disk_sectors: u64, entries: &[Entry]) -> String {
        Gpt::plan(disk_sectors, Uuid::from_bytes([1; 16]), entries).unwrap_err().to_string()
    }

    #[test]
    fn limits() {
        let disk = Uuid::from_bytes([1; 16]);
        // The least disk: a table and one sector.
        assert!(Gpt::plan(68, disk, &[entry(1, 34, 34)]).is_ok());
        assert_eq!(
            refusal(67, &[]),
            "a disk of 67 sectors has no room for a GPT, which needs 67 and one to use"
        );
        assert!(Gpt::plan(0, disk, &[]).is_err());
        assert_eq!(
            refusal(4096, &[entry(1, 33, 40)]),
            "partition 1 from sector 33 to 40 is outside sectors 34 to 4062 that a GPT leaves usable on a disk \
             of 4096"
        );
        assert!(refusal(4096, &[entry(1, 34, 4063)]).contains("usable"));
        assert!(refusal(4096, &[entry(1, 41, 40)]).contains("usable"));
        assert_eq!(
            refusal(4096, &[entry(2, 40, 50), entry(1, 50, 60)]),
            "partitions 2 (sectors 40 to 50) and 1 (sectors 50 to 60) overlap"
        );
        assert!(refusal(4096, &[entry(129, 40, 50)]).contains("128"));
        assert!(refusal(4096, &[entry(0, 40, 50)]).contains("128"));
        assert!(refusal(4096, &[entry(1, 40, 50), entry(1, 60, 70)]).contains("two partitions 1"));
        assert!(
            refusal(4096, &[Entry { partition_guid: disk, ..entry(1, 40, 50) }]).contains("already used")
        );
        let all: Vec<Entry> = (1..=128).map(|n| entry(n, 33 + u64::from(n), 33 + u64::from(n))).collect();
        assert!(Gpt::plan(4096, disk, &all).is_ok());
    }

    #[test]
    fn names_are_counted_in_utf_16() {
        let disk = Uuid::from_bytes([1; 16]);
        let named = |name: String| Gpt::plan(4096, disk, &[Entry { name, ..entry(1, 40, 50) }]);
        assert!(named("é".repeat(36)).is_ok());
        assert!(named("😀".repeat(18)).is_ok());
        assert!(named("é".repeat(37)).is_err());
        assert!(named("😀".repeat(18) + "x").is_err());
        assert!(named("a\0b".into()).is_err());
    }

    #[test]
    fn a_larger_disk_moves_the_tail_only() {
        let small = Gpt::plan(4096, Uuid::from_bytes([1; 16]), &[entry(1, 2048, 4000)]).unwrap();
        let large = small.for_disk(8192).unwrap();
        assert_eq!(large.tail_lba(), 8192 - 33);
        assert_eq!(large.head(&[0; CODE])[1024..], small.head(&[0; CODE])[1024..]);
        assert_eq!(large.for_disk(4096).unwrap().head(&[0; CODE]), small.head(&[0; CODE]));
        assert_eq!(
            large.for_disk(4033).unwrap_err().to_string(),
            "partition 1 ends at sector 4000, and a disk of 4033 sectors leaves the sectors up to 3999 usable"
        );
    }
}
