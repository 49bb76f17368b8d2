//! `--json`, `--dry-run` and `inspect`.

use crate::support::{judge, must, scratch};
use crate::{fixture, lfs_image, raw};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn json_says_what_sfdisk_sees() {
    if !judge::require(&["sfdisk"]) {
        return;
    }
    let folder = scratch();
    let out = folder.path().join("out.img");
    let said = json(&raw(
        &fixture("gnu-posix.tar"),
        &out,
        &["--json", "--boot", "none", "--size", "128M", "--esp", "40M"],
    ));
    assert_eq!(said["version"], 1);
    let found = judge::partitions(&out).unwrap();
    let ours = said["partitions"].as_array().unwrap();
    assert_eq!(ours.len(), found.len());
    for (ours, found) in ours.iter().zip(&found) {
        assert_eq!(ours["offset"], found.offset);
        assert_eq!(ours["len"], found.len);
        assert_eq!(ours["partuuid"].as_str().unwrap().to_uppercase(), found.uuid);
        assert_eq!(ours["role"], found.name.as_str());
    }
    let dump = judge::dumpe2fs(&out, found.last().unwrap().offset).unwrap();
    assert_eq!(judge::field(&dump, "Filesystem UUID"), said["filesystem"]["uuid"].as_str().unwrap());
    assert_eq!(judge::field(&dump, "Free blocks"), said["filesystem"]["free_blocks"].to_string());
    let features: Vec<&str> =
        said["filesystem"]["features"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    assert_eq!(judge::field(&dump, "Filesystem features"), features.join(" "));
}

#[test]
fn inspect_reads_images_and_tarballs() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    raw(&fixture("gnu-posix.tar"), &out, &["--size", "64M", "--label", "looked-at", "--boot", "none"]);
    let text = must(lfs_image().arg("inspect").arg(&out));
    assert!(text.contains("looked-at") && text.contains("gpt") && text.contains("root"), "{text}");
    let of_image = json(&must(lfs_image().args(["--json", "inspect", "--usage", "2"]).arg(&out)));
    let of_tar = json(&must(
        lfs_image()
            .args(["--json", "inspect", "--plan", "--usage", "2", "--boot", "none"])
            .arg(fixture("gnu-posix.tar")),
    ));
    assert!(of_image["usage"].as_array().is_some_and(|usage| !usage.is_empty()));
    let regions = of_tar["regions"].as_array().unwrap();
    let mut at = 0;
    for region in regions {
        assert_eq!(region["offset"], at);
        at += region["len"].as_u64().unwrap();
    }
    assert_eq!(of_tar["size"], at);
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let plan = raw(&fixture("gnu-posix.tar"), &out, &["--dry-run", "--boot", "none"]);
    assert!(plan.contains("journal") && plan.contains("inode tables"), "{plan}");
    assert!(!out.exists());
}

#[test]
fn completions_are_made() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(must(lfs_image().args(["completions", shell])).contains("lfs-image"));
    }
}
