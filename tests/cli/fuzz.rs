//! Nonsense for the command: files of options and disks, damaged the same way every time. `tests/fuzz` has the same for longer, without
//! a process for each.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use crate::draw::Random;
use crate::mutate::smoke;
use crate::support::{both, project, run, scratch};
use crate::{fixture, lfs_image};

/// It ends, by itself, with one of the codes that it may end with.
#[track_caller]
fn ends(command: &mut Command) {
    let output = run(command);
    assert!(matches!(output.status.code(), Some(0..=2)), "{command:?}: {}: {}", output.status, both(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked") && !said.contains("internal error"), "{command:?}: {said}");
}

#[test]
fn files_of_options() {
    let folder = scratch();
    let config = folder.path().join("lfs-image.toml");
    let corpus: Vec<_> = std::fs::read_dir(project().join("tests/fuzz/corpus/config"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(path).unwrap()))
        .collect();
    smoke(&corpus, 6, 200, |input| {
        // What it may lead to is another test's affair: no paths.
        if input.contains(&b'/') {
            return;
        }
        std::fs::write(&config, input).unwrap();
        let command = ["raw", "--dry-run", "--boot", "none", "--config"];
        ends(lfs_image().args(command).arg(&config).arg(fixture("python-ustar.tar")));
    });
}

#[test]
fn damaged_disks() {
    let folder = scratch();
    for (table, seed) in [("gpt", 1), ("mbr", 2), ("none", 3)] {
        let image = folder.path().join(table);
        crate::raw(&fixture("gnu-posix.tar"), &image, &["--table", table, "--boot", "none", "--size", "64M"]);
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&image).unwrap();
        let root = if table == "none" {
            0
        } else {
            crate::support::judge::partitions(&image).unwrap().pop().unwrap().offset
        };
        let mut random = Random(seed);
        for _ in 0..25 {
            // A few places at a time, and whole again after that.
            let mut undo = Vec::new();
            for _ in 0..1 + random.below(6) {
                let at = match random.below(4) {
                    0 => random.below(2048) as u64,
                    1 => root + 1024 + random.below(1024) as u64,
                    2 => root + 4096 + random.below(4096) as u64,
                    _ => root + random.below(600 * 4096) as u64,
                };
                let mut before = [0; 4];
                file.read_exact_at(&mut before, at).unwrap();
                undo.push((at, before));
                let len = 1 + random.below(4);
                file.write_all_at(&random.bytes(len), at).unwrap();
            }
            look(&image);
            for (at, before) in undo.into_iter().rev() {
                file.write_all_at(&before, at).unwrap();
            }
        }
        // Cut short.
        for len in [40 << 20, 3 << 20, 1 << 20, 2000, 512, 1] {
            file.set_len(len).unwrap();
            look(&image);
        }
    }
}

fn look(image: &Path) {
    ends(lfs_image().args(["inspect", "--plan", "--usage", "3"]).arg(image));
    ends(lfs_image().args(["check", "--for", "qemu", "--public"]).arg(image));
    ends(lfs_image().args(["ls", "-lR"]).arg(image));
    ends(lfs_image().args(["cat"]).arg(image).arg("/etc/passwd"));
    ends(lfs_image().args(["extract"]).arg(image).arg("-"));
    ends(lfs_image().args(["diff"]).arg(image).arg(fixture("gnu-posix.tar")));
}
