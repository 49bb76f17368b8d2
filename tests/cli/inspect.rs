//! `--json`, `--dry-run` and `inspect`.

use std::process::Command;

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
fn what_was_written_is_what_is_found() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    for options in [
        &["--table", "gpt", "--esp", "40M", "--size", "256M"][..],
        &["--table", "mbr", "--size", "128M", "--label", "ü"],
        &["--table", "none", "--size", "128M", "--journal", "none"],
    ] {
        let options = [&["--json", "--boot", "none"], options].concat();
        let said = json(&raw(&fixture("gnu-posix.tar"), &out, &options));
        let planned = json(&must(lfs_image().arg("inspect").args(&options).arg(fixture("gnu-posix.tar"))));
        let found = json(&must(lfs_image().args(["inspect", "--json"]).arg(&out)));
        for field in ["version", "size", "table", "disk_id", "root", "filesystem"] {
            assert_eq!(said[field], found[field], "{field} of {options:?}");
            assert_eq!(said[field], planned[field], "{field} of {options:?}");
        }
        let partitions = said["partitions"].as_array().unwrap();
        assert_eq!(found["partitions"].as_array().unwrap().len(), partitions.len());
        for (n, partition) in partitions.iter().enumerate() {
            for field in ["number", "role", "offset", "len", "partuuid", "uuid"] {
                assert_eq!(partition[field], found["partitions"][n][field], "{field} of {partition}");
            }
        }
        judge::e2fsck(&out, said["filesystem"]["offset"].as_u64().unwrap()).unwrap();
    }
}

#[test]
fn usage_is_what_du_says() {
    if !judge::require(&["tar", "du"]) || !judge::require_mounts() {
        return;
    }
    let folder = scratch();
    let tree = folder.path().join("tree");
    for (path, len) in
        [("usr/lib/a/deep/x", 70_000), ("usr/lib/y", 1), ("usr/z", 4096), ("etc/w", 0), ("v", 5)]
    {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, vec![7; len]).unwrap();
    }
    std::fs::hard_link(tree.join("usr/z"), tree.join("etc/z")).unwrap();
    std::fs::File::create(tree.join("usr/sparse")).unwrap().set_len(1 << 20).unwrap();
    let archive = folder.path().join("tree.tar");
    must(Command::new("tar").arg("-cSf").arg(&archive).arg("-C").arg(&tree).arg("."));
    let out = folder.path().join("out.img");
    raw(&archive, &out, &["--table", "none", "--size", "64M"]);
    let mount = crate::support::mount::Mount::read_only(&out, 0);
    let find =
        "find . -path ./lost+found -prune -o -type f -printf '%s\\n' | awk '{n += $1} END {print n + 0}'";
    let du = |path: &str| {
        let said = must(Command::new("sh").args(["-c", find]).current_dir(mount.path().join(path)));
        said.trim().parse::<u64>().unwrap()
    };
    for file in [&archive, &out] {
        let said =
            json(&must(lfs_image().args(["inspect", "--json", "--boot", "none", "--usage", "3"]).arg(file)));
        let usage = said["usage"].as_array().unwrap();
        for path in ["/", "/usr", "/usr/lib", "/usr/lib/a", "/etc"] {
            let line = usage.iter().find(|line| line["path"] == path).unwrap();
            assert_eq!(line["bytes"], du(&format!(".{path}")), "{path} of {}", file.display());
        }
        assert!(!usage.iter().any(|line| line["path"] == "/usr/lib/a/deep"));
    }
    mount.finish().unwrap();
}

#[test]
fn inspect_reads_what_others_made() {
    if !judge::require(&["mke2fs", "sfdisk"]) {
        return;
    }
    let folder = scratch();
    let out = folder.path().join("disk.img");
    std::fs::File::create(&out).unwrap().set_len(96 << 20).unwrap();
    let script =
        "label: dos\nlabel-id: 0x12345678\nstart=2048, size=32768, type=83\nsize=65536, type=83, bootable\n";
    must(Command::new("sh").arg("-c").arg(format!("printf '{script}' | sfdisk -q \"$0\"")).arg(&out));
    for (offset, size, kind) in [("1048576", "16M", "ext2"), ("17825792", "32M", "ext3")] {
        let options = ["-q", "-F", "-t", kind, "-L", kind, "-E", &format!("offset={offset}")];
        must(Command::new("mke2fs").args(options).arg(&out).arg(size));
    }
    let text = must(lfs_image().args(["inspect", "--plan"]).arg(&out));
    for words in
        ["mbr", "12345678", "partition 1 root ext2", "partition 2 root ext3", "/lost+found", "unallocated"]
    {
        assert!(text.contains(words), "no {words} in {text}");
    }
    let said = json(&must(lfs_image().args(["inspect", "--json"]).arg(&out)));
    assert_eq!(said["filesystem"]["label"], "ext3");
    assert_eq!(said["root"], "root=PARTUUID=12345678-02");
    // A disk whose end is missing.
    std::fs::File::options().write(true).open(&out).unwrap().set_len(40 << 20).unwrap();
    let output = lfs_image().arg("inspect").arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(crate::errors(&output).contains("partition 2 from sector"), "{}", crate::errors(&output));
}

