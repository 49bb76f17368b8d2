//! From a tarball to a disk image in ten lines: `cargo run --example tar_to_image -- rootfs.tar out.img`.

use std::fs::File;

use lfs_image::{FileSink, Image, ImageSpec, Input, ReadOptions, read_archives};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(rootfs), Some(out)) = (args.next(), args.next()) else {
        return Err("usage: tar_to_image ROOTFS OUT".into());
    };
    let input = Input::file(&rootfs, File::open(&rootfs)?);
    let (tree, store) = read_archives([input], &ReadOptions::new("."), &mut ())?;
    let image = Image::plan(tree, &store, &ImageSpec::new())?;
    image.write(&store, FileSink::create(out)?, &mut ())?;
    Ok(())
}
