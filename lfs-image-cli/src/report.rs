//! What an image is, made or planned or found: as JSON for scripts and as text for people.

use std::fmt;
use std::path::Path;

use lfs_image::image::{Disk, DiskPartition, Partition, PartitionTable, Region, Role};
use lfs_image::tree::Change;
use lfs_image::{Image, Result};
use serde::Serialize;

use crate::meter::Written;
use crate::run::Run;
use crate::size::{Count, Human};
use crate::ui::Ui;
use crate::usage::Usage;

/// The JSON of `--json`. Sizes are bytes. Fields are only ever added under the same version.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Of this schema.
    version: u32,
    /// Where the image is; none for a plan or a pipe.
    image: Option<String>,
    size: u64,
    /// With `--digest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// What the bytes were, when the image was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Tally>,
    /// `gpt`, `mbr` or `none`.
    table: &'static str,
    /// The GUID of a GPT or the signature of an MBR.
    disk_id: Option<String>,
    /// How the kernel's command line names the root filesystem: `root=PARTUUID=...`.
    root: Option<String>,
    /// How the image starts and why so, one line each. Not of an image that was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<Vec<String>>,
    /// The kernel's whole command line, if something on the image starts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline: Option<String>,
    /// What was changed in the tree, in order. Not of an image that was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    edits: Option<Vec<Edit>>,
    /// What was decided about the tree, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// Whether the text shows edits as diffs.
    #[serde(skip)]
    diffs: bool,
    /// What may keep it from starting or is wrong with it, one line each.
    pub(crate) warnings: Vec<String>,
    partitions: Vec<PartitionReport>,
    /// The root filesystem.
    filesystem: Option<Filesystem>,
    /// What the image is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Input>,
    /// Directories of the root filesystem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Vec<Usage>>,
    /// How to start it, where `inspect` finds something that does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<Run>,
    /// The disk in stretches, in order and without gaps.
    #[serde(skip_serializing_if = "Option::is_none")]
    regions: Option<Vec<RegionReport>>,
}

/// Bytes of data, zeros that somebody relies on, and bytes that nothing reads before writing them.
#[derive(Clone, Copy, Debug, Serialize)]
struct Tally {
    data: u64,
    zeros: u64,
    unallocated: u64,
}

#[derive(Clone, Debug, Serialize)]
struct PartitionReport {
    /// 0 where there is no table.
    number: u32,
    /// `bios-boot`, `payload`, `esp`, `root`, or none of them.
    role: Option<&'static str>,
    /// The type and the name in the table, where they were read from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    offset: u64,
    len: u64,
    partuuid: Option<String>,
    uuid: Option<String>,
    #[serde(skip)]
    filesystem: Option<Filesystem>,
}

/// See [`lfs_image::image::Filesystem`].
#[derive(Clone, Debug, Serialize)]
struct Filesystem {
    /// `ext2`, `ext3` or `ext4`.
    kind: &'static str,
    /// Where it starts on the disk.
    offset: u64,
    uuid: String,
    label: String,
    features: Vec<String>,
    block_size: u64,
    blocks: u64,
    free_blocks: u64,
    reserved_blocks: u64,
    inodes: u64,
    free_inodes: u64,
    journal_blocks: u64,
}

/// What an image is made of.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Input {
    pub(crate) archives: Vec<String>,
    /// Names in the tree.
    pub(crate) entries: u64,
    /// Bytes in the files that they name.
    pub(crate) bytes: u64,
}

/// See [`lfs_image::tree::Change`].
#[derive(Clone, Debug, Serialize)]
struct Edit {
    path: String,
    /// `make`, `change` or `remove`.
    action: &'static str,
    why: String,
    /// A unified diff, or a line in words.
    diff: String,
}

impl Edit {
    fn new(change: &Change) -> Self {
        let Change { path, action, why, diff, .. } = change.clone();
        Self { path, action: action.name(), why, diff }
    }
}

#[derive(Clone, Debug, Serialize)]
struct RegionReport {
    offset: u64,
    len: u64,
    what: String,
}

const VERSION: u32 = 1;

