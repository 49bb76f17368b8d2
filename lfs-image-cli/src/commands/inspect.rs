//! `lfs-image inspect`: what is on an image, what would become of an archive.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lfs_image::archive::Store;
use lfs_image::image::{Boot, Disk};
use lfs_image::tree::ReadAt as _;
use lfs_image::{Error, Image, Result, Tree};

use crate::cli::{BootMethod, ImageArgs, Inspect};
use crate::ext4_tree;
use crate::failure::{Failure, Step, chain};
use crate::host::HostArgs;
use crate::interrupt::Interrupt;
use crate::look::find;
use crate::report::{Input, Report};
use crate::run::Run;
use crate::source::{HEAD, Source, is_archive, is_seekable};
use crate::spec::is_pipe;
use crate::ui::Ui;
use crate::usage;

pub(crate) fn run(args: &Inspect, ui: Ui) -> Result<(), Failure> {
    let report = match found(&args.file)? {
        Some((file, disk)) => of_disk(args, &file, &disk),
        None => of_archive(args, ui)?,
    };
    report.warn(ui);
    Ok(report.show(ui)?)
}

/// The disk in a file, unless there is something else in it.
pub(crate) fn found(path: &Path) -> Result<Option<(File, Disk)>> {
    // A pipe can't be looked at twice.
    if is_pipe(path) || path.metadata().is_ok_and(|meta| !is_seekable(&meta)) {
        return Ok(None);
    }
    let failed = |e| Error::io(format!("read {}", path.display()), e);
    let mut file = File::open(path).map_err(|e| Error::io(format!("open {}", path.display()), e))?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head).map_err(failed)?;
    if is_archive(&head) {
        return Ok(None);
    }
    let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let read_at = |offset: u64, buf: &mut [u8]| {
        let at = |e| Error::io(format!("read {} at byte {offset}", path.display()), e);
        file.read_exact_at(buf, offset).map_err(at)
    };
    let disk =
        Disk::read(len, &read_at).map_err(|error| error.context(format!("can't read {}", path.display())))?;
    Ok(disk.map(|disk| (file, disk)))
}

/// What a planned image is called where it needs a name.
const PLANNED: &str = "out.img";
/// What Xen's boot loaders look for.
const GRUB_CFG: &str = "boot/grub/grub.cfg";

fn of_disk(args: &Inspect, file: &File, disk: &Disk) -> Report {
    let mut report = Report::of_disk(&args.file, disk);
    let found = report.root_filesystem().map(|offset| ext4_tree::read(file, offset));
    // Without a root filesystem that can be read there is no grub.cfg that anybody could read.
    let grub_cfg = matches!(&found, Some(Ok((tree, _))) if find(tree, GRUB_CFG.as_bytes(), true).is_ok());
    report.run = Run::new(&args.file, disk.firmware, grub_cfg);
    if args.plan {
        report = report.with_partitions_as_regions();
    }
    match found {
        Some(Ok((tree, _))) if args.usage > 0 => report.usage = Some(usage::of_tree(&tree, args.usage)),
        Some(Err(error)) => {
            report.warnings.push(format!("the root filesystem can't be read: {}", chain(&error).join(": ")));
        }
        _ => {}
    }
    report
}

fn of_archive(args: &Inspect, ui: Ui) -> Result<Report, Failure> {
    let interrupt = Interrupt::install()?;
    let source = Source::open(&args.file, &args.archive)?;
    let archives = source.names.clone();
    let (tree, store) = source.read(&args.archive.options(None), ui, &interrupt)?;
    let (entries, bytes) = usage::total(&tree);
    let usage = (args.usage > 0).then(|| usage::of_tree(&tree, args.usage));
    let (image, refusal) = plan(&args.image, &args.host, tree, &store)?;
    let mut report = Report::of_plan(&image, args.image.table(), Input { archives, entries, bytes });
    report.warnings.extend_from_slice(store.warnings());
    report.warnings.extend(refusal.into_iter().chain(args.image.time_warnings(&image)));
    let grub_cfg = image.tree().lookup(GRUB_CFG.as_bytes()).is_some();
    report.run = Run::new(Path::new(PLANNED), image.firmware(), grub_cfg);
    if args.plan {
        report = report.with_regions(image.regions());
    }
    store.verify_unchanged()?;
    std::mem::forget(image);
    report.usage = usage;
    Ok(report)
}

/// The image that `raw` would make. Where nothing can start it, there is still something to see: what `--boot none` makes,
/// and why it is no better.
pub(crate) fn plan(
    args: &ImageArgs,
    host: &HostArgs,
    tree: Tree,
    store: &Store,
) -> Result<(Image, Option<String>), Failure> {
    let spec = args.spec().host(host.spec(None)?);
    let explain = |error| Step::Plan.explain(error);
    if !matches!(args.boot, BootMethod::Auto) {
        return Ok((Image::plan(tree, store, &spec).map_err(explain)?, None));
    }
    match Image::plan(tree.clone(), store, &spec) {
        Ok(image) => {
            std::mem::forget(tree);
            Ok((image, None))
        }
        Err(refusal) => {
            // The first error is the better one if this isn't what helps.
            let Ok(image) = Image::plan(tree, store, &spec.boot(Boot::None)) else {
                return Err(explain(refusal));
            };
            let refusal = chain(&refusal).join(": ");
            Ok((image, Some(format!("`raw` would need --boot none: {refusal}"))))
        }
    }
}
