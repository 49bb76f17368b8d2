//! An ext4 filesystem that is there as a tree, read by another reader than the one that writes images ([`crate::ext4_raw`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use lfs_image::tree::{Content, Directory, Kind, Meta, NodeId, Position, ReadAt, Segment, Times, Timestamp};
use lfs_image::{Error, ErrorKind, Result, Tree};

use crate::ext4_extents::Extent;
use crate::ext4_raw::{self, Inode, Raw};
use crate::ext4_xattrs;
use crate::usage::show;

/// The content of files, found by where each piece begins when all are put one after the other.
#[derive(Debug)]
pub(crate) struct Files {
    image: File,
    /// Where each piece begins, and where on the image it is.
    starts: Vec<(u64, u64)>,
}

/// The filesystem that begins at an offset of an image.
pub(crate) fn read(image: &File, offset: u64) -> Result<(Tree, Files)> {
    let mut reader = Reader {
        raw: Raw::load(image, offset)?,
        tree: Tree::new(),
        nodes: BTreeMap::from([(ext4_raw::ROOT, NodeId::ROOT)]),
        starts: Vec::new(),
        end: 0,
    };
    reader.walk()?;
    let Reader { tree, starts, .. } = reader;
    let image = image.try_clone().map_err(|e| Error::io("open the image again", e))?;
    Ok((tree, Files { image, starts }))
}

struct Reader {
    raw: Raw,
    tree: Tree,
    /// Inodes that have a name already.
    nodes: BTreeMap<u32, NodeId>,
    starts: Vec<(u64, u64)>,
    /// Where the next piece of content begins.
    end: u64,
}

impl Reader {
    fn walk(&mut self) -> Result<()> {
        let root = self.raw.inode(ext4_raw::ROOT)?;
        if root.mode() & S_IFMT != S_IFDIR {
            return Err(root.fault("the root is no directory"));
        }
        *self.tree.meta_mut(NodeId::ROOT) = self.meta(&root)?;
        let mut seen = BTreeSet::new();
        let mut todo = vec![(NodeId::ROOT, root)];
        while let Some((parent, inode)) = todo.pop() {
            let names = self.raw.directory(&inode, &mut seen);
            let names = names.map_err(|error| error.context(self.path(parent, b"")))?;
            for (name, number) in names {
                let is_there =
                    self.tree.node(parent).as_directory().is_some_and(|all| all.get(&name).is_some());
                let added = match is_there {
                    true => Err(inode.fault("the directory holds this name twice")),
                    false => self.entry(parent, &name, number),
                };
                let (id, inode) = added.map_err(|error| error.context(self.path(parent, &name)))?;
                todo.extend(inode.map(|inode| (id, inode)));
            }
        }
        Ok(())
    }

    /// A name in a directory, for messages.
    fn path(&self, parent: NodeId, name: &[u8]) -> String {
        let mut names = vec![name];
        let mut at = parent;
        while let Some(above) =
            self.tree.node(at).as_directory().map(Directory::parent).filter(|above| *above != at)
        {
            let found =
                self.tree.node(above).as_directory().and_then(|all| all.iter().find(|(_, id)| *id == at));
            names.extend(found.map(|(name, _)| name));
            at = above;
        }
        names.retain(|name| !name.is_empty());
        names.reverse();
        format!("/{}", show(&names.join(&b'/')))
    }

    /// Adds a name; the inode comes back if it is a directory that is to be walked.
    fn entry(&mut self, parent: NodeId, name: &[u8], number: u32) -> Result<(NodeId, Option<Inode>)> {
        if let Some(id) = self.nodes.get(&number).copied() {
            self.tree.link(parent, name, id)?;
            return Ok((id, None));
        }
        let inode = self.raw.inode(number)?;
        let meta = self.meta(&inode)?;
        let kind = self.kind(&inode)?;
        let is_directory = matches!(kind, Kind::Directory(_));
        let id = self.tree.insert(parent, name, meta, kind)?;
        self.nodes.insert(number, id);
        Ok((id, is_directory.then_some(inode)))
    }

