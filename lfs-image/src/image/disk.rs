//! What is on a disk that is there: its table, its partitions, and the ext4 filesystems in them.

use super::describe::Filesystem;
use super::firmware::Firmware;
use super::layout::Role;
use super::plan::PAYLOAD;
use super::spec::PartitionTable;
use crate::check::{Finding, Surroundings, readiness};
use crate::configure::{Place, Target};
use crate::error::{Error, Result};
use crate::ext4::{Found, SUPERBLOCK};
use crate::fat;
use crate::raw::num::index;
use crate::raw::store::ReadAt;
use crate::table::{self, Label, PartitionKind, SECTOR, Table, kinds, types};
use crate::tree::Tree;

/// A disk that is there, whoever made it.
///
/// # Examples
///
/// ```
/// use lfs_image::image::{Boot, Disk};
/// use lfs_image::sink::StreamSink;
/// use lfs_image::tree::NoStore;
/// use lfs_image::{Image, ImageSpec, Tree};
///
/// let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().size(64 << 20).boot(Boot::None))?;
/// let bytes = image.write(&NoStore, StreamSink::new(Vec::new()), &mut ())?;
///
/// let disk = Disk::read(bytes.len() as u64, &|offset, buf| {
///     buf.copy_from_slice(&bytes[offset as usize..][..buf.len()]);
///     Ok(())
/// })?;
/// let disk = disk.expect("there is a partition table");
/// assert_eq!(disk.partitions.len(), 2);
/// assert_eq!(disk.partitions[1].filesystem, Some(image.filesystem()));
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Disk {
    /// Its length in bytes.
    pub len: u64,
    /// What kind of partition table it has.
    pub table: PartitionTable,
    /// What identifies the disk: its GUID in a GPT, its signature in an MBR.
    pub id: Option<String>,
    /// Its partitions by number. Without a table there is one, which is the disk.
    pub partitions: Vec<DiskPartition>,
    /// Which firmwares find something to start on it.
    pub firmware: Firmware,
    /// What is wrong with the table or a filesystem but did not keep it from being read, as clauses.
    pub problems: Vec<String>,
}

/// A partition of a [`Disk`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DiskPartition {
    /// What Linux appends to the name of the disk; 0 where there is no table.
    pub number: u32,
    /// What it is for, as far as its type and content tell: what holds an ext4 is taken for a root filesystem.
    pub role: Option<Role>,
    /// Its type as the table gives it: a GUID, or a number such as `0x83`; none where there is no table.
    pub kind: Option<String>,
    /// Its name in the table; none in an MBR, or where a GPT's is empty.
    pub name: Option<String>,
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u64,
    /// What `root=PARTUUID=` calls it; none where there is no table.
    pub partuuid: Option<String>,
    /// Whether legacy boot code would start it.
    pub bootable: bool,
    /// What `UUID=` calls the ext4 or FAT32 in it.
    pub uuid: Option<String>,
    /// The ext2, ext3 or ext4 filesystem in it.
    pub filesystem: Option<Filesystem>,
}

impl Disk {
    /// Looks at a disk of `len` bytes, whose bytes at an offset `read_at` gives; `None` where there is neither a partition
    /// table nor an ext4 filesystem.
    ///
    /// # Errors
    ///
    /// When it can't be read, or its partition table is damaged beyond use.
    pub fn read(len: u64, read_at: &dyn Fn(u64, &mut [u8]) -> Result<()>) -> Result<Option<Self>> {
        let bare = filesystem(0, len, read_at)?;
        let table = table::read(len / SECTOR, read_at);
        // Boot code in front of a bare filesystem ends like an MBR, and its bytes then look like some partition or other.
        match (bare, table) {
            (None, table) => table?.map(|table| Self::with_table(len, table, read_at)).transpose(),
            (Some(_), Ok(Some(table))) if matches!(table.label, Label::Gpt(_)) => {
                Self::with_table(len, table, read_at).map(Some)
            }
            (Some((filesystem, problems)), _) => Ok(Some(Self::bare(len, filesystem, problems))),
        }
    }

    /// What a tree that was read from the root filesystem of this disk lacks to run there, the worst first. What is on the
    /// disk but in no filesystem (boot code, loaders) isn't looked at. The tree comes from elsewhere: this crate writes ext4, and reads of
    /// one that is there only its superblock. The command has a reader of its own; other crates and `debugfs -R rdump` are as good.
    ///
    /// # Errors
    ///
    /// When content can't be read.
    pub fn check(&self, tree: &Tree, store: &dyn ReadAt, target: Target) -> Result<Vec<Finding>> {
        let root = self.partitions.iter().filter(|p| p.filesystem.is_some()).max_by_key(|p| p.len);
        let tag = |partuuid: &Option<String>, uuid: &Option<String>| match (partuuid, uuid) {
            (Some(partuuid), _) => format!("PARTUUID={partuuid}"),
            (None, Some(uuid)) => format!("UUID={uuid}"),
            (None, None) => String::new(),
        };
        let esp = self.partitions.iter().find(|p| p.role == Some(Role::Esp));
        let place = root.map(|root| Place {
            root: tag(&root.partuuid, &root.uuid),
            root_uuid: root.uuid.clone().unwrap_or_default(),
            label: root.filesystem.as_ref().map(|fs| fs.label.clone()).filter(|label| !label.is_empty()),
            esp: esp.map(|esp| tag(&esp.partuuid, &esp.uuid)),
            esp_uuid: esp.and_then(|esp| esp.uuid.clone()),
        });
        let gpt = self.table == PartitionTable::Gpt;
        readiness(tree, store, target, &Surroundings { place, gpt, kernel: None })
    }

