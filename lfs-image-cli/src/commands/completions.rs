//! `lfs-image completions`.

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs};

pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lfs-image", &mut script);
    use std::io::Write as _;
    std::io::stdout().write_all(&script)?;
    Ok(())
}
