//! Archives in: what GNU tar makes of them is what we make of them.

use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use lfs_image::{Input, Result, Store, Tree, read_archives};

use crate::judge::{have, of_directory, of_tree, root, same, scratch};
use crate::tarball::{Short, options};

fn fixtures() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/tar");
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "tar"));
    paths.sort();
    assert!(paths.len() >= 19, "fixtures are missing");
    paths
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn open(path: &Path) -> Result<(Tree, Store)> {
    read_archives([Input::file(name(path), File::open(path).unwrap())], &options(), &mut |_, _| Ok(()))
}

#[test]
fn every_fixture_is_what_gnu_tar_extracts() {
    if !root() || !have("tar") {
        return;
    }
    for path in fixtures() {
        // GNU tar misreads an odd name that bsdtar wrote.
        let top = scratch();
        let by = if name(&path) == "bsd-xattrs" { "bsdtar" } else { "tar" };
        let more: &[&str] = match by {
            "tar" => &["--same-owner", "--xattrs-include=*", "--delay-directory-restore", "--warning=none"],
            _ => &["--same-owner"],
        };
        if !have(by) {
            continue;
        }
        let status = Command::new(by)
            .args(["-xpf", path.to_str().unwrap(), "-C", top.path().to_str().unwrap()])
            .args(["--numeric-owner", "--xattrs", "--acls"])
            .args(more)
            .status()
            .unwrap();
        assert!(status.success(), "tar -x {}", path.display());
        let (tree, store) = open(&path).unwrap();
        same(&name(&path), &of_tree(&tree, &store), &of_directory(top.path()));
        store.verify_unchanged().unwrap();
    }
}

#[test]
fn a_pipe_with_short_reads_gives_the_same_tree() {
    for path in fixtures() {
        let (tree, store) = open(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        let input = Input::reader("pipe", Short(Cursor::new(bytes)));
        let (piped, spool) = read_archives([input], &options(), &mut |_, _| Ok(())).unwrap();
        same(&name(&path), &of_tree(&piped, &spool), &of_tree(&tree, &store));
    }
}
