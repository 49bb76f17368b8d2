//! Archives made by hand: what no archiver writes, or only some do.

use lfs_image::tree::{Kind, Node, Timestamp};
use lfs_image::{ErrorKind, Tree};

use crate::tarball::{Header, Tarball, chain, content, read, read_file, record};

fn node<'a>(tree: &'a Tree, path: &str) -> &'a Node {
    tree.node(tree.lookup(path.as_bytes()).unwrap_or_else(|| panic!("no {path}")))
}

fn xattr(tree: &Tree, path: &str, name: &str) -> Option<Vec<u8>> {
    tree.xattrs(node(tree, path).meta.xattrs).get(name.as_bytes()).map(|value| value.to_vec())
}

fn runs(tree: &Tree, path: &str) -> (u64, Vec<(u64, u64)>) {
    match &node(tree, path).kind {
        Kind::File(content) => (content.size(), content.runs().collect()),
        other => panic!("{path} is a {}", other.noun()),
    }
}

/// Refused the same way from a file and from a pipe, with all of `words`.
#[track_caller]
fn refused(archive: impl Into<Vec<u8>>, words: &[&str]) {
    let archive = archive.into();
    let error = read(archive.clone()).expect_err("it was read from a pipe");
    let text = chain(&error);
    assert_eq!(chain(&read_file(&archive).expect_err("it was read from a file")), text);
    assert_ne!(error.kind(), ErrorKind::Internal, "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[test]
fn what_is_no_archive_at_all() {
    refused(b"", &["a.tar", "is empty"]);
    refused(b"hello", &["5 bytes"]);
    refused([b'x'; 4096], &["neither with a tar header"]);
    refused([0; 10_240], &["no entries"]);
    refused([&b"PK\x03\x04"[..], &[9; 2000]].concat(), &["zip archive"]);
    let noise: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    refused(noise, &["not a tar archive"]);
}

#[test]
fn how_archives_end() {
    let one = Tarball::new().file("f", b"data");
    let more = |blocks: &[u8]| [&one.0[..], blocks].concat();
    for (what, archive) in [
        ("two blocks of zeros", more(&[0; 1024])),
        ("one", more(&[0; 512])),
        ("none", more(&[])),
        ("one and a half", more(&[0; 800])),
        ("a whole record", more(&[0; 10_240])),
        ("garbage after the end", more(&[&[0; 1024][..], &[b'x'; 777]].concat())),
        ("another archive after the end", more(&[&[0; 1024][..], &one.clone().end()].concat())),
    ] {
        for result in [read(archive.clone()), read_file(&archive)] {
            let (tree, store) = result.unwrap_or_else(|e| panic!("{what}: {}", chain(&e)));
            assert_eq!(content(&tree, &store, "f"), b"data");
        }
    }
    refused(more(&[&[0; 512][..], &one.0].concat()), &["block of zeros at byte 1024", "more entries"]);
    refused(more(&[b'x'; 512]), &["block at byte 1024", "not a tar header"]);
    refused(more(&[b'x'; 100]), &["ends early", "100 bytes are left at byte 1024"]);
}

#[test]
fn truncated_data() {
    let archive = Tarball::new().file("d/f", &[1; 1000]).0;
    refused(&archive[..1300], &["entry `d/f` at byte 0", "ends early", "byte 1300", "212 bytes"]);
    refused(&archive[..512], &["entry `d/f`", "1000 bytes"]);
    refused(&archive[..1530], &["ends early"]);
    refused(&archive[..300], &["300 bytes are less than a tar header"]);
}

#[test]
fn checksums_and_numbers_that_lie() {
    let mut archive = Tarball::new().file("a", b"1").file("f", b"data").end();
    archive[1024] = b'g';
    refused(archive, &["block at byte 1024", "checksum"]);
    let with = |header: Header| Tarball::new().file("a", b"1").header(header).end();
    let file = || Header::new("f", b'0', 0);
    refused(with(file().bytes(124, b"0000000x000")), &["entry `f` at byte 1024", "size", "not a number"]);
    refused(with(file().bytes(124, &[0xff; 12])), &["entry `f`", "size", "negative"]);
    refused(
        with(file().bytes(124, &[0x80, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])),
        &["entry `f`", "out of range"],
    );
    refused(with(file().bytes(124, &[0x80, 0, 0, 0, 0x7f, 1, 1, 1, 1, 1, 1, 1])), &["entry `f`"]);
    refused(with(file().bytes(108, &[0xff; 8])), &["entry `f`", "uid"]);
    refused(with(file().bytes(116, &[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])), &["gid", "4294967295"]);
    refused(with(file().bytes(136, b"later")), &["mtime"]);
    refused(with(file().bytes(100, b"rw-r--r--")), &["mode"]);
}

#[test]
fn a_signed_checksum_is_right_too() {
    let mut archive = Tarball::new().file("caf\u{e9}", b"data").end();
    let sum: i64 = archive[..512]
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..156 => i64::from(b' '),
            _ => i64::from(byte.cast_signed()),
        })
        .sum();
    archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let (tree, store) = read(archive).unwrap();
    assert_eq!(content(&tree, &store, "caf\u{e9}"), b"data");
}