#[test]
fn inspect_says_what_raw_would_refuse() {
    let output = lfs_image().arg("inspect").arg(fixture("gnu-posix.tar")).output().unwrap();
    assert!(output.status.success());
    let said = crate::errors(&output);
    assert!(said.contains("warning: `raw` would need --boot none: there is no kernel"), "{said}");
    let said = json(&must(lfs_image().args(["inspect", "--json"]).arg(fixture("gnu-posix.tar"))));
    let warnings = said["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|said| said.as_str().unwrap().contains("there is no kernel")));
    assert_eq!(said["input"]["entries"].as_u64().map(|entries| entries > 10), Some(true));
}

#[test]
fn a_disk_that_is_no_file_is_told_from_an_archive() {
    let folder = scratch();
    let disk = folder.path().join("disk.img");
    raw(&fixture("gnu-posix.tar"), &disk, &["--boot", "none", "--size", "64M"]);
    let packed = folder.path().join("disk.img.gz");
    let line = format!("gzip -1 <{} >{}", disk.display(), packed.display());
    must(Command::new("sh").args(["-c", &line]));
    for (verb, path, stdin) in
        [("inspect", &packed, None), ("ls", &packed, None), ("inspect", &"-".into(), Some(&disk))]
    {
        let mut command = lfs_image();
        command.arg(verb).arg(path);
        if let Some(stdin) = stdin {
            command.stdin(std::fs::File::open(stdin).unwrap());
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = crate::errors(&output);
        assert!(
            said.contains("a disk image, not a tar archive") && said.contains("hint: `inspect`"),
            "{said}"
        );
    }
    let output = lfs_image()
        .args(["raw", "--boot", "none"])
        .arg(&disk)
        .arg(folder.path().join("out"))
        .output()
        .unwrap();
    assert!(crate::errors(&output).contains("a disk image, not a tar archive"), "{}", crate::errors(&output));
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let plan = raw(&fixture("gnu-posix.tar"), &out, &["--dry-run", "--boot", "none"]);
    assert!(plan.contains("journal") && plan.contains("inode tables"), "{plan}");
    assert!(!out.exists());
    // Nor does it need a name to write to; and a pipe is one.
    let other = must(lfs_image().args(["raw", "--dry-run", "--boot", "none"]).arg(fixture("gnu-posix.tar")));
    assert_eq!(other, plan);
    let said = must(
        lfs_image()
            .args(["raw", "--dry-run", "--json", "--boot", "none"])
            .arg(fixture("gnu-posix.tar"))
            .arg("-"),
    );
    assert!(json(&said)["regions"].is_array());
}

#[test]
fn completions_are_made() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(must(lfs_image().args(["completions", shell])).contains("lfs-image"));
    }
}

/// What bash would put there: its own functions complete these lines.
#[test]
fn bash_completes() {
    let folder = scratch();
    let script = folder.path().join("lfs-image.bash");
    std::fs::write(&script, must(lfs_image().args(["completions", "bash"]))).unwrap();
    for (line, wanted) in [
        ("lfs-image ra", "raw"),
        ("lfs-image raw --ta", "--table --target"),
        ("lfs-image raw --table ", "gpt mbr none"),
        ("lfs-image raw --table m", "mbr"),
        ("lfs-image completions ", "bash elvish fish powershell zsh"),
        ("lfs-image check --fo", "--for --force"),
        ("lfs-image extract --fi", "--files"),
    ] {
        let program = format!(
            "source {}; name=$(complete -p lfs-image | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); COMP_WORDS=({line}{}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             $name lfs-image \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            if line.ends_with(' ') { "''" } else { "" },
        );
        let said = must(Command::new("bash").args(["--norc", "-c", &program]));
        // Behind a subcommand come its options, too.
        let mut words: Vec<&str> = said.split_whitespace().collect();
        words.retain(|word| word.starts_with('-') == wanted.starts_with('-'));
        words.sort_unstable();
        assert_eq!(words.join(" "), wanted, "{line}");
    }
}
