//! What the account holds, and what was noticed.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::BLOCK_SIZE;
use crate::config::Config;
use crate::faults::{Armed, Call, Moments, Plan, splitmix};
use crate::images::Image;
use crate::reply::Reply;
use crate::report::{LogEntry, OperationReport, ParameterReport, Violation};
use crate::time;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) blocks: Store,
    pub(crate) started: Instant,
    /// When the uplink is free again.
    pub(crate) uplink: Mutex<Instant>,
}

impl Shared {
    pub(crate) fn new(config: Config) -> io::Result<Self> {
        let folder = config.folder.clone().unwrap_or_else(|| {
            std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), std::path::PathBuf::from)
        });
        let blocks = Store { file: tempfile::tempfile_in(folder)?, next: AtomicU64::new(0) };
        let now = Instant::now();
        Ok(Self { state: Mutex::new(State::new(config)), blocks, started: now, uplink: Mutex::new(now) })
    }

    /// The state; a panic elsewhere doesn't hide it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks' data in one file that has no name.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
    next: AtomicU64,
}

impl Store {
    pub(crate) fn put(&self, data: &[u8]) -> io::Result<Place> {
        static ZEROS: [u8; BLOCK_SIZE] = [0; BLOCK_SIZE];
        if *data == ZEROS {
            return Ok(Place::Zeros);
        }
        let at = self.next.fetch_add(BLOCK_SIZE as u64, Ordering::Relaxed);
        self.file.write_all_at(data, at)?;
        Ok(Place::At(at))
    }

    /// `None` for data that wasn't kept.
    pub(crate) fn get(&self, place: Place) -> io::Result<Option<Vec<u8>>> {
        let mut data = vec![0; BLOCK_SIZE];
        match place {
            Place::Zeros => {}
            Place::At(at) => self.file.read_exact_at(&mut data, at)?,
            Place::Nowhere => return Ok(None),
        }
        Ok(Some(data))
    }
}

/// Where a block's data is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Zeros,
    At(u64),
    /// Discarded.
    Nowhere,
}

/// A block that was put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) digest: [u8; 32],
    pub(crate) place: Place,
    pub(crate) puts: u32,
    /// Whether the client was told.
    pub(crate) acknowledged: bool,
}

/// Blocks by index.
pub(crate) type Blocks = BTreeMap<u32, Block>;

/// Where a snapshot is on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Pending,
    /// CompleteSnapshot was accepted.
    Sealed {
        until: Instant,
        fails: bool,
    },
    Completed,
    Error(String),
}

/// A snapshot, deleted or not.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) gib: u32,
    pub(crate) description: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) encrypted: bool,
    pub(crate) kms_key: Option<String>,
    pub(crate) parent: Option<String>,
    /// The oldest ancestor: snapshots with the same are related.
    pub(crate) root: String,
    pub(crate) client_token: Option<String>,
    pub(crate) timeout: Option<i64>,
    pub(crate) phase: Phase,
    pub(crate) start_time: f64,
    pub(crate) started: Instant,
    /// The last sign of life of an upload.
    pub(crate) touched: Instant,
    pub(crate) completed: Option<Instant>,
    pub(crate) deleted: bool,
    pub(crate) inherited: Arc<Blocks>,
    pub(crate) blocks: Blocks,
    pub(crate) puts: u64,
    pub(crate) resent: u64,
    pub(crate) recent: VecDeque<Instant>,
    pub(crate) peak: usize,
    pub(crate) fatal: Option<Instant>,
    pub(crate) shared_with: Vec<String>,
}

impl Snapshot {
    pub(crate) fn new(id: String, region: &str, gib: u32) -> Self {
        let now = Instant::now();
        Self {
            root: id.clone(),
            id,
            region: region.into(),
            gib,
            description: String::new(),
            tags: BTreeMap::new(),
            encrypted: false,
            kms_key: None,
            parent: None,
            client_token: None,
            timeout: None,
            phase: Phase::Pending,
            start_time: time::now(),
            started: now,
            touched: now,
            completed: None,
            deleted: false,
            inherited: Arc::default(),
            blocks: Blocks::new(),
            puts: 0,
            resent: 0,
            recent: VecDeque::new(),
            peak: 0,
            fatal: None,
            shared_with: Vec::new(),
        }
    }

    /// Lets time pass: completion, and the timeout of an upload that went silent.
    pub(crate) fn settle(&mut self, config: &Config) {
        match self.phase {
            Phase::Sealed { until, fails } if until <= Instant::now() => {
                self.phase = if fails { Phase::Error("Completion failed.".into()) } else { Phase::Completed };
                self.completed = Some(until);
            }
            Phase::Pending => {
                let minutes = u64::try_from(self.timeout.unwrap_or(60)).unwrap_or(0);
                let limit = Duration::from_millis(config.minute_ms.saturating_mul(minutes));
                if self.touched.elapsed() > limit {
                    let why = format!("The snapshot was not completed within {minutes} minutes.");
                    self.phase = Phase::Error(why);
                }
            }
            _ => {}
        }
    }