    fn kind(&mut self, inode: &Inode) -> Result<Kind> {
        Ok(match inode.mode() & S_IFMT {
            S_IFDIR => Kind::Directory(Directory::default()),
            S_IFREG => Kind::File(self.file(inode)?),
            S_IFLNK => {
                let size = usize::try_from(inode.size()).unwrap_or(usize::MAX);
                let target = match inode.block_map().get(..size).filter(|_| size < 60) {
                    Some(inline) => inline.to_vec(),
                    None => self.raw.content(inode, Tree::MAX_TARGET as u64)?,
                };
                Kind::Symlink(target.into())
            }
            S_IFCHR => Kind::CharDevice(inode.device()),
            S_IFBLK => Kind::BlockDevice(inode.device()),
            S_IFIFO => Kind::Fifo,
            S_IFSOCK => Kind::Socket,
            mode => return Err(inode.fault(&format!("its type is {mode:#o}"))),
        })
    }

    fn file(&mut self, inode: &Inode) -> Result<Content> {
        let (size, block) = (inode.size(), self.raw.block_size);
        if size == 0 {
            return Ok(Content::empty());
        }
        if size.div_ceil(block) > MAX_FILE_BLOCKS {
            return Err(inode.fault(&format!("its size is {size} bytes, which no file has")));
        }
        let mut segments = Vec::new();
        for Extent { logical, physical, len } in self.raw.extents(inode)? {
            let start = logical.saturating_mul(block).min(size);
            let end = (logical + len).saturating_mul(block).min(size);
            if start < end {
                let at = self.piece(self.raw.place(physical), end - start)?;
                // What lies apart on the disk is one to those who look at holes.
                segments.push(Segment { offset: start, len: end - start, at });
            }
        }
        match segments[..] {
            [Segment { offset: 0, len, at }] if len == size => Ok(Content::stored(at, size)),
            _ => Content::sparse(size, segments),
        }
    }

    fn piece(&mut self, place: u64, len: u64) -> Result<Position> {
        let at = Position::new(0, self.end)
            .ok_or_else(|| Error::new(ErrorKind::Capacity, "content of 256 TiB and more"))?;
        self.starts.push((self.end, place));
        self.end = self.end.saturating_add(len);
        Ok(at)
    }

    fn meta(&mut self, inode: &Inode) -> Result<Meta> {
        let [atime, ctime, mtime, crtime] = inode.times();
        let mut meta = Meta::new(inode.mode() & 0o7777, mtime.unwrap_or_default());
        (meta.uid, meta.gid) = (inode.uid(), inode.gid());
        let other = |time: Option<Timestamp>| time.filter(|time| Some(*time) != mtime);
        let times = Times { atime: other(atime), ctime: other(ctime), crtime: other(crtime) };
        meta.times = (times != Times::default()).then(|| Box::new(times));
        meta.xattrs = self.tree.intern(ext4_xattrs::read(&self.raw, inode)?)?;
        Ok(meta)
    }
}

/// The numbers that blocks of a file can have.
const MAX_FILE_BLOCKS: u64 = 1 << 32;
const S_IFMT: u16 = 0xf000;
const S_IFIFO: u16 = 0x1000;
const S_IFCHR: u16 = 0x2000;
const S_IFDIR: u16 = 0x4000;
const S_IFBLK: u16 = 0x6000;
const S_IFREG: u16 = 0x8000;
const S_IFLNK: u16 = 0xa000;
const S_IFSOCK: u16 = 0xc000;

impl ReadAt for Files {
    fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()> {
        let (mut from, mut rest) = (at.offset(), buf);
        let mut number = self.starts.partition_point(|(start, _)| *start <= from).saturating_sub(1);
        while !rest.is_empty() {
            let Some((start, place)) = self.starts.get(number).filter(|(start, _)| *start <= from) else {
                return Err(Error::new(ErrorKind::Internal, "content of no file is read"));
            };
            let end = self.starts.get(number + 1).map_or(u64::MAX, |(next, _)| *next);
            let n = rest.len().min(usize::try_from(end - from).unwrap_or(usize::MAX));
            let (piece, after) = rest.split_at_mut(n);
            let place = place + (from - start);
            self.image
                .read_exact_at(piece, place)
                .map_err(|e| Error::io(format!("read the image at byte {place}"), e))?;
            (from, rest, number) = (from + n as u64, after, number + 1);
        }
        Ok(())
    }
}
