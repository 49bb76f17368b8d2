//! Trees and directories of the file system as lines of text, to compare them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use lfs_image::Tree;
use lfs_image::tree::{Kind, NodeId, ReadAt};

/// A program that is to run, also where ordinary users don't look for programs.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/sbin");
    command
}

/// What is said of each path, in order of paths.
pub type Listing = BTreeMap<String, String>;

fn digest(bytes: &[u8]) -> String {
    // Enough to tell contents apart.
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, b| (sum ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    format!("{sum:016x}")
}

fn line(
    noun: &str,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    names: u64,
    what: &str,
    xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> String {
    let mut line =
        format!("{noun} {mode:o} {}:{} {}.{:09} x{names} {what}", owner.0, owner.1, mtime.0, mtime.1);
    for (name, value) in xattrs {
        let _ = write!(line, " {}={}", name.escape_ascii(), value.escape_ascii());
    }
    line
}

/// The largest file whose content is compared.
const LARGE: u64 = 64 << 20;

/// A tree as lines.
pub fn of_tree(tree: &Tree, store: &dyn ReadAt) -> Listing {
    let mut lines = Listing::new();
    let mut first: BTreeMap<NodeId, String> = BTreeMap::new();
    let mut todo = vec![(".".to_owned(), NodeId::ROOT)];
    while let Some((path, id)) = todo.pop() {
        let node = tree.node(id);
        let mut noun = node.kind.noun();
        let names = if node.as_directory().is_some() { 0 } else { u64::from(node.names()) };
        let mut what = match &node.kind {
            Kind::File(content) if content.size() > LARGE => {
                let mut runs = Runs::default();
                for (offset, len) in content.runs() {
                    assert_eq!(offset % 512, 0);
                    for (n, block) in content.read(store, offset, len).unwrap().chunks(512).enumerate() {
                        runs.add(offset + 512 * n as u64, block);
                    }
                }
                format!("{} bytes{}", content.size(), runs.text())
            }
            Kind::File(content) => {
                let bytes = content.read(store, 0, content.size()).unwrap();
                format!("{} bytes {}", bytes.len(), digest(&bytes))
            }
            Kind::Symlink(target) => target.escape_ascii().to_string(),
            Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                format!("{}:{}", device.major, device.minor)
            }
            _ => String::new(),
        };
        if let Some(directory) = node.as_directory() {
            for (name, child) in directory.iter() {
                todo.push((format!("{path}/{}", name.escape_ascii()), child));
            }
        }
        if names > 1 {
            // Link identity: by the least path of each inode, once all are known.
            match first.get_mut(&id) {
                Some(least) if *least <= path => {}
                Some(least) => *least = path.clone(),
                None => {
                    first.insert(id, path.clone());
                }
            }
            what += &format!(" inode {}", id_mark(id));
        }
        if noun == "symbolic link" {
            noun = "link";
        }
        let xattrs = tree.xattrs(node.meta.xattrs).iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        let mtime = (node.meta.mtime.sec, i64::from(node.meta.mtime.nsec));
        let text = line(
            noun,
            u32::from(node.meta.mode),
            (node.meta.uid, node.meta.gid),
            mtime,
            names,
            &what,
            &xattrs,
        );
        lines.insert(path, text);
    }
    rename(lines, first.into_iter().map(|(id, path)| (id_mark(id), path)))
}

fn id_mark(id: NodeId) -> String {
    format!("<{id:?}>")
}

/// Puts the least path of an inode in its mark's place.
fn rename(mut lines: Listing, marks: impl Iterator<Item = (String, String)>) -> Listing {
    for (mark, path) in marks {
        for line in lines.values_mut() {
            if line.contains(&mark) {
                *line = line.replace(&mark, &path);
            }
        }
    }
    lines
}

/// A directory of the file system as lines.
pub fn of_directory(top: &Path) -> Listing {
    let mut lines = Listing::new();
    let mut first: BTreeMap<u64, String> = BTreeMap::new();
    let mut todo = vec![(".".to_owned(), top.to_owned())];
    while let Some((path, at)) = todo.pop() {
        let meta = fs::symlink_metadata(&at).unwrap();
        let kind = meta.file_type();
        let device = || {
            let rdev = meta.rdev();
            format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev))
        };
        let (noun, mut what) = if kind.is_dir() {
            for child in fs::read_dir(&at).unwrap() {
                let child = child.unwrap();
                todo.push((format!("{path}/{}", child.file_name().as_bytes().escape_ascii()), child.path()));
            }
            ("directory", String::new())
        } else if kind.is_file() && meta.len() > LARGE {
            ("file", format!("{} bytes{}", meta.len(), runs(&at)))
        } else if kind.is_file() {
            let bytes = fs::read(&at).unwrap();
            ("file", format!("{} bytes {}", bytes.len(), digest(&bytes)))
        } else if kind.is_symlink() {
            ("link", fs::read_link(&at).unwrap().as_os_str().as_bytes().escape_ascii().to_string())
        } else if kind.is_char_device() {
            ("character device", device())
        } else if kind.is_block_device() {
            ("block device", device())
        } else if kind.is_fifo() {
            ("fifo", String::new())
        } else {
            ("socket", String::new())
        };
        let names = if kind.is_dir() { 0 } else { meta.nlink() };
        if names > 1 {
            let least = first.entry(meta.ino()).or_insert_with(|| path.clone());
            if path < *least {
                *least = path.clone();
            }
            what += &format!(" inode <{}>", meta.ino());
        }
        let owner = (meta.uid(), meta.gid());
        let mtime = (meta.mtime(), meta.mtime_nsec());
        lines.insert(path, line(noun, meta.mode() & 0o7777, owner, mtime, names, &what, &xattrs(&at)));
    }
    rename(lines, first.into_iter().map(|(ino, path)| (format!("<{ino}>"), path)))
}

