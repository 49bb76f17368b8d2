//! From an image to a snapshot: start, blocks, completion; and what becomes of it when that fails.
//!
//! With a journal, an upload that was killed, interrupted, or stopped by something that can be cured goes on where it was
//! when it is run again. So its snapshot stays, pending, for up to a day ([`TIMEOUT_MINUTES`]), unless not one block has
//! arrived. Without a journal, or when going on makes no sense (the image has changed, the service refuses the request
//! as invalid), the snapshot is deleted. If that can't be done, [`Failure::left`] names what is left.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_ebs::primitives::ByteStream;
use aws_sdk_ebs::types::{ChecksumAggregationMethod, ChecksumAlgorithm, Tag};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::block::{BLOCK_BYTES, Body, Digest, Pool};
use super::client::Aws;
use super::engine::{Engine, random};
use super::fault::{Call, Fault};
use super::feed::{Feed, Take};
use super::journal::{self, Journal, Replay};
use super::settings::{BLOCK, Encryption, Settings};
use super::source::{Fingerprint, Source, Survey};
use super::watch::{Phase, Watch};
use super::{SnapshotState, Snapshots};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::num::fit;

/// So long after the last block the service gives up a snapshot that nobody completes.
const TIMEOUT_MINUTES: i32 = 24 * 60;
/// [`BLOCK`] as the service has it.
const BLOCK_LENGTH: i32 = 512 << 10;
const _: () = assert!(BLOCK_LENGTH as u64 == BLOCK);
/// How often a watch is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Blocks that wait for a request, beside those under way.
const AHEAD: usize = 4;
/// How often acknowledged blocks are made sure to survive a power loss.
const SYNC: Duration = Duration::from_secs(1);

/// An upload that is about to be run.
#[derive(Clone, Copy)]
pub struct Upload<'a> {
    aws: &'a Aws,
    settings: &'a Settings,
    journal: Option<&'a Path>,
    identity: &'a str,
    snapshots: Option<&'a dyn Snapshots>,
}

impl std::fmt::Debug for Upload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("settings", self.settings)
            .field("journal", &self.journal)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// A snapshot that the service has been told is complete. It may take it a while to say so itself
/// ([`SnapshotState::Completed`]).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// The snapshot: `snap-…`.
    pub snapshot_id: String,
    /// The volume's size in GiB.
    pub volume_gib: u64,
    /// Blocks in the snapshot, of [`BLOCK`](super::BLOCK) bytes each.
    pub blocks: u64,
    /// Of those, the ones that earlier runs had sent.
    pub kept: u64,
    /// Attempts that were made again.
    pub retries: u64,
    /// What identifies the content: see [`Source::fingerprint`].
    pub fingerprint: [u8; 32],
    /// The blocks and their digests.
    pub digests: Digests,
    journal: Option<PathBuf>,
}

/// The blocks of a snapshot and the SHA-256 of each.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Digests(pub(super) BTreeMap<u32, Digest>);

impl Uploaded {
    /// Removes the journal. Until then, running the same upload again gives the same snapshot at once, so this comes last,
    /// when there is an image or whatever else the snapshot is for.
    ///
    /// # Errors
    ///
    /// When the file can't be removed.
    pub fn forget_journal(&self) -> Result<()> {
        self.journal.as_deref().map_or(Ok(()), journal::remove)
    }
}

/// An upload that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// The snapshot that is still there.
    pub left: Option<Leftover>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, left: None }
    }
}

/// A pending snapshot that an upload left behind.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Leftover {
    /// The snapshot: `snap-…`.
    pub snapshot_id: String,
    /// Where it is.
    pub region: String,
    /// Whether the same upload, run again, goes on with it.
    pub resumable: bool,
}

impl Leftover {
    /// The command that removes it.
    #[must_use]
    pub fn command(&self) -> String {
        format!("aws ec2 delete-snapshot --region {} --snapshot-id {}", self.region, self.snapshot_id)
    }
}

