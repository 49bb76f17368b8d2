//! What a snapshot holds is what the image holds.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_judge::{BLOCK_SIZE, Config, Judge, View};
use lfs_image::ebs::{RawImage, Settings, Source};
use lfs_image::{Boot, FileSink, Image, ImageSpec, ReadOptions, Sink as _, read_archives};

use crate::child::Job;
use crate::support::{judge, must, project, scratch};

pub const GIB: u64 = 1 << 30;

/// Bytes that repeat nowhere.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
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
pub fn noisy(path: &Path, blocks: usize) {
    std::fs::write(path, noise(blocks as u64, blocks * BLOCK_SIZE)).unwrap();
}

/// A disk from a tarball of the fixtures.
fn disk(path: &Path, spec: &ImageSpec) -> Image {
    let archive = File::open(project().join("fixtures/tar/gnu-posix.tar")).unwrap();
    let input = lfs_image::Input::file("gnu-posix.tar", archive);
    let (tree, store) = read_archives([input], &ReadOptions::new("."), &mut |_, _| Ok(())).unwrap();
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
fn volume(judge: &Judge, id: &str, view: View, folder: &Path) -> PathBuf {
    let path = folder.join("volume");
    judge.write_volume(id, view, &mut File::create(&path).unwrap()).unwrap();
    path
}

/// Where `volume` differs from `image`, which may be shorter.
#[track_caller]
fn assert_same(image: &Path, volume: &Path) {
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
    let plan = disk(&image, &ImageSpec::new().size(3 * GIB));
    let judge = Judge::start(Config::default()).unwrap();
    let (id, outcome) = Job::push(&image).succeed(&judge);
    assert!(outcome.blocks < 400, "{outcome:?}");
    assert_same(&image, &volume(&judge, &id, View::Plain, folder.path()));
    // Everything that isn't there is free in the eyes of dumpe2fs, or an inode table that was never initialised.
    let noisy = volume(&judge, &id, View::Encrypted, folder.path());
    let verdict = must(Command::new("sgdisk").arg("-v").arg(&noisy));
    assert!(verdict.contains("No problems found"), "{verdict}");
    let root = plan.partitions().last().unwrap().clone();
    let filesystem = folder.path().join("root");
    cut(&noisy, root.offset, root.len, &filesystem);
    must(Command::new("e2fsck").arg("-fn").arg(&filesystem));
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
