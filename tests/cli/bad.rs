//! Bad input: one clear message, exit code 1, nothing left behind.

use std::path::Path;
use std::process::Command;

use crate::support::{judge, must, scratch};
use crate::{errors, fixture, lfs_image};

/// Runs `raw`, which must fail with code 1, say these words, and leave the folder as it was.
#[track_caller]
fn refused(archive: &Path, options: &[&str], words: &str) {
    let folder = scratch();
    let out = folder.path().join("out.img");
    std::fs::write(&out, "what was there before").unwrap();
    let boot: &[&str] = if options.contains(&"--boot") { &[] } else { &["--boot", "none"] };
    let output = lfs_image().arg("raw").args(options).args(boot).arg(archive).arg(&out).output().unwrap();
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{}: {said}", archive.display());
    assert!(said.contains("error: ") && said.contains(words), "{}: {said}", archive.display());
    assert!(output.stdout.is_empty());
    assert_eq!(std::fs::read(&out).unwrap(), b"what was there before");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something is left behind");
}

fn with(bytes: &[u8], check: impl FnOnce(&Path)) {
    let folder = scratch();
    let archive = folder.path().join("bad.tar");
    std::fs::write(&archive, bytes).unwrap();
    check(&archive);
}

#[test]
fn archives_that_are_none() {
    with(b"", |archive| refused(archive, &[], "bad.tar"));
    with(&[0; 10_240], |archive| refused(archive, &[], "bad.tar"));
    with(&[b'x'; 5000], |archive| refused(archive, &[], "bad.tar"));
    refused(Path::new("/nonexistent.tar"), &[], "open /nonexistent.tar");
}

#[test]
fn archives_that_are_cut_or_spoilt() {
    let whole = std::fs::read(fixture("gnu-posix.tar")).unwrap();
    with(&whole[..1500], |archive| refused(archive, &[], "bad.tar"));
    let mut spoilt = whole.clone();
    spoilt[100] ^= 1;
    with(&spoilt, |archive| refused(archive, &[], "checksum"));
}

/// How many entries of an archive are read, and whether it is said to have no end marker; none if it is refused, and then with its
/// name.
fn entries(archive: &Path) -> Option<(u64, bool)> {
    let output = lfs_image()
        .args(["raw", "--boot", "none", "--target", "none", "--dry-run", "--json"])
        .arg(archive)
        .output()
        .unwrap();
    let said = errors(&output);
    match output.status.code() {
        Some(0) => {
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let warned = report["warnings"].to_string().contains("bad.tar has no end marker");
            Some((report["input"]["entries"].as_u64().unwrap(), warned))
        }
        code => {
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("error: can't read") && said.contains("bad.tar"), "{said}");
            None
        }
    }
}

/// A plain archive that is cut right between two entries is one without an end marker, which GNU tar takes without a word, and so it
/// has to be taken, with a warning. Anywhere else, and anywhere in a compressed one, a cut is found.
#[test]
fn archives_that_are_cut_anywhere() {
    if !judge::require(&["gzip", "zstd", "xz", "bzip2"]) {
        return;
    }
    let names = ["a", "b", "c", "d"];
    let mut tar = crate::tarball::Tarball::new();
    // Where it may end: behind the first to the last entry, and in the end marker.
    let mut ends = std::collections::BTreeMap::new();
    for (n, name) in (1..).zip(names) {
        tar = tar.pax(b'x', &[("mtime", b"1.5")]).file(name, &vec![b'x'; 700 * n]);
        ends.insert(tar.0.len(), n);
    }
    let last = tar.0.len();
    let whole = tar.end();
    ends.extend([512, 513, 1024].map(|more| (last + more, names.len())));
    let odd = [1, 100, 511, 513, 1023, 1500, 1537, 2047, last - 1, last + 1, last + 513];
    for cut in (0..=whole.len()).step_by(512).chain(odd) {
        with(&whole[..cut], |archive| {
            let found = ends.get(&cut).map(|n| (*n as u64, cut <= last));
            assert_eq!(entries(archive), found, "cut at {cut} of {}", whole.len());
        });
    }
    with(&whole[..last], |archive| {
        let looked = lfs_image().arg("ls").arg(archive).output().unwrap();
        let said = errors(&looked);
        assert!(looked.status.success() && said.starts_with("warning: "), "{said}");
        assert!(said.contains(&format!("if it was cut at byte {last}, entries are missing")), "{said}");
    });
    for program in ["gzip", "zstd", "xz", "bzip2"] {
        let folder = scratch();
        let plain = folder.path().join("a.tar");
        std::fs::write(&plain, &whole).unwrap();
        let packed = Command::new(program).arg("-c").arg(&plain).output().unwrap().stdout;
        with(&packed, |archive| assert_eq!(entries(archive), Some((4, false)), "{program}"));
        for cut in (0..packed.len()).step_by(5).chain(packed.len().saturating_sub(16)..packed.len()) {
            with(&packed[..cut], |archive| assert_eq!(entries(archive), None, "{program} cut at {cut}"));
        }
    }
}

