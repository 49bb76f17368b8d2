//! What an image is to be like.

use crate::configure::{HostSpec, Target};
use crate::error::{Error, Result};
use crate::ext4::{Free, InodeCount, Journal};
use crate::raw::guid::Uuid;
use crate::raw::time::Timestamp;

/// The kind of partition table.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum PartitionTable {
    /// A GUID partition table with a protective MBR, and a BIOS boot partition so that boot code has a place.
    #[default]
    Gpt,
    /// The classic table in sector 0, with the gap up to 1 MiB for boot code.
    Mbr,
    /// None: the image is the filesystem.
    None,
}

/// How the image starts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Boot {
    /// The best that the tree allows, for BIOS and UEFI alike: GRUB from the tree's files, a unified kernel image on its
    /// systemd stub, or loaders of our own.
    #[default]
    Auto,
    /// GRUB from the tree's files.
    Grub,
    /// A unified kernel image on the tree's systemd stub: UEFI only.
    Uki,
    /// Loaders of our own, which need nothing but the kernel.
    Stub,
    /// Nothing: somebody else starts the kernel.
    None,
}

/// What becomes of a `grub.cfg` that is in the tree.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum GrubConfig {
    /// It stays if it can work on this disk, else a new one takes its place and it is kept beside that.
    #[default]
    Auto,
    /// It stays.
    Keep,
    /// A new one takes its place, and it is kept beside that.
    Replace,
}

/// What an image is to be like. The default is a GPT disk, rounded up to whole GiB, whose root filesystem has a fifth of its
/// space free.
///
/// # Examples
///
/// ```
/// use lfs_image::image::{Free, PartitionTable};
/// use lfs_image::ImageSpec;
///
/// let spec = ImageSpec::new()
///     .table(PartitionTable::Mbr)
///     .free(Free::Bytes(512 << 20))
///     .label("lfs-root");
/// ```
#[derive(Clone, Debug)]
pub struct ImageSpec {
    pub(crate) table: PartitionTable,
    pub(crate) size: Option<u64>,
    pub(crate) free: Free,
    pub(crate) label: String,
    pub(crate) uuid: Option<Uuid>,
    pub(crate) time: Option<Timestamp>,
    pub(crate) reserved: u16,
    pub(crate) inodes: InodeCount,
    pub(crate) journal: Journal,
    pub(crate) ea_inode: bool,
    pub(crate) orphan_file: bool,
    pub(crate) esp: Option<u64>,
    pub(crate) boot: Boot,
    pub(crate) kernel: Option<String>,
    pub(crate) cmdline: Option<String>,
    pub(crate) append: Vec<String>,
    pub(crate) grub_config: GrubConfig,
    pub(crate) host: HostSpec,
}

impl Default for ImageSpec {
    fn default() -> Self {
        Self {
            table: PartitionTable::Gpt,
            size: None,
            free: Free::Percent(20),
            label: String::new(),
            uuid: None,
            time: None,
            reserved: 500,
            inodes: InodeCount::Auto,
            journal: Journal::Auto,
            ea_inode: false,
            orphan_file: false,
            esp: None,
            boot: Boot::Auto,
            kernel: None,
            cmdline: None,
            append: Vec::new(),
            grub_config: GrubConfig::Auto,
            host: HostSpec::default(),
        }
    }
}

impl ImageSpec {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The kind of partition table.
    #[must_use]
    pub fn table(mut self, table: PartitionTable) -> Self {
        self.table = table;
        self
    }

    /// The exact size of the image in bytes, a multiple of 512. Without it, it is what the content needs, rounded up to whole
    /// GiB (which EBS wants, and which costs nothing in a sparse file).
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Free space to leave in the root filesystem, beyond what is reserved for root. An exact size leaves what it leaves.
    #[must_use]
    pub fn free(mut self, free: Free) -> Self {
        self.free = free;
        self
    }

    /// The label of the root filesystem, at most 16 bytes.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The UUID of the root filesystem. Without it, it is derived from the tree and this specification, as the identifiers of the disk and
    /// its partitions are in any case. Names, attributes and sizes count, but not the bytes of files, which planning doesn't read: two
    /// images that differ in these alone have the same identifiers, and confuse a machine that has both.
    #[must_use]
    pub fn uuid(mut self, uuid: Uuid) -> Self {
        self.uuid = Some(uuid);
        self
    }