impl Report {
    /// Of an image that is planned.
    pub(crate) fn of_plan(image: &Image, table: PartitionTable, input: Input) -> Self {
        let partitions = image.partitions().iter().map(|p| PartitionReport::planned(p, image)).collect();
        Self {
            boot: Some(image.boot_notes().to_vec()),
            cmdline: image.kernel_command_line().map(str::to_owned),
            edits: Some(image.edits().iter().map(Edit::new).collect()),
            notes: image.host_notes().to_vec(),
            warnings: [image.boot_warnings(), image.host_warnings()].concat(),
            input: Some(input),
            ..Self::new(image.len(), table, image.disk_id(), partitions)
        }
    }

    /// Of a disk that is there.
    pub(crate) fn of_disk(path: &Path, disk: &Disk) -> Self {
        let partitions = disk.partitions.iter().map(PartitionReport::found).collect();
        Self {
            image: Some(path.display().to_string()),
            warnings: disk.problems.clone(),
            ..Self::new(disk.len, disk.table, disk.id.clone(), partitions)
        }
    }

    fn new(
        size: u64,
        table: PartitionTable,
        disk_id: Option<String>,
        partitions: Vec<PartitionReport>,
    ) -> Self {
        let root = root(&partitions);
        Self {
            version: VERSION,
            image: None,
            size,
            sha256: None,
            written: None,
            table: table_name(table),
            disk_id,
            root: root.and_then(PartitionReport::argument),
            boot: None,
            cmdline: None,
            edits: None,
            notes: Vec::new(),
            diffs: false,
            warnings: Vec::new(),
            filesystem: root.and_then(|root| root.filesystem.clone()),
            partitions,
            input: None,
            usage: None,
            run: None,
            regions: None,
        }
    }

    /// Adds what came of writing it.
    pub(crate) fn written(mut self, written: &Written) -> Self {
        self.image = written.path.as_ref().map(|path| path.display().to_string());
        self.sha256 = written.digest.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect());
        let lfs_image::sink::Tally { data, zeros, unallocated, .. } = written.tally;
        self.written = Some(Tally { data, zeros, unallocated });
        self
    }

    /// Where the root filesystem is.
    pub(crate) fn root_filesystem(&self) -> Option<u64> {
        self.filesystem.as_ref().map(|root| root.offset)
    }

    /// Shows edits as diffs.
    pub(crate) fn with_diffs(mut self) -> Self {
        self.diffs = true;
        self
    }

    /// Adds the stretches of a plan.
    pub(crate) fn with_regions(mut self, regions: Vec<Region>) -> Self {
        let regions =
            regions.into_iter().map(|r| RegionReport { offset: r.offset, len: r.len, what: r.what });
        self.regions = Some(regions.collect());
        self
    }

    /// Adds the stretches of a disk that is there, as far as its table tells.
    pub(crate) fn with_partitions_as_regions(mut self) -> Self {
        let mut regions = Vec::new();
        let mut at = 0;
        let mut ordered: Vec<_> = self.partitions.iter().collect();
        ordered.sort_by_key(|partition| partition.offset);
        for partition in ordered {
            if partition.offset > at {
                let what = if at == 0 { "partition table" } else { "unallocated" };
                regions.push(RegionReport { offset: at, len: partition.offset - at, what: what.to_owned() });
            }
            regions.push(RegionReport {
                offset: partition.offset,
                len: partition.len,
                what: partition.title(),
            });
            at = at.max(partition.offset.saturating_add(partition.len));
        }
        if self.size > at {
            let what = if self.table == "gpt" { "backup GPT" } else { "unallocated" };
            regions.push(RegionReport { offset: at, len: self.size - at, what: what.to_owned() });
        }
        self.regions = Some(regions);
        self
    }

    /// Says what a person should know of.
    pub(crate) fn warn(&self, ui: Ui) {
        for warning in &self.warnings {
            ui.warn(warning);
        }
    }

    /// Prints all of it.
    pub(crate) fn show(&self, ui: Ui) -> Result<()> {
        if ui.json { ui.json(self) } else { ui.result(self) }
    }

    /// The lines on stdout that say what was made. The last one is what scripts read.
    pub(crate) fn lines(&self) -> String {
        let image = self.image.as_deref().unwrap_or_default();
        let digest = self.digest().map(|digest| format!("{digest}  {image}\n")).unwrap_or_default();
        format!("{digest}{} {image}\n", self.root.as_deref().unwrap_or_default())
    }

    /// The image's digest, if it was asked for.
    pub(crate) fn digest(&self) -> Option<String> {
        self.sha256.as_ref().map(|digest| format!("sha256:{digest}"))
    }

    /// A disk in a line: `4.0 GiB gpt disk: bios-boot 1.0 MiB, root 4.0 GiB`.
    pub(crate) fn outline(&self) -> String {
        let size = Human(self.size);
        if self.table == "none" {
            let kind = self.filesystem.as_ref().map_or("", |filesystem| filesystem.kind);
            return format!("{size} {kind} filesystem");
        }
        let parts = self.partitions.iter().map(|p| format!("{} {}", p.what(), Human(p.len)));
        format!("{size} {} disk: {}", self.table, parts.collect::<Vec<_>>().join(", "))
    }

    /// The root filesystem in a few words, and what a boot loader or an fstab calls it.
    pub(crate) fn root_lines(&self) -> Vec<String> {
        let root = root(&self.partitions);
        let filesystem = root.and_then(|root| root.filesystem.as_ref());
        let what = filesystem.map(|fs| format!("{} with {} free", fs.kind, Human(fs.available())));
        let partuuid = root.and_then(|root| root.partuuid.as_ref()).map(|id| format!("PARTUUID={id}"));
        let uuid = root.and_then(|root| root.uuid.as_ref()).map(|id| format!("UUID={id}"));
        [what, partuuid, uuid].into_iter().flatten().collect()
    }
}

