//! Decisions drawn from bytes: a fuzzer that changes a byte changes a decision.

/// Bytes that are used up one decision at a time; behind their end everything is 0.
#[derive(Clone, Debug)]
pub struct Draw<'a>(pub &'a [u8]);

impl<'a> Draw<'a> {
    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number of `n` bytes.
    pub fn number(&mut self, n: u32) -> u64 {
        (0..n).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        let bytes = (64 - (limit - 1).leading_zeros()).div_ceil(8);
        self.number(bytes) % limit
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    /// Up to `len` bytes as they are.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// Numbers that look random and are the same every time.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number (splitmix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}