#[test]
fn typeflags() {
    let archive = Tarball::new()
        .entry("v7", b'\0', b"data")
        .entry("v7 directory/", b'\0', b"")
        .header(Header::new("with a size/", b'\0', 1))
        .entry("with data/", b'\0', b"data")
        .entry("contiguous", b'7', b"data")
        .entry("label", b'V', b"data")
        .entry("dump", b'D', b"Yfile\0\0")
        .header(Header::new("directory", b'5', 4096))
        .header(Header::new("fifo", b'6', 4096))
        .header(Header::new("link", b'2', 99).link("contiguous"))
        .pax(b'x', &[("SCHILY.filetype", b"socket")])
        .entry("socket", b'0', b"")
        .end();
    let (tree, _) = read(archive).unwrap();
    for (path, noun) in [
        ("v7", "file"),
        ("v7 directory", "directory"),
        ("with a size", "directory"),
        ("with data", "directory"),
        ("contiguous", "file"),
        ("dump", "directory"),
        ("directory", "directory"),
        ("fifo", "fifo"),
        ("link", "symbolic link"),
        ("socket", "socket"),
    ] {
        assert_eq!(node(&tree, path).kind.noun(), noun, "{path}");
    }
    assert!(tree.lookup(b"label").is_none());
    assert_eq!(node(&tree, "link").meta.mode, 0o777);
    for (typeflag, word) in [
        (b'M', "another volume"),
        (b'N', "typeflag is `N`"),
        (b'\xff', "`\\xff`"),
        (b'A', "Solaris"),
        (b'S', "star"),
    ] {
        refused(Tarball::new().entry("f", typeflag, b"").end(), &["entry `f` at byte 0", word]);
    }
}

#[test]
fn devices() {
    let device = |major, minor| Header::new("d", b'3', 0).octal(329, 8, major).octal(337, 8, minor);
    let (tree, _) = read(Tarball::new().header(device(4095, 0o1777777)).end()).unwrap();
    let Kind::CharDevice(found) = node(&tree, "d").kind else { panic!() };
    assert_eq!((found.major, found.minor), (4095, 0o1777777));
    refused(Tarball::new().header(device(4096, 0)).end(), &["entry `d`", "devmajor is 4096"]);
    let pax = |key: &str, value: &[u8]| Tarball::new().pax(b'x', &[(key, value)]).header(device(1, 2)).end();
    let (tree, _) = read(pax("SCHILY.devminor", b"1048575")).unwrap();
    assert!(matches!(node(&tree, "d").kind, Kind::CharDevice(device) if device.minor == 1_048_575));
    refused(pax("SCHILY.devminor", b"1048576"), &["devminor is 1048576"]);
}

