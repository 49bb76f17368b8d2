//! Measures the walk: draws its progress, counts what is written, ends it when asked to.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use lfs_image::sink::{DigestSink, Sink, StreamSink, Tally};
use lfs_image::tree::{Position, ReadAt};
use lfs_image::{Error, ErrorKind, FileSink, Result};

use crate::interrupt::Interrupt;
use crate::ui::Ui;

/// Work that is done before this needs no bar.
const PATIENCE: Duration = Duration::from_millis(300);

/// How much a sink gets at a time, so that a bar moves and Ctrl-C is heard, on slow disks, too.
const PIECE: u64 = 4 << 20;
/// And of what is passed over, which takes no time.
const LEAP: u64 = 64 << 20;

/// Draws one step of the walk.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    ui: Ui,
    interrupt: &'a Interrupt,
    word: &'static str,
    state: Arc<Mutex<State>>,
    /// Ends the thread that waits to draw, when it goes.
    _waits: Option<Sender<()>>,
}

#[derive(Debug, Default)]
struct State {
    bar: Option<ProgressBar>,
    done: u64,
    total: Option<u64>,
    ended: bool,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(ui: Ui, interrupt: &'a Interrupt, word: &'static str) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let waits = ui.draws().then(|| {
            let (waits, ended) = channel();
            let state = Arc::clone(&state);
            // A thread of its own, since a step may be stuck from the start: on a disk that hangs, in a pipe that nobody reads.
            std::thread::spawn(move || {
                if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    let mut state = lock(&state);
                    if !state.ended {
                        let bar = ui.bar(word, state.total);
                        bar.set_position(state.done);
                        state.bar = Some(bar);
                    }
                }
            });
            waits
        });
        Self { ui, interrupt, word, state, _waits: waits }
    }

    /// So much of so much is done.
    pub(crate) fn at(&self, done: u64, total: Option<u64>) -> Result<()> {
        self.interrupt.check()?;
        let mut state = lock(&self.state);
        if state.total != total && state.bar.is_some() {
            // One with an end looks otherwise.
            state.bar.take().iter().for_each(ProgressBar::finish_and_clear);
            state.bar = Some(self.ui.bar(self.word, total));
        }
        (state.done, state.total) = (done, total);
        if let Some(bar) = &state.bar {
            bar.set_position(done);
        }
        Ok(())
    }

    /// All of it is handed over, and what is left is waiting for the disk. A bar that stands at its end would say nothing.
    fn hand_over(&self) {
        let mut state = lock(&self.state);
        if let Some(full) = state.bar.take() {
            full.finish_and_clear();
            state.bar = Some(self.ui.waiting(self.word, "waiting for the disk"));
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.ended = true;
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Where an image goes.
#[derive(Debug)]
pub(crate) enum Out {
    File(Box<FileSink>),
    Pipe(StreamSink<std::fs::File>),
    Hashed(Box<DigestSink<Out>>),
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) path: Option<PathBuf>,
    pub(crate) digest: Option<[u8; 32]>,
    pub(crate) tally: Tally,
}

impl Out {
    /// Whether unallocated space is passed over rather than written or hashed.
    fn skips(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

macro_rules! each {
    ($self:ident, $sink:ident => $call:expr) => {
        match $self {
            Self::File($sink) => $call,
            Self::Pipe($sink) => $call,
            Self::Hashed($sink) => $call,
        }
    };
}

impl Sink for Out {
    type Receipt = Written;

    fn begin(&mut self, len: u64) -> Result<()> {
        each!(self, sink => sink.begin(len))
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        each!(self, sink => sink.data(offset, bytes))
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        each!(self, sink => sink.zeros(offset, len))
    }

    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        each!(self, sink => sink.unallocated(offset, len))
    }

    fn copies(&self) -> bool {
        each!(self, sink => sink.copies())
    }

    fn copy(&mut self, offset: u64, store: &dyn ReadAt, at: Position, len: u64) -> Result<()> {
        each!(self, sink => sink.copy(offset, store, at, len))
    }

    fn finish(self) -> Result<Written> {
        Ok(match self {
            Self::File(sink) => Written { path: Some(sink.finish()?), ..Written::default() },
            Self::Pipe(sink) => {
                sink.finish()?;
                Written::default()
            }
            Self::Hashed(sink) => {
                let (written, digest) = sink.finish()?;
                Written { digest: Some(digest), ..written }
            }
        })
    }
}

/// A sink that is watched: each step small enough to be stopped after, and counted.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    pub(crate) out: Out,
    pub(crate) meter: &'a Meter<'a>,
    /// Bytes of the image that are expected to be unallocated.
    pub(crate) free: u64,
    pub(crate) tally: Tally,
    pub(crate) total: u64,
}

impl Watched<'_> {
    /// Does a long step in pieces of an offset and a length.
    fn pieces(
        &mut self,
        offset: u64,
        len: u64,
        most: u64,
        piece: impl Fn(&mut Out, u64, u64) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        while done < len {
            let n = most.min(len - done);
            piece(&mut self.out, offset + done, n)?;
            done += n;
            self.reached(offset + done)?;
        }
        Ok(())
    }

    /// How much of what is no data is done at a time.
    fn leap(&self) -> u64 {
        if self.out.skips() { LEAP } else { PIECE }
    }

    /// Space that is passed over is no work, and not counted as such.
    fn reached(&self, offset: u64) -> Result<()> {
        let (skipped, total) = if self.out.skips() {
            (self.tally.unallocated, self.total.saturating_sub(self.free))
        } else {
            (0, self.total)
        };
        self.meter.at(offset.saturating_sub(skipped).min(total), Some(total))
    }
}

impl Sink for Watched<'_> {
    type Receipt = Written;

    fn begin(&mut self, len: u64) -> Result<()> {
        self.total = len;
        self.out.begin(len)
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.tally.data += bytes.len() as u64;
        self.out.data(offset, bytes)?;
        self.reached(offset + bytes.len() as u64)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        self.tally.zeros += len;
        self.pieces(offset, len, self.leap(), Out::zeros)
    }

    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        self.tally.unallocated += len;
        self.pieces(offset, len, self.leap(), Out::unallocated)
    }

    fn copies(&self) -> bool {
        self.out.copies()
    }

    fn copy(&mut self, offset: u64, store: &dyn ReadAt, at: Position, len: u64) -> Result<()> {
        self.tally.data += len;
        self.pieces(offset, len, PIECE, |out, to, len| {
            let from = at.forward(to - offset).ok_or_else(|| {
                Error::new(ErrorKind::Internal, "content reaches past the end of its source")
            })?;
            out.copy(to, store, from, len)
        })
    }

    fn finish(self) -> Result<Written> {
        self.meter.hand_over();
        Ok(Written { tally: self.tally, ..self.out.finish()? })
    }
}
