//! Which way a disk starts: a pure function of what the tree has and what was asked for.

use super::Arch;
use crate::error::{Error, Result};

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Method {
    /// The best that the tree allows, for every firmware that its machine may have.
    #[default]
    Auto,
    /// GRUB from the tree, where it has the files.
    Grub,
    /// A unified kernel image on the tree's systemd stub: UEFI only.
    Uki,
    /// Our own loaders.
    Stub,
    /// Nothing: somebody else starts the kernel.
    None,
}

/// How a PC's BIOS starts it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bios {
    Grub,
    /// Our own loader, with a payload partition.
    Loader,
}

/// How UEFI starts it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Efi {
    Grub,
    Uki,
    /// Our own stub.
    Stub,
}

/// What a tree has to boot with. A missing part comes with the reason for a person.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) arch: Arch,
    /// The kernel's path.
    pub(crate) kernel: String,
    /// Whether the kernel has the x86 boot protocol.
    pub(crate) bzimage: bool,
    /// Whether UEFI can start the kernel.
    pub(crate) efi_stub: bool,
    /// Whether the kernel is 64-bit.
    pub(crate) is_64_bit: bool,
    /// Whether the kernel is a compressed EFI program, which GRUB 2.06 doesn't know.
    pub(crate) zboot: bool,
    /// Whether there is a RAM disk that this kernel is too old to ask UEFI for.
    pub(crate) old_initrd: bool,
    /// Where GRUB for BIOS is.
    pub(crate) grub_pc: Result<String, String>,
    /// Where GRUB for UEFI is.
    pub(crate) grub_efi: Result<String, String>,
    /// Where the systemd stub is.
    pub(crate) systemd_stub: Result<String, String>,
}

/// What was chosen, and why.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Choice {
    pub(crate) bios: Option<Bios>,
    pub(crate) efi: Option<Efi>,
    /// One line for each firmware.
    pub(crate) reasons: Vec<String>,
}

impl Choice {
    /// Whether there is a partition with the kernel for our own BIOS loader.
    pub(crate) fn needs_payload(&self) -> bool {
        self.bios == Some(Bios::Loader)
    }

    /// Whether there is an EFI system partition.
    pub(crate) fn needs_esp(&self) -> bool {
        self.efi.is_some()
    }

    /// Whether GRUB reads a grub.cfg.
    pub(crate) fn uses_grub(&self) -> bool {
        self.bios == Some(Bios::Grub) || self.efi == Some(Efi::Grub)
    }
}

/// Chooses. The refusal says for each firmware why it can't be.
pub(crate) fn choose(facts: &Facts, method: Method, gpt: bool) -> Result<Choice> {
    if method == Method::None {
        return Ok(Choice {
            reasons: vec!["nothing on the disk starts it, as asked".into()],
            ..Choice::default()
        });
    }
    let bios = bios(facts, method);
    let efi = if gpt {
        efi(facts, method)
    } else {
        Err("a disk with a master boot record gets no EFI system partition: use a GPT".to_owned())
    };
    if let (Err(bios), Err(efi)) = (&bios, &efi) {
        return Err(Error::input(format!("nothing can start {}: BIOS: {bios}; UEFI: {efi}", facts.kernel)));
    }
    let mut reasons = Vec::new();
    for (firmware, found) in
        [("BIOS", bios.as_ref().map(|(_, why)| why)), ("UEFI", efi.as_ref().map(|(_, why)| why))]
    {
        reasons.push(match found {
            Ok(why) => format!("{firmware}: {why}"),
            Err(why) => format!("{firmware} doesn't start it: {why}"),
        });
    }
    Ok(Choice { bios: bios.ok().map(|(b, _)| b), efi: efi.ok().map(|(e, _)| e), reasons })
}

fn bios(facts: &Facts, method: Method) -> Result<(Bios, String), String> {
    if facts.arch == Arch::Aarch64 {
        return Err("arm64 machines have none".into());
    }
    let grub = || match &facts.grub_pc {
        Ok(path) if facts.bzimage => Ok((Bios::Grub, format!("GRUB from {path}"))),
        Ok(_) => Err("GRUB starts bzImages only, which the kernel isn't".to_owned()),
        Err(why) => Err(why.clone()),
    };
    let loader = |why: &str| {
        if facts.bzimage {
            Ok((Bios::Loader, format!("our own loader, because {why}")))
        } else {
            Err("our own loader starts bzImages only, which the kernel isn't".to_owned())
        }
    };
    match method {
        Method::Auto => grub().or_else(|why| loader(&why)),
        Method::Grub => grub(),
        Method::Stub => loader("that was asked for"),
        Method::Uki => Err("a unified kernel image, as asked for, is for UEFI only".into()),
        Method::None => Err("nothing was asked for".into()),
    }
}

