//! Numbers: checked narrowing, halves of wide fields, rounding.

use crate::error::{Error, Result};

// Tables are indexed by block and inode numbers that were checked as u64.
const _: () = assert!(usize::BITS == 64, "lfs-image needs a 64-bit host");

/// A length or index as `usize`; lossless on the 64-bit hosts this crate is limited to.
pub(crate) const fn index(n: u64) -> usize {
    #[allow(clippy::cast_possible_truncation)] // usize is 64 bits wide, asserted above
    {
        n as usize
    }
}

/// The low 32 bits.
pub(crate) const fn lo32(n: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // the point
    {
        (n & 0xffff_ffff) as u32
    }
}

/// The high 32 bits.
pub(crate) const fn hi32(n: u64) -> u32 {
    lo32(n >> 32)
}

/// The low 16 bits.
pub(crate) const fn lo16(n: u32) -> u16 {
    #[allow(clippy::cast_possible_truncation)] // the point
    {
        (n & 0xffff) as u16
    }
}

/// The high 16 bits.
pub(crate) const fn hi16(n: u32) -> u16 {
    lo16(n >> 16)
}

/// The low 8 bits.
pub(crate) const fn lo8(n: u32) -> u8 {
    #[allow(clippy::cast_possible_truncation)] // the point
    {
        (n & 0xff) as u8
    }
}

/// `n` as a narrower integer, or an error that names the field and the value.
pub(crate) fn fit<T: TryFrom<u64>>(n: u64, field: &str) -> Result<T> {
    T::try_from(n).map_err(|_| {
        Error::capacity(format!("{field} is {n}, more than the {} bytes of its field hold", size_of::<T>()))
    })
}

/// `n` rounded up to a multiple of `to`, or `None` where that overflows. `to` must not be 0.
pub(crate) fn round_up(n: u64, to: u64) -> Option<u64> {
    n.checked_next_multiple_of(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        assert_eq!((hi32(0x1_2345_6789), lo32(0x1_2345_6789)), (1, 0x2345_6789));
        assert_eq!((hi16(0x1234_5678), lo16(0x1234_5678), lo8(0x1234_5678)), (0x1234, 0x5678, 0x78));
    }

    #[test]
    fn narrowing_names_the_field() {
        assert_eq!(fit::<u16>(65_535, "links").unwrap(), 65_535);
        assert_eq!(
            fit::<u16>(65_536, "links").unwrap_err().to_string(),
            "links is 65536, more than the 2 bytes of its field hold"
        );
    }
}
