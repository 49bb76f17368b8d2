//! A raw image in a file, and what of it nobody ever wrote.
//!
//! Its bytes don't tell: a zero may be relied on. So the partition table and the filesystems are asked. What is surely
//! unallocated is left out of a snapshot: free blocks of an ext4, the inode tables that it never initialised, and space
//! behind the first partition that belongs to none. Everything else is sent whole, zeros included: other filesystems,
//! damaged or mounted ones, and all in front of the first partition, where boot code lives.

use std::fs::{File, Metadata};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::settings::BLOCK;
use crate::error::{Error, Result};
use crate::ext4;
use crate::raw::num::index;
use crate::raw::sink::Sink;
use crate::raw::store::{Position, ReadAt};
use crate::table::{self, CODE, Gpt, Label, SECTOR, Table};

/// A raw image in a file or on a device.
///
/// # Examples
///
/// ```
/// use lfs_image::ebs::{RawImage, Settings, Source};
/// use lfs_image::image::Boot;
/// use lfs_image::tree::NoStore;
/// use lfs_image::{FileSink, Image, ImageSpec, Tree};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("out.img");
/// let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().boot(Boot::None))?;
/// image.write(&NoStore, FileSink::create(&path)?, &mut ())?;
///
/// let raw = RawImage::open(&path)?;
/// for note in raw.notes() {
///     println!("{note}");
/// }
/// // Of a GiB, no more than what is allocated.
/// let survey = Source::raw(&raw).survey(&Settings::new())?;
/// assert!(survey.volume_gib == 1 && survey.blocks < 200, "{survey:?}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RawImage {
    path: PathBuf,
    file: File,
    len: u64,
    table: Option<Table>,
    map: Map,
    notes: Vec<String>,
    identity: String,
}

/// Which blocks have anything allocated in them.
#[derive(Clone, Debug)]
struct Map {
    bits: Vec<u64>,
    blocks: u64,
}

impl Map {
    fn new(len: u64) -> Self {
        let blocks = len.div_ceil(BLOCK);
        Self { bits: vec![0; index(blocks.div_ceil(64))], blocks }
    }

    /// The bytes from `start` up to `end` are allocated.
    fn allocate(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        for block in start / BLOCK..end.div_ceil(BLOCK).min(self.blocks) {
            self.bits[index(block / 64)] |= 1 << (block % 64);
        }
    }

    fn get(&self, block: u64) -> bool {
        self.bits[index(block / 64)] >> (block % 64) & 1 == 1
    }

    /// Runs of blocks that are alike: the first, the one behind the last, and whether they are allocated.
    fn runs(&self) -> impl Iterator<Item = (u64, u64, bool)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let allocated = (at < self.blocks).then(|| self.get(at))?;
            let start = at;
            while at < self.blocks && self.get(at) == allocated {
                at += 1;
            }
            Some((start, at, allocated))
        })
    }
}