#[test]
fn hard_links_with_and_without_data() {
    let link = |header: Header| header.link("f");
    // Old formats give the size of the file and no data.
    let gnu =
        Tarball::new().file("f", b"data").header(link(Header::new("g", b'1', 4)).gnu()).file("h", b"x").end();
    // POSIX lets pax archives have the data again.
    let pax = Tarball::new()
        .file("f", b"data")
        .pax(b'x', &[("mtime", b"1")])
        .header(link(Header::new("g", b'1', 4)))
        .data(b"data")
        .file("h", b"x")
        .end();
    // Without any extended header, what follows tells.
    let with = Tarball::new()
        .file("f", b"data")
        .header(link(Header::new("g", b'1', 4)))
        .data(b"data")
        .file("h", b"x")
        .end();
    let without =
        Tarball::new().file("f", b"data").header(link(Header::new("g", b'1', 4))).file("h", b"x").end();
    for archive in [gnu, pax, with, without] {
        let (tree, store) = read(archive).unwrap();
        assert_eq!(tree.lookup(b"f"), tree.lookup(b"g"));
        assert_eq!(content(&tree, &store, "f"), b"data");
        assert_eq!(content(&tree, &store, "h"), b"x");
    }
}

#[test]
fn gnu_long_names() {
    let long = "l/".repeat(150) + "f";
    let target = "t".repeat(3000);
    let archive = Tarball::new()
        .entry("././@LongLink", b'K', format!("{target}\0").as_bytes())
        .entry("././@LongLink", b'L', format!("{long}\0").as_bytes())
        .link("cut", b'2', "cut")
        .file("next", b"x")
        .end();
    let (tree, _) = read(archive).unwrap();
    let Kind::Symlink(found) = &node(&tree, &long).kind else { panic!() };
    assert_eq!(**found, *target.as_bytes());
    assert!(tree.lookup(b"next").is_some());
    refused(
        Tarball::new().entry("L", b'L', &[b'a'; 70_000]).file("f", b"").end(),
        &["header at byte 0", "70000 bytes"],
    );
    refused(Tarball::new().entry("L", b'L', b"name").end(), &["ends early", "is missing"]);
    refused(Tarball::new().pax(b'x', &[("path", b"p")]).end(), &["ends early", "is missing"]);
}

#[test]
fn headers_that_belong_to_nothing_come_to_an_end() {
    let headers = |n| (0..n).fold(Tarball::new(), |archive, _| archive.entry("L", b'L', b"name\0"));
    let (tree, _) = read(headers(1023).file("f", b"x").end()).unwrap();
    assert!(tree.lookup(b"name").is_some());
    refused(headers(1024).file("f", b"x").end(), &["1024 headers in a row, up to byte 1048576"]);
}

#[test]
fn extended_headers_override() {
    let archive = Tarball::new()
        .pax(b'g', &[("uid", b"7"), ("gid", b"8"), ("comment", b"by hand"), ("mtime", b"5")])
        .pax(
            b'x',
            &[
                ("path", b"p\xff/q"),
                ("gid", b""),
                ("uid", b"4000000000"),
                ("mtime", b"-1.5"),
                ("atime", b"8.000000001"),
                ("ctime", b"9"),
                ("LIBARCHIVE.creationtime", b"1.25"),
                ("hdrcharset", b"BINARY"),
                ("SCHILY.ino", b"77"),
            ],
        )
        .file("ignored", b"data")
        .file("next", b"more")
        .end();
    let (tree, store) = read(archive).unwrap();
    let id = tree.lookup(b"p\xff/q").unwrap();
    let meta = &tree.node(id).meta;
    assert_eq!((meta.uid, meta.gid), (4_000_000_000, 0));
    assert_eq!(meta.mtime, Timestamp { sec: -2, nsec: 500_000_000 });
    let times = meta.times.as_ref().unwrap();
    assert_eq!(times.atime, Some(Timestamp { sec: 8, nsec: 1 }));
    assert_eq!(times.ctime, Some(Timestamp::from_secs(9)));
    assert_eq!(times.crtime, Some(Timestamp { sec: 1, nsec: 250_000_000 }));
    let next = node(&tree, "next");
    assert_eq!((next.meta.uid, next.meta.gid, next.meta.mtime.sec), (7, 8, 5));
    assert_eq!(next.meta.times, None);
    assert_eq!(content(&tree, &store, "next"), b"more");
}

