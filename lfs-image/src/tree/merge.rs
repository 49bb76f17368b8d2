//! From archive entries, in the order they come, to a tree.
//!
//! The rules are those of GNU tar and of container runtimes extracting into a fresh root:
//!
//! - Parents that are missing are made: mode 0755, owned by root, with the time of the entry that needs them.
//! - An entry below a symbolic link to a directory lands where the link leads inside the image, in 40 hops a path at most. A
//!   link that leads nowhere is refused, as are `..` in a path and a file used as a directory.
//! - The last entry of a path wins, whatever the two are. Only a directory over a directory keeps what is below it and
//!   updates its attributes. A directory over a symbolic link to one replaces the link, unless
//!   [`Merge::keep_directory_symlinks`] says otherwise.
//! - A hard link binds to the inode that its target names at that moment; one whose target comes later in the archive is
//!   resolved at the archive's end. A link to a directory or to nothing is refused.
//!
//! Several archives are layers. With [`Merge::whiteouts`], `.wh.name` in a layer removes `name` as the layers below have
//! it, and `.wh..wh..opq` all that they have in that directory ([OCI image layers]). A layer's own entries are never
//! touched by its whiteouts: they wait until the layer's end, when all its whiteouts are known.
//!
//! [OCI image layers]: https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts

use super::links::{Forward, is_placeholder};
use super::path::{normalize, show, split};
use super::walk::{Walk, follow};
use super::{Content, Device, Directory, Kind, Meta, NodeId, Tree, XattrSet, Xattrs};
use crate::error::{Error, Result};

/// One entry of an archive; the example of [`Merge`] makes some.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The path as the archive has it.
    pub path: Vec<u8>,
    /// Where its header begins in the archive, for messages.
    pub offset: u64,
    /// Owner, permissions, times, attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: EntryKind,
}

impl Entry {
    /// How messages name it.
    fn shown(&self) -> String {
        Self::shown_parts(&self.path, self.offset)
    }

    fn shown_parts(path: &[u8], offset: u64) -> String {
        format!("entry `{}` at byte {offset}", show(path))
    }
}

/// What an [`Entry`] is.
#[derive(Clone, Debug)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// Another name for the inode at this path.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Applies archive entries to a tree.
///
/// # Examples
///
/// ```
/// use lfs_image::tree::{Content, Entry, EntryKind, Merge, Meta, Timestamp};
/// use lfs_image::Tree;
///
/// let meta = Meta::new(0o755, Timestamp::from_secs(1_700_000_000));
/// let entry = |path: &str, kind| Entry { path: path.into(), offset: 0, meta: meta.clone(), kind };
///
/// let mut merge = Merge::new(Tree::new());
/// merge.apply(entry("usr/bin/", EntryKind::Directory))?;
/// merge.apply(entry("bin", EntryKind::Symlink(b"usr/bin".to_vec())))?;
/// merge.apply(entry("bin/sh", EntryKind::File(Content::bytes(*b"#!"))))?;
/// let tree = merge.finish()?;
/// assert!(tree.lookup(b"usr/bin/sh").is_some());
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Debug)]
pub struct Merge {
    tree: Tree,
    whiteouts: bool,
    keep_directory_symlinks: bool,
    /// Whether layers below have put anything into the tree.
    above: bool,
    /// This layer's entries, while whiteouts may still come.
    held: Vec<Entry>,
    forward: Forward,
    walk: Walk,
    target_walk: Walk,
    /// Whether a layer couldn't be ended, so that entries are lost.
    lost: bool,
    /// The normalized paths of the entry and of its link target: kept for their room.
    path: Vec<u8>,
    target: Vec<u8>,
}

impl Merge {
    /// Starts with an existing tree, or [`Tree::new`]. Ids that the tree gave out mean nothing afterwards: inodes are numbered anew.
    #[must_use]
    pub fn new(mut tree: Tree) -> Self {
        // Archives that say the same a million times take no more room than what they leave.
        tree.unused = Some(Vec::new());
        let above = tree.node_table_len() > 1;
        Self {
            tree,
            whiteouts: false,
            keep_directory_symlinks: false,
            above,
            held: Vec::new(),
            forward: Forward::default(),
            walk: Walk::default(),
            target_walk: Walk::default(),
            lost: false,
            path: Vec::new(),
            target: Vec::new(),
        }
    }

    /// Whether names beginning with `.wh.` remove what layers below have, or are names like any other (the default).
    #[must_use]
    pub fn whiteouts(mut self, yes: bool) -> Self {
        self.whiteouts = yes;
        self
    }

