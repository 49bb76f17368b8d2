//! How many requests at a time, and how many in a second.
//!
//! More requests are tried as long as that brings more answers: twice as many at first, a quarter more later, now and then.
//! What brings nothing is taken back. A service that asks for a slower pace, or an answer that doesn't come, halves
//! the number. A line of 10 Mbit/s is thus left with the few requests that fill it, and a fast one gets a
//! hundred.
//!
//! Nothing here looks at a clock: callers say what time it is.

use std::collections::VecDeque;
use std::time::Duration;

/// How many requests to begin with: on a line of half a Mbit/s, these are through in a minute.
const START: usize = 8;
/// The most requests, whoever asks for more: each one holds a block.
const MOST: usize = 256;
/// The most unless somebody asks for more: at 100 ms each it takes 100 to reach the service's limit.
const MOST_BY_DEFAULT: usize = 128;
/// Shorter rounds measure noise.
const ROUND: Duration = Duration::from_millis(200);
/// Rounds between two tries of more requests.
const HOLD: u32 = 3;

/// The number of requests at a time.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    limit: usize,
    cap: usize,
    mode: Mode,
    round: Round,
    /// When the limit was halved last.
    halved: Option<Duration>,
    /// How long answers take, smoothed.
    latency: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Twice as many each round; `before` is what half as many achieved.
    Doubling { before: Option<f64> },
    /// As many as there are, for so many rounds yet.
    Holding { rounds: u32 },
    /// Trying more than `from`, which achieved `before`.
    Probing { from: usize, before: f64 },
}

/// Answers since a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    began: Duration,
    answers: usize,
    /// Whether a request had to wait for its turn: only then does the limit matter.
    full: bool,
}

impl Pace {
    /// At most so many requests at a time.
    pub(super) fn new(jobs: Option<usize>) -> Self {
        let cap = jobs.unwrap_or(MOST_BY_DEFAULT).clamp(1, MOST);
        Self {
            limit: START.min(cap),
            cap,
            mode: Mode::Doubling { before: None },
            round: Round::default(),
            halved: None,
            latency: None,
        }
    }

    /// How many requests there may be.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How long answers take.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// A request has to wait for its turn.
    pub(super) fn waits(&mut self) {
        self.round.full = true;
    }

    /// At `now` comes the answer to a request that was made at `made`.
    pub(super) fn answered(&mut self, made: Duration, now: Duration) {
        let took = now.saturating_sub(made);
        self.latency = Some(self.latency.map_or(took, |usual| (usual * 7 + took) / 8));
        self.round.answers += 1;
        let length = now.saturating_sub(self.round.began);
        if self.round.answers < 2 * self.limit || length < ROUND {
            return;
        }
        // A number of requests, far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let rate = self.round.answers as f64 / length.as_secs_f64();
        if self.round.full {
            self.judge(rate);
        }
        self.round = Round { began: now, answers: 0, full: false };
    }

    /// A round with the present limit achieved `rate`.
    fn judge(&mut self, rate: f64) {
        self.mode = match self.mode {
            Mode::Doubling { before } if before.is_none_or(|before| rate > before * 1.2) => {
                if self.limit == self.cap {
                    Mode::Holding { rounds: HOLD }
                } else {
                    self.limit = self.cap.min(self.limit * 2);
                    Mode::Doubling { before: Some(rate) }
                }
            }
            Mode::Doubling { .. } => {
                self.limit = (self.limit / 2).max(1);
                Mode::Holding { rounds: HOLD }
            }
            Mode::Holding { rounds: 0 } if self.limit < self.cap => self.probe(rate),
            Mode::Holding { rounds } => Mode::Holding { rounds: rounds.saturating_sub(1) },
            Mode::Probing { before, .. } if rate > before * 1.06 => {
                if self.limit == self.cap {
                    Mode::Holding { rounds: HOLD }
                } else {
                    self.probe(rate)
                }
            }
            Mode::Probing { from, .. } => {
                self.limit = from;
                Mode::Holding { rounds: HOLD }
            }
        };
    }

    fn probe(&mut self, rate: f64) -> Mode {
        let from = self.limit;
        self.limit = self.cap.min(from + (from / 4).max(1));
        Mode::Probing { from, before: rate }
    }

