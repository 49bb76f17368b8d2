//! An image that nobody keeps.

use super::Reached;
use crate::error::Result;
use crate::raw::sink::Sink;
use crate::raw::store::{Position, ReadAt};

/// Counts an image and forgets it: what would be written, how fast a plan renders. Content is not read.
///
/// # Examples
///
/// ```
/// use lfs_image::sink::{NullSink, Sink as _};
///
/// let mut sink = NullSink::default();
/// sink.begin(1000)?;
/// sink.data(0, b"boot")?;
/// sink.unallocated(4, 996)?;
/// assert_eq!(sink.finish()?.unallocated, 996);
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct NullSink {
    reached: Reached,
    tally: Tally,
}

/// An image in bytes, by kind of space.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tally {
    /// Bytes of data.
    pub data: u64,
    /// Zeros that somebody relies on.
    pub zeros: u64,
    /// Bytes that nothing reads before writing them.
    pub unallocated: u64,
}

impl Sink for NullSink {
    type Receipt = Tally;

    fn begin(&mut self, len: u64) -> Result<()> {
        *self = Self { reached: Reached::begin(len), ..Self::default() };
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.reached.advance(offset, bytes.len() as u64)?;
        self.tally.data += bytes.len() as u64;
        Ok(())
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        self.reached.advance(offset, len)?;
        self.tally.zeros += len;
        Ok(())
    }

    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        self.reached.advance(offset, len)?;
        self.tally.unallocated += len;
        Ok(())
    }

    /// Nothing has to be read.
    fn copies(&self) -> bool {
        true
    }

    fn copy(&mut self, offset: u64, _store: &dyn ReadAt, _at: Position, len: u64) -> Result<()> {
        self.reached.advance(offset, len)?;
        self.tally.data += len;
        Ok(())
    }

    fn finish(self) -> Result<Tally> {
        self.reached.finish()?;
        Ok(self.tally)
    }
}
