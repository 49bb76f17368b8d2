//! Archives that mean harm: bounded memory and time, and the right refusal or the right image.
//!
//! Memory is bounded by the kernel (`prlimit --as`): a command that wants more dies, and its test with it. That bounds address space,
//! most of which is never touched; what a command really had (the most resident, which the kernel tells of a process that ended) is
//! held to what README promises. The processor time that it may have is many times what it needs, but far below what work that isn't
//! linear would take.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{both, judge, must, scratch};
use crate::tarball::{Header, Tarball, record};
use crate::{errors, lfs_image};

/// The address space that the command may have whatever the archive, in MiB: itself, its buffers, windows of decompression,
/// threads' stacks.
pub(crate) const BASE: u64 = 450;

/// How much of it may be resident, in MiB: the program, unoptimized and with AWS in it, is half of that. And how much more what a
/// single header may say takes, which has 16 MiB at most.
const RESIDENT: u64 = 40;
const HEADER: u64 = 40;

/// `lfs-image raw - OUT` of what `write` writes, with so many MiB of memory beyond the base. The folder is empty but for `out.img` if
/// it succeeds. (Writing fails when the command has seen enough.)
#[track_caller]
fn raw(
    more: u64,
    options: &[&str],
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> (Output, tempfile::TempDir) {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let (output, resident) = limited(BASE + more, options, Path::new("-"), &out, write);
    assert!(
        resident <= RESIDENT + more,
        "{resident} MiB, {RESIDENT} + {more} are promised: {}",
        both(&output)
    );
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, usize::from(output.status.success()), "{}", both(&output));
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {}", output.status, both(&output));
    (output, folder)
}

/// Runs a command, and writes the most KiB that it had resident into a file.
const PEAK: &str = "import os, sys
pid = os.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], 'w') as peak:
    peak.write(str(usage.ru_maxrss))
code = os.waitstatus_to_exitcode(status)
os._exit(code if code >= 0 else 128 - code)";