    /// The request of `made` was refused for coming too fast, or got no answer. Those that were under way when that was
    /// last noticed say nothing new.
    pub(super) fn refused(&mut self, made: Duration, now: Duration) {
        if self.halved.is_some_and(|halved| made <= halved) {
            return;
        }
        self.halved = Some(now);
        self.limit = (self.limit / 2).max(1);
        self.mode = Mode::Holding { rounds: HOLD };
        self.round = Round { began: now, answers: 0, full: false };
    }
}

/// How many requests in a second: the service refuses more than 1000 for a snapshot, and counts refused ones too.
///
/// It is asked before each request and told after the wait, so that those which were waiting while nothing went on, on a machine
/// that slept, don't all start at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// When the bucket is full again.
    full_at: Duration,
}

impl Bucket {
    const RATE: u32 = 940;
    const BURST: u32 = 40;

    fn each() -> Duration {
        Duration::from_secs(1) / Self::RATE
    }

    /// How long a request has to wait that would start at `now`.
    pub(super) fn wait(&self, now: Duration) -> Duration {
        self.full_at.saturating_sub(now).saturating_sub(Self::each() * (Self::BURST - 1))
    }

    /// One starts at `now`.
    pub(super) fn used(&mut self, now: Duration) {
        self.full_at = self.full_at.max(now) + Self::each();
    }
}

/// The requests that the service may see within one second of each other.
///
/// When one reaches the service nobody here can tell: some time between its start and its end. Where a line or a machine stops for a
/// moment, all that are under way may come at once, beside those of the second before. So each counts from its start until a
/// second after its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    under_way: usize,
    /// When those of the last second ended.
    ended: VecDeque<Duration>,
}

impl Window {
    const MOST: usize = 990;
    const SECOND: Duration = Duration::from_secs(1);

    /// How long a request has to wait that would start at `now`.
    pub(super) fn wait(&mut self, now: Duration) -> Duration {
        while self.ended.front().is_some_and(|ended| *ended + Self::SECOND <= now) {
            self.ended.pop_front();
        }
        let is_full = self.under_way + self.ended.len() >= Self::MOST;
        // Of those under way alone there are never so many.
        let first = self.ended.front().filter(|_| is_full);
        first.map_or(Duration::ZERO, |ended| (*ended + Self::SECOND).saturating_sub(now))
    }

    /// One starts.
    pub(super) fn started(&mut self) {
        self.under_way += 1;
    }

