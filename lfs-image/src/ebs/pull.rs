//! From a snapshot to a raw image in a file.
//!
//! The file grows under a name of its own, `OUT.snap-….partial`, beside a journal, `OUT.snap-….pull`, and gets its name when it is
//! complete. Killed and run again, blocks that are there are read and compared with the journal, and the rest is
//! fetched. What the snapshot has no block for, and zeros, become holes.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::block::{BLOCK_BYTES, Digest, digest, is_zero};
use super::client::{Aborting, Aws};
use super::engine::{Engine, Items};
use super::fault::{Fault, Stop};
use super::journal::Journal;
use super::reading::{Listing, Reading};
use super::settings::{BLOCK, Settings};
use super::volume::{GIB, MOST_GIB};
use super::watch::{Phase, Watch};
use crate::error::{Error, ErrorKind, Result};

/// A download that is about to be run.
///
/// # Examples
///
/// ```no_run
/// use lfs_image::ebs::{Aws, Connect, Pull, Settings};
///
/// let aws = Aws::connect(&Connect::new())?;
/// let settings = Settings::new().jobs(32);
/// let pulled = Pull::new(&aws, "snap-0123456789abcdef0", "out.img".as_ref(), &settings).run(&mut ())?;
/// println!("{} bytes, {} blocks of them not zero", pulled.len, pulled.blocks);
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pull<'a> {
    aws: &'a Aws,
    snapshot_id: &'a str,
    out: &'a Path,
    settings: &'a Settings,
}

/// An image that was made of a snapshot; [`Pull`] has an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pulled {
    /// Its length in bytes: that of the volume.
    pub len: u64,
    /// The blocks that the snapshot has.
    pub blocks: u64,
    /// Of those, the ones that earlier runs had fetched.
    pub kept: u64,
    /// Attempts that were made again.
    pub retries: u64,
}

impl<'a> Pull<'a> {
    /// A download of a completed snapshot to `out`. Of the settings, jobs and patience matter.
    #[must_use]
    pub fn new(aws: &'a Aws, snapshot_id: &'a str, out: &'a Path, settings: &'a Settings) -> Self {
        Self { aws, snapshot_id, out, settings }
    }

    /// Where the image grows until it is complete, and what belongs to it. They stay after a failure, for the next try.
    #[must_use]
    pub fn partial(&self) -> [PathBuf; 2] {
        ["partial", "pull"].map(|end| {
            let mut path = self.out.as_os_str().to_owned();
            path.push(format!(".{}.{end}", self.snapshot_id));
            PathBuf::from(path)
        })
    }

    /// Fetches the image.
    ///
    /// # Errors
    ///
    /// When the snapshot can't be read, the file can't be written, nothing arrives for a long time, or `watch` ends it.
    pub fn run(&self, watch: &mut dyn Watch) -> Result<Pulled> {
        let well_formed = self
            .snapshot_id
            .strip_prefix("snap-")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if !well_formed {
            return Err(Error::input(format!("`{}` is not a snapshot id", self.snapshot_id.escape_debug())));
        }
        if fs::metadata(self.out).is_ok_and(|meta| !meta.is_file()) {
            return Err(Error::input(format!("{} is there and is not a file", self.out.display())));
        }
        let engine = Engine::new(self.settings.patience, self.settings.jobs, 0);
        engine.snapshot_is_new();
        let reading = Reading {
            client: self.aws.ebs().clone(),
            region: self.aws.region().to_owned(),
            id: self.snapshot_id.to_owned(),
            engine: engine.clone(),
        };
        let listed = self.aws.wait(&engine, watch, reading.list()).map_err(|stop| stop.error)?;
        let listing = listed.map_err(Fault::into_error)?;
        let len = self.len(&listing)?;
        engine.total(listing.tokens.len() as u64);
        engine.phase(Phase::Blocks);
        let (file, journal, kept) = self.open(len)?;
        let blocks = listing.tokens.len() as u64;
        let fetching = Arc::new(Fetching { reading, file, journal: Mutex::new(journal), kept });
        let tokens = Items::Here(listing.tokens.into_iter().collect());
        let work = {
            let (engine, fetching) = (engine.clone(), Arc::clone(&fetching));
            async move {
                let work = |(block, token): (u32, String)| {
                    let fetching = Arc::clone(&fetching);
                    async move { fetching.one(block, &token).await }
                };
                engine.each(tokens, work).await
            }
        };
        let task = Aborting(self.aws.spawn(work));
        self.aws.wait_for_task(&engine, watch, task).map_err(|stop| stop.error)?;
        let fetching = Arc::into_inner(fetching)
            .ok_or_else(|| Error::internal("blocks are still being written after the last one"))?;
        self.complete(&fetching.file)?;
        fetching.journal.into_inner().unwrap_or_else(PoisonError::into_inner).remove()?;
        let transfer = engine.transfer();
        Ok(Pulled { len, blocks, kept: transfer.kept, retries: transfer.retries })
    }

