//! How to start a disk: command lines for QEMU, configurations for Xen.

use std::fmt;
use std::path::Path;

use lfs_image::image::Firmware;
use serde::Serialize;

/// The ways of starting a disk that suit what is on it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    qemu: Vec<Qemu>,
    xen: Vec<Xen>,
}

/// A machine of QEMU's, with the firmware where Debian's packages put it.
#[derive(Clone, Debug, Serialize)]
struct Qemu {
    firmware: &'static str,
    /// The program and its arguments.
    command: Vec<String>,
}

/// A guest of Xen's.
#[derive(Clone, Debug, Serialize)]
struct Xen {
    /// `hvm`, `pv` or `pvh`.
    guest: &'static str,
    /// What starts it: `bios`, `uefi`, `pygrub` or `pvgrub2`.
    by: &'static str,
    /// The file that `xl create` takes.
    xl_cfg: String,
}

/// From Debian's packages ovmf and qemu-efi-aarch64.
const OVMF: &str = "/usr/share/ovmf/OVMF.fd";
const AAVMF: &str = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd";
/// From Debian's package grub-xen-host. It reads the grub.cfg on the guest's disk.
const PVGRUB2: &str = "/usr/lib/grub-xen/grub-i386-xen_pvh.bin";

impl Run {
    /// For a disk that these firmwares start, and that has a grub.cfg or hasn't; `None` where nothing starts it.
    pub(crate) fn new(image: &Path, firmware: Firmware, grub_cfg: bool) -> Option<Self> {
        let qemu = [
            (firmware.bios, "bios", "qemu-system-x86_64 -machine q35", None),
            (firmware.uefi_x86_64, "uefi", "qemu-system-x86_64 -machine q35", Some(OVMF)),
            (firmware.uefi_aarch64, "uefi", "qemu-system-aarch64 -machine virt", Some(AAVMF)),
        ];
        let x86 = firmware.bios || firmware.uefi_x86_64;
        let xen = [
            (firmware.bios, "hvm", "bios", "firmware = \"bios\"\nserial = \"pty\"\n".to_owned()),
            (firmware.uefi_x86_64, "hvm", "uefi", "firmware = \"uefi\"\nserial = \"pty\"\n".to_owned()),
            (x86 && grub_cfg, "pv", "pygrub", "bootloader = \"pygrub\"\n".to_owned()),
            (x86 && grub_cfg, "pvh", "pvgrub2", format!("kernel = \"{PVGRUB2}\"\n")),
        ];
        let run = Self {
            qemu: qemu
                .into_iter()
                .filter(|(suits, ..)| *suits)
                .map(|(_, name, machine, bios)| Qemu {
                    firmware: name,
                    command: command(image, machine, bios),
                })
                .collect(),
            xen: xen
                .into_iter()
                .filter(|(suits, ..)| *suits)
                .map(|(_, guest, by, how)| Xen { guest, by, xl_cfg: xl_cfg(image, guest, &how) })
                .collect(),
        };
        (!run.qemu.is_empty()).then_some(run)
    }
}

/// The disk is on NVMe, as in EC2: kernels that know no other disk without a RAM disk mostly know this one.
fn command(image: &Path, machine: &str, bios: Option<&str>) -> Vec<String> {
    let words = machine.split(' ').chain(["-cpu", "max", "-m", "1G", "-nographic"]);
    let mut command: Vec<String> = words.map(str::to_owned).collect();
    command.extend(bios.into_iter().flat_map(|bios| ["-bios".to_owned(), bios.to_owned()]));
    // A comma parts options unless it is doubled.
    let file = image.display().to_string().replace(',', ",,");
    command.extend(["-drive".to_owned(), format!("file={file},format=raw,if=none,id=disk")]);
    command.extend(["-device".to_owned(), "nvme,drive=disk,serial=disk".to_owned()]);
    command
}

fn xl_cfg(image: &Path, guest: &str, how: &str) -> String {
    let name = image.file_stem().unwrap_or_default().to_string_lossy();
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "_");
    // Xen's tools don't run where this does.
    let image = std::path::absolute(image).unwrap_or_else(|_| image.to_owned());
    let image = image.display().to_string();
    // A string knows no escapes, only two kinds of quotes.
    let quote = if image.contains('"') { '\'' } else { '"' };
    // `target` is the last option and takes the rest, commas and all.
    format!(
        "name = \"{name}\"\ntype = \"{guest}\"\n{how}memory = 1024\nvcpus = 2\n\
         disk = [ {quote}format=raw, vdev=xvda, access=rw, target={image}{quote} ]\n\
         # vif = [ \"bridge=xenbr0\" ]\n"
    )
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Qemu { firmware, command } in &self.qemu {
            let arm = if command[0].ends_with("aarch64") { ", 64-bit ARM" } else { "" };
            writeln!(
                f,
                "\nQEMU, {}{arm} (add -accel kvm where there is KVM; Ctrl-A X ends it)",
                long(firmware)
            )?;
            let mut line = "  ".to_owned();
            for word in command.iter().map(|word| quoted(word)) {
                if matches!(&*word, "-bios" | "-drive" | "-device") {
                    writeln!(f, "{line}\\")?;
                    line = "    ".to_owned();
                }
                line += &word;
                line.push(' ');
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        for Xen { guest, by, xl_cfg } in &self.xen {
            let needs = match *guest {
                "hvm" => String::new(),
                guest => format!(" (a kernel with CONFIG_XEN_{})", guest.to_uppercase()),
            };
            writeln!(f, "\nxl.cfg, {} guest by {}{needs}", guest.to_uppercase(), long(by))?;
            for line in xl_cfg.lines() {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

/// Firmware by the name that people know it by.
fn long(name: &str) -> &str {
    match name {
        "bios" => "BIOS",
        "uefi" => "UEFI",
        other => other,
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
