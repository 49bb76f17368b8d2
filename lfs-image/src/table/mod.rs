//! Partition tables: what goes where on a disk.
//!
//! ```text
//!  LBA 0      1       2 … 33     34 …                        n-34   n-33 … n-2    n-1
//!  ┌────────┬───────┬──────────┬──────────────────────────────────┬──────────┬─────────┐
//!  │ MBR    │ GPT   │ entries  │ partitions                       │ entries  │ GPT     │
//!  │ + code │ header│          │                                  │ (backup) │ (backup)│
//!  └────────┴───────┴──────────┴──────────────────────────────────┴──────────┴─────────┘
//! ```
//!
//! [`Gpt`] and [`Mbr`] are checked values that render to bytes; [`read()`] takes either one off a disk. A disk with a
//! classic table has the MBR alone. Sectors are 512 bytes throughout. Left out: extended partitions, hybrid MBRs
//! and disks with sectors of 4096 bytes.

mod gpt;
#[cfg(test)]
mod judges;
mod mbr;
mod read;

pub(crate) use gpt::{Attributes, Entry, Gpt, types};
pub(crate) use mbr::{CODE, Mbr, Primary, kinds};
#[cfg(test)]
pub(crate) use read::Partition;
pub(crate) use read::{Label, PartitionKind, Table, read};

use crate::error::{Error, Result};
use crate::raw::num::index;

/// Bytes in a sector.
pub(crate) const SECTOR: u64 = 512;
const SECTOR_BYTES: usize = index(SECTOR);

/// Ranges are (first sector, last sector, number), sorted.
fn refuse_overlaps(sorted: &[(u64, u64, usize)]) -> Result<()> {
    match sorted.windows(2).find(|pair| pair[1].0 <= pair[0].1) {
        None => Ok(()),
        Some(pair) => Err(Error::input(format!(
            "partitions {} (sectors {} to {}) and {} (sectors {} to {}) overlap",
            pair[0].2, pair[0].0, pair[0].1, pair[1].2, pair[1].0, pair[1].1
        ))),
    }
}
