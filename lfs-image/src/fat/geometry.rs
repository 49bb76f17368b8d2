//! How many sectors of a volume are what.

use super::SECTOR;
use crate::error::{Error, Result};
use crate::raw::num::round_up;

/// The shape of a FAT32 volume.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Geometry {
    pub(super) sectors: u32,
    pub(super) cluster_sectors: u32,
    /// Sectors in front of the first FAT.
    pub(super) reserved: u32,
    /// Sectors of one FAT.
    pub(super) fat: u32,
    pub(super) clusters: u32,
}

/// The number of FATs.
pub(super) const FATS: u32 = 2;

/// The sectors that everybody reserves, and we at least.
const RESERVED: u64 = 32;

/// FATs and clusters begin at multiples of this: 4 KiB.
const ALIGN: u64 = 8;

/// Fewer clusters make it FAT16 (fatgen103, "FAT Type Determination"); it says to stay 16 away from the limit, because so
/// many drivers have it wrong.
const MIN_CLUSTERS: u64 = 65_525 + 16;

/// The largest volume in sectors for each cluster size in sectors: fatgen103, `DskTableFAT32`.
const CLUSTER_SECTORS: [(u64, u64); 5] =
    [(532_480, 1), (16_777_216, 8), (33_554_432, 16), (67_108_864, 32), (u32::MAX as u64, 64)];

/// Sizes that are chosen here are whole MiB.
const MIB: u64 = 2048;

impl Geometry {
    /// A volume of this many sectors, `hidden` sectors behind the start of the disk.
    pub(super) fn new(sectors: u64, hidden: u64) -> Result<Self> {
        let (_, cluster_sectors) =
            CLUSTER_SECTORS.into_iter().find(|(limit, _)| sectors <= *limit).ok_or_else(|| {
                Error::capacity(format!(
                    "a FAT volume of {sectors} sectors is more than the 2 TiB it can have"
                ))
            })?;
        let shape =
            shape(sectors, cluster_sectors, hidden).filter(|shape| u64::from(shape.clusters) >= MIN_CLUSTERS);
        match shape {
            Some(shape) => Ok(shape),
            None => Err(Error::capacity(format!(
                "a volume of {sectors} sectors is too small for FAT32, which needs {} (33 MiB)",
                least(MIN_CLUSTERS, 1, hidden).map_or(0, |shape| shape.sectors)
            ))),
        }
    }

    /// The smallest volume of whole MiB that has as many clusters as `clusters` asks for, given their size in bytes.
    pub(super) fn fitting(hidden: u64, clusters: impl Fn(u64) -> Option<u64>) -> Result<Self> {
        let mut least_sectors = 0;
        for (limit, cluster_sectors) in CLUSTER_SECTORS {
            let shape = clusters(cluster_sectors * SECTOR)
                .and_then(|clusters| least(clusters.max(MIN_CLUSTERS), cluster_sectors, hidden));
            if let Some(shape) = shape {
                // Below the previous limit, clusters would be smaller.
                let sectors = u64::from(shape.sectors).max(least_sectors).next_multiple_of(MIB);
                if sectors <= limit {
                    return Self::new(sectors, hidden);
                }
            }
            least_sectors = limit + 1;
        }
        Err(Error::capacity("the files need a FAT volume of more than the 2 TiB it can have"))
    }

    /// Bytes in a cluster.
    pub(super) fn cluster_bytes(&self) -> u64 {
        u64::from(self.cluster_sectors) * SECTOR
    }

    /// The first sector of cluster 2.
    pub(super) fn data(&self) -> u64 {
        u64::from(self.reserved) + u64::from(FATS) * u64::from(self.fat)
    }
}

/// The volume of this many sectors; `None` where there is no room for a cluster.
fn shape(sectors: u64, cluster_sectors: u64, hidden: u64) -> Option<Geometry> {
    // Each cluster costs its sectors and an entry of 4 bytes in each FAT. Rounding makes the FATs too large, never
    // too small.
    let cost = cluster_sectors * SECTOR + 4 * u64::from(FATS);
    let most = sectors.checked_sub(RESERVED)?.checked_mul(SECTOR)? / cost;
    let fat = fat_sectors(most)?;
    let reserved = RESERVED + padding(hidden.checked_add(RESERVED + u64::from(FATS) * fat)?, cluster_sectors);
    let clusters = sectors.checked_sub(reserved + u64::from(FATS) * fat)? / cluster_sectors;
    Some(Geometry {
        sectors: u32::try_from(sectors).ok()?,
        cluster_sectors: u32::try_from(cluster_sectors).ok()?,
        reserved: u32::try_from(reserved).ok()?,
        fat: u32::try_from(fat).ok()?,
        clusters: u32::try_from(clusters).ok().filter(|n| *n > 0)?,
    })
}

