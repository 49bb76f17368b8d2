//! Raw LZMA1 as GRUB's i386-pc decompressor takes it: no header, no size, no end marker, lc=3 lp=0 pb=2.
//!
//! It takes nothing but LZMA, and there is room to spare. So only literals are written, each coded by what the byte before began
//! with: Debian's core of 504 KB becomes 296 KB, where matches would make it 212 KB, and a disk is planned in 0.07 s, not 0.12 s.
//!
//! The format: the LZMA specification by Igor Pavlov (`lzma-specification.txt` of the LZMA SDK).

/// lc: how many bits of the byte before choose a literal's probabilities.
const CONTEXT_BITS: u32 = 3;
/// pb: the probability that something is a literal is kept for each position in so many.
const POSITIONS: usize = 1 << 2;
/// Probabilities are in 2048ths, and start even.
const PROBABILITY_BITS: u32 = 11;
const EVEN: u16 = 1 << (PROBABILITY_BITS - 1);
/// How slowly they follow what is seen.
const MOVE_BITS: u32 = 5;

/// Puts bytes into a stream that decompresses to them.
pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut coder = Coder::new(bytes.len());
    let mut is_match = [EVEN; POSITIONS];
    let mut literals = [[EVEN; 0x100]; 1 << CONTEXT_BITS];
    let mut before = 0u8;
    for (at, &byte) in bytes.iter().enumerate() {
        coder.bit(&mut is_match[at % POSITIONS], false);
        let tree = &mut literals[usize::from(before >> (8 - CONTEXT_BITS))];
        // The bits so far, behind a one, are the place in the tree.
        let mut node = 1;
        for shift in (0..8).rev() {
            let bit = byte >> shift & 1;
            coder.bit(&mut tree[node], bit == 1);
            node = node << 1 | usize::from(bit);
        }
        before = byte;
    }
    coder.finish()
}

/// The range coder.
struct Coder {
    out: Vec<u8>,
    low: u64,
    range: u32,
    /// A byte that a carry may still change, and how many bytes of 0xff follow it, itself counted.
    cache: u8,
    waiting: u64,
}

impl Coder {
    fn new(expected: usize) -> Self {
        Self { out: Vec::with_capacity(expected), low: 0, range: u32::MAX, cache: 0, waiting: 1 }
    }

    fn bit(&mut self, probability: &mut u16, bit: bool) {
        let bound = (self.range >> PROBABILITY_BITS) * u32::from(*probability);
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
            *probability -= *probability >> MOVE_BITS;
        } else {
            self.range = bound;
            *probability += ((1 << PROBABILITY_BITS) - *probability) >> MOVE_BITS;
        }
        if self.range < 1 << 24 {
            self.range <<= 8;
            self.shift();
        }
    }

    /// The upper byte of `low` is settled, unless a carry may still come.
    fn shift(&mut self) {
        let [.., carry, top, _, _, _] = self.low.to_be_bytes();
        if carry != 0 || top != 0xff {
            self.out.push(self.cache.wrapping_add(carry));
            for _ in 1..self.waiting {
                self.out.push(0xff_u8.wrapping_add(carry));
            }
            self.cache = top;
            self.waiting = 0;
        }
        self.waiting += 1;
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        self.out
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Read as _;

    use lzma_rust2::LzmaReader;

    use super::*;

    /// Undoes [`compress`], given the length of what went in; by another program.
    pub(crate) fn decompress(stream: &[u8], len: usize) -> Option<Vec<u8>> {
        let mut reader = LzmaReader::new(stream, len as u64, 3, 0, 2, 64 << 10, None).ok()?;
        let mut bytes = vec![0; len];
        reader.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    #[test]
    fn round_trip() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|n| (n >> 5).to_le_bytes()).collect();
        let stream = compress(&text);
        assert!(stream.len() < text.len() / 2);
        assert_eq!(stream[0], 0, "the range coder's first byte");
        assert!(decompress(&stream, text.len()).is_some_and(|back| back == text));
        let mut bad = stream;
        bad[1000] ^= 1;
        assert_ne!(decompress(&bad, text.len()), Some(text));
    }

    #[test]
    fn carries_go_up() {
        // Lengths of noise, and of what becomes improbable at last: carries through long rows of 0xff.
        let mut noise = 1u64;
        let mut next = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise.to_be_bytes()[0]
        };
        for round in 0..300 {
            let mut bytes: Vec<u8> = (0..round * 3).map(|_| next()).collect();
            bytes.extend(vec![next(); usize::from(next()) * 8]);
            bytes.extend([next(), next()]);
            let stream = compress(&bytes);
            assert_eq!(decompress(&stream, bytes.len()), Some(bytes), "round {round}");
        }
        assert_eq!(compress(b"").len(), 5);
    }
}
