//! `lfs-image pull`: a snapshot becomes a raw image.

use lfs_image::ami::Registrar;
use lfs_image::ebs::{Aws, BLOCK, Pull as Download, Settings};
use lfs_image::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::aws::Pull;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::size::{Count, Human};
use crate::transfer::Meter;
use crate::ui::Ui;

/// The JSON of `--json`. Sizes are bytes. Fields are only ever added under the same version.
#[derive(Clone, Debug, Serialize)]
struct Pulled {
    /// Of this schema.
    version: u32,
    snapshot: String,
    region: String,
    image: String,
    size: u64,
    /// Blocks of 512 KiB that the snapshot has; the rest of the image is holes.
    blocks: u64,
    bytes: u64,
}

pub(crate) fn run(args: &Pull, ui: Ui) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    let id = &args.snapshot;
    if !id.starts_with("snap-") && !id.starts_with("ami-") {
        let what = format!("`{id}` is neither a snapshot (snap-…) nor an image (ami-…)");
        return Err(Error::new(ErrorKind::Input, what).into());
    }
    let aws = Aws::connect(&args.aws.connect())?;
    let snapshot = snapshot(args, &aws, &interrupt)?;
    let mut settings = Settings::new();
    if let Some(jobs) = args.jobs {
        settings = settings.jobs(jobs.into());
    }
    let download = Download::new(&aws, &snapshot, &args.out, &settings);
    let mut meter = Meter::new(ui, &interrupt, "pull");
    let outcome = download.run(&mut meter);
    drop(meter);
    let pulled = outcome.map_err(|error| {
        let mut failure = Failure::from(error);
        let there: Vec<_> = download.partial().into_iter().filter(|path| path.exists()).collect();
        if !there.is_empty() {
            let names = there.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
            failure.left.push(format!("the same command goes on with {names}. To remove it: rm {names}"));
        }
        failure
    })?;
    let (blocks, bytes) = (pulled.blocks, pulled.blocks.saturating_mul(BLOCK));
    let image = args.out.display().to_string();
    ui.step(
        "pull",
        format_args!("{snapshot}  {} blocks, {} of {}", Count(blocks), Human(bytes), Human(pulled.len)),
    );
    if ui.json {
        let region = aws.region().to_owned();
        return Ok(ui.json(&Pulled {
            version: 1,
            snapshot,
            region,
            image,
            size: pulled.len,
            blocks,
            bytes,
        })?);
    }
    Ok(ui.result(format_args!("{image}\n"))?)
}

/// The snapshot that was asked for, by its own id or by that of an image.
fn snapshot(args: &Pull, aws: &Aws, interrupt: &Interrupt) -> Result<String> {
    let id = &args.snapshot;
    if id.starts_with("snap-") {
        return Ok(id.clone());
    }
    let registrar = Registrar::new(aws, interrupt.flag());
    registrar.root_snapshot(id)?.ok_or_else(|| {
        let what = format!(
            "there is no image {id} of yours in {}, or its root volume has no snapshot",
            aws.region()
        );
        Error::new(ErrorKind::Input, what)
    })
}
