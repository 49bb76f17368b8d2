//! `lfs-image raw`: read, plan, write.

use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use lfs_image::archive::Store;
use lfs_image::sink::{DigestSink, StreamSink, Tally};
use lfs_image::{Error, ErrorKind, FileSink, Image, Result};

use crate::cli::Raw;
use crate::failure::{Failure, Step};
use crate::interrupt::Interrupt;
use crate::meter::{Meter, Out, Watched, Written};
use crate::report::{Input, Report};
use crate::size::{Count, Human};
use crate::source::{Source, keep_apart, name};
use crate::spec::is_pipe;
use crate::ui::Ui;
use crate::usage;

pub(crate) fn run(args: &Raw, ui: Ui) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    let source = Source::open(&args.rootfs, &args.archive)?;
    let spec = args.image.spec().host(args.host.spec(None)?);
    // What can't be written is found before anything is read.
    let out = match args.out.as_deref().filter(|_| !args.dry_run) {
        Some(path) => Some(open(path, args, &interrupt)?),
        None => None,
    };
    let archives = source.names.clone();
    let options = args.archive.options(args.out.as_deref());
    let (tree, store) = source.read(&options, ui, &interrupt)?;
    let (entries, bytes) = usage::total(&tree);
    let all = archives.join(" + ");
    ui.step("read", format_args!("{all:<14}  {} entries, {}", Count(entries), Human(bytes)));

    let image = {
        let _span = tracing::debug_span!("plan").entered();
        Image::plan(tree, &store, &spec).map_err(|error| Step::Plan.explain(error))?
    };
    let mut report = Report::of_plan(&image, args.image.table(), Input { archives, entries, bytes });
    report.warnings.extend_from_slice(store.warnings());
    report.warnings.extend(args.image.time_warnings(&image));
    report.warn(ui);
    let Some(out) = out else {
        report.with_regions(image.regions()).with_diffs().show(ui)?;
        return done(image);
    };
    ui.step("plan", format_args!("{}", report.outline()));
    for (n, line) in report.root_lines().iter().enumerate() {
        ui.step(if n == 0 { "root" } else { "" }, format_args!("{line}"));
    }
    for note in image.boot_notes() {
        ui.step("boot", format_args!("{note}"));
    }

    for edit in image.edits() {
        ui.step("edit", format_args!("{edit}"));
    }
    for note in image.host_notes() {
        ui.step("note", format_args!("{note}"));
    }

    let written = write(&image, &store, out, ui, &interrupt).map_err(|error| Step::Write.explain(error))?;
    interrupt.guard(None);
    let report = report.written(&written);
    let Tally { data, zeros, unallocated, .. } = written.tally;
    let to = args.out.as_deref().map(target).unwrap_or_default();
    match (&written.path, &report.digest()) {
        (Some(_), _) => {
            let holes = Human(zeros + unallocated);
            ui.step("write", format_args!("{to:<14}  {} data, {holes} holes", Human(data)));
        }
        (None, None) => ui.step("write", format_args!("{to:<14}  {}", Human(image.len()))),
        (None, Some(digest)) => ui.step("write", format_args!("{to:<14}  {}, {digest}", Human(image.len()))),
    }
    if ui.json {
        ui.json(&report)?;
    } else if written.path.is_some() {
        ui.result(report.lines())?;
    }
    done(image)
}

fn open(path: &Path, args: &Raw, interrupt: &Interrupt) -> Result<Out, Failure> {
    let out = if is_pipe(path) {
        let stdout = std::io::stdout();
        if stdout.is_terminal() {
            return Err(Failure {
                error: Error::new(
                    ErrorKind::Input,
                    "stdout is a terminal, and an image is nothing to look at",
                ),
                hint: Some("give a file for OUT, or send stdout to a program".to_owned()),
                left: Vec::new(),
            });
        }
        let stdout = stdout.as_fd().try_clone_to_owned().map_err(|e| Error::io("open stdout", e))?;
        Out::Pipe(StreamSink::new(File::from(stdout)))
    } else {
        keep_apart(path, args.archive.inputs(&args.rootfs).chain(args.host.inputs()))?;
        let sink = FileSink::create(path).map_err(|error| Step::Write.explain(error))?.sync(args.sync);
        interrupt.guard(sink.temporary().map(Path::to_owned));
        Out::File(Box::new(sink))
    };
    Ok(if args.digest { Out::Hashed(Box::new(DigestSink::new(out))) } else { out })
}

fn write(image: &Image, store: &Store, out: Out, ui: Ui, interrupt: &Interrupt) -> Result<Written> {
    let _span = tracing::debug_span!("write").entered();
    let meter = Meter::new(ui, interrupt, "write");
    let filesystem = image.filesystem();
    let sink = Watched {
        out,
        meter: &meter,
        free: filesystem.free_blocks * filesystem.block_size,
        tally: Tally::default(),
        total: 0,
    };
    image.write(store, sink, &mut &*interrupt)
}

/// What is written to, for people.
fn target(path: &Path) -> String {
    if is_pipe(path) { "stdout".to_owned() } else { name(path) }
}

/// The process ends now, which frees the memory of a million inodes faster than dropping them.
fn done(image: Image) -> Result<(), Failure> {
    std::mem::forget(image);
    Ok(())
}
