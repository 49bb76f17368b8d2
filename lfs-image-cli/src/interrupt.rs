//! Ctrl-C, politely: the walk is asked to end and leaves nothing behind. Asked twice, or for too long, the process ends
//! at once.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lfs_image::{Error, ErrorKind, Progress, Result, Stage};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

/// Exit code of an interrupted command: 128 + SIGINT, as shells have it.
pub(crate) const EXIT_CODE: u8 = 130;

/// How long the walk may take to end; a read from a pipe may never.
const GRACE: Duration = Duration::from_secs(2);
/// How long it may take to end what was begun elsewhere.
#[cfg(feature = "push")]
const REMOTE_GRACE: Duration = Duration::from_secs(12);

/// Whether the command was asked to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    asked: Arc<AtomicBool>,
    /// What has to be removed where destructors don't run.
    temporary: Mutex<Option<PathBuf>>,
    /// What has to be said then, and how long to wait before.
    farewell: Mutex<Option<(String, Duration)>>,
}

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn install() -> Result<Self> {
        let interrupt = Self::default();
        // Heard by nobody: a write beyond a limit on files' sizes then fails as any other, and is cleaned up after.
        signal_hook::flag::register(SIGXFSZ, Arc::default())
            .map_err(|e| Error::io("listen for signals", e))?;
        let mut signals =
            Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|e| Error::io("listen for signals", e))?;
        let shared = Arc::clone(&interrupt.0);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for _ in signals.forever() {
                    if shared.asked.swap(true, Ordering::Relaxed) {
                        shared.exit();
                    }
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || {
                        std::thread::sleep(shared.grace());
                        shared.exit();
                    });
                }
            })
            .map_err(|e| Error::io("start a thread to listen for signals", e))?;
        Ok(interrupt)
    }

    /// Names the file or folder that a process that ends at once has to remove.
    pub(crate) fn guard(&self, temporary: Option<PathBuf>) {
        *self.0.temporary.lock().unwrap_or_else(PoisonError::into_inner) = temporary;
    }

    /// Something was begun elsewhere: it is given time to be ended, and these words are for the case that it isn't.
    #[cfg(feature = "push")]
    pub(crate) fn remote(&self, farewell: Option<String>) {
        *self.0.farewell.lock().unwrap_or_else(PoisonError::into_inner) =
            farewell.map(|words| (words, REMOTE_GRACE));
    }

    /// Whether the command was asked to stop.
    #[cfg(feature = "push")]
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.asked)
    }

    /// An error once the command was asked to stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.asked.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        Ok(())
    }
}

impl Shared {
    fn grace(&self) -> Duration {
        let farewell = self.farewell.lock().unwrap_or_else(PoisonError::into_inner);
        farewell.as_ref().map_or(GRACE, |(_, grace)| *grace)
    }

    fn exit(&self) -> ! {
        if let Some((words, _)) = self.farewell.lock().unwrap_or_else(PoisonError::into_inner).take() {
            crate::ui::farewell(&words);
        }
        if let Some(path) = self.temporary.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        }
        std::process::exit(i32::from(EXIT_CODE));
    }
}

/// Ends a walk that was asked to stop.
impl Progress for &Interrupt {
    fn at(&mut self, _stage: Stage, _done: u64, _total: Option<u64>) -> Result<()> {
        self.check()
    }
}
