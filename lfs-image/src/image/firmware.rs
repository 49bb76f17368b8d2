//! Which firmwares start a disk.

use super::disk::DiskPartition;
use super::layout::Role;
use super::plan::Image;
use crate::boot::{Arch, BOOT_CODE};
use crate::error::Result;
use crate::fat;

/// Which firmwares find something to start on a disk, and on which machines.
///
/// # Examples
///
/// ```
/// use lfs_image::image::{Boot, Firmware};
/// use lfs_image::tree::NoStore;
/// use lfs_image::{Image, ImageSpec, Tree};
///
/// let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().boot(Boot::None))?;
/// assert!(image.firmware().is_none());
///
/// // What is known of an image from elsewhere.
/// let mut firmware = Firmware::default();
/// firmware.uefi_x86_64 = true;
/// assert!(!firmware.is_none());
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Firmware {
    /// A PC's BIOS: there is code in the first sector.
    pub bios: bool,
    /// UEFI of x86-64 machines: there is `EFI/BOOT/BOOTX64.EFI` on an EFI system partition.
    pub uefi_x86_64: bool,
    /// UEFI of 64-bit ARM machines: there is `EFI/BOOT/BOOTAA64.EFI`.
    pub uefi_aarch64: bool,
}

/// The directory of what UEFI starts without a boot entry. Source: UEFI 2.10, 3.5.1.1.
const FALLBACK: [fat::Name; 2] = [*b"EFI        ", *b"BOOT       "];

impl Firmware {
    /// None of them.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Looks at what is on a disk with these partitions.
    pub(super) fn of_disk(
        partitions: &[DiskPartition],
        read_at: &dyn Fn(u64, &mut [u8]) -> Result<()>,
    ) -> Result<Self> {
        let mut code = [0; BOOT_CODE];
        read_at(0, &mut code)?;
        let mut found = Self { bios: code.iter().any(|byte| *byte != 0), ..Self::default() };
        for esp in partitions.iter().filter(|partition| partition.role == Some(Role::Esp)) {
            let names = fat::found_names(esp.offset, esp.len, &FALLBACK, read_at)?;
            found.uefi_x86_64 |= names.contains(b"BOOTX64 EFI");
            found.uefi_aarch64 |= names.contains(b"BOOTAA64EFI");
        }
        Ok(found)
    }
}

impl Image {
    /// Which firmwares start the image.
    #[must_use]
    pub fn firmware(&self) -> Firmware {
        let Some(plan) = &self.boot else { return Firmware::default() };
        let uefi = |arch| plan.choice.efi.is_some() && plan.arch == arch;
        Firmware {
            bios: plan.choice.bios.is_some(),
            uefi_x86_64: uefi(Arch::X86_64),
            uefi_aarch64: uefi(Arch::Aarch64),
        }
    }
}
