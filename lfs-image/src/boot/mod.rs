//! What makes a disk start.

pub(crate) mod bios;
pub(crate) mod cmdline;
pub(crate) mod grub;
pub(crate) mod kernel;
mod lzma;
mod pe;
mod root;
pub(crate) mod stub;
pub(crate) mod uki;

#[cfg(test)]
mod judges;
#[cfg(test)]
mod proof;

pub(crate) use root::Root;

use crate::raw::blob::Blob;
use crate::raw::guid::Uuid;

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