    fn bare(len: u64, filesystem: Filesystem, problems: Vec<String>) -> Self {
        let partition = DiskPartition {
            number: 0,
            role: Some(Role::Root),
            kind: None,
            name: None,
            offset: 0,
            len,
            partuuid: None,
            bootable: false,
            uuid: Some(filesystem.uuid.clone()),
            filesystem: Some(filesystem),
        };
        Self {
            len,
            table: PartitionTable::None,
            id: None,
            partitions: vec![partition],
            firmware: Firmware::default(),
            problems,
        }
    }

    fn with_table(len: u64, found: Table, read_at: &dyn Fn(u64, &mut [u8]) -> Result<()>) -> Result<Self> {
        let (table, id) = match &found.label {
            Label::Gpt(gpt) => (PartitionTable::Gpt, gpt.disk_guid().to_string()),
            Label::Mbr(signature) => (PartitionTable::Mbr, format!("{signature:08x}")),
        };
        let mut problems = found.problems;
        let mut partitions = Vec::new();
        for partition in found.partitions {
            let (offset, len) = (partition.first_lba * SECTOR, partition.sectors * SECTOR);
            let role = match partition.kind {
                PartitionKind::Gpt(types::BIOS_BOOT) => Some(Role::BiosBoot),
                PartitionKind::Gpt(types::EFI_SYSTEM) | PartitionKind::Mbr(kinds::EFI_SYSTEM) => {
                    Some(Role::Esp)
                }
                PartitionKind::Gpt(PAYLOAD) | PartitionKind::Mbr(kinds::RAW_DATA) => Some(Role::Payload),
                _ => None,
            };
            let kind = match partition.kind {
                PartitionKind::Gpt(guid) => guid.to_string(),
                PartitionKind::Mbr(number) => format!("{number:#04x}"),
            };
            let filesystem = filesystem(offset, len, read_at)?.map(|(filesystem, wrong)| {
                problems.extend(wrong.iter().map(|what| format!("partition {}: {what}", partition.number)));
                filesystem
            });
            let role = role.or(filesystem.as_ref().map(|_| Role::Root));
            let uuid = match &filesystem {
                Some(filesystem) => Some(filesystem.uuid.clone()),
                None => fat_uuid(offset, read_at)?,
            };
            partitions.push(DiskPartition {
                number: partition.number,
                role,
                kind: Some(kind),
                name: Some(partition.name).filter(|name| !name.is_empty()),
                offset,
                len,
                partuuid: Some(partition.partuuid),
                bootable: partition.bootable,
                uuid,
                filesystem,
            });
        }
        let firmware = Firmware::of_disk(&partitions, read_at)?;
        Ok(Self { len, table, id: Some(id), partitions, firmware, problems })
    }
}

/// The ext4 in a range of the disk, and what is wrong with it.
fn filesystem(
    offset: u64,
    len: u64,
    read_at: &dyn Fn(u64, &mut [u8]) -> Result<()>,
) -> Result<Option<(Filesystem, Vec<String>)>> {
    let (at, size) = SUPERBLOCK;
    if len < at + size as u64 {
        return Ok(None);
    }
    let at = offset.checked_add(at).ok_or_else(|| Error::input("a partition beyond all disks"))?;
    let mut bytes = [0; SUPERBLOCK.1];
    read_at(at, &mut bytes)?;
    let Some(found) = Found::read(&bytes) else { return Ok(None) };
    let mut problems = found.problems;
    let needed = found.blocks.saturating_mul(found.block_size);
    if needed > len {
        problems.push(format!("the filesystem has {needed} bytes, and there are only {len}"));
    }
    let filesystem = Filesystem {
        uuid: found.uuid.to_string(),
        label: String::from_utf8_lossy(&found.label).into_owned(),
        features: found.features,
        block_size: found.block_size,
        blocks: found.blocks,
        free_blocks: found.free_blocks,
        reserved_blocks: found.reserved_blocks,
        inodes: found.inodes,
        free_inodes: found.free_inodes,
        journal_blocks: found.journal_blocks,
    };
    Ok(Some((filesystem, problems)))
}

