//! An image in memory: sparse, and strict about what a sink is told.

use std::collections::BTreeMap;

use lfs_image::Result;
use lfs_image::sink::Sink;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// An image. What was never allocated reads as noise.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Its length.
    pub len: u64,
    at: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
    /// Starts of stretches that nobody may read before writing them, and their ends.
    noise: BTreeMap<u64, u64>,
}

impl Memory {
    /// Fills `buf` with the bytes at `offset`; says whether the image has them.
    #[must_use]
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> bool {
        let Some(end) = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.len) else {
            return false;
        };
        buf.fill(0);
        for (page, bytes) in self.pages.range(offset / PAGE..end.div_ceil(PAGE)) {
            let start = page * PAGE;
            let (from, to) = (offset.max(start), end.min(start + PAGE));
            let [a, b, c, d] = [from - offset, to - offset, from - start, to - start].map(size);
            buf[a..b].copy_from_slice(&bytes[c..d]);
        }
        let first = self.noise.range(..=offset).next_back().map_or(0, |(start, _)| *start);
        for (start, stop) in self.noise.range(first..end) {
            let (from, to) = (offset.max(*start), end.min(*stop));
            if from < to {
                buf[size(from - offset)..size(to - offset)].fill(0xa5);
            }
        }
        true
    }

    /// Bytes that are there.
    #[must_use]
    pub fn get(&self, offset: u64, len: u64) -> Vec<u8> {
        let mut buf = vec![0; size(len)];
        assert!(self.read(offset, &mut buf), "{len} bytes at {offset} of an image of {}", self.len);
        buf
    }

    /// Overwrites bytes.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset..self.len).zip(bytes) {
            let page = self.pages.entry(at / PAGE).or_insert_with(|| vec![0; size(PAGE)].into());
            page[size(at % PAGE)] = *byte;
        }
    }

    /// Zeros.
    pub fn of_len(len: u64) -> Self {
        Self { len, ..Self::default() }
    }

    /// What was never allocated reads as zeros from here on.
    pub fn quiet(&mut self) {
        self.noise.clear();
    }

    /// Writes it to a file, sparsely.
    pub fn save(&self, path: &std::path::Path) -> std::io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::File::create(path)?;
        file.set_len(self.len)?;
        for (page, bytes) in self.pages.range(..self.len.div_ceil(PAGE)) {
            let len = size((self.len - page * PAGE).min(PAGE));
            file.write_all_at(&bytes[..len], page * PAGE)?;
        }
        // A little of the noise will do: where stretches begin and end.
        for (start, end) in &self.noise {
            let len = (end - start).min(2 * PAGE);
            for at in [*start, end - len] {
                file.write_all_at(&vec![0xa5; size(len)], at)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, offset: u64, len: u64) {
        assert_eq!(offset, self.at, "a sink is told of one byte after the other");
        self.at += len;
        assert!(self.at <= self.len, "{} bytes of an image of {}", self.at, self.len);
    }
}

impl Sink for Memory {
    type Receipt = Self;

    fn begin(&mut self, len: u64) -> Result<()> {
        self.len = len;
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.step(offset, bytes.len() as u64);
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let page = self.pages.entry(at / PAGE).or_insert_with(|| vec![0; size(PAGE)].into());
            let from = size(at % PAGE);
            let n = rest.len().min(page.len() - from);
            page[from..from + n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            at += n as u64;
        }
        Ok(())
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        self.step(offset, len);
        Ok(())
    }

    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        self.step(offset, len);
        if len > 0 {
            self.noise.insert(offset, offset + len);
        }
        Ok(())
    }

    fn finish(self) -> Result<Self> {
        assert_eq!(self.at, self.len, "the image ends early");
        Ok(self)
    }
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap()
}
