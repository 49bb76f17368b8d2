//! What can be typed. Types only: [`crate::values`] reads single values, [`crate::spec`] tells what they mean together.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use lfs_image::image::{Free, Journal, Uuid};
use lfs_image::tree::Timestamp;

use crate::host::{HostArgs, Place};
use crate::values;

/// A root filesystem tarball to a bootable raw disk image.
///
/// One process, without root, loop devices or external programs. The same tree and options always give the same bytes.
#[derive(Debug, Parser)]
#[command(
    name = "lfs-image",
    version,
    long_version = LONG_VERSION,
    max_term_width = 100,
    after_long_help = AFTER_HELP
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[cfg(feature = "zstd-c")]
macro_rules! zstd {
    () => {
        "zstd (C)"
    };
}
#[cfg(not(feature = "zstd-c"))]
macro_rules! zstd {
    () => {
        "zstd (Rust)"
    };
}

#[cfg(feature = "push")]
macro_rules! push {
    () => {
        "push and pull (EBS snapshots, AMIs)"
    };
}
#[cfg(not(feature = "push"))]
macro_rules! push {
    () => {
        "none (built without the feature `push`)"
    };
}

const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\narchives: tar, gzip, ",
    zstd!(),
    ", xz, bzip2",
    "\ntables:   gpt, mbr, none",
    "\nboot:     grub, uki, stub",
    "\nroot:     ext4",
    "\nAWS:      ",
    push!(),
);

macro_rules! exit_codes {
    () => {
        "Exit codes: 0 done, 1 failed, 2 used wrongly, 130 interrupted by a signal."
    };
}

/// What manual pages say of it, too.
pub(crate) const EXIT_CODES: &str = exit_codes!();

const AFTER_HELP: &str = concat!(
    "\
Examples:
  lfs-image raw rootfs.tar.zst out.img     make a disk for QEMU, Xen or a cloud
  lfs-image raw --size 8G - out.img        of an exact size, from a pipe
  lfs-image push out.img                   make a machine image (AMI) of it
  lfs-image inspect out.img                show what is on a disk
  lfs-image check --for ec2 rootfs.tar     say what it lacks to run there
  lfs-image inspect rootfs.tar.zst         show what would become of an archive
  lfs-image ls -l out.img /etc             list what is in it
  lfs-image cat out.img /etc/fstab         print a file of it
  lfs-image extract out.img rootfs.tar     take it out again
  lfs-image diff rootfs.tar.zst out.img    say whether it is what it was made of
  lfs-image init                           write a file of all options

",
    exit_codes!(),
    "\nResults go to stdout, everything else to stderr."
);

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Global {
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub(crate) quiet: bool,

    /// Log what is done to stderr; twice for more (RUST_LOG overrides)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,

    /// Print the result as one JSON object
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Raw(Box<Raw>),
    #[cfg(feature = "push")]
    Push(Box<crate::aws::Push>),
    #[cfg(feature = "push")]
    Pull(crate::aws::Pull),
    Inspect(Box<Inspect>),
    Check(Box<Check>),
    Ls(crate::looking::Ls),
    Cat(crate::looking::Cat),
    Extract(crate::looking::Extract),
    Diff(Box<crate::looking::Diff>),
    Init(crate::looking::Init),
    Completions(Completions),
    Man(Man),
}

/// Turn a root filesystem tarball into a bootable raw disk image.
///
/// The archive is plain tar or tar in gzip, zstd, xz or bzip2, told by its content. The image is a sparse file that
/// appears under its name when it is complete.
///
/// stdout gets one line: how the kernel's command line names the root filesystem, and the path. With --digest,
/// `sha256:DIGEST  PATH` comes before it.
#[derive(Args, Debug)]
#[command(after_long_help = RAW_EXAMPLES)]
pub(crate) struct Raw {
    /// The root filesystem's archive; `-` is stdin
    #[arg(value_name = "ROOTFS", value_hint = ValueHint::FilePath)]
    pub(crate) rootfs: PathBuf,

