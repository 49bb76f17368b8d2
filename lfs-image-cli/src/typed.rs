//! From what is typed to a command, and what is said of words that are none.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{CommandFactory as _, Parser as _};

use crate::cli::Cli;
use crate::ui;

/// The command, or the exit code of what was said in its place: help, the version, what is wrong. `all` is what was typed with what
/// a file of options adds to it.
pub(crate) fn parse(typed: &[OsString], all: &[OsString]) -> Result<Cli, ExitCode> {
    let mut error = match Cli::try_parse_from(all) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    suggest(&mut error);
    let printed = error.print();
    if let Some((option, file)) = from_file(&error, typed, all) {
        ui::note(&format!("{option} is from {}", file.display()));
    }
    // Help that nobody could read was not given; whoever closed the pipe had enough of it.
    let failed = printed.is_err_and(|e| !error.use_stderr() && e.kind() != io::ErrorKind::BrokenPipe);
    Err(if failed { ExitCode::FAILURE } else { u8::try_from(error.exit_code()).unwrap_or(2).into() })
}

/// What commands like these are called elsewhere.
const ELSEWHERE: [(&str, &[&str]); 10] = [
    ("raw", &["build", "create", "make", "convert", "image", "write"]),
    ("push", &["upload", "publish", "register", "ami"]),
    ("pull", &["download", "fetch"]),
    ("inspect", &["info", "show", "describe"]),
    ("check", &["lint", "verify", "validate"]),
    ("ls", &["list", "dir", "tree"]),
    ("cat", &["print", "read"]),
    ("extract", &["untar", "unpack", "export", "cp"]),
    ("diff", &["compare", "cmp"]),
    ("init", &["new", "config"]),
];

/// Puts in which command may be meant: the parser's own idea of likeness misses two letters that changed places.
fn suggest(error: &mut Error) {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return };
    let word = word.clone();
    if word == "version" {
        let tip = StyledStr::from("'--version' prints it");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    } else if let Some(meant) = meant(&word) {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![meant]));
    }
}

/// The command that a word may have been meant to be.
fn meant(word: &str) -> Option<String> {
    let all = Cli::command();
    let known = || all.get_subcommands().map(clap::Command::get_name);
    let elsewhere = ELSEWHERE.iter().find(|(_, words)| words.contains(&word)).map(|(name, _)| *name);
    // A slip is one letter in a short word, two in a longer one.
    let slips = if word.len() > 4 { 2 } else { 1 };
    let near = || {
        known().map(|name| (strsim::damerau_levenshtein(word, name), name)).filter(|(n, _)| *n <= slips).min()
    };
    elsewhere
        .filter(|name| known().any(|other| other == *name))
        .or_else(|| Some(near()?.1))
        .map(str::to_owned)
}

/// The option that an error is about and the file of options that it is from, unless it was typed.
fn from_file<'a>(
    error: &Error,
    typed: &'a [OsString],
    all: &[OsString],
) -> Option<(String, &'a std::path::Path)> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    let option = option.split([' ', '=']).next()?;
    let is_it = |word: &OsString| {
        word.to_str()
            .and_then(|word| word.strip_prefix(option))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if typed.iter().any(is_it) || !all.iter().any(is_it) {
        return None;
    }
    let at = typed.iter().position(|word| word.to_str().is_some_and(|word| word.starts_with("--config")))?;
    let file = match typed[at].to_str().and_then(|word| word.strip_prefix("--config=")) {
        Some(file) => OsStr::new(file),
        None => typed.get(at + 1)?,
    };
    Some((option.to_owned(), file.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_other_words() {
        for (word, wanted) in [
            ("rwa", Some("raw")),
            ("create", Some("raw")),
            ("isnpect", Some("inspect")),
            ("exract", Some("extract")),
            ("list", Some("ls")),
            ("xyzzy", None),
            ("frobnicate", None),
        ] {
            assert_eq!(meant(word).as_deref(), wanted, "{word}");
        }
        #[cfg(feature = "push")]
        assert_eq!(meant("upload").as_deref(), Some("push"));
        #[cfg(not(feature = "push"))]
        assert_eq!(meant("upload"), None);
    }

    #[test]
    fn words_elsewhere_are_none_here() {
        let all = Cli::command();
        for (_, words) in ELSEWHERE {
            assert!(words.iter().all(|word| all.find_subcommand(word).is_none()), "{words:?}");
        }
    }
}
