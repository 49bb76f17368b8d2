//! The disk as a value.

use sha2::{Digest as _, Sha256};

use super::boot::{self, Esp, disk_signature, partition_uuid};
use super::describe::Region;
use super::layout::{Layout, Partition, Role, RootSize, Span, wanted_free};
use super::spec::{ImageSpec, PartitionTable};
use crate::boot::BootPlan;
use crate::check::{self, Finding, Surroundings};
use crate::configure::{self, Notes, Target};
use crate::error::{Error, Result};
use crate::ext4::{self, features::Incompat};
use crate::fat;
use crate::raw::blob::Blob;
use crate::raw::guid::Uuid;
use crate::raw::seed::Seed;
use crate::raw::store::ReadAt;
use crate::raw::time::Timestamp;
use crate::table::{Attributes, CODE, Entry, Gpt, Mbr, Primary, SECTOR, kinds, types};
use crate::tree::edit::Editor;
use crate::tree::{Change, Meta, Tree};

/// A planned disk image: everything about it is known and nothing is written yet.
///
/// # Examples
///
/// From a tree to the SHA-256 of the image, without writing it anywhere:
///
/// ```
/// use lfs_image::image::Boot;
/// use lfs_image::sink::{DigestSink, NullSink};
/// use lfs_image::tree::NoStore;
/// use lfs_image::{Image, ImageSpec, Tree};
///
/// let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().size(64 << 20).boot(Boot::None))?;
/// let (_, digest) = image.write(&NoStore, DigestSink::new(NullSink::default()), &mut ())?;
/// # assert_eq!(image.len(), 64 << 20);
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Debug)]
pub struct Image {
    pub(super) tree: Tree,
    pub(super) layout: Layout,
    pub(super) table: Table,
    pub(super) boot: Option<BootPlan>,
    edits: Vec<Change>,
    notes: Notes,
    surroundings: Surroundings,
    pub(super) esp: Option<fat::Plan>,
    pub(super) root: ext4::Plan,
}