    /// The image to write: a file, a block device, or `-` for stdout, which must be a pipe or a file
    #[arg(value_name = "OUT", value_hint = ValueHint::FilePath, required_unless_present = "dry_run")]
    pub(crate) out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) image: ImageArgs,

    #[command(flatten)]
    pub(crate) host: HostArgs,

    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,

    /// Compute the image's SHA-256, too: holes are hashed as zeros, about a second for each GiB
    #[arg(long, help_heading = "Output")]
    pub(crate) digest: bool,

    /// Wait until the image is on stable storage
    #[arg(long, help_heading = "Output")]
    pub(crate) sync: bool,

    /// Plan only: print what the image would be and every edit of the tree as a diff, write nothing
    #[arg(long, conflicts_with_all = ["digest", "sync"], help_heading = "Output")]
    pub(crate) dry_run: bool,
}

const RAW_EXAMPLES: &str = "\
Examples:
  lfs-image raw rootfs.tar.zst out.img
  lfs-image raw --size 8G --label lfs rootfs.tar out.img
  lfs-image raw --target ec2 --hostname lfs \\
    --authorized-key ~/.ssh/id_ed25519.pub rootfs.tar out.img
  lfs-image raw --overlay config.tar --overlay keys.tar rootfs.tar.xz out.img
  tar -C /mnt/lfs -c --xattrs --numeric-owner . | lfs-image raw - out.img
  lfs-image raw rootfs.tar - | ssh host 'cat > /dev/vdb'
  qemu-system-x86_64 -m 1G -drive file=out.img,format=raw,if=virtio

A kernel from elsewhere is given what the command prints:
  read -r root image < <(lfs-image raw --boot none rootfs.tar out.img)
  qemu-system-x86_64 -m 1G -kernel vmlinuz -append \"$root rootwait\" \\
    -drive file=\"$image\",format=raw,if=virtio";

/// Show what is on an image, or what would become of a tarball.
///
/// FILE is a disk image, a bare ext4 filesystem or a block device, of which the partitions, the filesystem and the use of
/// space are shown; or an archive as `raw` takes it, of which the disk is shown that `raw` would make with the same
/// options. Images are read by another reader of ext4 than the one that writes them. QEMU's command lines and Xen's
/// configurations are shown that start it.
#[derive(Args, Debug)]
#[command(after_long_help = INSPECT_EXAMPLES)]
pub(crate) struct Inspect {
    /// An image or an archive; `-` is an archive from stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Show the disk as a table of stretches, too
    #[arg(long, help_heading = "Output")]
    pub(crate) plan: bool,

    /// How many levels of directories to show the use of space for; 0 leaves it out
    #[arg(long, value_name = "DEPTH", default_value_t = 1, help_heading = "Output")]
    pub(crate) usage: usize,

    #[command(flatten)]
    pub(crate) image: ImageArgs,

    #[command(flatten)]
    pub(crate) host: HostArgs,

    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  lfs-image inspect out.img
  lfs-image inspect --usage 2 out.img
  lfs-image inspect --plan --table mbr rootfs.tar.zst
  lfs-image inspect --json out.img | jq -r .root";

/// Say what a tarball or an image lacks to run somewhere, and what must not be public.
///
/// An archive is looked at as `raw` would make it with the same options and `--target` set to where it is to run; an image as
/// it is. The list goes to stdout, the worst first; exit code 1 if something is fatal.
#[derive(Args, Debug)]
#[command(after_long_help = CHECK_EXAMPLES)]
pub(crate) struct Check {
    /// An image or an archive; `-` is an archive from stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Where it is to run
    #[arg(long = "for", value_enum, value_name = "TARGET")]
    pub(crate) place: Place,

    /// Look for what must not be in an image that everybody may read, too; of an archive before anything is done to it,
    /// unless it is with --scrub
    #[arg(long)]
    pub(crate) public: bool,

    /// The name that a public image is to have
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,

    /// Its description
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,

    /// Exit with 0 in spite of fatal findings
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) image: ImageArgs,

