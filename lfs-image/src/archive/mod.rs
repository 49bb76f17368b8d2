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
use std::os::unix::fs::FileTypeExt as _;
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
use crate::progress::{Progress, Stage};
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
/// let (tree, _store) = read_archives(inputs, &ReadOptions::new("."), &mut ())?;
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
/// let read = read_archives([Input::reader("theirs.tar", Cursor::new(archive))], &options, &mut ());
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
    /// terabytes. All else that comes out of compressed or piped archives (headers, padding, what is skipped, what follows
    /// the end) may be as much again and 64 MiB.
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
/// `progress` hears of [`Stage::Read`]: how many bytes of the archive at hand were read (as they are stored, compressed or not)
/// and how many there are. Content that stays in its archive is read later; that nobody changed the
/// archive in the meantime is made sure of before an image is completed ([`ReadAt::verify_unchanged`](crate::tree::ReadAt::verify_unchanged)).
///
/// # Errors
///
/// When an archive can't be read, is damaged, has no entries (the first one), or holds what no image can; the message
/// names the archive, the entry and where its header is. A stream with more than 64 MiB behind the archive's end is
/// refused. A plain archive that was cut between two entries can't be told from one that was written without an end
/// marker, and is taken as GNU tar takes it, with a [warning](Store::warnings); compressed ones have ends of their own.
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
/// let (tree, _store) = read_archives(inputs, &options, &mut ())?;
/// assert!(tree.lookup(b"motd").is_some());
/// # Ok::<(), lfs_image::Error>(())
/// ```
pub fn read_archives(
    inputs: impl IntoIterator<Item = Input>,
    options: &ReadOptions,
    progress: &mut dyn Progress,
) -> Result<(Tree, Store)> {
    let mut heard = |done, total| progress.at(Stage::Read, done, total);
    let mut merge = Merge::new(Tree::new())
        .whiteouts(options.whiteouts)
        .keep_directory_symlinks(options.keep_directory_symlinks);
    let mut store = Store::default();
    let mut spool = Spool::new(&options.spool_dir, options.max_size);
    for (number, Input { name, bytes }) in inputs.into_iter().enumerate() {
        let read = || -> Result<()> {
            let Found { entries, stops } =
                read_one(&name, bytes, &mut store, &mut spool, &mut merge, &mut heard)?;
            if let Some(at) = stops {
                store.warn(format!(
                    "{name} has no end marker: if it was cut at byte {at}, entries are missing"
                ));
            }
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

/// What was found in an archive.
struct Found {
    entries: u64,
    /// Where it stops without an end marker, if it does and nothing else tells that it is whole.
    stops: Option<u64>,
}

/// Reads one archive.
fn read_one(
    name: &str,
    bytes: Bytes,
    store: &mut Store,
    spool: &mut Spool,
    merge: &mut Merge,
    progress: &mut dyn FnMut(u64, Option<u64>) -> Result<()>,
) -> Result<Found> {
    let fault = |e| Error::io(format!("read {name}"), e);
    let mut total = None;
    let mut watched = None;
    let mut is_device = false;
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
            let kind = metadata.file_type();
            is_device = kind.is_block_device() || kind.is_char_device();
            Box::new(file)
        }
    };
    let read = || {
        let head = read_head(&mut reader).map_err(fault)?;
        let compression = recognize(&head)?;
        tracing::debug!(archive = name, ?compression, "unpacked to a temporary file");
        spool.open()?;
        let chunks = Chunks::start(name, Box::new(Cursor::new(head).chain(reader)), compression, total)?;
        // What follows an archive on a device was there before it, and nobody waits for it to be read.
        let to_end = !is_device || compression != Compression::Plain;
        let found =
            read_entries(&mut Stream::new(chunks, spool, progress, to_end), merge, &mut |_, _| Ok(()))?;
        // Compressed ones have an end of their own.
        Ok(Found { stops: found.stops.filter(|_| compression == Compression::Plain), ..found })
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
) -> Result<Found> {
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
                        Ok(None) => break Some(Ok(entries.stops())),
                        Err(error) => break Some(Err(error)),
                    }
                    if batch.len() == BATCH {
                        break None;
                    }
                };
                // Where nobody takes it, the merge has failed, and that is the fault to tell.
                let sent = sender.send((batch, entries.progress()));
                if let Some(end) = sent.map_or(Some(Ok(None)), |()| end) {
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
        merged.and(read).map(|stops| Found { entries: count, stops })
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
) -> Result<Found> {
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
    Ok(Found { entries: count, stops: entries.stops() })
}

#[cfg(test)]
mod tests {
    use std::io::repeat;

    use super::header::BLOCK;
    use super::*;

    fn header(name: &[u8], kind: u8, size: u64, mode: &[u8; 8]) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..name.len()].copy_from_slice(name);
        block[100..108].copy_from_slice(mode);
        block[124..136].copy_from_slice(format!("{size:012o}").as_bytes());
        block[156] = kind;
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }

    fn read(input: impl Read + Send + 'static, max_size: Option<u64>) -> Result<u64, String> {
        let directory = tempfile::tempdir().unwrap();
        let mut options = ReadOptions::new(directory.path());
        options.max_size = max_size;
        let read = read_archives([Input::reader("a", input)], &options, &mut ());
        read.map(|(tree, _)| tree.node(crate::tree::NodeId::ROOT).as_directory().unwrap().len() as u64)
            .map_err(|error| {
                let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
                causes.map(|cause| format!(": {cause}")).collect()
            })
    }

    #[track_caller]
    fn refused(input: impl Read + Send + 'static, max_size: Option<u64>, words: &str) {
        let said = read(input, max_size).unwrap_err();
        assert!(said.contains(words), "{said}");
    }

    /// 2 KiB: an entry with data, and the end.
    fn whole() -> Vec<u8> {
        [header(b"f", b'0', 5, b"0000644\0"), vec![b'x'; 5], vec![0; 507 + 2 * BLOCK]].concat()
    }

    fn after(bytes: Vec<u8>, zeros: u64) -> impl Read + Send {
        Cursor::new(bytes).chain(repeat(0).take(zeros))
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_follows_an_archive_is_bounded() {
        for zeros in [0, 7, 9 << 10, 16 * MIB, 64 * MIB - 512] {
            assert_eq!(read(after(whole(), zeros), None), Ok(1), "{zeros}");
        }
        refused(
            after(whole(), u64::MAX),
            None,
            "the archive ends at byte 1536, and more than 64 MiB follow it",
        );
        refused(
            after(Vec::new(), u64::MAX),
            None,
            "the archive has no entries: the archive ends at byte 512",
        );
        refused(after(Vec::new(), 10_240), None, "the archive has no entries");
    }

    #[test]
    fn the_limit_is_for_all_that_is_unpacked() {
        let content = 3 * MIB;
        let mut large = header(b"f", b'0', content, b"0000644\0");
        large.resize(BLOCK + 3 * (1 << 20) + 2 * BLOCK, 0);
        assert_eq!(read(Cursor::new(large.clone()), Some(content)), Ok(1));
        refused(Cursor::new(large), Some(content - 1), "more than 3145727 bytes");
        // What is no content: zeros at the end, an entry that is skipped, headers.
        refused(after(whole(), 8 << 30), None, "follow it");
        assert_eq!(read(after(whole(), 30 * MIB), Some(5)), Ok(1));
        let volume = header(b"v", b'V', 8 << 30, b"0000644\0");
        let words = "the most that may be unpacked are 1048576 bytes of content, and beside it as much again and 64 MiB";
        refused(after(volume, u64::MAX), Some(MIB), words);
        let many = header(b"f", b'0', 0, b"0000644\0").repeat(140_000);
        assert_eq!(read(Cursor::new(many.clone()), None), Ok(1));
        assert_eq!(read(Cursor::new(many.clone()), Some(10 * MIB)), Ok(1));
        refused(Cursor::new(many), Some(MIB), words);
    }

    #[cfg(any(feature = "zstd", feature = "zstd-c"))]
    #[test]
    fn streams_that_hold_nothing_end() {
        // Frames to skip, one after the other for ever: of no bytes, and of 4 GiB.
        struct Frames(u32, u64);
        impl Read for Frames {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                let frame = [&[0x50, 0x2a, 0x4d, 0x18], &self.0.to_le_bytes()[..]].concat();
                for byte in &mut *buf {
                    let at = self.1 % (u64::from(self.0) + 8);
                    *byte = usize::try_from(at).ok().and_then(|at| frame.get(at)).copied().unwrap_or(0);
                    self.1 += 1;
                }
                Ok(buf.len())
            }
        }
        for len in [0, u32::MAX] {
            refused(Frames(len, 0), None, "more than 64 MiB in a row hold nothing");
        }
    }

    #[test]
    fn modes_are_modes() {
        for (mode, said) in [
            (b"0100644\0", None),
            (b"0177777\0", None),
            (b"0200000\0", Some("its mode field is 65536, which is no mode")),
            (&[0xff; 8], Some("its mode field is -1, which is no mode")),
            (&[0x80, 0, 1, 0, 0, 0, 0, 0], Some("its mode field is 1099511627776, which is no mode")),
        ] {
            let read = read(Cursor::new(header(b"f", b'0', 0, mode)), None);
            match said {
                None => assert_eq!(read, Ok(1)),
                Some(said) => assert!(read.as_ref().is_err_and(|text| text.contains(said)), "{read:?}"),
            }
        }
    }
}
