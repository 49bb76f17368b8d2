//! Other parsers as judges: Python's tarfile and the tar crate read the same entries.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use lfs_image::Tree;
use lfs_image::tree::Kind;

use crate::archive::{fixtures, name, open};
use crate::judge::have;

const SCRIPT: &str = r#"
import sys, tarfile, zlib
with tarfile.open(sys.argv[1], errors="surrogateescape") as tar:
    for m in tar:
        sum = "-"
        if m.isreg() and m.size < 64 << 20:
            sum = zlib.crc32(tar.extractfile(m).read())
        kind = next(k for k in ["dir", "reg", "sym", "lnk", "chr", "blk", "fifo"] if getattr(m, "is" + k)())
        mode = 0o777 if m.issym() else m.mode & 0o7777
        path = m.name.encode("utf-8", "surrogateescape").hex()
        link = m.linkname.encode("utf-8", "surrogateescape").hex()
        print(path or "-", kind, mode, m.uid, m.gid, int(m.mtime // 1), m.size if m.isreg() else 0, sum, link or "-")
"#;

fn unhex(text: &str) -> Vec<u8> {
    if text == "-" {
        return Vec::new();
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn python_reads_the_same_entries() {
    if !have("python3") {
        return;
    }
    for path in fixtures() {
        let output = Command::new("python3").args(["-c", SCRIPT]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (tree, store) = open(&path).unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        assert!(lines.lines().count() > 5);
        for line in lines.lines() {
            let what = format!("{}: {line}", name(&path));
            let fields: Vec<&str> = line.split(' ').collect();
            let [entry, kind, mode, uid, gid, mtime, size, sum, link] = fields[..] else { panic!("{what}") };
            let id = tree.lookup(&unhex(entry)).unwrap_or_else(|| panic!("{what}: missing"));
            let node = tree.node(id);
            if kind == "lnk" {
                assert_eq!(tree.lookup(&unhex(link)), Some(id), "{what}");
                continue;
            }
            let meta = &node.meta;
            // bsdtar leaves the mask of a list out of the permission bits; the kernel doesn't.
            if !tree.xattrs(meta.xattrs).contains_key(&b"system.posix_acl_access"[..]) {
                assert_eq!(meta.mode.to_string(), mode, "{what}");
            }
            assert_eq!((meta.uid.to_string(), meta.gid.to_string()), (uid.into(), gid.into()), "{what}");
            // Python has times as floating point numbers.
            let seconds = (meta.mtime.sec as f64 + f64::from(meta.mtime.nsec) / 1e9).floor();
            assert_eq!(seconds.to_string(), mtime, "{what}");
            match &node.kind {
                Kind::File(content) => {
                    assert_eq!(content.size().to_string(), size, "{what}");
                    if sum != "-" {
                        let bytes = content.read(&store, 0, content.size()).unwrap();
                        assert_eq!(crc32fast::hash(&bytes).to_string(), sum, "{what}");
                    }
                }
                Kind::Symlink(target) => assert_eq!(**target, *unhex(link), "{what}"),
                _ => {}
            }
            let noun = match kind {
                "dir" => "directory",
                "reg" => "file",
                "sym" => "symbolic link",
                "chr" => "character device",
                "blk" => "block device",
                _ => kind,
            };
            assert_eq!(node.kind.noun(), noun, "{what}");
        }
    }
}

fn count(tree: &Tree) -> usize {
    let mut names = 1;
    let mut todo = vec![lfs_image::tree::NodeId::ROOT];
    while let Some(id) = todo.pop() {
        for (_, child) in tree.node(id).as_directory().into_iter().flat_map(lfs_image::tree::Directory::iter)
        {
            names += 1;
            todo.push(child);
        }
    }
    names
}

#[test]
fn the_tar_crate_reads_the_same_entries() {
    // It gives the sparse files of extended headers the names and sizes of what is stored.
    for path in fixtures().into_iter().filter(|path| !name(path).contains("sparse")) {
        let (tree, _) = open(&path).unwrap();
        let mut archive = tar::Archive::new(File::open(&path).unwrap());
        let mut entries = 0;
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            entries += 1;
            let what = format!("{}: {}", name(&path), entry.path_bytes().escape_ascii());
            let node =
                tree.node(tree.lookup(&entry.path_bytes()).unwrap_or_else(|| panic!("{what}: missing")));
            match &node.kind {
                Kind::File(content) if entry.header().entry_type().is_file() => {
                    assert_eq!(content.size(), entry.size(), "{what}");
                }
                Kind::Symlink(target) if entry.header().entry_type().is_symlink() => {
                    assert_eq!(
                        **target,
                        *entry.link_name().unwrap().unwrap().as_os_str().as_bytes(),
                        "{what}"
                    );
                }
                _ => {}
            }
        }
        assert_eq!(entries, count(&tree), "{}", name(&path));
    }
}
