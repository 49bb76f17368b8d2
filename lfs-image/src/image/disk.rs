//! The partition table of a disk that is there already.

use std::fs::File;

use crate::error::{Error, Result};
use crate::table::{self, Label, PartitionKind, SECTOR};

/// A partition table as it was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DiskTable {
    /// `gpt` or `mbr`.
    pub kind: &'static str,
    /// The disk's GUID or signature.
    pub id: String,
    /// The partitions in order of their numbers.
    pub partitions: Vec<FoundPartition>,
    /// What is wrong with it, though it could be read.
    pub problems: Vec<String>,
}

/// A partition as it was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoundPartition {
    /// What Linux appends to the name of the disk.
    pub number: u32,
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u64,
    /// What `root=PARTUUID=` calls it.
    pub partuuid: String,
    /// Its type: a GUID, or two hexadecimal digits.
    pub kind: String,
    /// Its name; empty in an MBR.
    pub name: String,
}

impl DiskTable {
    /// Reads the table of a disk of `len` bytes; `None` where there is none.
    ///
    /// # Errors
    ///
    /// When the disk can't be read, or its table is damaged beyond reading.
    pub fn read(file: &File, len: u64) -> Result<Option<Self>> {
        use std::os::unix::fs::FileExt as _;
        let read = |offset: u64, buf: &mut [u8]| {
            file.read_exact_at(buf, offset)
                .map_err(|e| Error::io(format!("read {} bytes of the disk at byte {offset}", buf.len()), e))
        };
        let Some(table) = table::read(len / SECTOR, &read)? else { return Ok(None) };
        let (kind, id) = match &table.label {
            Label::Gpt(gpt) => ("gpt", gpt.disk_guid().to_string()),
            Label::Mbr(signature) => ("mbr", format!("{signature:08x}")),
        };
        let partitions = table.partitions.into_iter().map(|partition| FoundPartition {
            number: partition.number,
            offset: partition.first_lba.saturating_mul(SECTOR),
            len: partition.sectors.saturating_mul(SECTOR),
            partuuid: partition.partuuid,
            kind: match partition.kind {
                PartitionKind::Gpt(guid) => guid.to_string(),
                PartitionKind::Mbr(byte) => format!("{byte:02x}"),
            },
            name: partition.name,
        });
        Ok(Some(Self { kind, id, partitions: partitions.collect(), problems: table.problems }))
    }
}
