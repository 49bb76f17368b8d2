//! What a PC's BIOS starts: GRUB of two releases and our own loader, by both kinds of table, from a disk that the kernel
//! knows by itself (NVMe) and from one that it needs an initial RAM disk for (virtio).

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use crate::boot::{comes_up, judged};
use crate::raw;
use crate::support::qemu::Machine;
use crate::support::rootfs::Tiny;
use crate::support::{judge, scratch};

/// Makes images by both tables, without and with a RAM disk, and starts each under a BIOS.
#[track_caller]
fn matrix(tiny: impl Fn() -> Tiny, options: &[&str], words: &[&str]) {
    for table in ["gpt", "mbr"] {
        for initrd in [false, true] {
            let folder = scratch();
            let out = folder.path().join("out.img");
            let (mut tiny, mut words) = (tiny(), words.to_vec());
            let mut machine = Machine::new(&out);
            if initrd {
                tiny = tiny.initrd(folder.path());
                machine = machine.bus("virtio");
            }
            let options = [&["--table", table, "--size", "256M"], options].concat();
            let said = raw(&tiny.make(folder.path()), &out, &options);
            judged(&out);
            let (root, _) = said.split_once(' ').unwrap();
            words.extend(["firmware: BIOS", root]);
            let log = comes_up(&machine, &words);
            assert_eq!(log.contains("TINY-INITRD-UP"), initrd && !log.is_empty(), "{log}");
        }
    }
}

#[test]
fn grub_2_06() {
    let tiny = || Tiny::new("amd64").grub("bookworm", "i386-pc");
    matrix(tiny, &["--boot", "grub"], &["GNU GRUB  version 2.06", "Booting `"]);
}

#[test]
fn grub_2_12() {
    let tiny = || Tiny::new("amd64").grub("trixie", "i386-pc");
    matrix(tiny, &["--boot", "grub"], &["GNU GRUB  version 2.12", "Booting `"]);
}

#[test]
fn our_own_loader() {
    matrix(|| Tiny::new("amd64"), &["--append", "by-our-own"], &["lfs-image .", "by-our-own"]);
}

/// A disk that can't start must not pass for one that does.
#[test]
fn a_broken_kernel_is_seen() {
    if !judge::require(&["debugfs"]) {
        return;
    }
    let folder = scratch();
    let out = folder.path().join("out.img");
    let tiny = Tiny::new("amd64").grub("bookworm", "i386-pc");
    raw(&tiny.make(folder.path()), &out, &["--size", "256M"]);
    let root = judge::partitions(&out).unwrap().last().unwrap().offset;
    let kernel = tiny.kernel_in_root();
    let block: u64 = judge::debugfs(&out, root, &format!("bmap {kernel} 0")).unwrap().trim().parse().unwrap();
    // The magic number of the boot protocol.
    let magic = root + block * 4096 + 0x202;
    let disk = std::fs::File::options().read(true).write(true).open(&out).unwrap();
    let mut bytes = [0; 4];
    disk.read_exact_at(&mut bytes, magic).unwrap();
    assert_eq!(&bytes, b"HdrS");
    disk.write_all_at(b"h", magic).unwrap();
    let machine = Machine::new(&out);
    if machine.is_there() {
        let words =
            ["TINY-ROOT-UP", "you need to load the kernel first", "invalid magic number", "version too old"];
        let (which, log) = machine.start().wait_for_any(&words, Duration::from_secs(180));
        assert_ne!(which, 0, "it started all the same:\n{log}");
    }
}
