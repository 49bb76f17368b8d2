//! Options from a file: `--config lfs-image.toml`.
//!
//! A key is the name of an option without its dashes, and its value what would be typed: a string, a number, `true` for an
//! option that takes none, a list where an option may be given more than once. Tables are for the eye only. What the
//! command line says wins, lists included, and over what it contradicts, too. Paths are relative to where the command runs, as
//! if they were typed. One file serves all commands: each passes over what only others have.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _};
use lfs_image::{Error, ErrorKind, Result};

use crate::cli::Cli;

/// The option that names the file, by its id.
const CONFIG: &str = "config";

/// The arguments, with those of the file that they name put in before them.
pub(crate) fn arguments(typed: Vec<OsString>) -> Result<Vec<OsString>> {
    // What is missing may be in the file. What can't be parsed is complained of later, by the one parser that does it well.
    let parsed = Cli::command()
        .try_get_matches_from(&typed)
        .or_else(|_| Cli::command().ignore_errors(true).try_get_matches_from(&typed));
    let Ok(matches) = parsed else { return Ok(typed) };
    let Some((name, matches)) = matches.subcommand() else { return Ok(typed) };
    let Ok(Some(path)) = matches.try_get_one::<std::path::PathBuf>(CONFIG) else { return Ok(typed) };
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(format!("read {}", path.display()), e))?;
    let mut all = Cli::command();
    all.build();
    let Some(command) = all.find_subcommand(name) else { return Ok(typed) };
    let options = read(&text, path, &all, command, &|option| is_decided(command, matches, option))?;
    // Global options have no values: the first word without a dash is the command.
    let at = typed.iter().skip(1).position(|word| word == name).map_or(typed.len(), |at| at + 2);
    let mut all = typed;
    all.splice(at..at, options.into_iter().map(OsString::from));
    Ok(all)
}

/// Whether the command line says what an option is to be, or something that contradicts it.
fn is_decided(command: &Command, matches: &ArgMatches, option: &Arg) -> bool {
    let is_typed = |option: &Arg| {
        let id = option.get_id().as_str();
        matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    let excludes = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|found| found.get_id() == other.get_id())
    };
    let contradicts = |other: &&Arg| is_typed(other) && (excludes(option, other) || excludes(other, option));
    is_typed(option) || command.get_arguments().any(|other| contradicts(&other))
}

/// An option that can be in a file.
fn option<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let shows = |option: &Arg| {
        matches!(
            option.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
        )
    };
    command.get_arguments().find(|option| option.get_long() == Some(key) && key != CONFIG && !shows(option))
}

/// The option whose name is most like `key`, if it is as like as the parser wants what is typed to be.
fn alike(all: &Command, key: &str) -> Option<String> {
    let commands = all.get_subcommands();
    let names = commands.flat_map(|command| {
        command.get_arguments().filter_map(Arg::get_long).filter(|name| option(command, name).is_some())
    });
    // A name with underscores is a frequent slip.
    let key = key.replace('_', "-");
    let scored = names.map(|name| (strsim::jaro(&key, name), name)).filter(|(score, _)| *score > 0.7);
    scored.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, name)| name.to_owned())
}

/// The options of a file as they would be typed, without those that are decided.
fn read(
    text: &str,
    path: &Path,
    all: &Command,
    command: &Command,
    is_decided: &dyn Fn(&Arg) -> bool,
) -> Result<Vec<String>> {
    let fault = |what: String| Error::new(ErrorKind::Input, format!("{}: {what}", path.display()));
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| fault(e.to_string().trim_end().to_owned()))?;
    let mut options = Vec::new();
    let mut todo = vec![table];
    while let Some(table) = todo.pop() {
        for (key, value) in table {
            if let toml::Value::Table(table) = value {
                todo.push(table);
                continue;
            }
            let Some(option) = option(command, &key) else {
                if all.get_subcommands().any(|other| option(other, &key).is_some()) {
                    continue;
                }
                let like = alike(all, &key).map(|like| format!("; `{like}` is one")).unwrap_or_default();
                return Err(fault(format!("there is no option `{key}`{like}")));
            };
            if is_decided(option) {
                continue;
            }
            let values = match value {
                toml::Value::Array(values) => values,
                value => vec![value],
            };
            for value in values {
                let kind = value.type_str();
                options.extend(
                    words(option, &key, value).ok_or_else(|| fault(format!("`{key}` can't be a {kind}")))?,
                );
            }
        }
    }
    Ok(options)
}

