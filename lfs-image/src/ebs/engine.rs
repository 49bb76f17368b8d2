//! Makes requests until they succeed, at a pace that the service and the line can take.
//!
//! Nothing bounds how long a block may take on a slow line. An attempt is given up when it takes much longer than others do
//! these days, and the transfer when nothing at all has succeeded for a long time.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher as _;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};

use super::fault::{Call, Class, Fault, Stop};
use super::pace::{Bucket, Pace};
use super::settings::Patience;
use super::watch::{Phase, Transfer};
use crate::error::Error;

/// What the requests of a transfer share.
#[derive(Clone, Debug)]
pub(super) struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Instant,
    patience: Patience,
    control: Mutex<Control>,
    /// Somebody's turn may have come.
    turn: Notify,
    jitter: AtomicU64,
}

#[derive(Debug)]
struct Control {
    pace: Pace,
    bucket: Bucket,
    in_flight: usize,
    /// When something last succeeded.
    succeeded: Duration,
    /// Until then a snapshot may not be known yet.
    unknown_until: Duration,
    transfer: Transfer,
}

/// Blocks that wait for a request, beside those under way.
pub(super) const AHEAD: usize = 4;
/// The first wait after a fault; it doubles from there.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// The longest wait for a snapshot that isn't known yet.
const UNKNOWN_WAIT: Duration = Duration::from_secs(4);
/// Answers that take so many times as long as usual don't come.
const UNUSUAL: u32 = 4;

impl Engine {
    pub(super) fn new(patience: Patience, jobs: Option<usize>, total: u64) -> Self {
        let transfer = Transfer { total, ..Transfer::default() };
        Self(Arc::new(Shared {
            clock: Instant::now(),
            patience,
            control: Mutex::new(Control {
                pace: Pace::new(jobs),
                bucket: Bucket::default(),
                in_flight: 0,
                succeeded: Duration::ZERO,
                unknown_until: Duration::ZERO,
                transfer,
            }),
            turn: Notify::new(),
            jitter: AtomicU64::new(random()),
        }))
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.0.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.0.clock.elapsed()
    }

    /// How far the transfer is.
    pub(super) fn transfer(&self) -> Transfer {
        let control = self.control();
        Transfer { in_flight: control.in_flight as u64, ..control.transfer.clone() }
    }

    /// Another part of the transfer begins.
    pub(super) fn phase(&self, phase: Phase) {
        self.control().transfer.phase = phase;
    }

    /// A block is done; `kept` if an earlier run did it.
    pub(super) fn done(&self, kept: bool) {
        let mut control = self.control();
        control.transfer.done += 1;
        control.transfer.kept += u64::from(kept);
    }

    /// There are so many blocks to transfer.
    pub(super) fn total(&self, blocks: u64) {
        self.control().transfer.total = blocks;
    }

    /// How many requests there may be at a time.
    fn limit(&self) -> usize {
        self.control().pace.limit()
    }

    /// The snapshot is new: for a while the service may not know it.
    pub(super) fn snapshot_is_new(&self) {
        self.control().unknown_until = self.now() + self.0.patience.not_found;
    }

    /// Calls until it succeeds or can't. Calls for blocks wait for their turn.
    pub(super) async fn call<T, F>(&self, call: Call, mut attempt: impl FnMut() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let began = self.now();
        let mut tries = 0;
        loop {
            let is_block = matches!(call, Call::PutSnapshotBlock | Call::GetSnapshotBlock);
            let turn = if is_block { Some(self.turn().await) } else { None };
            let made = self.now();
            let result = self.attempt(call, tries, attempt()).await;
            drop(turn);
            let fault = match result {
                Ok(value) => {
                    self.succeeded(made, is_block);
                    return Ok(value);
                }
                Err(fault) => fault,
            };
            let wait = self.after(fault, began, made, tries)?;
            tries += 1;
            tokio::time::sleep(wait).await;
        }
    }