impl PartitionReport {
    fn planned(partition: &Partition, image: &Image) -> Self {
        let is_root = partition.role == Role::Root;
        Self {
            number: partition.number,
            role: Some(partition.role.name()),
            kind: None,
            name: None,
            offset: partition.offset,
            len: partition.len,
            partuuid: partition.partuuid.clone(),
            uuid: partition.uuid.clone(),
            filesystem: is_root.then(|| Filesystem::new(image.filesystem(), partition.offset)),
        }
    }

    fn found(partition: &DiskPartition) -> Self {
        let filesystem = partition.filesystem.clone();
        Self {
            number: partition.number,
            role: partition.role.map(Role::name),
            kind: partition.kind.clone(),
            name: partition.name.clone(),
            offset: partition.offset,
            len: partition.len,
            partuuid: partition.partuuid.clone(),
            uuid: partition.uuid.clone(),
            filesystem: filesystem.map(|filesystem| Filesystem::new(filesystem, partition.offset)),
        }
    }

    /// What `root=` takes: a PARTUUID works without an initramfs.
    fn argument(&self) -> Option<String> {
        match (&self.partuuid, &self.uuid) {
            (Some(partuuid), _) => Some(format!("root=PARTUUID={partuuid}")),
            (None, Some(uuid)) => Some(format!("root=UUID={uuid}")),
            (None, None) => None,
        }
    }

    /// What it is, for people.
    fn what(&self) -> &str {
        // A GUID tells people less than its first digits do.
        let kind = || self.kind.as_deref()?.split('-').next();
        self.role.or(self.name.as_deref()).or_else(kind).unwrap_or_default()
    }

    fn title(&self) -> String {
        let filesystem = self.filesystem.as_ref().map(|filesystem| format!(" {}", filesystem.kind));
        match self.number {
            0 => format!("image{}", filesystem.unwrap_or_default()),
            n => format!("partition {n} {}{}", self.what(), filesystem.unwrap_or_default()),
        }
    }
}

impl Filesystem {
    fn new(fs: lfs_image::image::Filesystem, offset: u64) -> Self {
        let has = |feature: &str| fs.features.iter().any(|name| name == feature);
        let kind = if has("extent") || has("64bit") {
            "ext4"
        } else if has("has_journal") {
            "ext3"
        } else {
            "ext2"
        };
        Self {
            kind,
            offset,
            uuid: fs.uuid,
            label: fs.label,
            features: fs.features,
            block_size: fs.block_size,
            blocks: fs.blocks,
            free_blocks: fs.free_blocks,
            reserved_blocks: fs.reserved_blocks,
            inodes: fs.inodes,
            free_inodes: fs.free_inodes,
            journal_blocks: fs.journal_blocks,
        }
    }

