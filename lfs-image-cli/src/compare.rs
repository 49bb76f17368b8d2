//! Two trees, name by name: what is in one alone, and what differs in both.

use std::collections::{BTreeMap, BTreeSet};

use lfs_image::tree::{Content, Device, Kind, NodeId, ReadAt, Timestamp};
use lfs_image::{Result, Tree};
use serde::Serialize;

use crate::size::Count;
use crate::usage::{show, total_below};
use crate::when::Utc;

/// What can be compared; each can be left out.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, clap::ValueEnum)]
pub(crate) enum Aspect {
    /// Permission bits
    Mode,
    /// Numbers of user and group
    Owner,
    /// Times of modification, to the nanosecond
    Mtime,
    /// The bytes of files
    Content,
    /// Which names are hard links to one file
    Links,
    /// Extended attributes, ACLs and capabilities among them
    Xattrs,
}

/// A name that differs.
#[derive(Debug, Serialize)]
pub(crate) struct Difference {
    pub(crate) path: String,
    /// `removed`, `added` or `changed`.
    pub(crate) change: &'static str,
    /// What it is, if it is in one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) what: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<Field>,
}

/// Something about it that differs.
#[derive(Debug, Serialize)]
pub(crate) struct Field {
    /// `type`, `mode`, `owner`, `size`, `content`, `mtime`, `target`, `device`, `links` or `xattr NAME`.
    pub(crate) what: String,
    pub(crate) first: Option<String>,
    pub(crate) second: Option<String>,
}

/// A tree and the content of its files.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) store: &'a dyn ReadAt,
}

/// Compares; `check` is called for each name and may end it.
pub(crate) fn compare(
    first: Side<'_>,
    second: Side<'_>,
    ignore: &BTreeSet<Aspect>,
    check: &mut dyn FnMut() -> Result<()>,
) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    let pairs = pairs(first.tree, second.tree, &mut found);
    let mut of = Pairs { first, second, ignore, links: Links::default(), same: BTreeSet::new() };
    for Pair { path, a, b } in pairs {
        check()?;
        let fields = of.fields(&path, a, b)?;
        if !fields.is_empty() {
            found.push((path.clone(), difference(&path, "changed", None, fields)));
        }
    }
    // As a walk meets them: what is below a directory comes right after it.
    found.sort_by(|(a, _), (b, _)| a.split(|c| *c == b'/').cmp(b.split(|c| *c == b'/')));
    Ok(found.into_iter().map(|(_, difference)| difference).collect())
}

/// A path that both have.
struct Pair {
    path: Vec<u8>,
    a: NodeId,
    b: NodeId,
}

fn difference(path: &[u8], change: &'static str, what: Option<String>, fields: Vec<Field>) -> Difference {
    let path = if path.is_empty() { "/".to_owned() } else { show(path) };
    Difference { path, change, what, fields }
}

/// All names that both trees have, in order; those that one has are found.
fn pairs(first: &Tree, second: &Tree, found: &mut Vec<(Vec<u8>, Difference)>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut todo = vec![Pair { path: Vec::new(), a: NodeId::ROOT, b: NodeId::ROOT }];
    while let Some(Pair { path, a, b }) = todo.pop() {
        let below = todo.len();
        if let (Some(a), Some(b)) = (first.node(a).as_directory(), second.node(b).as_directory()) {
            let mut theirs: BTreeMap<&[u8], NodeId> = b.iter().collect();
            for (name, a) in a.iter() {
                let path = [&path[..], b"/", name].concat();
                match theirs.remove(name) {
                    Some(b) => todo.push(Pair { path, a, b }),
                    None if is_lost_found(first, a, &path) => {}
                    None => found
                        .push((path.clone(), difference(&path, "removed", Some(outline(first, a)), vec![]))),
                }
            }
            for (name, b) in theirs {
                let path = [&path[..], b"/", name].concat();
                if !is_lost_found(second, b, &path) {
                    found.push((path.clone(), difference(&path, "added", Some(outline(second, b)), vec![])));
                }
            }
        }
        todo[below..].reverse();
        // When it was made says nothing, either.
        if !(is_lost_found(first, a, &path) && is_lost_found(second, b, &path)) {
            pairs.push(Pair { path, a, b });
        }
    }
    pairs
}

/// Whether it is the directory that every ext4 filesystem has and archives need not have, with nothing in it.
fn is_lost_found(tree: &Tree, id: NodeId, path: &[u8]) -> bool {
    path == b"/lost+found"
        && tree.node(id).as_directory().is_some_and(|directory| directory.iter().len() == 0)
}

/// What something is, in a few words.
fn outline(tree: &Tree, id: NodeId) -> String {
    match &tree.node(id).kind {
        Kind::Directory(_) => match total_below(tree, id) {
            0 => "empty directory".to_owned(),
            1 => "directory with 1 name below".to_owned(),
            n => format!("directory with {} names below", Count(n)),
        },
        Kind::File(content) => format!("file of {} bytes", content.size()),
        Kind::Symlink(target) => format!("symbolic link to {}", show(target)),
        other => other.noun().to_owned(),
    }
}

