//! The root filesystem as a sorted value.
//!
//! A [`Tree`] is a table of inodes ([`Node`]) and directories that name them; hard links are two names of one inode.
//! Directory entries are kept in byte order of their names, so walking a tree doesn't depend on the order in which it
//! was made. [`Merge`] makes one from archive entries, by the rules of extracting into a fresh root.

mod diff;
mod digest;
pub(crate) mod edit;
mod find;
mod links;
mod merge;
mod name;
mod node;
mod order;
mod path;
pub(crate) mod root;
pub(crate) mod text;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use crate::raw::store::{NoStore, Position, ReadAt};
pub use crate::raw::time::Timestamp;
pub use edit::{Action, Change};
pub use merge::{Entry, EntryKind, Merge};
pub use node::{Content, Device, Directory, Kind, Meta, Node, NodeId, Segment, Times, XattrSet, Xattrs};

pub(crate) use node::Data;
pub(crate) use path::{MAX_PATH, show};
pub(crate) use root::Root;

use crate::error::{Error, Result};

/// A root filesystem.
///
/// # Examples
///
/// A tree built in code, without any archive:
///
/// ```
/// use lfs_image::tree::{Content, Kind, Meta, NodeId, Timestamp};
/// use lfs_image::Tree;
///
/// let mut tree = Tree::new();
/// let meta = Meta::new(0o755, Timestamp::from_secs(1_700_000_000));
/// let etc = tree.insert(NodeId::ROOT, b"etc", meta.clone(), Kind::Directory(Default::default()))?;
/// tree.insert(etc, b"hostname", meta, Kind::File(Content::bytes(*b"lfs\n")))?;
/// assert!(tree.lookup(b"etc/hostname").is_some());
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    xattrs: Vec<Arc<Xattrs>>,
    interned: BTreeMap<Arc<Xattrs>, XattrSet>,
    /// Inodes without names whose places may be used again: while a [`Merge`] has the tree, which gives no ids out.
    unused: Option<Vec<NodeId>>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// The longest name of a directory entry, in bytes.
    pub const MAX_NAME: usize = 255;
    /// The longest target of a symbolic link, in bytes.
    pub const MAX_TARGET: usize = 4095;
    /// The most names one inode may have (ext4's limit).
    pub const MAX_LINKS: u32 = 65_000;

    /// A tree that is an empty root directory, mode 0755, owned by root, dated 1970.
    #[must_use]
    pub fn new() -> Self {
        let root = Node {
            meta: Meta::new(0o755, Timestamp::default()),
            kind: Kind::Directory(Directory::default()),
            names: 1,
        };
        Self { nodes: vec![root], xattrs: vec![Arc::default()], interned: BTreeMap::new(), unused: None }
    }

    /// The inode of an id that this tree gave out. One that has no name any more is a fifo without names.
    ///
    /// # Panics
    ///
    /// May panic when the id is another tree's, as [`meta_mut`](Self::meta_mut) and [`xattrs`](Self::xattrs) may: ids are indices.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The attributes of an inode, to change.
    ///
    /// # Panics
    ///
    /// May panic when the id is another tree's.
    pub fn meta_mut(&mut self, id: NodeId) -> &mut Meta {
        &mut self.nodes[id.index()].meta
    }

    /// One more than the highest index that [`NodeId::index`] gives; inodes without names are counted too.
    pub(crate) fn node_table_len(&self) -> usize {
        self.nodes.len()
    }

    /// The extended attributes of a set.
    ///
    /// # Panics
    ///
    /// May panic when the set is another tree's.
    #[must_use]
    pub fn xattrs(&self, set: XattrSet) -> &Xattrs {
        &self.xattrs[set.0 as usize]
    }

    /// All sets that were ever interned.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &Xattrs> {
        self.xattrs.iter().map(|set| &**set)
    }

    /// The set with these attributes.
    ///
    /// # Errors
    ///
    /// After 2^32 different sets.
    ///
    /// # Examples
    ///
    /// ```
    /// use lfs_image::tree::{Content, Kind, Meta, NodeId, Xattrs};
    /// use lfs_image::Tree;
    ///
    /// let mut tree = Tree::new();
    /// let mut meta = Meta::default();
    /// meta.xattrs = tree.intern(Xattrs::from([(b"user.origin"[..].into(), b"here"[..].into())]))?;
    /// let id = tree.insert(NodeId::ROOT, b"motd", meta, Kind::File(Content::empty()))?;
    /// assert_eq!(tree.xattrs(tree.node(id).meta.xattrs).len(), 1);
    /// # Ok::<(), lfs_image::Error>(())
    /// ```
    pub fn intern(&mut self, xattrs: Xattrs) -> Result<XattrSet> {
        if xattrs.is_empty() {
            return Ok(XattrSet::EMPTY);
        }
        if let Some(set) = self.interned.get(&xattrs) {
            return Ok(*set);
        }
        let number = u32::try_from(self.xattrs.len())
            .map_err(|_| Error::capacity("more than 4,294,967,295 different sets of extended attributes"))?;
        let xattrs = Arc::new(xattrs);
        self.xattrs.push(Arc::clone(&xattrs));
        self.interned.insert(xattrs, XattrSet(number));
        Ok(XattrSet(number))
    }

    /// Makes an inode and names it. What the name meant before is gone. A directory is empty at first: what is in it is inserted or
    /// linked afterwards.
    ///
    /// # Errors
    ///
    /// When `parent` is not a directory, the name is impossible, or the tree is full; when a directory isn't empty, content reaches
    /// beyond what a source can hold, or the set of attributes is another tree's.
    pub fn insert(&mut self, parent: NodeId, name: &[u8], meta: Meta, kind: Kind) -> Result<NodeId> {
        check_name(name)?;
        Ok(self.put(parent, name, meta, kind)?.0)
    }

    /// What [`insert`](Self::insert) does, of a name that is known to be possible; says whether the name meant something
    /// before.
    fn put(&mut self, parent: NodeId, name: &[u8], meta: Meta, kind: Kind) -> Result<(NodeId, bool)> {
        if let Kind::Symlink(target) = &kind {
            check_target(target)?;
        }
        let number = u32::try_from(self.nodes.len())
            .ok()
            .filter(|n| *n < u32::MAX - 16)
            .ok_or_else(|| Error::capacity("more than 4,294,967,279 inodes"))?;
        if !self.has_set(meta.xattrs) {
            return Err(Error::misuse("a set of extended attributes of another tree"));
        }
        if let Kind::File(Content { size, data: Data::Stored(at) }) = &kind
            && !at.has_room(*size)
        {
            return Err(Error::misuse(format!(
                "content of {size} bytes from {at:?}, which has 256 TiB at most"
            )));
        }
        // Its entries would be named twice, perhaps in a circle.
        if matches!(&kind, Kind::Directory(directory) if !directory.is_empty()) {
            return Err(Error::misuse(
                "a directory that is inserted with entries in it, which belong to another one",
            ));
        }
        self.directory_mut(parent)?; // before the node exists, so that nothing is left behind
        let node = Node { meta, kind, names: 0 };
        let id = if let Some(id) = self.unused.as_mut().and_then(Vec::pop) {
            self.nodes[id.index()] = node;
            id
        } else {
            self.nodes.push(node);
            NodeId(number)
        };
        let replaced = self.bind(parent, name, id)?;
        Ok((id, replaced))
    }

    /// Gives an existing inode one more name. What the name meant before is gone.
    ///
    /// # Errors
    ///
    /// When `parent` is not a directory, `id` is one, the name is impossible, or the inode has 65,000 names or none any more.
    pub fn link(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<()> {
        check_name(name)?;
        let Some(node) = self.nodes.get(id.index()).filter(|node| node.names > 0) else {
            return Err(Error::misuse(format!(
                "a hard link to inode {} of a tree that has none",
                id.index()
            )));
        };
        if node.as_directory().is_some() {
            return Err(Error::input("a hard link to a directory"));
        }
        if node.names >= Self::MAX_LINKS && self.directory_mut(parent)?.get(name) != Some(id) {
            return Err(Error::capacity(format!(
                "more than {} hard links to one inode, which is all that ext4 can count",
                Self::MAX_LINKS
            )));
        }
        self.bind(parent, name, id).map(|_| ())
    }

    /// Says whether the name meant something before.
    fn bind(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<bool> {
        let before = self.directory_mut(parent)?.entries.insert(name.into(), id);
        if before == Some(id) {
            return Ok(true);
        }
        let node = &mut self.nodes[id.index()];
        node.names += 1;
        if let Kind::Directory(directory) = &mut node.kind {
            directory.parent = parent;
        }
        if let Some(before) = before {
            self.forget(before);
        }
        Ok(before.is_some())
    }

    /// Removes a name, and everything below it if it is a directory's. Says whether there was one.
    ///
    /// # Errors
    ///
    /// When `parent` is not a directory.
    pub fn remove(&mut self, parent: NodeId, name: &[u8]) -> Result<bool> {
        match self.directory_mut(parent)?.entries.remove(name) {
            Some(id) => {
                self.forget(id);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Takes one name from an inode; without any left its content is dropped, a directory's entries with it.
    fn forget(&mut self, id: NodeId) {
        let mut doomed = vec![id];
        while let Some(id) = doomed.pop() {
            let node = &mut self.nodes[id.index()];
            node.names -= 1;
            if node.names > 0 {
                continue;
            }
            // A fifo holds nothing: the node is a tombstone now.
            if let Kind::Directory(directory) = std::mem::replace(&mut node.kind, Kind::Fifo) {
                doomed.extend(directory.entries.into_values());
            }
            if let Some(unused) = &mut self.unused {
                unused.push(id);
            }
        }
    }

    fn directory_mut(&mut self, id: NodeId) -> Result<&mut Directory> {
        match self.nodes.get_mut(id.index()).filter(|node| node.names > 0).map(|node| &mut node.kind) {
            Some(Kind::Directory(directory)) => Ok(directory),
            Some(other) => Err(Error::input(format!("a {} is used as a directory", other.noun()))),
            None => {
                Err(Error::misuse("an inode that was removed, or is another tree's, is used as a directory"))
            }
        }
    }
}

/// Refuses what can't be the name of a directory entry.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    let fault = match name {
        b"" => "is empty".to_owned(),
        b"." | b".." => "is reserved".to_owned(),
        _ if name.len() > Tree::MAX_NAME => {
            format!("is {} bytes long, ext4 holds {}", name.len(), Tree::MAX_NAME)
        }
        _ if name.contains(&0) => "contains a NUL byte".to_owned(),
        _ if name.contains(&b'/') => "contains a `/`".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::input(format!("the name `{}` {fault}", name.escape_ascii())))
}

/// Refuses what can't be the target of a symbolic link.
fn check_target(target: &[u8]) -> Result<()> {
    let fault = match target {
        b"" => "is empty".to_owned(),
        _ if target.len() > Tree::MAX_TARGET => {
            format!("is {} bytes long, ext4 holds {}", target.len(), Tree::MAX_TARGET)
        }
        _ if target.contains(&0) => "contains a NUL byte".to_owned(),
        _ => return Ok(()),
    };
    let shown = &target[..target.len().min(Tree::MAX_NAME)];
    Err(Error::input(format!("the link target `{}` {fault}", shown.escape_ascii())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> Kind {
        Kind::Directory(Directory::default())
    }

    fn file(text: &[u8]) -> Kind {
        Kind::File(Content::bytes(text))
    }

    #[test]
    fn replacing_a_directory_drops_what_is_below() {
        let mut tree = Tree::new();
        let meta = Meta::default();
        let a = tree.insert(NodeId::ROOT, b"a", meta.clone(), dir()).unwrap();
        let f = tree.insert(a, b"f", meta.clone(), file(b"x")).unwrap();
        tree.link(NodeId::ROOT, b"g", f).unwrap();
        assert_eq!(tree.node(f).names(), 2);
        tree.insert(NodeId::ROOT, b"a", meta, file(b"y")).unwrap();
        assert_eq!(tree.node(f).names(), 1);
        assert_eq!(tree.node(a).names(), 0);
        assert_eq!(tree.lookup(b"g"), Some(f));
        assert!(tree.lookup(b"a/f").is_none());
    }

    #[test]
    fn linking_a_name_to_itself_changes_nothing() {
        let mut tree = Tree::new();
        let f = tree.insert(NodeId::ROOT, b"f", Meta::default(), file(b"x")).unwrap();
        tree.link(NodeId::ROOT, b"f", f).unwrap();
        assert_eq!(tree.node(f).names(), 1);
        assert!(tree.remove(NodeId::ROOT, b"f").unwrap());
        assert!(!tree.remove(NodeId::ROOT, b"f").unwrap());
    }

    #[test]
    fn directories_have_one_name() {
        let mut tree = Tree::new();
        let a = tree.insert(NodeId::ROOT, b"a", Meta::default(), dir()).unwrap();
        assert!(tree.link(NodeId::ROOT, b"b", a).is_err());
        assert!(tree.link(a, b"root", NodeId::ROOT).is_err());
    }

    #[test]
    fn impossible_names() {
        let mut tree = Tree::new();
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
            assert!(tree.insert(NodeId::ROOT, bad, Meta::default(), Kind::Fifo).is_err());
        }
        tree.insert(NodeId::ROOT, &[0xff; 255], Meta::default(), Kind::Fifo).unwrap();
        let long = Kind::Symlink(vec![b'x'; 4096].into());
        assert!(tree.insert(NodeId::ROOT, b"l", Meta::default(), long).is_err());
        assert_eq!(tree.node_table_len(), 2);
    }

    #[test]
    fn equal_attributes_are_one_set() {
        let mut tree = Tree::new();
        let set = |v: &[u8]| Xattrs::from([(b"user.a".as_slice().into(), v.into())]);
        let a = tree.intern(set(b"1")).unwrap();
        assert_eq!(tree.intern(set(b"1")).unwrap(), a);
        assert_ne!(tree.intern(set(b"2")).unwrap(), a);
        assert_eq!(tree.intern(Xattrs::new()).unwrap(), XattrSet::EMPTY);
    }
}