impl RawImage {
    /// Opens an image and finds out what of it is allocated.
    ///
    /// # Errors
    ///
    /// When it can't be read, is empty, or is of a kind that isn't raw.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |e| Error::io(format!("open {}", path.display()), e);
        let mut file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() && !meta.file_type().is_block_device() {
            return Err(Error::input(format!("{} is neither a file nor a block device", path.display())));
        }
        let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if len == 0 {
            return Err(Error::input(format!("{} is empty", path.display())));
        }
        let identity = identity(&meta, len);
        let mut image = Self {
            path: path.to_owned(),
            file,
            len,
            table: None,
            map: Map::new(len),
            notes: Vec::new(),
            identity,
        };
        image.refuse_other_formats()?;
        image.survey()?;
        Ok(image)
    }

    /// Bytes of the image.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // empty ones aren't opened
    pub fn len(&self) -> u64 {
        self.len
    }

    /// What was found out, one line for each part of the image.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Fills `buf` with the bytes at `offset`.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|e| {
            Error::io(format!("read {} bytes at {offset} of {}", buf.len(), self.path.display()), e)
        })
    }

    /// Tells this image from others, and from itself after a change.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// The GPT, if that is the table, and the boot code in front of it.
    pub(super) fn gpt(&self) -> Option<(&Gpt, &[u8; CODE])> {
        let table = self.table.as_ref()?;
        match &table.label {
            Label::Gpt(gpt) => Some((gpt, &table.code)),
            Label::Mbr(_) => None,
        }
    }

    /// Writes all of it, allocated blocks as data.
    pub(super) fn write<S: Sink>(&self, mut sink: S) -> Result<S::Receipt> {
        sink.begin(self.len)?;
        for (start, end, allocated) in self.map.runs() {
            let (start, end) = (start * BLOCK, self.len.min(end * BLOCK));
            if allocated {
                let at = Position::new(0, start).ok_or_else(|| {
                    Error::capacity(format!("{} is larger than 256 TiB", self.path.display()))
                })?;
                sink.copy(start, self, at, end - start)?;
            } else {
                sink.unallocated(start, end - start)?;
            }
        }
        self.verify_unchanged()?;
        sink.finish()
    }

    /// Images in a container would be sent as they are, and no machine would start them.
    fn refuse_other_formats(&self) -> Result<()> {
        let mut head = [0; 8];
        let mut tail = [0; 8];
        let n = head.len().min(index(self.len));
        self.read_at(0, &mut head[..n])?;
        if self.len >= 512 {
            self.read_at(self.len - 512, &mut tail)?;
        }
        let format = match (&head, &tail) {
            ([b'Q', b'F', b'I', 0xfb, ..], _) => "qcow2",
            ([b'K', b'D', b'M', b'V', ..], _) => "VMDK",
            (b"vhdxfile", _) => "VHDX",
            (_, b"conectix") => "VHD",
            ([0x1f, 0x8b, ..], _) => "gzip",
            ([0x28, 0xb5, 0x2f, 0xfd, ..], _) => "zstd",
            ([0xfd, b'7', b'z', b'X', b'Z', ..], _) => "xz",
            _ => return Ok(()),
        };
        Err(Error::input(format!(
            "{} is not a raw image but {format}; `qemu-img convert -O raw` and the like make one of it",
            self.path.display()
        )))
    }

    /// Asks the partition table and the filesystems.
    fn survey(&mut self) -> Result<()> {
        let mut map = Map::new(self.len);
        let mut notes = Vec::new();
        let read_at = |offset: u64, buf: &mut [u8]| self.read_at(offset, buf);
        let table = table::read(self.len / SECTOR, &read_at);
        let is_gpt = matches!(&table, Ok(Some(table)) if matches!(table.label, Label::Gpt(_)));
        // Boot code in front of a bare filesystem may look like a classic table.
        let bare = if is_gpt {
            None
        } else {
            ext4::allocated(0, self.len, &read_at, &mut |start, end| map.allocate(start, end))?
        };
        let table = match (bare, table) {
            (Some(note), _) => {
                match note {
                    Ok(len) => {
                        map.allocate(len, self.len);
                        notes.push("ext4 on the whole disk: its free blocks are left out".to_owned());
                    }
                    Err(why) => {
                        map.allocate(0, self.len);
                        notes.push(format!("ext4 on the whole disk is sent whole: {why}"));
                    }
                }
                None
            }
            (None, Ok(Some(table))) => {
                self.partitions(&table, &mut map, &mut notes)?;
                Some(table)
            }
            (None, Ok(None)) => {
                map.allocate(0, self.len);
                notes.push("no partition table and no ext4: all of it is sent".to_owned());
                None
            }
            (None, Err(error)) if error.kind() == crate::ErrorKind::Input => {
                map.allocate(0, self.len);
                notes.push(format!("all of it is sent, since its partition table is damaged: {error}"));
                None
            }
            (None, Err(error)) => return Err(error),
        };
        (self.table, self.map, self.notes) = (table, map, notes);
        Ok(())
    }

    fn partitions(&self, table: &Table, map: &mut Map, notes: &mut Vec<String>) -> Result<()> {
        let read_at = |offset: u64, buf: &mut [u8]| self.read_at(offset, buf);
        let first = table.partitions.iter().map(|partition| partition.first_lba).min();
        match first {
            Some(first) => map.allocate(0, first * SECTOR),
            None => map.allocate(0, self.len),
        }
        if let Label::Gpt(gpt) = &table.label {
            map.allocate(0, gpt.usable().0 * SECTOR);
            map.allocate(gpt.tail_lba() * SECTOR, (gpt.disk_sectors() * SECTOR).min(self.len));
        }
        for partition in &table.partitions {
            let start = partition.first_lba * SECTOR;
            let end = start + partition.sectors * SECTOR;
            let number = partition.number;
            let found =
                ext4::allocated(start, end - start, &read_at, &mut |from, to| map.allocate(from, to))?;
            match found {
                Some(Ok(len)) => {
                    // Something else may follow the filesystem in its partition.
                    map.allocate(start + len, end);
                    notes.push(format!("partition {number} is ext4: its free blocks are left out"));
                }
                Some(Err(why)) => {
                    map.allocate(start, end);
                    notes.push(format!("partition {number} is ext4 and sent whole: {why}"));
                }
                None => {
                    map.allocate(start, end);
                    notes.push(format!("partition {number} is sent whole"));
                }
            }
        }
        Ok(())
    }
}

impl ReadAt for RawImage {
    fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()> {
        // What isn't there any more was cut off, which says more.
        self.read_at(at.offset(), buf).or_else(|error| self.verify_unchanged().and(Err(error)))
    }

    /// A file's size and modification time tell; of a device nothing does.
    fn verify_unchanged(&self) -> Result<()> {
        let failed = |e| Error::io(format!("look at {}", self.path.display()), e);
        let meta = self.file.metadata().map_err(failed)?;
        if meta.is_file() && identity(&meta, meta.len()) != self.identity {
            return Err(Error::input(format!("{} was changed while it was being read", self.path.display())));
        }
        Ok(())
    }
}

/// Tells a file from others, and from itself after a change.
fn identity(meta: &Metadata, len: u64) -> String {
    format!(
        "file {}:{} of {len} bytes, modified at {}.{:09}",
        meta.dev(),
        meta.ino(),
        meta.mtime(),
        meta.mtime_nsec()
    )
}
