//! `lfs-image completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::{Cli, Completions};
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(args: &Completions, ui: Ui) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lfs-image", &mut script);
    if args.shell == Shell::Bash {
        // The generator takes the dash in our name for a step down to a subcommand in one place and not in the other, so that none
        // is found (clap-rs/clap#6421).
        script = String::from_utf8_lossy(&script).replace("lfs__subcmd__image", "lfs__image").into_bytes();
    }
    Ok(ui.bytes(&script)?)
}
