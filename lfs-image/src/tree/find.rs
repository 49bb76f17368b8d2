//! From paths to inodes and back, for those who hold a tree.

use super::path::{normalize, show};
use super::walk::Walk;
use super::{NoStore, NodeId, Root, Timestamp, Tree};
use crate::error::{Error, Result};

impl Tree {
    /// The inode at a path of names between `/`, without following symbolic links.
    #[must_use]
    pub fn lookup(&self, path: &[u8]) -> Option<NodeId> {
        let mut at = NodeId::ROOT;
        for name in path.split(|c| *c == b'/').filter(|name| !name.is_empty() && *name != b".") {
            at = self.node(at).as_directory()?.get(name)?;
        }
        Some(at)
    }

    /// The inode that a path leads to, symbolic links followed as in a system whose root this tree is: through 40 at most, and
    /// nothing leads above the root. `None` where it leads nowhere.
    ///
    /// # Examples
    ///
    /// ```
    /// use lfs_image::tree::{Content, Kind, Meta, NodeId, Timestamp};
    /// use lfs_image::Tree;
    ///
    /// let mut tree = Tree::new();
    /// let bin = tree.make_directories(b"usr/bin", Timestamp::default())?;
    /// let sh = tree.insert(bin, b"sh", Meta::new(0o755, Timestamp::default()), Kind::File(Content::empty()))?;
    /// tree.insert(NodeId::ROOT, b"bin", Meta::default(), Kind::Symlink(b"usr/bin"[..].into()))?;
    /// assert_eq!(tree.lookup(b"bin/sh"), None);
    /// assert_eq!(tree.resolve(b"bin/sh"), Some(sh));
    /// # Ok::<(), lfs_image::Error>(())
    /// ```
    #[must_use]
    pub fn resolve(&self, path: &[u8]) -> Option<NodeId> {
        Root::new(self, &NoStore).find(path)
    }

    /// The directory at a path, made with those above it where they are missing: mode 0755, of root's, dated `mtime`. Symbolic links
    /// on the way are followed, as by [`resolve`](Self::resolve).
    ///
    /// # Errors
    ///
    /// When something on the way is no directory, a symbolic link leads nowhere, or the path has `..` or an impossible name, or more than
    /// 65,535 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use lfs_image::tree::{Content, Kind, Meta, Timestamp};
    /// use lfs_image::Tree;
    ///
    /// let mut tree = Tree::new();
    /// let now = Timestamp::from_secs(1_700_000_000);
    /// let etc = tree.make_directories(b"/etc/ssh", now)?;
    /// tree.insert(etc, b"sshd_config", Meta::new(0o644, now), Kind::File(Content::bytes(*b"UseDNS no\n")))?;
    /// assert_eq!(tree.make_directories(b"etc/ssh/", now)?, etc);
    /// # Ok::<(), lfs_image::Error>(())
    /// ```
    pub fn make_directories(&mut self, path: &[u8], mtime: Timestamp) -> Result<NodeId> {
        let mut normal = Vec::new();
        normalize(path, &mut normal)
            .and_then(|()| Walk::default().directory(self, &normal, Some(mtime)))
            .map_err(|error| error.context(format!("can't make the directory `{}`", show(path))))
    }

