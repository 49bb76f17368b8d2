//! `lfs-image completions`.

use clap::CommandFactory as _;

use crate::cli::{Cli, Completions};
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(args: &Completions, ui: Ui) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lfs-image", &mut script);
    Ok(ui.bytes(&script)?)
}
