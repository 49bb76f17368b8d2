//! The disk as a value.

use sha2::{Digest as _, Sha256};

use super::layout::{Layout, Partition, Role, RootSize, Span, wanted_free};
use super::spec::{ImageSpec, PartitionTable};
use crate::error::{Error, Result};
use crate::ext4;
use crate::raw::guid::Uuid;
use crate::raw::seed::Seed;
use crate::raw::store::ReadAt;
use crate::raw::time::Timestamp;
use crate::table::{Attributes, CODE, Entry, Gpt, Mbr, Primary, SECTOR, kinds, types};
use crate::tree::{Meta, Tree};

/// A planned disk image: everything about it is known and nothing is written yet.
///
/// # Examples
///
/// From a tree to the SHA-256 of the image, without writing it anywhere:
///
/// ```
/// use lfs_image::{DigestSink, Image, ImageSpec, NoStore, NullSink, Tree};
///
/// let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().size(64 << 20))?;
/// let (_, digest) = image.write(&NoStore, DigestSink::new(NullSink::default()), &mut ())?;
/// # assert_eq!(image.len(), 64 << 20);
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Debug)]
pub struct Image {
    pub(super) tree: Tree,
    pub(super) layout: Layout,
    pub(super) table: Table,
    pub(super) root: ext4::Plan,
}

/// The partition table of an image.
#[derive(Debug)]
pub(super) enum Table {
    Gpt { gpt: Gpt, partitions: Vec<Partition> },
    Mbr { mbr: Mbr, partitions: Vec<Partition> },
    None { partitions: Vec<Partition> },
}

impl Image {
    /// Plans an image of a tree whose content is in `store`.
    ///
    /// # Errors
    ///
    /// When the content does not fit, by how much; when something in the tree can't be stored in ext4, naming its path; when
    /// the specification contradicts itself.
    pub fn plan(mut tree: Tree, store: &dyn ReadAt, spec: &ImageSpec) -> Result<Self> {
        let _ = store;
        let time = spec.time.unwrap_or_else(|| tree.newest_mtime()).clamped();
        ext4::add_lost_found(&mut tree, Meta::new(0o700, time))?;
        let seed = seed(&tree, spec);
        let options = ext4_options(spec, &seed, time)?;
        let esp = spec.esp.unwrap_or(0);
        if esp > 0 && spec.table == PartitionTable::None {
            return Err(Error::input("an EFI system partition needs a partition table"));
        }
        let (layout, root) = match spec.size {
            Some(_) => {
                let layout = Layout::new(spec, esp, RootSize::Rest)?;
                (layout, ext4::Plan::new(&tree, options, ext4::Size::Bytes(layout.root.len))?)
            }
            None => {
                let least = ext4::Plan::new(&tree, options, ext4::Size::Free(wanted_free(spec)?))?;
                let layout = Layout::new(spec, esp, RootSize::AtLeast(least.len()))?;
                (layout, least.resized(&tree, layout.root.len)?)
            }
        };
        let table = Table::plan(&layout, spec, &seed, root.options.uuid)?;
        Ok(Self { tree, layout, table, root })
    }

    /// Bytes of the image.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // no image is empty
    pub fn len(&self) -> u64 {
        self.layout.disk
    }

    /// The partitions in order. Without a table there is one, which is the image.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        match &self.table {
            Table::Gpt { partitions, .. } | Table::Mbr { partitions, .. } | Table::None { partitions } => {
                partitions
            }
        }
    }

    /// The tree that goes into the root filesystem, with everything that was added to it.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What identifies the disk: its GUID in a GPT, its signature in an MBR.
    #[must_use]
    pub fn disk_id(&self) -> Option<String> {
        match &self.table {
            Table::Gpt { gpt, .. } => Some(gpt.disk_guid().to_string()),
            Table::Mbr { mbr, .. } => Some(mbr.partuuid(1)[..8].to_owned()),
            Table::None { .. } => None,
        }
    }
}