impl<'a> Upload<'a> {
    /// An upload without a journal.
    #[must_use]
    pub fn new(aws: &'a Aws, settings: &'a Settings) -> Self {
        Self { aws, settings, journal: None, identity: "", snapshots: None }
    }

    /// Where to keep what has to be known to go on after a kill. One file for each image and region.
    #[must_use]
    pub fn journal(mut self, path: &'a Path) -> Self {
        self.journal = Some(path);
        self
    }

    /// What tells this image from others, for the journal: an upload of another one begins anew. Raw images are told apart
    /// by themselves (file, size, time); for plans it takes something like [`Image::disk_id`](crate::Image::disk_id). That
    /// blocks are the same is checked in any case.
    #[must_use]
    pub fn identity(mut self, text: &'a str) -> Self {
        self.identity = text;
        self
    }

    /// Who asks EC2 about snapshots and deletes them.
    #[must_use]
    pub fn snapshots(mut self, snapshots: &'a dyn Snapshots) -> Self {
        self.snapshots = Some(snapshots);
        self
    }

    /// Makes the snapshot.
    ///
    /// # Errors
    ///
    /// When the image can't be read or doesn't fit, the service refuses, nothing arrives for a long time, or `watch` ends
    /// it; and what of it is left behind.
    pub fn run(&self, source: &Source<'_>, watch: &mut dyn Watch) -> Result<Uploaded, Failure> {
        self.settings.check()?;
        let survey = source.survey(self.settings)?;
        let engine = Engine::new(self.settings.patience, self.settings.jobs, survey.blocks);
        watch.at(&engine.transfer())?;
        let (mut run, complete) = self.prepare(source, survey, &engine, watch)?;
        match run.transfer(source, watch, complete) {
            Ok(uploaded) => Ok(uploaded),
            Err(stop) => Err(run.fail(stop)),
        }
    }

