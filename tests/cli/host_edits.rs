//! Edits of the tree from the command line, as debugfs sees them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{both, judge, must, scratch};
use crate::{errors, lfs_image, raw};

/// A tarball of files in memory; a text that begins with `->` is a symbolic link.
pub(crate) fn tarball(folder: &Path, files: &[(&str, &str)]) -> PathBuf {
    let top = folder.join("tree");
    for (path, text) in files {
        let path = top.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.strip_prefix("->") {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => std::fs::write(path, text).unwrap(),
        }
    }
    let archive = folder.join("tree.tar");
    must(
        Command::new("tar")
            .args(["--owner=0", "--group=0", "-cf"])
            .arg(&archive)
            .arg("-C")
            .arg(&top)
            .arg("."),
    );
    archive
}

const SYSV: [(&str, &str); 5] = [
    ("sbin/init", "ELF"),
    ("bin/sh", "ELF"),
    ("etc/inittab", "id:3:initdefault:\n"),
    ("etc/fstab", "/dev/sda2 / ext4 defaults 1 1\n/dev/sda3 swap swap pri=1 0 0\n"),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
];

pub(crate) const PLAIN: [&str; 6] = ["--boot", "none", "--table", "none", "--size", "64M"];

pub(crate) fn cat(image: &Path, path: &str) -> String {
    judge::debugfs(image, 0, &format!("cat {path}")).unwrap()
}

#[test]
fn a_tree_with_an_init_gets_what_booting_needs() {
    if !judge::require(&["debugfs", "e2fsck", "tar"]) {
        return;
    }
    let folder = scratch();
    let archive = tarball(folder.path(), &SYSV);
    let out = folder.path().join("out.img");
    raw(&archive, &out, &PLAIN);
    judge::e2fsck(&out, 0).unwrap();
    let fstab = cat(&out, "/etc/fstab");
    assert!(
        fstab.starts_with("UUID=")
            && fstab.ends_with(" / ext4 defaults 1 1\n/dev/sda3 swap swap pri=1 0 0\n")
    );
    let stat = |path: &str| judge::debugfs(&out, 0, &format!("stat {path}")).unwrap();
    assert!(stat("/dev/console").contains("character special") && stat("/dev/console").contains("05:01"));
    assert!(stat("/tmp").contains("Mode:  01777"), "{}", stat("/tmp"));
    // Nothing is changed where that is asked for, or where there is nothing to boot.
    let untouched = [&PLAIN[..], &["--target", "none"]].concat();
    raw(&archive, &out, &untouched);
    assert_eq!(cat(&out, "/etc/fstab"), SYSV[3].1);
    let data = scratch();
    let archive = tarball(data.path(), &[("data/file", "x")]);
    raw(&archive, &out, &PLAIN);
    assert!(!judge::debugfs(&out, 0, "ls -p /").unwrap().contains("/dev/"));
}

#[test]
fn options_come_from_a_file_and_those_that_are_typed_win() {
    if !judge::require(&["debugfs", "tar"]) {
        return;
    }
    let folder = scratch();
    let archive = tarball(folder.path(), &SYSV);
    let own = folder.path().join("own");
    std::fs::write(&own, "mine\n").unwrap();
    let config = folder.path().join("lfs-image.toml");
    let text = format!(
        "boot = \"none\"\ntable = \"none\"\nsize = \"64M\"\n[host]\nhostname = \"from-file\"\nfstab = \"whole\"\n\
         remove = [\"/etc/passwd\"]\ncopy = [\"{}:/etc/own:600:7:8\"]\n",
        own.display()
    );
    std::fs::write(&config, text).unwrap();
    let out = folder.path().join("out.img");
    let config = config.to_str().unwrap();
    raw(&archive, &out, &["--config", config, "--size", "32M"]);
    assert_eq!(out.metadata().unwrap().len(), 32 << 20);
    assert_eq!(cat(&out, "/etc/hostname"), "from-file\n");
    assert!(cat(&out, "/etc/fstab").contains("\n#/dev/sda3 swap"), "{}", cat(&out, "/etc/fstab"));
    assert_eq!(cat(&out, "/etc/own"), "mine\n");
    let stat = judge::debugfs(&out, 0, "stat /etc/own").unwrap();
    assert!(stat.contains("Mode:  0600") && stat.contains("User:     7"), "{stat}");
    assert!(!judge::debugfs(&out, 0, "ls -p /etc").unwrap().contains("/passwd/"));
    raw(&archive, &out, &["--config", config, "--hostname", "typed", "--remove", "/etc/inittab"]);
    assert_eq!(cat(&out, "/etc/hostname"), "typed\n");
    let names = judge::debugfs(&out, 0, "ls -p /etc").unwrap();
    assert!(
        names.contains("/passwd/") && !names.contains("/inittab/"),
        "a list that is typed replaces the file's"
    );

    std::fs::write(config, "hostnam = \"x\"\n").unwrap();
    let output = lfs_image().args(["raw", "--config", config]).arg(&archive).arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("lfs-image.toml: there is no option `hostnam`"), "{}", errors(&output));
}