impl Table {
    fn plan(layout: &Layout, spec: &ImageSpec, seed: &Seed, root_uuid: Uuid) -> Result<Self> {
        let all =
            [(Role::BiosBoot, layout.bios_boot), (Role::Esp, layout.esp), (Role::Root, Some(layout.root))];
        let present = all.into_iter().filter_map(|(role, span)| Some((role, span?)));
        let numbered: Vec<(u32, Role, Span)> =
            (1..).zip(present).map(|(n, (role, span))| (n, role, span)).collect();
        let partition = |number, role, span: Span, partuuid| Partition {
            number,
            role,
            offset: span.offset,
            len: span.len,
            partuuid,
            uuid: (role == Role::Root).then(|| root_uuid.to_string()),
        };
        let sectors = layout.disk / SECTOR;
        match spec.table {
            PartitionTable::Gpt => {
                let entries: Vec<Entry> = numbered
                    .iter()
                    .map(|(number, role, span)| Entry {
                        number: *number,
                        type_guid: match role {
                            Role::BiosBoot => types::BIOS_BOOT,
                            Role::Esp => types::EFI_SYSTEM,
                            Role::Root => types::LINUX_FILESYSTEM,
                        },
                        partition_guid: seed.uuid(&format!("partition {}", role.name())),
                        first_lba: span.offset / SECTOR,
                        last_lba: span.end() / SECTOR - 1,
                        attributes: Attributes::empty(),
                        name: role.name().to_owned(),
                    })
                    .collect();
                let gpt = Gpt::plan(sectors, seed.uuid("disk"), &entries)?;
                let ids = entries.iter().map(|entry| entry.partition_guid.to_string());
                let partitions =
                    numbered.into_iter().zip(ids).map(|((n, role, span), id)| partition(n, role, span, id));
                Ok(Self::Gpt { gpt, partitions: partitions.collect() })
            }
            PartitionTable::Mbr => {
                let mut primaries = [None; 4];
                for (slot, (_, role, span)) in primaries.iter_mut().zip(&numbered) {
                    *slot = Some(Primary {
                        bootable: *role == Role::Root,
                        kind: if *role == Role::Esp { kinds::EFI_SYSTEM } else { kinds::LINUX },
                        first_lba: span.offset / SECTOR,
                        sectors: span.len / SECTOR,
                    });
                }
                let mbr = Mbr::plan(sectors, seed.nonzero_u32("disk"), primaries)?;
                let partitions = numbered
                    .into_iter()
                    .map(|(n, role, span)| partition(n, role, span, mbr.partuuid(n)))
                    .collect();
                Ok(Self::Mbr { mbr, partitions })
            }
            PartitionTable::None => {
                Ok(Self::None { partitions: vec![partition(0, Role::Root, layout.root, String::new())] })
            }
        }
    }

    /// What comes before the first partition, and what behind the last one.
    pub(super) fn render(&self, code: &[u8; CODE]) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::Gpt { gpt, .. } => (gpt.head(code), gpt.tail()),
            Self::Mbr { mbr, .. } => (mbr.sector(code).to_vec(), Vec::new()),
            Self::None { .. } => (Vec::new(), Vec::new()),
        }
    }
}

fn ext4_options(spec: &ImageSpec, seed: &Seed, time: Timestamp) -> Result<ext4::Options> {
    let mut hash_seed = [0; 16];
    hash_seed.copy_from_slice(&seed.derive("directory hash")[..16]);
    Ok(ext4::Options {
        uuid: spec.uuid.unwrap_or_else(|| seed.uuid("root filesystem")),
        hash_seed,
        label: spec.label_bytes()?,
        time,
        reserved: spec.reserved,
        inodes: spec.inodes,
        journal: spec.journal,
        ea_inode: spec.ea_inode,
    })
}

/// The seed of all identifiers: the tree, without the bytes of its files, and what is asked for.
fn seed(tree: &Tree, spec: &ImageSpec) -> Seed {
    let mut hash = Sha256::new();
    hash.update(spec.canonical().as_bytes());
    tree.digest(&mut |bytes| hash.update(bytes));
    Seed::new(hash.finalize().into())
}
