//! Tar archives in: from their bytes to a tree and a store of content.
//!
//! ```text
//! plain file         headers are read on a thread, content is left where it is     -> entries -> tree
//! anything else      decompressed on a thread, content appended to one spool file -> entries -> tree
//! ```
//!
//! The rooms: `sniff` tells what an input is, `decode` decompresses, `source` walks over the bytes, `header`,
//! `pax`, `sparse`, `xattr` and `acl` know the formats, `entries` puts entries together, `spool` and `store`
//! keep and return content. [`Merge`] then makes a tree of the entries.
//!
//! An archive is taken as GNU tar would take it, except that whatever GNU tar would warn of and leave out is an error here:
//! an image that silently lacks something is worse than none.

mod acl;
pub(crate) mod decode;
mod entries;
mod header;
mod pax;
mod sniff;
mod source;
mod sparse;
mod spool;
mod store;
mod xattr;

use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

pub use store::Store;

use decode::Compression;
use entries::Entries;
use sniff::{HEAD, sniff};
use source::{Plain, Source, Stream};
use spool::{Chunks, Spool};
use store::Stamp;

use crate::error::{Error, Result};
use crate::tree::{Entry, Merge, Tree, Xattrs};

/// An archive to read: plain or compressed with gzip, zstd, xz or bzip2, which is told by its content.
///
/// # Examples
///
/// A plain archive in a file, and a layer from a pipe:
///
/// ```
/// use std::io::Cursor;
///
/// use lfs_image::{Input, ReadOptions, read_archives};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::io::{Seek as _, Write as _};
/// # let archive = |name: &str| -> std::io::Result<Vec<u8>> {
/// #     let mut tar = tar::Builder::new(Vec::new());
/// #     tar.append_data(&mut tar::Header::new_gnu(), name, &[][..])?;
/// #     tar.into_inner()
/// # };
/// # let mut file = tempfile::tempfile()?;
/// # file.write_all(&archive("etc/fstab")?)?;
/// # file.rewind()?;
/// # let pipe = Cursor::new(archive("etc/motd")?);
/// let inputs = [Input::file("rootfs.tar", file), Input::reader("standard input", pipe)];
/// let (tree, _store) = read_archives(inputs, &ReadOptions::new("."), &mut |_done, _total| Ok(()))?;
/// assert!(tree.lookup(b"etc/fstab").is_some() && tree.lookup(b"etc/motd").is_some());
/// # Ok(())
/// # }
/// ```
pub struct Input {
    name: String,
    bytes: Bytes,
}

enum Bytes {
    File(File),
    Reader(Box<dyn Read + Send>),
}

impl Input {
    /// An archive in a file, read from its current position. A plain archive in a regular file stays open as the place
    /// where content is read from; pipes and devices work, too. The name is for messages.
    #[must_use]
    pub fn file(name: impl Into<String>, file: File) -> Self {
        Self { name: name.into(), bytes: Bytes::File(file) }
    }

