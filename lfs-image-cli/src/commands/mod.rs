//! What the command does, one file for each of its verbs.

mod cat;
pub(crate) mod check;
mod completions;
mod diff;
mod extract;
mod init;
pub(crate) mod inspect;
mod ls;
mod man;
#[cfg(feature = "push")]
mod pull;
#[cfg(feature = "push")]
mod push;
mod raw;

use crate::cli::Command;
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(command: Command, ui: Ui) -> Result<(), Failure> {
    match command {
        Command::Raw(raw) => raw::run(&raw, ui),
        #[cfg(feature = "push")]
        Command::Push(push) => push::run(&push, ui),
        #[cfg(feature = "push")]
        Command::Pull(pull) => pull::run(&pull, ui),
        Command::Check(args) => check::run(&args, ui),
        Command::Inspect(inspect) => inspect::run(&inspect, ui),
        Command::Ls(ls) => ls::run(&ls, ui),
        Command::Cat(cat) => cat::run(&cat, ui),
        Command::Extract(extract) => extract::run(&extract, ui),
        Command::Diff(diff) => diff::run(&diff, ui),
        Command::Init(init) => init::run(&init, ui),
        Command::Completions(completions) => completions::run(&completions, ui),
        Command::Man(man) => man::run(&man, ui),
    }
}
