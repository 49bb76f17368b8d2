//! For which machine the programs of a tree are, to be compared with its kernel.

use object::elf;

use super::Arch;
use super::kernel::Image;
use super::root::{Root, le16};

/// Programs that a system can't do without, one of which it has.
const PROGRAMS: [&str; 5] =
    ["/sbin/init", "/usr/lib/systemd/systemd", "/bin/sh", "/bin/bash", "/usr/bin/env"];

/// The first of some programs that is an ELF file, and its machine.
pub(crate) fn machine(root: Root<'_>) -> Option<(&'static str, u16)> {
    PROGRAMS.into_iter().find_map(|path| {
        let head = root.head(&root.file(path)?.to_blob(), 64).ok()?;
        // EI_DATA: 1 is little-endian, as all machines here are.
        let is_elf = head.starts_with(b"\x7fELF") && head.get(5) == Some(&1);
        Some((path, le16(&head, 18).filter(|_| is_elf)?))
    })
}

/// Whether a kernel runs programs for this machine.
pub(crate) fn runs(kernel: &Image, machine: u16) -> bool {
    match kernel.arch {
        Arch::X86_64 => machine == elf::EM_386.0 || (machine == elf::EM_X86_64.0 && kernel.is_64_bit),
        Arch::Aarch64 => machine == elf::EM_AARCH64.0 || machine == elf::EM_ARM.0,
    }
}

/// What a person calls a machine.
pub(crate) fn name(machine: u16) -> String {
    match elf::Machine(machine) {
        elf::EM_386 => "32-bit x86".into(),
        elf::EM_X86_64 => "x86-64".into(),
        elf::EM_ARM => "32-bit arm".into(),
        elf::EM_AARCH64 => "arm64".into(),
        elf::EM_RISCV => "RISC-V".into(),
        _ => format!("ELF machine {machine}"),
    }
}
