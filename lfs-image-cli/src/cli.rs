//! What can be typed: clap types only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::size::{self, FreeSize, JournalSize};

/// Turn a root filesystem tarball into a bootable raw disk image.
///
/// One process: no root, no loop devices, no external programs.
#[derive(Debug, Parser)]
#[command(name = "lfs-image", version, long_version = LONG_VERSION, propagate_version = true)]
pub(crate) struct Cli {
    /// Say nothing but errors and the result.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Print one JSON object as the result.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\ncodecs: gzip zstd (C) xz bzip2");

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Raw(RawArgs),
    Inspect(InspectArgs),
    Completions(CompletionsArgs),
}

/// Write a raw disk image: partition table and ext4, straight from the tarball.
///
/// The last line on standard output is the argument that tells a Linux kernel where its root filesystem is, and the path of
/// the image: `root=PARTUUID=… out.img`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lfs-image raw rootfs.tar.zst out.img
  lfs-image raw rootfs.tar out.img --free 2G --label lfs
  lfs-image raw base.tar out.img --overlay site.tar --table mbr
  curl -s https://example.org/rootfs.tar.xz | lfs-image raw - out.img --size 8G")]
pub(crate) struct RawArgs {
    /// The root filesystem: a tar archive, plain or compressed with gzip, zstd, xz or bzip2; `-` reads standard input.
    pub(crate) rootfs: PathBuf,
    /// The image to write; `-` writes to standard output.
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) image: ImageArgs,
    /// Plan the image and print the plan, but write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the SHA-256 of the image, too.
    #[arg(long)]
    pub(crate) digest: bool,
    /// Wait until the image is on the disk before it gets its name.
    #[arg(long)]
    pub(crate) sync: bool,
}

/// What the image is made of and what it is like.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// One more archive over those before it; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) overlay: Vec<PathBuf>,
    /// Take `.wh.NAME` and `.wh..wh..opq` in overlays as deletions, as container layers have them.
    #[arg(long)]
    pub(crate) whiteouts: bool,
    /// The partition table.
    #[arg(long, value_enum, default_value_t = Table::Gpt)]
    pub(crate) table: Table,
    /// The exact size of the image: 8G and 8GiB are 2^30 bytes each, 8GB is 10^9. Default: what the content needs, rounded
    /// up to whole GiB.
    #[arg(long, value_parser = size::parse)]
    pub(crate) size: Option<u64>,
    /// Space to leave free in the root filesystem: 512M, or 20% of it.
    #[arg(long, default_value = "20%", value_parser = size::parse_free)]
    pub(crate) free: FreeSize,
    /// The label of the root filesystem, up to 16 bytes.
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// The UUID of the root filesystem. Default: derived from the content, so that the same input gives the same image.
    #[arg(long)]
    pub(crate) uuid: Option<String>,
    /// Percent of the blocks that only root may use.
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = size::parse_percent)]
    pub(crate) reserved: u16,
    /// How many inodes the root filesystem has at least.
    #[arg(long, value_name = "N", conflicts_with = "inode_ratio")]
    pub(crate) inodes: Option<u64>,
    /// One inode for so many bytes.
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    pub(crate) inode_ratio: Option<u64>,
    /// The size of the journal, `auto` or `none`.
    #[arg(long, default_value = "auto", value_parser = size::parse_journal)]
    pub(crate) journal: JournalSize,
    /// Store extended attributes that are too large for a block in inodes of their own. GRUB can't read such a filesystem.
    #[arg(long)]
    pub(crate) ea_inode: bool,
    /// How the disk starts.
    #[arg(long, value_enum, default_value_t = BootMethod::Auto)]
    pub(crate) boot: BootMethod,
    /// The kernel to start, as its path in the tarball. Default: the newest /boot/vmlinuz*.
    #[arg(long, value_name = "PATH")]
    pub(crate) kernel: Option<String>,
    /// The kernel's whole command line. Default: `root=PARTUUID=… rootwait ro` and the consoles.
    #[arg(long, value_name = "LINE")]
    pub(crate) cmdline: Option<String>,
    /// More for the kernel's command line; may be given several times.
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    pub(crate) append: Vec<String>,
    /// What becomes of a grub.cfg in the tarball; one that is replaced is kept beside the new one.
    #[arg(long, value_enum, default_value_t = GrubCfg::Auto)]
    pub(crate) grub_cfg: GrubCfg,
    /// Make an EFI system partition of this size, even if nothing needs one.
    #[arg(long, value_parser = size::parse, value_name = "SIZE")]
    pub(crate) esp: Option<u64>,
    /// When the filesystem was made, in seconds since 1970. Default: the environment's SOURCE_DATE_EPOCH, else the newest
    /// modification in the tarball.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) time: Option<i64>,
    /// The most bytes of content to unpack from compressed archives.
    #[arg(long, value_parser = size::parse, value_name = "SIZE")]
    pub(crate) max_size: Option<u64>,
    /// Where content of compressed or piped archives waits. Default: beside the image.
    #[arg(long, value_name = "DIR")]
    pub(crate) spool_dir: Option<PathBuf>,
}

/// How the disk starts.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BootMethod {
    /// The best that the tarball allows, for BIOS and UEFI.
    Auto,
    /// GRUB from the files in the tarball.
    Grub,
    /// A unified kernel image on the tarball's systemd stub: UEFI only.
    Uki,
    /// Loaders of our own, which need nothing but the kernel.
    Stub,
    /// Nothing on the disk starts it.
    None,
}

/// What becomes of a grub.cfg.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GrubCfg {
    /// It stays if it can work on this disk.
    Auto,
    /// It stays.
    Keep,
    /// It is replaced.
    Replace,
}

/// A kind of partition table.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Table {
    /// A GUID partition table.
    Gpt,
    /// The classic table in sector 0.
    Mbr,
    /// None: the image is the filesystem.
    None,
}

/// Show what is in an image, or what would come of a tarball.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lfs-image inspect out.img --usage 2
  lfs-image inspect rootfs.tar.zst --plan")]
pub(crate) struct InspectArgs {
    /// A raw disk image, a bare ext4 filesystem, or a tarball.
    pub(crate) file: PathBuf,
    /// Print the plan of a tarball's image: every stretch of the disk.
    #[arg(long)]
    pub(crate) plan: bool,
    /// Sum up directories down to this depth.
    #[arg(long, value_name = "DEPTH", default_value_t = 1)]
    pub(crate) usage: usize,
    #[command(flatten)]
    pub(crate) image: ImageArgs,
}

/// Print shell completions.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lfs-image completions bash > ~/.local/share/bash-completion/completions/lfs-image")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}
