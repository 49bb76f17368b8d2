//! What can be typed to look into images and archives: `ls`, `cat`, `extract`, `diff`; and `init`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::cli::{ArchiveArgs, ImageArgs};
use crate::compare::Aspect;
use crate::host::HostArgs;

/// List what is in an image or an archive.
///
/// FILE is a disk image, a bare ext4 filesystem, a block device, or an archive as `raw` takes it. Symbolic links on the way to
/// PATH lead where they would if the image were running. Nothing is mounted and nobody has to be root.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  lfs-image ls out.img
  lfs-image ls -l out.img /etc
  lfs-image ls -R rootfs.tar.zst /boot
  lfs-image ls --json -R out.img / |
    jq -r '.entries[] | select(.xattrs) | .path'")]
pub(crate) struct Ls {
    /// An image or an archive; `-` is an archive from stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// What to list
    #[arg(value_name = "PATH", default_value = "/")]
    pub(crate) path: PathBuf,

    /// Show types, permissions, links, owners, sizes and times (in UTC), too; `+` marks extended attributes
    #[arg(short, long)]
    pub(crate) long: bool,

    /// Nothing is hidden: for fingers that type `-la`
    #[arg(short, hide = true)]
    pub(crate) all: bool,

    /// List all that is below
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,

    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

/// Print files of an image or an archive.
///
/// Symbolic links are followed, inside the image.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  lfs-image cat out.img /etc/fstab
  lfs-image cat rootfs.tar.zst boot/grub/grub.cfg")]
pub(crate) struct Cat {
    /// An image or an archive; `-` is an archive from stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// The files to print, one after the other
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

/// Take the root filesystem out of an image, as a tar archive or as files.
///
/// The archive has all of it: owners, times in nanoseconds, hard links, devices, extended attributes, ACLs, holes; `raw` makes
/// the same filesystem of it again. With --files, OUT is a directory that must be new or empty, and gets what can be made without
/// root: no devices, the caller's owner, no set-user-ID bits, no extended attributes. What is left out is counted.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  lfs-image extract out.img rootfs.tar
  lfs-image extract out.img - | zstd > rootfs.tar.zst
  lfs-image extract out.img etc.tar /etc /root
  lfs-image extract --files out.img files
  lfs-image extract out.img - | sudo tar -C /mnt -x --xattrs \\
    --xattrs-include='*' --acls --numeric-owner")]
pub(crate) struct Extract {
    /// An image or an archive; `-` is an archive from stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// The archive to write, `-` for stdout; or the directory of --files
    #[arg(value_name = "OUT", value_hint = ValueHint::AnyPath)]
    pub(crate) out: PathBuf,

    /// What to take, with all that is below; without it, everything
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    /// Make files in the directory OUT
    #[arg(long)]
    pub(crate) files: bool,

    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

/// Say how the root filesystems of two images or archives differ.
///
/// Names are compared one by one: types, permissions, owners, sizes, content, times of modification to the nanosecond, targets,
/// devices, which names are hard links to one file, extended attributes. Partition tables and boot code are not compared.
///
/// An archive beside an image stands for the filesystem that `raw` makes of it with the same options, edits included; with
/// --plain it is taken as it is. Two archives are always taken as they are.
///
/// A line for each name that differs goes to stdout: `-` it is in the first alone, `+` in the second alone, `~` it differs. The
/// exit code is 0 if nothing does, else 1.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  lfs-image diff rootfs.tar.zst out.img              is it what it was made of?
  lfs-image diff --plain rootfs.tar.zst out.img      what did `raw` edit?
  lfs-image diff old.img new.img
  lfs-image diff --ignore mtime --ignore owner monday.tar tuesday.tar")]
pub(crate) struct Diff {
    /// An image or an archive; `-` is an archive from stdin
    #[arg(value_name = "FIRST", value_hint = ValueHint::FilePath)]
    pub(crate) first: PathBuf,

    /// An image or an archive
    #[arg(value_name = "SECOND", value_hint = ValueHint::FilePath)]
    pub(crate) second: PathBuf,

    /// Take archives as they are, not as `raw` would make them
    #[arg(long)]
    pub(crate) plain: bool,

    /// Leave something out; may be given more than once
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) ignore: Vec<Aspect>,

    #[command(flatten)]
    pub(crate) image: ImageArgs,

    #[command(flatten)]
    pub(crate) host: HostArgs,

    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

/// Write an lfs-image.toml with every option explained.
///
/// Nothing in it is turned on. `--config lfs-image.toml` gives it to the other commands.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  lfs-image init
  lfs-image init -                       print it
  lfs-image raw --config lfs-image.toml rootfs.tar.zst out.img")]
pub(crate) struct Init {
    /// The file to write; `-` is stdout
    #[arg(value_name = "FILE", default_value = "lfs-image.toml", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

impl Extract {
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let is_pipe = crate::spec::is_pipe;
        if self.files && is_pipe(&self.out) {
            return Some("--files makes a directory, which stdout is none; one of that name is ./-");
        }
        self.archive.fault(&self.file)
    }
}

impl Diff {
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let is_pipe = crate::spec::is_pipe;
        if is_pipe(&self.second) {
            return Some("only FIRST can come from stdin");
        }
        self.image.fault().or_else(|| self.host.fault()).or_else(|| self.archive.fault(&self.first))
    }
}