    /// Whether a directory entry leaves a symbolic link to a directory as it is, as GNU tar does with the option of
    /// this name, or replaces it (the default).
    #[must_use]
    pub fn keep_directory_symlinks(mut self, yes: bool) -> Self {
        self.keep_directory_symlinks = yes;
        self
    }

    /// The set with these attributes, for [`Meta::xattrs`] of entries.
    ///
    /// # Errors
    ///
    /// After 2^32 different sets.
    pub fn intern(&mut self, xattrs: Xattrs) -> Result<XattrSet> {
        self.tree.intern(xattrs)
    }

    /// Applies one entry.
    ///
    /// # Errors
    ///
    /// When the entry breaks a rule; the message names it.
    pub fn apply(&mut self, entry: Entry) -> Result<()> {
        if self.whiteouts {
            if self.whiteout(&entry).map_err(|error| error.context(entry.shown()))? {
                return Ok(());
            }
            if self.above {
                self.held.push(entry);
                return Ok(());
            }
        }
        self.apply_now(entry)
    }

    /// Ends an archive: what follows is a layer above it.
    ///
    /// # Errors
    ///
    /// When the target of a hard link never came, or an entry that waited for the layer's whiteouts breaks a rule. There is no tree
    /// after that.
    pub fn end_layer(&mut self) -> Result<()> {
        if self.lost {
            return Err(Error::misuse("a layer of this merge couldn't be ended, so there is no tree"));
        }
        self.lost = true;
        self.apply_held()?;
        self.lost = false;
        Ok(())
    }

    fn apply_held(&mut self) -> Result<()> {
        for entry in std::mem::take(&mut self.held) {
            self.apply_now(entry)?;
        }
        let walk = &mut self.target_walk;
        self.forward.resolve(&mut self.tree, |tree, path| find(tree, walk, path))?;
        self.above = true;
        Ok(())
    }

    /// The tree, once every entry was applied.
    ///
    /// # Errors
    ///
    /// As [`end_layer`](Self::end_layer).
    pub fn finish(mut self) -> Result<Tree> {
        self.end_layer()?;
        self.tree.sort_nodes();
        Ok(self.tree)
    }

    fn apply_now(&mut self, entry: Entry) -> Result<()> {
        let Entry { path, offset, meta, kind } = entry;
        self.place(&path, offset, meta, kind)
            .map_err(|error| error.context(Entry::shown_parts(&path, offset)))
    }

    fn place(&mut self, path: &[u8], offset: u64, meta: Meta, kind: EntryKind) -> Result<()> {
        normalize(path, &mut self.path)?;
        let (directory, name) = split(&self.path);
        if name.is_empty() {
            if !matches!(kind, EntryKind::Directory) {
                return Err(Error::input("the root of the image can only be a directory"));
            }
            *self.tree.meta_mut(NodeId::ROOT) = meta;
            return Ok(());
        }
        let parent = self.walk.directory(&mut self.tree, directory, Some(meta.mtime))?;
        let kind = match kind {
            EntryKind::Directory => {
                match self.named(parent, name).map(|id| (id, &self.tree.node(id).kind)) {
                    Some((id, Kind::Directory(_))) => {
                        *self.tree.meta_mut(id) = meta;
                        return Ok(());
                    }
                    Some((_, Kind::Symlink(target)))
                        if self.keep_directory_symlinks
                            && follow(&self.tree, parent, target, &mut 0).is_ok() =>
                    {
                        return Ok(());
                    }
                    _ => {}
                }
                Kind::Directory(Directory::default())
            }
            EntryKind::HardLink(target) => return self.hard_link(parent, path, offset, &target),
            EntryKind::File(content) => Kind::File(content),
            EntryKind::Symlink(target) => Kind::Symlink(target.into_boxed_slice()),
            EntryKind::CharDevice(device) => Kind::CharDevice(device),
            EntryKind::BlockDevice(device) => Kind::BlockDevice(device),
            EntryKind::Fifo => Kind::Fifo,
            EntryKind::Socket => Kind::Socket,
        };
        if is_placeholder(&kind) {
            return Err(Error::input("a device that no system has"));
        }
        // A normalized path has no impossible names.
        let (_, replaced) = self.tree.put(parent, name, meta, kind)?;
        if replaced {
            self.forget_walks();
        }
        Ok(())
    }

    fn named(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        self.tree.node(parent).as_directory()?.get(name)
    }

