//! The `lfs-image` command.

mod cli;
mod commands;
mod progress;
mod report;
mod size;
mod ui;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use ui::Ui;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(&cli);
    progress::catch_interrupts();
    let result = match cli.command {
        Command::Raw(args) => commands::raw::run(&args, &ui),
        Command::Inspect(args) => commands::inspect::run(&args, &ui),
        Command::Completions(args) => commands::completions::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::failure(&ui, &error),
    }
}