/// Programs that give a size to the wrong header read different entries from one archive.
#[test]
fn a_size_record_is_its_own_entry_s_alone() {
    let inner = Tarball::new().file("smuggled", b"x").0;
    // The header says nothing is stored, the record knows better; a long name comes between them.
    let archive = Tarball::new()
        .pax(b'x', &[("size", inner.len().to_string().as_bytes())])
        .entry("././@LongLink", b'L', b"outer\0")
        .header(Header::new("short", b'0', 0))
        .data(&inner)
        .file("next", b"next")
        .end();
    let (tree, store) = read(archive).unwrap();
    assert_eq!(content(&tree, &store, "outer"), inner);
    assert_eq!(content(&tree, &store, "next"), b"next");
    assert!(tree.lookup(b"smuggled").is_none());
    // The same with a global header between them.
    let archive = Tarball::new()
        .pax(b'x', &[("size", inner.len().to_string().as_bytes())])
        .pax(b'g', &[("comment", b"between")])
        .header(Header::new("outer", b'0', 0))
        .data(&inner)
        .end();
    let (tree, _) = read(archive).unwrap();
    assert!(tree.lookup(b"smuggled").is_none());
    let file = || Tarball::new().file("f", b"");
    refused(
        [Tarball::new().pax(b'g', &[("size", b"0")]).0, file().end()].concat(),
        &["header at byte 0", "size"],
    );
    let twice = Tarball::new().pax(b'x', &[("size", b"0")]).pax(b'x', &[("uid", b"0")]).file("f", b"").end();
    refused(twice, &["header at byte 1024", "second extended header"]);
    refused(
        Tarball::new().pax(b'x', &[("size", b"-1")]).file("f", b"").end(),
        &["header at byte 0", "`size` is not a number"],
    );
}

#[test]
fn malformed_extended_headers() {
    for records in [&b"7 a=b"[..], b"5 a=b\n", b"99999 path=x\n", b"\0\0\0", b"6 path\n"] {
        refused(
            Tarball::new().entry("x", b'x', records).file("f", b"").end(),
            &["header at byte 0", "malformed"],
        );
    }
    let huge = Tarball::new().header(Header::new("x", b'x', 17 << 20)).file("f", b"").end();
    refused(huge, &["header at byte 0", "17825792 bytes"]);
    let long = "a/".repeat(40_000);
    refused(
        Tarball::new().pax(b'x', &[("path", long.as_bytes())]).file("f", b"").end(),
        &["80000 bytes long"],
    );
}

