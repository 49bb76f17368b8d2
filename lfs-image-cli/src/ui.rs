//! The only way out: results to standard output, everything else to standard error.

use std::io::{IsTerminal as _, Write as _};

use crate::cli::Cli;

/// How much is said.
#[derive(Debug)]
pub(crate) struct Ui {
    pub(crate) quiet: bool,
    pub(crate) json: bool,
}

impl Ui {
    pub(crate) fn new(cli: &Cli) -> Self {
        Self { quiet: cli.quiet, json: cli.json }
    }

    /// A line of the result.
    pub(crate) fn result(&self, line: impl std::fmt::Display) -> anyhow::Result<()> {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .map_err(|e| anyhow::Error::new(e).context("write to standard output"))
    }

    /// A line about what is going on.
    pub(crate) fn note(&self, line: impl std::fmt::Display) {
        if !self.quiet {
            self.error(line);
        }
    }

    /// A line that is never left out. Where standard error is closed there is nobody to tell.
    pub(crate) fn error(&self, line: impl std::fmt::Display) {
        let _ = writeln!(anstream::stderr().lock(), "{line}");
    }

    /// Whether a progress bar makes sense.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && !self.json && std::io::stderr().is_terminal()
    }
}