    /// The snapshot, new or found in the journal, and whether the service has been told that it is complete.
    fn prepare<'r>(
        &'r self,
        source: &Source<'_>,
        survey: Survey,
        engine: &Engine,
        watch: &mut dyn Watch,
    ) -> Result<(Run<'r>, bool), Failure> {
        let header = self.header(source, survey);
        let mut journal = None;
        let mut replay = None;
        if let Some(path) = self.journal {
            let (open, found) = Journal::open(path)?;
            journal = Some(open);
            replay = found;
        }
        let mut token = None;
        let mut complete = false;
        if let Some(found) = replay.take() {
            let (same, its_token) = match found.header.split_once('\n') {
                Some((its_token, settings)) => (settings == header, its_token.to_owned()),
                None => (false, String::new()),
            };
            let state = match (&found.snapshot, self.snapshots) {
                (Some(id), Some(snapshots)) => snapshots.state(id)?,
                // Sending blocks will tell.
                (Some(_), None) if found.complete => Some(SnapshotState::Completed),
                (Some(_), None) => Some(SnapshotState::Pending),
                (None, _) => None,
            };
            match state {
                Some(SnapshotState::Completed) if same && found.complete => {
                    complete = true;
                    replay = Some(found);
                }
                Some(SnapshotState::Pending) if same => {
                    complete = found.complete;
                    replay = Some(found);
                }
                // What is there is of no use.
                Some(SnapshotState::Pending | SnapshotState::Error) => self.discard(&found)?,
                // The service may have started one, and we never heard.
                None if same && found.snapshot.is_none() => token = Some(its_token),
                _ => {}
            }
        }
        let (id, kept, complete) = match replay {
            Some(Replay { snapshot: Some(id), done, .. }) => {
                tracing::info!(snapshot = id, blocks = done.len(), "going on");
                (id, done, complete)
            }
            _ => {
                let token = token.unwrap_or_else(|| format!("lfs-image-{:016x}{:016x}", random(), random()));
                if let Some(journal) = &mut journal {
                    journal.begin(&format!("{token}\n{header}"))?;
                }
                let id = match self.start(survey, &token, engine, watch) {
                    Ok(id) => id,
                    Err(stop) => {
                        // Nothing was started, or nobody can tell: the token in the journal finds it again.
                        if let (Some(journal), false) = (journal, stop.curable) {
                            journal.remove()?;
                        }
                        return Err(stop.error.into());
                    }
                };
                engine.snapshot_is_new();
                if let Some(journal) = &mut journal
                    && let Err(error) = journal.snapshot(&id)
                {
                    let left =
                        Leftover { snapshot_id: id, region: self.aws.region().to_owned(), resumable: false };
                    return Err(Failure { error, left: Some(left) });
                }
                (id, BTreeMap::new(), false)
            }
        };
        let ledger = Ledger { kept, digests: BTreeMap::new(), journal };
        let run =
            Run { upload: self, id, survey, engine: engine.clone(), ledger: Arc::new(Mutex::new(ledger)) };
        Ok((run, complete))
    }

    /// What has to be the same for an upload to go on, as lines of text.
    fn header(&self, source: &Source<'_>, survey: Survey) -> String {
        let settings = self.settings;
        let mut lines = vec![
            format!("region {}", self.aws.region()),
            format!("endpoint {}", self.aws.config().endpoint_url().unwrap_or_default()),
            format!("image {:?} {:?} {}", self.identity, source.identity(), source.len()),
            format!("volume {} GiB, {} blocks", survey.volume_gib, survey.blocks),
            format!("omit zeros {}", settings.omit_zeros),
            format!("encryption {:?}", settings.encryption),
            format!("description {:?}", settings.description),
        ];
        lines.extend(settings.tags.iter().map(|(key, value)| format!("tag {key:?} {value:?}")));
        lines.join("\n")
    }

    /// Deletes a snapshot that an earlier upload began.
    fn discard(&self, found: &Replay) -> Result<(), Failure> {
        let Some(id) = &found.snapshot else { return Ok(()) };
        let left =
            || Leftover { snapshot_id: id.clone(), region: self.aws.region().to_owned(), resumable: false };
        let Some(snapshots) = self.snapshots else {
            let error = Error::input(format!(
                "the journal is that of an upload of another image, or with other settings, to {id}"
            ));
            return Err(Failure { error, left: Some(left()) });
        };
        snapshots.delete(id).map_err(|error| {
            let error = error.context(format!("delete {id}, which an earlier upload began"));
            Failure { error, left: Some(left()) }
        })
    }

    fn start(
        &self,
        survey: Survey,
        token: &str,
        engine: &Engine,
        watch: &mut dyn Watch,
    ) -> Result<String, Stop> {
        let settings = self.settings;
        let (encrypted, key) = match &settings.encryption {
            Encryption::Account => (None, None),
            Encryption::DefaultKey => (Some(true), None),
            Encryption::Key(arn) => (Some(true), Some(arn.clone())),
        };
        let tags: Vec<Tag> =
            settings.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let size =
            fit::<u32>(survey.volume_gib, "volume size").map_err(|error| Stop { error, curable: false })?;
        let request = self
            .aws
            .ebs()
            .start_snapshot()
            .volume_size(size.into())
            .client_token(token)
            .timeout(TIMEOUT_MINUTES)
            .set_description(Some(settings.description.clone()).filter(|text| !text.is_empty()))
            .set_tags(Some(tags).filter(|tags| !tags.is_empty()))
            .set_encrypted(encrypted)
            .set_kms_key_arn(key);
        let call = Call::StartSnapshot;
        let region = self.aws.region();
        let answer = self.wait(
            engine,
            watch,
            engine.call(call, || {
                let request = request.clone();
                async move { request.send().await.map_err(|e| Fault::of(call, region, e)) }
            }),
        )??;
        // Other sizes than the only one that the service has are a test server's.
        if let Some(size) = answer.block_size()
            && usize::try_from(size) != Ok(BLOCK_BYTES)
        {
            tracing::warn!(size, "the service says it has blocks of another size than {BLOCK_BYTES} bytes");
        }
        let id = answer.snapshot_id.filter(|id| !id.is_empty());
        id.ok_or_else(|| Stop {
            error: Error::new(ErrorKind::Remote, "StartSnapshot: the answer has no snapshot id"),
            curable: true,
        })
    }

    /// Waits for a request, with a look at the watch now and then.
    fn wait<T>(
        &self,
        engine: &Engine,
        watch: &mut dyn Watch,
        request: impl Future<Output = T>,
    ) -> Result<T, Stop> {
        let mut request = std::pin::pin!(request);
        loop {
            if let Ok(value) = self.aws.block_on(async { tokio::time::timeout(LOOK, &mut request).await }) {
                return Ok(value);
            }
            watch.at(&engine.transfer()).map_err(|error| Stop { error, curable: true })?;
        }
    }
}

