//! An upload under way, from its first block to its completion or its failure.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_ebs::types::{ChecksumAggregationMethod, ChecksumAlgorithm};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::SnapshotState;
use super::block::{Body, Digest, Pool};
use super::engine::{AHEAD, Engine, bug};
use super::fault::{Call, Fault, Stop};
use super::feed::Feed;
use super::journal::Journal;
use super::sending::{Conveyor, Sending, changed};
use super::source::{Fingerprint, Source, Survey};
use super::upload::{Digests, Failure, Leftover, Upload, Uploaded};
use super::watch::{Phase, Watch};
use crate::error::{Error, Result};

/// How often acknowledged blocks are made sure to survive a power loss.
const SYNC: Duration = Duration::from_secs(1);

/// An upload under way.
pub(super) struct Run<'a> {
    pub(super) upload: &'a Upload<'a>,
    pub(super) id: String,
    pub(super) survey: Survey,
    pub(super) engine: Engine,
    pub(super) ledger: Arc<Mutex<Ledger>>,
}

/// What of the blocks is known.
#[derive(Debug)]
pub(super) struct Ledger {
    /// What earlier runs sent, until this one meets it.
    pub(super) kept: BTreeMap<u32, Digest>,
    /// What is in the snapshot.
    pub(super) digests: BTreeMap<u32, Digest>,
    pub(super) journal: Option<Journal>,
}

pub(super) fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run<'_> {
    pub(super) fn transfer(
        &mut self,
        source: &Source<'_>,
        watch: &mut dyn Watch,
        complete: bool,
    ) -> Result<Uploaded, Stop> {
        self.engine.phase(Phase::Blocks);
        let (sender, blocks) = mpsc::channel(AHEAD);
        let syncer = lock(&self.ledger).journal.as_ref().map(Journal::syncer).transpose();
        let syncer = syncer.map_err(Stop::curable)?;
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
                return Err(Stop::for_good(changed(*block)));
            }
        }
        self.engine.phase(Phase::Complete);
        let digests = lock(&self.ledger).digests.clone();
        if !complete && let Some(journal) = &mut lock(&self.ledger).journal {
            journal.complete().map_err(Stop::curable)?;
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
            Ok(()) => self.upload.aws.wait(engine, watch, &mut task),
            // The channel is closed from the other side when sending has failed.
            Err(_) if closed.get() => Ok(aws.block_on(&mut task)),
            // What was sent is of an image that isn't there any more.
            Err(error) if !source.is_unchanged() => Err(Stop::for_good(error)),
            Err(error) => Err(Stop::curable(error)),
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
        let answer = self.upload.aws.wait(
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
            let state = snapshots.state(&self.id).map_err(Stop::curable)?;
            if state == Some(SnapshotState::Completed) {
                return Ok(());
            }
        }
        Err(fault.into())
    }

    /// What becomes of the snapshot now that the upload stops.
    pub(super) fn fail(&self, stop: Stop) -> Failure {
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