/// What the command said, and how many MiB it had resident.
pub(crate) fn limited(
    mib: u64,
    options: &[&str],
    archive: &Path,
    out: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> (Output, u64) {
    let command = lfs_image();
    let peak = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new("python3")
        .args(["-S", "-c", PEAK])
        .arg(peak.path())
        .args(["prlimit", &format!("--as={}", mib << 20), "--cpu=200", "--", "env", "-i"])
        .args(command.get_envs().filter_map(|(key, value)| {
            let mut pair = key.to_owned();
            pair.push("=");
            pair.push(value?);
            Some(pair)
        }))
        .arg(command.get_program())
        .args(["raw", "--boot", "none", "--table", "none", "--target", "none", "--journal", "none"])
        // e2fsck complains of filesystems from the future.
        .args(["--time", "1700000000"])
        .args(options)
        .arg(archive)
        .arg(out)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = BufWriter::with_capacity(1 << 20, child.stdin.take().unwrap());
    // A pipe that closes is an answer, too.
    let _ = write(&mut stdin).and_then(|()| stdin.flush());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let kib: u64 = std::fs::read_to_string(peak.path()).unwrap().parse().unwrap();
    (output, kib.div_ceil(1024))
}

/// It must fail with these words, each of them.
#[track_caller]
pub(crate) fn refused(
    options: &[&str],
    words: &[&str],
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) {
    let (output, _folder) = raw(HEADER, options, write);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: "), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    assert!(said.len() < 10_000, "{} bytes of words", said.len());
}

/// The image that must come of it, which e2fsck finds clean.
#[track_caller]
pub(crate) fn made(
    more: u64,
    options: &[&str],
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> (judge::Fsck, tempfile::TempDir) {
    let (output, folder) = raw(more, options, write);
    assert!(output.status.success(), "{}", both(&output));
    let fsck = judge::e2fsck(&folder.path().join("out.img"), 0).unwrap();
    (fsck, folder)
}

#[track_caller]
pub(crate) fn refused_bytes(bytes: &[u8], words: &[&str]) {
    refused(&[], words, |out| out.write_all(bytes));
}

pub(crate) fn are_there() -> bool {
    judge::require(&["prlimit", "e2fsck", "python3"])
}

#[test]
fn the_limit_on_memory_is_one() {
    if !are_there() {
        return;
    }
    let folder = scratch();
    let out = folder.path().join("out.img");
    // Too little even to begin with.
    let (output, _) =
        limited(12, &[], Path::new("-"), &out, |out| out.write_all(&Tarball::new().file("f", b"x").end()));
    assert!(!matches!(output.status.code(), Some(0)), "12 MiB are enough: {}", both(&output));
}

/// Half a million here, ten of them by hand: `LFS_IMAGE_MANY=10000000`. Bytes of memory for an entry: see [`PER_ENTRY`].
#[test]
fn millions_of_tiny_entries() {
    if !are_there() {
        return;
    }
    let many = many();
    let (fsck, _) = made((PER_ENTRY * many) >> 20, &["--free", "1M"], |out| {
        (0..many)
            .try_for_each(|n| out.write_all(&Header::new(&format!("d{}/f{n}", n / 1000), b'0', 0).block()))
    });
    // The directories, and what every filesystem has.
    assert_eq!(fsck.inodes_used, 11 + many + many.div_ceil(1000));
}

/// Memory for an entry, from the archive to the image, in bytes: what README promises.
const PER_ENTRY: u64 = 200;

/// The same for an extended attribute in a set that no other entry has.
const PER_ATTRIBUTE: u64 = 310;

fn many() -> u64 {
    std::env::var("LFS_IMAGE_MANY").map_or(500_000, |text| text.parse().unwrap())
}

#[test]
fn the_same_path_by_the_million() {
    if !are_there() {
        return;
    }
    let many = many();
    // What was replaced takes no room.
    let (fsck, folder) = made(0, &["--size", "64M"], |out| {
        let mut file = Header::new("a/f", b'0', 1).block();
        file.resize(1024, b'x');
        let link = Header::new("a/f", b'2', 0).link("target").block();
        (0..many / 2).try_for_each(|_| out.write_all(&file).and_then(|()| out.write_all(&link)))
    });
    assert_eq!(fsck.inodes_used, 13);
    assert!(judge::debugfs(&folder.path().join("out.img"), 0, "stat /a/f").unwrap().contains("target"));
    // Directories over files and files over directories.
    let (fsck, _) = made(0, &["--size", "64M"], |out| {
        let directory = Header::new("a/b", b'5', 0).block();
        let below = Header::new("a/b/c", b'0', 0).block();
        let file = Header::new("a/b", b'0', 0).block();
        (0..many / 3).try_for_each(|_| {
            [&directory, &below, &file].into_iter().try_for_each(|block| out.write_all(block))
        })
    });
    assert_eq!(fsck.inodes_used, 13);
}

#[test]
fn headers_without_end() {
    if !are_there() {
        return;
    }
    let header = |kind: u8, size: u64| Header::new("././@LongLink", kind, size).gnu();
    let long = [header(b'L', 600).block(), b"x/".repeat(512)].concat();
    refused(&[], &["1024 headers in a row"], |out| {
        // Endless, if nobody stops it.
        (0..u64::MAX).try_for_each(|_| out.write_all(&long))
    });
    let global = Tarball::new().pax(b'g', &[("mtime", b"1")]).0;
    refused(&[], &["1024 headers in a row"], |out| (0..u64::MAX).try_for_each(|_| out.write_all(&global)));
    // Nearly as many are fine.
    made(0, &["--size", "64M"], |out| {
        (0..1000).try_for_each(|_| out.write_all(&long))?;
        out.write_all(&Tarball::new().file("f", b"x").end())
    });
    // 4 GiB of records, and more than can be.
    refused_bytes(
        &header(b'x', 0).bytes(124, b"\x80\0\0\0\0\0\0\x01\0\0\0\0").block(),
        &["4294967296 bytes, the limit is 16777216"],
    );
    refused_bytes(&Header::new("x", b'x', 0o77_777_777_777).block(), &["8589934591 bytes, the limit is"]);
    refused_bytes(&header(b'L', 1 << 20).block(), &["1048576 bytes, the limit is 65536"]);
    refused_bytes(&header(b'L', 0).bytes(124, &[0xff; 12]).block(), &["size field is negative"]);
}

#[test]
fn links_in_circles() {
    if !are_there() {
        return;
    }
    const LINKS: usize = 50_000;
    let link = |out: &mut dyn Write, kind: u8, from: usize, to: usize| {
        out.write_all(&Header::new(&format!("l{from}"), kind, 0).link(&format!("l{to}")).block())
    };
    refused(&[], &["which leads back to itself"], |out| {
        (0..LINKS).try_for_each(|n| link(out, b'1', n, (n + 1) % LINKS))
    });
    // Each waits for the next one; the last is there.
    let (fsck, folder) = made(60, &["--size", "64M"], |out| {
        (0..LINKS).try_for_each(|n| link(out, b'1', n, n + 1))?;
        out.write_all(&Tarball::new().file(&format!("l{LINKS}"), b"x").end())
    });
    assert_eq!(fsck.inodes_used, 12);
    let stat = judge::debugfs(&folder.path().join("out.img"), 0, "stat /l0").unwrap();
    assert!(stat.contains(&format!("Links: {}", LINKS + 1)), "{stat}");
    // Symbolic links may lead in circles, but no entry through them.
    let circle = Tarball::new().link("a", b'2', "b").link("b", b'2', "a");
    let (fsck, _) = made(0, &["--size", "64M"], |out| out.write_all(&circle.clone().end()));
    assert_eq!(fsck.inodes_used, 13);
    refused_bytes(&circle.file("a/f", b"x").end(), &["entry `a/f`", "more than 40 symbolic links"]);
    refused(&[], &["more than 40 symbolic links"], |out| {
        (0..LINKS).try_for_each(|n| link(out, b'2', n, n + 1))?;
        out.write_all(&Tarball::new().entry(&format!("l{LINKS}"), b'5', b"").file("l0/f", b"x").end())
    });
    refused(&[], &["more than 65000 hard links"], |out| {
        out.write_all(&Tarball::new().file("f", b"x").0)?;
        (0..65_001).try_for_each(|n| out.write_all(&Header::new(&format!("h{n}"), b'1', 0).link("f").block()))
    });
}

/// A path through 32,000 symbolic links, each as long as they come, would take minutes: the kernel's limit is for the whole path.
#[test]
fn a_path_of_nothing_but_symbolic_links() {
    if !are_there() {
        return;
    }
    let pax = |path: &[u8], link: &[u8]| Tarball::new().pax(b'x', &[("path", path), ("linkpath", link)]).0;
    let target = b"./".repeat(2047);
    let mut bytes = pax(b"s", &target);
    bytes.extend(Header::new("s", b'2', 0).block());
    let path = b"s/".repeat(32_000);
    for _ in 0..200 {
        bytes.extend(pax(&[&path[..], b"f"].concat(), b""));
        bytes.extend(Header::new("f", b'0', 0).block());
    }
    refused_bytes(&bytes, &["more than 40 symbolic links"]);
}

#[test]
fn paths_of_a_hundred_thousand_names() {
    if !are_there() {
        return;
    }
    let path = b"d/".repeat(100_000);
    let pax = Tarball::new().pax(b'x', &[("path", &path)]).file("f", b"x");
    refused_bytes(&pax.end(), &["200000 bytes long, the limit is 65535"]);
    let long = Tarball::new().entry("././@LongLink", b'L', &path).file("f", b"x");
    refused_bytes(&long.end(), &["200000 bytes, the limit is 65536"]);
    // As deep as it gets, a hundred times, and named in other errors than those of its own.
    let path = b"d/".repeat(32_767);
    let mut bytes = Vec::new();
    for n in 0..100 {
        bytes.extend(
            Tarball::new()
                .pax(b'x', &[("path", &[&path[..path.len() - 3], format!("{n}").as_bytes()].concat())])
                .0,
        );
        bytes.extend(Tarball::new().file("f", b"x").0);
    }
    let (fsck, _) = made((PER_ENTRY * 40_000) >> 20, &["--size", "512M", "--inodes", "50000"], |out| {
        out.write_all(&bytes)
    });
    assert!(fsck.inodes_used > 32_000);
    bytes.extend(
        Tarball::new()
            .pax(b'x', &[("path", &[&path[..path.len() - 3], b"0/x"].concat())])
            .file("f", b"x")
            .end(),
    );
    refused_bytes(&bytes, &["is a file, not a directory"]);
}

#[test]
fn millions_of_attributes() {
    if !are_there() {
        return;
    }
    // In one header: more than an inode may have.
    let mut records = Vec::new();
    for n in 0..400_000 {
        records.extend(record(format!("SCHILY.xattr.user.{n}").as_bytes(), b""));
    }
    let header = |records: &[u8]| Tarball::new().entry("PaxHeader", b'x', records).file("f", b"x");
    refused_bytes(&header(&records).end(), &["have more than 1048576 bytes"]);
    records.truncate(0);
    for n in 0..20_000 {
        records.extend(record(format!("SCHILY.xattr.user.{n}").as_bytes(), b"value"));
    }
    refused_bytes(&header(&records).end(), &["`/f` does not fit", "extended attributes"]);
    // In many headers: each inode has its own.
    let (fsck, _) =
        made((PER_ENTRY * 50_000 + PER_ATTRIBUTE * 20 * 50_000) >> 20, &["--free", "1M"], |out| {
            (0..50_000).try_for_each(|n| {
                let value = format!("{n}");
                let mut records = Vec::new();
                for name in 0..20 {
                    records.extend(record(format!("SCHILY.xattr.user.{name}").as_bytes(), value.as_bytes()));
                }
                out.write_all(
                    &Tarball::new().entry("PaxHeader", b'x', &records).file(&format!("f{n}"), b"").0,
                )
            })
        });
    assert_eq!(fsck.inodes_used, 11 + 50_000);
}

#[test]
fn maps_of_sparse_files_that_lie() {
    if !are_there() {
        return;
    }
    let sparse = |size: &[u8], map: &[u8], stored: u64| {
        let records = [("GNU.sparse.size", size), ("GNU.sparse.map", map)];
        Tarball::new()
            .pax(b'x', &records)
            .header(Header::new("f", b'0', stored))
            .data(&vec![b'x'; usize::try_from(stored).unwrap()])
            .end()
    };
    made(0, &["--size", "64M"], |out| out.write_all(&sparse(b"9000", b"0,1,4096,2", 3)));
    for (size, map, stored, word) in [
        (&b"9000"[..], &b"0,10,5,10"[..], 20, "overlaps"),
        (b"9000", b"4096,2,0,1", 3, "overlaps"),
        (b"9000", b"8999,2", 2, "reaches past the size 9000"),
        (b"9000", b"0,10", 3, "is said to have 3"),
        (b"9000", b"18446744073709551615,2", 2, "reaches past"),
        (b"9000", b"0,18446744073709551615,5,2", 1, "2^64 or more"),
        (b"18446744073709551616", b"0,1", 1, "not a number"),
        (b"9000", b"0", 0, "ends with an offset"),
        (b"9000", b"0,", 0, "not a number"),
        (b"9000", b"-1,2", 2, "not a number"),
        // Larger than ext4 holds.
        (b"18446744073709551615", b"0,1", 1, "f"),
        (b"17592186044417", b"0,1", 1, "f"),
    ] {
        refused_bytes(&sparse(size, map, stored), &[word]);
    }
    // A million pieces are the limit: in all forms.
    let many = (0..1_048_577_u64).map(|n| format!("{},0,", n * 2)).collect::<String>();
    refused_bytes(&sparse(b"9000", many.trim_end_matches(',').as_bytes(), 0), &["more than 1048576 runs"]);
    let in_data =
        [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")];
    let one_zero = |map: &[u8], stored: u64| {
        Tarball::new().pax(b'x', &in_data).header(Header::new("f", b'0', stored)).data(map).end()
    };
    refused_bytes(&one_zero(b"99999999\n0\n1\n", 512), &["99999999 runs of data, the limit is 1048576"]);
    refused_bytes(&one_zero(&[b'1'; 512], 512), &["more than 20 digits"]);
    refused_bytes(&one_zero(&b"1000000\n".repeat(64), 512), &["longer than what is stored"]);
    refused(&[], &["1048576 runs"], |out| {
        // The old form's map may go on for ever.
        let first = Header::new("f", b'S', 0)
            .gnu()
            .octal(386, 12, 0)
            .octal(398, 12, 0)
            .bytes(482, b"\x01")
            .octal(483, 12, 9);
        let first =
            (1..4).fold(first, |header, n| header.octal(386 + 24 * n, 12, 0).octal(398 + 24 * n, 12, 0));
        out.write_all(&first.block())?;
        let mut block = vec![0; 512];
        for n in 0..42 {
            block[12 * n..12 * n + 11].copy_from_slice(b"00000000000");
        }
        block[504] = 1;
        (0..u64::MAX).try_for_each(|_| out.write_all(&block))
    });
    // Holes cost nothing, however many files of terabytes there are.
    made(100, &["--free", "1M"], |out| {
        let file = sparse(b"17592186040320", b"17592186036224,1", 1);
        let file = &file[..file.len() - 1024];
        (0..2000).try_for_each(|n| {
            out.write_all(&file[..file.len() - 1024])?;
            out.write_all(&Header::new(&format!("f{n}"), b'0', 1).block())?;
            out.write_all(&file[file.len() - 512..])
        })
    });
}

#[test]
fn numbers_at_their_limits() {
    if !are_there() {
        return;
    }
    let file = || Header::new("f", b'0', 0);
    let base256 = |header: Header, at: usize, len: usize, number: i128| {
        let bytes = number.to_be_bytes();
        let mut field = bytes[16 - len..].to_vec();
        field[0] |= 0x80;
        header.bytes(at, &field)
    };
    // Accepted: what Linux can hold; times as near as ext4 comes.
    for header in [
        base256(file(), 108, 8, i128::from(u32::MAX) - 1),
        base256(file(), 136, 12, i128::from(i64::MAX)),
        base256(file(), 136, 12, i128::from(i64::MIN)),
        file().bytes(100, b"0177777\0"),
        file().bytes(100, b"\0\0\0\0\0\0\0\0"),
        Header::new("f", b'3', 0).octal(329, 8, 4095).octal(337, 8, 0xf_ffff),
    ] {
        made(0, &["--size", "64M"], |out| out.write_all(&[header.block(), vec![0; 1024]].concat()));
    }
    for (header, word) in [
        (base256(file(), 108, 8, i128::from(u32::MAX)), "uid is 4294967295"),
        (base256(file(), 116, 8, 1 << 32), "gid field is 4294967296"),
        (base256(file(), 108, 8, -1), "uid field is -1"),
        (base256(file(), 100, 8, -1), "mode field is -1, which is no mode"),
        (base256(file(), 100, 8, 1 << 40), "mode field is 1099511627776"),
        (file().bytes(100, b"0200000\0"), "mode field is 65536"),
        (base256(file(), 124, 12, -1), "size field is negative"),
        (base256(file(), 124, 12, i128::from(i64::MAX)), "ends early"),
        (base256(file(), 124, 12, 1 << 64), "size field"),
        (base256(file(), 136, 12, 1 << 64), "mtime field"),
        (Header::new("f", b'3', 0).octal(329, 8, 4096), "devmajor is 4096"),
        (Header::new("f", b'4', 0).octal(337, 8, 1 << 20), "devminor is 1048576"),
        (file().bytes(124, b"99999999999\0"), "size field is not a number"),
        (file().bytes(108, b"-000001\0"), "uid field is not a number"),
        (Header::new("f", b'Z', 0), "typeflag is `Z`"),
    ] {
        refused_bytes(&[header.block(), vec![0; 1024]].concat(), &[word]);
    }
    for (key, value, word) in [
        ("size", &b"18446744073709551615"[..], "ends early"),
        ("size", b"18446744073709551616", "not a number"),
        ("uid", b"4294967296", "no Linux system can hold"),
        ("uid", b"4294967295", "nobody's"),
        ("mtime", b"9223372036854775808", "not a time"),
        ("SCHILY.devmajor", b"-1", "not a number"),
        ("SCHILY.xattr.user.x", &[b'x'; 65_537], "65537 bytes"),
    ] {
        refused_bytes(&Tarball::new().pax(b'x', &[(key, value)]).file("f", b"").end(), &[word]);
    }
    let mut late = Tarball::new()
        .pax(b'x', &[("mtime", b"9223372036854775807.999999999"), ("atime", b"-9223372036854775807.5")]);
    late = late.file("f", b"");
    made(0, &["--size", "64M"], |out| out.write_all(&late.end()));
}

#[test]
fn whiteouts_by_the_hundred_thousand() {
    if !are_there() || !judge::require(&["debugfs"]) {
        return;
    }
    let folder = scratch();
    let write = |name: &str, entry: &dyn Fn(usize) -> String| {
        let path = folder.path().join(name);
        let mut file = BufWriter::new(File::create(&path).unwrap());
        for n in 0..100_000 {
            file.write_all(&Header::new(&entry(n), b'0', 0).block()).unwrap();
        }
        path
    };
    let below = write("below.tar", &|n| format!("d/{n}"));
    let above = write("above.tar", &|n| {
        if n % 1000 == 0 { "d/.wh..wh..opq".to_owned() } else { format!("d/.wh.{n}") }
    });
    let out = folder.path().join("out.img");
    let above = above.to_str().unwrap();
    let (output, resident) =
        limited(BASE + 100, &["--overlay", above, "--whiteouts", "--size", "64M"], &below, &out, |_| Ok(()));
    assert!(resident <= RESIDENT + 100, "{resident} MiB");
    assert!(output.status.success(), "{}", both(&output));
    assert_eq!(judge::e2fsck(&out, 0).unwrap().inodes_used, 12);
}

/// What `check` looks into may be compressed, too.
#[test]
fn ram_disks_that_mean_harm() {
    if !are_there() || !judge::require(&["gzip"]) {
        return;
    }
    // Little archives in a row, plain and packed; and packed zeros.
    let mut entry = b"070701".to_vec();
    let fields = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11, 0];
    entry.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
    entry.extend_from_slice(b"TRAILER!!!\0");
    entry.resize(entry.len().next_multiple_of(4), 0);
    let folder = scratch();
    let gzip = |bytes: &[u8]| {
        let path = folder.path().join("plain");
        std::fs::write(&path, bytes).unwrap();
        must(Command::new("gzip").args(["-1", "-f"]).arg(&path));
        std::fs::read(folder.path().join("plain.gz")).unwrap()
    };
    let many = entry.repeat(300_000);
    let zeros = gzip(&vec![0; 16 << 20]).repeat(300);
    for (name, initrd) in [("plain", many.clone()), ("packed", gzip(&many)), ("zeros", zeros)] {
        let archive = folder.path().join(format!("{name}.tar"));
        // A kernel by its header alone.
        let mut kernel = vec![0; 8192];
        kernel[0x1fe..0x200].copy_from_slice(b"\x55\xaa");
        kernel[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
        kernel[0x1f1] = 4;
        kernel[0x211] = 1;
        kernel[0x236] = 1;
        let tar = Tarball::new().file("boot/vmlinuz-6.1.2", &kernel).file("boot/initrd.img-6.1.2", &initrd);
        std::fs::write(&archive, tar.end()).unwrap();
        let command = lfs_image();
        let output = Command::new("prlimit")
            .args([&format!("--as={}", (BASE + 300) << 20), "--cpu=200", "--"])
            .arg(command.get_program())
            .args(["check", "--for", "ec2", "--boot", "none"])
            .arg(&archive)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {}", both(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("init"), "{name}: {}", both(&output));
    }
}
