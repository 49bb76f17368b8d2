//! `lfs-image raw`: a tarball to a raw disk image.

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use lfs_image::{DigestSink, FileSink, Image, Sink, StreamSink};
use serde_json::{Value, json};

use super::input::{self, Planned};
use crate::cli::RawArgs;
use crate::progress::Bar;
use crate::size::show;
use crate::ui::Ui;

pub(crate) fn run(args: &RawArgs, ui: &Ui) -> anyhow::Result<()> {
    let to_stdout = args.out == Path::new("-");
    if to_stdout && !args.dry_run && std::io::stdout().is_terminal() {
        bail!("the image would go to a terminal: redirect standard output, or name a file");
    }
    let mut bar = Bar::new(ui);
    let beside = if to_stdout { std::env::temp_dir() } else { input::folder(&args.out) };
    let planned = input::plan(&args.rootfs, &args.image, beside, &mut bar)?;
    bar.clear();
    let image = &planned.image;
    summary(image, ui);
    boot_summary(image, ui);
    if args.dry_run {
        return if ui.json { ui.result(describe(image)) } else { ui.result(image.to_string().trim_end()) };
    }
    let digest = if to_stdout {
        // A lock on standard output would be held for the whole walk anyway.
        let sink = StreamSink::new(std::io::stdout().lock());
        write(&planned, sink, args.digest, &mut bar)?
    } else {
        let sink = FileSink::create(&args.out)?.sync(args.sync);
        write(&planned, sink, args.digest, &mut bar)?
    };
    bar.clear();
    if !to_stdout {
        result(args, &planned, digest.as_deref(), ui)?;
    } else if let Some(digest) = digest {
        ui.note(format_args!("  sha256 {digest}"));
    }
    // The kernel frees a million small pieces faster than we do.
    std::mem::forget(planned);
    Ok(())
}

/// Writes the image; the digest in hexadecimal if it was asked for.
fn write<S: Sink>(planned: &Planned, sink: S, digest: bool, bar: &mut Bar) -> anyhow::Result<Option<String>> {
    let Planned { image, store } = planned;
    // Before the image gets its name, nobody may have changed what it was made of.
    let sink = Checked { sink, store };
    if digest {
        let (_, digest) = image.write(store, DigestSink::new(sink), bar)?;
        Ok(Some(digest.iter().map(|byte| format!("{byte:02x}")).collect()))
    } else {
        image.write(store, sink, bar)?;
        Ok(None)
    }
}

/// A sink that makes sure at the end that the archives are still what they were.
struct Checked<'a, S> {
    sink: S,
    store: &'a lfs_image::Store,
}

impl<S: Sink> Sink for Checked<'_, S> {
    type Receipt = S::Receipt;

    fn begin(&mut self, len: u64) -> lfs_image::Result<()> {
        self.sink.begin(len)
    }
    fn data(&mut self, offset: u64, bytes: &[u8]) -> lfs_image::Result<()> {
        self.sink.data(offset, bytes)
    }
    fn zeros(&mut self, offset: u64, len: u64) -> lfs_image::Result<()> {
        self.sink.zeros(offset, len)
    }
    fn unallocated(&mut self, offset: u64, len: u64) -> lfs_image::Result<()> {
        self.sink.unallocated(offset, len)
    }
    fn copy(
        &mut self,
        offset: u64,
        store: &dyn lfs_image::ReadAt,
        at: lfs_image::Position,
        len: u64,
    ) -> lfs_image::Result<()> {
        self.sink.copy(offset, store, at, len)
    }
    fn finish(self) -> lfs_image::Result<S::Receipt> {
        self.store.verify_unchanged()?;
        self.sink.finish()
    }
}

fn summary(image: &Image, ui: &Ui) {
    let filesystem = image.filesystem();
    let block = filesystem.block_size;
    ui.note(format_args!(
        "  plan   {} disk, {} used in the root filesystem, {} free",
        show(image.len()),
        show((filesystem.blocks - filesystem.free_blocks) * block),
        show((filesystem.free_blocks.saturating_sub(filesystem.reserved_blocks)) * block)
    ));
    for partition in image.partitions() {
        let ids = [("PARTUUID", Some(&partition.partuuid)), ("UUID", partition.uuid.as_ref())];
        let ids = ids.iter().filter_map(|(name, id)| Some((name, id.filter(|id| !id.is_empty())?)));
        let ids: Vec<String> = ids.map(|(name, id)| format!("{name}={id}")).collect();
        ui.note(format_args!(
            "  {:>4}   {:<9} {:>10} at {:>9}  {}",
            partition.number,
            partition.role.name(),
            show(partition.len),
            show(partition.offset),
            ids.join(" ")
        ));
    }
}

fn boot_summary(image: &Image, ui: &Ui) {
    for note in image.boot_notes() {
        ui.note(format_args!("  boot   {note}"));
    }
    for warning in image.boot_warnings() {
        ui.note(format_args!("warning: {warning}"));
    }
}

fn result(args: &RawArgs, planned: &Planned, digest: Option<&str>, ui: &Ui) -> anyhow::Result<()> {
    let image = &planned.image;
    if ui.json {
        let mut object = describe(image);
        object["image"] = json!(args.out.to_str().context("the image's path is not UTF-8")?);
        if let Some(digest) = digest {
            object["sha256"] = json!(digest);
        }
        return ui.result(object);
    }
    if let Some(digest) = digest {
        ui.result(format_args!("sha256:{digest}  {}", args.out.display()))?;
    }
    ui.result(format_args!("{} {}", root_argument(image), args.out.display()))
}

/// What the kernel's command line says.
pub(crate) fn root_argument(image: &Image) -> String {
    let root = image.partitions().iter().find(|partition| partition.role == lfs_image::Role::Root);
    match root {
        Some(root) if !root.partuuid.is_empty() => format!("root=PARTUUID={}", root.partuuid),
        _ => format!("root=UUID={}", image.filesystem().uuid),
    }
}

/// The image as JSON.
pub(crate) fn describe(image: &Image) -> Value {
    let filesystem = image.filesystem();
    json!({
        "version": 1,
        "size": image.len(),
        "disk_id": image.disk_id(),
        "root": root_argument(image),
        "boot": image.boot_notes(),
        "warnings": image.boot_warnings(),
        "cmdline": image.kernel_command_line(),
        "partitions": image.partitions().iter().map(|partition| json!({
            "number": partition.number,
            "role": partition.role.name(),
            "offset": partition.offset,
            "len": partition.len,
            "partuuid": partition.partuuid,
            "uuid": partition.uuid,
        })).collect::<Vec<_>>(),
        "filesystem": {
            "uuid": filesystem.uuid,
            "label": filesystem.label,
            "features": filesystem.features,
            "block_size": filesystem.block_size,
            "blocks": filesystem.blocks,
            "free_blocks": filesystem.free_blocks,
            "reserved_blocks": filesystem.reserved_blocks,
            "inodes": filesystem.inodes,
            "free_inodes": filesystem.free_inodes,
            "journal_blocks": filesystem.journal_blocks,
        },
    })
}