    /// All names below the root: each one's path, without a `/` in front, and its inode. A directory comes before what is in it, and
    /// what is in it in byte order of the names; an inode with several names comes several times.
    ///
    /// # Examples
    ///
    /// ```
    /// use lfs_image::tree::{Content, Kind, Meta, Timestamp};
    /// use lfs_image::Tree;
    ///
    /// let mut tree = Tree::new();
    /// let bin = tree.make_directories(b"usr/bin", Timestamp::default())?;
    /// tree.insert(bin, b"su", Meta::new(0o4755, Timestamp::default()), Kind::File(Content::empty()))?;
    /// tree.make_directories(b"etc", Timestamp::default())?;
    ///
    /// let paths: Vec<_> = tree.walk().map(|(path, _)| path).collect();
    /// assert_eq!(paths, [&b"etc"[..], b"usr", b"usr/bin", b"usr/bin/su"]);
    ///
    /// let setuid = tree.walk().find(|(_, id)| tree.node(*id).meta.mode & 0o4000 != 0);
    /// assert_eq!(setuid, tree.lookup(b"usr/bin/su").map(|id| (b"usr/bin/su".to_vec(), id)));
    /// # Ok::<(), lfs_image::Error>(())
    /// ```
    pub fn walk(&self) -> impl Iterator<Item = (Vec<u8>, NodeId)> + '_ {
        let entries = |id| self.node(id).as_directory().map(super::Directory::iter);
        let mut path = Vec::new();
        // What is left of each directory on the way down, and how long its path is.
        let mut open: Vec<_> = entries(NodeId::ROOT).into_iter().map(|entries| (0, entries)).collect();
        std::iter::from_fn(move || {
            loop {
                let (len, left) = open.last_mut()?;
                path.truncate(*len);
                let Some((name, id)) = left.next() else {
                    open.pop();
                    continue;
                };
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                if let Some(below) = entries(id) {
                    open.push((path.len(), below));
                }
                return Some((path.clone(), id));
            }
        })
    }

    /// That every inode's set of attributes is one of this tree's: [`meta_mut`](Self::meta_mut) takes any.
    pub(crate) fn check_sets(&self) -> Result<()> {
        match self.nodes.iter().position(|node| !self.has_set(node.meta.xattrs)) {
            None => Ok(()),
            Some(index) => {
                let path =
                    self.walk().find(|(_, id)| id.index() == index).map(|(path, _)| path).unwrap_or_default();
                Err(Error::misuse(format!(
                    "the extended attributes of `/{}` are another tree's",
                    show(&path)
                )))
            }
        }
    }

    /// Whether a set is one of this tree's.
    pub(super) fn has_set(&self, set: super::XattrSet) -> bool {
        (set.0 as usize) < self.xattrs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Content, Kind, Meta, XattrSet};
    use super::*;

    #[test]
    fn directories_are_made_through_links() {
        let mut tree = Tree::new();
        let time = Timestamp::from_secs(7);
        let usr = tree.make_directories(b"usr", time).unwrap();
        tree.insert(NodeId::ROOT, b"lib", Meta::default(), Kind::Symlink(b"usr/lib"[..].into())).unwrap();
        // As `mkdir -p` does where a link dangles.
        let error = tree.make_directories(b"lib/modules", time).unwrap_err();
        assert_eq!(error.to_string(), "can't make the directory `lib/modules`");
        tree.make_directories(b"usr/lib", time).unwrap();
        let modules = tree.make_directories(b"//lib/./modules/", time).unwrap();
        assert_eq!(tree.lookup(b"usr/lib/modules"), Some(modules));
        assert_eq!(tree.node(modules).meta, Meta::new(0o755, time));
        assert_eq!(tree.make_directories(b"/", time).unwrap(), NodeId::ROOT);
        tree.insert(usr, b"f", Meta::default(), Kind::File(Content::empty())).unwrap();
        for bad in [&b"usr/f"[..], b"usr/f/g", b"a/../b", b"a\0", &[b'a'; 256]] {
            assert!(tree.make_directories(bad, time).is_err(), "{}", show(bad));
        }
        // Nothing is left of those.
        assert_eq!(tree.lookup(b"a"), None);
    }

    #[test]
    fn a_set_of_another_tree_is_found() {
        let mut tree = Tree::new();
        let etc = tree.make_directories(b"etc", Timestamp::default()).unwrap();
        assert!(tree.check_sets().is_ok());
        tree.meta_mut(etc).xattrs = XattrSet(1);
        assert_eq!(
            tree.check_sets().unwrap_err().to_string(),
            "the extended attributes of `/etc` are another tree's"
        );
    }
}
