//! Disks that start are the same whenever and however they are made.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::rootfs::Tiny;
use crate::support::{both, must, scratch};
use crate::{fixture, lfs_image, raw};

/// The digest that `raw --digest` prints.
fn digest(said: &str) -> String {
    let first = said.split_whitespace().next().unwrap();
    assert!(first.starts_with("sha256:"), "{said}");
    first.to_owned()
}

/// Makes the image of an archive that comes through a pipe.
#[track_caller]
fn piped(archive: &Path, out: &Path, options: &[&str]) -> String {
    let mut cat = Command::new("cat").arg(archive).stdout(Stdio::piped()).spawn().unwrap();
    let output = lfs_image()
        .arg("raw")
        .args(options)
        .arg("-")
        .arg(out)
        .stdin(cat.stdout.take().unwrap())
        .output()
        .unwrap();
    cat.wait().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Plain twice, compressed, and through a pipe: one digest, which is that of the file.
#[track_caller]
fn is_the_same(tiny: &Tiny, folder: &Path, options: &[&str]) -> String {
    let archive = tiny.make(folder);
    let zipped = folder.join("root.tar.gz");
    must(Command::new("sh").arg("-c").arg(format!(
        "gzip -n <'{}' >'{}'",
        archive.display(),
        zipped.display()
    )));
    let out = folder.join("out.img");
    let options = [&["--digest", "--size", "256M"], options].concat();
    let first = digest(&raw(&archive, &out, &options));
    let summed = must(Command::new("sha256sum").arg(&out));
    assert_eq!(first["sha256:".len()..], summed[..64], "{options:?}");
    assert_eq!(digest(&raw(&archive, &out, &options)), first, "{options:?} again");
    assert_eq!(digest(&raw(&zipped, &out, &options)), first, "{options:?} compressed");
    assert_eq!(digest(&piped(&zipped, &out, &options)), first, "{options:?} through a pipe");
    first
}

#[test]
fn every_way_of_starting() {
    let folder = scratch();
    let folder = folder.path();
    let grub = |release| Tiny::new("amd64").grub(release, "i386-pc").grub(release, "x86_64-efi");
    let uki = Tiny::new("amd64").systemd_stub("bookworm").initrd(folder);
    let all = [
        is_the_same(&grub("bookworm"), folder, &["--boot", "grub"]),
        is_the_same(&grub("trixie"), folder, &["--boot", "grub"]),
        is_the_same(&grub("bookworm"), folder, &["--boot", "grub", "--table", "mbr"]),
        is_the_same(&uki, folder, &["--boot", "uki"]),
        is_the_same(&uki, folder, &["--boot", "stub"]),
        is_the_same(&uki, folder, &["--boot", "stub", "--table", "mbr"]),
        is_the_same(&Tiny::new("arm64"), folder, &[]),
    ];
    for (n, digest) in all.iter().enumerate() {
        assert!(!all[..n].contains(digest), "two ways of starting give the same disk");
    }
}

/// What is pinned in `fixtures/digests.txt` holds for disks that start, too.
#[test]
fn a_kernel_of_the_fixtures_is_among_the_pinned() {
    let pinned = std::fs::read_to_string(fixture("../digests.txt")).unwrap();
    for options in ["--boot stub --size 128M", "--boot stub --table mbr --size 128M"] {
        assert!(pinned.contains(&format!("  kernel.tar {options}\n")), "{options} isn't pinned");
    }
}
