//! A FAT volume that is there, whoever made it: the names in one of its directories.
//!
//! Only FAT32 and FAT16, which firmware reads too, and only names of the 8.3 form. What doesn't look like such a volume has
//! no names in it.

use zerocopy::FromBytes as _;

use super::records::{BootSector, DirEntry, attr};
use super::{SECTOR, uuid};
use crate::error::Result;
use crate::raw::num::index;

/// A name as a directory holds it: eight characters and three, filled up with spaces.
pub(crate) type Name = [u8; 11];

/// What reads the disk that the volume is on.
type ReadAt<'a> = &'a dyn Fn(u64, &mut [u8]) -> Result<()>;

/// A chain of clusters that has more than this is no directory that firmware would read, or a circle.
const MAX_CLUSTERS: u32 = 1024;
/// FAT16 has at least this many clusters, FAT12 has fewer. Source: fatgen103, "FAT Type Determination".
const LEAST_FAT16: u64 = 4085;
/// The same for FAT32.
const LEAST_FAT32: u64 = 65525;

/// What `UUID=` calls the volume that begins with this sector; `None` where it is no FAT32.
pub(crate) fn found_uuid(sector: &[u8; index(SECTOR)]) -> Option<String> {
    let boot = BootSector::ref_from_bytes(sector).ok()?;
    let is_one = boot.signature.get() == 0xaa55 && boot.bs_boot_sig == 0x29;
    (is_one && boot.bs_fil_sys_type == *b"FAT32   ").then(|| uuid(boot.bs_vol_id.get()))
}

/// The names of the files in a directory of the volume at an offset of the disk; none where it isn't there.
pub(crate) fn found_names(
    offset: u64,
    len: u64,
    directory: &[Name],
    read_at: ReadAt<'_>,
) -> Result<Vec<Name>> {
    let mut sector = [0; index(SECTOR)];
    if len < SECTOR {
        return Ok(Vec::new());
    }
    read_at(offset, &mut sector)?;
    let Some((volume, mut at)) = Volume::parse(&sector, offset, len, read_at) else { return Ok(Vec::new()) };
    for name in directory {
        let entries = volume.entries(at)?;
        let found = entries.iter().find(|entry| entry.dir_name == *name);
        let Some(found) = found.filter(|entry| entry.dir_attr & attr::DIRECTORY != 0) else {
            return Ok(Vec::new());
        };
        let high = if volume.wide { u32::from(found.dir_fst_clus_hi.get()) << 16 } else { 0 };
        at = Place::Cluster(high | u32::from(found.dir_fst_clus_lo.get()));
    }
    let entries = volume.entries(at)?;
    let files = entries.iter().filter(|entry| entry.dir_attr & attr::DIRECTORY == 0);
    Ok(files.map(|entry| entry.dir_name).collect())
}

/// Where a directory is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The root directory of FAT16: where in the volume, and how long.
    Region(u64, u64),
    /// In a chain that begins with this cluster.
    Cluster(u32),
}

/// Where a volume keeps what, in bytes from its beginning.
struct Volume<'a> {
    read_at: ReadAt<'a>,
    offset: u64,
    len: u64,
    fat: u64,
    data: u64,
    cluster: u64,
    clusters: u64,
    /// Whether an entry of the FAT has 32 bits, else 16.
    wide: bool,
}

impl<'a> Volume<'a> {
    /// The volume and its root directory; `None` where it is no FAT32 or FAT16.
    fn parse(
        sector: &[u8; index(SECTOR)],
        offset: u64,
        len: u64,
        read_at: ReadAt<'a>,
    ) -> Option<(Self, Place)> {
        let boot = BootSector::ref_from_bytes(sector).ok()?;
        let either = |narrow: u16, wide: u32| if narrow == 0 { u64::from(wide) } else { u64::from(narrow) };
        let bytes = u64::from(boot.bpb_byts_per_sec.get());
        let per_cluster = u64::from(boot.bpb_sec_per_clus);
        let sensible = boot.signature.get() == 0xaa55
            && matches!(bytes, 512 | 1024 | 2048 | 4096)
            && per_cluster.is_power_of_two()
            && boot.bpb_rsvd_sec_cnt.get() != 0
            && boot.bpb_num_fats != 0;
        if !sensible {
            return None;
        }
        let fat = u64::from(boot.bpb_rsvd_sec_cnt.get());
        let fat_len = either(boot.bpb_fat_sz16.get(), boot.bpb_fat_sz32.get());
        let root = fat + u64::from(boot.bpb_num_fats) * fat_len;
        let root_len = u64::from(boot.bpb_root_ent_cnt.get()) * size_of::<DirEntry>() as u64;
        let data = root + root_len.div_ceil(bytes);
        let all = either(boot.bpb_tot_sec16.get(), boot.bpb_tot_sec32.get());
        let clusters = all.checked_sub(data)? / per_cluster;
        if clusters < LEAST_FAT16 {
            return None;
        }
        let wide = clusters >= LEAST_FAT32;
        let place = if wide {
            Place::Cluster(boot.bpb_root_clus.get())
        } else {
            Place::Region(root * bytes, root_len)
        };
        let volume = Self {
            read_at,
            offset,
            len,
            fat: fat * bytes,
            data: data * bytes,
            cluster: per_cluster * bytes,
            clusters,
            wide,
        };
        Some((volume, place))
    }

