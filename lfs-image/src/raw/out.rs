//! The pen that formats render with: ascending, buffered, aware of the three kinds of space.

use super::num::index;
use super::sink::Sink;
use super::store::{Position, ReadAt};
use crate::error::{Error, Result};

/// How much is gathered before the sink sees it. Measured: with less than this, calls cost; with more, the bytes have left
/// the processor's cache before the kernel copies them, which takes twice as long.
pub(crate) const BUFFER: usize = 128 << 10;

/// Content from this length on goes to [`Sink::copy`] instead of through the buffer.
const COPY: u64 = BUFFER as u64;

/// Writes an image front to back. Offsets are those of the whole image.
///
/// Records are rendered, and small content is read, straight into the buffer, so that their bytes move once;
/// long content never comes here at all.
pub(crate) struct Out<'a, S: ?Sized> {
    sink: &'a mut S,
    /// Image offset of the first byte in `buf`.
    start: u64,
    buf: Box<[u8]>,
    /// How much of `buf` is filled.
    filled: usize,
    pending: Pending,
    written: &'a mut dyn FnMut(u64) -> Result<()>,
}

/// Zeros and unallocated space are gathered too, so that a sink sees each stretch once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pending {
    Data,
    Zeros(u64),
    Unallocated(u64),
}

/// What an [`Out`] hands its buffers to: any sink, or one on another thread.
pub(crate) trait Target {
    /// The first `filled` bytes of `buffer`, which may be exchanged for another one of its size.
    fn take(&mut self, offset: u64, buffer: &mut Box<[u8]>, filled: usize) -> Result<()>;
    /// As [`Sink::zeros`].
    fn zeros(&mut self, offset: u64, len: u64) -> Result<()>;
    /// As [`Sink::unallocated`].
    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()>;
    /// As [`Sink::copies`].
    fn copies(&self) -> bool;
    /// As [`Sink::copy`].
    fn copy(&mut self, offset: u64, store: &dyn ReadAt, at: Position, len: u64) -> Result<()>;
}

impl<S: Sink + ?Sized> Target for S {
    fn take(&mut self, offset: u64, buffer: &mut Box<[u8]>, filled: usize) -> Result<()> {
        self.data(offset, &buffer[..filled])
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        Sink::zeros(self, offset, len)
    }

    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        Sink::unallocated(self, offset, len)
    }

    fn copies(&self) -> bool {
        Sink::copies(self)
    }

    fn copy(&mut self, offset: u64, store: &dyn ReadAt, at: Position, len: u64) -> Result<()> {
        Sink::copy(self, offset, store, at, len)
    }
}

impl<'a, S: Target + ?Sized> Out<'a, S> {
    /// A pen at offset 0 of `sink`. `written` hears the offset that was reached, now and then; its error ends
    /// the walk.
    pub(crate) fn new(sink: &'a mut S, written: &'a mut dyn FnMut(u64) -> Result<()>) -> Self {
        Self {
            sink,
            start: 0,
            buf: vec![0; BUFFER].into_boxed_slice(),
            filled: 0,
            pending: Pending::Data,
            written,
        }
    }

