//! The 512-byte tar header: V7, ustar (POSIX 1003.1-1988, and pax 2001), old GNU, star.
//!
//! ```text
//!   0 name[100]  100 mode[8]  108 uid[8]  116 gid[8]  124 size[12]  136 mtime[12]  148 chksum[8]  156 typeflag
//! 157 linkname[100]  257 magic[6]  263 version[2]  265 uname[32]  297 gname[32]  329 devmajor[8]  337 devminor[8]
//! 345 ustar: prefix[155]      star: prefix[131] atime[12] ctime[12]
//! 345 old GNU: atime[12] ctime[12] offset[12] longnames[4] -[1] sparse[4 x 24] isextended[1] realsize[12]
//! ```
//!
//! Numbers are octal text, or two's complement ("base 256") when the first bit is set. Not here: GNU tar 1.13's base-64
//! numbers, and the access times of old GNU and star headers, which GNU tar ignores too unless it restores an
//! incremental dump.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Everything in a tar archive comes in blocks of this size.
pub(crate) const BLOCK: usize = 512;

/// A header as it stands in the archive.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) name: [u8; 100],
    pub(crate) mode: [u8; 8],
    pub(crate) uid: [u8; 8],
    pub(crate) gid: [u8; 8],
    pub(crate) size: [u8; 12],
    pub(crate) mtime: [u8; 12],
    pub(crate) chksum: [u8; 8],
    pub(crate) typeflag: u8,
    pub(crate) linkname: [u8; 100],
    pub(crate) magic: [u8; 6],
    pub(crate) version: [u8; 2],
    pub(crate) uname: [u8; 32],
    pub(crate) gname: [u8; 32],
    pub(crate) devmajor: [u8; 8],
    pub(crate) devminor: [u8; 8],
    pub(crate) tail: [u8; 167],
}

const _: () = assert!(size_of::<Header>() == BLOCK);
const _: () = assert!(std::mem::offset_of!(Header, chksum) == 148);
const _: () = assert!(std::mem::offset_of!(Header, magic) == 257);
const _: () = assert!(std::mem::offset_of!(Header, tail) == 345);

/// A run of data in a sparse file's map.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct SparseField {
    pub(crate) offset: [u8; 12],
    pub(crate) numbytes: [u8; 12],
}

/// The tail of an old GNU header.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct GnuTail {
    pub(crate) atime: [u8; 12],
    pub(crate) ctime: [u8; 12],
    pub(crate) offset: [u8; 12],
    pub(crate) longnames: [u8; 4],
    pub(crate) unused: u8,
    pub(crate) sparse: [SparseField; 4],
    pub(crate) isextended: u8,
    pub(crate) realsize: [u8; 12],
    pub(crate) padding: [u8; 17],
}

const _: () = assert!(size_of::<GnuTail>() == 167);
const _: () = assert!(std::mem::offset_of!(GnuTail, sparse) == 386 - 345);
const _: () = assert!(std::mem::offset_of!(GnuTail, realsize) == 483 - 345);

/// A block that continues the map of an old GNU sparse file.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct SparseBlock {
    pub(crate) sparse: [SparseField; 21],
    pub(crate) isextended: u8,
    pub(crate) padding: [u8; 7],
}

const _: () = assert!(size_of::<SparseBlock>() == BLOCK);

/// The dialect of a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    V7,
    /// POSIX 1988 and later.
    Ustar,
    /// Jörg Schilling's, with a shorter prefix.
    Star,
    Gnu,
}

impl Header {
    /// The header in a block whose checksum is right, or what is wrong with it.
    pub(crate) fn read(block: &[u8; BLOCK]) -> Result<Self, String> {
        let header: Self = zerocopy::transmute!(*block);
        let stated = octal(&header.chksum)?.ok_or("its checksum field is empty")?;
        // 512 bytes never come near 32 bits; saying so lets the compiler add many at once.
        let unsigned = |bytes: &[u8]| bytes.iter().fold(0u32, |sum, b| sum.wrapping_add(u32::from(*b)));
        // The field itself counts as eight spaces. Unsigned bytes are what POSIX wants.
        let sum = i64::from(unsigned(block)) - i64::from(unsigned(&header.chksum)) + 8 * i64::from(b' ');
        if sum == stated {
            return Ok(header);
        }
        // Some old writers added signed ones: 256 less for each byte over 0x7f.
        let high = |bytes: &[u8]| i64::try_from(bytes.iter().filter(|b| **b > 0x7f).count());
        if let (Ok(all), Ok(field)) = (high(block), high(&header.chksum))
            && sum - 256 * (all - field) == stated
        {
            return Ok(header);
        }
        Err(format!("its checksum is {sum:o} (octal), but it says {stated:o}"))
    }

