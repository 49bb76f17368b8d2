//! From a path to a directory: through symbolic links, inside the image, remembering where the last walk went.

use super::links::is_placeholder;
use super::path::show;
use super::{Kind, Meta, NodeId, Tree};
use crate::error::{Error, Result};
use crate::raw::time::Timestamp;

/// The most symbolic links that a path may lead through; the kernel's limit.
const MAX_HOPS: u32 = 40;

/// Walks paths and keeps the directories of the last one, so that the next path starts where they part.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The directory path that was walked last.
    path: Vec<u8>,
    /// Where each name of `path` ends, the directory it leads to, and through how many symbolic links.
    steps: Vec<(usize, NodeId, u32)>,
}

impl Walk {
    /// Forgets everything: a directory or a symbolic link was replaced or removed.
    pub(super) fn forget(&mut self) {
        self.path.clear();
        self.steps.clear();
    }

    /// The directory at a normalized path. Missing ones are made when `make` has a time for them.
    pub(super) fn directory(
        &mut self,
        tree: &mut Tree,
        path: &[u8],
        make: Option<Timestamp>,
    ) -> Result<NodeId> {
        // Most entries are in the same directory as the one before.
        if let Some((end, at, _)) = self.steps.last()
            && *end == path.len()
            && self.path == path
        {
            return Ok(*at);
        }
        let shared = self.path.iter().zip(path).take_while(|(a, b)| a == b).count();
        while let Some((end, ..)) = self.steps.last() {
            if *end <= shared && (*end == path.len() || path[*end] == b'/') {
                break;
            }
            self.steps.pop();
        }
        let (mut end, mut at, mut hops) = self.steps.last().copied().unwrap_or((0, NodeId::ROOT, 0));
        self.path.truncate(end);
        while end < path.len() {
            let start = if end == 0 { 0 } else { end + 1 };
            let len = path[start..].iter().position(|c| *c == b'/').unwrap_or(path.len() - start);
            end = start + len;
            at = step(tree, at, &path[start..end], &path[..end], make, &mut hops)?;
            self.path.extend_from_slice(&path[self.path.len()..end]);
            self.steps.push((end, at, hops));
        }
        Ok(at)
    }
}

/// One name further on. `shown` is the path so far, `hops` the number of symbolic links that it leads through.
fn step(
    tree: &mut Tree,
    at: NodeId,
    name: &[u8],
    shown: &[u8],
    make: Option<Timestamp>,
    hops: &mut u32,
) -> Result<NodeId> {
    let Some(id) = tree.node(at).as_directory().and_then(|directory| directory.get(name)) else {
        let Some(mtime) = make else {
            return Err(Error::input(format!("`{}` does not exist", show(shown))));
        };
        return tree.insert(at, name, Meta::new(0o755, mtime), Kind::Directory(Default::default()));
    };
    match &tree.node(id).kind {
        Kind::Directory(_) => Ok(id),
        Kind::Symlink(target) => follow(tree, at, target, hops)
            .map_err(|fault| Error::input(format!("`{}` is a symbolic link to {fault}", show(shown)))),
        kind if is_placeholder(kind) => Err(Error::input(format!(
            "`{}` is a hard link to what hasn't come yet, not a directory",
            show(shown)
        ))),
        other => Err(Error::input(format!("`{}` is a {}, not a directory", show(shown), other.noun()))),
    }
}

/// The directory that a symbolic link in `from` leads to. `/` is the image's root, and nothing leads above it. `hops` counts the
/// links on the way.
pub(super) fn follow(tree: &Tree, from: NodeId, target: &[u8], hops: &mut u32) -> Result<NodeId, String> {
    let shown = || format!("`{}`", show(target));
    let mut at = from;
    // Names that are still to be walked, the next one last.
    let mut todo: Vec<&[u8]> = Vec::new();
    let mut link = target;
    loop {
        *hops += 1;
        if *hops > MAX_HOPS {
            return Err(format!("{}, which leads through more than {MAX_HOPS} symbolic links", shown()));
        }
        if link.first() == Some(&b'/') {
            at = NodeId::ROOT;
        }
        todo.extend(link.rsplit(|c| *c == b'/').filter(|name| !matches!(*name, b"" | b".")));
        link = loop {
            let Some(name) = todo.pop() else { return Ok(at) };
            let Some(directory) = tree.node(at).as_directory() else {
                return Err(format!("{}, which is not a directory", shown()));
            };
            if name == b".." {
                at = directory.parent();
                continue;
            }
            let Some(id) = directory.get(name) else {
                return Err(format!("{}, which does not exist", shown()));
            };
            match &tree.node(id).kind {
                Kind::Directory(_) => at = id,
                Kind::Symlink(next) => break next,
                _ => return Err(format!("{}, which is not a directory", shown())),
            }
        };
    }
}