    fn hard_link(&mut self, parent: NodeId, path: &[u8], offset: u64, target: &[u8]) -> Result<()> {
        normalize(target, &mut self.target)
            .map_err(|fault| Error::input(format!("a hard link to `{}`: {fault}", show(target))))?;
        let (_, name) = split(&self.path);
        let replaces = self.named(parent, name).is_some();
        match find(&mut self.tree, &mut self.target_walk, &self.target) {
            Ok(id) if self.tree.node(id).as_directory().is_some() => {
                return Err(Error::input(format!("a hard link to `{}`, which is a directory", show(target))));
            }
            Ok(id) if is_placeholder(&self.tree.node(id).kind) => {
                self.forward.bind(&mut self.tree, parent, name, id)?;
            }
            Ok(id) => self.tree.link(parent, name, id)?,
            // It may come later.
            Err(_) => {
                let shown = Entry::shown_parts(path, offset);
                self.forward.wait(&mut self.tree, parent, name, &self.target, shown)?;
            }
        }
        if replaces {
            self.forget_walks();
        }
        Ok(())
    }

    /// Where the last walks went is no longer sure once a name means something else.
    fn forget_walks(&mut self) {
        self.walk.forget();
        self.target_walk.forget();
    }

    /// Applies a whiteout to the layers below; says whether the entry was one.
    fn whiteout(&mut self, entry: &Entry) -> Result<bool> {
        normalize(&entry.path, &mut self.path)?;
        let (directory, name) = split(&self.path);
        // Where AUFS kept its own affairs; nothing of an image's.
        if directory.split(|c| *c == b'/').any(|name| name.starts_with(b".wh..wh.")) {
            return Ok(true);
        }
        let Some(hidden) = name.strip_prefix(b".wh.") else { return Ok(false) };
        let opaque = hidden == b".wh..opq";
        if !opaque && hidden.starts_with(b".wh.") {
            return Ok(true);
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::input("a whiteout that names nothing"));
        }
        // What the layers below don't have can't be hidden.
        let Ok(parent) = self.walk.directory(&mut self.tree, directory, None) else { return Ok(true) };
        if !self.above {
            return Ok(true);
        }
        let names: Vec<Box<[u8]>> = match self.tree.node(parent).as_directory() {
            Some(directory) if opaque => directory.iter().map(|(name, _)| name.into()).collect(),
            _ => vec![hidden.into()],
        };
        for name in names {
            self.tree.remove(parent, &name)?;
        }
        self.forget_walks();
        Ok(true)
    }
}

/// The inode at a normalized path; a symbolic link at its end is not followed.
fn find(tree: &mut Tree, walk: &mut Walk, path: &[u8]) -> Result<NodeId> {
    let (directory, name) = split(path);
    let parent = walk.directory(tree, directory, None)?;
    if name.is_empty() {
        return Ok(parent);
    }
    tree.node(parent)
        .as_directory()
        .and_then(|directory| directory.get(name))
        .ok_or_else(|| Error::input(format!("`{}` does not exist", show(path))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_leaves_its_place() {
        let mut merge = Merge::new(Tree::new());
        let mut apply = |path: &str, kind: EntryKind| {
            merge.apply(Entry { path: path.into(), offset: 0, meta: Meta::default(), kind }).unwrap();
            merge.tree.node_table_len()
        };
        let hard_link = |target: &str| EntryKind::HardLink(target.into());
        let link = || EntryKind::Symlink(b"a".to_vec());
        for _ in 0..100 {
            // Over each other: files, links, a directory with something below, links that wait and one of them twice.
            for (path, kind) in [
                ("a", EntryKind::Fifo),
                ("a", link()),
                ("a", hard_link("later")),
                ("b", hard_link("a")),
                ("a", EntryKind::Directory),
                ("a/f", EntryKind::File(Content::empty())),
                ("a/g", hard_link("a/f")),
                ("b", EntryKind::Directory),
                ("b/c/d", EntryKind::Fifo),
                ("b", link()),
            ] {
                let len = apply(path, kind);
                assert!(len <= 8, "{path}: {len}");
            }
        }
        apply("a", hard_link("f"));
        apply("f", EntryKind::File(Content::bytes(*b"x")));
        let tree = merge.finish().unwrap();
        assert_eq!(tree.node_table_len(), 3);
        assert_eq!(tree.lookup(b"a"), tree.lookup(b"f"));
        assert_eq!(tree.node(tree.lookup(b"a").unwrap()).names(), 2);
    }

    #[test]
    fn a_link_that_waits_is_called_one() {
        let mut merge = Merge::new(Tree::new());
        let mut apply = |path: &str, kind| {
            merge.apply(Entry { path: path.into(), offset: 0, meta: Meta::default(), kind })
        };
        apply("a", EntryKind::HardLink(b"b".to_vec())).unwrap();
        let error = apply("a/x", EntryKind::Fifo).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "`a` is a hard link to what hasn't come yet, not a directory");
    }
}
