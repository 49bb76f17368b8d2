//! Random trees through writers of tar that are not ours, to an image and back: `tests/support/random_trees.py` makes them,
//! `compare_tar.py` judges.

use std::process::Command;

use crate::support::{compare, judge, mount::Mount, must, scratch, support_file};

const WRITERS: [&str; 5] = ["python", "layers", "gnu", "gnu-old", "bsd"];
/// Trees in one image: many, so that making and mounting it isn't what takes the time.
const BATCH: usize = 40;

/// What images are made like, in turn.
const OPTIONS: [&[&str]; 5] = [
    &["--table", "none", "--free", "1M"],
    &["--table", "gpt", "--journal", "none", "--inode-ratio", "4096"],
    &["--table", "mbr", "--size", "3G", "--esp", "40M"],
    &["--table", "none", "--size", "700M", "--journal", "4M", "--reserved", "0"],
    &["--table", "gpt", "--orphan-file", "--label", "random"],
];

/// A bounded number here; more by hand: `LFS_IMAGE_CASES=5000`, and other ones: `LFS_IMAGE_SEED=2`.
#[test]
fn random_trees_come_back() {
    if !judge::require(&["e2fsck", "tar", "bsdtar", "setfattr"])
        || !judge::require(compare::NEEDS)
        || !judge::require_mounts()
    {
        return;
    }
    let number =
        |name: &str, default: usize| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (cases, seed) = (number("LFS_IMAGE_CASES", 200), number("LFS_IMAGE_SEED", 1));
    for batch in 0..cases.div_ceil(BATCH) {
        let (writer, options) =
            (WRITERS[batch % WRITERS.len()], OPTIONS[batch / WRITERS.len() % OPTIONS.len()]);
        let seed = (seed * 1_000_000 + batch).to_string();
        eprintln!("random_trees.py --writer {writer} --seed {seed} --cases {BATCH}, {}", options.join(" "));
        let folder = scratch();
        must(Command::new("python3").arg(support_file("random_trees.py")).arg(folder.path()).args([
            "--writer",
            writer,
            "--seed",
            &seed,
            "--cases",
            &BATCH.to_string(),
        ]));
        let (base, out) = (folder.path().join("base.tar"), folder.path().join("out.img"));
        let over = folder.path().join("over.tar");
        let layers: &[&str] =
            if over.exists() { &["--overlay", over.to_str().unwrap(), "--whiteouts"] } else { &[] };
        // Some times in it are yet to come, of which e2fsck would complain.
        let bare = &["--boot", "none", "--target", "none", "--time", "1700000000"];
        crate::raw(&base, &out, &[bare, options, layers].concat());
        let offset = match options[1] {
            "none" => 0,
            _ => judge::partitions(&out).unwrap().pop().unwrap().offset,
        };
        judge::e2fsck(&out, offset).unwrap();
        let mount = Mount::read_only(&out, offset);
        compare::mounted(&base, mount.path(), layers).unwrap();
        mount.finish().unwrap();
        // Our own reader.
        let mut diff = crate::lfs_image();
        diff.arg("diff").args(bare).args(options).args(layers).arg(&base).arg(&out);
        must(&mut diff);
        // Another one, which can't be asked for attributes with names as odd as the other writers'.
        if writer == "gnu-old" {
            compare::debugfs(&base, &out, offset, layers).unwrap();
        }
    }
}

/// The judge sees what differs: an archive beside the image of another.
#[test]
fn another_tree_is_not_the_same() {
    if !judge::require(&["e2fsck", "python3", "debugfs"]) {
        return;
    }
    let make = |seed: &str| {
        let folder = scratch();
        must(
            Command::new("python3")
                .arg(support_file("random_trees.py"))
                .arg(folder.path())
                .args(["--writer", "gnu-old", "--seed", seed, "--cases", "2"]),
        );
        folder
    };
    let (one, other) = (make("1"), make("2"));
    let out = one.path().join("out.img");
    crate::raw(
        &one.path().join("base.tar"),
        &out,
        &["--table", "none", "--boot", "none", "--target", "none", "--free", "1M"],
    );
    compare::debugfs(&one.path().join("base.tar"), &out, 0, &[]).unwrap();
    let said = compare::debugfs(&other.path().join("base.tar"), &out, 0, &[]).unwrap_err();
    assert!(said.0.contains("differences"), "{said:?}");
}
