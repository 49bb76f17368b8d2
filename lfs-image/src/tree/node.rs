//! What a tree is made of: inodes, their attributes and where their content waits.

use std::collections::BTreeMap;

use super::name::Name;
use crate::raw::blob::Blob;
use crate::raw::store::{Position, ReadAt};
use crate::raw::time::Timestamp;

/// Names an inode of one [`Tree`](super::Tree). Two directory entries with the same id are hard links.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// The root directory of every tree.
    pub const ROOT: Self = Self(0);

    /// A dense number for tables beside the tree.
    #[must_use]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Extended attributes by their full name (`security.capability`), in byte order.
///
/// `system.posix_acl_access` and `system.posix_acl_default` are kept as `getxattr(2)` gives them (version 2).
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Names a set of extended attributes of one tree; inodes with equal sets share it.
///
/// See [`Tree::intern`](super::Tree::intern), and the example `tree_in_code`, which gives a file a capability.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct XattrSet(pub(super) u32);

impl XattrSet {
    /// The set with no attributes.
    pub const EMPTY: Self = Self(0);
}

/// Owner, permissions, times and attributes of an inode.
///
/// # Examples
///
/// ```
/// use lfs_image::tree::{Meta, Times, Timestamp};
///
/// let built = Timestamp::from_secs(1_700_000_000);
/// let read = Timestamp::from_secs(1_700_000_100);
/// let mail = Meta {
///     gid: 34,
///     times: Some(Box::new(Times { atime: Some(read), ..Times::default() })),
///     ..Meta::new(0o2775, built)
/// };
/// assert_eq!((mail.uid, mail.gid), (0, 34));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Meta {
    /// Permission bits with set-user-ID, set-group-ID and sticky: `0o7777`; other bits come into no image.
    pub mode: u16,
    /// The owner's numeric id.
    pub uid: u32,
    /// The group's numeric id.
    pub gid: u32,
    /// Last modification of the content.
    pub mtime: Timestamp,
    /// The other times, where they are known; they default to `mtime`.
    pub times: Option<Box<Times>>,
    /// Extended attributes, see [`Tree::intern`](super::Tree::intern).
    pub xattrs: XattrSet,
}

impl Meta {
    /// Attributes of an inode of root's with no other times and no extended attributes.
    #[must_use]
    pub fn new(mode: u16, mtime: Timestamp) -> Self {
        Self { mode, mtime, ..Self::default() }
    }
}

/// Times that archives seldom carry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Times {
    /// Last access.
    pub atime: Option<Timestamp>,
    /// Last change of the inode.
    pub ctime: Option<Timestamp>,
    /// Creation.
    pub crtime: Option<Timestamp>,
}

/// What an inode is.
///
/// # Examples
///
/// ```
/// use lfs_image::tree::{Device, Kind, Meta, NodeId};
/// use lfs_image::Tree;
///
/// let mut tree = Tree::new();
/// tree.insert(NodeId::ROOT, b"console", Meta::default(), Kind::CharDevice(Device { major: 5, minor: 1 }))?;
/// tree.insert(NodeId::ROOT, b"bin", Meta::default(), Kind::Symlink(b"usr/bin"[..].into()))?;
/// let bin = tree.lookup(b"bin").map(|id| &tree.node(id).kind);
/// assert!(matches!(bin, Some(Kind::Symlink(target)) if **target == *b"usr/bin"));
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory.
    Directory(Directory),
    /// A regular file.
    File(Content),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// What a person calls it.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Directory(_) => "directory",
            Self::File(_) => "file",
            Self::Symlink(_) => "symbolic link",
            Self::CharDevice(_) => "character device",
            Self::BlockDevice(_) => "block device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }
}

/// A directory's entries in byte order of their names, without `.` and `..`.
///
/// [`Tree::insert`](super::Tree::insert) and [`Tree::link`](super::Tree::link) fill it.
///
/// # Examples
///
/// ```
/// use lfs_image::tree::{Content, Directory, Kind, Meta, NodeId};
/// use lfs_image::Tree;
///
/// let mut tree = Tree::new();
/// let etc = tree.insert(NodeId::ROOT, b"etc", Meta::default(), Kind::Directory(Directory::default()))?;
/// for name in [&b"passwd"[..], b"fstab"] {
///     tree.insert(etc, name, Meta::default(), Kind::File(Content::empty()))?;
/// }
/// let names = tree.node(etc).as_directory().map(|directory| directory.iter().map(|(name, _)| name).collect());
/// assert_eq!(names, Some(vec![&b"fstab"[..], b"passwd"]));
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Directory {
    pub(super) entries: BTreeMap<Name, NodeId>,
    /// The directory that names this one; the root's is the root.
    pub(super) parent: NodeId,
}

impl Default for Directory {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), parent: NodeId::ROOT }
    }
}

impl Directory {
    /// The entries in byte order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], NodeId)> + Clone {
        self.entries.iter().map(|(name, id)| (name.as_bytes(), *id))
    }

    /// The directory that names this one; the root directory is its own parent.
    #[must_use]
    pub fn parent(&self) -> NodeId {
        self.parent
    }

    /// The inode of this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<NodeId> {
        self.entries.get(name).copied()
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A device number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Device {
    /// The driver: below 4096 in Linux.
    pub major: u32,
    /// The unit: below 1,048,576 in Linux.
    pub minor: u32,
}

