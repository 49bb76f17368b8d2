//! An ext4 filesystem that is there as a tree, read by another reader than the one that writes images: the `ext4-view` crate,
//! and [`crate::ext4_raw`] for what it doesn't tell. Where the two don't agree, nothing is believed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use ext4_view::{Ext4, Ext4Error};
use lfs_image::tree::{Content, Directory, Kind, Meta, NodeId, Position, ReadAt, Segment, Times, Timestamp};
use lfs_image::{Error, ErrorKind, Result, Tree};

use crate::ext4_raw::{self, Extent, Inode, Raw};
use crate::ext4_xattrs;
use crate::usage::{At, show};

/// The content of files, found by where each begins when all are put one after the other.
#[derive(Debug)]
pub(crate) struct Files {
    ext4: Ext4,
    image: File,
    /// Where each piece begins, and where it is.
    starts: Vec<(u64, Place)>,
    /// The file that was read last: most reads go on where the last one ended.
    open: RefCell<Option<(usize, ext4_view::File)>>,
}

/// Where content is.
#[derive(Debug)]
enum Place {
    /// In a file without holes, which `ext4-view` reads.
    File(ext4_view::PathBuf),
    /// At an offset of the image: files with holes, which it reads slowly, and those it doesn't open.
    Image(u64),
}

fn failed(what: impl Into<String>) -> impl FnOnce(Ext4Error) -> Error {
    let what = what.into();
    move |error| Error::io(what, std::io::Error::other(error))
}

/// The filesystem that begins at an offset of an image.
pub(crate) fn read(image: &File, offset: u64) -> Result<(Tree, Files)> {
    let again = || image.try_clone().map_err(|e| Error::io("open the image again", e));
    let ext4 = Ext4::load(Box::new(At { image: again()?, offset })).map_err(failed("read the filesystem"))?;
    let mut reader = Reader {
        raw: Raw::load(image, offset)?,
        ext4,
        tree: Tree::new(),
        nodes: BTreeMap::from([(ext4_raw::ROOT, NodeId::ROOT)]),
        starts: Vec::new(),
        end: 0,
    };
    reader.walk()?;
    let Reader { ext4, tree, starts, .. } = reader;
    Ok((tree, Files { ext4, image: again()?, starts, open: RefCell::new(None) }))
}

