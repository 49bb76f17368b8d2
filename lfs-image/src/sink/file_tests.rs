//! What a person finds on the disk after a [`FileSink`] was there.

use std::error::Error as _;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::ErrorKind;
use crate::raw::num::index;

const MIB: u64 = 1 << 20;

/// A file as a store; `kernel` says whether it offers itself for copying.
struct Store {
    file: File,
    kernel: bool,
}

impl ReadAt for Store {
    fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, at.offset()).map_err(|e| Error::io("read the store", e))
    }
    fn file(&self, at: Position) -> Option<(&File, u64)> {
        self.kernel.then(|| (&self.file, at.offset()))
    }
}

fn store(dir: &Path, kernel: bool) -> Store {
    let bytes: Vec<u8> = (0..3 * MIB + 77).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect();
    fs::write(dir.join("store"), bytes).unwrap();
    Store { file: File::open(dir.join("store")).unwrap(), kernel }
}

/// An image of 64 MiB with all kinds of space.
fn fill<S: Sink>(sink: &mut S, store: &Store) -> Result<()> {
    sink.begin(64 * MIB)?;
    sink.data(0, b"boot")?;
    sink.zeros(4, MIB - 4)?;
    sink.copy(MIB, store, Position::new(0, 5).unwrap(), 3 * MIB)?;
    sink.unallocated(4 * MIB, 40 * MIB)?;
    sink.data(44 * MIB, &[7; 4096])?;
    sink.zeros(44 * MIB + 4096, 20 * MIB - 4096)
}

fn expected(dir: &Path) -> Vec<u8> {
    let mut bytes = vec![0; index(64 * MIB)];
    bytes[..4].copy_from_slice(b"boot");
    let stored = fs::read(dir.join("store")).unwrap();
    bytes[index(MIB)..index(4 * MIB)].copy_from_slice(&stored[5..][..index(3 * MIB)]);
    bytes[index(44 * MIB)..][..4096].fill(7);
    bytes
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_file_appears_when_it_is_complete_and_has_holes() {
    for kernel in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.img");
        let store = store(dir.path(), kernel);
        let mut sink = FileSink::create(&path).unwrap();
        fill(&mut sink, &store).unwrap();
        assert!(!path.exists());
        assert!(sink.in_kernel, "the filesystem of the tests can't copy");
        assert_eq!(sink.finish().unwrap(), path);
        assert!(fs::read(&path).unwrap() == expected(dir.path()), "kernel: {kernel}");
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 5 * MIB, "not sparse");
        assert_eq!(names(dir.path()), ["out.img", "store"]);

        #[cfg(target_os = "linux")]
        {
            let file = File::open(&path).unwrap();
            let hole = |from| rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(from)).unwrap();
            let data = |from| rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(from)).unwrap();
            assert_eq!((hole(0), data(4096), hole(MIB), data(4 * MIB)), (4096, MIB, 4 * MIB, 44 * MIB));
        }
    }
}

#[test]
fn what_was_there_stays_until_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.img");
    fs::write(&path, "old").unwrap();
    let store = store(dir.path(), true);
    let before = names(dir.path());

    // A source that ends early.
    let mut sink = FileSink::create(&path).unwrap();
    sink.begin(64 * MIB).unwrap();
    let error = sink.copy(0, &store, Position::new(0, MIB).unwrap(), 4 * MIB).unwrap_err();
    assert_eq!(error.to_string(), "read the store");
    drop(sink);
    assert_eq!(names(dir.path()), before);

    // An image that isn't complete.
    let mut sink = FileSink::create(&path).unwrap();
    sink.begin(10).unwrap();
    sink.data(0, b"123").unwrap();
    assert_eq!(sink.finish().unwrap_err().kind(), ErrorKind::Misuse);
    assert_eq!(names(dir.path()), before);
    assert_eq!(fs::read(&path).unwrap(), b"old");

    let mut sink = FileSink::create(&path).unwrap().sync(true);
    fill(&mut sink, &store).unwrap();
    sink.finish().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 64 * MIB);
    assert_eq!(names(dir.path()), before);
}

#[test]
fn a_walk_that_is_stopped_leaves_nothing() {
    use crate::raw::out::Out;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.img");
    for stop_at in [0, 1, 2 * MIB, 3 * MIB] {
        let mut sink = FileSink::create(&path).unwrap();
        sink.begin(8 * MIB).unwrap();
        let mut written = |n| {
            let stop = Error::new(ErrorKind::Interrupted, "interrupted");
            if n >= stop_at { Err(stop) } else { Ok(()) }
        };
        let mut out = Out::new(&mut sink, &mut written);
        let result = (0..8).try_for_each(|_| out.data(&vec![1; index(MIB)])).and_then(|()| out.flush());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
        drop(sink);
        assert_eq!(names(dir.path()), [""; 0]);
    }
}

