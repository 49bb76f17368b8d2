//! What `lzop` writes, as a kernel built with CONFIG_KERNEL_LZO carries it: a header, and blocks of LZO1X.
//!
//! Source: Documentation/staging/lzo.rst in Linux for the stream; lib/decompress_unlzo.c names the header's fields.

use crate::error::{Error, Result};

pub(super) const MAGIC: [u8; 9] = *b"\x89LZO\0\r\n\x1a\n";

/// The largest block that lzop makes.
const MAX_BLOCK: usize = 64 << 20;

/// Flags of the header.
const ADLER32_D: u32 = 1 << 0;
const ADLER32_C: u32 = 1 << 1;
const EXTRA_FIELD: u32 = 1 << 6;
const CRC32_D: u32 = 1 << 8;
const CRC32_C: u32 = 1 << 9;
const FILTER: u32 = 1 << 11;
/// From this version on the header has more fields.
const NEW_HEADER: u16 = 0x0940;

/// Unpacks block by block, until `each` has seen enough.
pub(super) fn unpack(packed: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    let damaged = || Error::input("a stream of lzop is damaged");
    let mut input = Input { bytes: packed };
    let flags = header(&mut input).ok_or_else(damaged)?;
    let checks =
        |first: u32, second: u32| 4 * (usize::from(flags & first != 0) + usize::from(flags & second != 0));
    loop {
        let len = input.be32().ok_or_else(damaged)?;
        if len == 0 {
            return Ok(());
        }
        let packed_len = input.be32().ok_or_else(damaged)?;
        if len as usize > MAX_BLOCK || packed_len > len {
            return Err(damaged());
        }
        input.take(checks(ADLER32_D, CRC32_D)).ok_or_else(damaged)?;
        if packed_len < len {
            input.take(checks(ADLER32_C, CRC32_C)).ok_or_else(damaged)?;
        }
        let block = input.take(packed_len as usize).ok_or_else(damaged)?;
        let enough = if packed_len == len {
            each(block)
        } else {
            let bytes = self::block(block, len as usize).filter(|bytes| bytes.len() == len as usize);
            each(&bytes.ok_or_else(damaged)?)
        };
        if enough {
            return Ok(());
        }
    }
}

/// Reads the header; its flags.
fn header(input: &mut Input<'_>) -> Option<u32> {
    input.take(MAGIC.len())?;
    let version = input.be16()?;
    // The library's version, and the one that is needed to unpack.
    input.take(if version >= NEW_HEADER { 4 } else { 2 })?;
    // Method and level.
    input.take(if version >= NEW_HEADER { 2 } else { 1 })?;
    let flags = input.be32()?;
    if flags & FILTER != 0 {
        input.take(4)?;
    }
    // Mode and time.
    input.take(if version >= NEW_HEADER { 12 } else { 8 })?;
    let name = usize::from(*input.take(1)?.first()?);
    input.take(name)?;
    // A checksum of it all.
    input.take(4)?;
    if flags & EXTRA_FIELD != 0 {
        let len = input.be32()?;
        input.take(len as usize)?;
        input.take(4)?;
    }
    Some(flags)
}

/// Bytes that are left.
#[derive(Debug)]
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<usize> {
        Some(usize::from(*self.take(1)?.first()?))
    }

    fn le16(&mut self) -> Option<usize> {
        Some(self.byte()? | self.byte()? << 8)
    }

    fn be16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    fn be32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    /// A length whose bits in the instruction are zero goes on: 255 for each zero that follows, and the byte behind them.
    fn length(&mut self, bits: usize, all: usize) -> Option<usize> {
        if bits != 0 {
            return Some(bits);
        }
        let mut len = all;
        loop {
            match self.byte()? {
                0 if len <= MAX_BLOCK => len += 255,
                0 => return None,
                last => return Some(len + last),
            }
        }
    }
}

/// What the literals before an instruction say about those whose four high bits are zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Before {
    /// None: it is a run of literals.
    Nothing,
    /// One to three, with the instruction before: two bytes from nearby.
    Few,
    /// A run: three bytes from farther away.
    Run,
}

