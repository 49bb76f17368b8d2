//! Blocks on their way, and the buffers they lie in.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::settings::BLOCK;
use crate::raw::num::index;

/// Bytes in a block.
pub(super) const BLOCK_BYTES: usize = index(BLOCK);

/// The SHA-256 of a block.
pub(super) type Digest = [u8; 32];

static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
static ZEROS_DIGEST: LazyLock<Digest> = LazyLock::new(|| Sha256::digest(ZEROS).into());

/// The content of a block, cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Zeros, which take no memory.
    Zeros,
    /// Whatever is in this buffer.
    Data(Bytes),
}

impl Body {
    pub(super) fn bytes(&self) -> Bytes {
        match self {
            Self::Zeros => Bytes::from_static(&ZEROS),
            Self::Data(bytes) => bytes.clone(),
        }
    }

    /// The SHA-256 of it.
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Zeros => *ZEROS_DIGEST,
            Self::Data(bytes) => digest(bytes),
        }
    }
}

/// The SHA-256 of a block's bytes.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Whether a block has nothing but zeros.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes == &ZEROS[..bytes.len().min(BLOCK_BYTES)]
}

/// Buffers that are used again, so that a transfer takes as much memory as it has blocks under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Box<[u8]>>>>);

/// Buffers that are kept for the next block.
const SPARE: usize = 16;

impl Pool {
    /// A buffer of a block. What is in it is left from before.
    pub(super) fn take(&self) -> Buffer {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = spare.unwrap_or_else(|| vec![0; BLOCK_BYTES].into_boxed_slice());
        Buffer { bytes, pool: self.clone() }
    }
}

/// A buffer of a block, which goes back to its pool.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    pool: Pool,
}

impl Buffer {
    /// All of it.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// It is filled.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back() {
        let pool = Pool::default();
        let mut buffer = pool.take();
        buffer.bytes_mut()[0] = 7;
        let bytes = buffer.freeze();
        let copy = bytes.clone();
        drop(bytes);
        assert_eq!(pool.0.lock().unwrap().len(), 0);
        drop(copy);
        assert_eq!(pool.0.lock().unwrap().len(), 1);
        assert_eq!(pool.take().as_ref()[0], 7);
    }

    #[test]
    fn zeros_are_zeros() {
        assert_eq!(Body::Zeros.bytes().len(), BLOCK_BYTES);
        assert_eq!(Body::Zeros.digest(), Body::Data(vec![0; BLOCK_BYTES].into()).digest());
        assert!(is_zero(&Body::Zeros.bytes()));
        let mut bytes = vec![0; BLOCK_BYTES];
        bytes[BLOCK_BYTES - 1] = 1;
        assert!(!is_zero(&bytes));
    }
}
