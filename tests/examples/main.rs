//! The programs in `lfs-image/examples`: each is run, and outside judges look at what it makes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the environment")]

use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "../support/mod.rs"]
mod support;

use support::{judge, must, project, scratch};

/// A program, as it was built beside this test.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().with_file_name("examples").join(name);
    let hint = "`cargo test` builds it unless it is told which tests; then `cargo build -p lfs-image --examples` does";
    assert!(program.exists(), "there is no {}: {hint}", program.display());
    Command::new(program)
}

/// A tarball of these files.
fn tarball(folder: &Path, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let root = folder.join(name).with_extension("");
    for (path, content) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let archive = folder.join(name);
    must(Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&archive).arg("."));
    archive
}

/// A kernel by its header alone: enough for a plan, and started by nobody here.
fn kernel() -> Vec<u8> {
    let mut kernel = vec![0; 0x8000];
    // Source: Linux, Documentation/arch/x86/boot.rst. Protocol 2.15, 39 sectors of setup, 64 bits, a line of 2047 bytes.
    kernel[0x1f1] = 39;
    kernel[0x1fe..0x200].copy_from_slice(b"\x55\xaa");
    kernel[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    kernel[0x211] = 1;
    kernel[0x236] = 1;
    kernel[0x238..0x23a].copy_from_slice(b"\xff\x07");
    kernel
}

/// A system with a kernel, and with nothing in it that would run.
fn rootfs(folder: &Path) -> PathBuf {
    let files: [(&str, &[u8]); 3] =
        [("boot/vmlinuz-6.1.2", &kernel()), ("etc/motd", b"as it was\n"), ("sbin/init", b"#!/bin/sh\n")];
    tarball(folder, "rootfs.tar", &files)
}

/// The judges' word on a disk; where its root filesystem begins.
fn sound(image: &Path) -> u64 {
    judge::sgdisk(image).unwrap();
    let root = judge::partitions(image).unwrap().pop().unwrap();
    judge::e2fsck(image, root.offset).unwrap();
    root.offset
}

fn content(image: &Path, root: u64, path: &str) -> String {
    judge::debugfs(image, root, &format!("cat {path}")).unwrap()
}

const JUDGES: [&str; 6] = ["tar", "sgdisk", "sfdisk", "e2fsck", "debugfs", "sha256sum"];

#[test]
fn a_tarball_becomes_an_image_and_a_digest() {
    if !judge::require(&JUDGES) {
        return;
    }
    let folder = scratch();
    let rootfs = rootfs(folder.path());
    let (image, other) = (folder.path().join("out.img"), folder.path().join("other.img"));
    let said = must(example("tar_to_image").current_dir(&folder).arg(&rootfs).arg(&image));
    assert_eq!(said, "");
    let root = sound(&image);
    assert_eq!(content(&image, root, "/etc/motd"), "as it was\n");

    let said = must(example("digest_sink").current_dir(&folder).arg(&rootfs).arg(&other));
    assert_eq!(said, must(Command::new("sha256sum").arg(&other)));
}

#[test]
fn a_tree_needs_no_archive() {
    if !judge::require(&JUDGES) {
        return;
    }
    let folder = scratch();
    let image = folder.path().join("out.img");
    assert_eq!(must(example("tree_in_code").arg(&image)), "");
    let root = sound(&image);
    assert_eq!(content(&image, root, "/etc/HOSTNAME"), "lfs\n");
    let ping = judge::debugfs(&image, root, "ea_list /ping").unwrap();
    assert!(ping.contains("security.capability (20)"), "{ping}");
}

#[test]
fn files_are_added_in_three_ways() {
    if !judge::require(&JUDGES) {
        return;
    }
    let folder = scratch();
    let rootfs = rootfs(folder.path());
    let overlay = tarball(folder.path(), "overlay.tar", &[("etc/issue", b"from above\n")]);
    let image = folder.path().join("out.img");
    let said = must(example("add_files").current_dir(&folder).args([&rootfs, &overlay, &image]));
    for edit in ["make /etc/hostname: ", "make /etc/app.conf: "] {
        assert!(said.lines().any(|line| line.starts_with(edit)), "{edit}:\n{said}");
    }
    let root = sound(&image);
    for (path, expected) in [
        ("/etc/issue", "from above\n"),
        ("/etc/motd", "Welcome.\n"),
        ("/etc/app.conf", "answer = 42\n"),
        ("/etc/hostname", "lfs\n"),
    ] {
        assert_eq!(content(&image, root, path), expected, "{path}");
    }
}

#[cfg(feature = "ebs")]
#[test]
fn an_image_becomes_a_snapshot() {
    let folder = scratch();
    let image = folder.path().join("disk.img");
    // No table, so all of it is sent.
    std::fs::write(&image, support::noise(3 << 20)).unwrap();
    let aws = aws_judge::Judge::start(aws_judge::Config::default()).unwrap();
    let said = must(example("push").arg(&image).envs(aws.env()));
    let report = aws.report();
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    let snapshot = report.only_snapshot();
    assert_eq!(said, format!("{}\n", snapshot.id));
    assert!(snapshot.sealed && snapshot.volume_size == 1, "{snapshot:?}");
    let volume = folder.path().join("volume");
    aws.save_volume(&snapshot.id, aws_judge::View::Plain, &volume).unwrap();
    let (sent, had) = (std::fs::read(&volume).unwrap(), std::fs::read(&image).unwrap());
    assert!(sent[..had.len()] == had, "it has other content");
    assert!(!folder.path().join("disk.img.push").exists());
}

#[cfg(feature = "ami")]
#[test]
fn a_tarball_becomes_a_machine_image() {
    let folder = scratch();
    let rootfs = rootfs(folder.path());
    let aws = aws_judge::Judge::start(aws_judge::Config::default()).unwrap();
    let run = |rootfs: &Path| {
        let mut program = example("ami");
        program.current_dir(&folder).arg(rootfs).arg("my-system-1").envs(aws.env());
        program.output().unwrap()
    };
    let first = run(&rootfs);
    assert!(first.status.success(), "{}", support::both(&first));
    let report = aws.report();
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    let id = String::from_utf8(first.stdout).unwrap();
    let [image] = &report.images[..] else { panic!("{:?}", report.images) };
    assert_eq!(id.trim_end(), image.id);
    assert_eq!(image.name, "my-system-1");
    assert!(report.only_snapshot().sealed && !folder.path().join("my-system-1.push").exists());
    // Once more it is found, and something else isn't taken for it.
    let again = run(&rootfs);
    assert_eq!((again.status.success(), String::from_utf8(again.stdout).unwrap()), (true, id));
    let other = run(&tarball(
        folder.path(),
        "other.tar",
        &[("boot/vmlinuz-6.1.2", &kernel()), ("sbin/init", b"#!/bin/sh\n:\n")],
    ));
    assert!(!other.status.success() && support::both(&other).contains("has the name already"));
    assert_eq!(aws.report().images.len(), 1);
}

#[test]
fn no_example_is_forgotten() {
    let here = std::fs::read_to_string(project().join("tests/examples/main.rs")).unwrap();
    for entry in std::fs::read_dir(project().join("lfs-image/examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(here.contains(&format!("example(\"{name}\")")), "{name} isn't run");
    }
}
