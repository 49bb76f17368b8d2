//! Sends a raw image to an EBS snapshot: `cargo run --features ebs --example push -- disk.img`.
//!
//! `AWS_ENDPOINT_URL` and the rest of the `aws` command's configuration are heeded. Killed and run again, it goes on.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example may speak")]

use std::error::Error;
use std::path::PathBuf;

use lfs_image::Result;
use lfs_image::ebs::{Aws, Connect, RawImage, Settings, Source, Transfer, Upload, Watch};

struct Bar;

impl Watch for Bar {
    fn at(&mut self, transfer: &Transfer) -> Result<()> {
        eprint!("\r{:?}: {} of {} blocks", transfer.phase, transfer.done, transfer.total);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = PathBuf::from(std::env::args_os().nth(1).ok_or("which image?")?);
    let image = RawImage::open(&path)?;
    for note in image.notes() {
        eprintln!("{note}");
    }
    let aws = Aws::connect(&Connect::new())?;
    let settings = Settings::new().description(path.display().to_string());
    let journal = PathBuf::from(format!("{}.push", path.display()));
    let upload = Upload::new(&aws, &settings).journal(&journal).run(&Source::raw(&image), &mut Bar);
    eprintln!();
    let uploaded = upload.inspect_err(|failure| {
        if let Some(left) = &failure.left {
            let resumable =
                if left.resumable { "run this again to go on, or remove it" } else { "remove it" };
            eprintln!("{} is left: {resumable} by `{}`", left.snapshot_id, left.command());
        }
    })?;
    uploaded.forget_journal()?;
    println!("{}", uploaded.snapshot_id);
    Ok(())
}
