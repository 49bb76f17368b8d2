//! Why the command failed, in words for a person: `error:`, `caused by:`, `hint:`; and its exit code.
//!
//! The library's errors say what and where. What a person can do about it is said here, since it is said in options.

use std::error::Error as _;
use std::io;
use std::path::Path;

use lfs_image::{Error, ErrorKind};

use crate::interrupt;

/// Exit code of a failure.
const FAILED: u8 = 1;

/// An error, and perhaps what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) hint: Option<String>,
    /// What is still there, and how to remove it.
    pub(crate) left: Vec<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = refusal_hint(&error);
        Self { error, hint, left: Vec::new() }
    }
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self.error.kind() {
            ErrorKind::Interrupted => interrupt::EXIT_CODE,
            _ => FAILED,
        }
    }

    /// Whether nobody reads stdout any more, which is no reason to complain.
    pub(crate) fn is_stdout_closed(&self) -> bool {
        self.error.to_string() == STDOUT && io_kind(&self.error) == Some(io::ErrorKind::BrokenPipe)
    }
}

/// What a failed write of a result is called.
pub(crate) const STDOUT: &str = "write to stdout";

/// What was being done, which tells what an error means to a person.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    /// Reading archives, perhaps into a temporary file in this directory.
    Read { spool_dir: &'a Path },
    /// Planning a disk.
    Plan,
    /// Writing an image.
    Write,
    /// Writing what was taken out of one.
    Extract,
}

impl Step<'_> {
    /// An error with a hint, where there is something to hint at.
    pub(crate) fn explain(self, error: Error) -> Failure {
        let hint = self.hint(&error);
        Failure { error, hint, left: Vec::new() }
    }

    fn hint(self, error: &Error) -> Option<String> {
        let says = |word: &str| chain(error).iter().any(|message| message.contains(word));
        let kind = error.kind();
        let full = io_kind(error) == Some(io::ErrorKind::StorageFull);
        match self {
            Self::Read { spool_dir } if full => Some(format!(
                "the content is unpacked to {}: `--spool-dir` names another directory",
                spool_dir.display()
            )),
            Self::Read { .. } if says("a disk image, not a tar archive") => {
                Some("`inspect`, `ls` and `push` read disks, but in plain files alone: unpack it first".to_owned())
            }
            Self::Read { .. } if says("not a tar archive") => {
                Some("plain tar is read, and tar in gzip, zstd, xz or bzip2".to_owned())
            }
            Self::Read { .. } if says("the most that may be unpacked") => {
                Some("`--max-size` sets the limit; an archive you trust doesn't need one".to_owned())
            }
            Self::Plan if says("(ea_inode): GRUB") => {
                Some("`--boot stub` starts the kernel without GRUB; without `--ea-inode` GRUB can".to_owned())
            }
            Self::Plan if says("ea_inode") => {
                Some("`--ea-inode` turns it on, for a disk that GRUB needn't read".to_owned())
            }
            Self::Plan if says("no kernel") || says("nothing can start") => Some(
                "`--boot none` makes a disk that nothing on it starts: QEMU and Xen take the kernel from elsewhere"
                    .to_owned(),
            ),
            Self::Plan if kind == ErrorKind::Capacity && (says("inodes were asked for") || says("an inode for every")) => Some(
                "`--inodes` must be higher, or `--inode-ratio` lower; without them it is enough".to_owned(),
            ),
            Self::Plan if kind == ErrorKind::TooSmall => Some(
                "a larger `--size`, or none: the disk is then as large as the content and `--free` need"
                    .to_owned(),
            ),
            Self::Write if full => {
                Some("`--dry-run` tells the size; what the filesystem leaves free takes no space".to_owned())
            }
            Self::Write if io_kind(error) == Some(io::ErrorKind::BrokenPipe) => {
                Some("the program that reads the image ended before the image did".to_owned())
            }
            Self::Extract if io_kind(error) == Some(io::ErrorKind::BrokenPipe) => {
                Some("the program that reads the archive ended before the archive did".to_owned())
            }
            _ => None,
        }
    }
}

/// The messages of an error and its causes.
pub(crate) fn chain(error: &Error) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        messages.push(error.to_string());
        cause = error.source();
    }
    messages
}

/// What can be done about a service's refusal, or where there was nobody to ask one.
#[cfg(feature = "push")]
fn refusal_hint(error: &Error) -> Option<String> {
    for message in chain(error) {
        if message.contains("no AWS region is configured") {
            return Some("`--region eu-west-1` names one, as does AWS_REGION or `aws configure`".to_owned());
        }
        if message.contains("no AWS credentials could be loaded") {
            return Some("`aws configure` or `aws sso login` gets some, `--profile` names others".to_owned());
        }
    }
    lfs_image::ebs::Refusal::of(error).and_then(lfs_image::ebs::Refusal::hint)
}

#[cfg(not(feature = "push"))]
fn refusal_hint(_error: &Error) -> Option<String> {
    None
}

/// What the operating system said.
fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}
