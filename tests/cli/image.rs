//! Images of real and of awkward archives, as others see them.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{compare, judge, must, rootfs, scratch};
use crate::{errors, fixture, lfs_image, raw};

/// All judges of a whole disk; where its root filesystem starts.
#[track_caller]
fn judged(image: &Path, gpt: bool) -> u64 {
    if gpt {
        judge::sgdisk(image).unwrap();
    }
    judge::sfdisk(image).unwrap();
    let root = judge::partitions(image).unwrap().pop().unwrap();
    judge::e2fsck(image, root.offset).unwrap();
    root.offset
}

#[test]
fn a_real_distribution_is_what_its_tarball_says() {
    if !judge::require(&["mmdebstrap", "sgdisk", "sfdisk", "e2fsck"]) || !judge::require(compare::NEEDS) {
        return;
    }
    for (variant, table) in [("debian-systemd", "gpt"), ("lfs-sysv", "mbr")] {
        let folder = scratch();
        let archive = rootfs::debian(variant, folder.path());
        let out = folder.path().join("out.img");
        let said = raw(&archive, &out, &["--table", table, "--boot", "none", "--target", "none"]);
        assert!(said.starts_with("root=PARTUUID=") && said.trim_end().ends_with("out.img"), "{said}");
        assert_eq!(std::fs::metadata(&out).unwrap().len() % (1 << 30), 0);
        let offset = judged(&out, table == "gpt");
        compare::image(&archive, &out, offset, &[]).unwrap();
    }
}

#[test]
fn awkward_archives_keep_everything() {
    if !judge::require(&["e2fsck"]) || !judge::require(compare::NEEDS) {
        return;
    }
    let mut count = 0;
    for entry in std::fs::read_dir(fixture("")).unwrap() {
        let archive = entry.unwrap().path();
        let folder = scratch();
        let out = folder.path().join("out.img");
        raw(&archive, &out, &["--table", "none", "--size", "64M", "--journal", "none", "--boot", "none"]);
        judge::e2fsck(&out, 0).unwrap();
        compare::image(&archive, &out, 0, &[]).unwrap();
        count += 1;
    }
    assert!(count >= 19);
}

#[test]
fn one_input_gives_one_image() {
    let folder = scratch();
    let plain = fixture("gnu-posix.tar");
    let digest = |rootfs: &Path, dir: &Path, tz: &str| {
        let out = dir.join("out.img");
        let output = lfs_image()
            .env("TZ", tz)
            .current_dir(dir)
            .args(["raw", "--digest", "--size", "64M", "--boot", "none"])
            .arg(rootfs)
            .arg(&out)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", errors(&output));
        judge::e2fsck(&out, 2 << 20).unwrap();
        String::from_utf8(output.stdout).unwrap().lines().next().unwrap()[..71].to_owned()
    };
    let wanted = digest(&plain, folder.path(), "UTC");
    let other = scratch();
    assert_eq!(digest(&plain, other.path(), "Asia/Tokyo"), wanted);
    for program in ["gzip", "zstd", "xz", "bzip2"] {
        if !judge::require(&[program]) {
            continue;
        }
        // A name that says nothing: content tells.
        let packed = folder.path().join("packed");
        let status =
            Command::new(program).arg("-c").arg(&plain).stdout(File::create(&packed).unwrap()).status();
        assert!(status.unwrap().success());
        assert_eq!(digest(&packed, folder.path(), "UTC"), wanted, "{program}");
    }
    // Through pipes, in and out.
    let mut child = lfs_image()
        .args(["raw", "--size", "64M", "--boot", "none", "-", "-"])
        .stdin(Stdio::piped())
        .stdout(File::create(folder.path().join("piped.img")).unwrap())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(&plain).unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
    let sum = must(Command::new("sha256sum").arg(folder.path().join("piped.img")));
    assert_eq!(format!("sha256:{}", &sum[..64]), wanted);
}

/// Changing these is a breaking change: people compare digests of images.
#[test]
fn digests_are_pinned() {
    let pinned = std::fs::read_to_string(crate::support::project().join("fixtures/digests.txt")).unwrap();
    let mut count = 0;
    for line in pinned.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (digest, rest) = line.split_once("  ").unwrap();
        let mut words = rest.split(' ');
        let archive = fixture(words.next().unwrap());
        let folder = scratch();
        let out = folder.path().join("out.img");
        let options: Vec<&str> = words.chain(["--digest"]).collect();
        let said = raw(&archive, &out, &options);
        let got = said.lines().next().unwrap().split_once("  ").unwrap().0.to_owned();
        assert_eq!(
            got,
            format!("sha256:{digest}"),
            "{rest}: the default image changed, see fixtures/digests.txt"
        );
        count += 1;
    }
    assert!(count >= 3);
}

#[test]
fn large_directories_are_found_by_the_kernel() {
    if !judge::require(&["e2fsck", "tar"]) || !judge::require_mounts() {
        return;
    }
    let folder = scratch();
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let mut names = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for n in 0..30_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut name = format!("{n}-").into_bytes();
        let len = usize::try_from(state >> 58).unwrap();
        // Bytes above 0x7f, too: there the signedness of the hash shows.
        name.extend(
            (0..len)
                .map(|i| state.to_le_bytes()[i % 8])
                .map(|b| if matches!(b, 0 | b'/') { b'_' } else { b }),
        );
        names.push(name);
    }
    use std::os::unix::ffi::OsStrExt as _;
    for name in &names {
        File::create(tree.join(std::ffi::OsStr::from_bytes(name))).unwrap();
    }
    let archive = folder.path().join("tree.tar");
    must(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(folder.path()).arg("tree"));
    let out = folder.path().join("out.img");
    raw(&archive, &out, &["--table", "none", "--boot", "none"]);
    judge::e2fsck(&out, 0).unwrap();
    let mount = crate::support::mount::Mount::read_only(&out, 0);
    for name in &names {
        let path = mount.path().join("tree").join(std::ffi::OsStr::from_bytes(name));
        assert!(path.symlink_metadata().is_ok(), "{}", path.display());
    }
    mount.finish().unwrap();
}

#[test]
fn layers_and_whiteouts() {
    let folder = scratch();
    let tar = |name: &str, files: &[(&str, &str)]| {
        let top = folder.path().join(format!("{name}.d"));
        for (path, text) in files {
            let path = top.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let archive = folder.path().join(name);
        must(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&top).arg("."));
        archive
    };
    if !judge::require(&["tar", "debugfs", "e2fsck"]) {
        return;
    }
    let base = tar("base.tar", &[("etc/keep", "old"), ("etc/gone", "old"), ("opt/a", "1"), ("opt/b", "2")]);
    let over = tar(
        "over.tar",
        &[("etc/keep", "new"), ("etc/.wh.gone", ""), ("opt/.wh..wh..opq", ""), ("opt/c", "3")],
    );
    let out = folder.path().join("out.img");
    let over = over.to_str().unwrap();
    raw(
        &base,
        &out,
        &["--table", "none", "--size", "64M", "--boot", "none", "--overlay", over, "--whiteouts"],
    );
    judge::e2fsck(&out, 0).unwrap();
    assert_eq!(judge::debugfs(&out, 0, "cat /etc/keep").unwrap(), "new");
    let names = |path: &str| judge::debugfs(&out, 0, &format!("ls -p {path}")).unwrap();
    assert!(!names("/etc").contains("gone"));
    assert!(names("/opt").contains("/c/") && !names("/opt").contains("/a/"));
}
