//! The pen that formats render with: ascending, buffered, aware of the three kinds of space.

use super::num::index;
use super::sink::Sink;
use super::store::{Position, ReadAt};
use crate::error::{Error, Result};

/// How much is gathered before the sink sees it.
const BUFFER: usize = 1 << 20;

/// Content from this length on goes to [`Sink::copy`] instead of through the buffer.
const COPY: u64 = 128 << 10;

/// Writes an image front to back. Offsets are those of the whole image.
///
/// Records are rendered, and small content is read, straight into the buffer, so that their bytes move once;
/// long content never comes here at all.
pub(crate) struct Out<'a, S: ?Sized> {
    sink: &'a mut S,
    /// Image offset of the first byte in `buf`.
    start: u64,
    buf: Vec<u8>,
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

impl<'a, S: Sink + ?Sized> Out<'a, S> {
    /// A pen at offset 0 of `sink`. `written` hears the offset that was reached, now and then; its error ends
    /// the walk.
    pub(crate) fn new(sink: &'a mut S, written: &'a mut dyn FnMut(u64) -> Result<()>) -> Self {
        Self { sink, start: 0, buf: Vec::with_capacity(BUFFER), pending: Pending::Data, written }
    }

    /// The offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        match self.pending {
            Pending::Data => self.start + self.buf.len() as u64,
            Pending::Zeros(n) | Pending::Unallocated(n) => self.start + n,
        }
    }

    /// Appends bytes.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(BUFFER) {
            self.reserve(chunk.len())?.copy_from_slice(chunk);
        }
        Ok(())
    }

    /// Appends `len` bytes (at most 1 MiB) and hands them out to be filled in; they start as zeros.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<&mut [u8]> {
        debug_assert!(len <= BUFFER);
        if self.pending != Pending::Data || self.buf.len() + len > BUFFER {
            self.flush()?;
        }
        let at = self.buf.len();
        self.buf.resize(at + len, 0);
        Ok(&mut self.buf[at..])
    }

    /// Appends allocated zeros: space that somebody reads and expects to be zero.
    pub(crate) fn zeros(&mut self, len: u64) -> Result<()> {
        // Short padding stays in the data around it.
        if self.pending == Pending::Data && len < 64 << 10 && self.buf.len() + index(len) <= BUFFER {
            self.buf.resize(self.buf.len() + index(len), 0);
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
        if len < COPY {
            return store.read_exact_at(at, self.reserve(index(len))?);
        }
        self.flush()?;
        self.sink.copy(self.start, store, at, len)?;
        self.start += len;
        (self.written)(self.start)
    }

    /// Hands everything gathered to the sink.
    pub(crate) fn flush(&mut self) -> Result<()> {
        match self.pending {
            Pending::Data if self.buf.is_empty() => return Ok(()),
            Pending::Data => {
                self.sink.data(self.start, &self.buf)?;
                self.start += self.buf.len() as u64;
                self.buf.clear();
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
