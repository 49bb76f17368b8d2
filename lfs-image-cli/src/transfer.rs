//! Draws a transfer to or from AWS: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use lfs_image::Result;
use lfs_image::ami::Waiting;
use lfs_image::ebs::{BLOCK, Transfer, Watch};

use crate::interrupt::Interrupt;
use crate::size::{Count, Human};
use crate::ui::Ui;

/// Work that is done before this needs no bar.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often there is a line where there is no bar.
const LINE: Duration = Duration::from_secs(15);
/// A rate is of this much of the past at most.
const WINDOW: Duration = Duration::from_secs(20);

/// Blocks on their way.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    ui: Ui,
    interrupt: &'a Interrupt,
    word: &'static str,
    started: Instant,
    said: Instant,
    /// When how many blocks were done that this run did.
    past: Vec<(Instant, u64)>,
    bar: Option<ProgressBar>,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(ui: Ui, interrupt: &'a Interrupt, word: &'static str) -> Self {
        let now = Instant::now();
        Self { ui, interrupt, word, started: now, said: now, past: vec![(now, 0)], bar: None }
    }

    /// Bytes in a second, lately.
    fn rate(&mut self, done: u64, now: Instant) -> u64 {
        if self.past.last().is_none_or(|(at, _)| now.duration_since(*at) > Duration::from_millis(500)) {
            self.past.push((now, done));
        }
        while self.past.len() > 2 && now.duration_since(self.past[1].0) > WINDOW {
            self.past.remove(0);
        }
        let (at, before) = self.past[0];
        let millis = u64::try_from(now.duration_since(at).as_millis()).unwrap_or(u64::MAX).max(1);
        done.saturating_sub(before).saturating_mul(BLOCK).saturating_mul(1000) / millis
    }

    fn line(&mut self, transfer: &Transfer, now: Instant) {
        let Transfer { done, total, kept, .. } = *transfer;
        let rate = self.rate(done.saturating_sub(kept), now);
        let left = (total.saturating_sub(done)).saturating_mul(BLOCK).checked_div(rate);
        let left =
            left.map_or_else(|| "a standstill".to_owned(), |seconds| format!("{} left", time(seconds)));
        let percent = (done * 100).checked_div(total).unwrap_or(100);
        let (done, total, rate) = (Count(done), Count(total), Human(rate));
        self.ui.step(self.word, format_args!("{percent}%, {done} of {total} blocks, {rate}/s, {left}"));
    }
}

impl Watch for Meter<'_> {
    fn at(&mut self, transfer: &Transfer) -> Result<()> {
        self.interrupt.check()?;
        let now = Instant::now();
        if now.duration_since(self.started) < PATIENCE {
            return Ok(());
        }
        if !self.ui.draws() {
            if now.duration_since(self.said) >= LINE {
                self.said = now;
                self.line(transfer, now);
            }
            return Ok(());
        }
        let total = transfer.total.saturating_mul(BLOCK);
        let bar = self.bar.get_or_insert_with(|| {
            let bar = self.ui.bar(self.word, Some(total));
            // What an earlier run did says nothing of this one's pace.
            bar.set_position(transfer.kept.saturating_mul(BLOCK));
            bar.reset_eta();
            bar
        });
        bar.set_length(total);
        bar.set_position(transfer.done.saturating_mul(BLOCK));
        let (done, total) = (Count(transfer.done), Count(transfer.total));
        let slow = if transfer.throttled > 0 { ", throttled" } else { "" };
        bar.set_message(format!("  {done}/{total} blocks, {} at a time{slow}", transfer.in_flight));
        Ok(())
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Waits for the service, and says so.
pub(crate) fn wait<T>(
    ui: Ui,
    interrupt: &Interrupt,
    word: &'static str,
    work: impl FnOnce(&mut dyn FnMut(&Waiting<'_>) -> Result<()>) -> Result<T>,
) -> Result<T> {
    let mut bar: Option<ProgressBar> = None;
    let mut said = Instant::now();
    let outcome = work(&mut |waiting| {
        interrupt.check()?;
        let Waiting { id, region, state, progress, .. } = *waiting;
        let progress = progress.map(|progress| format!(", {progress}")).unwrap_or_default();
        let text = format!("{id} in {region}: {state}{progress}");
        if ui.draws() {
            bar.get_or_insert_with(|| ui.spinner(word)).set_message(text);
        } else if said.elapsed() >= LINE {
            said = Instant::now();
            ui.step(word, format_args!("{text}"));
        }
        Ok(())
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    outcome
}

/// A time in words: `3 min 20 s`.
pub(crate) fn time(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_words() {
        assert_eq!(time(99), "99 s");
        assert_eq!(time(200), "3 min 20 s");
        assert_eq!(time(7300), "2 h 1 min");
    }
}