/// Why an upload stops.
#[derive(Debug)]
struct Stop {
    error: Error,
    /// Whether going on later makes sense.
    curable: bool,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self { curable: fault.curable, error: fault.into_error() }
    }
}

/// An upload under way.
struct Run<'a> {
    upload: &'a Upload<'a>,
    id: String,
    survey: Survey,
    engine: Engine,
    ledger: Arc<Mutex<Ledger>>,
}

/// What of the blocks is known.
#[derive(Debug)]
struct Ledger {
    /// What earlier runs sent, until this one meets it.
    kept: BTreeMap<u32, Digest>,
    /// What is in the snapshot.
    digests: BTreeMap<u32, Digest>,
    journal: Option<Journal>,
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run<'_> {
    fn transfer(
        &mut self,
        source: &Source<'_>,
        watch: &mut dyn Watch,
        complete: bool,
    ) -> Result<Uploaded, Stop> {
        self.engine.phase(Phase::Blocks);
        let (sender, blocks) = mpsc::channel(AHEAD);
        let syncer = lock(&self.ledger).journal.as_ref().map(Journal::syncer).transpose();
        let syncer = syncer.map_err(|error| Stop { error, curable: true })?;
        let sending = Sending {
            client: self.upload.aws.ebs().clone(),
            region: self.upload.aws.region().to_owned(),
            id: self.id.clone(),
            engine: self.engine.clone(),
            ledger: Arc::clone(&self.ledger),
            complete,
        };
        let task = self.upload.aws.spawn(sending.all(blocks));
        let syncing = syncer.map(|file| self.upload.aws.spawn(sync_now_and_then(file)));
        let result = self.feed(source, watch, sender, task);
        if let Some(syncing) = syncing {
            syncing.abort();
        }
        result?;
        {
            let ledger = lock(&self.ledger);
            if let Some(block) = ledger.kept.keys().next() {
                return Err(Stop { error: changed(*block), curable: false });
            }
        }
        self.engine.phase(Phase::Complete);
        let digests = lock(&self.ledger).digests.clone();
        if !complete && let Some(journal) = &mut lock(&self.ledger).journal {
            journal.complete().map_err(|error| Stop { error, curable: true })?;
        }
        self.complete(&digests, watch, complete)?;
        let mut fingerprint = Fingerprint::new(self.survey.volume_gib);
        for (block, digest) in &digests {
            fingerprint.block(*block, digest);
        }
        let transfer = self.engine.transfer();
        Ok(Uploaded {
            snapshot_id: self.id.clone(),
            volume_gib: self.survey.volume_gib,
            blocks: digests.len() as u64,
            kept: transfer.kept,
            retries: transfer.retries,
            fingerprint: fingerprint.finish(),
            digests: Digests(digests),
            journal: self.upload.journal.map(Path::to_owned),
        })
    }

    /// Walks the image, and waits until all of it is sent.
    fn feed(
        &self,
        source: &Source<'_>,
        watch: &mut dyn Watch,
        sender: mpsc::Sender<(u32, Body)>,
        mut task: JoinHandle<Result<(), Stop>>,
    ) -> Result<(), Stop> {
        let (aws, engine) = (self.upload.aws, &self.engine);
        let closed = Cell::new(false);
        let conveyor =
            Conveyor { aws, engine, sender, watch: &mut *watch, looked: Instant::now(), closed: &closed };
        let feed = Feed::new(conveyor, Pool::default(), self.upload.settings.omit_zeros);
        // When the conveyor is dropped the channel closes.
        let walked = source.write(feed, self.survey.volume_gib).map(drop);
        let result = match walked {
            Ok(()) => self.upload.wait(engine, watch, &mut task),
            // The channel is closed from the other side when sending has failed.
            Err(_) if closed.get() => Ok(aws.block_on(&mut task)),
            Err(error) => Err(Stop { error, curable: true }),
        };
        task.abort();
        result?.unwrap_or_else(|error| Err(bug(&error)))
    }

