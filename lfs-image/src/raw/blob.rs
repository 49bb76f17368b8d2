//! A long value in pieces: bytes made here, runs of stored content, zeros. Boot images and files of the EFI system
//! partition are made of these, so that a kernel is never held in memory.

use super::num::index;
use super::out::{Out, Target};
use super::store::{Position, ReadAt};
use crate::error::{Error, Result};

/// A sequence of pieces with a known length.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blob {
    pieces: Vec<Piece>,
    len: u64,
}

#[derive(Clone, Debug)]
enum Piece {
    Bytes(Box<[u8]>),
    Stored(Position, u64),
    Zeros(u64),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stored(_, len) | Self::Zeros(len) => *len,
        }
    }
}

impl Blob {
    /// A blob of these bytes.
    pub(crate) fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        let mut blob = Self::default();
        blob.push_bytes(bytes);
        blob
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes.
    pub(crate) fn push_bytes(&mut self, bytes: impl Into<Box<[u8]>>) {
        self.push(Piece::Bytes(bytes.into()));
    }

    /// Appends `len` stored bytes.
    pub(crate) fn push_stored(&mut self, at: Position, len: u64) {
        self.push(Piece::Stored(at, len));
    }

    /// Appends zeros.
    pub(crate) fn push_zeros(&mut self, len: u64) {
        self.push(Piece::Zeros(len));
    }

    /// Appends zeros up to a multiple of `to`.
    pub(crate) fn pad_to(&mut self, to: u64) {
        self.push_zeros(self.len.next_multiple_of(to) - self.len);
    }

    /// Appends all of another blob.
    pub(crate) fn append(&mut self, other: Self) {
        for piece in other.pieces {
            self.push(piece);
        }
    }

    fn push(&mut self, piece: Piece) {
        if piece.len() > 0 {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// The `len` bytes from `offset` on, as pieces of these pieces.
    pub(crate) fn slice(&self, offset: u64, len: u64) -> Result<Self> {
        let Some(end) = offset.checked_add(len).filter(|end| *end <= self.len) else {
            return Err(Error::internal(format!("{len} bytes at {offset} of a blob of {} bytes", self.len)));
        };
        let mut part = Self::default();
        let mut start = 0;
        for piece in &self.pieces {
            let next = start + piece.len();
            let (from, to) = (offset.max(start), end.min(next));
            if from < to {
                part.push(match piece {
                    Piece::Bytes(bytes) => Piece::Bytes(bytes[index(from - start)..index(to - start)].into()),
                    Piece::Stored(at, _) => {
                        let at = at
                            .forward(from - start)
                            .ok_or_else(|| Error::internal("content reaches past the end of its source"))?;
                        Piece::Stored(at, to - from)
                    }
                    Piece::Zeros(_) => Piece::Zeros(to - from),
                });
            }
            start = next;
        }
        Ok(part)
    }

    /// Writes all of it.
    pub(crate) fn emit<S: Target + ?Sized>(&self, out: &mut Out<'_, S>, store: &dyn ReadAt) -> Result<()> {
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) => out.data(bytes)?,
                Piece::Stored(at, len) => out.copy(store, *at, *len)?,
                Piece::Zeros(len) => out.zeros(*len)?,
            }
        }
        Ok(())
    }

    /// Reads `len` bytes from `offset` on into memory: headers, or small files whole.
    pub(crate) fn read(&self, store: &dyn ReadAt, offset: u64, len: u64) -> Result<Vec<u8>> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(Error::misuse(format!(
                "read of {len} bytes at {offset} from content of {} bytes",
                self.len
            )));
        }
        let mut bytes = vec![0; index(len)];
        let mut start = 0;
        for piece in &self.pieces {
            let end = start + piece.len();
            let from = offset.max(start);
            let to = (offset + len).min(end);
            if from < to {
                let target = &mut bytes[index(from - offset)..index(to - offset)];
                match piece {
                    Piece::Bytes(bytes) => {
                        target.copy_from_slice(&bytes[index(from - start)..index(to - start)]);
                    }
                    Piece::Stored(at, _) => {
                        let at = at
                            .forward(from - start)
                            .ok_or_else(|| Error::internal("content reaches past the end of its source"))?;
                        store.read_exact_at(at, target)?;
                    }
                    Piece::Zeros(_) => {}
                }
            }
            start = end;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::NoStore;

    #[test]
    fn reads_across_pieces() {
        let mut blob = Blob::from_bytes(*b"abc");
        blob.push_zeros(2);
        blob.push_bytes(*b"de");
        blob.pad_to(8);
        assert_eq!(blob.len(), 8);
        assert_eq!(blob.read(&NoStore, 1, 6).unwrap(), b"bc\0\0de");
        assert!(blob.read(&NoStore, 1, 8).is_err());
        let part = blob.slice(2, 4).unwrap();
        assert_eq!(part.read(&NoStore, 0, 4).unwrap(), b"c\0\0d");
        assert_eq!(blob.slice(8, 0).unwrap().len(), 0);
        assert!(blob.slice(8, 1).is_err());
    }
}
