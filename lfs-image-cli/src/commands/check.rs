//! `lfs-image check`: what a tree lacks to run on a target, and what must not be public.

use lfs_image::check::{Finding, Severity, check_public, check_public_name};
use lfs_image::tree::ReadAt as _;
use lfs_image::{Error, ErrorKind, Image, Result};
use serde::Serialize;

use crate::cli::Check;
use crate::commands::inspect::found;
use crate::ext4_tree;
use crate::failure::{Failure, Step, chain};
use crate::interrupt::Interrupt;
use crate::source::Source;
use crate::ui::Ui;

/// The JSON of `check --json`. Fields are only ever added under the same version.
#[derive(Debug, Serialize)]
struct Verdict {
    version: u32,
    file: String,
    target: &'static str,
    /// Whether it was looked at as something that is to be public.
    public: bool,
    /// Whether nothing is fatal.
    ok: bool,
    findings: Vec<Found>,
}

/// A finding, for scripts.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Found {
    severity: &'static str,
    id: &'static str,
    path: Option<String>,
    what: String,
    mend: String,
}

impl From<&Finding> for Found {
    fn from(finding: &Finding) -> Self {
        let Finding { severity, id, path, what, mend, .. } = finding.clone();
        Self { severity: severity.name(), id, path, what, mend }
    }
}

pub(crate) fn run(args: &Check, ui: Ui) -> Result<(), Failure> {
    let mut findings = match found(&args.file)? {
        Some((file, disk)) => {
            let place = disk.partitions.iter().filter(|p| p.filesystem.is_some()).max_by_key(|p| p.len);
            let place = place.ok_or_else(|| input("there is no ext4 filesystem on it"))?;
            let (tree, store) = ext4_tree::read(&file, place.offset)
                .map_err(|error| error.context(format!("can't read {}", args.file.display())))?;
            let mut findings = disk.check(&tree, &store, args.target())?;
            if args.public {
                findings.extend(check_public(&tree, &store)?);
            }
            findings
        }
        None => of_archive(args, ui)?,
    };
    if args.public {
        findings.extend(
            [&args.name, &args.description].into_iter().flatten().filter_map(|text| check_public_name(text)),
        );
    }
    findings.sort_by_key(|finding| finding.severity);
    show(args, &findings, ui)
}

fn input(message: &str) -> Error {
    Error::new(ErrorKind::Input, message)
}

/// The tree as the same options of `raw` would make it for the target; what must not be public is looked for before that,
/// unless `--scrub` is among them.
fn of_archive(args: &Check, ui: Ui) -> Result<Vec<Finding>, Failure> {
    let interrupt = Interrupt::install()?;
    let source = Source::open(&args.file, &args.archive)?;
    let host = args.host.spec(Some(args.place.into()))?;
    let scrubs = host.scrub;
    let spec = args.image.spec().host(host);
    let (tree, store) = source.read(&args.archive.options(None), ui, &interrupt)?;
    for warning in store.warnings() {
        ui.warn(warning);
    }
    let public_now = if args.public && !scrubs { check_public(&tree, &store)? } else { Vec::new() };
    let mut findings = match Image::plan(tree.clone(), &store, &spec) {
        Ok(image) => {
            let mut findings = image.check(&store, args.target())?;
            for warning in image.boot_warnings().iter().chain(image.host_warnings()) {
                ui.warn(warning);
            }
            if args.public && scrubs {
                findings.extend(check_public(image.tree(), &store)?);
            }
            std::mem::forget(image);
            findings
        }
        Err(error) => {
            // What keeps it from being planned at all comes first; the rest is worth knowing, too.
            ui.warn(format_args!("`raw` would refuse it: {}", chain(&error).join(": ")));
            let spec = spec.boot(lfs_image::image::Boot::None);
            let image = Image::plan(tree, &store, &spec).map_err(|error| Step::Plan.explain(error))?;
            image.check(&store, args.target())?
        }
    };
    store.verify_unchanged()?;
    findings.extend(public_now);
    Ok(findings)
}

fn show(args: &Check, findings: &[Finding], ui: Ui) -> Result<(), Failure> {
    let fatal = findings.iter().filter(|finding| finding.severity == Severity::Fatal).count();
    if ui.json {
        ui.json(&Verdict {
            version: 1,
            file: args.file.display().to_string(),
            target: args.target().name(),
            public: args.public,
            ok: fatal == 0,
            findings: findings.iter().map(Found::from).collect(),
        })?;
    } else {
        let mut text = String::new();
        for finding in findings {
            text.push_str(&format!("{finding}\n"));
            if !finding.mend.is_empty() {
                text.push_str(&format!("    {}\n", finding.mend));
            }
        }
        let what = args.target().name();
        let verdict = match fatal {
            0 => format!("{}: nothing keeps it from {what}\n", args.file.display()),
            n => format!(
                "{}: {n} fatal for {what}{}\n",
                args.file.display(),
                if args.public { ", public" } else { "" }
            ),
        };
        ui.result(text + &verdict)?;
    }
    gate(findings, args.force)
}

/// Stops where something is fatal, unless that is to be so.
pub(crate) fn gate(findings: &[Finding], force: bool) -> Result<(), Failure> {
    let mut fatal = findings.iter().filter(|finding| finding.severity == Severity::Fatal);
    let Some(first) = fatal.next().filter(|_| !force) else { return Ok(()) };
    let what = match fatal.count() {
        0 => first.to_string(),
        more => format!("{first}; and {more} more like it"),
    };
    let hint = Some("`--force` goes on in spite of what is fatal".to_owned());
    Err(Failure { hint, ..Failure::from(input(&what)) })
}

impl Check {
    pub(crate) fn target(&self) -> lfs_image::host::Target {
        self.place.into()
    }
}