/// The runs of data in a sparse file: non-zero blocks of 512 bytes.
fn runs(path: &Path) -> String {
    use std::os::unix::fs::FileExt;
    let file = fs::File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let mut runs = Runs::default();
    let mut at = 0;
    while let Ok(data) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
        let end = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(data)).unwrap();
        at = data;
        while at < end {
            let mut block = vec![0; usize::try_from((size - at).min(512)).unwrap()];
            file.read_exact_at(&mut block, at).unwrap();
            runs.add(at, &block);
            at += 512;
        }
    }
    runs.text()
}

/// Data of a sparse file, without its blocks of zeros: archivers differ in what they call a hole.
#[derive(Default)]
struct Runs(Vec<(u64, Vec<u8>)>);

impl Runs {
    fn add(&mut self, at: u64, block: &[u8]) {
        match self.0.last_mut() {
            _ if block.iter().all(|byte| *byte == 0) => {}
            Some((start, bytes)) if *start + bytes.len() as u64 == at => bytes.extend(block),
            _ => self.0.push((at, block.to_vec())),
        }
    }

    fn text(&self) -> String {
        self.0.iter().map(|(at, bytes)| format!(", {at}+{} {}", bytes.len(), digest(bytes))).collect()
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65_536];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut all = BTreeMap::new();
    for name in names[..len].split(|c| *c == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65_536];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(len);
        all.insert(name.to_vec(), value);
    }
    all
}

/// Where judges work: on a file system with attributes and holes.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

/// Whether a program can be run; a missing one is an error where `CI` is set.
pub fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    found || skip(&format!("{program} is not installed"))
}

/// Whether this is root, who may make devices; not to be is an error where `CI` is set.
pub fn root() -> bool {
    rustix::process::geteuid().is_root() || skip("not root")
}

fn skip(why: &str) -> bool {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("SKIPPED: {why}");
    false
}

/// Compares two listings path by path.
#[track_caller]
pub fn same(what: &str, ours: &Listing, theirs: &Listing) {
    let mut differences = String::new();
    let paths: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for path in paths {
        let (a, b) = (ours.get(path), theirs.get(path));
        if a != b {
            let none = "nothing".to_owned();
            let _ = write!(
                differences,
                "\n{path}\n  ours   {}\n  theirs {}",
                a.unwrap_or(&none),
                b.unwrap_or(&none)
            );
        }
    }
    assert!(differences.is_empty(), "{what}:{differences}");
}