#[test]
fn paths_that_leave_the_root() {
    let folder = scratch();
    std::fs::write(folder.path().join("f"), "x").unwrap();
    let archive = folder.path().join("up.tar");
    must(
        Command::new("tar")
            .args(["-cPf"])
            .arg(&archive)
            .args(["--transform", "s,^f$,usr/../../f,", "-C"])
            .arg(folder.path())
            .arg("f"),
    );
    refused(&archive, &[], "usr/../../f");
}

#[test]
fn content_that_does_not_fit() {
    let folder = scratch();
    std::fs::write(folder.path().join("f"), vec![7; 20 << 20]).unwrap();
    let archive = folder.path().join("f.tar");
    must(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(folder.path()).arg("f"));
    refused(&archive, &["--size", "16M"], "MiB more");
    refused(&archive, &["--size", "16M"], "hint: ");
    refused(&archive, &["--inodes", "5"], "inodes");
    refused(&archive, &["--inodes", "5"], "hint: `--inodes`");
    refused(&archive, &["--size", "16M"], "a larger `--size`");
    refused(&archive, &["--free", "90%", "--reserved", "10"], "leave nothing for content");
    // Without `--boot none` there must be something to boot.
    refused(&archive, &["--boot", "auto"], "there is no kernel: looked for /boot/vmlinuz*");
    refused(&archive, &["--boot", "auto"], "hint: `--boot none`");
    // A ratio that no size makes true, and a number of inodes that none holds.
    refused(&archive, &["--inode-ratio", "256"], "an inode for every 256 bytes: it takes between 4096");
    refused(&archive, &["--inode-ratio", "4095", "--size", "4G"], "an inode for every 4095 bytes");
    refused(&archive, &["--inode-ratio", "64.1M"], "and 67108864");
    refused(&archive, &["--inodes", "5000000000"], "5000000000 inodes: ext4 numbers 4294967295 at most");
    refused(&archive, &["--inodes", "100000", "--size", "128M"], "MiB are needed");
    refused(&archive, &["--inode-ratio", "64M", "--size", "64M"], "hint: `--inodes` must be higher");
}

/// Where a larger disk helps nothing, none is asked for.
#[test]
fn a_larger_disk_is_no_cure_for_everything() {
    let with = |bytes: &[u8], options: &[&str], words: &str| {
        with(bytes, |archive| {
            refused(archive, options, words);
            let output = lfs_image()
                .args(["raw", "--boot", "none", "--dry-run"])
                .args(options)
                .arg(archive)
                .output()
                .unwrap();
            let said = errors(&output);
            assert!(said.contains(words) && !said.contains("hint: "), "{said}");
        });
    };
    let file = crate::tarball::Tarball::new().file("f", b"x").end();
    with(&file, &["--size", "64T"], "16 TiB");
    let sparse = [("GNU.sparse.size", &b"17592186044417"[..]), ("GNU.sparse.map", b"0,1")];
    let large = crate::tarball::Tarball::new().pax(b'x', &sparse).file("f", b"x").end();
    with(&large, &["--size", "1T"], "a file of 17592186044417 bytes: ext4 holds");
}

/// Hints name options of the command that failed: `extract` has no `--dry-run`.
#[test]
fn extract_has_hints_of_its_own() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = lfs_image()
        .args(["extract", fixture("gnu-posix.tar").to_str().unwrap(), "-"])
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    assert!(said.contains("No space left") && !said.contains("hint: "), "{said}");
}

#[test]
fn content_beyond_the_limit_is_not_unpacked() {
    let folder = scratch();
    std::fs::write(folder.path().join("f"), vec![0; 4 << 20]).unwrap();
    let archive = folder.path().join("bomb.tar.gz");
    must(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(folder.path()).arg("f"));
    refused(&archive, &["--max-size", "1M"], "more than 1048576 bytes");
    refused(&archive, &["--max-size", "1M"], "hint: `--max-size`");
}

