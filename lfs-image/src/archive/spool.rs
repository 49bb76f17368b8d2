//! Archives that can't be read twice: decompressed on a thread of their own, their content kept in one file.

use std::fs::{File, Permissions};
use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::decode::{Compression, decoder};
use super::store::SPOOL;
use crate::error::{Error, Result};
use crate::raw::store::Position;

/// How much is decompressed at a time.
const CHUNK: usize = 256 << 10;
/// How many chunks wait between the threads.
const WAITING: usize = 4;

/// The most bytes in a row of a compressed stream that nothing comes of: padding, frames to skip, empty members.
const MAX_IDLE: u64 = 64 << 20;

/// What the other thread sends: bytes, or why there are no more. Nothing, at the end.
type Message = Result<Vec<u8>>;

/// The chunks of a stream that is read and decompressed on a thread of its own.
#[derive(Debug)]
pub(crate) struct Chunks {
    full: Receiver<Message>,
    /// Chunks go back to be filled again.
    empty: Sender<Vec<u8>>,
    read: Arc<AtomicU64>,
    total: Option<u64>,
    ended: bool,
}

impl Chunks {
    /// Starts to read `input`, whose compression is known.
    pub(crate) fn start(
        name: &str,
        input: Box<dyn Read + Send>,
        compression: Compression,
        total: Option<u64>,
    ) -> Result<Self> {
        let (to_us, full) = sync_channel(WAITING);
        let (empty, to_them) = channel();
        let read = Arc::new(AtomicU64::new(0));
        let feed = Feed {
            input,
            read: Arc::clone(&read),
            idle: Arc::default(),
            failed: Arc::new(AtomicBool::new(false)),
        };
        let failed = Arc::clone(&feed.failed);
        let name = name.to_owned();
        // The thread isn't waited for: after an error here it may sit in a read of a pipe that never ends. Its next
        // send fails and ends it.
        std::thread::Builder::new()
            .name("archive".to_owned())
            .spawn(move || run(&name, feed, &failed, compression, &to_us, &to_them))
            .map_err(|e| Error::io("start a thread to read the archive", e))?;
        Ok(Self { full, empty, read, total, ended: false })
    }

    /// The next chunk, in exchange for the last one.
    pub(crate) fn next(&mut self, used: Vec<u8>) -> Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        if used.capacity() > 0 {
            // The thread may be done already.
            let _ = self.empty.send(used);
        }
        match self.full.recv() {
            Ok(Ok(chunk)) if chunk.is_empty() => {
                self.ended = true;
                Ok(None)
            }
            Ok(message) => message.map(Some),
            Err(_) => Err(Error::internal("the thread that reads the archive ended without a word")),
        }
    }

    /// How much of the input was read, and how much there is.
    pub(crate) fn progress(&self) -> (u64, Option<u64>) {
        (self.read.load(Ordering::Relaxed), self.total)
    }
}

/// The thread: sends chunks up to an empty one, or an error.
fn run(
    name: &str,
    feed: Feed,
    failed: &AtomicBool,
    compression: Compression,
    to_us: &SyncSender<Message>,
    to_them: &Receiver<Vec<u8>>,
) {
    let (read, idle) = (Arc::clone(&feed.read), Arc::clone(&feed.idle));
    let mut decoder = match decoder(compression, Box::new(feed)) {
        Ok(decoder) => decoder,
        Err(error) => {
            let _ = to_us.send(Err(error));
            return;
        }
    };
    loop {
        let mut chunk = to_them.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let mut len = 0;
        while len < CHUNK {
            match decoder.read(&mut chunk[len..]) {
                Ok(0) => break,
                Ok(n) => {
                    len += n;
                    idle.store(0, Ordering::Relaxed);
                }
                Err(e) if e.kind() == IoErrorKind::Interrupted => {}
                Err(e) => {
                    // What was decompressed before it comes first: an entry in there may be at fault, too.
                    chunk.truncate(len);
                    if len > 0 && to_us.send(Ok(chunk)).is_err() {
                        return;
                    }
                    let at = read.load(Ordering::Relaxed);
                    let error = if failed.load(Ordering::Relaxed) {
                        Error::io(format!("read {name} at byte {at}"), e)
                    } else {
                        let fault = match e.kind() {
                            IoErrorKind::UnexpectedEof => "ends early",
                            _ => "is damaged",
                        };
                        let stream = compression.noun();
                        Error::input(format!("the {stream} {fault}, at or before byte {at}")).with_source(e)
                    };
                    let _ = to_us.send(Err(error));
                    return;
                }
            }
        }
        chunk.truncate(len);
        if to_us.send(Ok(chunk)).is_err() || len == 0 {
            return;
        }
    }
}

