//! Architecture and boot mode of an image: of what can start it, EC2 has to be told.

use super::spec::{Architecture, BootMode};
use crate::boot::Arch;
use crate::error::{Error, Result};
use crate::image::Firmware;

/// Architecture and boot mode of an image that these can start. What was asked for is taken as it is: whoever asks
/// knows more.
/// Refused when nothing can start it, when it could be of two architectures, or when what was asked for doesn't exist.
pub(super) fn choose(
    firmware: &Firmware,
    architecture: Option<Architecture>,
    boot_mode: Option<BootMode>,
) -> Result<(Architecture, BootMode)> {
    let x86_64 = firmware.bios || firmware.uefi_x86_64;
    let architecture = match (architecture, x86_64, firmware.uefi_aarch64) {
        (Some(asked), ..) => asked,
        (None, true, false) => Architecture::X86_64,
        (None, false, true) => Architecture::Arm64,
        (None, true, true) => {
            return Err(Error::input(
                "the image starts on x86-64 and on arm64, and a machine image is for one of them",
            ));
        }
        (None, false, false) if boot_mode == Some(BootMode::LegacyBios) => Architecture::X86_64,
        (None, false, false) => return Err(starts_nowhere()),
    };
    let boot_mode = match (boot_mode, architecture) {
        (Some(mode), Architecture::Arm64) if mode != BootMode::Uefi => {
            return Err(Error::input(format!(
                "arm64 instances start by UEFI alone, and the boot mode is to be {}",
                mode.name()
            )));
        }
        (Some(asked), _) => asked,
        (None, Architecture::Arm64) => BootMode::Uefi,
        (None, Architecture::X86_64) => match (firmware.bios, firmware.uefi_x86_64) {
            (true, true) => BootMode::UefiPreferred,
            (true, false) => BootMode::LegacyBios,
            (false, true) => BootMode::Uefi,
            (false, false) => return Err(starts_nowhere()),
        },
    };
    Ok((architecture, boot_mode))
}

/// What an instance would miss that starts so; none where all is there.
pub(super) fn lacks(firmware: &Firmware, architecture: Architecture, boot_mode: BootMode) -> Option<String> {
    let uefi = match architecture {
        Architecture::X86_64 => firmware.uefi_x86_64,
        Architecture::Arm64 => firmware.uefi_aarch64,
    };
    let fallback = match architecture {
        Architecture::X86_64 => Arch::X86_64,
        Architecture::Arm64 => Arch::Aarch64,
    }
    .fallback();
    let no_uefi = format!("there is no {fallback} on an EFI system partition");
    match boot_mode {
        BootMode::LegacyBios if !firmware.bios => Some("there is no boot code for a BIOS".to_owned()),
        BootMode::UefiPreferred if !firmware.bios => Some("there is no boot code for a BIOS".to_owned()),
        BootMode::Uefi | BootMode::UefiPreferred if !uefi => Some(no_uefi),
        _ => None,
    }
}

fn starts_nowhere() -> Error {
    Error::input(
        "nothing on the image starts it: there is no boot code for a BIOS, and neither EFI/BOOT/BOOTX64.EFI nor \
         EFI/BOOT/BOOTAA64.EFI on an EFI system partition",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_mode_follows_from_what_is_there() {
        use Architecture::{Arm64, X86_64};
        use BootMode::{LegacyBios, Uefi, UefiPreferred};
        let firmware = |bios, uefi_x86_64, uefi_aarch64| Firmware { bios, uefi_x86_64, uefi_aarch64 };
        for (found, chosen) in [
            (firmware(true, true, false), (X86_64, UefiPreferred)),
            (firmware(true, false, false), (X86_64, LegacyBios)),
            (firmware(false, true, false), (X86_64, Uefi)),
            (firmware(false, false, true), (Arm64, Uefi)),
        ] {
            assert_eq!(choose(&found, None, None).unwrap(), chosen);
            assert_eq!(lacks(&found, chosen.0, chosen.1), None);
        }
        let all = firmware(true, true, true);
        assert!(choose(&all, None, None).unwrap_err().to_string().contains("x86-64 and on arm64"));
        assert_eq!(choose(&all, Some(Arm64), None).unwrap(), (Arm64, Uefi));
        assert_eq!(choose(&all, Some(X86_64), Some(LegacyBios)).unwrap(), (X86_64, LegacyBios));
        let none = firmware(false, false, false);
        assert!(choose(&none, None, None).unwrap_err().to_string().contains("BOOTX64.EFI"));
        assert!(choose(&none, Some(X86_64), None).is_err());
        assert_eq!(choose(&none, None, Some(LegacyBios)).unwrap(), (X86_64, LegacyBios));
        assert!(lacks(&none, X86_64, LegacyBios).unwrap().contains("boot code"));
        assert!(lacks(&firmware(true, false, false), X86_64, UefiPreferred).unwrap().contains("BOOTX64.EFI"));
        let error = choose(&none, Some(Arm64), Some(UefiPreferred)).unwrap_err();
        assert!(error.to_string().contains("uefi-preferred"), "{error}");
    }
}
