//! Bad input: one clear message, exit code 1, nothing left behind.

use std::path::Path;
use std::process::{Command, Stdio};

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
    refused(&archive, &["--size", "1000"], "multiple of 512");
    refused(&archive, &["--inodes", "5"], "inodes");
    refused(&archive, &["--label", "seventeen letters"], "16");
    refused(&archive, &["--uuid", "zzz"], "not a UUID");
    // Without `--boot none` there must be something to boot.
    refused(&archive, &["--boot", "auto"], "there is no kernel: looked for /boot/vmlinuz*");
    refused(&archive, &["--boot", "auto"], "hint: `--boot none`");
}

#[test]
fn usage_errors_are_2() {
    for arguments in
        [&["raw"][..], &["raw", "a", "b", "--table", "apm"], &["raw", "a", "b", "--size", "8X"], &["fry"]]
    {
        assert_eq!(lfs_image().args(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_closed_pipe_is_a_failure() {
    let mut child = lfs_image()
        .args(["raw", "--boot", "none", "--size", "64M"])
        .arg(fixture("gnu-posix.tar"))
        .arg("-")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn an_interrupt_leaves_nothing() {
    if !judge::require(&["kill"]) {
        return;
    }
    let folder = scratch();
    let out = folder.path().join("out.img");
    // The archive never ends, so the walk can only be interrupted.
    let mut child = lfs_image()
        .args(["raw", "-"])
        .arg(&out)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut header = std::fs::read(fixture("gnu-ustar.tar")).unwrap();
    header.truncate(512);
    let writer = std::thread::spawn(move || {
        use std::io::Write as _;
        // The same directory over and over.
        while stdin.write_all(&header).is_ok() {}
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    must(Command::new("kill").arg("-INT").arg(child.id().to_string()));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", errors(&output));
    writer.join().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something is left behind");
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
    must(Command::new("umount").arg(folder.path()));
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("No space left"), "{}", errors(&output));
    assert_eq!(left, 0);
}
