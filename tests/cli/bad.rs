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
    refused(&archive, &["--free", "90%", "--reserved", "10"], "leave nothing for content");
    // Without `--boot none` there must be something to boot.
    refused(&archive, &["--boot", "auto"], "there is no kernel: looked for /boot/vmlinuz*");
    refused(&archive, &["--boot", "auto"], "hint: `--boot none`");
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
    refused(&archive, &[], "has a value of 9000 bytes");
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
