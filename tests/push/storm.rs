//! A day's worth of bad network in minutes: random faults, kills, and what comes of them.
//!
//! However it goes, an upload ends with a snapshot that is the image or with an error that names what is left, and the same
//! upload, run again on a better day, goes on. `LFS_IMAGE_STORM=200` weathers more of them, `LFS_IMAGE_SEED=N` that one first.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_judge::{BLOCK_SIZE, Config, Judge};
use sha2::{Digest as _, Sha256};

use crate::child::{Job, Outcome};
use crate::content::noise;
use crate::support::scratch;

const BLOCKS: usize = 24;
/// What passes, if one only tries again.
const PASSING: [&str; 12] = [
    r#""do": "throttle""#,
    r#""do": "throttle-snapshot""#,
    r#""do": "throttle-account""#,
    r#""do": "internal-error""#,
    r#""do": "unavailable""#,
    r#""do": "drop", "at": "request""#,
    r#""do": "drop", "at": "response""#,
    r#""do": "drop", "at": "applied""#,
    r#""do": "drop", "at": "body""#,
    r#""do": "stall", "at": "response", "seconds": 1.2"#,
    r#""do": "stall", "at": "body", "seconds": 1.2"#,
    r#""do": "stall", "at": "request", "seconds": 1.2"#,
];
/// What doesn't, and a word that must be said then.
const LASTING: [(&str, &str); 6] = [
    (r#""do": "access-denied""#, "access denied"),
    (r#""do": "expired-token""#, "credentials"),
    (r#""do": "quota""#, "quota"),
    (r#""do": "kms-denied""#, "KMS"),
    (r#""do": "validation", "reason": "INVALID_SIGNATURE""#, "refused as invalid"),
    (r#""do": "account-denied""#, "access denied"),
];

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// How one of them ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum End {
    Succeeded,
    Killed,
    Failed,
    /// With `Failed` and `Killed`: it went on with what was there.
    WentOn,
}

#[test]
fn random_faults() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (runs, first) = (number("LFS_IMAGE_STORM").unwrap_or(15), number("LFS_IMAGE_SEED").unwrap_or(1));
    eprintln!("{runs} uploads from seed {first}");
    let next = AtomicU64::new(first);
    let ends = Mutex::new(BTreeMap::<(u64, End), u32>::new());
    // Each mostly waits.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + runs {
                        return;
                    }
                    let percent = [1, 10, 30][usize::try_from(seed % 3).unwrap()];
                    for end in weather(seed, percent) {
                        *ends.lock().unwrap().entry((percent, end)).or_default() += 1;
                    }
                }
            });
        }
    });
    let ends = ends.into_inner().unwrap();
    for ((percent, end), count) in &ends {
        eprintln!("{percent} % of faults: {count} {end:?}");
    }
    // Not all of one kind, or it proves nothing.
    assert!(ends.keys().any(|(_, end)| *end == End::Succeeded));
    assert!(ends.keys().any(|(_, end)| *end == End::WentOn));
}

