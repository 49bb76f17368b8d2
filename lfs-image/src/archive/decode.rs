//! Decompression: streams made of any number of members (gzip), frames (zstd) or streams (xz, bzip2).
//!
//! All four formats may be written in pieces one after the other, so one loop serves them all: open a member, read it to
//! its end and its checksum, see what comes next. Zeros after the last member are padding. Anything else there is
//! refused, since it can as well be a member whose first bytes are damaged.

#![cfg_attr(
    not(any(feature = "gzip", feature = "xz", feature = "bzip2", feature = "zstd", feature = "zstd-c")),
    allow(dead_code, reason = "nothing to decompress")
)]

use std::io::{BufRead, Error as IoError, ErrorKind, Read, Result as IoResult};

use crate::error::{Error, Result};

/// How an input is compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Compression {
    /// The compression of a stream, or of a member of one, that begins with `head`.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Some(Self::Bzip2),
            _ => None,
        }
    }

    /// What messages call a stream of this kind.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Plain => "archive",
            Self::Gzip => "gzip stream",
            Self::Zstd => "zstd stream",
            Self::Xz => "xz stream",
            Self::Bzip2 => "bzip2 stream",
        }
    }
}

/// Decompressed bytes of `input`.
pub(crate) fn decoder(compression: Compression, input: Box<dyn Read + Send>) -> Result<Box<dyn Read>> {
    let input = Input { input, buf: vec![0; 128 << 10], start: 0, end: 0 };
    match compression {
        Compression::Plain => Ok(input.input),
        #[cfg(feature = "gzip")]
        Compression::Gzip => Ok(members::<flate2::bufread::GzDecoder<Input>>(compression, input)),
        #[cfg(feature = "zstd-c")]
        Compression::Zstd => Ok(members::<zstd::stream::read::Decoder<'static, Input>>(compression, input)),
        #[cfg(all(feature = "zstd", not(feature = "zstd-c")))]
        Compression::Zstd => Ok(members::<
            ruzstd::decoding::StreamingDecoder<Input, ruzstd::decoding::FrameDecoder>,
        >(compression, input)),
        #[cfg(feature = "xz")]
        Compression::Xz => Ok(members::<lzma_rust2::XzReader<Input>>(compression, input)),
        #[cfg(feature = "bzip2")]
        Compression::Bzip2 => Ok(members::<bzip2::bufread::BzDecoder<Input>>(compression, input)),
        #[allow(unreachable_patterns)] // with all features
        _ => Err(Error::input(format!(
            "the input is a {}, and lfs-image was built without the feature that reads it ({})",
            compression.noun(),
            match compression {
                Compression::Gzip => "gzip",
                Compression::Zstd => "zstd, or zstd-c",
                Compression::Xz => "xz",
                _ => "bzip2",
            }
        ))),
    }
}

/// The largest window that a zstd frame or xz block may ask for: what `zstd --ultra` and `xz -9e` need, with room.
const MAX_WINDOW: u64 = 128 << 20;

/// A decoder of one member, which must leave its input right behind it.
trait Member: Read + Sized {
    fn open(input: Input) -> IoResult<Self>;
    /// After the end was read.
    fn close(self) -> IoResult<Input>;
}

#[cfg(feature = "gzip")]
impl Member for flate2::bufread::GzDecoder<Input> {
    fn open(input: Input) -> IoResult<Self> {
        Ok(Self::new(input))
    }
    fn close(self) -> IoResult<Input> {
        Ok(self.into_inner())
    }
}

#[cfg(feature = "zstd-c")]
impl Member for zstd::stream::read::Decoder<'static, Input> {
    fn open(input: Input) -> IoResult<Self> {
        let mut decoder = Self::with_buffer(input)?.single_frame();
        decoder.window_log_max(MAX_WINDOW.ilog2())?;
        Ok(decoder)
    }
    fn close(self) -> IoResult<Input> {
        Ok(self.finish())
    }
}

