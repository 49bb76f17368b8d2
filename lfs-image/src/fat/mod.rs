//! FAT32, as firmware wants it for the EFI system partition.
//!
//! ```text
//!  sector 0    1      6       7          reserved       + fat        + fat
//!  ┌────────┬──────┬────────┬──────┬───┬─────────────┬─────────────┬──────────────────────────────┐
//!  │ boot   │ FS   │ boot   │ FS   │ 0 │ FAT 1       │ FAT 2       │ cluster 2, 3, …              │
//!  │ sector │ info │ (copy) │(copy)│   │             │             │ root, directories, files     │
//!  └────────┴──────┴────────┴──────┴───┴─────────────┴─────────────┴──────────────────────────────┘
//! ```
//!
//! Everything is known before the first byte is written: directories are rendered when the volume is planned, and
//! every directory and file occupies one run of clusters. Firmware tells FAT12, FAT16 and FAT32 apart by the number
//! of clusters alone, so a volume that is too small for FAT32 is refused instead of becoming something else.
//!
//! Source: Microsoft, "FAT: General Overview of On-Disk Format", 1.03 (fatgen103), which UEFI 2.10, 13.3 adopts. Left
//! out: FAT12 and FAT16, sectors of 4096 bytes, case flags (a name that isn't in upper case gets a long entry).

mod directory;
mod emit;
mod found;
mod geometry;
#[cfg(test)]
mod judges;
mod names;
mod records;

pub(crate) use found::{Name, found_names, found_uuid};

use geometry::Geometry;

use crate::error::{Error, Result};
use crate::raw::blob::Blob;
use crate::raw::time::Timestamp;

/// Bytes in a sector.
pub(crate) const SECTOR: u64 = 512;

/// A file of the volume.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Names with `/` between them and none in front; directories are made as they are needed.
    pub(crate) path: String,
    /// At most 4 GiB less one byte.
    pub(crate) content: Blob,
}

/// What a volume is besides its files.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How large it is.
    pub(crate) size: Size,
    /// The sectors in front of the volume: where its partition begins.
    pub(crate) hidden_sectors: u64,
    /// The serial number, printed `1234-ABCD`: what `UUID=` calls the volume.
    pub(crate) serial: u32,
    /// At most 11 characters of upper-case ASCII; none is an empty one.
    pub(crate) label: String,
    /// The time of all files and directories; years 1980 to 2107 can be kept.
    pub(crate) time: Timestamp,
}

/// How large a volume is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Size {
    /// Exactly this many sectors.
    Sectors(u64),
    /// As large as its files with this many bytes free, in whole MiB.
    Free(u64),
}

/// A volume that is ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    geometry: Geometry,
    hidden_sectors: u32,
    serial: u32,
    label: [u8; 11],
    /// What the clusters hold, from cluster 2 on without a gap.
    runs: Vec<Run>,
    used_clusters: u32,
}

/// A file or directory and the clusters it occupies.
#[derive(Clone, Debug)]
struct Run {
    clusters: u32,
    content: Blob,
}

/// Lays out a volume.
///
/// # Errors
///
/// When a path, name or label is not one that FAT can hold, or is there twice (names are equal in upper and lower
/// case); when a file is too large; when the files don't fit into the volume, or the volume isn't one of FAT32.
pub(crate) fn plan(files: Vec<File>, options: &Options) -> Result<Plan> {
    let label = names::label(&options.label)?;
    let hidden_sectors = u32::try_from(options.hidden_sectors).map_err(|_| {
        Error::capacity(format!(
            "a FAT volume can't begin at sector {}, beyond 2 TiB",
            options.hidden_sectors
        ))
    })?;
    let tree = directory::Tree::new(files, !options.label.is_empty())?;
    let geometry = match options.size {
        Size::Sectors(sectors) => Geometry::new(sectors, options.hidden_sectors)?,
        Size::Free(free) => Geometry::fitting(options.hidden_sectors, |cluster| {
            Some(tree.clusters(cluster)? + free.div_ceil(cluster))
        })?,
    };
    let needed = tree.clusters(geometry.cluster_bytes());
    let used_clusters = needed.and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= geometry.clusters);
    let used_clusters = used_clusters.ok_or_else(|| {
        Error::capacity(format!(
            "the files need {} clusters of {} bytes, and a volume of {} sectors has {}",
            needed.map_or("countless".to_owned(), |n| n.to_string()),
            geometry.cluster_bytes(),
            geometry.sectors,
            geometry.clusters
        ))
    })?;
    let runs = tree.runs(&geometry, label, options.time)?;
    Ok(Plan { geometry, hidden_sectors, serial: options.serial, label, runs, used_clusters })
}

impl Plan {
    /// The size of the volume.
    pub(crate) fn sectors(&self) -> u64 {
        u64::from(self.geometry.sectors)
    }

    /// What `UUID=` calls the volume.
    pub(crate) fn uuid(&self) -> String {
        uuid(self.serial)
    }

    /// The bytes that files could still be given.
    #[cfg(test)]
    fn free(&self) -> u64 {
        u64::from(self.geometry.clusters - self.used_clusters) * self.geometry.cluster_bytes()
    }
}

/// What `UUID=` calls a volume with this serial number.
fn uuid(serial: u32) -> String {
    format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)
}
