//! Blocks on their way from the caller's thread to the service.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use aws_sdk_ebs::primitives::ByteStream;
use aws_sdk_ebs::types::ChecksumAlgorithm;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::block::Body;
use super::client::{Aws, LOOK};
use super::engine::{Engine, Items};
use super::fault::{Call, Fault, Stop};
use super::feed::Take;
use super::run::{Ledger, lock};
use super::settings::BLOCK;
use super::watch::Watch;
use crate::error::{Error, Result};

/// [`BLOCK`] as the service has it.
const BLOCK_LENGTH: i32 = 512 << 10;
const _: () = assert!(BLOCK_LENGTH as u64 == BLOCK);

/// Takes blocks from the caller's thread to the runtime's.
pub(super) struct Conveyor<'a> {
    pub(super) aws: &'a Aws,
    pub(super) engine: &'a Engine,
    pub(super) sender: mpsc::Sender<(u32, Body)>,
    pub(super) watch: &'a mut dyn Watch,
    pub(super) looked: Instant,
    /// Set when nobody takes blocks any more.
    pub(super) closed: &'a Cell<bool>,
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
pub(super) struct Sending {
    pub(super) client: aws_sdk_ebs::Client,
    pub(super) region: String,
    pub(super) id: String,
    pub(super) engine: Engine,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Whether there can be none left to send.
    pub(super) complete: bool,
}

impl Sending {
    /// Sends all blocks that come. Dropped, it stops at once.
    pub(super) async fn all(self, blocks: mpsc::Receiver<(u32, Body)>) -> Result<(), Stop> {
        let sending = Arc::new(self);
        let engine = sending.engine.clone();
        engine
            .each(Items::Coming(blocks), |(number, body)| {
                let sending = Arc::clone(&sending);
                async move { sending.one(number, body).await }
            })
            .await
    }

    async fn one(&self, number: u32, body: Body) -> Result<(), Stop> {
        // Many tasks, many cores.
        let digest = body.digest();
        let kept = lock(&self.ledger).kept.remove(&number);
        if kept.is_some_and(|kept| kept != digest) || (kept.is_none() && self.complete) {
            return Err(Stop::for_good(changed(number)));
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
            journal.done(number, &digest).map_err(Stop::curable)?;
        }
        drop(ledger);
        self.engine.done(false);
        Ok(())
    }
}

/// The image isn't what it was when the upload began.
pub(super) fn changed(block: u32) -> Error {
    Error::input(format!(
        "the image has changed since the upload began: block {block} (byte {}) is not what was sent",
        u64::from(block) * BLOCK
    ))
}