    /// Tells the service that this is all.
    fn complete(
        &self,
        digests: &BTreeMap<u32, Digest>,
        watch: &mut dyn Watch,
        again: bool,
    ) -> Result<(), Stop> {
        let mut aggregate = Sha256::new();
        digests.values().for_each(|digest| aggregate.update(digest));
        let count = i32::try_from(digests.len()).map_err(|_| Stop {
            error: Error::capacity("more blocks than a snapshot has"),
            curable: false,
        })?;
        let (aws, engine) = (self.upload.aws, &self.engine);
        let request = aws
            .ebs()
            .complete_snapshot()
            .snapshot_id(&self.id)
            .changed_blocks_count(count)
            .checksum(BASE64_STANDARD.encode(aggregate.finalize()))
            .checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256)
            .checksum_aggregation_method(ChecksumAggregationMethod::ChecksumAggregationLinear);
        let (call, region) = (Call::CompleteSnapshot, aws.region());
        let before = engine.transfer().retries;
        let answer = self.upload.wait(
            engine,
            watch,
            engine.call(call, || {
                let request = request.clone();
                async move { request.send().await.map_err(|e| Fault::of(call, region, e)) }
            }),
        )?;
        let Err(fault) = answer else { return Ok(()) };
        // It may have been told before, and nobody heard the answer.
        let again = again || engine.transfer().retries > before;
        if again && let Some(snapshots) = self.upload.snapshots {
            let state = snapshots.state(&self.id).map_err(|error| Stop { error, curable: true })?;
            if state == Some(SnapshotState::Completed) {
                return Ok(());
            }
        }
        Err(fault.into())
    }

    /// What becomes of the snapshot now that the upload stops.
    fn fail(&self, stop: Stop) -> Failure {
        let (journal, arrived) = {
            let mut ledger = lock(&self.ledger);
            (ledger.journal.take(), !ledger.digests.is_empty() || !ledger.kept.is_empty())
        };
        let left = |resumable| {
            let region = self.upload.aws.region().to_owned();
            Some(Leftover { snapshot_id: self.id.clone(), region, resumable })
        };
        if let (Some(journal), true, true) = (&journal, stop.curable, arrived) {
            if let Err(error) = journal.sync() {
                tracing::warn!(%error, "the journal may be incomplete");
            }
            return Failure { error: stop.error, left: left(true) };
        }
        if let Some(Err(error)) = journal.map(Journal::remove) {
            tracing::warn!(%error, "the journal is of no use any more");
        }
        match self.upload.snapshots.map(|snapshots| snapshots.delete(&self.id)) {
            Some(Ok(())) => Failure { error: stop.error, left: None },
            Some(Err(error)) => {
                tracing::warn!(%error, snapshot = self.id, "the snapshot can't be deleted");
                Failure { error: stop.error, left: left(false) }
            }
            None => Failure { error: stop.error, left: left(false) },
        }
    }
}

/// Takes blocks from the caller's thread to the runtime's.
struct Conveyor<'a> {
    aws: &'a Aws,
    engine: &'a Engine,
    sender: mpsc::Sender<(u32, Body)>,
    watch: &'a mut dyn Watch,
    looked: Instant,
    /// Set when nobody takes blocks any more.
    closed: &'a Cell<bool>,
}

impl Conveyor<'_> {
    fn look(&mut self) -> Result<()> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        self.watch.at(&self.engine.transfer())
    }
}