#[test]
fn a_dry_run_shows_edits_as_a_diff() {
    if !judge::require(&["tar", "patch"]) {
        return;
    }
    let folder = scratch();
    let archive = tarball(folder.path(), &SYSV);
    let options = [&PLAIN[..], &["--dry-run", "--target", "ec2", "--hostname", "new"]].concat();
    let output = lfs_image().arg("raw").args(&options).arg(&archive).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for words in
        ["edit: change /etc/fstab: ", "\n--- /etc/fstab\n+++ /etc/fstab\n@@ -1,2 +1,3 @@\n-/dev/sda2 / ext4"]
    {
        assert!(text.contains(words), "no {words:?} in {}", both(&output));
    }
    // patch understands it, and comes to the same.
    let output = lfs_image().args(["raw", "--json"]).args(&options).arg(&archive).output().unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let edits = said["edits"].as_array().unwrap();
    let fstab = edits.iter().find(|edit| edit["path"] == "/etc/fstab").unwrap();
    assert_eq!((&fstab["action"], fstab["why"].is_string()), (&"change".into(), true));
    let diff = folder.path().join("diff");
    std::fs::write(&diff, fstab["diff"].as_str().unwrap()).unwrap();
    let tree = folder.path().join("tree/etc/fstab");
    must(Command::new("patch").arg(&tree).arg(&diff));
    let out = folder.path().join("out.img");
    let options = [&PLAIN[..], &["--target", "ec2", "--hostname", "new"]].concat();
    raw(&archive, &out, &options);
    if judge::require(&["debugfs"]) {
        assert_eq!(cat(&out, "/etc/fstab"), std::fs::read_to_string(tree).unwrap());
    }
}

#[test]
fn what_can_not_be_made_is_refused() {
    let folder = scratch();
    let archive = tarball(folder.path(), &SYSV);
    let private = folder.path().join("key");
    std::fs::write(&private, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let private = private.to_str().unwrap();
    for (options, words) in [
        (&["--hostname", "a b"][..], "no name for a host"),
        (&["--user", "Me"], "no name for a user"),
        (&["--authorized-key", private], "a private key"),
        (&["--remove", "/nowhere"], "there is no /nowhere"),
        (&["--copy", "/nowhere:/x"], "/nowhere"),
        (&["--copy", "/etc:/x"], "--overlay"),
        (&["--copy", "/etc/hostname:/etc"], "it is a directory"),
    ] {
        let out = folder.path().join("out.img");
        let output =
            lfs_image().arg("raw").args(PLAIN).args(options).arg(&archive).arg(&out).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{options:?}");
        assert!(errors(&output).contains(words), "{options:?}: {}", errors(&output));
        assert!(!out.exists());
    }
    let both_ways = ["raw", "--scrub", "--authorized-key", "/dev/null", "a", "b"];
    assert_eq!(lfs_image().args(both_ways).output().unwrap().status.code(), Some(2));
}
