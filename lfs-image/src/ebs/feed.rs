//! Cuts an image into blocks.

use super::block::{BLOCK_BYTES, Body, Buffer, Pool, is_zero};
use super::settings::BLOCK;
use crate::error::{Error, Result};
use crate::raw::num::{fit, index};
use crate::raw::sink::Sink;
use crate::raw::store::{Position, ReadAt};

/// Takes the blocks of an image in ascending order.
pub(super) trait Take {
    /// One block that has to be in the snapshot.
    fn block(&mut self, number: u32, body: Body) -> Result<()>;

    /// The walk is somewhere in a long stretch without blocks.
    fn idle(&mut self) -> Result<()>;
}

/// A sink that hands on each block with anything allocated in it. Bytes of it that aren't allocated are zeros.
#[derive(Debug)]
pub(super) struct Feed<T> {
    take: T,
    pool: Pool,
    omit_zeros: bool,
    len: u64,
    at: u64,
    /// The block that `at` is in.
    open: Open,
}

/// What is known of the block that is being put together.
#[derive(Debug)]
enum Open {
    /// Nothing in it is allocated.
    Nothing,
    /// Zeros, some of them allocated.
    Zeros,
    /// Filled up to where the image has come.
    Data(Buffer),
}

impl<T: Take> Feed<T> {
    pub(super) fn new(take: T, pool: Pool, omit_zeros: bool) -> Self {
        Self { take, pool, omit_zeros, len: 0, at: 0, open: Open::Nothing }
    }

    /// Goes `len` bytes on from `offset`, block by block. `each` gets the block, the place in it and what of the range
    /// comes there.
    fn advance(
        &mut self,
        offset: u64,
        len: u64,
        mut each: impl FnMut(&mut Self, usize, u64, usize) -> Result<()>,
    ) -> Result<()> {
        if offset != self.at || offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(Error::internal(format!(
                "{len} bytes at offset {offset} of an image that has reached {} of {}",
                self.at, self.len
            )));
        }
        let mut done = 0;
        while done < len {
            let within = self.at % BLOCK;
            let n = (BLOCK - within).min(len - done);
            each(self, index(within), done, index(n))?;
            done += n;
            self.at += n;
            if self.at.is_multiple_of(BLOCK) {
                self.close()?;
            }
        }
        Ok(())
    }

    /// The buffer of the open block, zeros up to `within`.
    fn buffer(&mut self, within: usize) -> &mut [u8] {
        if !matches!(self.open, Open::Data(_)) {
            let mut buffer = self.pool.take();
            buffer.bytes_mut()[..within].fill(0);
            self.open = Open::Data(buffer);
        }
        match &mut self.open {
            Open::Data(buffer) => buffer.bytes_mut(),
            Open::Nothing | Open::Zeros => &mut [],
        }
    }

    fn fill(&mut self, within: usize, len: usize) {
        if let Open::Data(buffer) = &mut self.open {
            buffer.bytes_mut()[within..within + len].fill(0);
        }
    }

    /// The open block is complete.
    fn close(&mut self) -> Result<()> {
        let number = fit((self.at - 1) / BLOCK, "number of a block")?;
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => Ok(()),
            Open::Zeros if self.omit_zeros => Ok(()),
            Open::Data(buffer) if self.omit_zeros && is_zero(buffer.as_ref()) => Ok(()),
            Open::Zeros => self.take.block(number, Body::Zeros),
            Open::Data(buffer) => self.take.block(number, Body::Data(buffer.freeze())),
        }
    }
}

impl<T: Take> Sink for Feed<T> {
    type Receipt = T;