    /// The dialect.
    pub(crate) fn dialect(&self) -> Dialect {
        if self.magic == *b"ustar " && self.version == *b" \0" {
            Dialect::Gnu
        } else if self.magic != *b"ustar\0" {
            Dialect::V7
        } else if self.tail[130] == 0
            && is_star_time(&self.tail[131..143])
            && is_star_time(&self.tail[143..155])
        {
            Dialect::Star
        } else {
            Dialect::Ustar
        }
    }

    /// The path, from prefix and name.
    pub(crate) fn path(&self) -> Vec<u8> {
        let prefix = match self.dialect() {
            Dialect::V7 | Dialect::Gnu => &[][..],
            Dialect::Ustar => text(&self.tail[..155]),
            Dialect::Star => text(&self.tail[..131]),
        };
        let name = text(&self.name);
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    /// The link target.
    pub(crate) fn link(&self) -> &[u8] {
        text(&self.linkname)
    }

    /// The tail as old GNU tar wrote it.
    pub(crate) fn gnu(&self) -> GnuTail {
        zerocopy::transmute!(self.tail)
    }
}

/// Star writes times as eleven octal digits and a space; a prefix seldom looks like that.
fn is_star_time(field: &[u8]) -> bool {
    field[..11].iter().all(|c| matches!(c, b'0'..=b'7')) && field[11] == b' '
}

/// The bytes before the first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|c| *c == 0).unwrap_or(field.len());
    &field[..end]
}

/// Reads a number field; an empty one is 0.
pub(crate) fn number(field: &[u8], name: &str) -> Result<i64, String> {
    let value = if field.first().is_some_and(|b| b & 0x80 != 0) {
        base256(field)
    } else {
        octal(field).map(Option::unwrap_or_default)
    };
    value.map_err(|fault| format!("its {name} field {fault}"))
}

/// Reads a number field that can't be negative.
pub(crate) fn unsigned(field: &[u8], name: &str) -> Result<u64, String> {
    let value = number(field, name)?;
    u64::try_from(value).map_err(|_| format!("its {name} field is negative ({value})"))
}

/// Reads a number field of 32 bits.
pub(crate) fn unsigned32(field: &[u8], name: &str) -> Result<u32, String> {
    let value = number(field, name)?;
    u32::try_from(value).map_err(|_| format!("its {name} field is {value}, which no Linux system can hold"))
}

/// Octal digits, with spaces before them and a space or NUL after; `None` where there are none.
fn octal(field: &[u8]) -> Result<Option<i64>, String> {
    let start = field.iter().position(|c| *c != b' ').unwrap_or(field.len());
    let mut rest = &field[start..];
    let mut value = 0;
    let mut empty = true;
    // Twelve digits are 36 bits.
    while let [digit @ b'0'..=b'7', after @ ..] = rest {
        value = value << 3 | i64::from(digit & 7);
        empty = false;
        rest = after;
    }
    if !matches!(rest.first(), None | Some(b' ' | 0))
        || (empty && rest.iter().any(|c| !matches!(c, b' ' | 0)))
    {
        return Err(format!("is not a number: `{}`", field.escape_ascii()));
    }
    Ok((!empty).then_some(value))
}

/// A big-endian two's complement number whose first bit only says so.
fn base256(field: &[u8]) -> Result<i64, String> {
    let (first, rest) = field.split_first().ok_or("is empty")?;
    // The sign is bit 6 of the first byte; bit 7 is the mark.
    let mut value = i128::from((first << 1).cast_signed() >> 1);
    for byte in rest {
        value = value << 8 | i128::from(*byte);
    }
    i64::try_from(value).map_err(|_| format!("is out of range: {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_numbers() {
        assert_eq!(number(b"0000644\0", "mode"), Ok(0o644));
        assert_eq!(number(b"   644 \0", "mode"), Ok(0o644));
        assert_eq!(number(b"77777777777 ", "size"), Ok(0o77777777777));
        assert_eq!(number(b"777777777777", "size"), Ok(0o777777777777));
        assert_eq!(number(b"644\0junk", "mode"), Ok(0o644));
        assert_eq!(number(&[0; 8], "mode"), Ok(0));
        assert_eq!(number(b"        ", "mode"), Ok(0));
        for bad in [
            &b"0000648\0"[..],
            b"-000001\0",
            b"0x1\0\0\0\0\0",
            b"12a45\0\0\0",
            b" x\0\0\0\0\0\0",
            b"\0\0junk\0\0",
        ] {
            assert!(
                number(bad, "mode").unwrap_err().starts_with("its mode field is not a number"),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn base_256_numbers() {
        let mut field = [0; 12];
        field[0] = 0x80;
        field[7] = 1;
        assert_eq!(number(&field, "size"), Ok(1 << 32));
        assert_eq!(number(&[0xff; 12], "mtime"), Ok(-1));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], "mtime"), Ok(-2));
        field[3] = 1;
        assert!(number(&field, "size").unwrap_err().contains("out of range"));
        assert!(unsigned(&[0xff; 12], "size").unwrap_err().contains("negative"));
        assert!(unsigned32(&[0x80, 0, 0, 1, 0, 0, 0, 0], "uid").is_err());
    }
}
