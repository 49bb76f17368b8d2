//! `lfs-image diff`: how the root filesystems of two images or archives differ.

use std::fmt::Write as _;
use std::path::Path;

use lfs_image::{Error, ErrorKind, Image};
use serde::Serialize;

use crate::commands::inspect;
use crate::compare::{Difference, Side, compare};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::look::{Files, Look};
use crate::looking::Diff;
use crate::size::Count;
use crate::source::name;
use crate::ui::Ui;

/// The JSON of `diff --json`. Fields are only ever added under the same version.
#[derive(Debug, Serialize)]
struct Verdict<'a> {
    version: u32,
    first: String,
    second: String,
    equal: bool,
    differences: &'a [Difference],
}

pub(crate) fn run(args: &Diff, ui: Ui) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    // An image is told apart before anything is read for long.
    let first = Look::at_image(&args.first)?;
    let second = Look::at_image(&args.second)?;
    let plans = !args.plain && (first.is_some() || second.is_some());
    let get = |look: Option<Look>, path: &Path| match look {
        Some(look) => Ok(look),
        None => archive(args, path, plans, ui, &interrupt),
    };
    let first = get(first, &args.first)?;
    let second = get(second, &args.second)?;
    let ignore = args.ignore.iter().copied().collect();
    let found = compare(side(&first), side(&second), &ignore, &mut || interrupt.check())?;
    first.files.store().verify_unchanged()?;
    second.files.store().verify_unchanged()?;
    if ui.json {
        ui.json(&Verdict {
            version: 1,
            first: name(&args.first),
            second: name(&args.second),
            equal: found.is_empty(),
            differences: &found,
        })?;
    } else {
        ui.result(text(&found))?;
    }
    match found.len() {
        0 => {
            ui.step("equal", format_args!("{} names", Count(crate::usage::total(&first.tree).0)));
            Ok(())
        }
        1 => Err(Error::new(ErrorKind::Input, "1 name differs").into()),
        n => Err(Error::new(ErrorKind::Input, format!("{} names differ", Count(n as u64))).into()),
    }
}

fn side(look: &Look) -> Side<'_> {
    Side { tree: &look.tree, store: look.files.store() }
}

/// An archive as it is, or as `raw` would make it.
fn archive(args: &Diff, path: &Path, plans: bool, ui: Ui, interrupt: &Interrupt) -> Result<Look, Failure> {
    let look = Look::at(path, &args.archive, ui, interrupt)?;
    if !plans {
        return Ok(look);
    }
    let Files::Archive(store) = &look.files else { return Ok(look) };
    let (image, refusal) = inspect::plan(&args.image, &args.host, look.tree, store)?;
    for warning in refusal.iter().chain(image.boot_warnings()).chain(image.host_warnings()) {
        ui.warn(warning);
    }
    let tree = Image::tree(&image).clone();
    std::mem::forget(image);
    Ok(Look { tree, files: look.files })
}

fn text(found: &[Difference]) -> String {
    let mut text = String::new();
    for Difference { path, change, what, fields } in found {
        let what = what.as_deref().unwrap_or_default();
        // Writing to a string can't fail.
        let _ = match *change {
            "removed" => writeln!(text, "- {path}: {what}"),
            "added" => writeln!(text, "+ {path}: {what}"),
            _ => {
                let fields = fields.iter().map(|field| {
                    let none = || "none".to_owned();
                    match (&field.first, &field.second) {
                        (Some(words), None) if field.what == "content" => format!("content {words}"),
                        (first, second) => format!(
                            "{} {} -> {}",
                            field.what,
                            first.clone().unwrap_or_else(none),
                            second.clone().unwrap_or_else(none)
                        ),
                    }
                });
                writeln!(text, "~ {path}: {}", fields.collect::<Vec<_>>().join(", "))
            }
        };
    }
    text
}
