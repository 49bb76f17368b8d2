//! The only "randomness" of an image: everything that other tools draw at random is derived from one digest of
//! the tree and the options, so the same input gives the same bits.

use sha2::{Digest as _, Sha256};

use super::guid::Uuid;

/// 32 bytes that stand for one input. [`Seed::derive`] gives independent values, one for each purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seed([u8; 32]);

impl Seed {
    pub(crate) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// 32 bytes for the named purpose.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"lfs-image\0");
        hash.update(self.0);
        hash.update(purpose.as_bytes());
        hash.finalize().into()
    }

    /// A UUID for the named purpose.
    pub(crate) fn uuid(&self, purpose: &str) -> Uuid {
        let bytes = self.derive(purpose);
        let mut half = [0; 16];
        half.copy_from_slice(&bytes[..16]);
        Uuid::from_digest(half)
    }

    /// A number that is not 0 for the named purpose (disk signatures, volume serials).
    pub(crate) fn nonzero_u32(&self, purpose: &str) -> u32 {
        let b = self.derive(purpose);
        u32::from_le_bytes([b[0], b[1], b[2], b[3]]).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_differ_and_repeat() {
        let seed = Seed::new([7; 32]);
        assert_ne!(seed.uuid("root"), seed.uuid("disk"));
        assert_eq!(seed.uuid("root"), Seed::new([7; 32]).uuid("root"));
    }
}
