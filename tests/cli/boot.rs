//! Images that start by themselves, under firmware.

use std::path::Path;
use std::time::Duration;

use crate::raw;
use crate::support::qemu::Machine;
use crate::support::{judge, rootfs, scratch};

/// Makes an image and starts it; the console shows these words.
#[track_caller]
fn starts(machines: &[Machine], words: &str) {
    for machine in machines {
        if machine.is_there() {
            machine.start().wait_for(words, Duration::from_secs(300));
        }
    }
}

/// Every judge of tables and filesystems on a bootable disk.
#[track_caller]
fn judged(image: &Path) {
    judge::sfdisk(image).unwrap();
    let partitions = judge::partitions(image).unwrap();
    judge::e2fsck(image, partitions.last().unwrap().offset).unwrap();
    for esp in partitions.iter().filter(|partition| partition.name == "esp") {
        judge::vfat(image, esp.offset, esp.len).unwrap();
    }
}

#[test]
fn debian_starts_under_both_firmwares() {
    let folder = scratch();
    let archive = rootfs::debian("debian-systemd", folder.path());
    let out = folder.path().join("out.img");
    raw(&archive, &out, &[]);
    judge::sgdisk(&out).unwrap();
    judged(&out);
    starts(&[Machine::new(&out), Machine::new(&out).uefi()], "login:");
}

#[test]
fn lfs_starts_under_both_firmwares() {
    let folder = scratch();
    let archive = rootfs::debian("lfs-sysv", folder.path());
    let out = folder.path().join("out.img");
    raw(&archive, &out, &[]);
    judged(&out);
    starts(&[Machine::new(&out), Machine::new(&out).uefi()], "login:");
    raw(&archive, &out, &["--table", "mbr"]);
    judged(&out);
    starts(&[Machine::new(&out)], "login:");
}

#[test]
fn a_kernel_alone_starts_by_our_own_loaders() {
    let folder = scratch();
    let archive = rootfs::tiny("amd64", folder.path(), &[]);
    let out = folder.path().join("out.img");
    for table in ["gpt", "mbr"] {
        raw(&archive, &out, &["--boot", "stub", "--table", table]);
        judged(&out);
        let mut machines = vec![Machine::new(&out)];
        if table == "gpt" {
            machines.push(Machine::new(&out).uefi());
        }
        starts(&machines, "TINY-ROOT-UP");
    }
}

#[test]
fn an_arm64_kernel_starts() {
    let folder = scratch();
    let archive = rootfs::tiny("arm64", folder.path(), &[]);
    let out = folder.path().join("out.img");
    raw(&archive, &out, &[]);
    judged(&out);
    starts(&[Machine::new(&out).arm64()], "TINY-ROOT-UP");
}
