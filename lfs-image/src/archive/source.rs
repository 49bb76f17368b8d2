//! Where the bytes of an archive come from, front to back, and where its content goes.

use std::fs::File;
use std::io::ErrorKind;

use super::spool::{Chunks, Spool};
use super::store::read_at;
use crate::error::{Error, Result};
use crate::raw::num::index;
use crate::raw::store::Position;

/// The bytes of an archive, decompressed.
pub(crate) trait Source {
    /// Where the next byte is.
    fn offset(&self) -> u64;

    /// The next `len` bytes (at most 64 KiB) without passing them; fewer only where the archive ends.
    fn peek(&mut self, len: usize) -> Result<&[u8]>;

    /// Passes bytes that were just peeked at.
    fn consume(&mut self, len: usize);

    /// Passes `len` bytes of content, which can be read again at the position that is returned.
    fn content(&mut self, len: u64) -> Result<Position>;

    /// Passes `len` bytes.
    fn skip(&mut self, len: u64) -> Result<()>;

    /// Passes what follows the archive, so that a checksum there is verified and a writer of a pipe isn't cut off.
    fn drain(&mut self) -> Result<()>;

    /// How many bytes of the input were read, and how many there are.
    fn progress(&self) -> (u64, Option<u64>);
}

/// An archive that ends before its content does.
fn ends_early(end: u64, missing: u64) -> Error {
    Error::input(format!("the archive ends early, at byte {end}: {missing} bytes of this entry are missing"))
}

/// The most that may follow an archive in a stream: tapes have records of a few MiB, filled up with zeros. What is more
/// never ends, or means no good.
const AFTER_END: u64 = 64 << 20;

/// The least and the most that is read for a header: measured, a read of 8 KiB costs hardly more than one of 512 bytes.
const AHEAD: std::ops::RangeInclusive<usize> = 8 << 10..=64 << 10;

/// A plain archive in a regular file: content is passed without being read.
#[derive(Debug)]
pub(crate) struct Plain<'a> {
    file: &'a File,
    number: u16,
    /// Where in the file the archive starts and ends.
    start: u64,
    end: u64,
    /// File offset of the next byte.
    at: u64,
    /// What was read last, and from where.
    window: Vec<u8>,
    window_at: u64,
    /// How much to read next: a lot while entries are small, little while they are large.
    ahead: usize,
}

impl<'a> Plain<'a> {
    /// The archive in `file` from `start` to `end`; the file is source `number` of the store.
    pub(crate) fn new(file: &'a File, number: u16, start: u64, end: u64) -> Self {
        let window = Vec::with_capacity(*AHEAD.end());
        Self { file, number, start, end, at: start, window, window_at: start, ahead: *AHEAD.start() }
    }

    fn fill(&mut self, len: usize) -> Result<()> {
        let moved = self.at - self.window_at;
        self.ahead = if moved <= 2 * self.window.len() as u64 {
            (self.ahead * 2).min(*AHEAD.end())
        } else {
            *AHEAD.start()
        };
        let want = index((self.end - self.at).min(self.ahead.max(len) as u64));
        self.window.resize(want, 0);
        self.window_at = self.at;
        let mut got = 0;
        while got < want {
            match read_at(self.file, &mut self.window[got..], self.at + got as u64) {
                Ok(0) => {
                    return Err(Error::input(format!(
                        "the file ends at byte {}, but was {} bytes long: it changed while being read",
                        self.at + got as u64,
                        self.end
                    )));
                }
                Ok(n) => got += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(format!("read the archive at byte {}", self.at), e)),
            }
        }
        Ok(())
    }
}

impl Source for Plain<'_> {
    fn offset(&self) -> u64 {
        self.at - self.start
    }

    fn peek(&mut self, len: usize) -> Result<&[u8]> {
        let len = index((self.end - self.at).min(len as u64));
        let held = self.window_at + self.window.len() as u64;
        if self.at < self.window_at || self.at + len as u64 > held {
            self.fill(len)?;
        }
        let from = index(self.at - self.window_at);
        Ok(&self.window[from..from + len])
    }

    fn consume(&mut self, len: usize) {
        self.at += len as u64;
    }

    fn content(&mut self, len: u64) -> Result<Position> {
        let at = Position::new(self.number, self.at)
            .ok_or_else(|| Error::capacity("the archive is longer than 256 TiB"))?;
        self.skip(len)?;
        Ok(at)
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        let left = self.end - self.at;
        if len > left {
            return Err(ends_early(self.end - self.start, len - left));
        }
        self.at += len;
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        self.at = self.end;
        Ok(())
    }

    fn progress(&self) -> (u64, Option<u64>) {
        (self.at - self.start, Some(self.end - self.start))
    }
}

