//! The tree as those see it who look into it: paths followed through symbolic links, files read in front or whole.

use std::fmt;

use crate::error::{Error, Result};
use crate::raw::blob::Blob;
use crate::raw::num::index;
use crate::raw::store::ReadAt;
use crate::tree::{Content, Kind, NodeId, Tree};

/// How many symbolic links one path may lead through (Linux's limit).
const MAX_HOPS: u32 = 40;

/// A root filesystem with its content.
#[derive(Clone, Copy)]
pub(crate) struct Root<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) store: &'a dyn ReadAt,
}

impl fmt::Debug for Root<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("tree", &self.tree).finish_non_exhaustive()
    }
}

impl<'a> Root<'a> {
    pub(crate) fn new(tree: &'a Tree, store: &'a dyn ReadAt) -> Self {
        Self { tree, store }
    }

    /// The inode that a path leads to, symbolic links followed inside the image; `None` where it leads nowhere.
    pub(crate) fn find(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        // The directories from the root to where we are, for `..`.
        let mut trail = vec![NodeId::ROOT];
        let mut todo: Vec<Vec<u8>> = components(path.as_ref());
        let mut hops = 0;
        while let Some(name) = todo.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    // The root's parent is the root.
                    trail.truncate(trail.len().saturating_sub(1).max(1));
                    continue;
                }
                _ => {}
            }
            let at = *trail.last()?;
            let id = self.tree.node(at).as_directory()?.get(&name)?;
            if let Kind::Symlink(target) = &self.tree.node(id).kind {
                hops += 1;
                if hops > MAX_HOPS {
                    return None;
                }
                if target.starts_with(b"/") {
                    trail.truncate(1);
                }
                todo.extend(components(target));
            } else {
                trail.push(id);
            }
        }
        trail.last().copied()
    }

    /// The content of the regular file that a path leads to.
    pub(crate) fn file(&self, path: impl AsRef<[u8]>) -> Option<&'a Content> {
        self.content(self.find(path)?)
    }

    /// The content of an inode, if it is a regular file.
    pub(crate) fn content(&self, id: NodeId) -> Option<&'a Content> {
        match &self.tree.node(id).kind {
            Kind::File(content) => Some(content),
            _ => None,
        }
    }

    /// The names in the directory that a path leads to, in byte order; none where there is no directory.
    pub(crate) fn names(&self, path: impl AsRef<[u8]>) -> Vec<&'a [u8]> {
        self.find(path)
            .and_then(|id| self.tree.node(id).as_directory())
            .map(|directory| directory.iter().map(|(name, _)| name).collect())
            .unwrap_or_default()
    }

    /// A file whole, if it is no longer than `limit`. `what` names it in errors.
    pub(crate) fn read(&self, content: &Content, what: &str, limit: u64) -> Result<Vec<u8>> {
        if content.size() > limit {
            return Err(Error::input(format!(
                "{what} is {} bytes long; nothing of that kind has more than {limit}",
                content.size()
            )));
        }
        self.head(&content.to_blob(), limit).map_err(|e| e.context(format!("read {what}")))
    }

    /// The first `limit` bytes of a blob, or all of it where it is shorter.
    pub(crate) fn head(&self, blob: &Blob, limit: u64) -> Result<Vec<u8>> {
        blob.read(self.store, 0, blob.len().min(limit))
    }
}

/// The names of a path, last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|c| *c == b'/').rev().map(<[u8]>::to_vec).collect()
}

/// A string of a fixed-size or NUL-terminated field.
pub(crate) fn c_string(bytes: &[u8], offset: usize) -> &[u8] {
    let rest = bytes.get(offset..).unwrap_or_default();
    &rest[..rest.iter().position(|c| *c == 0).unwrap_or(rest.len())]
}

/// Little-endian numbers at checked offsets of an untrusted file.
pub(crate) fn le16(bytes: &[u8], at: u64) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(index(at)..)?.first_chunk()?))
}

pub(crate) fn le32(bytes: &[u8], at: u64) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(index(at)..)?.first_chunk()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::tree::Meta;
    use crate::tree::NoStore;

    /// A tree in memory from paths; a content that starts with `->` is a symbolic link.
    pub(crate) fn tree(files: &[(&str, &[u8])]) -> Tree {
        let mut tree = Tree::new();
        for (path, bytes) in files {
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
            let mut at = NodeId::ROOT;
            for name in dir.split('/').filter(|n| !n.is_empty()) {
                let name = name.as_bytes();
                let have = tree.node(at).as_directory().unwrap().get(name);
                at = have.unwrap_or_else(|| {
                    tree.insert(at, name, Meta::default(), Kind::Directory(Default::default())).unwrap()
                });
            }
            let kind = match bytes.strip_prefix(b"->") {
                Some(target) => Kind::Symlink(target.into()),
                None => Kind::File(Content::bytes(*bytes)),
            };
            tree.insert(at, name.as_bytes(), Meta::default(), kind).unwrap();
        }
        tree
    }

    #[test]
    fn links_are_followed_inside_the_image() {
        let tree = tree(&[
            ("usr/lib/x", b"1"),
            ("lib", b"->usr/lib"),
            ("abs", b"->/lib/x"),
            ("up", b"->../../../lib/./x"),
            ("loop", b"->loop"),
            ("dangling", b"->nowhere"),
            ("through", b"->usr/lib/x/y"),
        ]);
        let root = Root::new(&tree, &NoStore);
        let x = tree.lookup(b"usr/lib/x");
        for path in ["lib/x", "/lib/x", "abs", "up", "usr/../lib//x"] {
            assert_eq!(root.find(path), x, "{path}");
        }
        for path in ["loop", "dangling", "through", "lib/x/y", "nope"] {
            assert_eq!(root.find(path), None, "{path}");
        }
        assert_eq!(root.names("lib"), [b"x"]);
        assert_eq!(root.find("/"), Some(NodeId::ROOT));
    }

    #[test]
    fn long_files_are_refused_before_they_are_read() {
        let tree = tree(&[("a", b"12345")]);
        let root = Root::new(&tree, &NoStore);
        let content = root.file("a").unwrap();
        assert_eq!(root.read(content, "a", 5).unwrap(), b"12345");
        let error = root.read(content, "a", 4).unwrap_err();
        assert_eq!(error.to_string(), "a is 5 bytes long; nothing of that kind has more than 4");
    }
}
