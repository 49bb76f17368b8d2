//! Block and inode bitmaps: a bit for each of a group's blocks or inodes, and ones for those that it doesn't have.

use super::geometry::BLOCK_SIZE;
use crate::raw::num::index;

/// One block of bits, all clear.
#[derive(Clone, Debug)]
pub(crate) struct Bitmap(Box<[u8]>);

impl Bitmap {
    pub(crate) fn new() -> Self {
        Self(vec![0; index(BLOCK_SIZE)].into_boxed_slice())
    }

    /// Sets the bits from `start` up to `end`.
    pub(crate) fn set(&mut self, start: u64, end: u64) {
        let (mut bit, end) = (index(start), index(end));
        while bit < end {
            if bit % 8 == 0 && end - bit >= 8 {
                let bytes = (end - bit) / 8;
                self.0[bit / 8..bit / 8 + bytes].fill(0xff);
                bit += 8 * bytes;
            } else {
                self.0[bit / 8] |= 1 << (bit % 8);
                bit += 1;
            }
        }
    }

    /// How many bits below `end` are set.
    pub(crate) fn count(&self, end: u64) -> u64 {
        let (bytes, bits) = (index(end / 8), end % 8);
        let whole: u32 = self.0[..bytes].iter().map(|byte| byte.count_ones()).sum();
        let part = self.0.get(bytes).map_or(0, |byte| (byte & ((1 << bits) - 1)).count_ones());
        u64::from(whole) + u64::from(part)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_bits() {
        let mut bitmap = Bitmap::new();
        bitmap.set(3, 5);
        bitmap.set(15, 33);
        assert_eq!(bitmap.bytes()[..5], [0b0001_1000, 0x80, 0xff, 0xff, 1]);
        assert_eq!((bitmap.count(4), bitmap.count(32_768)), (1, 20));
        bitmap.set(0, 32_768);
        assert_eq!(bitmap.count(32_768), 32_768);
    }
}