    /// `pending`, `completed`, `error`.
    pub(crate) fn status(&self) -> &'static str {
        match self.phase {
            Phase::Pending | Phase::Sealed { .. } => "pending",
            Phase::Completed => "completed",
            Phase::Error(_) => "error",
        }
    }

    /// How many blocks the volume has.
    pub(crate) fn block_count(&self) -> u32 {
        self.gib.saturating_mul(2048)
    }

    /// Its own or an ancestor's block.
    pub(crate) fn block(&self, index: u32) -> Option<&Block> {
        self.blocks.get(&index).or_else(|| self.inherited.get(&index))
    }

    /// All blocks, ancestors' too.
    pub(crate) fn all_blocks(&self) -> Blocks {
        let mut all = Blocks::clone(&self.inherited);
        all.extend(&self.blocks);
        all
    }

    /// SHA-256 over the raw digests in ascending order.
    pub(crate) fn linear(&self) -> [u8; 32] {
        let sum = self.blocks.values().fold(Sha256::new(), |sum, block| sum.chain_update(block.digest));
        sum.finalize().into()
    }
}

/// Answers to calls with a token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) parameters: Value,
    pub(crate) id: String,
}

/// The account.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) script: Vec<Armed>,
    /// In the order in which they came.
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) images: Vec<Image>,
    pub(crate) tokens: BTreeMap<(String, String), Token>,
    pub(crate) parameters: Vec<ParameterReport>,
    pub(crate) operations: BTreeMap<String, OperationReport>,
    now: BTreeMap<String, usize>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) log: Vec<LogEntry>,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) requests: usize,
    pub(crate) peak_requests: usize,
    pub(crate) connections: u64,
    seed: u64,
}

impl State {
    fn new(config: Config) -> Self {
        let script = config.faults.iter().cloned().map(Armed::new).collect();
        Self {
            config,
            script,
            snapshots: Vec::new(),
            images: Vec::new(),
            tokens: BTreeMap::new(),
            parameters: Vec::new(),
            operations: BTreeMap::new(),
            now: BTreeMap::new(),
            violations: Vec::new(),
            log: Vec::new(),
            bytes_received: 0,
            bytes_sent: 0,
            requests: 0,
            peak_requests: 0,
            connections: 0,
            seed: 0,
        }
    }

    /// An identifier that looks like AWS's: `snap-0` and sixteen digits. The same ones in each run.
    pub(crate) fn id(&mut self, kind: &str) -> String {
        format!("{kind}-0{:016x}", splitmix(&mut self.seed))
    }

    /// A snapshot as of now; deleted ones are none.
    pub(crate) fn snapshot(&mut self, region: &str, id: &str) -> Option<&mut Snapshot> {
        let Self { config, snapshots, .. } = self;
        let found = snapshots
            .iter_mut()
            .find(|snapshot| snapshot.id == id && snapshot.region == region && !snapshot.deleted)?;
        found.settle(config);
        Some(found)
    }

    /// Lets time pass for all.
    pub(crate) fn settle(&mut self) {
        let Self { config, snapshots, .. } = self;
        snapshots.iter_mut().for_each(|snapshot| snapshot.settle(config));
    }

    /// Notes what a good client doesn't do.
    pub(crate) fn violation(&mut self, kind: &str, operation: &str, detail: String) {
        // A client gone wild shouldn't fill the memory.
        if self.violations.len() < 1000 {
            self.violations.push(Violation { kind: kind.into(), operation: operation.into(), detail });
        }
    }

    fn moments(&mut self, region: &str, subject: &str) -> Moments {
        if let Some(image) = self.images.iter().find(|image| image.id == subject) {
            return Moments { started: Some(image.started), completed: image.available() };
        }
        self.snapshot(region, subject).map_or_else(Moments::default, |snapshot| Moments {
            started: Some(snapshot.started),
            completed: snapshot.completed,
        })
    }

    /// A call begins: counts it and asks the script.
    pub(crate) fn begin(&mut self, call: &Call) -> Plan {
        let now = self.now.entry(call.operation.clone()).or_default();
        *now += 1;
        let operation = self.operations.entry(call.operation.clone()).or_default();
        operation.calls += 1;
        operation.peak = operation.peak.max(*now);
        let subject = call.subject.as_deref().unwrap_or_default();
        let moments = self.moments(&call.region, subject);
        let caller = self.config.arn();
        crate::faults::plan(&mut self.script, call, moments, &caller)
    }

    /// Lets what RegisterImage, CopyImage or CopySnapshot just made be late or fail.
    pub(crate) fn mislead(&mut self, call: &Call, plan: &Plan) {
        match call.operation.as_str() {
            "RegisterImage" | "CopyImage" => {
                let Some(image) = self.images.last_mut() else { return };
                image.fails |= plan.fail_completion;
                image.until = plan.completion.map_or(image.until, |delay| image.started + delay);
            }
            "CopySnapshot" => {
                let Some(snapshot) = self.snapshots.last_mut() else { return };
                if let Phase::Sealed { until, fails } = &mut snapshot.phase {
                    *fails |= plan.fail_completion;
                    *until = plan.completion.map_or(*until, |delay| snapshot.started + delay);
                }
            }
            _ => {}
        }
    }

    /// A call ends. `None`: without an answer.
    pub(crate) fn end(&mut self, call: &Call, reply: Option<&Reply>, aborted: bool) {
        if let Some(now) = self.now.get_mut(&call.operation) {
            *now = now.saturating_sub(1);
        }
        let operation = self.operations.entry(call.operation.clone()).or_default();
        match reply {
            Some(reply) if reply.status < 300 => operation.ok += 1,
            Some(reply) => {
                let code = reply.code.clone().unwrap_or_else(|| reply.status.to_string());
                *operation.errors.entry(code).or_default() += 1;
            }
            None if aborted => operation.aborted += 1,
            None => operation.dropped += 1,
        }
    }
}
