//! Options from a file: `--config lfs-image.toml`.
//!
//! A key is the name of an option without its dashes, and its value what would be typed: a string, a number, `true` for an
//! option that takes none, a list where an option may be given more than once. Tables are for the eye only. What the
//! command line says wins, lists included. Paths are relative to where the command runs, as if they were typed.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgAction, Command, CommandFactory as _};
use lfs_image::{Error, ErrorKind, Result};

use crate::cli::Cli;

/// The arguments, with those of the file that they name put in before them.
pub(crate) fn arguments(typed: Vec<OsString>) -> Result<Vec<OsString>> {
    // What can't be parsed is complained of later, by the one parser that does it well.
    let Ok(matches) = Cli::command().try_get_matches_from(&typed) else { return Ok(typed) };
    let Some((name, matches)) = matches.subcommand() else { return Ok(typed) };
    let Ok(Some(path)) = matches.try_get_one::<std::path::PathBuf>("config") else { return Ok(typed) };
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(format!("read {}", path.display()), e))?;
    let mut command = Cli::command();
    command.build();
    let Some(command) = command.find_subcommand(name) else { return Ok(typed) };
    let is_typed = |id: &str| {
        matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    let options = read(&text, path, command, &is_typed)?;
    // Global options have no values: the first word without a dash is the command.
    let at = typed.iter().skip(1).position(|word| word == name).map_or(typed.len(), |at| at + 2);
    let mut all = typed;
    all.splice(at..at, options.into_iter().map(OsString::from));
    Ok(all)
}

/// The options of a file as they would be typed, without those that were.
fn read(text: &str, path: &Path, command: &Command, is_typed: &dyn Fn(&str) -> bool) -> Result<Vec<String>> {
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
            let option = command
                .get_arguments()
                .find(|option| option.get_long() == Some(&*key) && key != "config")
                .ok_or_else(|| fault(format!("there is no option `{key}`")))?;
            if is_typed(option.get_id().as_str()) {
                continue;
            }
            let one = |value: toml::Value| match value {
                toml::Value::String(text) => Ok(Some(format!("--{key}={text}"))),
                toml::Value::Integer(number) => Ok(Some(format!("--{key}={number}"))),
                toml::Value::Float(number) => Ok(Some(format!("--{key}={number}"))),
                toml::Value::Boolean(on) if matches!(option.get_action(), ArgAction::SetTrue) => {
                    Ok(on.then(|| format!("--{key}")))
                }
                toml::Value::Boolean(on) => Ok(Some(format!("--{key}={}", if on { "yes" } else { "no" }))),
                _ => Err(fault(format!("`{key}` can't be a {}", value.type_str()))),
            };
            match value {
                toml::Value::Array(values) => {
                    for value in values {
                        options.extend(one(value)?);
                    }
                }
                value => options.extend(one(value)?),
            }
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<Vec<String>> {
        let mut command = Cli::command();
        command.build();
        read(text, Path::new("a.toml"), command.find_subcommand("raw").unwrap(), &|id| id == "label")
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
            ("hostnam = \"x\"", "there is no option `hostnam`"),
            ("config = \"x\"", "no option"),
            ("size = 1979-05-27", "can't be a datetime"),
            ("size = ", "TOML parse error"),
        ] {
            let error = options(bad).unwrap_err().to_string();
            assert!(error.starts_with("a.toml: ") && error.contains(word), "{error}");
        }
    }
}
