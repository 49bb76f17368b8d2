//! `lfs-image init`: a file of options to start from.

use std::fs::File;
use std::io::Write as _;

use lfs_image::{Error, Result};

use crate::failure::Failure;
use crate::looking::Init;
use crate::spec::is_pipe;
use crate::ui::Ui;

/// Every option, explained and turned off.
const EXAMPLE: &str = include_str!("../lfs-image.toml");

pub(crate) fn run(args: &Init, ui: Ui) -> Result<(), Failure> {
    if is_pipe(&args.file) {
        return Ok(ui.result(EXAMPLE)?);
    }
    let path = args.file.display();
    let write = || -> std::io::Result<()> {
        let mut file = if args.force { File::create(&args.file)? } else { File::create_new(&args.file)? };
        file.write_all(EXAMPLE.as_bytes())
    };
    let written: Result<()> = write().map_err(|e| Error::io(format!("write {path}"), e));
    written.map_err(|error| {
        let is_there = !args.force && args.file.exists();
        Failure { hint: is_there.then(|| "`--force` replaces it".to_owned()), ..Failure::from(error) }
    })?;
    ui.step("write", format_args!("{path}: give it to the other commands with --config {path}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::Cli;

    /// What the file would say with all of it turned on: lines that begin with `#` and no space.
    fn all_on() -> String {
        EXAMPLE
            .lines()
            .map(|line| {
                line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#'])).unwrap_or(line).to_owned()
                    + "\n"
            })
            .collect()
    }

    #[test]
    fn nothing_is_on() {
        assert!(EXAMPLE.parse::<toml::Table>().unwrap().is_empty());
    }

    #[test]
    fn each_option_is_there_and_is_one() {
        let table: toml::Table = all_on().parse().unwrap();
        let keys: BTreeSet<String> = table.keys().cloned().collect();
        let mut command = Cli::command();
        command.build();
        let options = |name: &str| -> BTreeSet<String> {
            let found = command.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments);
            found.filter_map(clap::Arg::get_long).map(str::to_owned).collect()
        };
        let all: BTreeSet<String> = ["raw", "push", "check"].into_iter().flat_map(options).collect();
        // Without `push` its options are none.
        #[cfg(feature = "push")]
        assert_eq!(keys.difference(&all).collect::<Vec<_>>(), Vec::<&String>::new());
        let once = ["config", "help", "dry-run", "digest", "sync", "quiet", "verbose", "json"];
        let missing: Vec<_> =
            options("raw").into_iter().filter(|key| !keys.contains(key) && !once.contains(&&**key)).collect();
        assert_eq!(missing, Vec::<String>::new(), "an option that the example doesn't explain");
        let _ = all;
    }

    #[test]
    fn each_value_is_taken() {
        for line in all_on().lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("one.toml");
            std::fs::write(&path, line).unwrap();
            let commands: &[&[&str]] = &[
                &["raw", "a.tar", "a.img"],
                #[cfg(feature = "push")]
                &["push", "a.tar"],
            ];
            let taken = commands.iter().any(|words| {
                let mut line: Vec<std::ffi::OsString> = vec!["lfs-image".into(), words[0].into()];
                line.extend(["--config".into(), path.clone().into()]);
                line.extend(words[1..].iter().map(Into::into));
                let Ok(arguments) = crate::config::arguments(line.clone()) else { return false };
                arguments.len() > line.len() && Cli::try_parse_from(arguments).is_ok()
            });
            assert!(taken || cfg!(not(feature = "push")), "{line} is refused");
        }
    }
}
