//! Large and deep: many directories, many extents, files of terabytes; and beside mke2fs.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::raw;
use crate::support::mount::Mount;
use crate::support::{compare, judge, must, run, scratch};

const BARE: &[&str] = &["--table", "none", "--boot", "none"];

/// A folder as GNU tar packs it, with holes.
fn pack(folder: &Path) -> PathBuf {
    let archive = folder.with_extension("tar");
    must(
        Command::new("tar")
            .args(["-S", "--format=posix", "-cf"])
            .arg(&archive)
            .arg("-C")
            .arg(folder)
            .arg("."),
    );
    archive
}

#[test]
fn more_subdirectories_than_a_link_count_holds() {
    if !judge::require(&["e2fsck", "debugfs", "python3"]) {
        return;
    }
    let folder = scratch();
    let archive = folder.path().join("tree.tar");
    // Not from a folder: making and removing that many takes a while.
    let script = "import sys, tarfile\n\
        tar = tarfile.open(sys.argv[1], 'w')\n\
        for n in range(66000):\n    \
            info = tarfile.TarInfo(f'many/d{n}')\n    \
            info.type, info.mode = tarfile.DIRTYPE, 0o755\n    \
            tar.addfile(info)\n\
        tar.close()";
    must(Command::new("python3").args(["-c", script]).arg(&archive));
    let out = folder.path().join("out.img");
    raw(&archive, &out, BARE);
    judge::e2fsck(&out, 0).unwrap();
    let stat = judge::debugfs(&out, 0, "stat /many").unwrap();
    assert!(stat.contains("Links: 1 "), "{stat}");
    if judge::require_mounts() {
        let mount = Mount::read_write(&out, 0);
        let many = mount.path().join("many");
        assert_eq!(many.read_dir().unwrap().count(), 66_000);
        // The kernel goes on where we stopped.
        std::fs::create_dir(many.join("one-more")).unwrap();
        for n in 0..66_000 {
            assert!(many.join(format!("d{n}")).is_dir());
        }
        mount.finish().unwrap();
        judge::e2fsck(&out, 0).unwrap();
    }
}

#[test]
fn files_of_terabytes_and_of_many_pieces() {
    if !judge::require(&["e2fsck", "tar"]) || !judge::require(compare::NEEDS) {
        return;
    }
    let folder = scratch();
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    // As large as a file of ext4 gets, less what the filesystem under the tests may refuse.
    let terabytes = File::create(tree.join("terabytes")).unwrap();
    let largest = (1_u64 << 44) - 4096;
    if terabytes.set_len(largest).is_err() {
        terabytes.set_len(1 << 40).unwrap();
    }
    let len = terabytes.metadata().unwrap().len();
    for at in [0, 4096, 1 << 32, (1 << 39) + 5, len - 3] {
        terabytes.write_all_at(b"abc", at).unwrap();
    }
    // Every other block: a tree of extents two levels deep.
    let mut pieces = File::create(tree.join("pieces")).unwrap();
    for n in 0..10_000_u64 {
        pieces.seek(SeekFrom::Start(n * 8192)).unwrap();
        pieces.write_all(&n.to_le_bytes().repeat(512)).unwrap();
    }
    drop(pieces);
    let archive = pack(&tree);
    // The time and the space are those of the data.
    assert!(archive.metadata().unwrap().len() < 60 << 20);
    let out = folder.path().join("out.img");
    raw(&archive, &out, &[BARE, &["--free", "1M"]].concat());
    assert!(out.metadata().unwrap().len() <= 1 << 30);
    judge::e2fsck(&out, 0).unwrap();
    compare::image(&archive, &out, 0, &[]).unwrap();
    let levels = judge::debugfs(&out, 0, "dump_extents -n /pieces").unwrap();
    assert!(levels.lines().any(|line| line.trim_start().starts_with("0/ 2")), "{levels}");
}

#[test]
fn the_superblock_is_as_mke2fs_makes_it() {
    if !judge::require(&["mke2fs", "dumpe2fs", "e2fsck", "tar"]) {
        return;
    }
    let folder = scratch();
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let archive = pack(&tree);
    for size in ["9M", "64M", "200M", "1G", "3G", "40G", "1500G"] {
        let ours = folder.path().join("ours.img");
        raw(&archive, &ours, &[BARE, &["--size", size, "--label", "Beside"]].concat());
        judge::e2fsck(&ours, 0).unwrap();
        let ours = judge::dumpe2fs(&ours, 0).unwrap();
        let theirs = folder.path().join("theirs.img");
        must(Command::new("truncate").args(["-s", size]).arg(&theirs));
        let uuid = judge::field(&ours, "Filesystem UUID").to_owned();
        let seed = format!("hash_seed={}", judge::field(&ours, "Directory Hash Seed"));
        // Small ones have other defaults there: blocks of 1 KiB, more inodes.
        must(
            Command::new("mke2fs")
                .args(["-q", "-t", "ext4", "-T", "default", "-b", "4096", "-i", "16384", "-I", "256"])
                .args(["-O", "^metadata_csum_seed,^orphan_file", "-L", "Beside", "-U", &uuid, "-E", &seed])
                .arg(&theirs),
        );
        let theirs = judge::dumpe2fs(&theirs, 0).unwrap();
        let differing =
            ["Filesystem created", "Last write time", "Last checked", "Lifetime writes", "Checksum:"];
        let same = |dump: &str| -> Vec<String> {
            let lines = dump.lines().filter(|line| !differing.iter().any(|name| line.starts_with(name)));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(same(&ours), same(&theirs), "{size}");
    }
}

#[test]
fn the_kernel_uses_the_orphan_file() {
    if !judge::require(&["e2fsck", "dumpe2fs", "tar"]) || !judge::require_mounts() {
        return;
    }
    let folder = scratch();
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    for n in 0..100 {
        std::fs::write(tree.join(n.to_string()), n.to_string()).unwrap();
    }
    let out = folder.path().join("out.img");
    raw(&pack(&tree), &out, &[BARE, &["--orphan-file", "--size", "256M"]].concat());
    judge::e2fsck(&out, 0).unwrap();
    assert!(judge::field(&judge::dumpe2fs(&out, 0).unwrap(), "Filesystem features").contains("orphan_file"));
    let crashed = folder.path().join("crashed.img");
    let mount = Mount::read_write(&out, 0);
    let open: Vec<File> = (0..100).map(|n| File::open(mount.path().join(n.to_string())).unwrap()).collect();
    for n in 0..100 {
        std::fs::remove_file(mount.path().join(n.to_string())).unwrap();
    }
    must(Command::new("sync").arg("-f").arg(mount.path()));
    // As if the power failed now.
    must(Command::new("cp").args(["--sparse=always"]).arg(&out).arg(&crashed));
    drop(open);
    mount.finish().unwrap();
    judge::e2fsck(&out, 0).unwrap();
    let repaired = run(Command::new("e2fsck").args(["-fy"]).arg(&crashed));
    let said = String::from_utf8_lossy(&repaired.stdout).into_owned();
    assert!(said.contains("orphaned inode"), "{said}");
    judge::e2fsck(&crashed, 0).unwrap();
}