/// What `UUID=` calls a FAT32 at an offset of the disk, of which at least a sector is there.
fn fat_uuid(offset: u64, read_at: &dyn Fn(u64, &mut [u8]) -> Result<()>) -> Result<Option<String>> {
    let mut sector = [0; index(SECTOR)];
    read_at(offset, &mut sector)?;
    Ok(fat::found_uuid(&sector))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::{Boot, Image, ImageSpec};
    use super::*;
    use crate::Tree;
    use crate::sink::StreamSink;
    use crate::tree::NoStore;

    fn image(spec: &ImageSpec) -> (Image, Vec<u8>) {
        let image = Image::plan(Tree::new(), &NoStore, spec).unwrap();
        let bytes = image.write(&NoStore, StreamSink::new(Vec::new()), &mut ()).unwrap();
        (image, bytes)
    }

    fn read(bytes: &[u8]) -> Result<Option<Disk>> {
        Disk::read(bytes.len() as u64, &|offset, buf| {
            let offset = usize::try_from(offset).unwrap();
            buf.copy_from_slice(&bytes[offset..offset + buf.len()]);
            Ok(())
        })
    }

    #[test]
    fn what_was_planned_is_found() {
        for table in [PartitionTable::Gpt, PartitionTable::Mbr, PartitionTable::None] {
            let mut spec = ImageSpec::new().size(128 << 20).table(table).label("höhle").boot(Boot::None);
            if table != PartitionTable::None {
                spec = spec.esp(40 << 20);
            }
            let (image, bytes) = image(&spec);
            let disk = read(&bytes).unwrap().unwrap();
            assert_eq!((disk.table, &disk.id, disk.len), (table, &image.disk_id(), 128 << 20));
            assert_eq!(disk.problems, [""; 0]);
            let found =
                disk.partitions.iter().map(|p| (p.number, p.role, p.offset, p.len, &p.partuuid, &p.uuid));
            let planned = image
                .partitions()
                .iter()
                .map(|p| (p.number, Some(p.role), p.offset, p.len, &p.partuuid, &p.uuid));
            assert!(found.eq(planned), "{disk:?}");
            assert_eq!(disk.partitions.last().unwrap().filesystem, Some(image.filesystem()));
        }
    }

    #[test]
    fn damage_is_a_problem_and_noise_is_nothing() {
        let (_, mut bytes) =
            image(&ImageSpec::new().size(64 << 20).table(PartitionTable::None).boot(Boot::None));
        bytes[1024 + 0x78] ^= 1;
        bytes.truncate(32 << 20);
        let disk = read(&bytes).unwrap().unwrap();
        assert!(disk.problems[0].contains("checksum"), "{:?}", disk.problems);
        assert!(disk.problems[1].contains("67108864 bytes"), "{:?}", disk.problems);
        assert_eq!(read(&vec![0; 1 << 20]).unwrap(), None);
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[0x5a; 2047]).unwrap(), None);
    }

    /// What dumpe2fs says of what mke2fs makes.
    #[test]
    fn dumpe2fs_agrees() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let path = path.to_str().unwrap();
        let sbin = "/usr/bin:/bin:/usr/sbin:/sbin";
        for options in [
            &["-t", "ext2"][..],
            &["-t", "ext4", "-L", "0123456789abcdef"],
            &["-t", "ext4", "-O", EVERYTHING],
        ] {
            std::fs::File::create(path).unwrap().set_len(40 << 20).unwrap();
            let mut mke2fs = Command::new("mke2fs");
            match mke2fs.args(["-q", "-F"]).args(options).arg(path).env("PATH", sbin).status() {
                Ok(status) => assert!(status.success()),
                #[allow(clippy::disallowed_methods)] // a test asks how loud to be
                Err(_) => {
                    assert!(std::env::var_os("CI").is_none(), "no mke2fs");
                    eprintln!("SKIPPED: no mke2fs");
                    return;
                }
            }
            let dump = Command::new("dumpe2fs").args(["-h", path]).env("PATH", sbin).output().unwrap();
            let dump = String::from_utf8(dump.stdout).unwrap();
            let field = |name: &str| {
                let found = dump.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                found.unwrap_or("0").trim().to_owned()
            };
            let disk = read(&std::fs::read(path).unwrap()).unwrap().unwrap();
            assert_eq!(disk.problems, [""; 0]);
            let found = disk.partitions[0].filesystem.clone().unwrap();
            assert_eq!(found.features.join(" "), field("Filesystem features"));
            assert_eq!(found.uuid, field("Filesystem UUID"));
            if !found.label.is_empty() {
                assert_eq!(found.label, field("Filesystem volume name"));
            }
            assert_eq!(found.block_size.to_string(), field("Block size"));
            assert_eq!(found.blocks.to_string(), field("Block count"));
            assert_eq!(found.free_blocks.to_string(), field("Free blocks"));
            assert_eq!(found.reserved_blocks.to_string(), field("Reserved block count"));
            assert_eq!(found.inodes.to_string(), field("Inode count"));
            assert_eq!(found.free_inodes.to_string(), field("Free inodes"));
            assert_eq!(found.journal_blocks.to_string(), field("Total journal blocks"));
        }
    }

    const EVERYTHING: &str = "metadata_csum,64bit,metadata_csum_seed,quota,project,verity,encrypt,casefold,inline_data,\
                              large_dir,ea_inode,mmp,bigalloc,sparse_super2,fast_commit,stable_inodes,^resize_inode";
}
