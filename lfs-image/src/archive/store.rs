//! Reads file content back: from the archives themselves where they are plain files, else from the spool.

use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Result as IoResult};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::raw::num::index;
use crate::raw::store::{Position, ReadAt};

/// Reads shorter than this may be served from what was read ahead.
const SMALL: usize = 16 << 10;
/// How much is read ahead at first, once small reads turn out to follow each other, and at most.
const AHEAD: std::ops::RangeInclusive<usize> = 32 << 10..=128 << 10;
/// Reads follow each other when no more than this lies between them.
const GAP: u64 = 8 << 10;

/// The content of the files of a tree that was read from archives.
///
/// Small files are often read in about the order in which they lie, so once reads follow each other closely, more than
/// was asked for is read, and the next ones are served from memory. A read elsewhere costs one system call, no more.
///
/// # Examples
///
/// ```
/// use std::io::Cursor;
///
/// use lfs_image::tree::Kind;
/// use lfs_image::{Input, ReadOptions, read_archives};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut tar = tar::Builder::new(Vec::new());
/// # let mut header = tar::Header::new_gnu();
/// # header.set_size(6);
/// # tar.append_data(&mut header, "motd", &b"hello\n"[..])?;
/// # let input = Input::reader("rootfs.tar", Cursor::new(tar.into_inner()?));
/// let (tree, store) = read_archives([input], &ReadOptions::new("."), &mut ())?;
/// let motd = tree.lookup(b"motd").ok_or("there is no motd")?;
/// if let Kind::File(content) = &tree.node(motd).kind {
///     assert_eq!(content.read(&store, 0, content.size())?, b"hello\n");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Store {
    /// Source 0.
    spool: Option<Source>,
    /// Sources from 1 on: archives that are plain files.
    archives: Vec<Source>,
    warnings: Vec<String>,
}

/// The number of the spool among a store's sources.
pub(super) const SPOOL: u16 = 0;

#[derive(Debug)]
struct Source {
    name: String,
    file: File,
    stamp: Stamp,
    window: Mutex<Window>,
}

/// What shows that a file was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
}

#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    /// Where `bytes` were read from.
    at: u64,
    /// Where the last small read ended.
    last: u64,
    /// How much was read ahead the last time.
    ahead: usize,
}

impl Store {
    /// What is odd about the archives, though they could be read: a clause each, with the archive's name.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(super) fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    /// Adds an archive in a plain file and returns its number and length.
    pub(super) fn add(&mut self, name: &str, file: File) -> Result<(u16, u64)> {
        let source = Source::new(name, file)?;
        let len = source.stamp.len;
        self.archives.push(source);
        let number =
            u16::try_from(self.archives.len()).map_err(|_| Error::capacity("more than 65,535 archives"))?;
        Ok((number, len))
    }

    /// The file of the archive that was added last.
    pub(super) fn last(&self) -> Option<&File> {
        self.archives.last().map(|source| &source.file)
    }

    /// Adds the spool once it is complete.
    pub(super) fn set_spool(&mut self, file: File) -> Result<()> {
        self.spool = Some(Source::new("the temporary file", file)?);
        Ok(())
    }

    fn source(&self, at: Position) -> Result<&Source> {
        match at.source() {
            SPOOL => self.spool.as_ref(),
            number => self.archives.get(usize::from(number) - 1),
        }
        .ok_or_else(|| Error::misuse(format!("content at {at:?} of a store that has no such source")))
    }
}

impl ReadAt for Store {
    fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()> {
        let source = self.source(at)?;
        if at.offset().checked_add(buf.len() as u64).is_none_or(|end| end > source.stamp.len) {
            return Err(Error::misuse(format!(
                "a read of {} bytes at {at:?} of {}, which has {}",
                buf.len(),
                source.name,
                source.stamp.len
            )));
        }
        source.read(buf, at.offset())
    }

    fn file(&self, at: Position) -> Option<(&File, u64)> {
        self.source(at).ok().map(|source| (&source.file, at.offset()))
    }

    /// An archive's size and modification time tell.
    fn verify_unchanged(&self) -> Result<()> {
        self.archives.iter().try_for_each(|source| source.stamp.verify(&source.name, &source.file))
    }
}

impl Stamp {
    pub(super) fn of(name: &str, file: &File) -> Result<Self> {
        let metadata = file.metadata().map_err(|e| Error::io(format!("look at {name}"), e))?;
        Ok(Self { len: metadata.len(), modified: metadata.modified().ok() })
    }

    /// An error if the file isn't what it was.
    pub(super) fn verify(&self, name: &str, file: &File) -> Result<()> {
        let now = Self::of(name, file)?;
        if now == *self {
            return Ok(());
        }
        Err(Error::input(format!(
            "{name} was changed while it was being read (it had {} bytes, now it has {})",
            self.len, now.len
        )))
    }
}

