//! Where images go: a file, a stream, nowhere; with or without a digest on the way.

mod digest;
mod file;
mod null;
mod partial;
mod stream;

pub use crate::raw::sink::Sink;
pub use digest::DigestSink;
pub use file::FileSink;
pub use null::{NullSink, Tally};
pub use stream::StreamSink;

use crate::error::{Error, Result};
use crate::raw::num::index;

/// Calls `f` with pieces of a page of zeros until `len` are through.
fn each_zeros(len: u64, mut f: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut left = len;
    while left > 0 {
        let n = left.min(ZEROS.len() as u64);
        f(&ZEROS[..index(n)])?;
        left -= n;
    }
    Ok(())
}

/// How far an image has come. Sinks hear every byte once and in order; one that misses a call must not go on.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    begun: bool,
    at: u64,
    len: u64,
}

impl Reached {
    fn begin(len: u64) -> Self {
        Self { begun: true, at: 0, len }
    }

    /// Steps over `len` bytes at `offset`.
    fn advance(&mut self, offset: u64, len: u64) -> Result<()> {
        let end = offset.checked_add(len).filter(|end| offset == self.at && *end <= self.len);
        self.at = end.ok_or_else(|| {
            Error::misuse(format!(
                "{len} bytes at offset {offset} of an image that has reached {} of {}",
                self.at, self.len
            ))
        })?;
        Ok(())
    }

    /// That nothing is missing.
    fn finish(self) -> Result<()> {
        if !self.begun {
            return Err(Error::misuse("the image ends before it begins"));
        }
        if self.at == self.len {
            return Ok(());
        }
        Err(Error::misuse(format!("the image ends at byte {} of {}", self.at, self.len)))
    }
}