#[test]
fn attributes_of_both_spellings() {
    let archive = Tarball::new()
        .pax(
            b'x',
            &[
                ("SCHILY.xattr.user.a", b"schily\n\0="),
                ("LIBARCHIVE.xattr.user.a", b"b3RoZXI="),
                ("LIBARCHIVE.xattr.user.%62", b"b3RoZXI"),
                ("SCHILY.xattr.user.c%3Dd%25", b""),
                ("RHT.security.selinux", b"system_u:object_r:etc_t:s0"),
                ("SCHILY.xattr.com.apple.provenance", b"\x01"),
            ],
        )
        .file("f", b"")
        .file("next", b"")
        .end();
    let (tree, _) = read(archive).unwrap();
    assert_eq!(xattr(&tree, "f", "user.a").unwrap(), b"schily\n\0=");
    assert_eq!(xattr(&tree, "f", "user.b").unwrap(), b"other");
    assert_eq!(xattr(&tree, "f", "user.c=d%").unwrap(), b"");
    assert_eq!(xattr(&tree, "f", "security.selinux").unwrap(), b"system_u:object_r:etc_t:s0\0");
    assert_eq!(tree.xattrs(node(&tree, "f").meta.xattrs).len(), 4);
    assert!(tree.xattrs(node(&tree, "next").meta.xattrs).is_empty());
    let with = |key: &str, value: &[u8]| Tarball::new().pax(b'x', &[(key, value)]).file("f", b"").end();
    refused(with("SCHILY.xattr.user.big", &[7; 65_537]), &["SCHILY.xattr.user.big", "65537 bytes"]);
    refused(with("SCHILY.xattr.nowhere", b""), &["outside of user"]);
    refused(with("LIBARCHIVE.xattr.user.a", b"?"), &["not base64"]);
    refused(with("SCHILY.acl.ace", b"everyone@:r"), &["NFSv4"]);
    refused(
        Tarball::new().pax(b'g', &[("SCHILY.xattr.user.a", b"")]).file("f", b"").end(),
        &["for all entries"],
    );
    let names: Vec<String> = (0..40).map(|n| format!("SCHILY.xattr.user.{n}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &[7; 65_536][..])).collect();
    refused(Tarball::new().pax(b'x', &many).file("f", b"").end(), &["header at byte 0", "1048576 bytes"]);
}

const ACCESS: &str = "system.posix_acl_access";

#[test]
fn access_control_lists_with_names() {
    let list = b"user::rw-,user:lfs:r--,group::r--,group:adm:rwx,mask::rwx,other::---";
    let archive = |passwd: &[u8]| {
        Tarball::new()
            .pax(b'x', &[("SCHILY.acl.access", list)])
            .file("var/log/journal", b"")
            .file("etc/group", b"root:x:0:\nadm:x:4:\nadm:x:5:\n")
            .file("etc/passwd", passwd)
            .end()
    };
    let (tree, _) = read(archive(b"root:x:0:0::/root:/bin/sh\nlfs:x:1001:1001::/:\n")).unwrap();
    let value = xattr(&tree, "var/log/journal", ACCESS).unwrap();
    assert_eq!(
        value,
        [
            &2_u32.to_le_bytes()[..],
            &[1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff],
            &[2, 0, 4, 0, 0xe9, 3, 0, 0],
            &[4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff],
            &[8, 0, 7, 0, 4, 0, 0, 0],
            &[16, 0, 7, 0, 0xff, 0xff, 0xff, 0xff],
            &[32, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        ]
        .concat()
    );
    assert_eq!(tree.xattrs(node(&tree, "var/log/journal").meta.xattrs).len(), 1);
    // The mask is the group's permission bits.
    assert_eq!(node(&tree, "var/log/journal").meta.mode, 0o670);
    refused(archive(b"root:x:0:0::/root:/bin/sh\n"), &["var/log/journal", "`lfs`", "/etc/passwd"]);
}

#[test]
fn access_control_lists_in_the_kernel_s_form() {
    let with = |value: &[u8]| {
        Tarball::new().pax(b'x', &[("SCHILY.xattr.system.posix_acl_access", value)]).file("f", b"").end()
    };
    let entry = |tag: u8, bits: u8| [tag, 0, bits, 0, 0xff, 0xff, 0xff, 0xff];
    let good = [&[2, 0, 0, 0][..], &entry(32, 4), &entry(1, 6), &entry(4, 4), &entry(16, 7)].concat();
    let (tree, _) = read(with(&good)).unwrap();
    assert_eq!(xattr(&tree, "f", ACCESS).unwrap()[4], 1, "sorted");
    refused(with(b"nonsense"), &["entry `f`", ACCESS, "8 bytes"]);
    refused(with(&good[..12]), &["no `user::`"]);
    let on_file = Tarball::new().pax(b'x', &[("SCHILY.acl.default", b"user::rwx,group::r-x,other::r-x")]);
    refused(on_file.file("f", b"").end(), &["only a directory can have"]);
}

#[test]
fn sparse_files_by_hand() {
    let data = [&[1; 512][..], &[2; 512]].concat();
    let zero_zero: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"4096"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"512"),
        ("GNU.sparse.numbytes", b"512"),
        ("GNU.sparse.offset", b"2048"),
        ("GNU.sparse.numbytes", b"512"),
    ];
    let zero_one: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"4096"),
        ("GNU.sparse.name", b"f"),
        ("GNU.sparse.map", b"512,512,2048,512,4096,0"),
    ];
    for records in [zero_zero, zero_one] {
        let archive = Tarball::new().pax(b'x', records).file("f", &data).file("next", b"x").end();
        let (tree, store) = read(archive).unwrap();
        assert_eq!(runs(&tree, "f"), (4096, vec![(512, 512), (2048, 512)]));
        assert_eq!(content(&tree, &store, "f")[2048..2050], [2, 2]);
        assert_eq!(content(&tree, &store, "next"), b"x");
    }
    let one_zero = |size: &[u8], map: &str, stored: u64| {
        let mut block = map.as_bytes().to_vec();
        block.resize(block.len().next_multiple_of(512), 0);
        Tarball::new()
            .pax(
                b'x',
                &[
                    ("GNU.sparse.major", b"1"),
                    ("GNU.sparse.minor", b"0"),
                    ("GNU.sparse.name", b"f"),
                    ("GNU.sparse.realsize", b"4096"),
                    ("size", size),
                ],
            )
            .header(Header::new("GNUSparseFile.0/f", b'0', stored))
            .data(&[&block[..], &data].concat())
            .file("next", b"x")
            .end()
    };
    let map = "2\n512\n512\n2048\n512\n";
    // As GNU tar has it, without the record, and as bsdtar has it: the full size in the record.
    for size in [&b"1536"[..], b"", b"4096"] {
        let (tree, store) = read(one_zero(size, map, 1536)).unwrap();
        assert_eq!(runs(&tree, "f"), (4096, vec![(512, 512), (2048, 512)]));
        assert_eq!(content(&tree, &store, "next"), b"x");
        assert!(tree.lookup(b"GNUSparseFile.0").is_none());
    }
    refused(one_zero(b"4096", map, 1024), &["`f` at byte", "take 1536 bytes", "4096 or 1024"]);
    refused(one_zero(b"", "2\n512\n512\n600\n512\n", 1536), &["`f`", "overlaps"]);
    refused(one_zero(b"", "2\n512\n512\n4000\n512\n", 1536), &["`f`", "past the size"]);
    refused(one_zero(b"", "9999999\n", 1536), &["`f`", "9999999 runs"]);
    refused(one_zero(b"", "x\n", 1536), &["`f`", "not a number"]);
    refused(one_zero(b"", "2\n1\n", 512), &["`f`"]);
    refused(one_zero(b"", "1\n0\n18446744073709551615\n", 1536), &["2^64 or more"]);
    let unknown = Tarball::new().pax(b'x', &[("GNU.sparse.major", b"2"), ("GNU.sparse.realsize", b"1")]);
    refused(unknown.file("f", b"").end(), &["2.0", "not known"]);
    let odd = Tarball::new().pax(b'x', &[("GNU.sparse.size", b"9"), ("GNU.sparse.offset", b"1")]);
    refused(odd.file("f", b"").end(), &["ends with an offset"]);
}

