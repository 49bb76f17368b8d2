//! How far a transfer is, for those who wait.

use crate::error::Result;

/// Hears how far a transfer is, on the thread that started it, several times a second.
///
/// # Examples
///
/// ```
/// use lfs_image::ebs::{Settings, Source, Transfer, Watch};
/// # use lfs_image::image::Boot;
/// # use lfs_image::tree::NoStore;
/// # use lfs_image::{Image, ImageSpec, Tree};
///
/// struct Percent(u64);
///
/// impl Watch for Percent {
///     fn at(&mut self, transfer: &Transfer) -> lfs_image::Result<()> {
///         self.0 = 100 * transfer.done / transfer.total.max(1);
///         Ok(())
///     }
/// }
///
/// let mut percent = Percent(0);
/// # let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().size(64 << 20).boot(Boot::None))?;
/// Source::plan(&image, &NoStore).fingerprint(&Settings::new(), &mut percent)?;
/// assert_eq!(percent.0, 100);
/// # Ok::<(), lfs_image::Error>(())
/// ```
pub trait Watch {
    /// So far it is.
    ///
    /// # Errors
    ///
    /// An error ends the transfer within a second and comes back from it; use
    /// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted).
    fn at(&mut self, transfer: &Transfer) -> Result<()>;
}

/// Nobody listens.
impl Watch for () {
    fn at(&mut self, _transfer: &Transfer) -> Result<()> {
        Ok(())
    }
}

/// How far a transfer is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Transfer {
    /// What is being done.
    pub phase: Phase,
    /// Blocks that need no more work: acknowledged by the service, or here since an earlier run.
    pub done: u64,
    /// All blocks that there are to transfer.
    pub total: u64,
    /// Of those done, the ones that an earlier run had transferred.
    pub kept: u64,
    /// Requests that are under way.
    pub in_flight: u64,
    /// Attempts that were made again, for whatever reason.
    pub retries: u64,
    /// Of those, the ones because the service asked for a slower pace.
    pub throttled: u64,
    /// What the service or the network last had to say, while nothing has succeeded since.
    pub trouble: Option<String>,
}

/// What of a transfer is being done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// The snapshot is being started, or found again.
    #[default]
    Start,
    /// Blocks are being transferred.
    Blocks,
    /// The service is completing the snapshot.
    Complete,
    /// Blocks are being read back.
    Verify,
}