fn efi(facts: &Facts, method: Method) -> Result<(Efi, String), String> {
    let startable =
        if facts.efi_stub { Ok(()) } else { Err("the kernel is built without CONFIG_EFI_STUB".to_owned()) };
    let grub = || {
        let path = facts.grub_efi.clone()?;
        if !facts.is_64_bit {
            return Err("the kernel isn't 64-bit".to_owned());
        }
        if facts.zboot {
            return Err("GRUB may not know a compressed EFI kernel".to_owned());
        }
        // On x86 GRUB has the boot protocol to fall back on.
        if facts.arch == Arch::Aarch64 {
            startable.clone()?;
        }
        Ok((Efi::Grub, format!("GRUB from {path}")))
    };
    let uki = |why: &str| {
        let path = facts.systemd_stub.clone()?;
        startable.clone()?;
        Ok((Efi::Uki, format!("a unified kernel image on {path}, because {why}")))
    };
    let stub = |why: &str| {
        startable.clone()?;
        if facts.old_initrd {
            return Err(
                "our own stub hands a RAM disk to Linux 5.8 and later, and the kernel is older".to_owned()
            );
        }
        Ok((Efi::Stub, format!("our own stub, because {why}")))
    };
    match method {
        Method::Auto => grub().or_else(|no_grub: String| {
            uki(&no_grub).or_else(|no_uki: String| {
                let why = if no_grub == no_uki { no_grub } else { format!("{no_grub}; {no_uki}") };
                stub(&why)
            })
        }),
        Method::Grub => grub(),
        Method::Uki => uki("that was asked for"),
        Method::Stub => stub("that was asked for"),
        Method::None => Err("nothing was asked for".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit kernel with an EFI stub, and nothing else.
    fn bare() -> Facts {
        let missing = |what: &str| Err(format!("there is no {what}"));
        Facts {
            arch: Arch::X86_64,
            kernel: "/boot/vmlinuz".into(),
            bzimage: true,
            efi_stub: true,
            is_64_bit: true,
            zboot: false,
            old_initrd: false,
            grub_pc: missing("GRUB for i386-pc"),
            grub_efi: missing("GRUB for x86_64-efi"),
            systemd_stub: missing("systemd stub"),
        }
    }

    fn full() -> Facts {
        let found = |path: &str| Ok(path.to_owned());
        Facts { grub_pc: found("/pc"), grub_efi: found("/efi"), systemd_stub: found("/stub"), ..bare() }
    }

    fn chosen(facts: &Facts, method: Method, gpt: bool) -> (Option<Bios>, Option<Efi>) {
        let choice = choose(facts, method, gpt).unwrap();
        (choice.bios, choice.efi)
    }

    #[test]
    fn the_best_that_there_is() {
        use Method::Auto;
        assert_eq!(chosen(&full(), Auto, true), (Some(Bios::Grub), Some(Efi::Grub)));
        assert_eq!(chosen(&full(), Auto, false), (Some(Bios::Grub), None));
        assert_eq!(chosen(&bare(), Auto, true), (Some(Bios::Loader), Some(Efi::Stub)));
        assert_eq!(chosen(&bare(), Auto, false), (Some(Bios::Loader), None));
        // LFS: GRUB for BIOS only.
        let lfs = Facts { grub_pc: Ok("/pc".into()), ..bare() };
        assert_eq!(chosen(&lfs, Auto, true), (Some(Bios::Grub), Some(Efi::Stub)));
        let systemd = Facts { systemd_stub: Ok("/stub".into()), ..bare() };
        assert_eq!(chosen(&systemd, Auto, true), (Some(Bios::Loader), Some(Efi::Uki)));
        let no_efi = Facts { efi_stub: false, ..bare() };
        assert_eq!(chosen(&no_efi, Auto, true), (Some(Bios::Loader), None));
        let no_efi = Facts { efi_stub: false, ..full() };
        assert_eq!(chosen(&no_efi, Auto, true), (Some(Bios::Grub), Some(Efi::Grub)));
        let small = Facts { is_64_bit: false, efi_stub: false, ..full() };
        assert_eq!(chosen(&small, Auto, true), (Some(Bios::Grub), None));
        let zboot = Facts { zboot: true, bzimage: false, ..full() };
        assert_eq!(chosen(&zboot, Auto, true), (None, Some(Efi::Uki)));
        let arm = Facts { arch: Arch::Aarch64, bzimage: false, ..bare() };
        assert_eq!(chosen(&arm, Auto, true), (None, Some(Efi::Stub)));
        let old = Facts { old_initrd: true, ..bare() };
        assert_eq!(chosen(&old, Auto, true), (Some(Bios::Loader), None));
    }

    #[test]
    fn what_was_asked_for() {
        assert_eq!(chosen(&full(), Method::Uki, true), (None, Some(Efi::Uki)));
        assert_eq!(chosen(&full(), Method::Stub, true), (Some(Bios::Loader), Some(Efi::Stub)));
        assert_eq!(chosen(&full(), Method::None, true), (None, None));
        let lfs = Facts { grub_pc: Ok("/pc".into()), ..bare() };
        assert_eq!(chosen(&lfs, Method::Grub, true), (Some(Bios::Grub), None));
    }

    #[test]
    fn reasons_and_refusals() {
        let refusal = |facts: &Facts, method, gpt| choose(facts, method, gpt).unwrap_err().to_string();
        let arm = Facts { arch: Arch::Aarch64, bzimage: false, efi_stub: false, ..bare() };
        assert_eq!(
            refusal(&arm, Method::Auto, true),
            "nothing can start /boot/vmlinuz: BIOS: arm64 machines have none; UEFI: the kernel is built without \
             CONFIG_EFI_STUB"
        );
        assert!(refusal(&full(), Method::Uki, false).ends_with("no EFI system partition: use a GPT"));
        assert!(refusal(&bare(), Method::Uki, true).contains("UEFI: there is no systemd stub"));
        assert!(
            refusal(&bare(), Method::Grub, true)
                .contains("BIOS: there is no GRUB for i386-pc; UEFI: there is")
        );
        assert_eq!(
            choose(&bare(), Method::Auto, true).unwrap().reasons,
            [
                "BIOS: our own loader, because there is no GRUB for i386-pc",
                "UEFI: our own stub, because there is no GRUB for x86_64-efi; there is no systemd stub"
            ]
        );
        assert_eq!(
            choose(&full(), Method::Auto, false).unwrap().reasons[1],
            "UEFI doesn't start it: a disk with a master boot record gets no EFI system partition: use a GPT"
        );
    }
}
