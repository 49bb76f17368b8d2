//! An ext4 filesystem that is there as a tree, read by another reader than the one that writes images.

use std::cell::RefCell;
use std::fs::File;

use ext4_view::{Ext4, Ext4Error};
use lfs_image::{Content, Device, Directory, Error, Kind, Meta, NodeId, Position, ReadAt, Result, Tree};

use crate::usage::At;

/// The content of files, found by where each begins when all are put one after the other.
#[derive(Debug)]
pub(crate) struct Files {
    ext4: Ext4,
    /// Where each file begins, and its path.
    starts: Vec<(u64, ext4_view::PathBuf)>,
    /// The file that was read last: most reads go on where the last one ended.
    open: RefCell<Option<(usize, ext4_view::File)>>,
}

fn failed(what: impl Into<String>) -> impl FnOnce(Ext4Error) -> Error {
    let what = what.into();
    move |error| Error::io(what, std::io::Error::other(error))
}

/// The filesystem that begins at an offset of an image.
pub(crate) fn read(image: &File, offset: u64) -> Result<(Tree, Files)> {
    let image = image.try_clone().map_err(|e| Error::io("open the image again", e))?;
    let ext4 = Ext4::load(Box::new(At { image, offset })).map_err(failed("read the filesystem"))?;
    let mut tree = Tree::new();
    let mut starts = Vec::new();
    let mut end = 0;
    let mut todo = vec![(NodeId::ROOT, ext4_view::PathBuf::new("/"))];
    while let Some((parent, path)) = todo.pop() {
        let shown = || path.display().to_string();
        for entry in ext4.read_dir(&path).map_err(failed(shown()))? {
            let entry = entry.map_err(failed(shown()))?;
            let name = entry.file_name();
            if matches!(name.as_ref(), b"." | b"..") {
                continue;
            }
            let path = entry.path();
            let metadata = entry.metadata().map_err(failed(path.display().to_string()))?;
            let mut meta = Meta { mode: metadata.mode() & 0o7777, ..Meta::default() };
            (meta.uid, meta.gid) = (metadata.uid(), metadata.gid());
            let kind = metadata.file_type();
            // The reader doesn't tell the numbers of devices, and nobody asks.
            let device = Device { major: 0, minor: 0 };
            let kind = if kind.is_dir() {
                Kind::Directory(Directory::default())
            } else if kind.is_symlink() {
                let target = ext4.read_link(&path).map_err(failed(path.display().to_string()))?;
                Kind::Symlink(target.as_ref().into())
            } else if kind.is_regular_file() {
                let at = Position::new(0, end)
                    .ok_or_else(|| Error::new(lfs_image::ErrorKind::Capacity, "files of 256 TiB and more"))?;
                if metadata.len() > 0 {
                    starts.push((end, path.clone()));
                }
                end = end.saturating_add(metadata.len());
                Kind::File(Content::stored(at, metadata.len()))
            } else if kind.is_char_dev() {
                Kind::CharDevice(device)
            } else if kind.is_block_dev() {
                Kind::BlockDevice(device)
            } else if kind.is_fifo() {
                Kind::Fifo
            } else {
                Kind::Socket
            };
            let is_dir = matches!(kind, Kind::Directory(_));
            let id = tree.insert(parent, name.as_ref(), meta, kind)?;
            if is_dir {
                todo.push((id, path));
            }
        }
    }
    Ok((tree, Files { ext4, starts, open: RefCell::new(None) }))
}

impl ReadAt for Files {
    fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()> {
        let number = self.starts.partition_point(|(start, _)| *start <= at.offset()).saturating_sub(1);
        let Some((start, path)) = self.starts.get(number) else {
            return Err(Error::new(lfs_image::ErrorKind::Internal, "content of no file is read"));
        };
        let shown = || format!("read {}", path.display());
        let mut open = self.open.borrow_mut();
        let file = match &mut *open {
            Some((last, file)) if *last == number => file,
            open => &mut open.insert((number, self.ext4.open(path).map_err(failed(shown()))?)).1,
        };
        file.seek_to(at.offset() - start).map_err(failed(shown()))?;
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
