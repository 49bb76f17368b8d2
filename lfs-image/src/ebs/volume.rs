//! An image on its way to a volume of another size: the backup GPT moves to the volume's end.

use super::settings::BLOCK;
use crate::error::{Error, Result};
use crate::raw::num::index;
use crate::raw::sink::Sink;
use crate::raw::store::{Position, ReadAt};
use crate::table::{CODE, Gpt, SECTOR};

/// Bytes in a GiB, which volumes are multiples of.
pub(super) const GIB: u64 = 1 << 30;
/// The service has no larger volumes: 64 TiB.
pub(super) const MOST_GIB: u64 = 65_536;

/// What of an image is another when it is on a volume.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    /// Ascending, not overlapping; each is replaced by so many bytes, or by nothing that anybody reads.
    patches: Vec<(u64, u64, Option<Vec<u8>>)>,
}

impl Change {
    /// What is to change for an image of `len` bytes with this table on a volume of `volume` bytes. A table that already is
    /// as the volume needs it stays.
    ///
    /// # Errors
    ///
    /// When a partition lies where the backup has to be.
    pub(super) fn of(table: Option<(&Gpt, &[u8; CODE])>, len: u64, volume: u64) -> Result<Self> {
        let Some((gpt, code)) = table else { return Ok(Self::default()) };
        let sectors = volume / SECTOR;
        if gpt.disk_sectors() == sectors {
            return Ok(Self::default());
        }
        let moved = gpt.for_disk(sectors).map_err(|error| {
            error.context(format!("the GPT's backup can't be moved to the end of a volume of {volume} bytes"))
        })?;
        let head = moved.first_two_sectors(code);
        let mut patches = vec![(0, head.len() as u64, Some(head))];
        let (old, new) = (gpt.tail_lba() * SECTOR, moved.tail_lba() * SECTOR);
        let old_end = (gpt.disk_sectors() * SECTOR).min(len).min(new);
        // The old backup is in nobody's way, as long as nothing was put there since.
        let is_free = gpt.end_of_partitions() * SECTOR <= old;
        if is_free && old < old_end {
            patches.push((old, old_end - old, None));
        }
        patches.push((new, volume - new, Some(moved.tail())));
        Ok(Self { patches })
    }
}

/// A sink that changes an image for its volume and hands it on.
#[derive(Debug)]
pub(super) struct Resized<S> {
    inner: S,
    change: std::vec::IntoIter<(u64, u64, Option<Vec<u8>>)>,
    volume: u64,
    len: u64,
}

impl<S: Sink> Resized<S> {
    /// Volumes have `volume` bytes, and images at most so many.
    pub(super) fn new(inner: S, change: Change, volume: u64) -> Self {
        Self { inner, change: change.patches.into_iter(), volume, len: 0 }
    }

    /// Hands on what of a range isn't replaced, in pieces of an offset and a length, and the replacements between them.
    fn pieces(
        &mut self,
        offset: u64,
        len: u64,
        mut piece: impl FnMut(&mut S, u64, u64) -> Result<()>,
    ) -> Result<()> {
        let end = offset
            .checked_add(len)
            .ok_or_else(|| Error::internal(format!("{len} bytes at offset {offset} of an image")))?;
        let mut at = offset;
        while at < end {
            let next = self.change.as_slice().first().map(|(start, len, _)| (*start, start + len));
            match next {
                // In a replaced range; it was handed on when its start came.
                Some((start, stop)) if start <= at => {
                    if start == at {
                        self.replace()?;
                    }
                    at = stop.min(end);
                    if at == stop {
                        self.change.next();
                    }
                }
                next => {
                    let stop = next.map_or(end, |(start, _)| start.min(end));
                    piece(&mut self.inner, at, stop - at)?;
                    at = stop;
                }
            }
        }
        Ok(())
    }

    fn replace(&mut self) -> Result<()> {
        match self.change.as_slice().first() {
            Some((start, _, Some(bytes))) => self.inner.data(*start, bytes),
            Some((start, len, None)) => self.inner.unallocated(*start, *len),
            None => Ok(()),
        }
    }
}

impl<S: Sink> Sink for Resized<S> {
    type Receipt = S::Receipt;

    fn begin(&mut self, len: u64) -> Result<()> {
        if len > self.volume {
            return Err(Error::internal(format!("an image of {len} bytes for a volume of {}", self.volume)));
        }
        self.len = len;
        self.inner.begin(self.volume)
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.pieces(offset, bytes.len() as u64, |inner, at, n| {
            inner.data(at, &bytes[index(at - offset)..index(at - offset + n)])
        })
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        self.pieces(offset, len, Sink::zeros)
    }

    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        self.pieces(offset, len, Sink::unallocated)
    }

    fn copies(&self) -> bool {
        self.inner.copies()
    }

    fn copy(&mut self, offset: u64, store: &dyn ReadAt, at: Position, len: u64) -> Result<()> {
        self.pieces(offset, len, |inner, to, n| {
            let from = at
                .forward(to - offset)
                .ok_or_else(|| Error::internal("content reaches past the end of its source"))?;
            inner.copy(to, store, from, n)
        })
    }

    fn finish(mut self) -> Result<S::Receipt> {
        self.unallocated(self.len, self.volume - self.len)?;
        self.inner.finish()
    }
}

/// The GiB of a volume for an image of `len` bytes.
pub(super) fn gib(len: u64, wanted: Option<u64>) -> Result<u64> {
    let least = len.div_ceil(GIB).max(1);
    let gib = wanted.unwrap_or(least);
    if gib < least {
        return Err(Error::too_small(format!(
            "a volume of {gib} GiB for an image of {len} bytes, which needs {least} GiB"
        )));
    }
    if gib > MOST_GIB {
        return Err(Error::capacity(format!(
            "a volume of {gib} GiB: the service has none of more than {MOST_GIB}"
        )));
    }
    Ok(gib)
}

const _: () = assert!(GIB.is_multiple_of(BLOCK));
