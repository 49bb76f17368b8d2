//! `--json`: one object with a version, and no field that docs/json.md doesn't explain.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{must, project, scratch};
use crate::{fixture, lfs_image};

/// The names of all fields, except of those whose names are data.
fn fields(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                found.insert(name.clone());
                if name != "xattrs" {
                    fields(value, found);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

/// The part of docs/json.md under a heading, and the names in it.
fn explained(command: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(project().join("docs/json.md")).unwrap();
    let part =
        text.split("\n## ").find(|part| part.lines().next().unwrap().split(", ").any(|name| name == command));
    let part = part.unwrap_or_else(|| panic!("docs/json.md says nothing of {command}"));
    part.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[track_caller]
fn is_explained(command: &str, said: &str) {
    let value: Value =
        serde_json::from_str(said).unwrap_or_else(|error| panic!("{command}: {error}: {said}"));
    assert_eq!(value["version"], 1, "{command}");
    let (mut found, explained) = (BTreeSet::new(), explained(command));
    fields(&value, &mut found);
    let missing: Vec<_> = found.difference(&explained).collect();
    assert!(missing.is_empty(), "docs/json.md doesn't explain {missing:?} of {command}");
    assert!(found.len() > 3);
}

#[test]
fn every_field_is_explained() {
    let folder = scratch();
    let (image, archive) = (folder.path().join("out.img"), fixture("gnu-xattrs.tar"));
    let plain = ["--json", "--size", "64M", "--boot", "none"];
    let json = |words: &[&str], files: &[&std::path::Path]| {
        let mut command = lfs_image();
        must(command.args(words).args(plain).args(files))
    };
    is_explained("raw", &json(&["raw", "--digest"], &[&archive, &image]));
    is_explained("raw", &json(&["raw", "--dry-run"], &[&archive]));
    is_explained("inspect", &json(&["inspect", "--plan"], &[&image]));
    is_explained("inspect", &json(&["inspect"], &[&fixture("kernel.tar")]));
    is_explained("check", &json(&["check", "--for", "xen", "--force"], &[&archive]));
    // These know no disk.
    let short = |words: &[&str], files: &[&std::path::Path]| {
        let output = lfs_image().args(words).arg("--json").args(files).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    is_explained("ls", &short(&["ls", "-R"], &[&image]));
    is_explained("diff", &short(&["diff"], &[&archive, &fixture("gnu-posix.tar")]));
    is_explained("extract", &short(&["extract"], &[&image, &folder.path().join("out.tar")]));
    #[cfg(feature = "push")]
    {
        let aws = aws_judge::Judge::start(aws_judge::Config::default()).unwrap();
        let mut push = lfs_image();
        push.envs(aws.env()).env("HOME", folder.path()).args([
            "push",
            "--target",
            "none",
            "--force",
            "--boot-mode",
            "legacy-bios",
        ]);
        is_explained("push", &must(push.args(plain).arg(&archive)));
        let snapshot = aws.report().only_snapshot().id.clone();
        let pulled = folder.path().join("pulled.img");
        is_explained(
            "pull",
            &must(lfs_image().envs(aws.env()).args(["pull", "--json", &snapshot]).arg(&pulled)),
        );
    }
}
