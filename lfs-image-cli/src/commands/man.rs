//! `lfs-image man`: a page for the command and for each of its verbs.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use lfs_image::{Error, Result};

use crate::cli::{Cli, EXIT_CODES, Man};
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(args: &Man, ui: Ui) -> Result<(), Failure> {
    // The version alone: pages have no room for a list.
    let mut command = Cli::command().long_version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    command.build();
    let Some(directory) = &args.directory else {
        return Ok(ui.bytes(&page(command)?)?);
    };
    std::fs::create_dir_all(directory).map_err(|e| Error::io(format!("make {}", directory.display()), e))?;
    for verb in command.get_subcommands().cloned() {
        save(directory, verb)?;
    }
    Ok(save(directory, command)?)
}

fn save(directory: &Path, command: Command) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).map_err(|e| Error::io(format!("write {}", path.display()), e))
}

/// A page. The generator would run the lines of examples together, and name no values in the synopsis.
fn page(mut command: Command) -> Result<Vec<u8>> {
    let usage = command.render_usage().to_string();
    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let is_verb = command.get_subcommands().next().is_none();
    let man = clap_mangen::Man::new(command);
    let mut page = Vec::new();
    let sections = |page: &mut Vec<u8>| {
        man.render_title(page)?;
        man.render_name_section(page)?;
        page.extend_from_slice(b".SH SYNOPSIS\n");
        page.extend_from_slice(lines(usage.trim_start_matches("Usage: ")).as_bytes());
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        if !is_verb {
            man.render_subcommands_section(page)?;
        }
        page.extend_from_slice(b".SH EXAMPLES\n");
        page.extend_from_slice(examples(&after).as_bytes());
        page.extend_from_slice(b".SH \"EXIT STATUS\"\n");
        page.extend_from_slice(escaped(EXIT_CODES).as_bytes());
        page.extend_from_slice(b".SH \"SEE ALSO\"\n");
        page.extend_from_slice(if is_verb {
            &b"\\fBlfs\\-image\\fR(1)\n"[..]
        } else {
            b"\\fBlfs\\-image\\-raw\\fR(1)\n"
        });
        if is_verb { Ok(()) } else { man.render_version_section(page) }
    };
    sections(&mut page).map_err(|e| Error::io("make a manual page", e))?;
    Ok(page)
}

/// Examples: indented lines stay as they are, what stands between them is text.
fn examples(after: &str) -> String {
    let mut roff = String::new();
    let paragraphs = after.split("\n\n").filter(|text| !text.starts_with(EXIT_CODES));
    for paragraph in paragraphs {
        let (text, code): (Vec<&str>, Vec<&str>) = paragraph.lines().partition(|line| !line.starts_with(' '));
        for line in text.iter().filter(|line| **line != "Examples:") {
            let _ = writeln!(roff, ".PP\n{}", escaped(line).trim_end());
        }
        if !code.is_empty() {
            roff += ".PP\n.RS 4\n";
            roff += &lines(
                &code
                    .iter()
                    .map(|line| line.strip_prefix("  ").unwrap_or(line))
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
            roff += ".RE\n";
        }
    }
    roff
}

/// Lines as they are.
fn lines(text: &str) -> String {
    format!(".nf\n{}.fi\n", escaped(text))
}

/// Text that is nothing but text to roff.
fn escaped(text: &str) -> String {
    let line = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        if line.starts_with(['.', '\'']) { format!("\\&{line}\n") } else { format!("{line}\n") }
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_examples_that_fit_a_terminal() {
        let mut command = Cli::command();
        command.build();
        let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help");
        for command in std::iter::once(&command).chain(verbs) {
            let name = command.get_name();
            let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("Examples:\n  "), "{name} has no examples");
            // Text may be wrapped; a command that is would be two.
            for line in after.lines().filter(|line| line.starts_with(' ')) {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
        }
    }

    #[test]
    fn examples_stay_lines() {
        let roff = examples("Examples:\n  a -b \\\n    c\n\nWhat 'it' says:\n  .x\n\nExit codes: 0");
        let code = |text: &str| format!(".PP\n.RS 4\n.nf\n{text}\n.fi\n.RE\n");
        let wanted = [code("a \\-b \\e\n  c"), ".PP\nWhat 'it' says:\n".to_owned(), code("\\&.x")].concat();
        assert!(roff.starts_with(&wanted), "{roff}");
    }
}