    /// An archive that comes from anywhere else.
    #[must_use]
    pub fn reader(name: impl Into<String>, reader: impl Read + Send + 'static) -> Self {
        Self { name: name.into(), bytes: Bytes::Reader(Box::new(reader)) }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How archives are read.
///
/// # Examples
///
/// An archive of somebody else's, which may hold more than it seems:
///
/// ```
/// use std::io::Cursor;
///
/// use lfs_image::{ErrorKind, Input, ReadOptions, read_archives};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut tar = tar::Builder::new(Vec::new());
/// # let mut header = tar::Header::new_gnu();
/// # header.set_size(2000);
/// # tar.append_data(&mut header, "large", &[7; 2000][..])?;
/// # let archive = tar.into_inner()?;
/// let mut options = ReadOptions::new(".");
/// options.max_size = Some(1000);
/// options.whiteouts = true;
/// let read = read_archives([Input::reader("theirs.tar", Cursor::new(archive))], &options, &mut |_, _| Ok(()));
/// assert_eq!(read.unwrap_err().kind(), ErrorKind::Capacity);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Where the temporary file for content is made, if one is needed: without a name, readable by nobody else.
    pub spool_dir: PathBuf,
    /// The most bytes of content that may be unpacked to that file; a compressed archive of a few kilobytes can hold
    /// terabytes.
    pub max_size: Option<u64>,
    /// Whether `.wh.name` and `.wh..wh..opq` remove what earlier archives have; see [`Merge::whiteouts`].
    pub whiteouts: bool,
    /// Whether a directory entry leaves a symbolic link to a directory in place; see
    /// [`Merge::keep_directory_symlinks`].
    pub keep_directory_symlinks: bool,
}

impl ReadOptions {
    /// No limit, no whiteouts.
    #[must_use]
    pub fn new(spool_dir: impl Into<PathBuf>) -> Self {
        Self { spool_dir: spool_dir.into(), max_size: None, whiteouts: false, keep_directory_symlinks: false }
    }
}

/// Reads archives, each one a layer over those before it, into a tree and the store of its files' content.
///
/// `progress` hears how many bytes of the archive at hand were read (as they are stored, compressed or not) and how
/// many there are; its error ends the reading. Content that stays in its archive is read later; that nobody changed the
/// archive in the meantime is made sure of before an image is completed ([`ReadAt::verify_unchanged`](crate::tree::ReadAt::verify_unchanged)).
///
/// # Errors
///
/// When an archive can't be read, is damaged, has no entries (the first one), or holds what no image can; the message
/// names the archive, the entry and where its header is.
///
/// # Examples
///
/// ```
/// use lfs_image::{Input, ReadOptions, read_archives};
///
/// // A header and its data, as `tar` would write them.
/// let mut header = [0; 512];
/// header[..4].copy_from_slice(b"motd");
/// header[100..107].copy_from_slice(b"0000644");
/// header[124..135].copy_from_slice(b"00000000006");
/// header[156] = b'0';
/// header[148..156].copy_from_slice(b"        ");
/// let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
/// header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
/// let mut data = [0; 512];
/// data[..6].copy_from_slice(b"hello\n");
/// let archive = [header, data, [0; 512], [0; 512]].concat();
///
/// let directory = tempfile::tempdir().map_err(|e| lfs_image::Error::io("make a directory", e))?;
/// let options = ReadOptions::new(directory.path());
/// let inputs = [Input::reader("motd.tar", std::io::Cursor::new(archive))];
/// let (tree, _store) = read_archives(inputs, &options, &mut |_done, _total| Ok(()))?;
/// assert!(tree.lookup(b"motd").is_some());
/// # Ok::<(), lfs_image::Error>(())
/// ```
pub fn read_archives(
    inputs: impl IntoIterator<Item = Input>,
    options: &ReadOptions,
    progress: &mut dyn FnMut(u64, Option<u64>) -> Result<()>,
) -> Result<(Tree, Store)> {
    let mut merge = Merge::new(Tree::new())
        .whiteouts(options.whiteouts)
        .keep_directory_symlinks(options.keep_directory_symlinks);
    let mut store = Store::default();
    let mut spool = Spool::new(&options.spool_dir, options.max_size);
    for (number, Input { name, bytes }) in inputs.into_iter().enumerate() {
        let read = || -> Result<()> {
            let entries = read_one(&name, bytes, &mut store, &mut spool, &mut merge, progress)?;
            // A layer above may change nothing; an image of nothing is a mistake.
            if entries == 0 && number == 0 {
                return Err(Error::input("the archive has no entries"));
            }
            tracing::debug!(archive = name, entries, "read");
            merge.end_layer()
        };
        read().map_err(|error| error.context(format!("can't read {name}")))?;
    }
    if let Some(file) = spool.finish()? {
        store.set_spool(file)?;
    }
    let mut tree = merge.finish()?;
    acl::resolve(&mut tree, &store)?;
    Ok((tree, store))
}

/// Reads one archive; returns the number of its entries.
fn read_one(
    name: &str,
    bytes: Bytes,
    store: &mut Store,
    spool: &mut Spool,
    merge: &mut Merge,
    progress: &mut dyn FnMut(u64, Option<u64>) -> Result<()>,
) -> Result<u64> {
    let fault = |e| Error::io(format!("read {name}"), e);
    let mut total = None;
    let mut watched = None;
    let mut reader: Box<dyn Read + Send> = match bytes {
        Bytes::Reader(reader) => reader,
        Bytes::File(mut file) => {
            let metadata = file.metadata().map_err(fault)?;
            if metadata.is_dir() {
                return Err(Error::input("it is a directory, not an archive"));
            }
            if metadata.is_file() {
                let start = file.stream_position().map_err(fault)?;
                let head = read_head(&mut (&file).take(HEAD as u64)).map_err(fault)?;
                file.seek(std::io::SeekFrom::Start(start)).map_err(fault)?;
                if recognize(&head)? == Compression::Plain {
                    tracing::debug!(
                        archive = name,
                        bytes = metadata.len(),
                        "plain: its content stays where it is"
                    );
                    let (number, end) = store.add(name, file)?;
                    let file =
                        store.last().ok_or_else(|| Error::internal("the archive that was just added"))?;
                    return read_ahead(Plain::new(file, number, start, end), merge, progress);
                }
                total = Some(metadata.len().saturating_sub(start));
                let file = file.try_clone().map_err(fault)?;
                watched = Some((Stamp::of(name, &file)?, file));
            }
            Box::new(file)
        }
    };
    let read = || {
        let head = read_head(&mut reader).map_err(fault)?;
        let compression = recognize(&head)?;
        tracing::debug!(archive = name, ?compression, "unpacked to a temporary file");
        spool.open()?;
        let chunks = Chunks::start(name, Box::new(Cursor::new(head).chain(reader)), compression, total)?;
        read_entries(&mut Stream::new(chunks, spool, progress), merge, &mut |_, _| Ok(()))
    };
    let outcome = read();
    // Not every stream has a checksum of its content, and damage that somebody is just doing is better called that.
    if let Some((stamp, file)) = watched {
        stamp.verify(name, &file)?;
    }
    outcome
}

fn recognize(head: &[u8]) -> Result<Compression> {
    sniff(head).map_err(|what| match entries::is_boot_sector(head) {
        true => Error::input(entries::BOOT_SECTOR),
        false => Error::input(format!("it is not a tar archive: {what}")),
    })
}

/// The first bytes, however short the reads.
fn read_head(reader: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    reader.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Reads entries on a thread of their own while those before them are merged.
fn read_ahead(
    mut source: Plain<'_>,
    merge: &mut Merge,
    progress: &mut dyn FnMut(u64, Option<u64>) -> Result<()>,
) -> Result<u64> {
    /// Entries that are handed over together, and how often that may be ahead of the merge.
    const BATCH: usize = 256;
    const AHEAD: usize = 4;
    let (sender, batches) = sync_channel(AHEAD);
    std::thread::scope(|scope| {
        let reader = move || {
            let mut entries = Entries::new(&mut source);
            loop {
                let mut batch = Vec::with_capacity(BATCH);
                let end = loop {
                    match entries.next() {
                        Ok(Some(entry)) => batch.push(entry),
                        Ok(None) => break Some(Ok(())),
                        Err(error) => break Some(Err(error)),
                    }
                    if batch.len() == BATCH {
                        break None;
                    }
                };
                // Where nobody takes it, the merge has failed, and that is the fault to tell.
                let sent = sender.send((batch, entries.progress()));
                if let Some(end) = sent.map_or(Some(Ok(())), |()| end) {
                    return end;
                }
            }
        };
        let reader = std::thread::Builder::new()
            .name("read".to_owned())
            .spawn_scoped(scope, reader)
            .map_err(|e| Error::io("start a thread", e))?;
        let mut count = 0;
        let merged = batches.iter().try_for_each(|(batch, (done, total))| {
            for (entry, xattrs) in batch {
                take(merge, entry, xattrs)?;
                count += 1;
            }
            progress(done, total)
        });
        drop(batches);
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        merged.and(read).map(|()| count)
    })
}

fn take(merge: &mut Merge, mut entry: Entry, xattrs: Xattrs) -> Result<()> {
    if !xattrs.is_empty() {
        entry.meta.xattrs = merge.intern(xattrs)?;
    }
    merge.apply(entry)
}

fn read_entries(
    source: &mut dyn Source,
    merge: &mut Merge,
    progress: &mut dyn FnMut(u64, Option<u64>) -> Result<()>,
) -> Result<u64> {
    /// How often progress is told of.
    const STEP: u64 = 256;
    let mut entries = Entries::new(source);
    let mut count = 0;
    while let Some((entry, xattrs)) = entries.next()? {
        take(merge, entry, xattrs)?;
        count += 1;
        if count % STEP == 0 {
            let (done, total) = entries.progress();
            progress(done, total)?;
        }
    }
    let (done, total) = entries.progress();
    progress(done, total)?;
    Ok(count)
}
