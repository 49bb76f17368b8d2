//! How far the walk has come, for those who wait.

use crate::error::Result;

/// What is being done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Stage {
    /// Reading archives: bytes of the input, as it lies in the file or came through the pipe.
    Read,
    /// Writing the image: bytes of the image.
    Write,
}

/// Hears how far the walk has come. The library never prints.
///
/// # Examples
///
/// ```
/// use lfs_image::{Progress, Result, Stage};
///
/// struct Dots;
///
/// impl Progress for Dots {
///     fn at(&mut self, stage: Stage, done: u64, total: Option<u64>) -> Result<()> {
///         eprintln!("{stage:?}: {done} of {total:?} bytes");
///         Ok(())
///     }
/// }
/// ```
pub trait Progress {
    /// `done` of `total` bytes are through; the total is not known for pipes. Called often: at least once for every few
    /// MiB.
    ///
    /// # Errors
    ///
    /// An error ends the walk and comes back from it; use [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted).
    fn at(&mut self, stage: Stage, done: u64, total: Option<u64>) -> Result<()>;
}

/// Nobody listens.
impl Progress for () {
    fn at(&mut self, _stage: Stage, _done: u64, _total: Option<u64>) -> Result<()> {
        Ok(())
    }
}