    /// Works on each item, on as many at a time as there may be requests. The first error ends it; dropped, it stops at
    /// once.
    pub(super) async fn each<T, F>(&self, mut items: Items<T>, work: impl Fn(T) -> F) -> Result<(), Stop>
    where
        F: Future<Output = Result<(), Stop>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        let mut more = true;
        while more || !tasks.is_empty() {
            let room = tasks.len() < self.limit() + AHEAD;
            tokio::select! {
                Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                    done.unwrap_or_else(|error| Err(bug(&error)))?;
                }
                item = items.next(), if more && room => match item {
                    Some(item) => {
                        tasks.spawn(work(item));
                    }
                    None => more = false,
                }
            }
        }
        Ok(())
    }

    async fn turn(&self) -> Turn<'_> {
        let turn = loop {
            let somebody = self.0.turn.notified();
            {
                let mut control = self.control();
                if control.in_flight < control.pace.limit() {
                    control.in_flight += 1;
                    break Turn(self);
                }
                control.pace.waits();
            }
            somebody.await;
        };
        let wait = self.control().bucket.take(self.now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        turn
    }

    /// One attempt, for as long as it may take.
    async fn attempt<T>(
        &self,
        call: Call,
        tries: u32,
        attempt: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let began = Instant::now();
        let mut attempt = pin!(attempt);
        loop {
            // What is usual may change meanwhile.
            let may_take = self.may_take(tries);
            let left = may_take.saturating_sub(began.elapsed());
            if left.is_zero() {
                let took = began.elapsed().as_secs();
                return Err(Fault::passing(format!("{}: no answer for {took} s", call.name())));
            }
            tokio::select! {
                result = &mut attempt => return result,
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// How long an attempt may take.
    fn may_take(&self, tries: u32) -> Duration {
        let stall = self.0.patience.stall;
        let least = match self.control().pace.latency() {
            Some(usual) => stall.max(usual * UNUSUAL),
            // Nobody knows yet how slow the line is.
            None => stall * 3,
        };
        least * 2_u32.pow(tries.min(4))
    }

    fn succeeded(&self, made: Duration, is_block: bool) {
        let now = self.now();
        let mut control = self.control();
        control.succeeded = now;
        control.transfer.trouble = None;
        if is_block {
            let before = control.pace.limit();
            control.pace.answered(made, now);
            if control.pace.limit() > before {
                self.0.turn.notify_waiters();
            }
        }
    }

    /// What comes after a fault: a wait, or the end.
    fn after(&self, fault: Fault, began: Duration, made: Duration, tries: u32) -> Result<Duration, Fault> {
        let now = self.now();
        let mut control = self.control();
        let longest = match fault.class {
            Class::Final => return Err(fault),
            Class::NotFound if now >= control.unknown_until => return Err(fault),
            Class::NotFound => UNKNOWN_WAIT,
            Class::Throttled => {
                control.transfer.throttled += 1;
                control.pace.refused(made, now);
                LONGEST_WAIT
            }
            Class::Passing => {
                // An answer that doesn't come may mean that too many are waited for.
                if now.saturating_sub(made) >= self.0.patience.stall {
                    control.pace.refused(made, now);
                }
                LONGEST_WAIT
            }
        };
        let idle = now.saturating_sub(began.max(control.succeeded));
        if idle >= self.0.patience.give_up {
            let message = format!("nothing has succeeded for {} s: {}", idle.as_secs(), fault.message);
            return Err(Fault { message, ..fault });
        }
        control.transfer.retries += 1;
        control.transfer.trouble = Some(match &fault.said {
            Some(said) => format!("{}: {said}", fault.message),
            None => fault.message,
        });
        let wait = (FIRST_WAIT * 2_u32.pow(tries.min(10))).min(longest);
        // Half of it is up to chance, so that what failed together doesn't come again together.
        Ok(wait / 2 + (wait / 2).mul_f64(self.chance()))
    }

    /// A number from 0 to 1. (SplitMix64.)
    fn chance(&self) -> f64 {
        let mut n = self.0.jitter.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(crate::raw::num::hi32(n ^ (n >> 31))) / f64::from(u32::MAX)
    }
}

/// What there is to work on.
pub(super) enum Items<T> {
    /// It comes from another thread.
    Coming(mpsc::Receiver<T>),
    /// It is all here.
    Here(VecDeque<T>),
}

impl<T> Items<T> {
    async fn next(&mut self) -> Option<T> {
        match self {
            Self::Coming(channel) => channel.recv().await,
            Self::Here(items) => items.pop_front(),
        }
    }
}

/// A task that is gone.
pub(super) fn bug(error: &JoinError) -> Stop {
    Stop::curable(Error::internal(format!("a task ended early: {error}")))
}

/// The right to have a request under way.
struct Turn<'a>(&'a Engine);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.control().in_flight -= 1;
        self.0.0.turn.notify_waiters();
    }
}

/// A number that no other process has: the hash of nothing, under a key that the operating system made up.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