#[test]
fn a_sparse_file_without_holes_is_a_file() {
    let records: &[(&str, &[u8])] = &[("GNU.sparse.size", b"1024"), ("GNU.sparse.map", b"0,512,512,512")];
    let (tree, store) = read(Tarball::new().pax(b'x', records).file("f", &[7; 1024]).end()).unwrap();
    assert_eq!(runs(&tree, "f"), (1024, vec![(0, 1024)]));
    assert_eq!(content(&tree, &store, "f"), [7; 1024]);
}

#[test]
fn faults_of_the_tree_name_archive_entry_and_offset() {
    refused(
        Tarball::new().file("a", b"").file("../b", b"").end(),
        &["a.tar", "entry `../b` at byte 512", "`..`"],
    );
    refused(
        Tarball::new().link("g", b'1', "f").end(),
        &["a.tar", "entry `g` at byte 0", "`f` does not exist"],
    );
    let looped = Tarball::new().link("a", b'2', "b").link("b", b'2', "a").file("a/x", b"").end();
    refused(looped, &["entry `a/x` at byte 1024", "more than 40"]);
}

#[test]
fn records_count_themselves() {
    assert_eq!(record(b"path", b"a"), b"9 path=a\n");
    assert_eq!(record(b"path", b"ab"), b"11 path=ab\n");
    assert_eq!(record(b"path", &[b'a'; 91]).len(), 101);
}
