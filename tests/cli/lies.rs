//! Images that are damaged or lie: everything that looks into them ends, in little memory, and says what is wrong.

use std::path::Path;
use std::process::Command;

use crate::look::mke2fs;
use crate::support::{both, judge, must, run, scratch};
use crate::{errors, lfs_image};

/// Runs everything that looks into an image; nothing may run without end, panic, or write anywhere else.
#[track_caller]
fn survives(image: &Path, folder: &Path, what: &str) -> Vec<String> {
    let inside = folder.join("inside");
    std::fs::create_dir_all(&inside).unwrap();
    let program = env!("CARGO_BIN_EXE_lfs-image");
    let mut said = Vec::new();
    for words in [
        &["ls", "-lR", "IMAGE"][..],
        &["extract", "--files", "IMAGE", "out"],
        &["extract", "IMAGE", "-"],
        &["inspect", "--usage", "3", "IMAGE"],
        &["inspect", "--json", "--usage", "0", "IMAGE"],
        &["check", "--for", "qemu", "--public", "IMAGE"],
        &["cat", "IMAGE", "/large"],
        &["diff", "IMAGE", "IMAGE"],
    ] {
        let mut command = Command::new("timeout");
        // Whatever a number in it says, some memory has to do.
        command.args(["20", "prlimit", "--as=2000000000"]).arg(program).arg("-q");
        command
            .args(words.iter().map(|word| if *word == "IMAGE" { image.as_os_str() } else { word.as_ref() }));
        let output =
            run(command.current_dir(&inside).env_clear().env("PATH", std::env::var_os("PATH").unwrap()));
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{what}: {words:?}: {}\n{}",
            output.status,
            both(&output)
        );
        let errors = errors(&output);
        assert!(!errors.contains("this is a bug"), "{what}: {errors}");
        let left: Vec<_> = std::fs::read_dir(&inside).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "out"), "{what}: {left:?}");
        assert!(!errors.contains("panicked"), "{what}: {words:?}: {errors}");
        said.push(errors);
    }
    // What the first two say is what is wrong with the filesystem.
    said.truncate(2);
    let _ = Command::new("rm").arg("-rf").arg(inside.join("out")).status();
    said
}

#[test]
fn images_that_lie() {
    if !judge::require(&["mke2fs", "debugfs"]) {
        return;
    }
    let folder = scratch();
    let edit = |image: &Path, request: &str| {
        must(Command::new("debugfs").args(["-w", "-R", request]).arg(image));
    };
    for (request, word) in [
        ("ln dir dir/below/loop", "hard link to a directory"),
        ("ln <2> dir/root", "hard link to a directory"),
        ("set_inode_field link size 1099511627776", "at most 4095"),
        ("set_inode_field large block[0] 7", "make"),
        ("set_inode_field dir size 1073741824", ""),
        ("set_inode_field dir mode 0100644", ""),
        ("set_inode_field dir/below mode 0150644", "type"),
        ("clri dir/below", ""),
    ] {
        // Without checksums nothing gives the lie away.
        let image = mke2fs(folder.path(), &["-t", "ext4", "-O", "^metadata_csum"]);
        edit(&image, request);
        let said = survives(&image, folder.path(), request);
        assert!(
            word.is_empty() || said.iter().all(|said| said.contains(word)) || request.contains("block[0]"),
            "{request}: {said:?}"
        );
    }
    // Names that lead out.
    for name in ["..", "/x", "a/", "\0\0"] {
        let image = mke2fs(folder.path(), &["-t", "ext4", "-O", "^metadata_csum"]);
        let mut bytes = std::fs::read(&image).unwrap();
        // An entry that has two letters takes their place: `sparse` becomes shorter.
        let at = bytes.windows(8).position(|w| w == b"\x06\x01sparse").unwrap();
        bytes[at] = 2;
        bytes[at + 2..at + 4].copy_from_slice(name.as_bytes());
        std::fs::write(&image, bytes).unwrap();
        let said = survives(&image, folder.path(), name);
        // A second `..` is passed over, as the first one is.
        assert!(name == ".." || said.iter().all(|said| !said.is_empty()), "{name:?} was taken");
    }
    // A bit anywhere in what isn't content.
    let image = mke2fs(folder.path(), &["-t", "ext4", "-O", "^metadata_csum,^has_journal"]);
    let bytes = std::fs::read(&image).unwrap();
    let used: Vec<usize> = (1024..bytes.len())
        .filter(|at| bytes[*at] != 0 && bytes[*at] != b'x')
        .filter(|at| !(4 << 20..24 << 20).contains(at) || bytes[*at] < b' ')
        .collect();
    let mut state: u64 = 7;
    for _ in 0..60 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = used[usize::try_from(state >> 33).unwrap() % used.len()];
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (state >> 29 & 7);
        std::fs::write(&image, damaged).unwrap();
        survives(&image, folder.path(), &format!("bit {} of byte {at}", state >> 29 & 7));
    }
}

