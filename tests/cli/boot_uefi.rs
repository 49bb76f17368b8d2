//! What UEFI starts, on PCs and on 64-bit ARM machines: GRUB, a unified kernel image on systemd's stub, a kernel behind our
//! own; and the disk that both firmwares start.

use std::process::Command;

use crate::boot::{comes_up, judged};
use crate::raw;
use crate::support::qemu::Machine;
use crate::support::rootfs::Tiny;
use crate::support::{judge, must, scratch};

/// Makes an image, which is said to start under UEFI by this, and starts it there. With a RAM disk in the tree it starts
/// from a virtio disk, which the kernel alone can't.
#[track_caller]
fn starts(tiny: &Tiny, options: &[&str], by: &str, words: &[&str]) {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let arm64 = tiny.is_arm64();
    let initrd = tiny.has_initrd();
    let options = [&["--json", "--size", "512M"], options].concat();
    let said = raw(&tiny.make(folder.path()), &out, &options);
    assert!(said.contains(&format!("\"UEFI: {by}")), "{said}");
    judged(&out);
    judge::sgdisk(&out).unwrap();
    let machine = Machine::new(&out).uefi();
    let machine = if arm64 { machine.arm64() } else { machine };
    let machine = if initrd { machine.bus("virtio") } else { machine };
    let log = comes_up(&machine, &[&["firmware: UEFI", "root=PARTUUID="], words].concat());
    assert_eq!(log.contains("TINY-INITRD-UP"), initrd && !log.is_empty(), "{log}");
}

#[test]
fn one_disk_for_both_firmwares() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let tiny = Tiny::new("amd64").grub("bookworm", "i386-pc").grub("bookworm", "x86_64-efi");
    raw(&tiny.make(folder.path()), &out, &["--size", "512M"]);
    judged(&out);
    let digest = || must(Command::new("sha256sum").arg(&out));
    let before = digest();
    let machine = Machine::new(&out);
    let grub = "GNU GRUB  version 2.06";
    comes_up(&machine, &[grub, "firmware: BIOS"]);
    comes_up(&machine.clone().uefi(), &[grub, "firmware: UEFI"]);
    assert_eq!(digest(), before, "the disk that was started isn't the disk that was made");
}

#[test]
fn grub() {
    let folder = scratch();
    let tiny = Tiny::new("amd64").grub("trixie", "x86_64-efi").initrd(folder.path());
    starts(&tiny, &["--boot", "grub"], "GRUB from /usr/lib/grub/x86_64-efi", &["GNU GRUB  version 2.12"]);
}

#[test]
fn a_unified_kernel_image() {
    let by = "a unified kernel image on /usr/lib/systemd/boot/efi/linuxx64.efi.stub";
    starts(&Tiny::new("amd64").systemd_stub("bookworm"), &[], by, &[]);
    let folder = scratch();
    starts(&Tiny::new("amd64").systemd_stub("trixie").initrd(folder.path()), &["--boot", "uki"], by, &[]);
}

#[test]
fn a_kernel_behind_our_own_stub() {
    let words = ["by-our-own"];
    let options = ["--append", "by-our-own"];
    starts(&Tiny::new("amd64"), &options, "our own stub, because", &words);
    let folder = scratch();
    starts(&Tiny::new("amd64").initrd(folder.path()), &options, "our own stub, because", &words);
}

#[test]
fn arm64_by_our_own_stub() {
    let folder = scratch();
    starts(
        &Tiny::new("arm64").initrd(folder.path()),
        &["--append", "by-our-own"],
        "our own stub",
        &["by-our-own"],
    );
}

#[test]
fn arm64_by_grub() {
    let tiny = Tiny::new("arm64").grub("bookworm", "arm64-efi");
    starts(&tiny, &[], "GRUB from /usr/lib/grub/arm64-efi", &["GNU GRUB  version 2.06"]);
    let folder = scratch();
    let tiny = Tiny::new("arm64").grub("trixie", "arm64-efi").initrd(folder.path());
    starts(&tiny, &[], "GRUB from /usr/lib/grub/arm64-efi", &["GNU GRUB  version 2.12"]);
}

#[test]
fn arm64_by_a_unified_kernel_image() {
    let by = "a unified kernel image on /usr/lib/systemd/boot/efi/linuxaa64.efi.stub";
    starts(&Tiny::new("arm64").systemd_stub("bookworm"), &[], by, &[]);
    let folder = scratch();
    starts(&Tiny::new("arm64").systemd_stub("trixie").initrd(folder.path()), &["--boot", "uki"], by, &[]);
}
