//! Real systems that start by themselves, under firmware; and what the other boot tests share.

use std::path::Path;
use std::time::Duration;

use crate::raw;
use crate::support::qemu::Machine;
use crate::support::{judge, rootfs, scratch};

/// How long a machine may take, firmware and all, on a machine that does nothing else.
const BOUND: Duration = Duration::from_secs(180);

/// Starts a tiny root: it comes up, and its console has shown all these words by then. Gives all that it has shown.
#[track_caller]
pub(crate) fn comes_up(machine: &Machine, words: &[&str]) -> String {
    if !machine.is_there() {
        return String::new();
    }
    let mut guest = machine.start();
    guest.wait_for("TINY-ROOT-UP", BOUND);
    guest.wait_for("tiny# ", BOUND);
    let log = guest.log();
    for word in words {
        assert!(log.contains(word), "the console doesn't show {word:?}:\n{log}");
    }
    log
}

/// Starts machines; the console of each shows these words.
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
pub(crate) fn judged(image: &Path) {
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
