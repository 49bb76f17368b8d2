//! What goes up: a planned image, or a raw file.

use sha2::{Digest as _, Sha256};

use super::block::{Body, Digest, Pool};
use super::feed::{Feed, Take};
use super::raw_image::RawImage;
use super::settings::Settings;
use super::volume::{Change, GIB, Resized, gib};
use super::watch::{Phase, Transfer, Watch};
use crate::error::Result;
use crate::image::Image;
use crate::raw::sink::Sink;
use crate::raw::store::{Position, ReadAt};

/// An image that a snapshot is made of.
///
/// # Examples
///
/// How much there is to send of an image that is written nowhere else:
///
/// ```
/// use lfs_image::ebs::{BLOCK, Settings, Source};
/// use lfs_image::image::Boot;
/// use lfs_image::tree::NoStore;
/// use lfs_image::{Image, ImageSpec, Tree};
///
/// let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().boot(Boot::None))?;
/// let source = Source::plan(&image, &NoStore);
/// let survey = source.survey(&Settings::new())?;
/// println!("{} bytes for a volume of {} GiB", survey.blocks * BLOCK, survey.volume_gib);
/// assert!(survey.blocks * BLOCK < source.len() / 10);
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Source<'a>(Kind<'a>);

#[derive(Clone, Copy)]
enum Kind<'a> {
    Plan(&'a Image, &'a (dyn ReadAt + Sync)),
    Raw(&'a RawImage),
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Kind::Plan(..) => f.write_str("Source::plan(…)"),
            Kind::Raw(raw) => f.debug_tuple("Source::raw").field(raw).finish(),
        }
    }
}

/// How much there is to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Survey {
    /// Blocks that are sent; of [`BLOCK`](super::BLOCK) bytes each.
    pub blocks: u64,
    /// The volume's size in GiB.
    pub volume_gib: u64,
}

impl<'a> Source<'a> {
    /// An image that need not exist as a file: it is written as it is sent. `store` is the one that it was planned with.
    #[must_use]
    pub fn plan(image: &'a Image, store: &'a (dyn ReadAt + Sync)) -> Self {
        Self(Kind::Plan(image, store))
    }

    /// A raw image in a file.
    #[must_use]
    pub fn raw(image: &'a RawImage) -> Self {
        Self(Kind::Raw(image))
    }

    /// Bytes of the image.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // an empty image is none
    pub fn len(&self) -> u64 {
        match self.0 {
            Kind::Plan(image, _) => image.len(),
            Kind::Raw(image) => image.len(),
        }
    }

    /// Tells a raw image from others, and from itself after a change.
    pub(super) fn identity(&self) -> &str {
        match self.0 {
            Kind::Plan(..) => "",
            Kind::Raw(image) => image.identity(),
        }
    }

    /// Whether what the image is read from is still what it was.
    pub(super) fn is_unchanged(&self) -> bool {
        let store: &dyn ReadAt = match self.0 {
            Kind::Plan(_, store) => store,
            Kind::Raw(image) => image,
        };
        store.verify_unchanged().is_ok()
    }

    /// The size of the volume in GiB.
    ///
    /// # Errors
    ///
    /// When the image needs a larger one than asked for, or than there are.
    pub fn volume_gib(&self, settings: &Settings) -> Result<u64> {
        gib(self.len(), settings.volume_gib)
    }

    /// How much there is to send. No content is read, so where zeros are to be omitted it may be less.
    ///
    /// # Errors
    ///
    /// When the image doesn't fit the volume.
    pub fn survey(&self, settings: &Settings) -> Result<Survey> {
        let volume_gib = self.volume_gib(settings)?;
        let feed = Feed::new(Count::default(), Pool::default(), false);
        let Count { blocks } = self.write(Unread(feed), volume_gib)?;
        Ok(Survey { blocks, volume_gib })
    }

    /// What identifies the content of the snapshot: a digest over the volume's size and each block's number and SHA-256, in 64
    /// hexadecimal digits. All content is read for it.
    ///
    /// # Errors
    ///
    /// When the image can't be read, doesn't fit the volume, or `watch` ends it.
    pub fn fingerprint(&self, settings: &Settings, watch: &mut dyn Watch) -> Result<String> {
        let Survey { blocks, volume_gib } = self.survey(settings)?;
        let transfer = Transfer { phase: Phase::Blocks, total: blocks, ..Transfer::default() };
        let take = Hash { fingerprint: Fingerprint::new(volume_gib), watch, transfer };
        let take = self.write(Feed::new(take, Pool::default(), settings.omit_zeros), volume_gib)?;
        Ok(take.fingerprint.finish())
    }

    /// Writes the image as it is on a volume of so many GiB.
    pub(super) fn write<S: Sink>(&self, sink: S, volume_gib: u64) -> Result<S::Receipt> {
        let volume = volume_gib * GIB;
        match self.0 {
            Kind::Plan(image, store) => {
                let table = image.gpt();
                let change = Change::of(table.as_ref().map(|(gpt, code)| (*gpt, code)), image.len(), volume)?;
                image.write(store, Resized::new(sink, change, volume), &mut ())
            }
            Kind::Raw(image) => {
                let change = Change::of(image.gpt(), image.len(), volume)?;
                image.write(Resized::new(sink, change, volume))
            }
        }
    }
}

/// What identifies the content of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(super) fn new(volume_gib: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"lfs-image volume");
        hash.update(volume_gib.to_le_bytes());
        Self(hash)
    }

    /// The next block, in ascending order.
    pub(super) fn block(&mut self, number: u32, digest: &Digest) {
        self.0.update(number.to_le_bytes());
        self.0.update(digest);
    }

    pub(super) fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[derive(Debug, Default)]
struct Count {
    blocks: u64,
}

impl Take for Count {
    fn block(&mut self, _: u32, _: Body) -> Result<()> {
        self.blocks += 1;
        Ok(())
    }

    fn idle(&mut self) -> Result<()> {
        Ok(())
    }
}

struct Hash<'a> {
    fingerprint: Fingerprint,
    watch: &'a mut dyn Watch,
    transfer: Transfer,
}

impl Take for Hash<'_> {
    fn block(&mut self, number: u32, body: Body) -> Result<()> {
        self.fingerprint.block(number, &body.digest());
        self.transfer.done += 1;
        self.watch.at(&self.transfer)
    }

    fn idle(&mut self) -> Result<()> {
        self.watch.at(&self.transfer)
    }
}

/// Passes content as if it were zeros, without reading it.
struct Unread<S>(S);

impl<S: Sink> Sink for Unread<S> {
    type Receipt = S::Receipt;

    fn begin(&mut self, len: u64) -> Result<()> {
        self.0.begin(len)
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.zeros(offset, bytes.len() as u64)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        self.0.zeros(offset, len)
    }

    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        self.0.unallocated(offset, len)
    }

    /// Nothing has to be read.
    fn copies(&self) -> bool {
        true
    }

    fn copy(&mut self, offset: u64, _: &dyn ReadAt, _: Position, len: u64) -> Result<()> {
        self.0.zeros(offset, len)
    }

    fn finish(self) -> Result<S::Receipt> {
        self.0.finish()
    }
}
