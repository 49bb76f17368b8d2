//! Images by the hundred from one process: nothing grows and nothing is left behind. `LFS_IMAGE_SOAK=500` makes so many of
//! them, `LFS_IMAGE_SEED=N` begins elsewhere.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use lfs_image::image::{Boot, PartitionTable};
use lfs_image::{FileSink, Image, ImageSpec, Input, ReadOptions, read_archives};

use crate::judge::program;
use crate::tarball::{Header, Tarball};

/// Set for the process that does it: this test binary again, so that nothing else runs in there.
const VARIABLE: &str = "LFS_IMAGE_SOAK_FOLDER";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn nothing_grows_and_nothing_is_left() {
    if program("e2fsck").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "a test can't run: no e2fsck");
        eprintln!("SKIPPED: e2fsck is not installed");
        return;
    }
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "soak::work", "--nocapture"])
        .env(VARIABLE, folder.path())
        .env("TMPDIR", folder.path())
        // What is given back is given back at once, and to one heap, so that what is left is what is held.
        .envs([("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "0"), ("MALLOC_MMAP_THRESHOLD_", "65536")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    eprint!("{said}");
    assert!(output.status.success(), "{said}");
    assert!(said.contains("images, all clean"), "{said}");
}

/// Not a test but what the test runs.
#[test]
fn work() {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return };
    let (images, seed) = (number("LFS_IMAGE_SOAK", 100), number("LFS_IMAGE_SEED", 1));
    eprintln!("{images} images from seed {seed}");
    let step = (images / 10).max(1);
    let mut measured = Vec::new();
    for n in 0..images {
        let mut dice = Dice(seed + n);
        let tar = tree(&mut dice);
        make(&folder, &tar, &mut dice, n);
        if (n + 1) % step == 0 {
            // The same each time, so that what is measured is comparable.
            let mut dice = Dice(0);
            let tar = tree(&mut dice);
            make(&folder, &tar, &mut dice, 0);
            measured.push(Usage::now());
        }
    }
    // The first ones fill caches and the allocator's arenas.
    let (first, last) = (&measured[2], measured.last().unwrap());
    eprintln!("{images} images, all clean; {first:?} after a third, {last:?} at the end");
    assert_eq!((first.descriptors, first.threads), (last.descriptors, last.threads));
    assert!(last.kib < first.kib + 2048, "memory grows: {measured:?}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "files are left");
}

/// What a process has.
#[derive(Debug)]
struct Usage {
    kib: u64,
    descriptors: usize,
    threads: usize,
}

impl Usage {
    fn now() -> Self {
        // A thread that has been told to end may take a moment.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            kib: rss.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            threads: fs::read_dir("/proc/self/task").unwrap().count(),
        }
    }
}

/// One archive to one image, in one of the ways there are; now and then one that is cut, and refused.
fn make(folder: &Path, tar: &[u8], dice: &mut Dice, n: u64) {
    let (archive, out) = (folder.join("a.tar"), folder.join("out.img"));
    let is_cut = n % 10 == 9;
    // A few entries into it, in the middle of a block.
    let end = if is_cut { tar.len() / 2 / 512 * 512 + 100 } else { tar.len() };
    fs::write(&archive, &tar[..end]).unwrap();
    let input = match dice.below(3) {
        0 => Input::file("a.tar", File::open(&archive).unwrap()),
        1 => Input::reader("a.tar", File::open(&archive).unwrap()),
        _ => {
            let packed = folder.join("a.tar.gz");
            let gzip = Command::new("gzip").args(["-1", "-c"]).arg(&archive).output().unwrap();
            fs::write(&packed, gzip.stdout).unwrap();
            let file = File::open(&packed).unwrap();
            fs::remove_file(&packed).unwrap();
            Input::file("a.tar.gz", file)
        }
    };
    let spec = ImageSpec::new().boot(Boot::None);
    let spec = match dice.below(3) {
        0 => spec.table(PartitionTable::None),
        1 => spec.table(PartitionTable::Mbr),
        _ => spec,
    };
    let mut offset = 0;
    let result = read_archives([input], &ReadOptions::new(folder), &mut ()).and_then(|(tree, store)| {
        let image = Image::plan(tree, &store, &spec)?;
        offset = image.partitions().last().map_or(0, |root| root.offset);
        image.write(&store, FileSink::create(&out)?, &mut ())
    });
    fs::remove_file(&archive).unwrap();
    if is_cut {
        assert!(result.is_err() && !out.exists(), "image {n}: a cut archive became an image");
        return;
    }
    result.unwrap();
    let fsck =
        program("e2fsck").arg("-fn").arg(format!("{}?offset={offset}", out.display())).output().unwrap();
    assert!(fsck.status.success(), "image {n}: {}", String::from_utf8_lossy(&fsck.stdout));
    fs::remove_file(&out).unwrap();
}

/// A tree of a few hundred names.
fn tree(dice: &mut Dice) -> Vec<u8> {
    let mut tar = Tarball::new();
    let (mut folders, mut files) = (vec![String::new()], Vec::new());
    for n in 0..20 + dice.below(300) {
        let parent = folders[dice.below(folders.len())].clone();
        // Long names now and then, up to what a header takes.
        let name = format!("{parent}{n}-{}", "x".repeat(if dice.below(9) == 0 { dice.below(60) } else { 0 }));
        if name.len() > 95 {
            continue;
        }
        tar = match dice.below(12) {
            0 | 1 => {
                folders.push(format!("{name}/"));
                tar.header(Header::new(&name, b'5', 0).octal(100, 8, 0o755))
            }
            2 => tar.link(&name, b'2', &"target/".repeat(1 + dice.below(12))),
            3 if !files.is_empty() => {
                let target: &String = &files[dice.below(files.len())];
                tar.link(&name, b'1', target)
            }
            4 => tar.header(Header::new(&name, b'3', 0).octal(329, 8, 1).octal(337, 8, 3)),
            _ => {
                let len = match dice.below(20) {
                    0 => dice.below(2_000_000),
                    1..=8 => dice.below(20_000),
                    _ => dice.below(300),
                };
                if dice.below(6) == 0 {
                    let attribute = vec![b'v'; 1 + dice.below(400)];
                    let time = &b"1234567890.123456789"[..];
                    tar = tar.pax(b'x', &[("SCHILY.xattr.user.a", &attribute[..]), ("mtime", time)]);
                }
                let byte = u8::try_from(dice.below(256)).unwrap();
                tar = tar.file(&name, &vec![byte; len]);
                files.push(name);
                tar
            }
        };
    }
    tar.end()
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}
