//! A planned image in words and tables.

use std::fmt;

use super::plan::{Image, Table};

/// A stretch of a planned image.
///
/// # Examples
///
/// ```
/// use lfs_image::image::Boot;
/// use lfs_image::tree::NoStore;
/// use lfs_image::{Image, ImageSpec, Tree};
///
/// let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().boot(Boot::None))?;
/// let mut end = 0;
/// for region in image.regions() {
///     println!("{:>12} {:>12} {}", region.offset, region.len, region.what);
///     assert_eq!(region.offset, end);
///     end += region.len;
/// }
/// assert_eq!(end, image.len());
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Region {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u64,
    /// What it holds.
    pub what: String,
}

/// An ext4 filesystem in numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Filesystem {
    /// Its UUID.
    pub uuid: String,
    /// Its label, if it has one.
    pub label: String,
    /// Its features, as `dumpe2fs` names them.
    pub features: Vec<String>,
    /// Bytes of a block.
    pub block_size: u64,
    /// Blocks.
    pub blocks: u64,
    /// Blocks that nothing uses, those reserved for root among them.
    pub free_blocks: u64,
    /// Blocks that only root may use.
    pub reserved_blocks: u64,
    /// Inodes.
    pub inodes: u64,
    /// Inodes that nothing uses.
    pub free_inodes: u64,
    /// Blocks of the journal.
    pub journal_blocks: u64,
}

impl Image {
    /// The root filesystem in numbers.
    #[must_use]
    pub fn filesystem(&self) -> Filesystem {
        let root = &self.root;
        let label = root.options.label.split(|byte| *byte == 0).next().unwrap_or_default();
        Filesystem {
            uuid: root.options.uuid.to_string(),
            label: String::from_utf8_lossy(label).into_owned(),
            features: root.features.names(),
            block_size: crate::ext4::geometry::BLOCK_SIZE,
            blocks: root.geometry.blocks,
            free_blocks: root.free_blocks(),
            reserved_blocks: root.reserved_blocks(),
            inodes: root.geometry.inodes(),
            free_inodes: root.geometry.inodes() - root.used_inodes(),
            journal_blocks: root.journal_blocks(),
        }
    }

    /// The whole disk as stretches, in order and without gaps.
    #[must_use]
    pub fn regions(&self) -> Vec<Region> {
        let mut regions = Regions { all: Vec::new(), at: 0 };
        let (head, tail) = self.table.render(&[0; crate::table::CODE]);
        let (first, last) = match &self.table {
            Table::Gpt { .. } => ("protective MBR, GPT", "backup GPT"),
            Table::Mbr { .. } => ("MBR", ""),
            Table::None { .. } => ("", ""),
        };
        regions.push(0, head.len() as u64, first);
        if let Some(span) = self.layout.bios_boot {
            regions.push(span.offset, span.len, "BIOS boot partition");
        }
        if let Some(span) = self.layout.payload {
            regions.push(span.offset, span.len, "kernel for the BIOS loader");
        }
        if let Some(span) = self.layout.esp {
            regions.push(span.offset, span.len, "EFI system partition");
        }
        for (offset, len, what) in self.root.regions() {
            regions.push(self.layout.root.offset + offset, len, &what);
        }
        regions.push(self.len() - tail.len() as u64, tail.len() as u64, last);
        regions.all
    }
}

struct Regions {
    all: Vec<Region>,
    at: u64,
}

impl Regions {
    /// Appends a stretch, and the one before it that nothing uses.
    fn push(&mut self, offset: u64, len: u64, what: &str) {
        if offset > self.at {
            self.all.push(Region { offset: self.at, len: offset - self.at, what: "unallocated".into() });
            self.at = offset;
        }
        if len > 0 {
            self.all.push(Region { offset, len, what: what.into() });
            self.at = offset + len;
        }
    }
}

/// The plan as a table: one line for each stretch of the disk, sizes in bytes.
impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.disk_id().map_or_else(|| "no partition table".to_owned(), |id| format!("disk {id}"));
        writeln!(f, "{} bytes, {id}", self.len())?;
        for partition in self.partitions() {
            let partuuid = partition.partuuid.as_deref().unwrap_or_default();
            let uuid = partition.uuid.as_deref().unwrap_or("-");
            let (number, name) = (partition.number, partition.role.name());
            writeln!(
                f,
                "partition {number} {name} {}+{} partuuid={partuuid} uuid={uuid}",
                partition.offset, partition.len
            )?;
        }
        for note in self.boot_notes() {
            writeln!(f, "boot {note}")?;
        }
        if let Some(line) = self.kernel_command_line() {
            writeln!(f, "cmdline {line}")?;
        }
        for edit in self.edits() {
            writeln!(f, "edit {edit}")?;
        }
        let filesystem = self.filesystem();
        writeln!(f, "features {}", filesystem.features.join(" "))?;
        writeln!(
            f,
            "blocks {} free {} reserved {} journal {} inodes {} free {}",
            filesystem.blocks,
            filesystem.free_blocks,
            filesystem.reserved_blocks,
            filesystem.journal_blocks,
            filesystem.inodes,
            filesystem.free_inodes
        )?;
        for region in self.regions() {
            writeln!(f, "{:>16} {:>16} {}", region.offset, region.len, region.what)?;
        }
        Ok(())
    }
}