/// A block of LZO1X; `None` where it makes no sense, or more than `most` bytes.
fn block(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut input = Input { bytes: packed };
    let mut out: Vec<u8> = Vec::new();
    let mut before = Before::Nothing;
    // The first byte may be a run of literals by itself.
    if let Some(first) = packed.first().map(|first| usize::from(*first)).filter(|first| *first > 17) {
        input.byte()?;
        let len = first - 17;
        out.extend_from_slice(input.take(len)?);
        before = if len < 4 { Before::Few } else { Before::Run };
    }
    loop {
        let code = input.byte()?;
        let (len, distance, literals) = match code {
            0..=15 if before == Before::Nothing => {
                let len = input.length(code, 15)? + 3;
                out.extend_from_slice(input.take(len)?);
                before = Before::Run;
                if out.len() > most {
                    return None;
                }
                continue;
            }
            0..=15 => {
                let near = (input.byte()? << 2) + (code >> 2) + 1;
                if before == Before::Few { (2, near, code & 3) } else { (3, near + 2048, code & 3) }
            }
            16..=31 => {
                let len = input.length(code & 7, 7)? + 2;
                let low = input.le16()?;
                let distance = ((code & 8) << 11) + (low >> 2);
                if distance == 0 {
                    // The end.
                    return Some(out);
                }
                (len, distance + 16384, low & 3)
            }
            32..=63 => {
                let len = input.length(code & 31, 31)? + 2;
                let low = input.le16()?;
                (len, (low >> 2) + 1, low & 3)
            }
            64..=127 => (3 + (code >> 5 & 1), (input.byte()? << 3) + (code >> 2 & 7) + 1, code & 3),
            _ => (5 + (code >> 5 & 3), (input.byte()? << 3) + (code >> 2 & 7) + 1, code & 3),
        };
        if out.len() + len > most {
            return None;
        }
        let from = out.len().checked_sub(distance)?;
        for at in from..from + len {
            out.push(out[at]);
        }
        out.extend_from_slice(input.take(literals)?);
        before = if literals == 0 { Before::Nothing } else { Before::Few };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions() {
        // Four literals, then five bytes from four back, the end.
        let end = [0x11, 0, 0];
        let packed = [&[21][..], b"abcd", &[0x8c, 0], &end].concat();
        assert_eq!(block(&packed, 100).unwrap(), b"abcdabcda");
        assert_eq!(block(&packed, 8), None, "more than the block has");
        // A run of 3 + 1, then one from before the start.
        assert_eq!(block(&[&[1][..], b"abcd", &[0x9c, 0], &end].concat(), 100), None);
        // 15 + 3 + 255 + 1 literals.
        let long = [&[0, 0, 1][..], &[7; 274], &end].concat();
        assert_eq!(block(&long, 1000).unwrap(), [7; 274]);
        assert_eq!(block(&[0; 300_000], 1 << 20), None);
        for len in 0..packed.len() {
            assert_eq!(block(&packed[..len], 100), None, "cut at {len}");
        }
    }

    #[test]
    fn damaged_streams() {
        let mut seen = 0;
        let mut unpack = |bytes: &[u8]| {
            unpack(bytes, &mut |piece| {
                seen += piece.len();
                false
            })
        };
        let head =
            [&MAGIC[..], &[0x10, 0x40, 0x20, 0xa0, 9, 0x40, 3, 9], &[0, 0, 0, 0], &[0; 12], &[0], &[0; 4]]
                .concat();
        let stored = [&head[..], &[0, 0, 0, 2, 0, 0, 0, 2], b"hi", &[0; 4]].concat();
        unpack(&stored).unwrap();
        for bytes in [
            &MAGIC[..],
            &head,
            &stored[..stored.len() - 4],
            &[&head[..], &[0xff; 8]].concat(),
            &[&head[..], &[0, 0, 0, 9, 0, 0, 0, 2], b"hi"].concat(),
        ] {
            assert!(unpack(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(seen, 2 + 2);
    }
}
