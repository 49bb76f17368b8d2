//! All that a person or a script sees goes through here: results to stdout, everything else to stderr.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lfs_image::{Error, Result};
use serde::Serialize;

use crate::cli::Global;
use crate::failure::{Failure, STDOUT, chain};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();
const BOLD: Style = Style::new().bold();

/// Where words go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    /// Whether to say what is done.
    talks: bool,
    /// Whether to draw.
    draws: bool,
    /// Whether results are JSON.
    pub(crate) json: bool,
}

impl Ui {
    pub(crate) fn new(global: Global) -> Self {
        let json = global.json;
        let talks = !global.quiet && !json;
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        // A log and a bar would be in each other's way.
        let draws = talks && global.verbose == 0 && !dumb && std::io::stderr().is_terminal();
        Self { talks, draws, json }
    }

    /// What was done: a word for the step, and what came of it.
    pub(crate) fn step(self, word: &str, outcome: fmt::Arguments<'_>) {
        if self.talks {
            say(format_args!("  {BOLD}{word:<6}{BOLD:#} {outcome}"));
        }
    }

    /// Something a person should know of; JSON has a place of its own for it.
    pub(crate) fn warn(self, what: impl fmt::Display) {
        if self.talks {
            say(format_args!("{WARNING}warning:{WARNING:#} {what}"));
        }
    }

    /// Why it failed.
    pub(crate) fn failure(self, failure: &Failure) {
        for (n, message) in chain(&failure.error).iter().enumerate() {
            match n {
                0 => say(format_args!("{ERROR}error:{ERROR:#} {message}")),
                _ => say(format_args!("{BOLD}caused by:{BOLD:#} {message}")),
            }
        }
        if let Some(hint) = &failure.hint {
            say(format_args!("{HINT}hint:{HINT:#} {hint}"));
        }
        for left in &failure.left {
            say(format_args!("{HINT}left:{HINT:#} {left}"));
        }
    }

    /// A result.
    pub(crate) fn result(self, text: impl fmt::Display) -> Result<()> {
        self.bytes(text.to_string().as_bytes())
    }

    /// A result as JSON.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|e| Error::io("make JSON", std::io::Error::other(e)))?;
        text.push('\n');
        self.bytes(text.as_bytes())
    }

    /// A result that is what it is.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|e| Error::io(STDOUT, e))
    }

    /// Whether bars are drawn.
    pub(crate) fn draws(self) -> bool {
        self.draws
    }

    /// Something that takes its time and can't say how much.
    pub(crate) fn waiting(self, word: &'static str, what: &'static str) -> ProgressBar {
        self.spinner(word).with_message(what)
    }

    /// Something that takes its time, and is described by messages.
    pub(crate) fn spinner(self, word: &'static str) -> ProgressBar {
        if !self.draws {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("  {prefix:<6} {spinner} {msg}  {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10))
            .with_style(style)
            .with_prefix(word);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// A bar for so many bytes, or for however many there are.
    pub(crate) fn bar(self, word: &'static str, total: Option<u64>) -> ProgressBar {
        if !self.draws {
            return ProgressBar::hidden();
        }
        let template = match total {
            Some(_) => {
                "  {prefix:<6} [{bar:24}] {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta}{msg}"
            }
            None => "  {prefix:<6} {spinner} {binary_bytes}  {binary_bytes_per_sec}  {elapsed}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10))
            .with_style(style.progress_chars("=> "))
            .with_prefix(word);
        // Time goes on where bytes don't.
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// What an interrupted command that can't clean up has to say.
pub(crate) fn farewell(words: &str) {
    say(format_args!("{HINT}left:{HINT:#} {words}"));
}

/// Something about what was typed.
pub(crate) fn note(what: &str) {
    say(format_args!("{HINT}note:{HINT:#} {what}"));
}

/// A line on stderr. There is nobody to tell if that fails.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}