/// The smallest volume with this many clusters.
fn least(clusters: u64, cluster_sectors: u64, hidden: u64) -> Option<Geometry> {
    let front = RESERVED + u64::from(FATS) * fat_sectors(clusters)?;
    let mut sectors = front.checked_add(clusters.checked_mul(cluster_sectors)?)?;
    loop {
        // Padding and the rounding of the FATs are still missing: a few sectors each.
        match shape(sectors, cluster_sectors, hidden) {
            Some(shape) if u64::from(shape.clusters) >= clusters => return Some(shape),
            _ if sectors > u64::from(u32::MAX) => return None,
            _ => sectors += 1,
        }
    }
}

/// The sectors of a FAT for this many clusters.
fn fat_sectors(clusters: u64) -> Option<u64> {
    // Entries 0 and 1 stand for no cluster.
    round_up(clusters.checked_add(2)?.checked_mul(4)?.div_ceil(SECTOR), ALIGN)
}

/// The sectors from `at` to where clusters may begin.
fn padding(at: u64, cluster_sectors: u64) -> u64 {
    let align = cluster_sectors.max(ALIGN);
    (align - at % align) % align
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cluster_has_an_entry_and_every_sector_a_place() {
        let sizes = (66_620..67_000)
            .chain([69_632, 131_072, 532_480, 532_481, 1 << 21, 16_777_216, 16_777_217])
            .chain([33_554_433, 67_108_864, 67_108_865, 1 << 31, u64::from(u32::MAX)]);
        for sectors in sizes {
            for hidden in [0, 63, 2048] {
                let g = Geometry::new(sectors, hidden).unwrap();
                assert!(u64::from(g.fat) * SECTOR >= (u64::from(g.clusters) + 2) * 4, "{g:?}");
                let end = g.data() + u64::from(g.clusters) * u64::from(g.cluster_sectors);
                assert!(end <= sectors && sectors - end < u64::from(g.cluster_sectors), "{g:?}");
                assert_eq!((hidden + g.data()) % u64::from(g.cluster_sectors).max(8), 0, "{g:?}");
                // No more than a few sectors are given away.
                assert!((u64::from(g.fat) - 9) * SECTOR < (u64::from(g.clusters) + 2) * 4, "{g:?}");
                assert!(g.clusters < 0x0fff_fff5);
            }
        }
    }

    #[test]
    fn the_least_volume_is_named() {
        let error = Geometry::new(66_612, 2048).unwrap_err().to_string();
        assert_eq!(error, "a volume of 66612 sectors is too small for FAT32, which needs 66613 (33 MiB)");
        assert_eq!(Geometry::new(66_613, 2048).unwrap().clusters, 65_541);
        for sectors in [0, 1, 31, 32, 33, 40, 1 << 32, u64::MAX] {
            assert!(Geometry::new(sectors, 0).is_err());
        }
    }

    #[test]
    fn a_fitting_volume_is_the_smallest_of_its_cluster_size() {
        let fit = |bytes: u64| Geometry::fitting(2048, |cluster| Some(bytes.div_ceil(cluster)));
        assert_eq!(fit(0).unwrap().sectors, 33 * 2048);
        assert_eq!(fit(100 << 20).unwrap().sectors, 102 * 2048);
        // Where the volume would be larger than 260 MiB clusters become larger.
        assert_eq!(fit(255 << 20).unwrap().cluster_sectors, 1);
        assert_eq!(fit(259 << 20).unwrap().cluster_sectors, 8);
        for mib in [0, 31, 32, 100, 255, 256, 257, 258, 259, 260, 261, 8191, 8192, 40_000] {
            let g = fit(mib << 20).unwrap();
            assert!(u64::from(g.clusters) * g.cluster_bytes() >= mib << 20);
            assert_eq!(Geometry::new(u64::from(g.sectors), 2048).unwrap(), g);
        }
        assert!(fit(2 << 40).is_err());
        assert!(fit(u64::MAX).is_err());
        assert!(Geometry::fitting(0, |_| None).is_err());
    }
}
