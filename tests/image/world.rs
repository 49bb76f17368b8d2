//! The archives that other programs test themselves with: what becomes of each is in `fixtures/world.txt`, and is so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::archive::open;
use crate::judge::{Listing, have, of_directory, of_tree, root, same, scratch};
use crate::tarball::chain;

/// What the table says of an archive.
#[derive(Debug)]
enum Verdict {
    /// The tree that GNU tar extracts.
    Same,
    /// An error with these words in it.
    Refused(String),
    /// A tree that GNU tar doesn't extract, for a reason; its digest.
    More(String),
}

fn table() -> BTreeMap<String, Verdict> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/world.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, rest) = line.split_once(' ').unwrap();
            let verdict = match rest.trim().split_once(": ") {
                None if rest.trim() == "same" => Verdict::Same,
                Some(("refused", words)) => Verdict::Refused(words.to_owned()),
                Some((more, _)) if more.starts_with("more ") => {
                    Verdict::More(more["more ".len()..].to_owned())
                }
                _ => panic!("{line}"),
            };
            (name.to_owned(), verdict)
        })
        .collect()
}

/// The archives of an owner that are here: Rust's tar's are in the repository, the others in what `scripts/get-archives.sh` prints.
fn archives(owner: &str) -> Option<Vec<PathBuf>> {
    let folder = match owner {
        "tar-rs" => Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/world/tar-rs"),
        _ => {
            let cache = std::env::var_os("LFS_IMAGE_CACHE").map(PathBuf::from).or_else(|| {
                let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
                Some(
                    base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?
                        .join("lfs-image"),
                )
            });
            cache?.join("archives").join(owner)
        }
    };
    let mut paths: Vec<_> = std::fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.ends_with("LICENSE-MIT"));
    paths.sort();
    Some(paths)
}

#[test]
fn archives_of_other_programs() {
    if !root() || !have("tar") {
        return;
    }
    let table = table();
    let mut faults = String::new();
    for owner in ["tar-rs", "libarchive", "go", "python"] {
        let Some(paths) = archives(owner) else {
            assert!(
                std::env::var_os("CI").is_none(),
                "no archives of {owner}: scripts/get-archives.sh gets them"
            );
            eprintln!("SKIPPED: no archives of {owner} (scripts/get-archives.sh gets them)");
            continue;
        };
        assert!(!paths.is_empty(), "there are no archives of {owner}");
        let there: Vec<_> = paths.iter().map(|path| named(owner, path)).collect();
        for name in table.keys().filter(|name| name.split('/').next() == Some(owner)) {
            if !there.contains(name) {
                faults += &format!("\n{name} is in fixtures/world.txt and nowhere else");
            }
        }
        for path in paths {
            let name = named(owner, &path);
            let verdict = table.get(&name);
            let judged = std::panic::catch_unwind(|| judge(&name, &path, verdict));
            if judged.is_err() {
                faults += &format!("\n{name}, which is said to be {verdict:?}");
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// What the table calls an archive.
fn named(owner: &str, path: &Path) -> String {
    format!("{owner}/{}", path.file_name().unwrap().to_str().unwrap())
}

/// A listing in a few characters.
fn digest(listing: &Listing) -> String {
    let text: String = listing.iter().map(|(path, line)| format!("{path} {line}\n")).collect();
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

fn judge(name: &str, path: &Path, verdict: Option<&Verdict>) {
    let ours = open(path);
    match (verdict, ours) {
        (None, ours) => panic!("{name} is not in fixtures/world.txt: {:?}", ours.err().map(|e| chain(&e))),
        (Some(Verdict::Refused(words)), Err(error)) => {
            let said = chain(&error);
            assert!(said.contains(words), "{name}: no {words:?} in {said}");
        }
        (Some(Verdict::Refused(_)), Ok(_)) => panic!("{name} is not refused"),
        (Some(_), Err(error)) => panic!("{name}: {}", chain(&error)),
        (Some(verdict), Ok((tree, store))) => {
            let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let top = scratch();
            let output = Command::new("tar")
                .args(["-xpf", path.to_str().unwrap(), "-C", top.path().to_str().unwrap(), "--warning=none"])
                .args(["--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*", "--acls"])
                .arg("--delay-directory-restore")
                .output()
                .unwrap();
            let (mut ours, mut theirs) = (of_tree(&tree, &store), of_directory(top.path()));
            let got = digest(&ours);
            without_new_times(&mut ours, &mut theirs, start);
            match verdict {
                Verdict::More(digest) => {
                    // It has to be true that there is more: else the table is out of date.
                    assert!(ours != theirs || !output.status.success(), "{name} is the same");
                    assert_eq!(got, *digest, "{name} is another tree than it was: {ours:#?}");
                }
                _ => same(name, &ours, &theirs),
            }
        }
    }
}

/// Directories that no entry speaks of have the time of extraction there, and the first entry's here. The top is GNU tar's own.
fn without_new_times(ours: &mut Listing, theirs: &mut Listing, start: u64) {
    for listing in [&mut *ours, &mut *theirs] {
        listing.remove(".");
    }
    for (path, line) in theirs.iter_mut().filter(|(_, line)| line.starts_with("directory ")) {
        let time = |line: &str| line.split(' ').nth(3).unwrap().to_owned();
        let new = time(line);
        if new.split('.').next().unwrap().parse::<u64>().is_ok_and(|seconds| seconds + 1 >= start) {
            *line = line.replacen(&new, "-", 1);
            if let Some(ours) = ours.get_mut(path) {
                *ours = ours.replacen(&time(ours), "-", 1);
            }
        }
    }
}