#[test]
fn links_are_followed_and_directories_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let link = dir.path().join("link");
    symlink("sub/out.img", &link).unwrap();
    // First the link leads to nothing, then to a file.
    for contents in [b"one", b"two"] {
        let mut sink = FileSink::create(&link).unwrap();
        sink.begin(3).unwrap();
        sink.data(0, contents).unwrap();
        assert_eq!(sink.finish().unwrap(), dir.path().join("sub/out.img"));
        assert_eq!(fs::read(&link).unwrap(), contents);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(&dir.path().join("sub")), ["out.img"]);
    }
    let error = FileSink::create(dir.path().join("sub")).unwrap_err();
    assert!(error.source().unwrap().to_string().contains("directory"), "{error:?}");
    assert!(FileSink::create(dir.path().join("missing/out.img")).is_err());
    symlink("loop", dir.path().join("loop")).unwrap();
    assert!(FileSink::create(dir.path().join("loop")).is_err());
}

#[test]
fn a_full_disk_says_how_far_it_came() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let mut sink = FileSink::create("/dev/full").unwrap();
    sink.begin(8192).unwrap();
    let error = sink.data(0, &[1; 4096]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(error.to_string(), "write the image's stream (0 of 8192 bytes written)");
    let cause = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::StorageFull);

    // A filesystem of 2 MiB, where we may make one.
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::small(dir.path()) else {
        eprintln!("SKIPPED: only root can mount a small filesystem");
        return;
    };
    let path = dir.path().join("out.img");
    fs::write(&path, "old").unwrap();
    let mut sink = FileSink::create(&path).unwrap();
    sink.begin(64 * MIB).unwrap();
    let error = (0..64).try_for_each(|n| sink.data(n * MIB, &vec![1; index(MIB)])).unwrap_err();
    assert_eq!(error.to_string(), format!("write {} (1048576 of 67108864 bytes written)", path.display()));
    drop(sink);
    assert_eq!(names(dir.path()), ["out.img"]);

    // The same by way of the kernel's copying.
    let elsewhere = tempfile::tempdir().unwrap();
    let store = store(elsewhere.path(), true);
    let mut sink = FileSink::create(&path).unwrap();
    sink.begin(64 * MIB).unwrap();
    let error = sink.copy(0, &store, Position::new(0, 0).unwrap(), 3 * MIB).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    drop(sink);
    assert_eq!(names(dir.path()), ["out.img"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn small(path: &'a Path) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2M", "tmpfs"]).arg(path).output();
        mount.is_ok_and(|m| m.status.success()).then_some(Self(path))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_fifo_gets_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    if !Command::new("mkfifo").arg(&fifo).status().is_ok_and(|s| s.success()) {
        eprintln!("SKIPPED: no mkfifo");
        return;
    }
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::read(fifo).unwrap()
    });
    let store = store(dir.path(), true);
    let mut sink = FileSink::create(&fifo).unwrap();
    fill(&mut sink, &store).unwrap();
    assert_eq!(sink.finish().unwrap(), fifo);
    assert!(reader.join().unwrap() == expected(dir.path()));
}

#[test]
fn a_device_is_written_in_place_with_its_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let behind = dir.path().join("behind");
    fs::write(&behind, vec![0xff; index(65 * MIB)]).unwrap();
    let run = Command::new("losetup").args(["--find", "--show"]).arg(&behind).output();
    let Some(device) = run.ok().filter(|r| r.status.success()) else {
        eprintln!("SKIPPED: only root can make a loop device");
        return;
    };
    let device = String::from_utf8(device.stdout).unwrap().trim().to_owned();
    let result = std::panic::catch_unwind(|| {
        let store = store(dir.path(), true);
        let mut sink = FileSink::create(&device).unwrap();
        assert_eq!(
            sink.begin(66 * MIB).unwrap_err().to_string(),
            format!("{device} has 68157440 bytes, the image 69206016")
        );
        fill(&mut sink, &store).unwrap();
        sink.finish().unwrap();
        let mut expected = expected(dir.path());
        // Unallocated space, and what is behind the image, are not touched.
        expected[index(4 * MIB)..index(44 * MIB)].fill(0xff);
        expected.resize(index(65 * MIB), 0xff);
        assert!(fs::read(&device).unwrap() == expected);
    });
    Command::new("losetup").args(["--detach", &device]).status().unwrap();
    result.unwrap();
}
