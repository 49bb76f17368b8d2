//! The `lfs-image` command.

#[cfg(feature = "push")]
mod aws;
mod cli;
mod commands;
mod failure;
mod interrupt;
mod log;
mod meter;
#[cfg(feature = "push")]
mod pushed;
mod report;
mod run;
mod size;
mod source;
mod spec;
#[cfg(feature = "push")]
mod transfer;
mod ui;
mod usage;
mod values;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli.check();
    let ui = ui::Ui::new(cli.global);
    log::start(cli.global.verbose, ui);
    match commands::run(cli.command, ui) {
        Err(failure) if !failure.is_stdout_closed() => {
            ui.failure(&failure);
            failure.exit_code().into()
        }
        _ => ExitCode::SUCCESS,
    }
}
