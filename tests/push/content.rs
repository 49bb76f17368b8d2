//! What a snapshot holds is what the image holds.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_judge::{BLOCK_SIZE, Config, Judge, View};
use lfs_image::ebs::{RawImage, Settings, Source};
use lfs_image::image::Boot;
use lfs_image::sink::Sink as _;
use lfs_image::{FileSink, Image, ImageSpec, ReadOptions, read_archives};

use crate::child::Job;
use crate::support::{judge, must, project, scratch};

pub(crate) const GIB: u64 = 1 << 30;

/// Bytes that repeat nowhere.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// An image that has no table, of so many blocks of noise.
pub(crate) fn noisy(path: &Path, blocks: usize) {
    std::fs::write(path, noise(blocks as u64, blocks * BLOCK_SIZE)).unwrap();
}

/// A disk from a tarball of the fixtures.
fn disk(path: &Path, spec: &ImageSpec) -> Image {
    let archive = File::open(project().join("fixtures/tar/gnu-posix.tar")).unwrap();
    let input = lfs_image::Input::file("gnu-posix.tar", archive);
    let (tree, store) = read_archives([input], &ReadOptions::new("."), &mut ()).unwrap();
    let image = Image::plan(tree, &store, &spec.clone().boot(Boot::None)).unwrap();
    image.write(&store, FileSink::create(path).unwrap(), &mut ()).unwrap();
    // What a plan sends is what its file is found to need.
    let raw = RawImage::open(path).unwrap();
    let settings = Settings::new();
    let (plan, raw) = (Source::plan(&image, &store), Source::raw(&raw));
    let (planned, found) = (plan.survey(&settings).unwrap(), raw.survey(&settings).unwrap());
    assert!(planned.blocks <= found.blocks && found.blocks <= planned.blocks + 4, "{planned:?}, {found:?}");
    image
}

/// The volume as the judge has it.
pub(crate) fn volume(judge: &Judge, id: &str, view: View, folder: &Path) -> PathBuf {
    let path = folder.join("volume");
    judge.write_volume(id, view, &mut File::create(&path).unwrap()).unwrap();
    path
}

/// Where `volume` differs from `image`, which may be shorter.
#[track_caller]
pub(crate) fn assert_same(image: &Path, volume: &Path) {
    let (a, b) = (File::open(image).unwrap(), File::open(volume).unwrap());
    let (len, all) = (a.metadata().unwrap().len(), b.metadata().unwrap().len());
    assert!(len <= all && all.is_multiple_of(GIB));
    let (mut x, mut y) = (vec![0; BLOCK_SIZE], vec![0; BLOCK_SIZE]);
    for at in (0..len).step_by(BLOCK_SIZE) {
        let n = usize::try_from(len - at).unwrap().min(BLOCK_SIZE);
        a.read_exact_at(&mut x[..n], at).unwrap();
        b.read_exact_at(&mut y[..n], at).unwrap();
        assert!(x[..n] == y[..n], "block {} differs", at / BLOCK_SIZE as u64);
    }
}

#[test]
fn a_file_without_a_table_goes_whole() {
    let folder = scratch();
    let image = folder.path().join("image");
    let mut bytes = noise(1, 9 * BLOCK_SIZE + 1000);
    bytes[3 * BLOCK_SIZE..5 * BLOCK_SIZE].fill(0);
    std::fs::write(&image, &bytes).unwrap();
    let judge = Judge::start(Config::default()).unwrap();
    let (id, outcome) = Job::push(&image).succeed(&judge);
    assert_eq!((outcome.blocks, outcome.kept), (10, 0));
    assert!(outcome.fingerprint_matches);
    assert_same(&image, &volume(&judge, &id, View::Plain, folder.path()));
    let report = judge.report();
    let snapshot = report.only_snapshot();
    assert_eq!((snapshot.block_count, snapshot.resent, snapshot.volume_size), (10, 0, 1));
    assert_eq!(snapshot.description, "a test");
    assert_eq!(snapshot.tags["made-by"], "a test");
    assert!(snapshot.sealed);
    // Zeros are left out only when asked for.
    let mut job = Job::push(&image);
    job.omit_zeros = true;
    assert_eq!(job.succeed(&judge).1.blocks, 8);
}