impl Source {
    fn new(name: &str, file: File) -> Result<Self> {
        Ok(Self { name: name.to_owned(), stamp: Stamp::of(name, &file)?, file, window: Mutex::default() })
    }

    fn read(&self, buf: &mut [u8], at: u64) -> Result<()> {
        if buf.len() >= SMALL {
            return self.read_file(buf, at);
        }
        // A window is as good after a panic as before: it is only used where its length says so.
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = at >= window.last && at - window.last <= GAP;
        let end = at + buf.len() as u64;
        window.last = end;
        if at < window.at || end > window.at + window.bytes.len() as u64 {
            if !follows {
                window.ahead = 0;
                return self.read_file(buf, at);
            }
            window.ahead = (window.ahead * 2).clamp(*AHEAD.start(), *AHEAD.end());
            let len = index((self.stamp.len - at).min(window.ahead as u64));
            // Nothing is served from the window while it holds something else.
            let mut bytes = std::mem::take(&mut window.bytes);
            bytes.resize(len, 0);
            self.read_file(&mut bytes, at)?;
            window.bytes = bytes;
            window.at = at;
        }
        let from = index(at - window.at);
        buf.copy_from_slice(&window.bytes[from..from + buf.len()]);
        Ok(())
    }

    fn read_file(&self, mut buf: &mut [u8], mut at: u64) -> Result<()> {
        while !buf.is_empty() {
            match read_at(&self.file, buf, at) {
                Ok(0) => {
                    return Err(Error::input(format!(
                        "{} ends at byte {at}, but had {} bytes: it was changed while it was being read",
                        self.name, self.stamp.len
                    )));
                }
                Ok(n) => {
                    buf = &mut buf[n..];
                    at += n as u64;
                }
                Err(e) if e.kind() == IoErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(format!("read {} at byte {at}", self.name), e)),
            }
        }
        Ok(())
    }
}

/// Reads at an offset, whatever the file's own position is.
#[cfg(unix)]
pub(super) fn read_at(file: &File, buf: &mut [u8], at: u64) -> IoResult<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, at)
}

/// Reads at an offset, whatever the file's own position is.
#[cfg(windows)]
pub(super) fn read_at(file: &File, buf: &mut [u8], at: u64) -> IoResult<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn store(len: u32) -> (Store, File) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let bytes: Vec<u8> = (0..len).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, bytes).unwrap();
        let mut store = Store::default();
        store.add("a", File::open(&path).unwrap()).unwrap();
        (store, std::fs::OpenOptions::new().write(true).open(&path).unwrap())
    }

    fn check(store: &Store, at: u64, len: usize) {
        let mut buf = vec![0xaa; len];
        store.read_exact_at(Position::new(1, at).unwrap(), &mut buf).unwrap();
        for (i, byte) in (at..).zip(&buf) {
            assert_eq!(*byte, (i / 4).to_le_bytes()[index(i % 4)], "byte {i} of {len} at {at}");
        }
    }

    #[test]
    fn any_order_and_length() {
        let (store, _) = store(500_000);
        for at in (0..1_990_000).step_by(1_500) {
            check(&store, at, 1_000);
        }
        let mut at = 1;
        for len in [1, 7, 512, SMALL - 1, SMALL, 300_000, 0, 3] {
            for _ in 0..40 {
                at = (at * 48_271) % 1_300_000;
                check(&store, at, len);
                check(&store, at + len as u64 + 512, len);
            }
        }
        check(&store, 1_999_999, 1);
        let end = Position::new(1, 1_999_999).unwrap();
        assert!(store.read_exact_at(end, &mut [0; 2]).is_err());
        assert!(store.read_exact_at(Position::new(2, 0).unwrap(), &mut [0; 2]).is_err());
        assert!(store.read_exact_at(Position::new(0, 0).unwrap(), &mut [0; 2]).is_err());
    }

    #[test]
    fn changes_are_noticed() {
        let (store, mut file) = store(100_000);
        store.verify_unchanged().unwrap();
        check(&store, 0, 10);
        file.set_len(1_000).unwrap();
        for len in [10, SMALL] {
            let error =
                store.read_exact_at(Position::new(1, 300_000).unwrap(), &mut vec![0; len]).unwrap_err();
            assert!(error.to_string().contains("was changed"), "{error}");
        }
        assert!(store.verify_unchanged().is_err());
        file.set_len(400_000).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        file.flush().unwrap();
        assert!(store.verify_unchanged().unwrap_err().to_string().contains("was changed"));
    }
}