/// The compressed bytes: counted, and honest about whose fault an error is.
struct Feed {
    input: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
    /// Read since something came of it.
    idle: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl Read for Feed {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.input.read(buf) {
                Ok(n) => {
                    self.read.fetch_add(n as u64, Ordering::Relaxed);
                    if self.idle.fetch_add(n as u64, Ordering::Relaxed) > MAX_IDLE {
                        let what = format!("more than {} MiB in a row hold nothing", MAX_IDLE >> 20);
                        return Err(std::io::Error::new(IoErrorKind::InvalidData, what));
                    }
                    return Ok(n);
                }
                Err(e) if e.kind() == IoErrorKind::Interrupted => {}
                Err(e) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return Err(e);
                }
            }
        }
    }
}

/// Content shorter than this is gathered before it is written.
const DIRECT: usize = 64 << 10;
/// How much is gathered.
const BUFFER: usize = 1 << 20;

/// What may be unpacked with every limit, beside as much as content has: headers of a hundred thousand small files.
const BESIDE: u64 = 64 << 20;

/// One file without a name that holds the content of all streams.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    limit: Option<u64>,
    /// Made when it is needed.
    file: Option<File>,
    buf: Vec<u8>,
    len: u64,
    /// How much of the archives was no content.
    passed: u64,
}

impl Spool {
    /// A spool in `directory` for at most `limit` bytes.
    pub(crate) fn new(directory: &Path, limit: Option<u64>) -> Self {
        Self { directory: directory.to_owned(), limit, file: None, buf: Vec::new(), len: 0, passed: 0 }
    }

    /// Makes the file.
    pub(crate) fn open(&mut self) -> Result<()> {
        if self.file.is_none() {
            let file = tempfile::tempfile_in(&self.directory).map_err(|e| {
                Error::io(format!("make a temporary file in {}", self.directory.display()), e)
            })?;
            // It has no name, but /proc leads to it, and the umask may allow everything.
            file.set_permissions(Permissions::from_mode(0o600))
                .map_err(|e| Error::io("protect a temporary file", e))?;
            self.buf.reserve_exact(BUFFER);
            self.file = Some(file);
        }
        Ok(())
    }

    /// Where content of `len` bytes that is appended now will be.
    pub(crate) fn begin(&self, len: u64) -> Result<Position> {
        if let Some(limit) = self.limit
            && self.len.checked_add(len).is_none_or(|end| end > limit)
        {
            return Err(Error::capacity(format!(
                "the archives' content is more than {limit} bytes, the most that may be unpacked: this entry has \
                 {len} bytes after {} before it",
                self.len
            )));
        }
        Position::new(SPOOL, self.len).ok_or_else(|| Error::capacity("more than 256 TiB of content"))
    }

    /// Counts bytes of an archive that are no content.
    pub(crate) fn pass(&mut self, len: u64) {
        self.passed = self.passed.saturating_add(len);
    }

    /// An error if there were too many of them, up to byte `at` of the archive at hand.
    pub(crate) fn check(&self, at: u64) -> Result<()> {
        let Some(limit) = self.limit.filter(|limit| self.passed > limit.saturating_add(BESIDE)) else {
            return Ok(());
        };
        Err(Error::capacity(format!(
            "headers, padding and what is skipped are {} bytes up to byte {at}; the most that may be unpacked are {limit} \
             bytes of content, and beside it as much again and {} MiB",
            self.passed,
            BESIDE >> 20
        )))
    }

    /// Appends content.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buf.len() + bytes.len() > BUFFER || bytes.len() >= DIRECT {
            self.flush()?;
        }
        if bytes.len() >= DIRECT {
            self.write(|file| file.write_all(bytes))?;
        } else {
            self.buf.extend_from_slice(bytes);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let buf = std::mem::take(&mut self.buf);
        let result = self.write(|file| file.write_all(&buf));
        self.buf = buf;
        self.buf.clear();
        result
    }

    fn write(&mut self, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Err(Error::internal("content without a spool file"));
        };
        write(file).map_err(|e| {
            Error::io(
                format!("write a temporary file in {}, at byte {}", self.directory.display(), self.len),
                e,
            )
        })
    }

    /// The file, complete, if there is one.
    pub(crate) fn finish(mut self) -> Result<Option<File>> {
        if !self.buf.is_empty() {
            self.flush()?;
        }
        Ok(self.file)
    }
}