    #[command(flatten)]
    pub(crate) host: HostArgs,

    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  lfs-image check --for ec2 rootfs.tar.zst
  lfs-image check --for ec2 --imds-ssh-key rootfs.tar.zst
  lfs-image check --for ec2 --public --json out.img | jq -r '.findings[].path'";

/// What an image is to be like.
#[derive(Args, Debug)]
pub(crate) struct ImageArgs {
    /// The kind of partition table
    #[arg(long, value_enum, default_value_t = Table::Gpt, help_heading = "Disk")]
    pub(crate) table: Table,

    /// The exact size of the disk; without it, what the content needs, rounded up to whole GiB
    #[arg(long, value_parser = values::disk_size, allow_negative_numbers = true, help_heading = "Disk")]
    pub(crate) size: Option<u64>,

    /// Space to leave free in the root filesystem, as a size or a percentage of it [default: 20%]
    #[arg(long, value_name = "SIZE|PERCENT%", value_parser = values::free, conflicts_with = "size",
          help_heading = "Disk")]
    pub(crate) free: Option<Free>,

    /// Make an EFI system partition of at least this size, even if nothing needs one
    #[arg(long, value_name = "SIZE", value_parser = values::nonzero_size, help_heading = "Disk")]
    pub(crate) esp: Option<u64>,

    /// How the disk starts
    #[arg(long, value_enum, default_value_t = BootMethod::Auto, help_heading = "Boot")]
    pub(crate) boot: BootMethod,

    /// The kernel that starts, as its path in the archive; without it, the newest /boot/vmlinuz*
    #[arg(long, value_name = "PATH", help_heading = "Boot")]
    pub(crate) kernel: Option<String>,

    /// The kernel's whole command line; without it, `root=PARTUUID=... rootwait ro` and the consoles
    #[arg(long, value_name = "LINE", help_heading = "Boot")]
    pub(crate) cmdline: Option<String>,

    /// More for the kernel's command line; may be given more than once
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true, help_heading = "Boot")]
    pub(crate) append: Vec<String>,

    /// What becomes of a grub.cfg in the archive; one that is replaced is kept beside the new one
    #[arg(long, value_enum, default_value_t = GrubCfg::Auto, help_heading = "Boot")]
    pub(crate) grub_cfg: GrubCfg,

    /// The label of the root filesystem, at most 16 bytes
    #[arg(long, value_parser = values::label, help_heading = "Filesystem")]
    pub(crate) label: Option<String>,

    /// The UUID of the root filesystem; without it, one derived from the content
    #[arg(long, value_parser = values::uuid, help_heading = "Filesystem")]
    pub(crate) uuid: Option<Uuid>,

    /// Space that only root may use, in percent [default: 5]
    #[arg(long, value_name = "PERCENT", value_parser = values::reserved, help_heading = "Filesystem")]
    pub(crate) reserved: Option<u16>,

    /// How many inodes there are at least; without it, one for each 16 KiB
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
          conflicts_with = "inode_ratio", help_heading = "Filesystem")]
    pub(crate) inodes: Option<u64>,

    /// How many bytes there are for each inode, from 4K to 64M
    #[arg(long, value_name = "BYTES", value_parser = values::nonzero_size, help_heading = "Filesystem")]
    pub(crate) inode_ratio: Option<u64>,

    /// The size of the journal: `auto` as mke2fs makes it, `none`, or at least 4M
    #[arg(long, value_name = "SIZE|auto|none", value_parser = values::journal, default_value = "auto",
          help_heading = "Filesystem")]
    pub(crate) journal: Journal,

    /// Let values of extended attributes be larger than a block; GRUB can't read such a filesystem
    #[arg(long, help_heading = "Filesystem")]
    pub(crate) ea_inode: bool,

    /// Note inodes that are deleted while open in a file, as kernels since 5.15 can
    #[arg(long, help_heading = "Filesystem")]
    pub(crate) orphan_file: bool,

    /// When the filesystem was made, in seconds since 1970; without it, the newest time in the archive
    #[arg(long, value_name = "SECONDS", value_parser = values::time, env = "SOURCE_DATE_EPOCH",
          allow_hyphen_values = true, hide_env_values = true, help_heading = "Filesystem")]
    pub(crate) time: Option<Timestamp>,
}