/// Hears how many bytes of the input were read, and how many there are; its error ends the reading.
pub(crate) type Heard<'a> = &'a mut dyn FnMut(u64, Option<u64>) -> Result<()>;

/// An archive that comes in chunks from another thread: its content goes to the spool.
pub(crate) struct Stream<'a> {
    chunks: Chunks,
    spool: &'a mut Spool,
    /// Hears of every chunk: a single entry may take hours.
    progress: Heard<'a>,
    /// Whether what follows the archive is read.
    to_end: bool,
    at: u64,
    /// The chunk at hand, and how much of it was passed.
    chunk: Vec<u8>,
    passed: usize,
    /// Bytes that were peeked at across a border of chunks, and how many of them were passed. They come first.
    side: Vec<u8>,
    side_passed: usize,
}

impl<'a> Stream<'a> {
    /// The archive in `chunks`, and what follows it if `to_end`.
    pub(crate) fn new(chunks: Chunks, spool: &'a mut Spool, progress: Heard<'a>, to_end: bool) -> Self {
        let (chunk, side) = (Vec::new(), Vec::new());
        Self { chunks, spool, progress, to_end, at: 0, chunk, passed: 0, side, side_passed: 0 }
    }

    /// Gets the next chunk when this one is used up; says whether there is anything left.
    fn advance(&mut self) -> Result<bool> {
        while self.passed == self.chunk.len() {
            self.spool.check(self.at)?;
            let used = std::mem::take(&mut self.chunk);
            self.passed = 0;
            let next = self.chunks.next(used)?;
            let (done, total) = self.chunks.progress();
            (self.progress)(done, total)?;
            match next {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Passes `len` bytes, to the spool if `keep`.
    fn pass(&mut self, mut len: u64, keep: bool) -> Result<()> {
        while len > 0 {
            let from_side = self.side_passed < self.side.len();
            if !from_side && !self.advance()? {
                return Err(ends_early(self.at, len));
            }
            let bytes = if from_side { &self.side[self.side_passed..] } else { &self.chunk[self.passed..] };
            let n = index(len.min(bytes.len() as u64));
            if keep {
                self.spool.append(&bytes[..n])?;
                self.step(n);
            } else {
                self.consume(n);
            }
            len -= n as u64;
        }
        Ok(())
    }

    /// Moves on by bytes that are at hand.
    fn step(&mut self, len: usize) {
        self.at += len as u64;
        if self.side_passed < self.side.len() {
            self.side_passed += len;
        } else {
            self.passed += len;
        }
    }
}

impl Source for Stream<'_> {
    fn offset(&self) -> u64 {
        self.at
    }

    fn peek(&mut self, len: usize) -> Result<&[u8]> {
        if self.side_passed == self.side.len() {
            self.side.clear();
            self.side_passed = 0;
            self.advance()?;
            if self.chunk.len() - self.passed >= len {
                return Ok(&self.chunk[self.passed..self.passed + len]);
            }
        }
        while self.side.len() - self.side_passed < len && self.advance()? {
            let missing = len - (self.side.len() - self.side_passed);
            let n = missing.min(self.chunk.len() - self.passed);
            self.side.extend_from_slice(&self.chunk[self.passed..self.passed + n]);
            self.passed += n;
        }
        let end = self.side.len().min(self.side_passed + len);
        Ok(&self.side[self.side_passed..end])
    }

    fn consume(&mut self, len: usize) {
        self.spool.pass(len as u64);
        self.step(len);
    }

    fn content(&mut self, len: u64) -> Result<Position> {
        let at = self.spool.begin(len)?;
        self.pass(len, true)?;
        Ok(at)
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        self.pass(len, false)
    }

    fn drain(&mut self) -> Result<()> {
        let end = self.at;
        while self.to_end {
            let len = match self.side.len() - self.side_passed {
                0 if !self.advance()? => break,
                0 => self.chunk.len() - self.passed,
                peeked => peeked,
            };
            self.consume(len);
            if self.at - end > AFTER_END {
                return Err(Error::input(format!(
                    "the archive ends at byte {end}, and more than {} MiB follow it",
                    AFTER_END >> 20
                )));
            }
        }
        Ok(())
    }

    fn progress(&self) -> (u64, Option<u64>) {
        self.chunks.progress()
    }
}
