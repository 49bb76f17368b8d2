//! A root filesystem built in code, with no tar at all: `cargo run --example tree_in_code -- out.img`.
//!
//! It has no kernel, so the image starts with one from elsewhere (`Boot::None`).

use lfs_image::image::Boot;
use lfs_image::tree::{Content, Device, Directory, Kind, Meta, NoStore, NodeId, Timestamp};
use lfs_image::{FileSink, Image, ImageSpec, Tree};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::args_os().nth(1).ok_or("usage: tree_in_code OUT")?;
    let image = Image::plan(tree()?, &NoStore, &ImageSpec::new().size(64 << 20).boot(Boot::None))?;
    image.write(&NoStore, FileSink::create(out)?, &mut ())?;
    Ok(())
}

fn tree() -> lfs_image::Result<Tree> {
    let mut tree = Tree::new();
    let meta = |mode| Meta::new(mode, Timestamp::from_secs(1_767_225_600));
    let directory = || Kind::Directory(Directory::default());

    let etc = tree.insert(NodeId::ROOT, b"etc", meta(0o755), directory())?;
    let hostname = tree.insert(etc, b"hostname", meta(0o644), Kind::File(Content::bytes(*b"lfs\n")))?;
    // Two names of one file.
    tree.link(etc, b"HOSTNAME", hostname)?;

    let dev = tree.insert(NodeId::ROOT, b"dev", meta(0o755), directory())?;
    tree.insert(dev, b"console", meta(0o600), Kind::CharDevice(Device { major: 5, minor: 1 }))?;

    // Attributes are kept as sets, which inodes share.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let xattrs = tree.intern([(b"security.capability"[..].into(), capability[..].into())].into())?;
    let ping = Meta { xattrs, ..meta(0o755) };
    tree.insert(NodeId::ROOT, b"ping", ping, Kind::File(Content::bytes(*b"#!/bin/sh\n")))?;
    tree.insert(NodeId::ROOT, b"bin", meta(0o777), Kind::Symlink(b"usr/bin"[..].into()))?;
    Ok(tree)
}
