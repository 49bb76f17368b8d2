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
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::fault::{Call, Class, Fault, Stop};
use super::pace::{Bucket, Pace, Window};
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
    /// Those whose turn it is start one after the other.
    bucket: tokio::sync::Mutex<Bucket>,
    jitter: AtomicU64,
}

#[derive(Debug)]
struct Control {
    pace: Pace,
    window: Window,
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
                window: Window::default(),
                in_flight: 0,
                succeeded: Duration::ZERO,
                unknown_until: Duration::ZERO,
                transfer,
            }),
            turn: Notify::new(),
            bucket: tokio::sync::Mutex::default(),
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
        let mut turn = loop {
            let somebody = self.0.turn.notified();
            {
                let mut control = self.control();
                if control.in_flight < control.pace.limit() {
                    control.in_flight += 1;
                    break Turn { engine: self, started: false };
                }
                control.pace.waits();
            }
            somebody.await;
        };
        let mut bucket = self.0.bucket.lock().await;
        loop {
            let wait = {
                let (mut control, now) = (self.control(), self.now());
                let wait = bucket.wait(now).max(control.window.wait(now));
                if wait.is_zero() {
                    bucket.used(now);
                    control.window.started();
                    turn.started = true;
                }
                wait
            };
            if turn.started {
                break turn;
            }
            tokio::time::sleep(wait).await;
        }
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
struct Turn<'a> {
    engine: &'a Engine,
    /// Whether it is, or still waits for the rate.
    started: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let now = self.engine.now();
        let mut control = self.engine.control();
        control.in_flight -= 1;
        if self.started {
            control.window.ended(now);
        }
        drop(control);
        self.engine.0.turn.notify_waiters();
    }
}