    /// When the filesystem was made. Without it, the newest modification in the tree. e2fsck finds fault with a time that is more than a
    /// day after its own clock, which nobody here looks at; a superblock knows none before 1970.
    #[must_use]
    pub fn time(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// Blocks that only root may use, in hundredths of a percent: 500 (5 %) by default, 5000 at most.
    #[must_use]
    pub fn reserved(mut self, hundredths_of_a_percent: u16) -> Self {
        self.reserved = hundredths_of_a_percent;
        self
    }

    /// How many inodes the root filesystem has.
    #[must_use]
    pub fn inodes(mut self, inodes: InodeCount) -> Self {
        self.inodes = inodes;
        self
    }

    /// How large the journal is.
    #[must_use]
    pub fn journal(mut self, journal: Journal) -> Self {
        self.journal = journal;
        self
    }

    /// Whether values of extended attributes that are too large for a block get inodes of their own (the feature `ea_inode`).
    /// GRUB can't read such a filesystem.
    #[must_use]
    pub fn ea_inode(mut self, on: bool) -> Self {
        self.ea_inode = on;
        self
    }

    /// Whether inodes that are deleted while open are noted in a file instead of a list (the feature `orphan_file`). Kernels
    /// since 5.15 know it, and many small files are deleted faster with it; others may mount such a filesystem too.
    #[must_use]
    pub fn orphan_file(mut self, on: bool) -> Self {
        self.orphan_file = on;
        self
    }

    /// How the image starts. An image that is only a filesystem is started by somebody else.
    #[must_use]
    pub fn boot(mut self, boot: Boot) -> Self {
        self.boot = boot;
        self
    }

    /// The path of the kernel that starts; without it, the newest in the tree.
    #[must_use]
    pub fn kernel(mut self, path: impl Into<String>) -> Self {
        self.kernel = Some(path.into());
        self
    }

    /// The kernel's whole command line, in place of the default (`root=PARTUUID=… rootwait ro`, the consoles, and
    /// what the target wants).
    #[must_use]
    pub fn cmdline(mut self, line: impl Into<String>) -> Self {
        self.cmdline = Some(line.into());
        self
    }

    /// More for the kernel's command line; may be called several times.
    #[must_use]
    pub fn append(mut self, arguments: impl Into<String>) -> Self {
        self.append.push(arguments.into());
        self
    }

    /// What becomes of a `grub.cfg` that is in the tree.
    #[must_use]
    pub fn grub_config(mut self, config: GrubConfig) -> Self {
        self.grub_config = config;
        self
    }

    /// An EFI system partition of so many bytes, rounded up to whole MiB, even if nothing needs one. FAT32 takes 33 MiB or more.
    #[must_use]
    pub fn esp(mut self, bytes: u64) -> Self {
        self.esp = Some(bytes);
        self
    }

    /// Where the image is to run: the tree becomes a host there, see [`HostSpec::target`], and the kernel is told what it
    /// has to know. Without it, the tree is changed as far as booting needs, and the command line is what serves everywhere. It
    /// takes the place of what [`host`](Self::host) was given.
    #[must_use]
    pub fn target(self, target: Target) -> Self {
        self.host(HostSpec::target(target))
    }

    /// What the tree is made into before it becomes an image.
    #[must_use]
    pub fn host(mut self, host: HostSpec) -> Self {
        self.host = host;
        self
    }

    /// The label as the superblock stores it.
    pub(crate) fn label_bytes(&self) -> Result<[u8; 16]> {
        let mut bytes = [0; 16];
        let label = self.label.as_bytes();
        if label.len() > bytes.len() || label.contains(&0) {
            return Err(Error::input(format!(
                "the label `{}` is {} bytes long: ext4 holds 16, none of them NUL",
                self.label.escape_debug(),
                label.len()
            )));
        }
        bytes[..label.len()].copy_from_slice(label);
        Ok(bytes)
    }

    /// Everything that tells one specification from another, as text to derive identifiers from.
    pub(crate) fn canonical(&self) -> String {
        // What came later is said only when it is asked for, so that nobody else's identifiers change.
        let orphan_file = if self.orphan_file { " orphan_file=true" } else { "" };
        let host = self.host.canonical();
        format!(
            "table={:?} size={:?} free={:?} label={} uuid={:?} time={:?} reserved={} inodes={:?} journal={:?} \
             ea_inode={} esp={:?} boot={:?} kernel={:?} cmdline={:?} append={:?} grub_config={:?}{host}{orphan_file}",
            self.table,
            self.size,
            self.free,
            self.label.escape_debug(),
            self.uuid,
            self.time,
            self.reserved,
            self.inodes,
            self.journal,
            self.ea_inode,
            self.esp,
            self.boot,
            self.kernel,
            self.cmdline,
            self.append,
            self.grub_config
        )
    }
}
