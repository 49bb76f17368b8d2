//! What is left out of a snapshot is noise on an encrypted volume: all the same, its disk is sound and starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_judge::{Config, Judge, View};

use crate::push::{nothing_to_complain, ok, push_file, start};
use crate::support::qemu::Machine;
use crate::support::{judge, rootfs, scratch};

/// How long a machine may take, firmware and all, on a machine that does nothing else.
const BOUND: Duration = Duration::from_secs(180);
/// Of [`zeros`].
const SUM: &str = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58";

/// A file of a MiB of zeros that are no hole: they are relied on.
fn zeros(folder: &Path) -> String {
    let file = folder.join("zeros");
    std::fs::write(&file, vec![0; 1 << 20]).unwrap();
    format!("root/zeros={}", file.display())
}

/// A push, and the volume that an account which encrypts by default makes of it.
fn volume(judge: &Judge, folder: &Path, archive: &Path, options: &[&str]) -> PathBuf {
    let told = ok(&push_file(judge, folder, archive, &[&["--json"], options].concat()));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["snapshot"]["encrypted"], true, "{told}");
    let volume = folder.join("volume.img");
    judge.save_volume(told["snapshot"]["id"].as_str().unwrap(), View::Encrypted, &volume).unwrap();
    volume
}

#[test]
fn an_encrypted_volume_starts_and_is_written_to() {
    let judge = start(Config { encryption_by_default: true, ..Config::default() });
    let folder = scratch();
    let archive = rootfs::tiny("amd64", folder.path(), &["--add", &zeros(folder.path())]);
    let volume = volume(&judge, folder.path(), &archive, &["--name", "noise"]);
    nothing_to_complain(&judge);
    judge::sgdisk(&volume).unwrap();
    let partitions = judge::partitions(&volume).unwrap();
    let root = partitions.last().unwrap().offset;
    let esp = partitions.iter().find(|partition| partition.name == "esp").unwrap();
    judge::e2fsck(&volume, root).unwrap();
    judge::vfat(&volume, esp.offset, esp.len).unwrap();

    let machine = Machine::new(&volume).keep_writes();
    if !machine.is_there() {
        return;
    }
    let mut guest = machine.start();
    guest.wait_for("TINY-ROOT-UP", BOUND);
    guest.wait_for("tiny# ", BOUND);
    let (status, said) = guest.shell("sha256sum /root/zeros", BOUND);
    assert!(status == 0 && said.contains(SUM), "{said}");
    // Space that was noise is taken: blocks, inode tables, directories.
    let busy = "mount -o remount,rw / && mkdir /new && for d in 0 1 2 3 4 5 6 7; do mkdir /new/$d && \
                for f in 0 1 2 3 4 5 6 7 8 9; do echo $d$f >/new/$d/$f; done; done && cp /root/zeros /new/copy && \
                sync && sha256sum /new/copy && cat /new/7/9";
    let (status, said) = guest.shell(busy, BOUND);
    assert!(status == 0 && said.contains(SUM) && said.contains("79"), "{said}");
    let (status, said) = guest.shell("mount -o remount,ro /", BOUND);
    assert_eq!(status, 0, "{said}");
    guest.type_line("exit");
    guest.wait_for_power_off(BOUND);
    judge::e2fsck(&volume, root).unwrap();
}

/// The noise is a judge: where zeros are left out that something relies on, the same file is another.
#[test]
fn zeros_that_are_left_out_are_missed() {
    if !judge::require(&["debugfs"]) {
        return;
    }
    let judge = start(Config { encryption_by_default: true, ..Config::default() });
    let folder = scratch();
    let archive = rootfs::tiny("amd64", folder.path(), &["--add", &zeros(folder.path())]);
    for (options, whole) in [(&["--name", "whole"][..], true), (&["--name", "holes", "--omit-zeros"], false)]
    {
        let volume = volume(&judge, folder.path(), &archive, options);
        let root = judge::partitions(&volume).unwrap().last().unwrap().offset;
        let out = folder.path().join("zeros.out");
        judge::debugfs(&volume, root, &format!("dump /root/zeros {}", out.display())).unwrap();
        let zeros = std::fs::read(&out).unwrap().iter().all(|byte| *byte == 0);
        assert_eq!(zeros, whole, "{options:?}");
    }
}