/// The type of a partition that holds the kernel for our own BIOS loader: a GUID of our own.
pub(super) const PAYLOAD: Uuid = Uuid::from_bytes([
    0x6c, 0x66, 0x73, 0x69, 0x6d, 0x61, 0x47, 0x65, 0x8b, 0x6f, 0x6f, 0x74, 0x70, 0x61, 0x79, 0x6c,
]);

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
    /// When nothing can start it, and why; when the content does not fit, by how much; when something in the tree can't be stored in ext4, naming its path; when
    /// the specification contradicts itself.
    pub fn plan(mut tree: Tree, store: &dyn ReadAt, spec: &ImageSpec) -> Result<Self> {
        tree.check_sets()?;
        let time = spec.time.unwrap_or_else(|| tree.newest_mtime()).clamped();
        let mut editor = Editor::new(&mut tree, store, time);
        configure::shape(&mut editor, &spec.host)?;
        if spec.host.scrub {
            check::scrub(&mut editor)?;
        }
        ext4::add_lost_found(editor.tree, Meta::new(0o700, time))?;
        let seed = seed(editor.tree, spec);
        let options = ext4_options(spec, &seed, time)?;
        let boot = boot::plan(&mut editor, spec, &seed, options.uuid)?;
        let place = boot::place(spec, boot.as_ref(), &seed, options.uuid);
        let notes = configure::apply(&mut editor, &spec.host, &place, boot.is_some())?;
        let edits = editor.finish();
        let payload = boot.as_ref().and_then(|plan| plan.payload.as_ref()).map_or(0, Blob::len);
        if spec.esp.is_some() && spec.table == PartitionTable::None {
            return Err(Error::input("an EFI system partition needs a partition table"));
        }
        let wanted = Esp::wanted(spec, boot.as_ref(), &seed, time);
        // How large it is doesn't depend on where it is.
        let esp_len = match &wanted {
            Some(esp) => esp.at(0)?.sectors() * SECTOR,
            None => 0,
        };
        let needs = ext4::Needs::new(&tree, options)?;
        let root_size = match spec.size {
            Some(_) => RootSize::Rest,
            None => RootSize::AtLeast(needs.least(wanted_free(spec)?)?),
        };
        let layout = Layout::new(spec, payload, esp_len, root_size)?;
        let root = needs.plan(&tree, layout.root.len)?;
        let esp = match (wanted, layout.esp) {
            (Some(esp), Some(span)) => Some(esp.at(span.offset)?),
            _ => None,
        };
        let uses_grub = boot.as_ref().is_some_and(|plan| plan.choice.uses_grub());
        if uses_grub && root.features.incompat.contains(Incompat::EA_INODE) {
            return Err(Error::input(
                "extended attributes in inodes of their own (ea_inode): GRUB, which is to start the disk, can't read such \
                 a filesystem",
            ));
        }
        let esp_uuid = esp.as_ref().map(fat::Plan::uuid);
        let table = Table::plan(&layout, spec, &seed, root.options.uuid, esp_uuid.as_deref())?;
        let gpt = spec.table == PartitionTable::Gpt;
        let kernel = boot.as_ref().map(|plan| plan.kernel.clone()).or_else(|| spec.kernel.clone());
        let surroundings = Surroundings { place: Some(place), gpt, kernel };
        let image = Self { tree, layout, table, boot, edits, notes, surroundings, esp, root };
        image.log();
        Ok(image)
    }

    /// Says what is planned to whoever debugs.
    fn log(&self) {
        for Partition { number, role, offset, len, .. } in self.partitions() {
            tracing::debug!(number, ?role, offset, len, "partition");
        }
        let filesystem = self.filesystem();
        tracing::debug!(
            blocks = filesystem.blocks,
            inodes = filesystem.inodes,
            features = filesystem.features.join(","),
            "ext4"
        );
        for note in self.boot_notes() {
            tracing::debug!(note, "boot");
        }
        for note in self.host_notes() {
            tracing::debug!(note, "host");
        }
        if tracing::enabled!(tracing::Level::TRACE) {
            for Region { offset, len, what } in self.regions() {
                tracing::trace!(offset, len, what, "region");
            }
        }
    }

    /// How the image starts and why so, one line each; empty where nothing on it does.
    #[must_use]
    pub fn boot_notes(&self) -> &[String] {
        self.boot.as_ref().map_or(&[], |plan| &plan.notes)
    }

    /// What may keep the image from starting, one line each.
    #[must_use]
    pub fn boot_warnings(&self) -> &[String] {
        self.boot.as_ref().map_or(&[], |plan| &plan.warnings)
    }

    /// What was changed in the tree, in order, beyond what its archives say.
    #[must_use]
    pub fn edits(&self) -> &[Change] {
        &self.edits
    }

    /// What was decided about the tree, one line each.
    #[must_use]
    pub fn host_notes(&self) -> &[String] {
        &self.notes.notes
    }

    /// What keeps the image from being the host that was asked for, one line each.
    #[must_use]
    pub fn host_warnings(&self) -> &[String] {
        &self.notes.warnings
    }

    /// What this image lacks to run there, the worst first. The store is the one that it was planned with.
    ///
    /// # Errors
    ///
    /// When content can't be read.
    pub fn check(&self, store: &dyn ReadAt, target: Target) -> Result<Vec<Finding>> {
        check::readiness(&self.tree, store, target, &self.surroundings)
    }

    /// The command line that the kernel is started with, if something on the image starts it.
    #[must_use]
    pub fn kernel_command_line(&self) -> Option<&str> {
        self.boot.as_ref().map(|plan| plan.cmdline.as_str())
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
    fn plan(
        layout: &Layout,
        spec: &ImageSpec,
        seed: &Seed,
        root_uuid: Uuid,
        esp_uuid: Option<&str>,
    ) -> Result<Self> {
        let all = [
            (Role::BiosBoot, layout.bios_boot),
            (Role::Payload, layout.payload),
            (Role::Esp, layout.esp),
            (Role::Root, Some(layout.root)),
        ];
        let present = all.into_iter().filter_map(|(role, span)| Some((role, span?)));
        let numbered: Vec<(u32, Role, Span)> =
            (1..).zip(present).map(|(n, (role, span))| (n, role, span)).collect();
        let partition = |number, role, span: Span, partuuid| Partition {
            number,
            role,
            offset: span.offset,
            len: span.len,
            partuuid,
            uuid: match role {
                Role::Root => Some(root_uuid.to_string()),
                Role::Esp => esp_uuid.map(str::to_owned),
                Role::BiosBoot | Role::Payload => None,
            },
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
                            Role::Payload => PAYLOAD,
                            Role::Esp => types::EFI_SYSTEM,
                            Role::Root => types::LINUX_FILESYSTEM,
                        },
                        partition_guid: partition_uuid(seed, *role),
                        first_lba: span.offset / SECTOR,
                        last_lba: span.end() / SECTOR - 1,
                        attributes: Attributes::empty(),
                        name: role.name().to_owned(),
                    })
                    .collect();
                let gpt = Gpt::plan(sectors, seed.uuid("disk"), &entries)?;
                let ids = entries.iter().map(|entry| entry.partition_guid.to_string());
                let partitions = numbered
                    .into_iter()
                    .zip(ids)
                    .map(|((n, role, span), id)| partition(n, role, span, Some(id)));
                Ok(Self::Gpt { gpt, partitions: partitions.collect() })
            }
            PartitionTable::Mbr => {
                let mut primaries = [None; 4];
                for (slot, (_, role, span)) in primaries.iter_mut().zip(&numbered) {
                    *slot = Some(Primary {
                        bootable: *role == Role::Root,
                        kind: match role {
                            Role::Esp => kinds::EFI_SYSTEM,
                            Role::Payload => kinds::RAW_DATA,
                            Role::BiosBoot | Role::Root => kinds::LINUX,
                        },
                        first_lba: span.offset / SECTOR,
                        sectors: span.len / SECTOR,
                    });
                }
                let mbr = Mbr::plan(sectors, disk_signature(seed), primaries)?;
                let partitions = numbered
                    .into_iter()
                    .map(|(n, role, span)| partition(n, role, span, Some(mbr.partuuid(n))))
                    .collect();
                Ok(Self::Mbr { mbr, partitions })
            }
            PartitionTable::None => {
                Ok(Self::None { partitions: vec![partition(0, Role::Root, layout.root, None)] })
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
        orphan_file: spec.orphan_file,
    })
}

/// The seed of all identifiers: the tree, without the bytes of its files, and what is asked for.
fn seed(tree: &Tree, spec: &ImageSpec) -> Seed {
    let mut hash = Sha256::new();
    hash.update(spec.canonical().as_bytes());
    tree.digest(&mut |bytes| hash.update(bytes));
    Seed::new(hash.finalize().into())
}