    /// The offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        match self.pending {
            Pending::Data => self.start + self.filled as u64,
            Pending::Zeros(n) | Pending::Unallocated(n) => self.start + n,
        }
    }

    /// Appends bytes.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(self.piece(rest.len() as u64)?);
            self.room(chunk.len())?.copy_from_slice(chunk);
            rest = after;
        }
        Ok(())
    }

    /// Appends `len` bytes (at most 128 KiB) and hands them out to be filled in; they start as zeros.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<&mut [u8]> {
        let bytes = self.room(len)?;
        bytes.fill(0);
        Ok(bytes)
    }

    /// Appends `len` bytes that hold anything, all of which have to be overwritten.
    fn room(&mut self, len: usize) -> Result<&mut [u8]> {
        if self.pending != Pending::Data || len > self.left() {
            self.flush()?;
        }
        let at = self.filled;
        self.filled += len;
        Ok(&mut self.buf[at..at + len])
    }

    /// How much goes into the buffer before it should be flushed: up to a multiple of its size, where pages of any size
    /// end.
    fn left(&self) -> usize {
        (BUFFER - index(self.start % BUFFER as u64)).saturating_sub(self.filled)
    }

    /// Appends allocated zeros: space that somebody reads and expects to be zero.
    pub(crate) fn zeros(&mut self, len: u64) -> Result<()> {
        // Short padding stays in the data around it.
        if self.pending == Pending::Data && len < 64 << 10 && index(len) <= self.left() {
            self.reserve(index(len))?;
            return Ok(());
        }
        if let Pending::Zeros(n) = &mut self.pending {
            *n += len;
            return Ok(());
        }
        self.flush()?;
        self.pending = Pending::Zeros(len);
        Ok(())
    }

    /// Appends space that nothing reads before writing it.
    pub(crate) fn unallocated(&mut self, len: u64) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        if let Pending::Unallocated(n) = &mut self.pending {
            *n += len;
            return Ok(());
        }
        self.flush()?;
        self.pending = Pending::Unallocated(len);
        Ok(())
    }

    /// Unallocated space up to image offset `to`.
    pub(crate) fn skip_to(&mut self, to: u64) -> Result<()> {
        let len = to.checked_sub(self.offset()).ok_or_else(|| {
            Error::internal(format!("the plan goes back from offset {} to {to}", self.offset()))
        })?;
        self.unallocated(len)
    }

    /// Appends `len` bytes of content.
    pub(crate) fn copy(&mut self, store: &dyn ReadAt, at: Position, len: u64) -> Result<()> {
        if len >= COPY && self.sink.copies() {
            self.flush()?;
            self.sink.copy(self.start, store, at, len)?;
            self.start += len;
            return (self.written)(self.start);
        }
        let mut done = 0;
        while done < len {
            let n = self.piece(len - done)?;
            let from = at
                .forward(done)
                .ok_or_else(|| Error::internal("content reaches past the end of its source"))?;
            store.read_exact_at(from, self.room(n)?)?;
            done += n as u64;
        }
        Ok(())
    }

    /// How much of `len` bytes that may be divided goes into the buffer next.
    fn piece(&mut self, len: u64) -> Result<usize> {
        if self.pending != Pending::Data || self.left() == 0 {
            self.flush()?;
        }
        Ok(index(len.min(self.left() as u64)))
    }

    /// Hands everything gathered to the sink.
    pub(crate) fn flush(&mut self) -> Result<()> {
        match self.pending {
            Pending::Data if self.filled == 0 => return Ok(()),
            Pending::Data => {
                self.sink.take(self.start, &mut self.buf, self.filled)?;
                self.start += self.filled as u64;
                self.filled = 0;
            }
            Pending::Zeros(n) => {
                self.sink.zeros(self.start, n)?;
                self.start += n;
            }
            Pending::Unallocated(n) => {
                self.sink.unallocated(self.start, n)?;
                self.start += n;
            }
        }
        self.pending = Pending::Data;
        (self.written)(self.start)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Keeps the image in memory and remembers what each byte was announced as.
    #[derive(Debug, Default)]
    pub(crate) struct Memory {
        pub(crate) bytes: Vec<u8>,
        pub(crate) calls: Vec<(&'static str, u64, u64)>,
    }

    impl Memory {
        fn note(&mut self, kind: &'static str, offset: u64, len: u64) {
            assert_eq!(offset, self.bytes.len() as u64, "not ascending");
            self.calls.push((kind, offset, len));
        }
    }

    impl Sink for Memory {
        type Receipt = Self;

        fn begin(&mut self, _len: u64) -> Result<()> {
            Ok(())
        }
        fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
            self.note("data", offset, bytes.len() as u64);
            self.bytes.extend_from_slice(bytes);
            Ok(())
        }
        fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
            self.note("zeros", offset, len);
            self.bytes.resize(self.bytes.len() + index(len), 0);
            Ok(())
        }
        fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
            self.note("unallocated", offset, len);
            // Noise: nothing may rely on these bytes.
            self.bytes.resize(self.bytes.len() + index(len), 0xa5);
            Ok(())
        }
        fn finish(self) -> Result<Self> {
            Ok(self)
        }
    }

    #[test]
    fn the_three_kinds_stay_apart_and_ascend() {
        let mut sink = Memory::default();
        let mut heard = Vec::new();
        let mut written = |n| {
            heard.push(n);
            Ok(())
        };
        let mut out = Out::new(&mut sink, &mut written);
        out.data(b"ab").unwrap();
        out.zeros(2).unwrap();
        out.reserve(1).unwrap()[0] = b'c';
        out.zeros(1 << 20).unwrap();
        out.zeros(5).unwrap();
        out.skip_to((1 << 20) + 20).unwrap();
        out.unallocated(3).unwrap();
        assert_eq!(out.offset(), (1 << 20) + 23);
        assert!(out.skip_to(4).is_err());
        out.data(b"z").unwrap();
        out.flush().unwrap();
        assert_eq!(
            sink.calls,
            [
                ("data", 0, 5),
                ("zeros", 5, (1 << 20) + 5),
                ("unallocated", (1 << 20) + 10, 13),
                ("data", (1 << 20) + 23, 1)
            ]
        );
        assert_eq!(&sink.bytes[..5], b"ab\0\0c");
        assert_eq!(heard.last(), Some(&((1 << 20) + 24)));
    }
}
