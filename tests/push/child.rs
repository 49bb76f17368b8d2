//! Transfers in a process of their own: it has the environment that the judge wants, and it can be killed.
//!
//! The process is this test binary again, told to run [`work`], which does what a job in its environment says.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_judge::Judge;
use lfs_image::ebs::{
    Aws, Connect, Encryption, Patience, Pull, RawImage, Sample, Settings, Source, Upload, verify,
};
use serde::{Deserialize, Serialize};

const VARIABLE: &str = "LFS_IMAGE_PUSH_JOB";

/// What to do.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Job {
    pub(crate) image: PathBuf,
    pub(crate) journal: Option<PathBuf>,
    pub(crate) volume_gib: Option<u64>,
    pub(crate) jobs: Option<usize>,
    pub(crate) omit_zeros: bool,
    /// Download this snapshot to `image` instead.
    pub(crate) pull: Option<String>,
    /// Read this many blocks back.
    pub(crate) verify: Option<u64>,
    pub(crate) default_key: bool,
    /// Whom to trust.
    pub(crate) ca_bundle: Option<PathBuf>,
    /// Of patience: for an answer, for success, for a new snapshot.
    pub(crate) stall_ms: Option<u64>,
    pub(crate) give_up_ms: Option<u64>,
    pub(crate) not_found_ms: Option<u64>,
    /// Where the outcome goes.
    pub(crate) outcome: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) snapshot: Option<String>,
    pub(crate) blocks: u64,
    pub(crate) kept: u64,
    pub(crate) retries: u64,
    pub(crate) fingerprint_matches: bool,
    pub(crate) verified: u64,
    /// The error and its causes.
    pub(crate) error: String,
    /// The snapshot that is left, whether it can be gone on with, and the command that removes it.
    pub(crate) left: Option<(String, bool, String)>,
    pub(crate) seconds: f64,
    /// Kilobytes, at most.
    pub(crate) memory: u64,
}

impl Job {
    pub(crate) fn push(image: &Path) -> Self {
        Self { image: image.to_owned(), outcome: beside(image, "outcome"), ..Self::default() }
    }

    pub(crate) fn journal(mut self) -> Self {
        self.journal = Some(beside(&self.image, "push"));
        self
    }

    pub(crate) fn pull(snapshot: &str, out: &Path) -> Self {
        Self { pull: Some(snapshot.to_owned()), ..Self::push(out) }
    }

    /// A process that does it.
    pub(crate) fn spawn(&self, judge: &Judge) -> Child {
        let _ = std::fs::remove_file(&self.outcome);
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::work", "--nocapture"])
            .env_clear()
            .envs(judge.env())
            .env(VARIABLE, serde_json::to_string(self).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Does it, however it ends.
    #[track_caller]
    pub(crate) fn run(&self, judge: &Judge) -> Outcome {
        let status = self.spawn(judge).wait().unwrap();
        assert!(status.success(), "{status}");
        self.outcome()
    }

    pub(crate) fn outcome(&self) -> Outcome {
        serde_json::from_slice(&std::fs::read(&self.outcome).unwrap()).unwrap()
    }

    /// Does it, and it must succeed, with nothing that the judge minds.
    #[track_caller]
    pub(crate) fn succeed(&self, judge: &Judge) -> (String, Outcome) {
        let outcome = self.run(judge);
        let id = outcome.snapshot.clone().unwrap_or_else(|| panic!("{}", outcome.error));
        let violations = judge.report().violations;
        assert!(violations.is_empty(), "{violations:?}");
        (id, outcome)
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}.{end}", path.display()))
}

/// Not a test but what [`Job::spawn`] runs.
#[test]
fn work() {
    let Ok(job) = std::env::var(VARIABLE) else { return };
    let job: Job = serde_json::from_str(&job).unwrap();
    let began = std::time::Instant::now();
    let mut outcome = Outcome::default();
    match &job.pull {
        Some(snapshot) => pull(&job, snapshot, &mut outcome),
        None => push(&job, &mut outcome),
    }
    outcome.seconds = began.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    outcome.memory = peak.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
    std::fs::write(&job.outcome, serde_json::to_vec(&outcome).unwrap()).unwrap();
}

fn push(job: &Job, outcome: &mut Outcome) {
    let mut settings =
        Settings::new().description("a test").tag("made-by", "a test").omit_zeros(job.omit_zeros);
    if let Some(gib) = job.volume_gib {
        settings = settings.volume_gib(gib);
    }
    if let Some(jobs) = job.jobs {
        settings = settings.jobs(jobs);
    }
    if job.default_key {
        settings = settings.encryption(Encryption::DefaultKey);
    }
    settings = settings.patience(patience(job));
    let mut connect = Connect::new();
    if let Some(file) = &job.ca_bundle {
        connect = connect.ca_bundle(file);
    }
    let aws = Aws::connect(&connect).unwrap();
    let image = RawImage::open(&job.image).unwrap();
    let source = Source::raw(&image);
    let mut upload = Upload::new(&aws, &settings);
    if let Some(journal) = &job.journal {
        upload = upload.journal(journal);
    }
    match upload.run(&source, &mut ()) {
        Ok(uploaded) => {
            outcome.blocks = uploaded.blocks;
            outcome.kept = uploaded.kept;
            outcome.retries = uploaded.retries;
            outcome.fingerprint_matches =
                source.fingerprint(&settings, &mut ()).unwrap() == uploaded.fingerprint;
            outcome.snapshot = Some(uploaded.snapshot_id.clone());
            if let Some(blocks) = job.verify {
                // Until the service has completed it.
                std::thread::sleep(Duration::from_millis(500));
                let sample = Sample::Blocks(blocks);
                match verify(&aws, &uploaded.snapshot_id, &uploaded.digests, sample, &settings, &mut ()) {
                    Ok(blocks) => outcome.verified = blocks,
                    Err(error) => outcome.error = chain(&error),
                }
            }
            uploaded.forget_journal().unwrap();
        }
        Err(failure) => {
            outcome.error = chain(&failure.error);
            outcome.left =
                failure.left.map(|left| (left.snapshot_id.clone(), left.resumable, left.command()));
        }
    }
}

fn pull(job: &Job, snapshot: &str, outcome: &mut Outcome) {
    let aws = Aws::connect(&Connect::new()).unwrap();
    let mut settings = Settings::new().patience(patience(job));
    if let Some(jobs) = job.jobs {
        settings = settings.jobs(jobs);
    }
    match Pull::new(&aws, snapshot, &job.image, &settings).run(&mut ()) {
        Ok(pulled) => {
            outcome.snapshot = Some(snapshot.to_owned());
            (outcome.blocks, outcome.kept, outcome.retries) = (pulled.blocks, pulled.kept, pulled.retries);
        }
        Err(error) => outcome.error = chain(&error),
    }
}

/// An error and its causes.
fn chain(error: &lfs_image::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

fn patience(job: &Job) -> Patience {
    let mut patience = Patience::default();
    let set = |to: &mut Duration, ms: Option<u64>| *to = ms.map_or(*to, Duration::from_millis);
    set(&mut patience.stall, job.stall_ms);
    set(&mut patience.give_up, job.give_up_ms);
    set(&mut patience.not_found, job.not_found_ms);
    patience
}
