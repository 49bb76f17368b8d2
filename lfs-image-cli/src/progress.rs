//! A bar on a terminal, and the way out on Ctrl-C.

use std::sync::atomic::{AtomicU8, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lfs_image::{Error, ErrorKind, Progress, Result, Stage};

use crate::ui::Ui;

/// Exit code after Ctrl-C or SIGTERM.
pub(crate) const INTERRUPTED: u8 = 130;

static INTERRUPTS: AtomicU8 = AtomicU8::new(0);

/// The first signal ends the walk, which removes what it made; the second ends the process.
pub(crate) fn catch_interrupts() {
    // Without a handler the signal simply kills, which leaves nothing behind where the kernel has O_TMPFILE.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTS.fetch_add(1, Ordering::Relaxed) > 0 {
            std::process::exit(INTERRUPTED.into());
        }
    });
}

/// Shows how far the walk is, and ends it when asked to.
pub(crate) struct Bar {
    bar: ProgressBar,
    stage: Option<Stage>,
}

impl Bar {
    pub(crate) fn new(ui: &Ui) -> Self {
        let target = if ui.shows_progress() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self { bar: ProgressBar::with_draw_target(None, target), stage: None }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn at(&mut self, stage: Stage, done: u64, total: Option<u64>) -> Result<()> {
        if INTERRUPTS.load(Ordering::Relaxed) > 0 {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        if self.bar.is_hidden() {
            return Ok(());
        }
        if self.stage != Some(stage) {
            self.stage = Some(stage);
            self.bar.reset();
            let verb = match stage {
                Stage::Read => "read ",
                _ => "write",
            };
            let template = if total.is_some() {
                "  {prefix} {bar:30} {binary_bytes:>11}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"
            } else {
                "  {prefix} {spinner} {binary_bytes:>11} {binary_bytes_per_sec}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
            self.bar.set_prefix(verb);
        }
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
        Ok(())
    }
}
