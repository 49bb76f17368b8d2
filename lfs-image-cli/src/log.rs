//! The log of `-v`: to stderr, told what to say by RUST_LOG.

use std::str::FromStr as _;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::format::{FmtSpan, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::ui::Ui;

/// What was done takes its time, but when it was is nobody's concern.
struct NoClock;

impl FormatTime for NoClock {
    fn format_time(&self, _: &mut Writer<'_>) -> std::fmt::Result {
        Ok(())
    }
}

/// Starts the log, if there is to be one.
pub(crate) fn start(verbose: u8, ui: Ui) {
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.is_empty());
    let level = match verbose {
        0 if wanted.is_none() => return,
        0 | 1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let ours = || Targets::new().with_targets([("lfs_image", level), ("lfs_image_cli", level)]);
    let targets = match wanted.as_deref().map(Targets::from_str) {
        None => ours(),
        Some(Ok(targets)) => targets,
        Some(Err(error)) => {
            ui.warn(format_args!("RUST_LOG: {error}"));
            ours()
        }
    };
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(anstream::stderr)
        .with_span_events(FmtSpan::CLOSE)
        .with_timer(NoClock);
    // Others log what they sign, session tokens and all, and which keys they found.
    let discreet = filter_fn(|of| *of.level() <= Level::WARN || of.target().starts_with("lfs_image"));
    // It is the first and only one.
    let _ = tracing_subscriber::registry().with(layer).with(targets).with(discreet).try_init();
}
