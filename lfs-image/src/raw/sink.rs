//! Where a finished image goes.

use super::num::index;
use super::out::BUFFER;
use super::store::{Position, ReadAt};
use crate::error::{Error, Result};

/// Takes an image front to back.
///
/// After [`begin`](Sink::begin), every byte of the image is announced exactly once, in ascending order, in one of
/// three ways that mean different things: data; *allocated zeros*, which somebody will read and expect to be zero (a
/// journal, a file allocation table); and *unallocated* space, which nobody will read before writing it. A file may
/// leave holes for the last two. An upload must send the second and may leave out the third.
///
/// # Examples
///
/// How much of an image somebody would have to send:
///
/// ```
/// use lfs_image::image::Boot;
/// use lfs_image::sink::Sink;
/// use lfs_image::tree::NoStore;
/// use lfs_image::{Image, ImageSpec, Result, Tree};
///
/// #[derive(Default)]
/// struct Sent(u64);
///
/// impl Sink for Sent {
///     type Receipt = u64;
///
///     fn begin(&mut self, _len: u64) -> Result<()> {
///         Ok(())
///     }
///
///     fn data(&mut self, _offset: u64, bytes: &[u8]) -> Result<()> {
///         self.0 += bytes.len() as u64;
///         Ok(())
///     }
///
///     fn zeros(&mut self, _offset: u64, len: u64) -> Result<()> {
///         self.0 += len;
///         Ok(())
///     }
///
///     fn unallocated(&mut self, _offset: u64, _len: u64) -> Result<()> {
///         Ok(())
///     }
///
///     fn finish(self) -> Result<u64> {
///         Ok(self.0)
///     }
/// }
///
/// let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().size(64 << 20).boot(Boot::None))?;
/// let sent = image.write(&NoStore, Sent::default(), &mut ())?;
/// assert!(sent > 0 && sent < 16 << 20, "{sent}");
/// # Ok::<(), lfs_image::Error>(())
/// ```
pub trait Sink {
    /// What [`finish`](Sink::finish) hands back: a digest, a snapshot id.
    type Receipt;

    /// Announces the length of the image in bytes.
    ///
    /// # Errors
    ///
    /// When the destination can't hold that much.
    fn begin(&mut self, len: u64) -> Result<()>;

    /// The bytes at `offset`.
    ///
    /// # Errors
    ///
    /// When they can't be written.
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// `len` zeros at `offset` that the image's readers rely on.
    ///
    /// # Errors
    ///
    /// When they can't be written.
    fn zeros(&mut self, offset: u64, len: u64) -> Result<()>;

    /// `len` bytes at `offset` that nothing reads before writing them. They read as zeros where that costs nothing.
    ///
    /// # Errors
    ///
    /// When the destination can't go past them.
    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        self.zeros(offset, len)
    }

    /// Whether [`copy`](Self::copy) does better than [`data`](Self::data) with bytes that were read from the store.
    fn copies(&self) -> bool {
        false
    }

    /// `len` bytes at `offset`, taken from `store` at `at`. Sinks that can copy from file to file without passing
    /// the bytes through memory do so here. Long stretches of content come this way if the sink [`copies`](Self::copies).
    ///
    /// # Errors
    ///
    /// When the store can't be read or the bytes can't be written.
    fn copy(&mut self, offset: u64, store: &dyn ReadAt, at: Position, len: u64) -> Result<()> {
        copy_in_chunks(self, offset, store, at, len)
    }

    /// The image is complete.
    ///
    /// # Errors
    ///
    /// When the destination can't be completed; it must not look complete then.
    fn finish(self) -> Result<Self::Receipt>
    where
        Self: Sized;
}

/// What [`Sink::copy`] does unless a sink knows better: the bytes pass through memory.
pub(crate) fn copy_in_chunks<S: Sink + ?Sized>(
    sink: &mut S,
    offset: u64,
    store: &dyn ReadAt,
    at: Position,
    len: u64,
) -> Result<()> {
    const CHUNK: u64 = BUFFER as u64;
    let mut buf = vec![0; index(len.min(CHUNK))];
    let mut done = 0;
    while done < len {
        let n = index((len - done).min(CHUNK));
        let from =
            at.forward(done).ok_or_else(|| Error::internal("content reaches past the end of its source"))?;
        store.read_exact_at(from, &mut buf[..n])?;
        sink.data(offset + done, &buf[..n])?;
        done += n as u64;
    }
    Ok(())
}
