//! The `lfs-image` command.

#[cfg(feature = "push")]
mod aws;
mod cli;
mod commands;
mod compare;
mod config;
mod ext4_dirs;
mod ext4_extents;
mod ext4_raw;
mod ext4_tree;
mod ext4_xattrs;
mod failure;
mod files_out;
mod host;
mod interrupt;
#[cfg(feature = "push")]
mod journals;
mod log;
mod look;
mod looking;
mod meter;
#[cfg(feature = "push")]
mod pushed;
mod report;
mod run;
mod size;
mod source;
mod spec;
mod tar_out;
#[cfg(feature = "push")]
mod transfer;
mod typed;
mod ui;
mod usage;
mod values;
mod when;

use std::process::ExitCode;

fn main() -> ExitCode {
    let typed: Vec<_> = std::env::args_os().collect();
    let (arguments, fault) = match config::arguments(typed.clone()) {
        Ok(arguments) => (arguments, None),
        Err(fault) => (typed.clone(), Some(fault)),
    };
    let cli = match typed::parse(&typed, &arguments) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    cli.check();
    let ui = ui::Ui::new(cli.global);
    if let Some(fault) = fault {
        let failure = failure::Failure::from(fault);
        ui.failure(&failure);
        return failure.exit_code().into();
    }
    log::start(cli.global.verbose, ui);
    match commands::run(cli.command, ui) {
        Err(failure) if !failure.is_stdout_closed() => {
            ui.failure(&failure);
            failure.exit_code().into()
        }
        _ => ExitCode::SUCCESS,
    }
}