struct Pairs<'a> {
    first: Side<'a>,
    second: Side<'a>,
    ignore: &'a BTreeSet<Aspect>,
    links: Links,
    /// Files whose content was compared already, under another name.
    same: BTreeSet<(NodeId, NodeId)>,
}

impl Pairs<'_> {
    fn compares(&self, aspect: Aspect) -> bool {
        !self.ignore.contains(&aspect)
    }

    fn fields(&mut self, path: &[u8], a: NodeId, b: NodeId) -> Result<Vec<Field>> {
        let mut fields = Vec::new();
        let mut differ = |what: &str, first: Option<String>, second: Option<String>| {
            if first != second {
                fields.push(Field { what: what.to_owned(), first, second });
            }
        };
        let (x, y) = (self.first.tree.node(a), self.second.tree.node(b));
        let links = self.links.of(path, a, b, [x.names() > 1, y.names() > 1]);
        differ("type", Some(x.kind.noun().to_owned()), Some(y.kind.noun().to_owned()));
        match (&x.kind, &y.kind) {
            (Kind::File(of_x), Kind::File(of_y)) => {
                differ("size", Some(of_x.size().to_string()), Some(of_y.size().to_string()));
                if of_x.size() == of_y.size()
                    && self.compares(Aspect::Content)
                    && self.same.insert((a, b))
                    && let Some(at) = first_difference(of_x, self.first.store, of_y, self.second.store)?
                {
                    differ("content", Some(format!("differs from byte {at} on")), None);
                }
            }
            (Kind::Symlink(x), Kind::Symlink(y)) => differ("target", Some(show(x)), Some(show(y))),
            (Kind::CharDevice(x), Kind::CharDevice(y)) | (Kind::BlockDevice(x), Kind::BlockDevice(y)) => {
                let number = |Device { major, minor }: &Device| Some(format!("{major}:{minor}"));
                differ("device", number(x), number(y));
            }
            _ => {}
        }
        if self.compares(Aspect::Mode) {
            let mode = |mode: u16| Some(format!("{mode:04o}"));
            differ("mode", mode(x.meta.mode), mode(y.meta.mode));
        }
        if self.compares(Aspect::Owner) {
            let owner = |meta: &lfs_image::tree::Meta| Some(format!("{}:{}", meta.uid, meta.gid));
            differ("owner", owner(&x.meta), owner(&y.meta));
        }
        if self.compares(Aspect::Mtime) {
            // ext4 can't hold all times that an archive can.
            let time = |time: Timestamp| Some(Utc(time.clamped()).to_string());
            differ("mtime", time(x.meta.mtime), time(y.meta.mtime));
        }
        if self.compares(Aspect::Links)
            && let Some([first, second]) = links
        {
            differ("links", Some(first), Some(second));
        }
        if self.compares(Aspect::Xattrs) {
            let (x, y) = (self.first.tree.xattrs(x.meta.xattrs), self.second.tree.xattrs(y.meta.xattrs));
            let names: BTreeSet<&[u8]> = x.keys().chain(y.keys()).map(|name| &**name).collect();
            for name in names {
                let value =
                    |of: &lfs_image::tree::Xattrs| of.get(name).map(|value| value.escape_ascii().to_string());
                differ(&format!("xattr {}", show(name)), value(x), value(y));
            }
        }
        Ok(fields)
    }
}

/// Which names are one inode. Numbers mean nothing, so what is compared is the first name of each that both trees have.
#[derive(Debug, Default)]
struct Links {
    first: BTreeMap<NodeId, Vec<u8>>,
    second: BTreeMap<NodeId, Vec<u8>>,
}

impl Links {
    /// What a path is another name of, where that differs.
    fn of(&mut self, path: &[u8], a: NodeId, b: NodeId, several: [bool; 2]) -> Option<[String; 2]> {
        let mut of = |first: bool, id, several: bool| {
            let known = if first { &mut self.first } else { &mut self.second };
            if several { known.entry(id).or_insert_with(|| path.to_vec()).clone() } else { path.to_vec() }
        };
        let (a, b) = (of(true, a, several[0]), of(false, b, several[1]));
        let text = |of: &[u8]| {
            if of == path { "a file of its own".to_owned() } else { format!("the same file as {}", show(of)) }
        };
        (a != b).then(|| [text(&a), text(&b)])
    }
}

/// How much is read at once.
const PIECE: u64 = 1 << 20;

/// Where two files of one size differ first; holes are zeros.
fn first_difference(a: &Content, of_a: &dyn ReadAt, b: &Content, of_b: &dyn ReadAt) -> Result<Option<u64>> {
    let mut runs: Vec<(u64, u64)> = a.runs().chain(b.runs()).collect();
    runs.sort_unstable();
    let mut at = 0;
    for (start, len) in runs {
        at = at.max(start);
        while at < start + len {
            let n = PIECE.min(start + len - at);
            let (x, y) = (a.read(of_a, at, n)?, b.read(of_b, at, n)?);
            if let Some(nth) = x.iter().zip(&y).position(|(x, y)| x != y) {
                return Ok(Some(at + nth as u64));
            }
            at += n;
        }
    }
    Ok(None)
}