/// What would be typed to give an option this value; `None` where that is no value of one.
fn words(option: &Arg, key: &str, value: toml::Value) -> Option<Vec<String>> {
    let bare = || format!("--{key}");
    Some(match (option.get_action(), value) {
        (ArgAction::SetTrue, toml::Value::Boolean(on)) => vec![bare(); usize::from(on)],
        (ArgAction::Count, toml::Value::Boolean(on)) => vec![bare(); usize::from(on)],
        (ArgAction::Count, toml::Value::Integer(n)) => vec![bare(); usize::from(u8::try_from(n).ok()?)],
        (_, toml::Value::Boolean(on)) => vec![format!("--{key}={}", if on { "yes" } else { "no" })],
        (_, toml::Value::String(text)) => vec![format!("--{key}={text}")],
        (_, toml::Value::Integer(number)) => vec![format!("--{key}={number}")],
        (_, toml::Value::Float(number)) => vec![format!("--{key}={number}")],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> Command {
        let mut all = Cli::command();
        all.build();
        all
    }

    fn options(text: &str) -> Result<Vec<String>> {
        let all = built();
        let raw = all.find_subcommand("raw").unwrap();
        read(text, Path::new("a.toml"), &all, raw, &|option| option.get_id() == "label")
    }

    #[test]
    fn keys_are_options() {
        let text = "size = \"8G\"\nlabel = \"x\"\nsync = true\ndigest = false\nreserved = 2\n\
                    [host]\nnetwork = false\nremove = [\"/a\", \"/b\"]\n";
        assert_eq!(
            options(text).unwrap(),
            ["--reserved=2", "--size=8G", "--sync", "--network=no", "--remove=/a", "--remove=/b"]
        );
        for (bad, word) in [
            ("hostnam = \"x\"", "there is no option `hostnam`; `hostname` is one"),
            ("boot_mode = \"uefi\"", "`boot-mode` is one"),
            ("config = \"x\"", "no option"),
            ("help = true", "no option"),
            ("verbose = -1", "`verbose` can't be a integer"),
            ("size = 1979-05-27", "can't be a datetime"),
            ("size = ", "TOML parse error"),
        ] {
            let error = options(bad).unwrap_err().to_string();
            assert!(error.starts_with("a.toml: ") && error.contains(word), "{error}");
        }
        // Nothing is anything like it.
        assert!(options("xyzzy = 1").unwrap_err().to_string().ends_with("there is no option `xyzzy`"));
    }

    #[test]
    fn one_file_serves_all_commands() {
        assert_eq!(
            options("for = \"ec2\"\nverbose = 2\nsync = true\n").unwrap(),
            ["--sync", "--verbose", "--verbose"]
        );
    }

    /// Every option of every command that reads a file, as a key in one: it arrives.
    #[test]
    fn no_option_is_forgotten() {
        let all = built();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lfs-image.toml");
        let mut count = 0;
        for command in all.get_subcommands().filter(|c| c.get_arguments().any(|a| a.get_id() == CONFIG)) {
            for option in command.get_arguments() {
                let Some(long) =
                    option.get_long().filter(|long| !matches!(*long, CONFIG | "help" | "version"))
                else {
                    continue;
                };
                let name = command.get_name();
                let mut typed: Vec<OsString> = ["lfs-image", name, "--config"].map(Into::into).into();
                typed.push(file.clone().into());
                if name == "check" && long != "for" {
                    typed.extend(["--for", "qemu"].map(OsString::from));
                }
                typed.push("in".into());
                if (name == "raw" && long != "dry-run") || name == "diff" {
                    typed.push("out".into());
                }
                // What goes with it alone.
                let more = match long {
                    "public" => "confirm-public = true\n",
                    "confirm-public" => "public = true\n",
                    _ => "",
                };
                let arrives = |value: &str| {
                    std::fs::write(&file, format!("{long} = {value}\n{more}")).unwrap();
                    let arguments = arguments(typed.clone()).unwrap();
                    let matches = Cli::command().try_get_matches_from(&arguments).ok()?;
                    let id = option.get_id().as_str();
                    Some(matches.subcommand().unwrap().1.value_source(id) == Some(ValueSource::CommandLine))
                };
                // The first value that it takes at all.
                let arrived = match option.get_action() {
                    ArgAction::SetTrue | ArgAction::Count => arrives("true"),
                    _ => values_of(option).iter().find_map(|value| arrives(&format!("\"{value}\""))),
                };
                assert_eq!(arrived, Some(true), "{name} {long}");
                count += 1;
            }
        }
        assert!(count > 80, "{count} options");
    }

    /// Values, one of which an option takes.
    fn values_of(option: &Arg) -> Vec<String> {
        let own = option.get_possible_values().into_iter().map(|value| value.get_name().to_owned());
        let others = [
            "1",
            "8M",
            "name",
            "eu-west-1",
            "a=b",
            "30d",
            "2030-01-01T00:00:00Z",
            "123456789012",
            "/a/parameter",
            "http://127.0.0.1:1",
            "4f5d8f3c-0000-4000-8000-000000000000",
            "arn:aws:kms:eu-west-1:123456789012:key/4f5d8f3c-0000-4000-8000-000000000000",
        ];
        own.chain(others.map(str::to_owned)).collect()
    }

    #[test]
    fn what_is_typed_wins_over_what_it_contradicts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lfs-image.toml");
        std::fs::write(&file, "size = \"8G\"\ninodes = 100\nhostname = \"x\"\n").unwrap();
        let file = file.to_str().unwrap();
        let got = |more: &[&str]| {
            let typed = [&["lfs-image", "raw", "--config", file][..], more].concat();
            let all = arguments(typed.iter().map(OsString::from).collect()).unwrap();
            let added: Vec<String> = all[2..all.len() - typed.len() + 2]
                .iter()
                .map(|word| word.to_str().unwrap().to_owned())
                .collect();
            added
        };
        assert_eq!(got(&["a", "b"]), ["--hostname=x", "--inodes=100", "--size=8G"]);
        assert_eq!(got(&["--free", "1G", "--inode-ratio=4K", "a", "b"]), ["--hostname=x"]);
        assert_eq!(
            got(&["--size=1G", "--hostname", "y", "a"]),
            ["--inodes=100"],
            "the other file is missing"
        );
    }
}
