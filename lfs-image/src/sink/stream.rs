//! An image into a pipe.

use std::io::Write;

use super::{Reached, each_zeros};
use crate::error::{Error, Result};
use crate::raw::sink::Sink;

/// Writes every byte of an image to a [`Write`], zeros included, and hands it back at the end.
///
/// # Examples
///
/// ```
/// use lfs_image::sink::{Sink as _, StreamSink};
///
/// let mut sink = StreamSink::new(Vec::new());
/// sink.begin(8)?;
/// sink.data(0, b"boot")?;
/// sink.zeros(4, 4)?;
/// assert_eq!(sink.finish()?, b"boot\0\0\0\0");
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Debug)]
pub struct StreamSink<W> {
    writer: W,
    reached: Reached,
}

impl<W: Write> StreamSink<W> {
    /// A sink that writes to `writer`.
    pub fn new(writer: W) -> Self {
        Self { writer, reached: Reached::default() }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Reached { at, len, .. } = self.reached;
        self.reached.advance(at, bytes.len() as u64)?;
        self.writer
            .write_all(bytes)
            .map_err(|e| Error::io(format!("write the image's stream ({at} of {len} bytes written)"), e))
    }
}

impl<W: Write> Sink for StreamSink<W> {
    type Receipt = W;

    fn begin(&mut self, len: u64) -> Result<()> {
        self.reached = Reached::begin(len);
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.reached.advance(offset, 0)?;
        self.write(bytes)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        self.reached.advance(offset, 0)?;
        each_zeros(len, |zeros| self.write(zeros))
    }

    fn finish(mut self) -> Result<W> {
        self.reached.finish()?;
        self.writer.flush().map_err(|e| Error::io("write the end of the image's stream", e))?;
        Ok(self.writer)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::ErrorKind;

    /// Takes this many bytes, a few at a time.
    struct Pipe(usize);

    impl Write for Pipe {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            let n = buf.len().min(self.0).min(7);
            self.0 -= n;
            Ok(n)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn send(pipe: Pipe) -> Result<Pipe> {
        let mut sink = StreamSink::new(pipe);
        sink.begin(100_100)?;
        sink.data(0, &[1; 50])?;
        sink.zeros(50, 100_000)?;
        sink.unallocated(100_050, 50)?;
        sink.finish()
    }

    #[test]
    fn a_pipe_that_breaks_ends_the_image() {
        assert_eq!(send(Pipe(100_100)).unwrap().0, 0);
        for n in [0, 49, 50, 70_000, 100_099] {
            let error = send(Pipe(n)).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Io);
            let cause = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
            assert_eq!(cause.kind(), std::io::ErrorKind::BrokenPipe);
            assert!(error.to_string().ends_with("of 100100 bytes written)"), "{error}");
        }
    }

    #[test]
    fn a_gap_is_refused() {
        let mut sink = StreamSink::new(Vec::new());
        sink.begin(10).unwrap();
        sink.data(0, b"ab").unwrap();
        assert_eq!(sink.data(3, b"d").unwrap_err().kind(), ErrorKind::Misuse);
        assert_eq!(sink.data(1, b"b").unwrap_err().kind(), ErrorKind::Misuse);
        assert_eq!(sink.zeros(2, 9).unwrap_err().kind(), ErrorKind::Misuse);
        assert_eq!(sink.finish().unwrap_err().kind(), ErrorKind::Misuse);
    }
}