/// The content of a file: its size, and where its bytes are.
///
/// # Examples
///
/// ```
/// use lfs_image::tree::{Content, NoStore, Position, Segment};
///
/// let text = Content::bytes(*b"hello");
/// assert_eq!(text.read(&NoStore, 1, 3)?, b"ell");
///
/// // A GiB of hole with a block of data in the middle, which is in a store at its beginning.
/// let at = Position::new(0, 0).expect("the first byte of a source");
/// let sparse = Content::sparse(1 << 30, [Segment { offset: 1 << 29, len: 4096, at }])?;
/// assert_eq!(sparse.runs().collect::<Vec<_>>(), [(1 << 29, 4096)]);
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Content {
    pub(crate) size: u64,
    pub(crate) data: Data,
}

/// Where a file's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// All of them from here on.
    Stored(Position),
    /// Here; exactly as many as the size.
    Inline(Box<[u8]>),
    /// In pieces with holes around them. Segments ascend, don't overlap, are not empty, and end at the size or
    /// before it.
    Sparse(Box<[Segment]>),
}

/// A run of a sparse file's data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segment {
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Length in bytes, not 0.
    pub len: u64,
    /// Where the bytes are.
    pub at: Position,
}

impl Content {
    /// No content.
    #[must_use]
    pub fn empty() -> Self {
        Self::bytes(Vec::new())
    }

    /// These bytes.
    #[must_use]
    pub fn bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { size: bytes.len() as u64, data: Data::Inline(bytes) }
    }

    /// `size` bytes in the store from `at` on.
    #[must_use]
    pub fn stored(at: Position, size: u64) -> Self {
        Self { size, data: Data::Stored(at) }
    }

    /// A file of `size` bytes that is a hole except for `segments`.
    ///
    /// # Errors
    ///
    /// When the segments overlap, descend, are empty or reach past the size, or past the 256 TiB of a source.
    pub fn sparse(size: u64, segments: impl Into<Box<[Segment]>>) -> crate::Result<Self> {
        let segments = segments.into();
        let mut end = 0;
        for segment in &segments {
            let segment_end = segment.offset.checked_add(segment.len).filter(|_| segment.len > 0);
            match segment_end {
                Some(e) if segment.offset >= end && e <= size && segment.at.has_room(segment.len) => end = e,
                _ => {
                    return Err(crate::Error::input(format!(
                        "sparse map: the segment of {} bytes at {} is empty, overlaps the one before it \
                         (which ends at {end}), reaches past the size {size}, or past 256 TiB of its source",
                        segment.len, segment.offset
                    )));
                }
            }
        }
        Ok(Self { size, data: Data::Sparse(segments) })
    }

    /// The size in bytes, holes included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads `len` bytes from `offset` on, holes as zeros.
    ///
    /// # Errors
    ///
    /// When they reach past the size, or the store can't be read.
    pub fn read(&self, store: &dyn ReadAt, offset: u64, len: u64) -> crate::Result<Vec<u8>> {
        self.to_blob().read(store, offset, len)
    }

    /// The bytes, if they are in memory: they were made, not read from an archive.
    pub(crate) fn inline(&self) -> Option<&[u8]> {
        match &self.data {
            Data::Inline(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Where there is data and no hole: offset and length of each run, ascending.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (whole, segments) = match &self.data {
            Data::Sparse(segments) => (None, &segments[..]),
            _ => (Some((0, self.size)).filter(|_| self.size > 0), &[][..]),
        };
        whole.into_iter().chain(segments.iter().map(|segment| (segment.offset, segment.len)))
    }

    /// The content as a blob, holes as zeros.
    pub(crate) fn to_blob(&self) -> Blob {
        let mut blob = Blob::default();
        match &self.data {
            Data::Stored(at) => blob.push_stored(*at, self.size),
            Data::Inline(bytes) => blob.push_bytes(bytes.clone()),
            Data::Sparse(segments) => {
                for segment in segments {
                    blob.push_zeros(segment.offset - blob.len());
                    blob.push_stored(segment.at, segment.len);
                }
                blob.push_zeros(self.size - blob.len());
            }
        }
        blob
    }
}

/// An inode: attributes, what it is, how many names it has.
///
/// # Examples
///
/// ```
/// use lfs_image::tree::{Content, Kind, Meta, NodeId};
/// use lfs_image::Tree;
///
/// let mut tree = Tree::new();
/// let gzip = tree.insert(NodeId::ROOT, b"gzip", Meta::default(), Kind::File(Content::empty()))?;
/// tree.link(NodeId::ROOT, b"gunzip", gzip)?;
/// let node = tree.node(gzip);
/// assert_eq!((node.kind.noun(), node.names()), ("file", 2));
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Node {
    /// Owner, permissions, times, attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
    /// How many directory entries name it (1 for the root directory).
    pub(super) names: u32,
}

impl Node {
    /// How many directory entries name this inode.
    #[must_use]
    pub fn names(&self) -> u32 {
        self.names
    }

    /// The directory, if it is one.
    #[must_use]
    pub fn as_directory(&self) -> Option<&Directory> {
        match &self.kind {
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_stay_small() {
        // Millions of them are held at once.
        assert!(size_of::<Node>() <= 88, "{}", size_of::<Node>());
    }

    #[test]
    fn sparse_maps_are_checked() {
        let at = Position::new(0, 0).unwrap();
        let seg = |offset, len| Segment { offset, len, at };
        assert!(Content::sparse(10, [seg(0, 4), seg(4, 6)]).is_ok());
        for bad in [
            vec![seg(0, 0)],
            vec![seg(0, 11)],
            vec![seg(0, 4), seg(3, 1)],
            vec![seg(5, 1), seg(0, 1)],
            vec![seg(u64::MAX, 1)],
        ] {
            assert!(Content::sparse(10, bad).is_err());
        }
    }
}