    /// What is in a directory, without deleted names and pieces of long ones. A damaged chain ends where it is damaged.
    fn entries(&self, place: Place) -> Result<Vec<DirEntry>> {
        let mut found = Vec::new();
        match place {
            Place::Region(at, len) => {
                self.scan(at, len, &mut found)?;
            }
            Place::Cluster(first) => {
                let mut cluster = first;
                for _ in 0..MAX_CLUSTERS {
                    if cluster < 2 || u64::from(cluster) - 2 >= self.clusters {
                        break;
                    }
                    let at = self.data + (u64::from(cluster) - 2) * self.cluster;
                    if !self.scan(at, self.cluster, &mut found)? {
                        break;
                    }
                    cluster = self.next(cluster)?;
                }
            }
        }
        Ok(found)
    }

    /// Whether a directory goes on behind a piece of it.
    fn scan(&self, at: u64, len: u64, found: &mut Vec<DirEntry>) -> Result<bool> {
        let mut bytes = vec![0; index(len)];
        if !self.read(at, &mut bytes)? {
            return Ok(false);
        }
        for entry in bytes.chunks_exact(size_of::<DirEntry>()) {
            let Ok(entry) = DirEntry::read_from_bytes(entry) else { continue };
            match entry.dir_name[0] {
                0 => return Ok(false),
                0xe5 => {}
                _ if entry.dir_attr & attr::VOLUME_ID != 0 => {}
                _ => found.push(entry),
            }
        }
        Ok(true)
    }

    /// The cluster behind one; one that isn't there at the end of the chain.
    fn next(&self, cluster: u32) -> Result<u32> {
        let mut entry = [0; 4];
        let (width, mask) = if self.wide { (4, 0x0fff_ffff) } else { (2, 0xffff) };
        let there = self.read(self.fat + u64::from(cluster) * width, &mut entry[..index(width)])?;
        Ok(if there { u32::from_le_bytes(entry) & mask } else { 0 })
    }

    /// Reads from the volume, unless that would be behind its end.
    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<bool> {
        let inside = at.checked_add(bytes.len() as u64).is_some_and(|end| end <= self.len);
        if inside {
            (self.read_at)(self.offset + at, bytes)?;
        }
        Ok(inside)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::error::Error;

    const PATH: [Name; 2] = [*b"EFI        ", *b"BOOT       "];

    fn names(disk: &[u8], offset: u64, len: u64) -> Vec<String> {
        let read_at = |at: u64, bytes: &mut [u8]| {
            let from = usize::try_from(at).unwrap();
            let there = disk.get(from..from + bytes.len()).ok_or_else(|| Error::input("behind the end"))?;
            bytes.copy_from_slice(there);
            Ok(())
        };
        let names = found_names(offset, len, &PATH, &read_at).unwrap();
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// A volume of mkfs.fat's and mtools' with so many files in EFI/BOOT.
    fn volume(bits: &str, mib: u64, files: usize) -> Option<Vec<u8>> {
        let run = |program: &str, arguments: &[&str]| {
            let (done, said) = super::super::judges::judge(Command::new(program).args(arguments))?;
            assert!(done, "{said}");
            Some(())
        };
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("fat.img");
        let image = image.to_str().unwrap();
        std::fs::File::create(image).unwrap().set_len(mib << 20).unwrap();
        run("mkfs.fat", &["-F", bits, "-n", "ESP", image])?;
        run("mmd", &["-i", image, "::EFI", "::EFI/BOOT"])?;
        let put = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, b"x").unwrap();
            run("mcopy", &["-i", image, path.to_str().unwrap(), "::EFI/BOOT"])
        };
        for n in 0..files {
            put(&format!("A long name of file {n}.efi"))?;
        }
        put("BOOTX64.EFI")?;
        Some(std::fs::read(image).unwrap())
    }

    #[test]
    fn what_mtools_put_there() {
        for (bits, mib) in [("32", 40), ("16", 20)] {
            // More than a cluster of long names.
            let Some(bytes) = volume(bits, mib, 30) else { return };
            let found = names(&bytes, 0, bytes.len() as u64);
            assert_eq!(found.len(), 31, "FAT{bits}: {found:?}");
            assert_eq!(found.last().unwrap(), "BOOTX64 EFI");
            let moved = [vec![0xff; 4096], bytes.clone()].concat();
            assert_eq!(names(&moved, 4096, bytes.len() as u64), found);
        }
        let Some(fat12) = volume("12", 4, 0) else { return };
        assert!(names(&fat12, 0, fat12.len() as u64).is_empty());
    }

    #[test]
    fn damage_ends_a_directory() {
        let Some(bytes) = volume("32", 40, 30) else { return };
        let len = bytes.len() as u64;
        let mut damaged = bytes.clone();
        for at in 0..512 {
            for wrong in [0, 0x7f, 0xff] {
                damaged[at] = wrong;
                names(&damaged, 0, len);
            }
            damaged[at] = bytes[at];
        }
        // What the volume says is longer than what there is of it.
        assert!(names(&bytes[..1 << 20], 0, 100 << 10).is_empty());
        // The FAT's entries all lead to the root directory's first cluster: a circle.
        let boot = BootSector::ref_from_bytes(&bytes[..512]).unwrap();
        let fat = usize::from(boot.bpb_rsvd_sec_cnt.get()) * 512;
        let fat_len = usize::try_from(boot.bpb_fat_sz32.get()).unwrap() * 512;
        let mut circle = bytes.clone();
        for entry in circle[fat..fat + fat_len].chunks_exact_mut(4) {
            entry.copy_from_slice(&2_u32.to_le_bytes());
        }
        assert!(names(&circle, 0, len).len() < 31);
        assert!(names(b"", 0, 0).is_empty());
    }
}
