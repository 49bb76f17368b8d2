//! Makes an AMI of a tarball, with no disk image in between: `cargo run --features ami --example ami -- rootfs.tar my-system-1`.
//!
//! `AWS_ENDPOINT_URL` and the rest of the `aws` command's configuration are heeded. Killed and run again, it goes on; run once more, it
//! finds the image that it made.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example may speak")]

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, atomic::AtomicBool};

use lfs_image::ami::{AmiSpec, Checks, Publication, Registrar, Waiting};
use lfs_image::ebs::{Aws, Connect, Encryption, Refusal, Settings, Source, Upload};
use lfs_image::host::Target;
use lfs_image::{Image, ImageSpec, Input, ReadOptions, Result, read_archives};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [rootfs, name] = &args[..] else { return Err("usage: ami ROOTFS NAME".into()) };

    let input = Input::file(rootfs, File::open(rootfs)?);
    let (tree, store) = read_archives([input], &ReadOptions::new("."), &mut ())?;
    let image = Image::plan(tree, &store, &ImageSpec::new().target(Target::Ec2))?;
    let source = Source::plan(&image, &store);

    // Whoever sets this from a handler of signals ends it.
    let stop = Arc::new(AtomicBool::new(false));
    let aws = Aws::connect(&Connect::new())?;
    let registrar = Registrar::new(&aws, stop);
    let (settings, publication) = (Settings::new().description(name), Publication::new());
    let (spec, firmware) = (AmiSpec::new(name), image.firmware());

    // All that can go wrong is better known before the first byte.
    let survey = source.survey(&settings)?;
    let found = registrar.preflight(&Checks {
        ami: Some((&spec, &firmware)),
        publication: &publication,
        encryption: &Encryption::Account,
        blocks: survey.blocks,
        volume_gib: survey.volume_gib,
    });
    let found = found.inspect_err(|error| {
        if let Some(hint) = Refusal::of(error).and_then(Refusal::hint) {
            eprintln!("{hint}");
        }
    })?;
    if let Some(taken) = found.taken {
        // The same name for something else is refused; the digest tells.
        if taken.digest != Some(source.fingerprint(&settings, &mut ())?) {
            return Err(format!("{} has the name already", taken.ami.id).into());
        }
        println!("{}", taken.ami.id);
        return Ok(());
    }
    for warning in found.warnings {
        eprintln!("{warning}");
    }

    let journal = PathBuf::from(format!("{name}.push"));
    let uploaded =
        Upload::new(&aws, &settings).journal(&journal).snapshots(&registrar).run(&source, &mut ())?;
    let mut wait = |waiting: &Waiting<'_>| -> Result<()> {
        eprintln!("{} is {}", waiting.id, waiting.state);
        Ok(())
    };
    registrar.wait_for_snapshot(&uploaded.snapshot_id, &mut wait)?;
    let spec = spec.marked(&uploaded.fingerprint);
    let ami = registrar.register(&spec, &firmware, &uploaded.snapshot_id, uploaded.volume_gib, &mut wait)?;
    uploaded.forget_journal()?;
    println!("{}", ami.id);
    Ok(())
}
