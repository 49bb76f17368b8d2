//! What of a transfer is done, in a file that survives a kill at any moment.
//!
//! ```text
//!  lfs-image transfer 1\n
//!  ┌────────┬──────┬────────────┬────────┐
//!  │ length │ kind │ body       │ CRC-32C│   H  what the transfer is, as text      S  the snapshot's id
//!  │ u32    │ u8   │ length - 1 │ u32    │   A  block (u32), its SHA-256           C  all blocks are acknowledged
//!  └────────┴──────┴────────────┴────────┘
//! ```
//!
//! Records are appended, each by one write. The CRC covers everything before it in its record; the first record that is
//! cut short or has another CRC ends the journal, and it is written over. A killed process loses nothing that way; a
//! machine that loses power may lose what is younger than the last [`sync`](Journal::sync), and those blocks are sent
//! again. Nothing in here is secret, but it belongs to its owner alone: mode 0600. While it is open it is locked.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::block::Digest;
use crate::error::{Error, Result};
use crate::raw::crc::crc32c;
use crate::raw::num::{fit, index};

const MAGIC: &[u8] = b"lfs-image transfer 1\n";
/// No record is longer.
const LONGEST: usize = 1 << 20;

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

/// What a journal says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Replay {
    /// What the transfer is.
    pub(super) header: String,
    /// The snapshot, once the service has named it.
    pub(super) snapshot: Option<String>,
    /// The blocks that are done.
    pub(super) done: BTreeMap<u32, Digest>,
    /// Whether all are.
    pub(super) complete: bool,
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Closing isn't enough: a process that is being started at this moment has the file open, too, until it runs. What fails here
        // ends with the process.
        let _ = self.file.unlock();
    }
}

impl Journal {
    /// Opens the journal at `path`, or makes one; and what it says, if it is one that was begun.
    ///
    /// # Errors
    ///
    /// When the file can't be used, is something else, or another process is using it.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Replay>)> {
        let failed = |what: &str, e| Error::io(format!("{what} the journal {}", path.display()), e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|e| failed("open", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::input(format!(
                    "another lfs-image is at work on this transfer: it holds the journal {}",
                    path.display()
                )));
            }
            Err(TryLockError::Error(e)) => return Err(failed("lock", e)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| failed("read", e))?;
        let mut journal = Self { path: path.to_owned(), file };
        let Some((replay, len)) = replay(&bytes) else {
            if !MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]) {
                return Err(Error::input(format!(
                    "{} is where the journal of the transfer goes, and is something else",
                    path.display()
                )));
            }
            return Ok((journal, None));
        };
        journal.cut(len as u64).map_err(|e| failed("write", e))?;
        Ok((journal, Some(replay)))
    }

    /// Begins a transfer; what was there before is gone. On stable storage when this returns.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(super) fn begin(&mut self, header: &str) -> Result<()> {
        self.cut(0).and_then(|()| self.file.write_all(MAGIC)).map_err(|e| self.failed(e))?;
        self.append(b'H', header.as_bytes())?;
        self.sync()?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| self.failed(e))
    }

    /// The service has named the snapshot. On stable storage when this returns.
    pub(super) fn snapshot(&mut self, id: &str) -> Result<()> {
        self.append(b'S', id.as_bytes())?;
        self.sync()
    }

    /// A block is done.
    pub(super) fn done(&mut self, block: u32, digest: &Digest) -> Result<()> {
        let mut body = [0; 36];
        body[..4].copy_from_slice(&block.to_le_bytes());
        body[4..].copy_from_slice(digest);
        self.append(b'A', &body)
    }

    /// All blocks are done. On stable storage when this returns.
    pub(super) fn complete(&mut self) -> Result<()> {
        self.append(b'C', &[])?;
        self.sync()
    }

    /// Waits until everything is on stable storage.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| self.failed(e))
    }

    /// The file, for a thread that only syncs it.
    pub(super) fn syncer(&self) -> Result<File> {
        self.file.try_clone().map_err(|e| self.failed(e))
    }

    /// There is nothing to go on with.
    pub(super) fn remove(self) -> Result<()> {
        remove(&self.path)
    }

    fn append(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        let record = record(kind, body)?;
        self.file.write_all(&record).map_err(|e| self.failed(e))
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.file.seek(SeekFrom::Start(len))?;
        Ok(())
    }

    fn failed(&self, e: io::Error) -> Error {
        Error::io(format!("write the journal {}", self.path.display()), e)
    }
}

/// The snapshot of an upload that was begun and not ended: what the journal at `path` says, which [`Upload::journal`] wrote and
/// which stays as it is. `None` where it names none, or where somebody is at work on it.
///
/// For those who keep journals under names of their own, and want to know what became of the others.
///
/// [`Upload::journal`]: super::Upload::journal
///
/// # Errors
///
/// When the file can't be read.
///
/// # Examples
///
/// ```no_run
/// if let Some(id) = lfs_image::ebs::unfinished("disk.img.push".as_ref())? {
///     println!("{id} is pending");
/// }
/// # Ok::<(), lfs_image::Error>(())
/// ```
pub fn unfinished(path: &Path) -> Result<Option<String>> {
    let failed = |what: &str, e| Error::io(format!("{what} the journal {}", path.display()), e);
    let mut file = File::open(path).map_err(|e| failed("open", e))?;
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(e)) => return Err(failed("lock", e)),
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| failed("read", e))?;
    Ok(replay(&bytes).and_then(|(replay, _)| replay.snapshot))
}

/// Removes a journal that nobody has open.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove the journal {}", path.display()), e))
        }
        _ => Ok(()),
    }
}

