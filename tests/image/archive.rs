//! Archives in: what GNU tar makes of them is what we make of them.

use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use lfs_image::archive::Store;
use lfs_image::tree::ReadAt as _;
use lfs_image::{ErrorKind, Input, ReadOptions, Result, Tree, read_archives};

use crate::judge::{have, of_directory, of_tree, root, same, scratch};
use crate::tarball::{Header, Short, Tarball, chain, content, options, read, read_file};

pub fn fixtures() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/tar");
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "tar"));
    // Two files to make disks of, and nothing to extract.
    paths.retain(|path| !path.ends_with("kernel.tar"));
    paths.sort();
    assert!(paths.len() >= 19, "fixtures are missing");
    paths
}

pub fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

pub fn open(path: &Path) -> Result<(Tree, Store)> {
    read_archives([Input::file(name(path), File::open(path).unwrap())], &options(), &mut ())
}

#[test]
fn every_fixture_is_what_gnu_tar_extracts() {
    if !root() || !have("tar") {
        return;
    }
    for path in fixtures() {
        let top = scratch();
        let status = Command::new("tar")
            .args(["-xpf", path.to_str().unwrap(), "-C", top.path().to_str().unwrap(), "--warning=none"])
            .args(["--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*", "--acls"])
            .arg("--delay-directory-restore")
            .status()
            .unwrap();
        assert!(status.success(), "tar -x {}", path.display());
        let mut theirs = of_directory(top.path());
        if name(&path) == "bsd-xattrs" {
            // GNU tar undoes half of what bsdtar did to this name. (bsdtar makes two attributes of it.)
            let user = theirs.get_mut("./user").unwrap();
            *user = user.replace(" user.odd=100%%20name=", " user.odd=100% name=");
        }
        let (tree, store) = open(&path).unwrap();
        same(&name(&path), &of_tree(&tree, &store), &theirs);
        store.verify_unchanged().unwrap();
    }
}

#[test]
fn a_pipe_with_short_reads_gives_the_same_tree() {
    for path in fixtures() {
        let (tree, store) = open(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        let input = Input::reader("pipe", Short(Cursor::new(bytes)));
        let (piped, spool) = read_archives([input], &options(), &mut ()).unwrap();
        same(&name(&path), &of_tree(&piped, &spool), &of_tree(&tree, &store));
    }
}

#[test]
fn the_judge_sees_a_changed_byte() {
    let path = &fixtures()[0];
    let (tree, store) = open(path).unwrap();
    let before = of_tree(&tree, &store);
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(6).position(|w| w == b"hello\n").unwrap();
    bytes[at] ^= 1;
    let (tree, store) = read(bytes).unwrap();
    assert_ne!(of_tree(&tree, &store), before);
}

/// Runs a program on bytes.
fn filter(command: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

const COMPRESSORS: [&[&str]; 6] = [
    &["gzip", "-c"],
    &["zstd", "-c", "-q"],
    &["zstd", "-c", "-q", "--ultra", "-22"],
    &["xz", "-c"],
    &["xz", "-c", "--check=sha256", "--block-size=16384"],
    &["bzip2", "-c"],
];

#[test]
fn compressed_archives_in_one_piece_and_in_many() {
    let path = fixtures().into_iter().find(|path| name(path) == "gnu-posix").unwrap();
    let bytes = fs::read(&path).unwrap();
    let (tree, store) = read_file(&bytes).unwrap();
    let plain = of_tree(&tree, &store);
    for command in COMPRESSORS {
        if !have(command[0]) {
            continue;
        }
        let whole = filter(command, &bytes);
        // Members that end anywhere, an empty one, and zeros at the end.
        let mut pieces = Vec::new();
        for piece in bytes.chunks(9_999) {
            pieces.extend(filter(command, piece));
            pieces.extend(filter(command, b""));
        }
        if command[0] == "zstd" {
            pieces.splice(0..0, *b"\x5e\x2a\x4d\x18\x03\0\0\0abc");
            pieces.extend_from_slice(b"\x50\x2a\x4d\x18\0\0\0\0");
        }
        let padded = [&pieces[..], &[0; 512]].concat();
        for stream in [&whole, &pieces, &padded] {
            let (tree, store) = read_file(stream).unwrap_or_else(|e| panic!("{command:?}: {}", chain(&e)));
            same(command[0], &of_tree(&tree, &store), &plain);
            let short = Input::reader("short", Short(Cursor::new(stream.clone())));
            let (tree, store) = read_archives([short], &options(), &mut ()).unwrap();
            same(command[0], &of_tree(&tree, &store), &plain);
        }
    }
}

#[test]
fn damaged_compression_is_an_error_with_a_name() {
    let path = fixtures().into_iter().find(|path| name(path) == "gnu-posix").unwrap();
    let bytes = fs::read(&path).unwrap();
    for command in COMPRESSORS {
        if !have(command[0]) {
            continue;
        }
        let whole = filter(command, &bytes);
        for cut in [7, 20, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            let text = chain(&read(&whole[..cut]).unwrap_err());
            assert!(
                text.contains("stream ends early") || text.contains("is damaged"),
                "{command:?} {cut}: {text}"
            );
        }
        let text = chain(&read([&whole[..], b"garbage"].concat()).unwrap_err());
        assert!(
            text.contains("is damaged") && text.contains("followed by something else"),
            "{command:?}: {text}"
        );
        // Every checksum is looked at: damage is found, or was in bits without meaning.
        let (tree, store) = read(bytes.clone()).unwrap();
        let plain = of_tree(&tree, &store);
        let mut found = 0;
        for at in (0..whole.len()).step_by(whole.len() / 20) {
            let mut broken = whole.clone();
            broken[at] ^= 0x10;
            match read(broken) {
                Ok((tree, store)) => assert_eq!(of_tree(&tree, &store), plain, "{command:?} {at}"),
                Err(_) => found += 1,
            }
        }
        assert!(found > 15, "{command:?}");
    }
}

#[test]
fn a_zstd_checksum_is_compared() {
    if !have("zstd") {
        return;
    }
    let mut stream = filter(&["zstd", "-c", "-q", "--check"], &Tarball::new().file("f", b"data").end());
    let last = stream.len() - 1;
    stream[last] ^= 1;
    let text = chain(&read(stream).unwrap_err());
    assert!(text.contains("zstd stream is damaged"), "{text}");
}

#[test]
fn a_bomb_is_stopped_by_the_limit() {
    let archive = Tarball::new().file("a", &[0; 1000]).file("b", &[0; 1000]).end();
    let mut options = options();
    let read = |options: &ReadOptions| {
        read_archives([Input::reader("a", Cursor::new(archive.clone()))], options, &mut ())
    };
    options.max_size = Some(2000);
    assert!(read(&options).is_ok());
    options.max_size = Some(1999);
    let error = read(&options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Capacity);
    assert!(chain(&error).contains("entry `b`"), "{}", chain(&error));
}

#[test]
fn progress_can_stop_it() {
    for piped in [true, false] {
        let path = fixtures().remove(0);
        let input = if piped {
            Input::reader("a", File::open(&path).unwrap())
        } else {
            Input::file("a", File::open(&path).unwrap())
        };
        let mut stop = |_, _, _| Err(lfs_image::Error::new(ErrorKind::Interrupted, "stop"));
        let error = read_archives([input], &options(), &mut stop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }
}

#[test]
fn a_file_is_read_from_where_it_stands() {
    use std::io::{Seek, SeekFrom, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[7; 100]).unwrap();
    file.write_all(&Tarball::new().file("f", b"data").end()).unwrap();
    file.seek(SeekFrom::Start(100)).unwrap();
    let (tree, store) = read_archives([Input::file("a", file)], &options(), &mut ()).unwrap();
    assert_eq!(content(&tree, &store, "f"), b"data");
}

#[test]
fn layers_of_archives_in_all_shapes() {
    let lower = Tarball::new().file("a", b"lower a").file("b", b"lower b").end();
    let upper = Tarball::new().file("a", b"upper a").file(".wh.b", b"").end();
    let empty = Tarball::new().end();
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &lower).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let inputs = [
        Input::file("lower", file),
        Input::reader("upper", Cursor::new(upper)),
        Input::reader("empty", Cursor::new(empty.clone())),
        Input::reader("last", Cursor::new(Tarball::new().file("c", b"last c").end())),
    ];
    let mut options = options();
    options.whiteouts = true;
    let (tree, store) = read_archives(inputs, &options, &mut ()).unwrap();
    assert_eq!(content(&tree, &store, "a"), b"upper a");
    assert_eq!(content(&tree, &store, "c"), b"last c");
    assert!(tree.lookup(b"b").is_none());
    assert!(chain(&read(empty).unwrap_err()).contains("no entries"));
}

/// A few random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % n as u64).unwrap()
    }
}

