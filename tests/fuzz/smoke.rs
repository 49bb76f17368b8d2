//! The fuzz targets over their corpora and over mutations of them, without a fuzzer: the same inputs every time.

#![allow(unreachable_pub, missing_docs, missing_debug_implementations, reason = "modules of one test binary")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, speak, and look around"
)]

mod bodies;
#[path = "../../lfs-image-cli/src/ext4_dirs.rs"]
mod ext4_dirs;
#[path = "../../lfs-image-cli/src/ext4_extents.rs"]
mod ext4_extents;
#[path = "../../lfs-image-cli/src/ext4_raw.rs"]
mod ext4_raw;
#[path = "../../lfs-image-cli/src/ext4_tree.rs"]
mod ext4_tree;
#[path = "../../lfs-image-cli/src/ext4_xattrs.rs"]
mod ext4_xattrs;
mod filesystems;
#[path = "../../lfs-image-cli/src/usage.rs"]
#[allow(dead_code, reason = "the command uses more of it")]
mod usage;

use std::path::Path;

use bodies::mutate::smoke;

/// The seeds of a target.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    files(&folder)
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn archives() {
    let mut all = corpus("archive");
    smoke(&all, 1, 4000, bodies::archive::archive);
    // The large ones, not as often.
    all = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/tar"));
    for (_, bytes) in &mut all {
        bytes.push(0);
    }
    smoke(&all, 2, 300, bodies::archive::archive);
}

#[test]
fn trees() {
    smoke(&corpus("tree"), 3, 60, |input| drop(bodies::tree::make(input)));
}

#[test]
fn trees_are_clean_for_e2fsck() {
    let sbin = "/usr/bin:/bin:/usr/sbin:/sbin";
    if std::process::Command::new("e2fsck").arg("-V").env("PATH", sbin).output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "e2fsck is missing");
        eprintln!("SKIPPED: e2fsck is missing");
        return;
    }
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = folder.path().join("out.img");
    let mut images = 0;
    for (name, input) in corpus("tree") {
        let Some((image, bytes)) = bodies::tree::make(&input) else { continue };
        let complaints = bodies::tree::e2fsck(&path, &image, &bytes);
        assert!(complaints.is_empty(), "{name}: {complaints}");
        images += 1;
    }
    assert!(images >= 8, "most seeds are refused");
}

#[test]
fn disks() {
    smoke(&corpus("disk"), 4, 400, |input| bodies::disk::disk(input, &mut filesystems::filesystems));
}

#[test]
fn boots() {
    smoke(&corpus("boot"), 5, 120, bodies::boot::boot);
}

/// The judge of the trees must see what is wrong.
#[test]
fn the_judge_is_not_blind() {
    let (image, bytes) = corpus("tree").iter().find_map(|(_, input)| bodies::tree::make(input)).unwrap();
    let root = image.partitions().last().unwrap().offset;
    // Counts of the superblock and of the first group; a bitmap; the root directory's links.
    let descriptor = bytes.get(root + 4096, 64);
    let le = |at: usize| u64::from(u32::from_le_bytes(descriptor[at..at + 4].try_into().unwrap()));
    for at in
        [1024 + 0x0c, 1024 + 0x10, 4096 + 0x0c, 4096 + 0x10, le(0) * 4096 + 77, le(8) * 4096 + 256 + 0x1a]
    {
        let mut damaged = (*bytes).clone();
        let byte = damaged.get(root + at, 1)[0];
        damaged.put(root + at, &[byte ^ 4]);
        let result = std::panic::catch_unwind(|| bodies::fsck::fsck(&damaged, root));
        assert!(result.is_err(), "a bit at byte {at} was flipped and nothing is wrong");
    }
}