#[test]
fn attributes_too_large_for_a_block() {
    let folder = scratch();
    let archive = folder.path().join("xattr.tar");
    let script = "import sys, tarfile
with tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT) as tar:
    entry = tarfile.TarInfo('f')
    entry.pax_headers = {'SCHILY.xattr.user.large': 'x' * 9000}
    tar.addfile(entry)";
    if !judge::require(&["python3"]) {
        return;
    }
    must(Command::new("python3").args(["-c", script]).arg(&archive));
    refused(&archive, &[], "the largest is `user.large` with a value of 9000");
    refused(&archive, &[], "hint: `--ea-inode`");
    let out = folder.path().join("out.img");
    crate::raw(&archive, &out, &["--ea-inode", "--table", "none", "--size", "64M"]);
    judge::e2fsck(&out, 0).unwrap();
}

#[test]
fn what_is_read_is_not_replaced() {
    let folder = scratch();
    let archive = folder.path().join("a.tar");
    std::fs::copy(fixture("gnu-posix.tar"), &archive).unwrap();
    std::os::unix::fs::symlink("a.tar", folder.path().join("link")).unwrap();
    std::fs::hard_link(&archive, folder.path().join("hard")).unwrap();
    for (file, text) in
        [("lfs-image.toml", "size = \"64M\"\n"), ("key", "ssh-ed25519 AAAA\n"), ("motd", "hello\n")]
    {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    crate::raw(&archive, &folder.path().join("a.img"), &["--boot", "none", "--size", "64M"]);
    let sums = || {
        let names = ["a.tar", "a.img", "lfs-image.toml", "key", "motd"];
        names.map(|name| std::fs::read(folder.path().join(name)).unwrap().len())
    };
    let before = sums();
    for line in [
        "raw --boot none a.tar a.tar",
        "raw --boot none a.tar ./a.tar",
        "raw --boot none a.tar link",
        "raw --boot none a.tar hard",
        "raw --boot none - a.tar",
        "raw --boot none --overlay a.tar a.img a.tar",
        "raw --boot none --config lfs-image.toml a.tar lfs-image.toml",
        "raw --boot none --authorized-key key a.tar key",
        "raw --boot none --copy motd:/etc/motd a.tar motd",
        "extract a.img a.img",
        "extract a.tar a.tar",
        "extract a.tar link",
        "extract - a.tar",
        "extract a.tar --overlay a.img a.img",
    ] {
        let stdin = std::fs::File::open(&archive).unwrap();
        let output =
            lfs_image().current_dir(folder.path()).args(line.split(' ')).stdin(stdin).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(errors(&output).contains("would replace it"), "{line}: {}", errors(&output));
    }
    assert_eq!(sums(), before);
}

#[test]
fn a_full_disk_is_a_clear_error() {
    if !judge::require_mounts() {
        return;
    }
    let folder = scratch();
    must(Command::new("mount").args(["-t", "tmpfs", "-o", "size=2M", "none"]).arg(folder.path()));
    let content = scratch();
    std::fs::write(content.path().join("f"), vec![7; 8 << 20]).unwrap();
    let archive = content.path().join("f.tar");
    must(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(content.path()).arg("f"));
    let output = lfs_image()
        .args(["raw", "--boot", "none"])
        .arg(&archive)
        .arg(folder.path().join("out.img"))
        .output()
        .unwrap();
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    // A compressed archive is unpacked somewhere else if that is where there is room.
    let packed = content.path().join("f.tar.gz");
    let gzip = Command::new("gzip").arg("-c").arg(&archive).output().unwrap();
    std::fs::write(&packed, gzip.stdout).unwrap();
    let spool = lfs_image()
        .args(["raw", "--boot", "none", "--spool-dir"])
        .arg(folder.path())
        .arg(&packed)
        .arg(content.path().join("out.img"))
        .output()
        .unwrap();
    must(Command::new("umount").arg(folder.path()));
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("No space left"), "{}", errors(&output));
    assert!(errors(&output).contains("hint: `--dry-run`"), "{}", errors(&output));
    assert_eq!(left, 0);
    assert_eq!(spool.status.code(), Some(1));
    assert!(errors(&spool).contains("No space left"), "{}", errors(&spool));
    assert!(
        errors(&spool).contains("hint: ") && errors(&spool).contains("--spool-dir"),
        "{}",
        errors(&spool)
    );
    assert!(!content.path().join("out.img").exists());
}
