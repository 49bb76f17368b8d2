//! A guest that installs another kernel: the disk starts with it, by the GRUB that is on it.

use std::path::Path;
use std::time::Duration;

use crate::boot::comes_up;
use crate::raw;
use crate::support::qemu::Machine;
use crate::support::rootfs::{self, Tiny};
use crate::support::{judge, scratch};

/// What an administrator types: another kernel under another name, another line in the menu, and the old kernel gone.
const UPGRADE: [&str; 7] = [
    "mount -o remount,rw /",
    "cp /root/new-kernel /boot/vmlinuz-99.1-new",
    "busybox sed -i -e 's|/boot/vmlinuz-[^ ]*|/boot/vmlinuz-99.1-new upgraded=yes|' /boot/grub/grub.cfg",
    "rm /boot/vmlinuz-6*",
    "grep -c vmlinuz-99.1-new /boot/grub/grub.cfg",
    "sync",
    "mount -o remount,ro /",
];

fn upgrade(image: &Path, machine: &Machine) {
    let mut guest = machine.clone().keep_writes().start();
    guest.wait_for("TINY-ROOT-UP", Duration::from_secs(180));
    guest.wait_for("tiny# ", Duration::from_secs(60));
    for command in UPGRADE {
        let (status, output) = guest.shell(command, Duration::from_secs(60));
        assert_eq!(status, 0, "{command}: {output}");
    }
    guest.type_line("poweroff -f");
    guest.wait_for_power_off(Duration::from_secs(60));
    let root = judge::partitions(image).unwrap().last().unwrap().offset;
    judge::e2fsck(image, root).unwrap();
}

#[test]
fn a_kernel_that_the_guest_installed_starts() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let new = std::fs::read(rootfs::kit("amd64").kernel).unwrap();
    let tiny = Tiny::new("amd64").grub("bookworm", "i386-pc").grub("bookworm", "x86_64-efi").file(
        "root/new-kernel",
        &new,
        folder.path(),
    );
    raw(&tiny.make(folder.path()), &out, &["--size", "512M"]);
    let machine = Machine::new(&out);
    if !machine.is_there() {
        return;
    }
    upgrade(&out, &machine);
    for machine in [machine.clone(), machine.uefi()] {
        comes_up(&machine, &["BOOT_IMAGE=/boot/vmlinuz-99.1-new", "upgraded=yes", "root=PARTUUID="]);
    }
}
