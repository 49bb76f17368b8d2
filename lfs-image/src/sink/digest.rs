//! The SHA-256 of an image, on its way to another sink.

use sha2::{Digest as _, Sha256};

use super::each_zeros;
use crate::error::Result;
use crate::raw::sink::Sink;

/// Hands an image on to another sink and computes the SHA-256 of all of it, zeros and unallocated space counted as zero
/// bytes: that of a file that was new when the image was written to it.
///
/// Each byte is hashed, holes too: about a second for each GiB or two of the image's size. Content passes through
/// memory even where the inner sink could copy it inside the kernel.
///
/// # Examples
///
/// ```
/// use lfs_image::sink::{DigestSink, NullSink, Sink as _};
///
/// let mut sink = DigestSink::new(NullSink::default());
/// sink.begin(3)?;
/// sink.data(0, b"abc")?;
/// let (_, digest) = sink.finish()?;
/// assert_eq!(digest[..4], [0xba, 0x78, 0x16, 0xbf]);
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DigestSink<S> {
    inner: S,
    hash: Sha256,
}

impl<S: Sink> DigestSink<S> {
    /// A sink in front of `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    fn hash_zeros(&mut self, len: u64) -> Result<()> {
        each_zeros(len, |zeros| {
            self.hash.update(zeros);
            Ok(())
        })
    }
}

impl<S: Sink> Sink for DigestSink<S> {
    type Receipt = (S::Receipt, [u8; 32]);

    fn begin(&mut self, len: u64) -> Result<()> {
        self.hash = Sha256::new();
        self.inner.begin(len)
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.inner.data(offset, bytes)?;
        self.hash.update(bytes);
        Ok(())
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        self.inner.zeros(offset, len)?;
        self.hash_zeros(len)
    }

    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        self.inner.unallocated(offset, len)?;
        self.hash_zeros(len)
    }

    // `copy` is left as it is: it comes back as `data`.

    fn finish(self) -> Result<Self::Receipt> {
        Ok((self.inner.finish()?, self.hash.finalize().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::StreamSink;
    use crate::tree::{Position, ReadAt};

    struct Alphabet;

    impl ReadAt for Alphabet {
        fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()> {
            for (byte, n) in buf.iter_mut().zip(at.offset()..) {
                *byte = b'a' + u8::try_from(n % 26).unwrap();
            }
            Ok(())
        }
    }

    #[test]
    fn all_kinds_of_space_count() {
        let mut sink = DigestSink::new(StreamSink::new(Vec::new()));
        sink.begin(3 << 20).unwrap();
        sink.data(0, b"abc").unwrap();
        sink.copy(3, &Alphabet, Position::new(0, 1).unwrap(), (2 << 20) - 3).unwrap();
        sink.zeros(2 << 20, 1 << 19).unwrap();
        sink.unallocated((2 << 20) + (1 << 19), 1 << 19).unwrap();
        let (bytes, digest) = sink.finish().unwrap();
        assert_eq!(&bytes[..6], b"abcbcd");
        assert_eq!(bytes.len(), 3 << 20);
        assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(&bytes)));
    }
}
