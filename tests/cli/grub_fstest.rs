//! GRUB's own reader of ext4 and of partition tables, as `grub-fstest` has it: it sees what went in.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

use crate::raw;
use crate::support::{both, judge, must, run, scratch};

/// Names in the large directory: more than its index can hold in one block.
const NAMES: usize = 9_000;
/// Pieces of the sparse file: with four extents in the inode and 340 in a block, their tree is two levels deep.
const PIECES: u64 = 2_000;

/// A target that doesn't fit into the inode: `./` many times, and a file.
fn long_target() -> String {
    format!("{}plain", "./".repeat(1_900))
}

fn fill(tree: &Path) {
    let big = tree.join("big");
    std::fs::create_dir(&big).unwrap();
    for n in 0..NAMES {
        let mut file = std::fs::File::create(big.join(name(n))).unwrap();
        if n % 1_000 == 0 {
            write!(file, "{n}").unwrap();
        }
    }
    let mut sparse = std::fs::File::create(tree.join("sparse")).unwrap();
    for n in 0..PIECES {
        sparse.seek(SeekFrom::Start(n * 3 * 4096)).unwrap();
        sparse.write_all(&[u8::try_from(n % 251).unwrap() + 1; 4096]).unwrap();
    }
    sparse.set_len(64 << 20).unwrap();
    let plain: Vec<u8> = (0..3_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(tree.join("plain"), plain).unwrap();
    std::fs::write(tree.join("empty"), "").unwrap();
    std::os::unix::fs::symlink(long_target(), tree.join("long-link")).unwrap();
    std::os::unix::fs::symlink("big", tree.join("short-link")).unwrap();
}

fn name(n: usize) -> String {
    format!("{n:05}-{}", "a-long-name-".repeat(19))
}

fn fstest(image: &Path, command: &str, path: &str) -> Command {
    let mut fstest = Command::new("grub-fstest");
    fstest.arg(image).arg(command).arg(path);
    fstest
}

#[test]
fn grub_reads_what_went_in() {
    if !judge::require(&["grub-fstest", "tar", "debugfs"]) {
        return;
    }
    let folder = scratch();
    let (tree, archive, out) =
        (folder.path().join("tree"), folder.path().join("root.tar"), folder.path().join("out.img"));
    std::fs::create_dir(&tree).unwrap();
    fill(&tree);
    let mut tar = Command::new("tar");
    must(tar.args(["--sparse", "--format=posix", "-cf"]).arg(&archive).arg("-C").arg(&tree).arg("."));
    for (table, root) in [("gpt", "(loop0,gpt2)"), ("mbr", "(loop0,msdos1)"), ("none", "(loop0)")] {
        raw(&archive, &out, &["--boot", "none", "--table", table, "--size", "256M"]);
        let listed = |path: &str| {
            let text = must(&mut fstest(&out, "ls", &format!("{root}{path}")));
            let mut names: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            names.sort();
            names
        };
        let top = ["big/", "empty", "long-link", "lost+found/", "plain", "short-link/", "sparse"];
        let found = listed("/");
        let found: Vec<&str> =
            found.iter().map(|n| if n == "short-link" { "short-link/" } else { n }).collect();
        assert_eq!(found, top, "{table}");
        assert_eq!(listed("/big/"), (0..NAMES).map(name).collect::<Vec<_>>(), "{table}");
        let compared = |path: &str| {
            let output = run(fstest(&out, "cmp", &format!("{root}/{path}")).arg(tree.join(path)));
            assert!(output.status.success() && output.stderr.is_empty(), "{table}: {}", both(&output));
        };
        for file in ["plain", "sparse", "empty"] {
            compared(file);
        }
        if table == "none" {
            // A directory is compared file by file.
            compared("big");
        }
        let through = |path: &str| must(&mut fstest(&out, "cat", &format!("{root}{path}")));
        assert_eq!(through(&format!("/short-link/{}", name(7_000))), "7000");
        let linked = run(fstest(&out, "cmp", &format!("{root}/long-link")).arg(tree.join("plain")));
        assert!(linked.status.success(), "{table}: {}", both(&linked));
    }
    // The trees are as deep as they should be.
    let levels = judge::debugfs(&out, 0, "dump_extents /sparse").unwrap();
    assert!(levels.contains(" 2/ 2 "), "{}", &levels[..500]);
    let index = judge::debugfs(&out, 0, "htree_dump /big").unwrap();
    assert!(index.contains("Indirect levels: 1"), "{}", &index[..500]);
    // The judge sees a byte.
    let plain = tree.join("plain");
    let file = std::fs::File::options().write(true).open(&plain).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"?", 1_000_000).unwrap();
    let differs = run(fstest(&out, "cmp", "(loop0)/plain").arg(&plain));
    assert!(both(&differs).contains("differ") || !differs.status.success(), "{}", both(&differs));
}