/// A number that no other process has: the hash of nothing, under a key that the operating system made up.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Transfers so many blocks against a service that time is made up for: when each request started.
    ///
    /// The service answers as `answer` says, which is told a request's number.
    async fn transfer<F>(
        engine: &Engine,
        blocks: u64,
        answer: impl Fn(u64) -> F + Clone + Send + Sync + 'static,
    ) -> Result<Vec<Duration>, Stop>
    where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let began = Instant::now();
        let starts = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&starts);
        let sender = engine.clone();
        let work = move |_: u64| {
            let (engine, seen, answer) = (sender.clone(), Arc::clone(&seen), answer.clone());
            async move {
                let attempt = || {
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(began.elapsed());
                        seen.len() as u64
                    };
                    answer(number)
                };
                engine.call(Call::PutSnapshotBlock, attempt).await?;
                engine.done(false);
                Ok(())
            }
        };
        engine.each(Items::Here((0..blocks).collect()), work).await?;
        assert_eq!(engine.transfer().done, blocks);
        Ok(Arc::into_inner(starts).unwrap().into_inner().unwrap())
    }

    fn engine(jobs: Option<usize>, blocks: u64) -> Engine {
        Engine::new(Patience::default(), jobs, blocks)
    }

    /// The most requests that started within a second.
    fn most_in_a_second(starts: &[Duration]) -> usize {
        let within = |n: usize| starts[n..].partition_point(|t| *t < starts[n] + Duration::from_secs(1));
        (0..starts.len()).map(within).max().unwrap()
    }

    fn seconds(starts: &[Duration]) -> f64 {
        starts.last().unwrap().as_secs_f64()
    }

    /// However fast the service is, and however many requests may be under way; also when everything stood still for a while.
    #[tokio::test(start_paused = true)]
    async fn no_second_sees_a_thousand() {
        for jobs in [None, Some(256)] {
            let engine = engine(jobs, 8000);
            let starts = transfer(&engine, 8000, |n| async move {
                if n.is_multiple_of(1900) {
                    tokio::time::advance(Duration::from_millis(1700)).await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(())
            });
            let starts = starts.await.unwrap();
            let most = most_in_a_second(&starts);
            assert!((920..1000).contains(&most), "{most}");
        }
    }

    /// A service that takes 100 ms for each block is soon asked for as many as it takes.
    #[tokio::test(start_paused = true)]
    async fn a_service_far_away_is_kept_busy() {
        let engine = engine(None, 10_000);
        let starts = transfer(&engine, 10_000, |_| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(())
        });
        let starts = starts.await.unwrap();
        let most = most_in_a_second(&starts);
        assert!((920..1000).contains(&most), "{most}");
        // Two seconds to find out; then 940 in each.
        assert!(seconds(&starts) < 13.0, "{}", seconds(&starts));
        assert_eq!(engine.transfer().retries, 0);
    }

    /// One that takes 300 in a second is asked for about as many, and refuses few.
    #[tokio::test(start_paused = true)]
    async fn a_service_that_throttles_is_heard() {
        let engine = engine(None, 6000);
        let line = Arc::new(Mutex::new(VecDeque::new()));
        let starts = transfer(&engine, 6000, move |_| {
            let line = Arc::clone(&line);
            async move {
                tokio::time::sleep(Duration::from_millis(30)).await;
                let now = Instant::now();
                let taken = {
                    let mut line = line.lock().unwrap();
                    line.retain(|at| *at + Duration::from_secs(1) > now);
                    line.push_back(now);
                    line.len()
                };
                if taken > 300 {
                    return Err(Fault { class: Class::Throttled, ..Fault::passing("throttled") });
                }
                Ok(())
            }
        });
        let starts = starts.await.unwrap();
        let refused = engine.transfer().throttled;
        assert!(refused > 0 && refused < 3000, "{refused} of {}", starts.len());
        assert!((20.0..60.0).contains(&seconds(&starts)), "{}", seconds(&starts));
    }

    /// 10 Mbit/s: nothing is given up and sent again, however long a block takes.
    #[tokio::test(start_paused = true)]
    async fn a_slow_line_takes_its_time() {
        let engine = engine(None, 300);
        let free = Arc::new(Mutex::new(Instant::now()));
        let starts = transfer(&engine, 300, move |_| {
            let through = {
                let mut free = free.lock().unwrap();
                *free = (*free).max(Instant::now()) + Duration::from_millis(420);
                *free
            };
            async move {
                tokio::time::sleep_until(through).await;
                Ok(())
            }
        });
        let starts = starts.await.unwrap();
        assert_eq!((starts.len(), engine.transfer().retries), (300, 0));
    }

    /// A new snapshot isn't known everywhere for up to two minutes; after that, it isn't there.
    #[tokio::test(start_paused = true)]
    async fn not_found_is_not_yet_for_two_minutes() {
        for (known_after, comes) in [(110, true), (200, false)] {
            let engine = engine(None, 20);
            engine.snapshot_is_new();
            let began = Instant::now();
            let outcome = transfer(&engine, 20, move |_| async move {
                if began.elapsed() < Duration::from_secs(known_after) {
                    return Err(Fault { class: Class::NotFound, ..Fault::passing("no such snapshot") });
                }
                Ok(())
            });
            assert_eq!(outcome.await.is_ok(), comes, "{known_after}");
            let took = began.elapsed().as_secs();
            assert!((110..130).contains(&took), "{took}");
        }
    }

    /// What refuses for good ends all of it at once.
    #[tokio::test(start_paused = true)]
    async fn what_is_final_is_final() {
        let engine = engine(None, 1000);
        let began = Instant::now();
        let outcome = transfer(&engine, 1000, |n| async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if n >= 100 {
                return Err(Fault { class: Class::Final, ..Fault::passing("denied") });
            }
            Ok(())
        });
        assert_eq!(outcome.await.unwrap_err().error.to_string(), "denied");
        assert!(engine.transfer().done < 100 && engine.transfer().retries == 0);
        assert!(began.elapsed() < Duration::from_secs(2));
    }
}
