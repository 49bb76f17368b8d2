//! Compressed streams inside of kernels and initial RAM disks, read piece by piece.
//!
//! What tar archives come in is read by the same decoders; what only kernels use is here: raw lzma, and the old frame of lz4;
//! and in `lzo`.

use std::io::{Cursor, Read};

use super::lzo;
use crate::archive::decode::{Compression, decoder};
use crate::error::{Error, Result};

/// Reads what `packed` unpacks to, telling `each` of every piece until it says that it has seen enough. Trouble behind the
/// end of the stream, where kernels keep its length, is none.
pub(super) fn unpack(packed: Vec<u8>, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    match packed.as_slice() {
        [0x02, 0x21, 0x4c, 0x18, ..] => return lz4(&packed[4..], each),
        head if head.starts_with(&lzo::MAGIC) => return lzo::unpack(&packed, each),
        [0x5d, 0, 0, ..] => {
            let reader = lzma_rust2::LzmaReader::new_mem_limit(Cursor::new(packed), 1 << 20, None)
                .map_err(|e| Error::io("unpack lzma", e))?;
            return copy(Box::new(reader), each);
        }
        head => {
            if let Some(compression) = Compression::of(head) {
                return copy(decoder(compression, Box::new(Cursor::new(packed)))?, each);
            }
        }
    }
    each(&packed);
    Ok(())
}

fn copy(mut reader: Box<dyn Read>, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    let mut buf = vec![0; 128 << 10];
    let mut any = false;
    loop {
        match reader.read(&mut buf) {
            Ok(0) => return Ok(()),
            Ok(len) => {
                any = true;
                if each(&buf[..len]) {
                    return Ok(());
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) if any => return Ok(()),
            Err(e) => return Err(Error::io("unpack it", e)),
        }
    }
}

/// The frame that `lz4 -l` writes: blocks of at most 8 MiB, each with its packed length before it.
/// Source: doc/lz4_Block_format.md and lib/lz4frame of lz4.
fn lz4(packed: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    const BLOCK: usize = 8 << 20;
    let mut rest = packed;
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len);
        // Where streams are put one after the other, a magic number is between them.
        if len == 0x184c_2102 {
            rest = after;
            continue;
        }
        let Some(block) = usize::try_from(len).ok().and_then(|len| after.get(..len)) else { return Ok(()) };
        rest = &after[block.len()..];
        let bytes = lz4_block(block, BLOCK).ok_or_else(|| Error::input("a block of lz4 is damaged"))?;
        if each(&bytes) {
            return Ok(());
        }
    }
    Ok(())
}

fn lz4_block(block: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    let mut input = block.iter().copied();
    let length = |nibble: u8, input: &mut dyn Iterator<Item = u8>| -> Option<usize> {
        let mut len = usize::from(nibble);
        if nibble == 15 {
            loop {
                let more = input.next()?;
                len += usize::from(more);
                if more != 255 || len > most {
                    break;
                }
            }
        }
        Some(len)
    };
    while let Some(token) = input.next() {
        let literals = length(token >> 4, &mut input)?;
        for _ in 0..literals {
            out.push(input.next()?);
        }
        // The last sequence has no match.
        let Some(low) = input.next() else { break };
        let distance = usize::from(u16::from_le_bytes([low, input.next()?]));
        let len = length(token & 15, &mut input)? + 4;
        if distance == 0 || distance > out.len() || out.len() + len > most {
            return None;
        }
        for _ in 0..len {
            out.push(out[out.len() - distance]);
        }
    }
    Some(out)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn unpacked(packed: &[u8]) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        unpack(packed.to_vec(), &mut |bytes| {
            all.extend_from_slice(bytes);
            false
        })?;
        Ok(all)
    }

    /// What kernels' builds call. Source: scripts/Makefile.lib in Linux.
    pub(in crate::check) const PROGRAMS: [&str; 9] = [
        "gzip -n -c -9",
        "xz -c --check=crc32 --x86 --lzma2=,dict=32MiB",
        "xz -c --check=crc32 --lzma2=dict=1MiB",
        "lzma -c -9",
        "bzip2 -c -9",
        "zstd -qc --ultra -22",
        "zstd -qc -19",
        "lz4 -lc -9",
        "lzop -c -9",
    ];

    /// Bytes as a program packs them; `None`, and loudly, where it isn't installed.
    pub(in crate::check) fn packed(command: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        use std::io::Write as _;
        let mut words = command.split(' ');
        let mut packer = std::process::Command::new(words.next().unwrap());
        packer.args(words).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let Ok(mut child) = packer.spawn() else {
            assert!(option_env!("CI").is_none(), "{command}: not installed");
            eprintln!("SKIPPED: {command} isn't there");
            return None;
        };
        let mut input = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&bytes));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "{command}");
        Some(output.stdout)
    }

    #[test]
    fn every_program_s_stream_is_read() {
        // Text, noise, and long runs: every instruction of every format.
        let mut text: Vec<u8> =
            (0..20_000).flat_map(|n| format!("line {n} of {}\n", n % 7).into_bytes()).collect();
        let mut noise = 1_u32;
        text.extend((0..400_000).map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_be_bytes()[0]
        }));
        text.extend([0; 300_000]);
        text.extend_from_within(..100_000);
        for command in PROGRAMS {
            let Some(mut packed) = packed(command, &text) else { continue };
            // A length behind it, as the kernel's build puts it there.
            packed.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
            assert!(unpacked(&packed).unwrap() == text, "{command}");
        }
        assert!(unpacked(&text).unwrap() == text);
        // From doc/lz4_Block_format.md: 5 literals, then 9 bytes from 5 back, then 5 literals.
        let block = b"\x55abcde\x05\x00\x50vwxyz";
        assert_eq!(lz4_block(block, 100).unwrap(), b"abcdeabcdeabcdvwxyz");
        assert_eq!(lz4_block(b"\x10a\x02\x00\x00", 100), None, "from before the start");
        assert_eq!(lz4_block(b"\xf0\xff", 100), None);
        assert!(unpacked(b"\x89LZO\0\r\n\x1a\n").is_err() && unpacked(b"\x1f\x8b\x08\x00").is_err());
    }
}
