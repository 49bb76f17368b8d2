//! From options to a planned image.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use lfs_image::{
    Boot, GrubConfig, Image, ImageSpec, InodeCount, Input, PartitionTable, Progress, ReadOptions, Stage,
    Store, Timestamp, read_archives,
};

use crate::cli::{BootMethod, GrubCfg, ImageArgs, Table};

/// A planned image and the content that goes into it.
pub(crate) struct Planned {
    pub(crate) image: Image,
    pub(crate) store: Store,
}

/// Reads the archives and plans the image. `beside` is where content of compressed archives waits, unless told otherwise.
pub(crate) fn plan(
    rootfs: &Path,
    args: &ImageArgs,
    beside: PathBuf,
    progress: &mut dyn Progress,
) -> anyhow::Result<Planned> {
    let mut options = ReadOptions::new(args.spool_dir.clone().unwrap_or(beside));
    options.max_size = args.max_size;
    options.whiteouts = args.whiteouts;
    let mut inputs = Vec::new();
    let mut stdin = 0;
    for path in std::iter::once(rootfs).chain(args.overlay.iter().map(PathBuf::as_path)) {
        if path == Path::new("-") {
            stdin += 1;
            inputs.push(Input::reader("standard input", std::io::stdin()));
        } else {
            let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
            inputs.push(Input::file(path.display().to_string(), file));
        }
    }
    if stdin > 1 {
        bail!("standard input can be only one of the archives");
    }
    let (tree, store) =
        read_archives(inputs, &options, &mut |done, total| progress.at(Stage::Read, done, total))?;
    let image = Image::plan(tree, &store, &spec(args)?)?;
    Ok(Planned { image, store })
}

/// The specification that the options ask for.
fn spec(args: &ImageArgs) -> anyhow::Result<ImageSpec> {
    let mut spec = ImageSpec::new()
        .table(match args.table {
            Table::Gpt => PartitionTable::Gpt,
            Table::Mbr => PartitionTable::Mbr,
            Table::None => PartitionTable::None,
        })
        .free(args.free.0)
        .label(&args.label)
        .reserved(args.reserved)
        .journal(args.journal.0)
        .ea_inode(args.ea_inode)
        .boot(match args.boot {
            BootMethod::Auto => Boot::Auto,
            BootMethod::Grub => Boot::Grub,
            BootMethod::Uki => Boot::Uki,
            BootMethod::Stub => Boot::Stub,
            BootMethod::None => Boot::None,
        })
        .grub_config(match args.grub_cfg {
            GrubCfg::Auto => GrubConfig::Auto,
            GrubCfg::Keep => GrubConfig::Keep,
            GrubCfg::Replace => GrubConfig::Replace,
        });
    for arguments in &args.append {
        spec = spec.append(arguments);
    }
    if let Some(line) = &args.cmdline {
        spec = spec.cmdline(line);
    }
    if let Some(kernel) = &args.kernel {
        spec = spec.kernel(kernel);
    }
    if let Some(size) = args.size {
        spec = spec.size(size);
    }
    if let Some(uuid) = &args.uuid {
        spec = spec.uuid(uuid.parse()?);
    }
    if let Some(inodes) = args.inodes {
        spec = spec.inodes(InodeCount::Exactly(inodes));
    }
    if let Some(bytes) = args.inode_ratio {
        spec = spec.inodes(InodeCount::Ratio(bytes));
    }
    if let Some(bytes) = args.esp {
        spec = spec.esp(bytes);
    }
    if let Some(seconds) = time(args)? {
        spec = spec.time(Timestamp::from_secs(seconds));
    }
    Ok(spec)
}

fn time(args: &ImageArgs) -> anyhow::Result<Option<i64>> {
    if args.time.is_some() {
        return Ok(args.time);
    }
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => {
            let seconds = text
                .parse()
                .with_context(|| format!("SOURCE_DATE_EPOCH is `{text}`, not a number of seconds"))?;
            Ok(Some(seconds))
        }
        Err(_) => Ok(None),
    }
}

/// The folder of a path.
pub(crate) fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