#[cfg(all(feature = "zstd", not(feature = "zstd-c")))]
impl Member for ruzstd::decoding::StreamingDecoder<Input, ruzstd::decoding::FrameDecoder> {
    fn open(input: Input) -> IoResult<Self> {
        Self::new_with_max_window_size(input, MAX_WINDOW).map_err(|e| IoError::new(ErrorKind::InvalidData, e))
    }
    fn close(self) -> IoResult<Input> {
        let (input, decoder) = self.into_parts();
        // ruzstd leaves the comparison to its caller.
        if let Some(stated) = decoder.get_checksum_from_data()
            && decoder.get_calculated_checksum() != Some(stated)
        {
            return Err(IoError::new(ErrorKind::InvalidData, "a zstd frame's checksum is wrong"));
        }
        Ok(input)
    }
}

#[cfg(feature = "xz")]
impl Member for lzma_rust2::XzReader<Input> {
    fn open(input: Input) -> IoResult<Self> {
        let kib = u32::try_from(MAX_WINDOW >> 10).unwrap_or(u32::MAX).saturating_add(64 << 10);
        Ok(Self::new_mem_limit(input, false, kib))
    }
    fn close(self) -> IoResult<Input> {
        Ok(self.into_inner())
    }
}

#[cfg(feature = "bzip2")]
impl Member for bzip2::bufread::BzDecoder<Input> {
    fn open(input: Input) -> IoResult<Self> {
        Ok(Self::new(input))
    }
    fn close(self) -> IoResult<Input> {
        Ok(self.into_inner())
    }
}

fn members<M: Member + 'static>(compression: Compression, input: Input) -> Box<dyn Read> {
    Box::new(Members { compression, state: State::Between::<M>(input) })
}

/// The content of all members.
struct Members<M> {
    compression: Compression,
    state: State<M>,
}

enum State<M> {
    Between(Input),
    Inside(M),
    /// At the end, or after an error.
    Done,
}

impl<M: Member> Read for Members<M> {
    fn read(&mut self, buf: &mut [u8]) -> IoResult<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Ok(0),
                State::Between(mut input) => {
                    if input.next_member(self.compression)? {
                        self.state = State::Inside(M::open(input)?);
                    }
                }
                State::Inside(mut member) => match member.read(buf)? {
                    0 => self.state = State::Between(member.close()?),
                    n => {
                        self.state = State::Inside(member);
                        return Ok(n);
                    }
                },
            }
        }
    }
}

/// The compressed bytes, buffered so that the next few can be looked at.
struct Input {
    input: Box<dyn Read + Send>,
    buf: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// Goes to the next member; says whether there is one.
    fn next_member(&mut self, compression: Compression) -> IoResult<bool> {
        loop {
            let head = self.peek(8)?;
            if head.is_empty() {
                return Ok(false);
            }
            if Compression::of(head) != Some(compression) {
                break;
            }
            let skippable = matches!(head, [0x50..=0x5f, 0x2a, ..]);
            if !skippable {
                return Ok(true);
            }
            let Some(len) = head[4..].first_chunk().map(|len| u64::from(u32::from_le_bytes(*len))) else {
                return Err(ErrorKind::UnexpectedEof.into());
            };
            self.consume(8);
            if std::io::copy(&mut self.by_ref().take(len), &mut std::io::sink())? < len {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        loop {
            let bytes = self.fill_buf()?;
            if bytes.is_empty() {
                return Ok(false);
            }
            if let Some(garbage) = bytes.iter().find(|b| **b != 0) {
                return Err(IoError::new(
                    ErrorKind::InvalidData,
                    format!(
                        "the {} is followed by something else (a byte {garbage:#04x})",
                        compression.noun()
                    ),
                ));
            }
            let len = bytes.len();
            self.consume(len);
        }
    }

    /// The next `len` bytes, or fewer at the end.
    fn peek(&mut self, len: usize) -> IoResult<&[u8]> {
        if self.buf.len() - self.start < len {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < len {
            match self.input.read(&mut self.buf[self.end..])? {
                0 => break,
                n => self.end += n,
            }
        }
        Ok(&self.buf[self.start..self.end.min(self.start + len)])
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> IoResult<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end = self.input.read(&mut self.buf)?;
        }
        Ok(&self.buf[self.start..self.end])
    }

    fn consume(&mut self, len: usize) {
        self.start += len;
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> IoResult<usize> {
        let bytes = self.fill_buf()?;
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        self.consume(len);
        Ok(len)
    }
}
