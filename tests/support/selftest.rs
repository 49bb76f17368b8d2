//! The judges judged: each must pass what mke2fs, sfdisk and the kernel make, and see one thing spoilt in it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "mod.rs"]
mod support;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::qemu::Machine;
use support::{compare, grow, judge, mount::Mount, must, rootfs, scratch};

const MIB: u64 = 1 << 20;

/// A file system that holds `archive`, made by mke2fs and unpacked by GNU tar.
fn ext4(folder: &Path, name: &str, size: u64, offset: u64, archive: Option<&Path>) -> PathBuf {
    let image = folder.join(name);
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&image).unwrap();
    file.set_len((offset + size).max(file.metadata().unwrap().len())).unwrap();
    let blocks = format!("{}k", size / 1024);
    let options = format!("offset={offset}");
    must(
        Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-E", &options])
            .arg(&image)
            .arg(blocks),
    );
    if let Some(archive) = archive {
        let mount = Mount::read_write(&image, offset);
        let keep = [
            "--xattrs",
            "--xattrs-include=*",
            "--acls",
            "--numeric-owner",
            "--delay-directory-restore",
            "-xpf",
        ];
        must(Command::new("tar").arg("-C").arg(mount.path()).args(keep).arg(archive));
        mount.finish().unwrap();
    }
    image
}

/// A disk with a GPT and one partition, a file system in it.
fn disk(folder: &Path, name: &str, size: u64, archive: Option<&Path>) -> PathBuf {
    let image = ext4(folder, name, size - 2 * MIB, MIB, archive);
    OpenOptions::new().write(true).open(&image).unwrap().set_len(size).unwrap();
    let sectors = (size - 2 * MIB) / 512;
    must(
        Command::new("sgdisk")
            .arg("-a1")
            .arg(format!("-n1:2048:+{sectors}"))
            .args(["-c", "1:root"])
            .arg(&image),
    );
    image
}

