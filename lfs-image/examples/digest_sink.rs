//! A sink of one's own: the SHA-256 of an image while it goes somewhere else, `cargo run --example digest_sink -- rootfs.tar out.img`.
//!
//! [`lfs_image::sink::DigestSink`] is the same, and ready. This shows what a sink has to do: take each byte once, in order, and tell
//! zeros that matter from space that nobody will read.

#![allow(clippy::print_stdout, reason = "an example may speak")]

use std::fs::File;

use lfs_image::sink::Sink;
use lfs_image::{FileSink, Image, ImageSpec, Input, ReadOptions, Result, read_archives};
use sha2::{Digest as _, Sha256};

struct Hashed<S> {
    inner: S,
    hash: Sha256,
}

impl<S: Sink> Sink for Hashed<S> {
    type Receipt = (S::Receipt, String);

    fn begin(&mut self, len: u64) -> Result<()> {
        self.inner.begin(len)
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.inner.data(offset, bytes)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        self.hash_zeros(len);
        self.inner.zeros(offset, len)
    }

    // Without this one, unallocated space would be zeros to the sink behind, which may want to leave it out.
    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        self.hash_zeros(len);
        self.inner.unallocated(offset, len)
    }

    // `copy` is not here: without it, content comes as `data`.

    fn finish(self) -> Result<Self::Receipt> {
        let digest: [u8; 32] = self.hash.finalize().into();
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((self.inner.finish()?, digest))
    }
}

impl<S> Hashed<S> {
    fn hash_zeros(&mut self, mut len: u64) {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while len > 0 {
            let n = len.min(ZEROS.len() as u64);
            self.hash.update(&ZEROS[..usize::try_from(n).unwrap_or(0)]);
            len -= n;
        }
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(rootfs), Some(out)) = (args.next(), args.next()) else {
        return Err("usage: digest_sink ROOTFS OUT".into());
    };
    let input = Input::file(&rootfs, File::open(&rootfs)?);
    let (tree, store) = read_archives([input], &ReadOptions::new("."), &mut ())?;
    let image = Image::plan(tree, &store, &ImageSpec::new())?;
    let sink = Hashed { inner: FileSink::create(&out)?, hash: Sha256::new() };
    let (path, digest) = image.write(&store, sink, &mut ())?;
    println!("{digest}  {}", path.display());
    Ok(())
}
