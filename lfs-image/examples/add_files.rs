//! Files of one's own, and what else a tree needs, before the disk is planned:
//! `cargo run --example add_files -- rootfs.tar out.img`.
//!
//! Three ways, from the shortest to the one that can do everything: the options of a host, an archive on top, and the tree itself.

#![allow(clippy::print_stdout, reason = "an example may speak")]

use std::fs::File;

use lfs_image::host::{HostSpec, OwnFile, Target};
use lfs_image::tree::{Content, Kind, Meta};
use lfs_image::{FileSink, Image, ImageSpec, Input, ReadOptions, read_archives};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [rootfs, overlays @ .., out] = &args[..] else {
        return Err("usage: add_files ROOTFS [OVERLAY...] OUT".into());
    };

    // An archive on top replaces and adds, as tar would.
    let open = |name: &String| File::open(name).map(|file| Input::file(name, file));
    let inputs = std::iter::once(rootfs).chain(overlays).map(open).collect::<Result<Vec<_>, _>>()?;
    let (mut tree, store) = read_archives(inputs, &ReadOptions::new("."), &mut ())?;

    // The tree takes anything.
    let time = tree.newest_mtime();
    let etc = tree.make_directories(b"etc", time)?;
    tree.insert(etc, b"motd", Meta::new(0o644, time), Kind::File(Content::bytes(*b"Welcome.\n")))?;

    // A host in EC2, with a file in it.
    let mut host = HostSpec::target(Target::Ec2);
    host.hostname = Some("lfs".to_owned());
    host.files.push(OwnFile::new("/etc/app.conf", Content::bytes(*b"answer = 42\n"), 0o640));

    let image = Image::plan(tree, &store, &ImageSpec::new().host(host))?;
    for edit in image.edits() {
        println!("{edit}");
    }
    image.write(&store, FileSink::create(out)?, &mut ())?;
    Ok(())
}
