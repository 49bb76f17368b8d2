//! Where file content waits until it is written: a position in one of a few sources.

use std::fmt;
use std::fs::File;

use crate::error::Result;

/// Where a run of content begins: a source and a byte offset in it, packed into 64 bits.
///
/// Content of millions of files is remembered this way, so it is small: 16 bits of source, 48 bits (256 TiB) of offset.
///
/// [`ReadAt`] has an example.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Position(u64);

/// `byte 512 of source 1`
impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} of source {}", self.offset(), self.source())
    }
}

impl Position {
    const OFFSET_BITS: u32 = 48;

    /// The position `offset` bytes into source number `source`; `None` where the offset is 256 TiB or more.
    #[must_use]
    pub fn new(source: u16, offset: u64) -> Option<Self> {
        (offset >> Self::OFFSET_BITS == 0).then_some(Self(u64::from(source) << Self::OFFSET_BITS | offset))
    }

    /// The number of the source.
    #[must_use]
    pub fn source(self) -> u16 {
        // 64 - 48 bits are left.
        #[allow(clippy::cast_possible_truncation)]
        {
            (self.0 >> Self::OFFSET_BITS) as u16
        }
    }

    /// The byte offset in the source.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.0 & ((1 << Self::OFFSET_BITS) - 1)
    }

    /// Whether content of so many bytes that begins here ends where positions do, or before.
    pub(crate) fn has_room(self, len: u64) -> bool {
        self.offset().checked_add(len).is_some_and(|end| end <= 1 << Self::OFFSET_BITS)
    }

    /// The position `by` bytes further on in the same source; `None` past its end at 256 TiB.
    #[must_use]
    pub fn forward(self, by: u64) -> Option<Self> {
        Self::new(self.source(), self.offset().checked_add(by)?)
    }
}

/// Reads content back by position. The walk's source of file data.
///
/// # Examples
///
/// Content that is made when it is asked for:
///
/// ```
/// use lfs_image::tree::{Content, Position, ReadAt};
/// use lfs_image::Result;
///
/// struct Counting;
///
/// impl ReadAt for Counting {
///     fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()> {
///         for (byte, n) in buf.iter_mut().zip(at.offset()..) {
///             *byte = n.to_le_bytes()[0];
///         }
///         Ok(())
///     }
/// }
///
/// let at = Position::new(0, 7).expect("7 is less than 256 TiB");
/// let content = Content::stored(at, 100);
/// assert_eq!(content.read(&Counting, 0, 3)?, [7, 8, 9]);
/// # Ok::<(), lfs_image::Error>(())
/// ```
pub trait ReadAt {
    /// Fills `buf` with the bytes at `at`.
    ///
    /// # Errors
    ///
    /// When the source can't be read, or ends before `buf` is full.
    fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()>;

    /// The file that holds the source of `at`, with the offset in it, for sinks that can copy from file to file
    /// inside the kernel.
    fn file(&self, at: Position) -> Option<(&File, u64)> {
        let _ = at;
        None
    }

    /// Makes sure that no source was changed since it was opened, so that what was read is of one piece. Asked when
    /// all of an image has been read and before it is completed.
    ///
    /// # Errors
    ///
    /// When one was changed, so that what was read may be wrong.
    fn verify_unchanged(&self) -> Result<()> {
        Ok(())
    }
}

/// A store with nothing in it, for trees whose content is all in memory.
///
/// The example of [`Image`](crate::Image) uses it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStore;

impl ReadAt for NoStore {
    fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()> {
        Err(crate::Error::misuse(format!(
            "read of {} bytes at {at:?} from a store that holds nothing",
            buf.len()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_pack() {
        let p = Position::new(65_535, (1 << 48) - 1).unwrap();
        assert_eq!((p.source(), p.offset()), (65_535, (1 << 48) - 1));
        assert!(p.forward(1).is_none());
        assert!(Position::new(0, 1 << 48).is_none());
        assert_eq!(Position::new(3, 5).unwrap().forward(7), Position::new(3, 12));
    }
}
