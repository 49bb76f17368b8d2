//! Rendering on one thread, writing on another.
//!
//! ```text
//! renderer   reads small content, renders metadata   -> steps, each with its offset ->   writer (the caller's thread)
//!                                                    <-   used buffers, some at once <-
//! ```
//!
//! The sink and whoever hears of progress stay on the caller's thread; the renderer is at most a few buffers ahead.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::out::{BUFFER, Out, Target};
use super::sink::Sink;
use super::store::{Position, ReadAt};
use crate::error::{Error, Result};

/// How many buffers go round: few enough to stay in the processor's cache.
const BUFFERS: usize = 8;
/// So many of them go back at once: whoever waits is woken, and put to sleep again, once for all of them.
const BATCH: usize = BUFFERS / 2;

/// What the writer does next.
enum Step {
    Data(u64, Box<[u8]>, usize),
    Zeros(u64, u64),
    Unallocated(u64, u64),
    Copy(u64, Position, u64),
}

/// Has `render` describe an image and `sink` take it, at the same time. `written` hears the offset that was reached, now and
/// then; its error ends the walk.
pub(crate) fn relay<S: Sink>(
    store: &(dyn ReadAt + Sync),
    sink: &mut S,
    written: &mut dyn FnMut(u64) -> Result<()>,
    render: impl FnOnce(&mut Out<'_, Relay>) -> Result<()> + Send,
) -> Result<()> {
    let (steps, next) = sync_channel(BUFFERS);
    let (back, spares) = sync_channel(BUFFERS / BATCH);
    let copies = sink.copies();
    std::thread::scope(|scope| {
        let renderer = move || {
            let mut relay = Relay { steps, spares, spare: Vec::new(), fresh: BUFFERS - 1, copies };
            // Progress is what was written, not what was rendered.
            let mut unheard = |_| Ok(());
            let mut out = Out::new(&mut relay, &mut unheard);
            render(&mut out)?;
            out.flush()
        };
        let renderer = std::thread::Builder::new()
            .name("render".to_owned())
            .spawn_scoped(scope, renderer)
            .map_err(|e| Error::io("start a thread", e))?;
        let mut used = Vec::with_capacity(BATCH);
        let wrote = next.iter().try_for_each(|step| {
            let reached = match step {
                Step::Data(offset, bytes, len) => {
                    sink.data(offset, &bytes[..len])?;
                    used.push(bytes);
                    if used.len() == BATCH {
                        // Nobody waits for them once everything is rendered.
                        let _ = back.send(std::mem::replace(&mut used, Vec::with_capacity(BATCH)));
                    }
                    offset + len as u64
                }
                Step::Zeros(offset, len) => {
                    sink.zeros(offset, len)?;
                    offset + len
                }
                Step::Unallocated(offset, len) => {
                    sink.unallocated(offset, len)?;
                    offset + len
                }
                Step::Copy(offset, at, len) => {
                    sink.copy(offset, store, at, len)?;
                    offset + len
                }
            };
            written(reached)
        });
        // The renderer finds nobody at the other end and stops.
        drop((next, back));
        let rendered = renderer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        wrote.and(rendered)
    })
}

/// The renderer's end.
#[derive(Debug)]
pub(crate) struct Relay {
    steps: SyncSender<Step>,
    spares: Receiver<Vec<Box<[u8]>>>,
    /// Those that came back.
    spare: Vec<Box<[u8]>>,
    /// How many buffers may still be made.
    fresh: usize,
    copies: bool,
}

impl Relay {
    fn send(&self, step: Step) -> Result<()> {
        self.steps.send(step).map_err(|_| gone())
    }

    fn spare(&mut self) -> Result<Box<[u8]>> {
        if let Some(buffer) = self.spare.pop() {
            return Ok(buffer);
        }
        if self.fresh > 0 {
            self.fresh -= 1;
            return Ok(vec![0; BUFFER].into_boxed_slice());
        }
        // One is here and fewer than a batch are used: the others come.
        self.spare = self.spares.recv().map_err(|_| gone())?;
        self.spare.pop().ok_or_else(gone)
    }
}

impl Target for Relay {
    fn take(&mut self, offset: u64, buffer: &mut Box<[u8]>, filled: usize) -> Result<()> {
        let spare = self.spare()?;
        self.send(Step::Data(offset, std::mem::replace(buffer, spare), filled))
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        self.send(Step::Zeros(offset, len))
    }

    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        self.send(Step::Unallocated(offset, len))
    }

    fn copies(&self) -> bool {
        self.copies
    }

    fn copy(&mut self, offset: u64, _: &dyn ReadAt, at: Position, len: u64) -> Result<()> {
        self.send(Step::Copy(offset, at, len))
    }
}

/// Never seen: the writer's own error is the one that is told.
fn gone() -> Error {
    Error::internal("the writer of the image stopped")
}

#[cfg(test)]
mod tests {
    use super::super::out::tests::Memory;
    use super::*;
    use crate::tree::NoStore;

    fn run(sink: &mut Memory, written: &mut dyn FnMut(u64) -> Result<()>, bad: bool) -> Result<()> {
        relay(&NoStore, sink, written, move |out| {
            for n in 0..100u8 {
                out.data(&vec![n; 50_000])?;
                out.zeros(70_000)?;
                out.unallocated(5)?;
            }
            if bad { Err(Error::input("bad")) } else { Ok(()) }
        })
    }

    #[test]
    fn an_image_is_the_same_by_either_way() {
        let mut sink = Memory::default();
        let mut last = 0;
        let mut written = |at| {
            last = at;
            Ok(())
        };
        run(&mut sink, &mut written, false).unwrap();
        assert_eq!(last, 100 * 120_005);
        assert_eq!(sink.bytes.len(), 100 * 120_005);
        for (n, part) in (0u8..).zip(sink.bytes.chunks(120_005)) {
            assert!(part[..50_000].iter().all(|byte| *byte == n));
            assert!(part[50_000..120_000].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn the_first_fault_is_told() {
        let mut told = 0;
        let mut stop = |_| {
            told += 1;
            if told == 9 { Err(Error::input("stop")) } else { Ok(()) }
        };
        assert_eq!(run(&mut Memory::default(), &mut stop, true).unwrap_err().to_string(), "stop");
        let error = run(&mut Memory::default(), &mut |_| Ok(()), true).unwrap_err();
        assert_eq!(error.to_string(), "bad");
    }
}