struct Reader {
    raw: Raw,
    ext4: Ext4,
    tree: Tree,
    /// Inodes that have a name already.
    nodes: BTreeMap<u32, NodeId>,
    starts: Vec<(u64, Place)>,
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
        let mut todo = vec![(NodeId::ROOT, ext4_view::PathBuf::new("/"), root)];
        while let Some((parent, path, inode)) = todo.pop() {
            let shown = show(path.as_ref());
            let within = |error: Error| error.context(shown.clone());
            // What this one reads has an end, so that the other one can be asked, too.
            let names = self.raw.directory(&inode, &mut seen).map_err(within)?;
            let count = names.len();
            let mut names: BTreeMap<Vec<u8>, u32> = names.into_iter().collect();
            if names.len() != count {
                return Err(within(inode.fault("it holds a name twice")));
            }
            for entry in self.ext4.read_dir(&path).map_err(failed(shown.clone()))? {
                let entry = entry.map_err(failed(shown.clone()))?;
                let name = entry.file_name();
                if matches!(name.as_ref(), b"." | b"..") {
                    continue;
                }
                let path = entry.path();
                let within = |error: Error| error.context(show(path.as_ref()));
                let number = names.remove(name.as_ref()).ok_or_else(|| differ("its name")).map_err(within)?;
                let (id, inode) = self.entry(parent, &entry, number).map_err(within)?;
                if let Some(inode) = inode {
                    todo.push((id, path, inode));
                }
            }
            if !names.is_empty() {
                return Err(within(differ("the names in it")));
            }
        }
        Ok(())
    }

    /// Adds a name; the inode comes back if it is a directory that is to be walked.
    fn entry(
        &mut self,
        parent: NodeId,
        entry: &ext4_view::DirEntry,
        number: u32,
    ) -> Result<(NodeId, Option<Inode>)> {
        let name = entry.file_name();
        if let Some(id) = self.nodes.get(&number).copied() {
            self.tree.link(parent, name.as_ref(), id)?;
            return Ok((id, None));
        }
        let inode = self.raw.inode(number)?;
        let meta = self.meta(&inode)?;
        let is_readable = match entry.metadata() {
            Ok(theirs) => {
                agree(&inode, meta.mtime, &theirs)?;
                true
            }
            // It knows no times that need more than 31 bits.
            Err(_) if inode.times().into_iter().flatten().any(|time| !is_early(time)) => false,
            Err(error) => return Err(failed("read its inode")(error)),
        };
        let kind = self.kind(&inode, entry, is_readable)?;
        let is_directory = matches!(kind, Kind::Directory(_));
        let id = self.tree.insert(parent, name.as_ref(), meta, kind)?;
        self.nodes.insert(number, id);
        Ok((id, is_directory.then_some(inode)))
    }

    fn kind(&mut self, inode: &Inode, entry: &ext4_view::DirEntry, is_readable: bool) -> Result<Kind> {
        Ok(match inode.mode() & S_IFMT {
            S_IFDIR => Kind::Directory(Directory::default()),
            S_IFREG => Kind::File(self.file(inode, entry.path(), is_readable)?),
            S_IFLNK => {
                let size = usize::try_from(inode.size()).unwrap_or(usize::MAX);
                let target = match inode.block_map().get(..size).filter(|_| size < 60) {
                    Some(inline) => inline.to_vec(),
                    None => self.raw.content(inode, Tree::MAX_TARGET as u64)?,
                };
                // It takes targets only that could be paths.
                let is_path = target.split(|c| *c == b'/').all(|name| name.len() <= Tree::MAX_NAME);
                if is_readable && is_path {
                    let theirs = self.ext4.read_link(&entry.path()).map_err(failed("read its target"))?;
                    if theirs.as_ref() as &[u8] != &target[..] {
                        return Err(differ("its target"));
                    }
                }
                Kind::Symlink(target.into())
            }
            S_IFCHR => Kind::CharDevice(inode.device()),
            S_IFBLK => Kind::BlockDevice(inode.device()),
            S_IFIFO => Kind::Fifo,
            S_IFSOCK => Kind::Socket,
            mode => return Err(inode.fault(&format!("its type is {mode:#o}"))),
        })
    }

    fn file(&mut self, inode: &Inode, path: ext4_view::PathBuf, is_readable: bool) -> Result<Content> {
        let (size, block) = (inode.size(), self.raw.block_size);
        if size == 0 {
            return Ok(Content::empty());
        }
        let mut runs: Vec<(u64, u64, u64)> = Vec::new();
        for Extent { logical, physical, len } in self.raw.extents(inode)? {
            let start = logical.saturating_mul(block).min(size);
            let end = (logical + len).saturating_mul(block).min(size);
            if start < end {
                runs.push((start, end, self.raw.place(physical)));
            }
        }
        let mut at = 0;
        let is_dense =
            runs.iter().all(|(start, end, _)| std::mem::replace(&mut at, *end) == *start) && at == size;
        if is_dense && is_readable {
            let at = self.piece(Place::File(path), size)?;
            return Ok(Content::stored(at, size));
        }
        let mut segments = Vec::with_capacity(runs.len());
        for (start, end, place) in runs {
            let at = self.piece(Place::Image(place), end - start)?;
            // What lies apart on the disk is one to those who look at holes.
            segments.push(Segment { offset: start, len: end - start, at });
        }
        Content::sparse(size, segments)
    }

    fn piece(&mut self, place: Place, len: u64) -> Result<Position> {
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

const S_IFMT: u16 = 0xf000;
const S_IFIFO: u16 = 0x1000;
const S_IFCHR: u16 = 0x2000;
const S_IFDIR: u16 = 0x4000;
const S_IFBLK: u16 = 0x6000;
const S_IFREG: u16 = 0x8000;
const S_IFLNK: u16 = 0xa000;
const S_IFSOCK: u16 = 0xc000;

/// Whether `ext4-view` knows a time.
fn is_early(time: Timestamp) -> bool {
    u32::try_from(time.sec.rem_euclid(1 << 32)).is_ok_and(|low| low <= 0x7fff_ffff) && time.sec >= 0
}

fn differ(what: &str) -> Error {
    Error::new(
        ErrorKind::Input,
        format!("two readers see it differently ({what}): the filesystem is damaged"),
    )
}

/// That both readers see the same inode.
fn agree(inode: &Inode, mtime: Timestamp, theirs: &ext4_view::Metadata) -> Result<()> {
    let time = (theirs.modified().seconds(), theirs.modified().nanoseconds());
    for (what, same) in [
        ("its mode", theirs.mode() == inode.mode() & 0o7777),
        ("its owner", theirs.uid() == inode.uid() && theirs.gid() == inode.gid()),
        ("its size", theirs.len() == inode.size()),
        ("its time", time == (mtime.sec, mtime.nsec)),
    ] {
        if !same {
            return Err(differ(what));
        }
    }
    Ok(())
}

impl ReadAt for Files {
    fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()> {
        let number = self.starts.partition_point(|(start, _)| *start <= at.offset()).saturating_sub(1);
        let Some((start, place)) = self.starts.get(number) else {
            return Err(Error::new(ErrorKind::Internal, "content of no file is read"));
        };
        let from = at.offset() - start;
        let path = match place {
            Place::File(path) => path,
            Place::Image(place) => {
                let what = |e| Error::io(format!("read the image at byte {}", place + from), e);
                return self.image.read_exact_at(buf, place + from).map_err(what);
            }
        };
        let shown = || format!("read {}", show(path.as_ref()));
        let mut open = self.open.borrow_mut();
        let file = match &mut *open {
            Some((last, file)) if *last == number => file,
            open => &mut open.insert((number, self.ext4.open(path).map_err(failed(shown()))?)).1,
        };
        // Seeking walks over all blocks before.
        if file.position() != from {
            file.seek_to(from).map_err(failed(shown()))?;
        }
        let mut done = 0;
        while done < buf.len() {
            match file.read_bytes(&mut buf[done..]).map_err(failed(shown()))? {
                0 => return Err(Error::io(shown(), std::io::ErrorKind::UnexpectedEof.into())),
                len => done += len,
            }
        }
        Ok(())
    }
}