    fn len(&self, listing: &Listing) -> Result<u64> {
        let remote = |what: String| Error::new(ErrorKind::Remote, format!("{}: {what}", self.snapshot_id));
        if !(1..=MOST_GIB).contains(&listing.volume_gib) {
            return Err(remote(format!("a volume of {} GiB", listing.volume_gib)));
        }
        let len = listing.volume_gib * GIB;
        match listing.tokens.last_key_value() {
            Some((last, _)) if (u64::from(*last) + 1) * BLOCK > len => {
                Err(remote(format!("block {last} is beyond the volume's {len} bytes")))
            }
            _ => Ok(len),
        }
    }

    /// The file and the journal, and the blocks that they already have.
    fn open(&self, len: u64) -> Result<(File, Journal, BTreeMap<u32, Digest>)> {
        let [partial, journal] = self.partial();
        let failed = |e| Error::io(format!("open {}", partial.display()), e);
        let (mut journal, replay) = Journal::open(&journal)?;
        let header = format!("pull\n{}\n{}\n{len} bytes", self.aws.region(), self.snapshot_id);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if let Some(replay) = replay
            && replay.header == header
            && let Ok(file) = options.open(&partial)
        {
            file.set_len(len).map_err(failed)?;
            return Ok((file, journal, replay.done));
        }
        // Whatever it is, nothing tells what of it is good.
        journal.begin(&header)?;
        let file = options.create(true).truncate(true).open(&partial).map_err(failed)?;
        file.set_len(len).map_err(failed)?;
        Ok((file, journal, BTreeMap::new()))
    }

    fn complete(&self, file: &File) -> Result<()> {
        let [partial, _] = self.partial();
        let failed = |e| Error::io(format!("complete {}", self.out.display()), e);
        file.sync_all().map_err(failed)?;
        fs::rename(&partial, self.out).map_err(failed)?;
        let folder = match self.out.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// What it takes to fetch blocks.
#[derive(Debug)]
struct Fetching {
    reading: Reading,
    file: File,
    journal: Mutex<Journal>,
    kept: BTreeMap<u32, Digest>,
}

impl Fetching {
    async fn one(&self, block: u32, token: &str) -> Result<(), Stop> {
        if let Some(expected) = self.kept.get(&block)
            && self.has(block, expected)
        {
            self.reading.engine.done(true);
            return Ok(());
        }
        let (parts, digest) = self.reading.get(block, token).await?;
        self.write(block, &parts)
            .map_err(|e| Stop::curable(Error::io(format!("write block {block} of the image"), e)))?;
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.done(block, &digest).map_err(Stop::curable)?;
        drop(journal);
        self.reading.engine.done(false);
        Ok(())
    }

    /// Whether a block that an earlier run wrote is still there.
    fn has(&self, block: u32, expected: &Digest) -> bool {
        let mut bytes = vec![0; BLOCK_BYTES];
        self.file.read_exact_at(&mut bytes, u64::from(block) * BLOCK).is_ok() && digest(&bytes) == *expected
    }

    fn write(&self, block: u32, parts: &[Bytes]) -> std::io::Result<()> {
        let mut at = u64::from(block) * BLOCK;
        // What an earlier run may have written here is from the same block.
        if parts.iter().all(|part| is_zero(part)) {
            return Ok(());
        }
        for part in parts {
            self.file.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }
}
