//! What an input is, by its first bytes and never by its name.

use super::decode::Compression;
use super::header::{BLOCK, Header};

/// How many bytes tell what an input is.
pub(crate) const HEAD: usize = BLOCK;

/// What some inputs are instead of a tar archive, by what they have at an offset.
const STRANGERS: [(usize, &[u8], &str); 15] = [
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"070701", "a cpio archive"),
    (0, b"070702", "a cpio archive"),
    (0, b"070707", "a cpio archive"),
    (0, b"!<arch>\n", "an ar archive, or a Debian package"),
    (0, b"\xed\xab\xee\xdb", "an RPM package"),
    (0, b"hsqs", "a squashfs image"),
    (0, b"QFI\xfb", "a qcow2 disk image"),
    (0, b"\x04\x22\x4d\x18", "compressed with lz4, which is not supported"),
    (0, b"\x89LZO\0", "compressed with lzop, which is not supported"),
    (0, b"LZIP", "compressed with lzip, which is not supported"),
    (0, b"\x1f\x9d", "compressed with compress, which is not supported"),
    (0, b"\x5d\0\0", "compressed with lzma, which is not supported (xz is)"),
];

/// The compression of an input that begins with `head`, or what is wrong with it.
pub(crate) fn sniff(head: &[u8]) -> Result<Compression, String> {
    if head.is_empty() {
        return Err("it is empty".to_owned());
    }
    if let Some(compression) = Compression::of(head) {
        return Ok(compression);
    }
    if let Some((_, _, what)) =
        STRANGERS.iter().find(|(at, magic, _)| head.get(*at..).is_some_and(|head| head.starts_with(magic)))
    {
        return Err(format!("it is {what}"));
    }
    let Some(block) = head.first_chunk::<BLOCK>() else {
        return Err(format!("its {} bytes are less than a tar header", head.len()));
    };
    // Zeros end an archive, so an archive without entries begins with them.
    if block.iter().all(|b| *b == 0) {
        return Ok(Compression::Plain);
    }
    Header::read(block).map(|_| Compression::Plain).map_err(|fault| {
        format!("it begins neither with a tar header ({fault}) nor as gzip, zstd, xz or bzip2 do")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_named() {
        let mut zip = [7; HEAD];
        zip[..4].copy_from_slice(b"PK\x03\x04");
        assert_eq!(sniff(&zip).unwrap_err(), "it is a zip archive");
        assert_eq!(sniff(&[]).unwrap_err(), "it is empty");
        assert_eq!(sniff(b"hello").unwrap_err(), "its 5 bytes are less than a tar header");
        assert!(sniff(&[b'x'; HEAD]).unwrap_err().contains("neither with a tar header"));
        assert_eq!(sniff(&[0; HEAD]), Ok(Compression::Plain));
    }

    #[test]
    fn compressions_are_known_by_their_first_bytes() {
        assert_eq!(sniff(b"\x1f\x8b\x08"), Ok(Compression::Gzip));
        assert_eq!(sniff(b"BZh91AY&SY"), Ok(Compression::Bzip2));
        assert_eq!(sniff(b"\xfd7zXZ\0"), Ok(Compression::Xz));
        assert_eq!(sniff(b"\x28\xb5\x2f\xfd"), Ok(Compression::Zstd));
        assert_eq!(sniff(b"\x5f\x2a\x4d\x18"), Ok(Compression::Zstd));
    }
}