/// What is done to the bytes of an image.
type Lie<'a> = &'a dyn Fn(&mut [u8]);

/// Numbers that a reader would believe at its own risk, where no checksum gives them away.
#[test]
fn numbers_that_lie() {
    if !judge::require(&["debugfs"]) {
        return;
    }
    let folder = scratch();
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("dir")).unwrap();
    for n in 0..300 {
        std::fs::write(tree.join(format!("dir/a-file-with-a-long-name-{n:060}")), "x").unwrap();
    }
    std::os::unix::fs::symlink(format!("{}y", "x/".repeat(60)), tree.join("boot")).unwrap();
    let archive = folder.path().join("a.tar");
    must(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&tree).arg("."));
    let image = folder.path().join("out.img");
    let options =
        ["--boot", "none", "--target", "none", "--table", "none", "--size", "64M", "--journal", "none"];
    crate::raw(&archive, &image, &options);
    let whole = std::fs::read(&image).unwrap();
    let first = judge::debugfs(&image, 0, "blocks /dir").unwrap();
    let dir = first.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 4096;
    let found = judge::debugfs(&image, 0, "imap /dir").unwrap();
    // "Inode 13 is part of block group 0\n\tlocated at block 12, offset 0x0c00"
    let number = |after: &str| {
        let rest = &found[found.find(after).unwrap() + after.len()..];
        let text = rest.split([',', '\n', ' ']).next().unwrap();
        text.strip_prefix("0x")
            .map_or_else(|| text.parse().unwrap(), |hex| usize::from_str_radix(hex, 16).unwrap())
    };
    let inode = number("located at block ") * 4096 + number("offset ");
    let lies: [(&str, Lie<'_>); 7] = [
        ("how many pairs the node of a hash tree has", &|b| b[dir + 0x22..dir + 0x24].fill(0xff)),
        ("how long a link is", &|_| {}),
        ("how many blocks a group has", &|b| {
            b[1024 + 0x20..1024 + 0x24].copy_from_slice(&1_u32.to_le_bytes());
            b[1024 + 0x4..1024 + 0x8].fill(0xff);
        }),
        ("how large the filesystem is", &|b| {
            b[1024 + 0x150..1024 + 0x154].fill(0xff);
            // And where its inodes are.
            b[4096 + 0x28..4096 + 0x2c].fill(0x7f);
        }),
        ("how large a file is", &|b| {
            let file = inode + 256;
            b[file + 0x6c..file + 0x70].fill(0xff);
        }),
        ("a directory in itself", &|b| {
            // The inode of its first file is its own.
            let at = dir + 4096;
            let own = b[dir..dir + 4].to_vec();
            b[at..at + 4].copy_from_slice(&own);
        }),
        ("extents without end", &|b| {
            // Four levels, each of which names the one below it again and again.
            let node = |depth: u16, entry: &[u8; 12], n: usize, room: u16| {
                let mut node = [0xf30a_u16, u16::try_from(n).unwrap(), room, depth, 0, 0]
                    .iter()
                    .flat_map(|word| word.to_le_bytes())
                    .collect::<Vec<u8>>();
                node.extend(entry.repeat(n));
                node
            };
            let (index, blocks) = (
                |block: u32| {
                    let mut entry = [0; 12];
                    entry[4..8].copy_from_slice(&block.to_le_bytes());
                    entry
                },
                [9000_u32, 9001, 9002, 9003],
            );
            for (depth, block) in (0..).zip(blocks) {
                let entry = if depth == 0 { index(9100) } else { index(block - 1) };
                let bytes = node(depth, &entry, 340, 340);
                b[block as usize * 4096..][..bytes.len()].copy_from_slice(&bytes);
            }
            let root = node(4, &index(9003), 4, 4);
            b[inode + 0x28..][..root.len()].copy_from_slice(&root);
        }),
    ];
    for (what, lie) in lies {
        for has_checksums in [true, false] {
            let mut bytes = whole.clone();
            lie(&mut bytes);
            if !has_checksums {
                bytes[1024 + 0x65] &= !4;
            }
            std::fs::write(&image, bytes).unwrap();
            if what.contains("link") {
                let request = "set_inode_field boot size 8796093022208";
                must(Command::new("debugfs").args(["-w", "-R", request]).arg(&image));
            }
            let said = survives(&image, folder.path(), what);
            // Groups of blocks are nothing that is needed to read files; without checksums the hash isn't, either.
            let passes = !has_checksums && (what.contains("group") || what.contains("hash"));
            assert_eq!(said.iter().all(String::is_empty), passes, "{what} {has_checksums}: {said:?}");
        }
    }
}