/// How archives are read.
#[derive(Args, Debug)]
pub(crate) struct ArchiveArgs {
    /// An archive to put over those before it; may be given more than once
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Archives")]
    pub(crate) overlay: Vec<PathBuf>,

    /// In overlays, `.wh.NAME` removes NAME and `.wh..wh..opq` empties its directory, as in OCI images
    #[arg(long, help_heading = "Archives")]
    pub(crate) whiteouts: bool,

    /// A directory in an archive leaves a symbolic link to a directory in place, as tar's option of this name does
    #[arg(long, help_heading = "Archives")]
    pub(crate) keep_directory_symlink: bool,

    /// Refuse compressed or piped archives whose content is larger than this; all else in them may be as much again and
    /// 64 MiB
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Archives")]
    pub(crate) max_size: Option<u64>,

    /// Where compressed or piped archives are unpacked to, in one temporary file [default: the directory of OUT,
    /// or TMPDIR]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Archives")]
    pub(crate) spool_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Table {
    /// A GUID partition table, with room for boot code
    Gpt,
    /// The classic table in the first sector
    Mbr,
    /// A bare filesystem
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BootMethod {
    /// The best that the archive allows, for BIOS and UEFI
    Auto,
    /// GRUB from its files in the archive
    Grub,
    /// A unified kernel image on the archive's systemd stub: UEFI only
    Uki,
    /// Loaders of our own, which need nothing but the kernel
    Stub,
    /// Nothing: whoever runs the disk gives it a kernel
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GrubCfg {
    /// It stays if it can work on this disk
    Auto,
    /// It stays
    Keep,
    /// It is replaced
    Replace,
}

/// Print the completions of a shell.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  cd ~/.local/share/bash-completion/completions &&
    lfs-image completions bash > lfs-image
  lfs-image completions zsh > ~/.zfunc/_lfs-image
  lfs-image completions fish > ~/.config/fish/completions/lfs-image.fish
  lfs-image completions elvish >> ~/.config/elvish/rc.elv
  lfs-image completions powershell >> $PROFILE")]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// Write the manual pages to a directory, or the first one to stdout.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  lfs-image man ~/.local/share/man/man1
  lfs-image man | man -l -")]
pub(crate) struct Man {
    /// A directory; made if it isn't there
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) directory: Option<PathBuf>,
}

impl Cli {
    fn no_json(&self) -> Option<&'static str> {
        self.global.json.then_some("--json has nothing to say here: what is printed is no report")
    }

    /// Refuses what the types allow and can't be done: exits with code 2, as the parser does.
    pub(crate) fn check(&self) {
        let refused = match &self.command {
            Command::Raw(raw) => ("raw", raw.fault(self.global.json).map(str::to_owned)),
            #[cfg(feature = "push")]
            Command::Push(push) => ("push", push.fault()),
            #[cfg(feature = "push")]
            Command::Pull(_) => return,
            Command::Inspect(inspect) => ("inspect", inspect.fault().map(str::to_owned)),
            Command::Check(check) => ("check", check.fault().map(str::to_owned)),
            Command::Diff(diff) => ("diff", diff.fault().map(str::to_owned)),
            Command::Extract(extract) => ("extract", extract.fault().map(str::to_owned)),
            Command::Ls(ls) => ("ls", ls.archive.fault(&ls.file).map(str::to_owned)),
            Command::Cat(cat) => {
                ("cat", self.no_json().or_else(|| cat.archive.fault(&cat.file)).map(str::to_owned))
            }
            Command::Init(_) => ("init", self.no_json().map(str::to_owned)),
            Command::Completions(_) => ("completions", self.no_json().map(str::to_owned)),
            Command::Man(_) => ("man", self.no_json().map(str::to_owned)),
        };
        if let (name, Some(fault)) = refused {
            let mut command = Self::command();
            command.build();
            let command = command.find_subcommand_mut(name).map_or_else(Self::command, |found| found.clone());
            command.clone().error(clap::error::ErrorKind::ArgumentConflict, fault).exit();
        }
    }
}
