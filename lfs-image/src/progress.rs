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

/// A closure hears, too.
///
/// # Examples
///
/// ```
/// use lfs_image::{Error, ErrorKind, Progress, Result, Stage};
///
/// let mut patience = 1000;
/// let mut hears = |_stage: Stage, _done: u64, _total: Option<u64>| -> Result<()> {
///     patience -= 1;
///     if patience > 0 { Ok(()) } else { Err(Error::new(ErrorKind::Interrupted, "this takes too long")) }
/// };
/// let progress: &mut dyn Progress = &mut hears;
/// progress.at(Stage::Write, 0, Some(1 << 30))?;
/// # Ok::<(), Error>(())
/// ```
impl<F: FnMut(Stage, u64, Option<u64>) -> Result<()>> Progress for F {
    fn at(&mut self, stage: Stage, done: u64, total: Option<u64>) -> Result<()> {
        self(stage, done, total)
    }
}

/// Nobody listens.
impl Progress for () {
    fn at(&mut self, _stage: Stage, _done: u64, _total: Option<u64>) -> Result<()> {
        Ok(())
    }
}