/// What ext4 can hold is read, whenever it is from.
#[test]
fn directories_of_all_times() {
    let folder = scratch();
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("old/new")).unwrap();
    std::fs::write(tree.join("old/new/file"), "text\n").unwrap();
    for (path, time) in [
        ("old/new/file", "1931-01-01"),
        ("old/new", "2106-03-01"),
        ("old", "1955-01-01"),
        (".", "2040-01-01"),
    ] {
        must(Command::new("touch").args(["-d", time]).arg(tree.join(path)));
    }
    let (archive, image) = (folder.path().join("a.tar"), folder.path().join("out.img"));
    must(Command::new("tar").args(["--format=posix", "-cf"]).arg(&archive).arg("-C").arg(&tree).arg("."));
    let options = ["--boot", "none", "--size", "64M", "--time", "-2147483648"];
    crate::raw(&archive, &image, &options);
    assert_eq!(must(lfs_image().arg("cat").arg(&image).arg("/old/new/file")), "text\n");
    assert!(must(lfs_image().args(["ls", "-lR"]).arg(&image)).contains("2106-03-01"));
    let output = lfs_image().arg("diff").args(options).arg(&archive).arg(&image).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    let output = lfs_image().arg("inspect").arg(&image).output().unwrap();
    assert!(
        errors(&output).is_empty() && String::from_utf8_lossy(&output.stdout).contains("5 B           4  /"),
        "{output:?}"
    );
    survives(&image, folder.path(), "times");
}

/// What a machine that lost its power leaves: the journal knows better than the blocks.
#[test]
fn a_journal_that_was_not_replayed() {
    if !judge::require(&["debugfs", "e2fsck"]) {
        return;
    }
    let folder = scratch();
    let image = folder.path().join("out.img");
    crate::raw(
        &crate::fixture("gnu-posix.tar"),
        &image,
        &["--boot", "none", "--table", "none", "--size", "64M"],
    );
    must(Command::new("debugfs").args(["-w", "-R", "feature needs_recovery"]).arg(&image));
    let output = lfs_image().arg("ls").arg(&image).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("its journal has changes"), "{}", errors(&output));
    let output = lfs_image().arg("inspect").arg(&image).output().unwrap();
    assert!(output.status.success() && errors(&output).contains("its journal has changes"), "{output:?}");
    // What the message says helps.
    let status = Command::new("e2fsck")
        .arg("-p")
        .arg(&image)
        .env("PATH", crate::support::path())
        .output()
        .unwrap()
        .status;
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    must(lfs_image().arg("ls").arg(&image));
}