fn spoil(image: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(image).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

#[test]
fn compare_sees_every_change() {
    if judge::require_mounts()
        && judge::require(compare::NEEDS)
        && judge::require(&["tar", "bsdtar", "mke2fs"])
    {
        let script = support::support_file("test_compare.py");
        must(Command::new("python3").arg(script).env("PYTHONDONTWRITEBYTECODE", "1"));
    }
}

#[test]
fn e2fsck_sees_a_spoilt_byte() {
    if !judge::require(&["e2fsck", "mke2fs", "dumpe2fs", "debugfs"]) {
        return;
    }
    let folder = scratch();
    for offset in [0, 3 * MIB] {
        let image = ext4(folder.path(), &format!("{offset}.img"), 32 * MIB, offset, None);
        let fsck = judge::e2fsck(&image, offset).unwrap();
        assert_eq!((fsck.inodes_used, fsck.blocks), (11, 8192));
        let dump = judge::dumpe2fs(&image, offset).unwrap();
        assert_eq!(judge::field(&dump, "Block count"), "8192");
        assert!(judge::debugfs(&image, offset, "stat <2>").unwrap().contains("Type: directory"));
        judge::debugfs(&image, offset, "stat /nothing").unwrap_err();
        // A free counter in the superblock's first kilobyte, which its checksum covers.
        spoil(&image, offset + 1024 + 0x0c);
        judge::e2fsck(&image, offset).unwrap_err();
    }
}

#[test]
fn table_judges_see_a_spoilt_byte() {
    if !judge::require(&["sgdisk", "sfdisk", "mke2fs"]) {
        return;
    }
    let folder = scratch();
    let image = disk(folder.path(), "disk.img", 16 * MIB, None);
    judge::sgdisk(&image).unwrap();
    judge::sfdisk(&image).unwrap();
    let partitions = judge::partitions(&image).unwrap();
    assert_eq!((partitions.len(), partitions[0].offset, partitions[0].len), (1, MIB, 14 * MIB));
    assert_eq!(partitions[0].name, "root");
    // The backup's entries: the primary still works, and yet.
    spoil(&image, 16 * MIB - 33 * 512 + 40);
    judge::sgdisk(&image).unwrap_err();
}

#[test]
fn fsck_vfat_sees_a_spoilt_byte() {
    if !judge::require(&["fsck.vfat", "mkfs.vfat"]) {
        return;
    }
    let folder = scratch();
    let image = folder.path().join("esp.img");
    must(Command::new("mkfs.vfat").args(["-F", "32", "-C", "--offset=2048"]).arg(&image).arg("67584"));
    let len = std::fs::metadata(&image).unwrap().len();
    judge::vfat(&image, MIB, len - MIB).unwrap();
    // The first entry of the first FAT.
    spoil(&image, MIB + 32 * 512 + 9);
    judge::vfat(&image, MIB, len - MIB).unwrap_err();
}

#[test]
fn the_kernel_complains_of_a_spoilt_inode() {
    if !judge::require_mounts() {
        return;
    }
    let folder = scratch();
    let image = ext4(folder.path(), "image", 32 * MIB, 0, None);
    Mount::read_only(&image, 0).finish().unwrap();
    let place = judge::debugfs(&image, 0, "imap <11>").unwrap();
    let block: u64 =
        place.split("at block ").nth(1).unwrap().split(',').next().unwrap().trim().parse().unwrap();
    // Inode 11, lost+found, is the eleventh of 256 bytes; its mtime is under the checksum.
    spoil(&image, block * 4096 + 10 * 256 + 0x10);
    let mount = Mount::read_only(&image, 0);
    std::fs::read_dir(mount.path().join("lost+found")).unwrap_err();
    mount.finish().unwrap_err();
}

#[test]
fn a_tiny_root_boots_and_answers() {
    let machine = Machine::new(Path::new("none"));
    if !(machine.is_there() && judge::require_mounts()) {
        return;
    }
    let folder = scratch();
    let archive = rootfs::tiny("amd64", folder.path(), &[]);
    let image = disk(folder.path(), "disk.img", 64 * MIB, Some(&archive));
    compare::image(&archive, &image, MIB, &[]).unwrap();
    let kernel = rootfs::kit("amd64").kernel;
    let machine = Machine::new(&image).kernel(&kernel, "root=/dev/nvme0n1p1 ro console=ttyS0 panic=5");
    let mut guest = machine.start();
    let told = guest.wait_for("tiny# ", Duration::from_secs(120));
    assert!(told.contains("TINY-ROOT-UP /dev/root ext4"), "{told}");
    assert_eq!(guest.shell("cat /etc/hostname", Duration::from_secs(30)), (0, "tiny".to_owned()));
    assert_eq!(guest.shell("false", Duration::from_secs(30)).0, 1);
    guest.type_line("exit");
    guest.wait_for_power_off(Duration::from_secs(30));
}

#[test]
fn an_arm_kernel_boots() {
    let machine = Machine::new(Path::new("none")).arm64();
    if !(machine.is_there() && judge::require_mounts()) {
        return;
    }
    let folder = scratch();
    let archive = rootfs::tiny("arm64", folder.path(), &[]);
    let image = ext4(folder.path(), "arm.img", 64 * MIB, 0, Some(&archive));
    let kernel = rootfs::kit("arm64").kernel;
    let machine =
        Machine::new(&image).arm64().kernel(&kernel, "root=/dev/nvme0n1 ro console=ttyAMA0 panic=5");
    let told = machine.start().wait_for("tiny# ", Duration::from_secs(180));
    assert!(told.contains("TINY-ROOT-UP"), "{told}");
}

#[test]
fn growing_is_judged() {
    if !(Machine::new(Path::new("none")).is_there()
        && judge::require_mounts()
        && judge::require(&["resize2fs", "sgdisk"]))
    {
        return;
    }
    let folder = scratch();
    let archive = rootfs::debian("lfs-sysv", folder.path());
    let good = disk(folder.path(), "good.img", 300 * MIB, Some(&archive));
    let copy = |name: &str| {
        let path = folder.path().join(name);
        must(Command::new("cp").arg("--sparse=always").arg(&good).arg(&path));
        path
    };
    grow::offline(&copy("offline"), 20 << 30).unwrap();
    if grow::may_grow_here() {
        grow::online_here(&copy("here"), 20 << 30).unwrap();
    }
    let kernel = rootfs::kit("amd64").kernel;
    grow::online_in_guest(&copy("guest"), 20 << 30, &kernel).unwrap();
}

#[test]
fn system_calls_go_wrong_as_asked() {
    use std::os::unix::process::ExitStatusExt as _;
    use support::fault::{Fault, counted, is_possible};
    if !is_possible() {
        return;
    }
    let folder = scratch();
    let (file, count) = (folder.path().join("file"), folder.path().join("count"));
    std::fs::write(&file, support::noise(100_000)).unwrap();
    let sum = |fault: &Fault| {
        let (output, calls) =
            counted(fault.program(Path::new("/usr/bin/md5sum"), Some(&count)).arg(&file), &count);
        (output.status, String::from_utf8_lossy(&output.stdout).into_owned(), calls)
    };
    let reads = Fault::on(&file).calls("read");
    let (status, right, calls) = sum(&reads);
    assert!(status.success() && calls > 2, "{calls}");
    let (status, said, more) = sum(&reads.clone().cut().every(1));
    assert!(status.success() && said == right && more > calls, "{more} calls when each is cut");
    assert_eq!(sum(&reads.clone().nth(2).error("EIO")).0.code(), Some(1));
    assert_eq!(sum(&reads.clone().nth(2).signal("KILL")).0.signal(), Some(9));
    // Past the last one nothing happens.
    assert_eq!(sum(&reads.clone().nth(calls + 1).error("EIO")).1, right);
    let (status, said, _) = sum(&reads.nth(2).command(&format!("truncate -s 5000 {}", file.display())));
    assert!(status.success() && said != right);
}