    /// Bytes that anybody may use.
    fn available(&self) -> u64 {
        self.free_blocks.saturating_sub(self.reserved_blocks).saturating_mul(self.block_size)
    }
}

/// The partition of the root filesystem. Where several could be one, the largest is.
fn root(partitions: &[PartitionReport]) -> Option<&PartitionReport> {
    partitions.iter().filter(|partition| partition.filesystem.is_some()).max_by_key(|partition| partition.len)
}

fn table_name(table: PartitionTable) -> &'static str {
    match table {
        PartitionTable::Gpt => "gpt",
        PartitionTable::Mbr => "mbr",
        _ => "none",
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.image {
            Some(path) => writeln!(f, "{path}: {}", self.outline())?,
            None => writeln!(f, "{}", self.outline())?,
        }
        if let Some(input) = &self.input {
            let (entries, bytes) = (Count(input.entries), Human(input.bytes));
            writeln!(f, "made of {}: {entries} entries, {bytes}", input.archives.join(", "))?;
        }
        for note in self.boot.iter().flatten() {
            writeln!(f, "boot: {note}")?;
        }
        if let Some(cmdline) = &self.cmdline {
            writeln!(f, "kernel command line: {cmdline}")?;
        } else if let Some(root) = &self.root {
            writeln!(f, "for the kernel's command line: {root}")?;
        }
        for edit in self.edits.iter().flatten() {
            writeln!(f, "edit: {} {}: {}", edit.action, edit.path, edit.why)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        if self.table != "none" {
            writeln!(f, "\n  # role           offset       size  partuuid")?;
            for p in &self.partitions {
                let (offset, len) = (Human(p.offset), Human(p.len));
                let partuuid = p.partuuid.as_deref().unwrap_or_default();
                writeln!(f, "{:>3} {:<11} {offset:>9}  {len:>9}  {partuuid}", p.number, p.what())?;
            }
            writeln!(f, "    disk {:>31}  {}", "", self.disk_id.as_deref().unwrap_or_default())?;
        }
        for partition in &self.partitions {
            if let Some(filesystem) = &partition.filesystem {
                writeln!(f, "\n{}", partition.title())?;
                write!(f, "{filesystem}")?;
            }
        }
        if let Some(usage) = &self.usage {
            writeln!(f, "\n     size     entries  directory")?;
            for Usage { path, entries, bytes } in usage {
                writeln!(f, "{:>9}  {:>10}  {path}", Human(*bytes), Count(*entries))?;
            }
        }
        if let Some(run) = &self.run {
            write!(f, "{run}")?;
        }
        if let Some(regions) = &self.regions {
            writeln!(f, "\n         offset           bytes       size  what")?;
            for RegionReport { offset, len, what } in regions {
                writeln!(f, "{offset:>15} {len:>15}  {:>9}  {what}", Human(*len))?;
            }
        }
        for edit in self.edits.iter().flatten().filter(|_| self.diffs) {
            writeln!(f, "\n# {} {}: {}", edit.action, edit.path, edit.why)?;
            write!(f, "{}", edit.diff)?;
        }
        Ok(())
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |blocks: u64| Human(blocks.saturating_mul(self.block_size));
        if !self.label.is_empty() {
            writeln!(f, "  label     {}", self.label.escape_debug())?;
        }
        writeln!(f, "  uuid      {}", self.uuid)?;
        let mut line = String::from("  features ");
        for feature in &self.features {
            if line.len() + 1 + feature.len() > 79 {
                writeln!(f, "{line}")?;
                line = " ".repeat(11);
            }
            line.push(' ');
            line.push_str(feature);
        }
        writeln!(f, "{line}")?;
        let (size, blocks, block) = (bytes(self.blocks), Count(self.blocks), Human(self.block_size));
        writeln!(f, "  size      {size} in {blocks} blocks of {block}")?;
        let (free, reserved) = (bytes(self.free_blocks), bytes(self.reserved_blocks));
        writeln!(f, "  free      {free}, {reserved} of it for root alone")?;
        writeln!(f, "  inodes    {}, {} free", Count(self.inodes), Count(self.free_inodes))?;
        match self.journal_blocks {
            0 => writeln!(f, "  journal   none"),
            blocks => writeln!(f, "  journal   {}", bytes(blocks)),
        }
    }
}