#[test]
fn free_space_stays_behind_and_may_read_as_noise() {
    if !judge::require(&["e2fsck", "sgdisk", "dumpe2fs"]) {
        return;
    }
    let folder = scratch();
    let image = folder.path().join("image");
    let plan = disk(&image, &ImageSpec::new().size(GIB));
    let judge = Judge::start(Config::default()).unwrap();
    let (id, outcome) = Job::push(&image).succeed(&judge);
    assert!(outcome.blocks < 400, "{outcome:?}");
    assert_same(&image, &volume(&judge, &id, View::Plain, folder.path()));
    let root = plan.partitions().last().unwrap().clone();
    let filesystem = folder.path().join("root");
    cut(&image, root.offset, root.len, &filesystem);
    assert_exact(&judge, &id, root.offset, &filesystem);
    let noisy = volume(&judge, &id, View::Encrypted, folder.path());
    let verdict = must(Command::new("sgdisk").arg("-v").arg(&noisy));
    assert!(verdict.contains("No problems found"), "{verdict}");
    cut(&noisy, root.offset, root.len, &filesystem);
    must(Command::new("e2fsck").arg("-fn").arg(&filesystem));
}

/// A filesystem that mke2fs made and the kernel never saw, with files in it, with features of all ages.
#[test]
fn filesystems_of_others() {
    if !judge::require(&["mke2fs", "e2fsck", "dumpe2fs"]) {
        return;
    }
    for options in [
        &["-t", "ext4"][..],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-O", "^flex_bg,^64bit,sparse_super2"],
        &["-t", "ext4", "-E", "lazy_itable_init=0"],
        &["-t", "ext3"],
        &["-t", "ext2", "-b", "1024"],
    ] {
        let folder = scratch();
        let content = folder.path().join("content");
        std::fs::create_dir(&content).unwrap();
        for n in 0..20 {
            std::fs::write(content.join(n.to_string()), noise(n + 7, 700_000)).unwrap();
        }
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(600 << 20).unwrap();
        must(Command::new("mke2fs").args(["-q", "-F", "-d"]).arg(&content).args(options).arg(&image));
        let judge = Judge::start(Config::default()).unwrap();
        let (id, outcome) = Job::push(&image).succeed(&judge);
        assert!(outcome.blocks < 400, "{options:?}: {outcome:?}");
        assert_same(&image, &volume(&judge, &id, View::Plain, folder.path()));
        assert_exact(&judge, &id, 0, &image);
        let noisy = volume(&judge, &id, View::Encrypted, folder.path());
        must(Command::new("e2fsck").arg("-fn").arg(&noisy));
    }
}

/// Where anything doesn't fit together, nobody can say what is free, and all of it is sent.
#[test]
fn damaged_filesystems_go_whole() {
    if !judge::require(&["mke2fs"]) {
        return;
    }
    let folder = scratch();
    let image = folder.path().join("image");
    let blocks = || {
        let raw = RawImage::open(&image).unwrap();
        (Source::raw(&raw).survey(&Settings::new()).unwrap().blocks, raw.notes().to_vec())
    };
    // The state in the superblock, the size of the group's free space, a bit of its bitmap.
    for (at, says) in [
        (1024 + 0x3a, "checksum"),
        (4096 + 0x0c, "group 0"),
        (0, "block bitmap of group 0"),
        (1024 + 0x60, ""),
    ] {
        std::fs::write(&image, []).unwrap();
        File::options().write(true).open(&image).unwrap().set_len(64 << 20).unwrap();
        must(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-b", "4096"]).arg(&image));
        assert!(blocks().0 < 40, "{:?}", blocks());
        let file = File::options().read(true).write(true).open(&image).unwrap();
        let mut byte = [0; 4];
        let mut offset = at;
        if at == 0 {
            file.read_exact_at(&mut byte, 4096).unwrap();
            offset = u64::from(u32::from_le_bytes(byte)) * 4096 + 2000;
        }
        file.read_exact_at(&mut byte[..1], offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x80], offset).unwrap();
        let (sent, notes) = blocks();
        assert_eq!(sent, 128, "{at}: {notes:?}");
        assert!(notes[0].contains("is sent whole") && notes[0].contains(says), "{notes:?}");
    }
}