    /// One that started ends at `now`, with an answer or without.
    pub(super) fn ended(&mut self, now: Duration) {
        self.under_way -= 1;
        self.ended.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Runs a transfer of `seconds` over a line that takes `latency` and at most `rate` requests a second: the limit after each
    /// answer.
    fn run(pace: &mut Pace, seconds: u64, latency: Duration, rate: u32) -> Vec<usize> {
        let each = Duration::from_secs(1) / rate;
        let (mut now, mut free, mut serial) = (Duration::ZERO, Duration::ZERO, 0_u32);
        let mut under_way = BTreeSet::new();
        let mut limits = Vec::new();
        while now < Duration::from_secs(seconds) {
            while under_way.len() < pace.limit() {
                free = free.max(now) + each;
                under_way.insert((free.max(now + latency), serial, now));
                serial += 1;
            }
            pace.waits();
            let (answer, _, made) = under_way.pop_first().unwrap();
            now = answer;
            pace.answered(made, now);
            limits.push(pace.limit());
        }
        limits
    }

    #[test]
    fn a_fast_line_gets_more_and_more() {
        let mut pace = Pace::new(None);
        assert_eq!(pace.limit(), 8);
        let limits = run(&mut pace, 5, Duration::from_millis(100), 100_000);
        assert_eq!(pace.limit(), 128);
        assert!(limits.iter().position(|limit| *limit == 128).unwrap() < 400, "too late");
        let mut pace = Pace::new(Some(20));
        run(&mut pace, 5, Duration::from_millis(100), 100_000);
        assert_eq!(pace.limit(), 20);
        assert_eq!(Pace::new(Some(0)).limit(), 1);
        assert_eq!(Pace::new(Some(10_000)).cap, 256);
    }

    /// 10 Mbit/s: 2.4 blocks a second.
    #[test]
    fn a_slow_line_keeps_few() {
        let mut pace = Pace::new(None);
        let limits = run(&mut pace, 600, Duration::from_millis(50), 2);
        assert!(*limits.iter().max().unwrap() <= 16, "{limits:?}");
        assert!(pace.latency().unwrap() < Duration::from_secs(10));
    }

    /// The limit settles near what fills the line: 300 requests a second at 100 ms are 30.
    #[test]
    fn a_line_is_filled_and_no_more() {
        let mut pace = Pace::new(None);
        run(&mut pace, 120, Duration::from_millis(100), 300);
        assert!((24..=64).contains(&pace.limit()), "{}", pace.limit());
    }

    #[test]
    fn refusals_halve_once_for_all_that_were_under_way() {
        let mut pace = Pace::new(None);
        run(&mut pace, 5, Duration::from_millis(100), 100_000);
        let at = Duration::from_secs;
        pace.refused(at(9), at(10));
        assert_eq!(pace.limit(), 64);
        pace.refused(at(9), at(11));
        pace.refused(at(10), at(12));
        assert_eq!(pace.limit(), 64);
        pace.refused(at(11), at(12));
        assert_eq!(pace.limit(), 32);
        for n in 13..30 {
            pace.refused(at(n), at(n));
        }
        assert_eq!(pace.limit(), 1);
    }

    /// Without a request that waits, more answers may as well come from a source that got faster.
    #[test]
    fn a_slow_source_changes_nothing() {
        let mut pace = Pace::new(None);
        for n in 0..1000 {
            let now = Duration::from_millis(50 * n);
            pace.answered(now, now + Duration::from_millis(40));
        }
        assert_eq!(pace.limit(), 8);
    }

    #[test]
    fn no_second_sees_a_thousand() {
        let mut bucket = Bucket::default();
        let mut now = Duration::ZERO;
        let mut used = Vec::new();
        for n in 0..5000 {
            // The source stops for a while.
            if n == 2000 {
                now += Duration::from_secs(10);
            }
            now += bucket.wait(now);
            bucket.used(now);
            used.push(now);
        }
        for (n, at) in used.iter().enumerate() {
            let within = used[n..].iter().take_while(|other| **other < *at + Duration::from_secs(1)).count();
            assert!(within < 1000, "{within} in the second after {at:?}");
        }
        let whole = (used[1999] - used[0]).as_secs_f64();
        assert!((2.0..2.2).contains(&whole), "{whole}");
    }
    /// Transfers 20,000 over a line that stops now and then for 130 ms, at the end of which all that are under way arrive at once: the
    /// most that arrive in a second, and how long it takes.
    fn over_a_line_that_stops(mut window: Option<Window>) -> (usize, f64) {
        const STOP: u128 = 130;
        let (mut bucket, mut now) = (Bucket::default(), Duration::ZERO);
        let (mut under_way, mut arrived) = (0, Vec::new());
        for _ in 0..20_000 {
            loop {
                let phase = now.as_millis() % 2500;
                if phase >= STOP {
                    for _ in 0..std::mem::take(&mut under_way) {
                        arrived.push(now);
                        if let Some(window) = &mut window {
                            window.ended(now);
                        }
                    }
                }
                let wait = window.as_mut().map_or(Duration::ZERO, |window| window.wait(now));
                let wait = wait.max(bucket.wait(now));
                if wait.is_zero() && under_way < MOST_BY_DEFAULT {
                    break;
                }
                now += wait.clamp(Duration::from_micros(10), Duration::from_millis(1));
            }
            bucket.used(now);
            under_way += 1;
            if let Some(window) = &mut window {
                window.started();
            }
        }
        let within = |n: usize| {
            let end = arrived[n] + Duration::from_secs(1);
            arrived[n..].iter().take_while(|at| **at < end).count()
        };
        ((0..arrived.len()).map(within).max().unwrap(), now.as_secs_f64())
    }

    #[test]
    fn no_second_sees_more_however_late_they_arrive() {
        let (most, without) = over_a_line_that_stops(None);
        assert!(most > 1000, "{most}: this shows nothing");
        let (most, seconds) = over_a_line_that_stops(Some(Window::default()));
        assert!((900..1000).contains(&most), "{most}");
        assert!(seconds < without * 1.05, "{seconds} s, {without} s without");
    }
}
