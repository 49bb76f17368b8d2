//! What makes a disk start: from the files in the tarball, or from a few hundred bytes of our own.
//!
//! ```text
//!            what is in the tree           ->  what the disk gets
//! BIOS  grub    usr/lib/grub/i386-pc           boot sector, core image (gap or BIOS boot partition), grub.cfg
//!       bios    a bzImage                      boot sector, second stage, payload partition
//! UEFI  grub    usr/lib/grub/{x86_64,arm64}-efi  GRUB as EFI program, grub.cfg
//!       uki     systemd's linux*.efi.stub      kernel, command line and RAM disk behind that stub
//!       stub    a kernel with CONFIG_EFI_STUB  the same behind our own
//! ```
//!
//! It goes in three steps. [`Survey::look`] finds `kernel`s and loaders in a tree. [`Survey::choose`] is a pure function
//! of that and of the options: it says which partitions the disk needs, and why. [`Survey::plan`] makes the bytes; it
//! wants to know the root filesystem's identity ([`Disk`]) and where loaders go ([`Areas`]), which are fixed before
//! anything is laid out, and gives the files of the EFI system partition and the [`Edit`]s of the tree, which are
//! laid out then. Kernels and RAM disks stay in the store all the way.
//!
//! Not here: Secure Boot, boot entries in firmware variables (every image is found by its fallback path), a separate
//! /boot partition, loaders for other file systems.

pub(crate) mod bios;
mod choose;
pub(crate) mod cmdline;
mod edit;
pub(crate) mod grub;
pub(crate) mod kernel;
mod lzma;
mod menu;
mod pe;
mod plan;
pub(crate) mod stub;
pub(crate) mod uki;
pub(crate) mod userland;

#[cfg(test)]
mod judges;

pub(crate) use choose::Method;
pub(crate) use edit::{Edit, apply};
pub(crate) use menu::GrubCfg;
pub(crate) use plan::{Areas, BootPlan, Options, Survey};

use crate::raw::guid::Uuid;
use crate::tree::root;

/// The part of sector 0 that holds code: the disk signature follows.
pub(crate) const BOOT_CODE: usize = 440;

/// A machine that a kernel is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    /// The machine in the header of EFI programs.
    pub(crate) fn machine(self) -> u16 {
        match self {
            Self::X86_64 => pe::MACHINE_AMD64,
            Self::Aarch64 => pe::MACHINE_ARM64,
        }
    }

    /// What firmware starts from a disk that no boot entry names: the path on the EFI system partition.
    /// Source: UEFI 2.10, 3.5.1.1.
    pub(crate) fn fallback(self) -> &'static str {
        match self {
            Self::X86_64 => "EFI/BOOT/BOOTX64.EFI",
            Self::Aarch64 => "EFI/BOOT/BOOTAA64.EFI",
        }
    }
}

/// What loaders must know of the disk before it is laid out. All of it follows from options and the seed.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// Whether the partition table is a GPT; else it is a master boot record.
    pub(crate) gpt: bool,
    /// The root filesystem's partition, counted from 1.
    pub(crate) root_partition: u32,
    /// That partition as the kernel's `root=PARTUUID=` names it.
    pub(crate) root_partuuid: String,
    /// The UUID of the root filesystem.
    pub(crate) root_fs: Uuid,
    /// Its label, if it has one.
    pub(crate) root_label: Option<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A GPT with the root filesystem on its third partition.
    pub(crate) fn disk() -> Disk {
        Disk {
            gpt: true,
            root_partition: 3,
            root_partuuid: "aaaaaaaa-bbbb-8ccc-8ddd-eeeeeeeeeeee".into(),
            root_fs: "11111111-2222-8333-8444-555555555555".parse().unwrap(),
            root_label: Some("LFS".into()),
        }
    }
}