#[test]
fn truncation_anywhere_is_refused_or_gives_a_part() {
    let mut random = Random(1);
    for path in fixtures() {
        let bytes = fs::read(&path).unwrap();
        let entries = open(&path).map(|(tree, store)| of_tree(&tree, &store)).unwrap();
        let blocks = (0..bytes.len()).step_by(512);
        let anywhere: Vec<usize> = (0..40).map(|_| random.below(bytes.len())).collect();
        for cut in blocks.chain(anywhere) {
            let (piped, filed) = (read(&bytes[..cut]), read_file(&bytes[..cut]));
            match (piped, filed) {
                (Ok((tree, store)), Ok((again, file))) => {
                    let part = of_tree(&tree, &store);
                    // Only what ends the archive may be cut in the middle.
                    assert!(cut % 512 == 0 || part == entries, "{} cut at {cut}", path.display());
                    assert!(part.keys().all(|path| entries.contains_key(path)));
                    assert_eq!(part, of_tree(&again, &file));
                }
                (Err(a), Err(b)) => assert_eq!(chain(&a), chain(&b)),
                (a, b) => panic!("{} cut at {cut}: {a:?} {b:?}", path.display()),
            }
        }
    }
}

#[test]
fn changed_bits_never_panic() {
    let mut random = Random(2);
    for path in fixtures() {
        let bytes = fs::read(&path).unwrap();
        for round in 0..150 {
            let mut broken = bytes.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(broken.len());
                broken[at] ^= 1 << random.below(8);
            }
            if round % 2 == 0 {
                // Where a header was hit, make it pass.
                for block in broken.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
                    let header = Header(block.try_into().unwrap()).block();
                    block.copy_from_slice(&header);
                }
            }
            if let (Ok((tree, store)), Ok((again, file))) = (read(broken.clone()), read_file(&broken)) {
                assert_eq!(of_tree(&tree, &store).len(), of_tree(&again, &file).len());
            }
        }
    }
}