/// One upload with so many percent of faults, and what it takes to end it well.
fn weather(seed: u64, percent: u64) -> Vec<End> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let folder = scratch();
    let image = folder.path().join("image");
    let mut bytes = noise(seed, BLOCKS * BLOCK_SIZE);
    bytes[3 * BLOCK_SIZE..4 * BLOCK_SIZE].fill(0);
    std::fs::write(&image, &bytes).unwrap();
    // Pending for as long as it takes: what counts is what the service was told is complete.
    let judge = Judge::start(Config { complete_ms: 3_600_000, ..Config::default() }).unwrap();

    let kinds = 4;
    let calls = r#"["StartSnapshot", "PutSnapshotBlock", "CompleteSnapshot"]"#;
    let mut script: Vec<String> = (0..kinds)
        .map(|n| {
            let fault = PASSING[dice.below(PASSING.len())];
            // In hundredths of a percent: all kinds together make up the rate.
            format!(
                r#"{{"op": {calls}, "probability": 0.{:04}, "seed": {}, {fault}}}"#,
                percent * 100 / kinds,
                seed * 10 + n
            )
        })
        .collect();
    let lasting = (dice.below(4) == 0).then(|| {
        let (fault, word) = LASTING[dice.below(LASTING.len())];
        script.insert(
            0,
            format!(r#"{{"op": "PutSnapshotBlock", "from": {}, {fault}}}"#, 1 + dice.below(BLOCKS)),
        );
        word
    });
    let script = format!("[{}]", script.join(", "));
    judge.set_faults(&script).unwrap();

    let mut job = Job::push(&image);
    let has_journal = dice.below(4) > 0;
    if has_journal {
        job = job.journal();
    }
    job.jobs = Some(1 + dice.below(8));
    (job.stall_ms, job.give_up_ms, job.not_found_ms) = (Some(400), Some(8000), Some(1000));
    let context = format!("seed {seed}, {percent} %, {job:?}, {script}");

    let mut ends = Vec::new();
    let mut child = job.spawn(&judge);
    let killed = dice.below(5) == 0;
    if killed {
        // It may be through before, or never get so far.
        let _ = judge.wait_for("PutSnapshotBlock", 1 + dice.below(BLOCKS) as u64, Duration::from_secs(10));
        let _ = child.kill();
    }
    let status = child.wait().unwrap();
    let outcome = if status.success() { Some(job.outcome()) } else { None };
    assert!(outcome.is_some() || killed, "{context}: {status}");
    no_wrong_snapshot(&judge, &bytes, &context);
    if let Some(outcome) = &outcome {
        if let Some(id) = &outcome.snapshot {
            is_the_image(&judge, id, &bytes, &context);
            ends.push(End::Succeeded);
            return ends;
        }
        failed_well(outcome, lasting, &judge, &context);
    }
    ends.push(if outcome.is_some() { End::Failed } else { End::Killed });

    // On a better day.
    judge.set_faults("[]").unwrap();
    let again = job.run(&judge);
    let id = again.snapshot.clone().unwrap_or_else(|| panic!("{context}: and then {}", again.error));
    is_the_image(&judge, &id, &bytes, &context);
    no_wrong_snapshot(&judge, &bytes, &context);
    if let Some((left, true, _)) = outcome.as_ref().and_then(|outcome| outcome.left.clone()) {
        assert_eq!(left, id, "{context}: it didn't go on with what it left");
    }
    if again.kept > 0 {
        ends.push(End::WentOn);
    }
    let violations = judge.report().violations;
    assert!(violations.is_empty(), "{context}: {violations:?}");
    ends
}

/// What a snapshot that the service was told is complete must hold.
#[track_caller]
fn is_the_image(judge: &Judge, id: &str, image: &[u8], context: &str) {
    let snapshot = judge.snapshot(id).unwrap_or_else(|| panic!("{context}: no {id}"));
    assert!(snapshot.sealed && !snapshot.deleted, "{context}: {}", snapshot.state);
    assert_eq!(snapshot.blocks.len(), BLOCKS, "{context}");
    for (block, bytes) in snapshot.blocks.iter().zip(image.chunks(BLOCK_SIZE)) {
        let held = judge.block(id, block.index).unwrap().unwrap();
        assert!(Sha256::digest(&held) == Sha256::digest(bytes), "{context}: block {} differs", block.index);
    }
}

/// Whatever was completed is the image.
#[track_caller]
fn no_wrong_snapshot(judge: &Judge, image: &[u8], context: &str) {
    for snapshot in judge.report().snapshots.iter().filter(|snapshot| snapshot.sealed) {
        is_the_image(judge, &snapshot.id, image, context);
    }
}

/// An error with words, and nothing left without a name.
#[track_caller]
fn failed_well(outcome: &Outcome, lasting: Option<&str>, judge: &Judge, context: &str) {
    let error = &outcome.error;
    let passing = ["nothing has succeeded for", "no answer", "no such snapshot"];
    let said = passing.iter().chain(&lasting).any(|words| error.contains(words));
    assert!(said, "{context}: {error}");
    assert!(
        ["StartSnapshot", "PutSnapshotBlock", "CompleteSnapshot"].iter().any(|call| error.contains(call)),
        "{context}: {error}"
    );
    let left: Vec<_> = outcome.left.iter().map(|(id, _, command)| (id.clone(), command.clone())).collect();
    for snapshot in judge.report().live_snapshots() {
        let named = left.iter().any(|(id, command)| *id == snapshot.id && command.contains(id));
        // Where no answer to the start ever came, nobody can know it; the journal finds it again.
        assert!(
            named || snapshot.sealed || left.is_empty(),
            "{context}: {} isn't named: {error}",
            snapshot.id
        );
    }
}