    fn begin(&mut self, len: u64) -> Result<()> {
        (self.len, self.at) = (len, 0);
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.advance(offset, bytes.len() as u64, |feed, within, done, n| {
            feed.buffer(within)[within..within + n].copy_from_slice(&bytes[index(done)..index(done) + n]);
            Ok(())
        })
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        self.advance(offset, len, |feed, within, _, n| {
            feed.fill(within, n);
            if matches!(feed.open, Open::Nothing) {
                feed.open = Open::Zeros;
            }
            Ok(())
        })
    }

    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        /// Blocks that are passed over between two looks at the watch.
        const MANY: u64 = 1 << 16;
        let mut passed = 0;
        self.advance(offset, len, |feed, within, _, n| {
            feed.fill(within, n);
            passed += 1;
            if passed % MANY == 0 { feed.take.idle() } else { Ok(()) }
        })
    }

    /// Content is read straight into its block.
    fn copies(&self) -> bool {
        true
    }

    fn copy(&mut self, offset: u64, store: &dyn ReadAt, at: Position, len: u64) -> Result<()> {
        self.advance(offset, len, |feed, within, done, n| {
            let from = at
                .forward(done)
                .ok_or_else(|| Error::internal("content reaches past the end of its source"))?;
            store.read_exact_at(from, &mut feed.buffer(within)[within..within + n])
        })
    }

    fn finish(mut self) -> Result<T> {
        if self.at != self.len {
            return Err(Error::internal(format!("the image ends at byte {} of {}", self.at, self.len)));
        }
        let within = index(self.at % BLOCK);
        if within > 0 {
            self.fill(within, BLOCK_BYTES - within);
            self.close()?;
        }
        Ok(self.take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Blocks(Vec<(u32, Vec<u8>)>);

    impl Take for Blocks {
        fn block(&mut self, number: u32, body: Body) -> Result<()> {
            self.0.push((number, body.bytes().to_vec()));
            Ok(())
        }

        fn idle(&mut self) -> Result<()> {
            Ok(())
        }
    }

    struct Sevens;

    impl ReadAt for Sevens {
        fn read_exact_at(&self, _: Position, buf: &mut [u8]) -> Result<()> {
            buf.fill(7);
            Ok(())
        }
    }

    fn feed(omit_zeros: bool) -> Vec<(u32, Vec<u8>)> {
        let pool = Pool::default();
        // What is left in buffers must not show.
        let mut dirty = pool.take();
        dirty.bytes_mut().fill(0xee);
        drop(dirty);
        let mut feed = Feed::new(Blocks::default(), pool, omit_zeros);
        let mut at = 0;
        let mut go = |len: u64| {
            at += len;
            at - len
        };
        feed.begin(8 * BLOCK + 100).unwrap();
        // 0: data in the middle.
        feed.unallocated(go(10), 10).unwrap();
        feed.data(go(3), b"abc").unwrap();
        feed.unallocated(go(BLOCK - 13), BLOCK - 13).unwrap();
        // 1: nothing. 2: one allocated zero. 3: zeros.
        feed.unallocated(go(BLOCK), BLOCK).unwrap();
        feed.unallocated(go(BLOCK - 1), BLOCK - 1).unwrap();
        feed.zeros(go(BLOCK + 1), BLOCK + 1).unwrap();
        // 4: data that is zeros. 5, 6: copied from the middle of 5 to that of 6.
        feed.data(go(BLOCK), &vec![0; BLOCK_BYTES]).unwrap();
        feed.unallocated(go(100), 100).unwrap();
        feed.copy(go(BLOCK), &Sevens, Position::new(0, 0).unwrap(), BLOCK).unwrap();
        feed.zeros(go(BLOCK - 100), BLOCK - 100).unwrap();
        // 7: nothing; and 8 is short.
        feed.unallocated(go(BLOCK), BLOCK).unwrap();
        feed.data(go(100), &[9; 100]).unwrap();
        feed.finish().unwrap().0
    }

    #[test]
    fn blocks_with_anything_allocated() {
        let blocks = feed(false);
        assert_eq!(blocks.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 2, 3, 4, 5, 6, 8]);
        for (number, bytes) in blocks {
            let mut expected = vec![0; BLOCK_BYTES];
            match number {
                0 => expected[10..13].copy_from_slice(b"abc"),
                5 => expected[100..].fill(7),
                6 => expected[..100].fill(7),
                8 => expected[..100].fill(9),
                _ => {}
            }
            assert!(bytes == expected, "block {number}");
        }
    }

    #[test]
    fn without_zeros() {
        let numbers: Vec<u32> = feed(true).iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0, 5, 6, 8]);
    }

    #[test]
    fn calls_out_of_order_are_refused() {
        let mut feed = Feed::new(Blocks::default(), Pool::default(), false);
        feed.begin(100).unwrap();
        feed.zeros(0, 10).unwrap();
        assert!(feed.data(5, b"x").is_err());
        assert!(feed.zeros(10, 91).is_err());
        assert!(feed.finish().is_err());
    }
}