fn record(kind: u8, body: &[u8]) -> Result<Vec<u8>> {
    if body.len() >= LONGEST {
        return Err(Error::capacity(format!("a record of {} bytes for a transfer's journal", body.len())));
    }
    let len: u32 = fit(body.len() as u64 + 1, "length of a record")?;
    let mut record = Vec::with_capacity(body.len() + 9);
    record.extend_from_slice(&len.to_le_bytes());
    record.push(kind);
    record.extend_from_slice(body);
    record.extend_from_slice(&crc32c(!0, &record).to_le_bytes());
    Ok(record)
}

/// What these bytes say, and how many of them are sound; `None` where not even the header is.
fn replay(bytes: &[u8]) -> Option<(Replay, usize)> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let (kind, body) = next(&mut rest)?;
    if kind != b'H' {
        return None;
    }
    let mut replay = Replay { header: String::from_utf8(body.to_vec()).ok()?, ..Replay::default() };
    let mut sound = rest;
    while let Some((kind, body)) = next(&mut rest) {
        match (kind, body) {
            (b'S', id) => replay.snapshot = Some(String::from_utf8(id.to_vec()).ok()?),
            (b'A', &[a, b, c, d, ref digest @ ..]) => {
                let digest = Digest::try_from(digest).ok()?;
                replay.done.insert(u32::from_le_bytes([a, b, c, d]), digest);
            }
            (b'C', []) => replay.complete = true,
            _ => break,
        }
        sound = rest;
    }
    Some((replay, bytes.len() - sound.len()))
}

/// The next record, if it is whole.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (len, after) = rest.split_first_chunk()?;
    let len = index(u32::from_le_bytes(*len).into());
    if len == 0 || len > LONGEST {
        return None;
    }
    let (crc, after) = after.split_at_checked(len)?.1.split_first_chunk()?;
    let (covered, _) = rest.split_at_checked(4 + len)?;
    if crc32c(!0, covered) != u32::from_le_bytes(*crc) {
        return None;
    }
    *rest = after;
    Some((covered[4], &covered[5..]))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::raw::num::lo32;

    fn whole() -> (Vec<u8>, Vec<(usize, Replay)>) {
        let mut bytes = MAGIC.to_vec();
        let mut replay = Replay { header: "what it is".to_owned(), ..Replay::default() };
        bytes.extend(record(b'H', b"what it is").unwrap());
        let mut steps = vec![(bytes.len(), replay.clone())];
        bytes.extend(record(b'S', b"snap-1").unwrap());
        replay.snapshot = Some("snap-1".to_owned());
        steps.push((bytes.len(), replay.clone()));
        for block in 0..3_u8 {
            let mut body = u32::from(block).to_le_bytes().to_vec();
            body.extend([block; 32]);
            bytes.extend(record(b'A', &body).unwrap());
            replay.done.insert(block.into(), [block; 32]);
            steps.push((bytes.len(), replay.clone()));
        }
        bytes.extend(record(b'C', &[]).unwrap());
        replay.complete = true;
        steps.push((bytes.len(), replay));
        (bytes, steps)
    }

    /// Cut at every byte, it says what its whole records say, and can be written on.
    #[test]
    fn a_torn_tail_is_ignored() {
        let (bytes, steps) = whole();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        for cut in 0..=bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let expected = steps.iter().rev().find(|(len, _)| *len <= cut);
            let (mut journal, found) = Journal::open(&path).unwrap();
            assert_eq!(found.as_ref(), expected.map(|(_, replay)| replay), "cut at byte {cut}");
            let mut replay = found.unwrap_or_else(|| {
                journal.begin("again").unwrap();
                Replay { header: "again".to_owned(), ..Replay::default() }
            });
            journal.done(77, &[7; 32]).unwrap();
            replay.done.insert(77, [7; 32]);
            drop(journal);
            assert_eq!(Journal::open(&path).unwrap().1, Some(replay), "cut at byte {cut}");
        }
    }

    /// A byte that is another ends it there, and nothing that it doesn't say is made up.
    #[test]
    fn a_damaged_byte_is_noticed() {
        let (bytes, steps) = whole();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let expected = steps.iter().rev().find(|(len, _)| *len <= at);
            let found = replay(&damaged);
            assert_eq!(found.as_ref().map(|(replay, _)| replay), expected.map(|(_, replay)| replay), "{at}");
            assert_eq!(found.map(|(_, len)| len), expected.map(|(len, _)| *len));
        }
    }

    #[test]
    fn it_belongs_to_one_owner_and_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, none) = Journal::open(&path).unwrap();
        assert_eq!(none, None);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        journal.begin("x").unwrap();
        journal.snapshot("snap-1").unwrap();
        let error = Journal::open(&path).unwrap_err();
        assert!(error.to_string().starts_with("another lfs-image is at work"), "{error}");
        assert_eq!(unfinished(&path).unwrap(), None);
        drop(journal);
        assert_eq!(unfinished(&path).unwrap().as_deref(), Some("snap-1"));
        let (journal, _) = Journal::open(&path).unwrap();
        journal.remove().unwrap();
        assert!(!path.exists());
        remove(&path).unwrap();
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        fs::write(&path, "the only copy of my thesis").unwrap();
        let error = Journal::open(&path).unwrap_err();
        assert!(error.to_string().contains("something else"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"the only copy of my thesis");
    }

    #[test]
    fn lengths_that_lie_are_no_records() {
        for len in [0, u32::MAX, lo32(LONGEST as u64) + 1] {
            let mut bytes = whole().0;
            let sound = bytes.len();
            bytes.extend(len.to_le_bytes());
            bytes.extend([0; 64]);
            assert_eq!(replay(&bytes).unwrap().1, sound);
        }
        assert!(record(b'A', &vec![0; LONGEST]).is_err());
    }
}
