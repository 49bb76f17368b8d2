//! Raw LZMA1 as GRUB's i386-pc decompressor takes it: no header, no size, no end marker, lc=3 lp=0 pb=2.

use std::io::{Read as _, Write as _};

use lzma_rust2::{LzmaOptions, LzmaReader, LzmaWriter};

use crate::error::{Error, Result};

/// The dictionary: no match reaches further back than this.
const DICTIONARY: u32 = 64 << 10;

/// Compresses, and proves that it can be undone: a stream that doesn't decode is a disk that hangs without a word.
pub(crate) fn compress(bytes: &[u8]) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| Error::internal("LZMA compression failed").with_source(e);
    // The fast mode: a twentieth larger than the slow one, where there is room for twice as much, in a third of the time.
    let mut options = LzmaOptions::with_preset(3);
    (options.dict_size, options.lc, options.lp, options.pb) = (DICTIONARY, 3, 0, 2);
    let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, false).map_err(failed)?;
    writer.write_all(bytes).map_err(failed)?;
    let stream = writer.finish().map_err(failed)?;
    if decompress(&stream, bytes.len()).is_none_or(|back| back != bytes) {
        return Err(Error::internal("the LZMA stream doesn't give back what went in"));
    }
    Ok(stream)
}

/// Undoes [`compress`], given the length of what went in.
pub(crate) fn decompress(stream: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut reader = LzmaReader::new(stream, len as u64, 3, 0, 2, DICTIONARY, None).ok()?;
    let mut bytes = vec![0; len];
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        let stream = compress(&text).unwrap();
        assert!(stream.len() < text.len());
        assert_eq!(stream[0], 0, "the range coder's first byte");
        assert_eq!(compress(&text).unwrap(), stream);
        let mut bad = stream;
        bad[1000] ^= 1;
        assert_ne!(decompress(&bad, text.len()), Some(text));
        assert!(compress(b"").is_ok());
    }
}