/// What of a filesystem at `offset` isn't in the snapshot is what dumpe2fs calls free or never initialised, and all of
/// that.
#[track_caller]
fn assert_exact(judge: &Judge, id: &str, offset: u64, filesystem: &Path) {
    let text = must(Command::new("dumpe2fs").arg(filesystem));
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or("0").trim().parse::<u64>().unwrap()
    };
    let (size, blocks) = (field("Block size"), field("Block count"));
    let (inodes, inode_size) = (field("Inodes per group"), field("Inode size"));
    let mut free = vec![false; usize::try_from(blocks).unwrap()];
    let mut clear =
        |from: u64, to: u64| (from..=to).for_each(|block| free[usize::try_from(block).unwrap()] = true);
    let range = |text: &str| {
        let text = text.split([' ', ',']).next().unwrap();
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        (from.parse::<u64>().unwrap(), to.parse::<u64>().unwrap())
    };
    let has = |flag: &str, flags: &str| flags.contains(flag);
    let (mut flags, mut table) = ("", (0, 0));
    for line in text.lines().skip_while(|line| !line.starts_with("Group ")) {
        if line.starts_with("Group ") {
            flags = line.split_once('[').map_or("", |(_, flags)| flags);
        }
        let line = line.trim();
        if let Some(at) = line.strip_prefix("Block bitmap at ").filter(|_| has("BLOCK_UNINIT", flags)) {
            clear(range(at).0, range(at).0);
        }
        if let Some(at) = line.split("Inode bitmap at ").nth(1).filter(|_| has("INODE_UNINIT", flags)) {
            clear(range(at).0, range(at).0);
        }
        if let Some(at) = line.split("Inode table at ").nth(1) {
            table = range(at);
        }
        if let Some(unused) = line.split(" directories, ").nth(1).filter(|_| !has("ITABLE_ZEROED", flags)) {
            let unused: u64 = unused.split(' ').next().unwrap().parse().unwrap();
            let used = if has("INODE_UNINIT", flags) { 0 } else { inodes - unused };
            let first = table.0 + (used * inode_size).div_ceil(size);
            if first <= table.1 {
                clear(first, table.1);
            }
        }
        if let Some(list) = line.strip_prefix("Free blocks: ").filter(|list| !list.is_empty()) {
            list.split(", ").for_each(|part| clear(range(part).0, range(part).1));
        }
    }
    let present: std::collections::BTreeSet<u64> =
        judge.snapshot(id).unwrap().blocks.iter().map(|block| u64::from(block.index)).collect();
    let block_size = BLOCK_SIZE as u64;
    let (first, last) = (offset.div_ceil(block_size), (offset + blocks * size) / block_size);
    for block in first..last {
        let start = usize::try_from((block * block_size - offset) / size).unwrap();
        let count = usize::try_from(block_size / size).unwrap();
        let all_free = free[start..start + count].iter().all(|free| *free);
        assert_eq!(all_free, !present.contains(&block), "block {block} of the volume");
    }
}

/// Copies a range of a file.
fn cut(from: &Path, offset: u64, len: u64, to: &Path) {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut from = File::open(from).unwrap();
    from.seek(SeekFrom::Start(offset)).unwrap();
    std::io::copy(&mut from.take(len), &mut File::create(to).unwrap()).unwrap();
}

/// An image that is no whole number of GiB, and one for a larger volume than it needs.
#[test]
fn the_backup_table_moves_to_the_end_of_the_volume() {
    if !judge::require(&["sgdisk"]) {
        return;
    }
    for (size, gib) in [(300 << 20, None), (GIB - 512, None), (GIB - (8 << 10), Some(2)), (GIB, Some(3))] {
        let folder = scratch();
        let image = folder.path().join("image");
        disk(&image, &ImageSpec::new().size(size));
        let judge = Judge::start(Config::default()).unwrap();
        let mut job = Job::push(&image);
        job.volume_gib = gib;
        let (id, _) = job.succeed(&judge);
        let volume = volume(&judge, &id, View::Encrypted, folder.path());
        assert_eq!(volume.metadata().unwrap().len(), gib.unwrap_or(1) * GIB);
        let verdict = must(Command::new("sgdisk").arg("-v").arg(&volume));
        assert!(verdict.contains("No problems found"), "{size} bytes on {gib:?} GiB: {verdict}");
        let before = must(Command::new("sgdisk").arg("-p").arg(&image));
        let after = must(Command::new("sgdisk").arg("-p").arg(&volume));
        let partitions = |text: &str| {
            text.lines().skip_while(|l| !l.starts_with("Number")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(partitions(&before), partitions(&after));
    }
}

#[test]
fn a_volume_that_is_too_small_is_refused() {
    let folder = scratch();
    let path = folder.path().join("image");
    let mut sink = FileSink::create(&path).unwrap();
    sink.begin(GIB + 1).unwrap();
    sink.unallocated(0, GIB + 1).unwrap();
    sink.finish().unwrap();
    let raw = RawImage::open(&path).unwrap();
    let error = Source::raw(&raw).survey(&Settings::new().volume_gib(1)).unwrap_err();
    assert_eq!(error.to_string(), "a volume of 1 GiB for an image of 1073741825 bytes, which needs 2 GiB");
    std::fs::write(&path, b"QFI\xfb and so on").unwrap();
    let error = RawImage::open(&path).unwrap_err();
    assert!(error.to_string().contains("not a raw image but qcow2"), "{error}");
}