impl Take for Conveyor<'_> {
    fn block(&mut self, number: u32, body: Body) -> Result<()> {
        self.look()?;
        let mut block = (number, body);
        loop {
            block = match self.sender.try_send(block) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(block)) => block,
                Err(TrySendError::Closed(_)) => {
                    self.closed.set(true);
                    return Err(Error::internal("nobody sends blocks any more"));
                }
            };
            let room = self.sender.reserve();
            // Whether there is room now, or nobody takes any more, the next try tells.
            let _ = self.aws.block_on(async { tokio::time::timeout(LOOK, room).await.map(drop) });
            self.look()?;
        }
    }

    fn idle(&mut self) -> Result<()> {
        self.look()
    }
}

/// What it takes to send blocks.
struct Sending {
    client: aws_sdk_ebs::Client,
    region: String,
    id: String,
    engine: Engine,
    ledger: Arc<Mutex<Ledger>>,
    /// Whether there can be none left to send.
    complete: bool,
}

impl Sending {
    /// Sends all blocks that come. Dropped, it stops at once.
    async fn all(self, mut blocks: mpsc::Receiver<(u32, Body)>) -> Result<(), Stop> {
        let sending = Arc::new(self);
        let mut tasks = JoinSet::new();
        let mut open = true;
        while open || !tasks.is_empty() {
            let room = tasks.len() < sending.engine.limit() + AHEAD;
            tokio::select! {
                Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                    done.unwrap_or_else(|error| Err(bug(&error)))?;
                }
                block = blocks.recv(), if open && room => match block {
                    Some((number, body)) => {
                        let sending = Arc::clone(&sending);
                        tasks.spawn(async move { sending.one(number, body).await });
                    }
                    None => open = false,
                }
            }
        }
        Ok(())
    }

    async fn one(&self, number: u32, body: Body) -> Result<(), Stop> {
        // Many tasks, many cores.
        let digest = body.digest();
        let kept = lock(&self.ledger).kept.remove(&number);
        if kept.is_some_and(|kept| kept != digest) || (kept.is_none() && self.complete) {
            return Err(Stop { error: changed(number), curable: false });
        }
        if kept.is_some() {
            lock(&self.ledger).digests.insert(number, digest);
            self.engine.done(true);
            return Ok(());
        }
        let call = Call::PutSnapshotBlock;
        let index = i32::try_from(number).map_err(|_| Stop {
            error: Error::capacity(format!("block {number}: there are none so far out")),
            curable: false,
        })?;
        let checksum = BASE64_STANDARD.encode(digest);
        let bytes = body.bytes();
        drop(body);
        self.engine
            .call(call, || {
                let request = self
                    .client
                    .put_snapshot_block()
                    .snapshot_id(&self.id)
                    .block_index(index)
                    .data_length(BLOCK_LENGTH)
                    .checksum(&checksum)
                    .checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256)
                    .block_data(ByteStream::from(bytes.clone()));
                async move { request.send().await.map_err(|e| Fault::of(call, &self.region, e)) }
            })
            .await?;
        let mut ledger = lock(&self.ledger);
        ledger.digests.insert(number, digest);
        if let Some(journal) = &mut ledger.journal {
            journal.done(number, &digest).map_err(|error| Stop { error, curable: true })?;
        }
        drop(ledger);
        self.engine.done(false);
        Ok(())
    }
}

/// The image isn't what it was when the upload began.
fn changed(block: u32) -> Error {
    Error::input(format!(
        "the image has changed since the upload began: block {block} (byte {}) is not what was sent",
        u64::from(block) * BLOCK
    ))
}

fn bug(error: &JoinError) -> Stop {
    Stop { error: Error::internal(format!("a task ended early: {error}")), curable: true }
}

/// Makes acknowledged blocks survive a power loss, a second late.
async fn sync_now_and_then(file: File) {
    let file = Arc::new(file);
    loop {
        tokio::time::sleep(SYNC).await;
        let file = Arc::clone(&file);
        // What fails here fails again, loudly, when the journal is completed.
        let _ = tokio::task::spawn_blocking(move || file.sync_data()).await;
    }
}
