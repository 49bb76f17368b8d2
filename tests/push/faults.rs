//! A service that fails, slows down, refuses or falls silent.

use std::time::{Duration, Instant};

use aws_judge::{Config, Judge, Tls};

use crate::child::{Job, Outcome};
use crate::content::noisy;
use crate::support::{scratch, tls};

/// Pushes so many blocks of noise to a judge with a script.
fn push(script: &str, blocks: usize, change: impl FnOnce(&mut Job)) -> (Judge, Outcome) {
    let folder = scratch();
    let image = folder.path().join("image");
    noisy(&image, blocks);
    let judge = Judge::start(Config::default()).unwrap();
    judge.set_faults(script).unwrap();
    let mut job = Job::push(&image);
    change(&mut job);
    let outcome = job.run(&judge);
    let violations = judge.report().violations;
    assert!(violations.is_empty(), "{violations:?}");
    (judge, outcome)
}

/// What passes is got over; everything arrives once, or again where nobody can know.
#[test]
fn what_passes() {
    for script in [
        r#"{"op": "PutSnapshotBlock", "probability": 0.2, "seed": 1, "do": "internal-error"}"#,
        r#"{"op": "PutSnapshotBlock", "probability": 0.2, "seed": 2, "do": "throttle"}"#,
        r#"{"op": "PutSnapshotBlock", "probability": 0.2, "seed": 3, "do": "throttle-snapshot"}"#,
        r#"{"op": "PutSnapshotBlock", "probability": 0.2, "seed": 4, "do": "throttle-account"}"#,
        r#"{"op": "PutSnapshotBlock", "probability": 0.2, "seed": 5, "do": "unavailable"}"#,
        r#"{"op": "PutSnapshotBlock", "probability": 0.1, "seed": 6, "do": "drop", "at": "request"}"#,
        r#"{"op": "PutSnapshotBlock", "probability": 0.1, "seed": 7, "do": "drop", "at": "response"}"#,
        r#"{"op": "PutSnapshotBlock", "probability": 0.1, "seed": 8, "do": "drop", "at": "applied"}"#,
        r#"{"op": "PutSnapshotBlock", "probability": 0.1, "seed": 9, "do": "drop", "at": "body"}"#,
        r#"{"op": "PutSnapshotBlock", "tries": 1, "do": "validation", "reason": "CONFLICTING_BLOCK_UPDATE"}"#,
        r#"{"op": "PutSnapshotBlock", "since": "snapshot-start", "within_ms": 1500, "do": "not-found"}"#,
        r#"{"op": "PutSnapshotBlock", "do": "delay", "min_ms": 0, "max_ms": 100, "seed": 10}"#,
        r#"{"op": "StartSnapshot", "nth": [1, 2], "do": "internal-error"}"#,
        r#"{"op": "StartSnapshot", "nth": 1, "do": "drop", "at": "applied"}"#,
        r#"{"op": "StartSnapshot", "nth": [1, 2, 3], "do": "pending-quota"}"#,
        r#"{"op": "StartSnapshot", "nth": 1, "do": "throttle"}"#,
        r#"{"op": "CompleteSnapshot", "nth": [1, 2], "do": "internal-error"}"#,
        r#"{"op": "CompleteSnapshot", "nth": 1, "do": "drop", "at": "applied"}"#,
        r#"{"op": "CompleteSnapshot", "nth": 1, "do": "not-found"}"#,
    ] {
        let (judge, outcome) = push(&format!("[{script}]"), 60, |_| {});
        assert!(outcome.snapshot.is_some(), "{script}: {}", outcome.error);
        let report = judge.report();
        let snapshot = report.only_snapshot();
        assert_eq!(snapshot.block_count, 60);
        assert!(snapshot.sealed && outcome.fingerprint_matches);
        assert!(snapshot.resent == 0 || script.contains("applied") || script.contains("body"), "{script}");
    }
}

/// Connections that fall silent are given up after a while that depends on how long answers take.
#[test]
fn silence() {
    for at in ["request", "response", "body"] {
        let script = format!(
            r#"[{{"op": "PutSnapshotBlock", "nth": [3, 20], "do": "stall", "seconds": 60, "at": "{at}"}}]"#
        );
        let began = Instant::now();
        let (judge, outcome) = push(&script, 60, |job| job.stall_ms = Some(1000));
        assert!(outcome.snapshot.is_some(), "{at}: {}", outcome.error);
        assert!(outcome.retries >= 2);
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(judge.report().only_snapshot().block_count, 60);
    }
}

/// What won't pass ends the upload within a second, with words that say what to do.
#[test]
fn what_does_not_pass() {
    for (fault, says) in [
        (r#""do": "access-denied""#, &["ebs:PutSnapshotBlock", "access denied", "us-east-1"][..]),
        (r#""do": "account-denied""#, &["access denied"]),
        (r#""do": "kms-denied""#, &["KMS key", "kms:GenerateDataKey"]),
        (r#""do": "quota""#, &["quota", "L-AFAE1BE8"]),
        (r#""do": "validation", "reason": "INVALID_BLOCK""#, &["INVALID_BLOCK", "refused as invalid"]),
        (r#""do": "expired-token""#, &["credentials"]),
    ] {
        let script = format!(r#"[{{"op": "PutSnapshotBlock", "blocks": [50, null], {fault}}}]"#);
        let (judge, outcome) = push(&script, 400, |_| {});
        assert_eq!(outcome.snapshot, None);
        for word in says {
            assert!(outcome.error.contains(word), "{fault}: {}", outcome.error);
        }
        assert!(outcome.seconds < 3.0, "{fault} took {} s", outcome.seconds);
        // Nobody could delete it here; so it is named.
        let (id, resumable, command) = outcome.left.unwrap();
        let report = judge.report();
        assert_eq!(report.only_snapshot().id, id);
        assert!(!resumable);
        assert_eq!(command, format!("aws ec2 delete-snapshot --region us-east-1 --snapshot-id {id}"));
    }
}

#[test]
fn a_refused_start_leaves_nothing() {
    for (fault, says) in [
        (r#""do": "access-denied""#, "ebs:StartSnapshot"),
        (r#""do": "validation", "reason": "INVALID_TAG""#, "INVALID_TAG"),
    ] {
        let mut journal = None;
        let (judge, outcome) = push(&format!(r#"[{{"op": "StartSnapshot", {fault}}}]"#), 3, |job| {
            *job = job.clone().journal();
            journal.clone_from(&job.journal);
        });
        assert!(!journal.unwrap().exists());
        assert!(outcome.error.contains(says), "{}", outcome.error);
        assert!(outcome.left.is_none() && judge.report().snapshots.is_empty());
    }
}

/// Patience has an end.
#[test]
fn nothing_ever_succeeds() {
    let (_, outcome) = push(r#"[{"op": "PutSnapshotBlock", "do": "internal-error"}]"#, 20, |job| {
        job.give_up_ms = Some(2000);
    });
    assert!(outcome.error.contains("nothing has succeeded for"), "{}", outcome.error);
    assert!(outcome.seconds < 10.0, "{}", outcome.seconds);
    let (_, outcome) = push(r#"[{"op": "PutSnapshotBlock", "do": "not-found"}]"#, 20, |job| {
        job.not_found_ms = Some(1000);
    });
    assert!(outcome.error.contains("no such snapshot"), "{}", outcome.error);
    assert!(outcome.seconds < 8.0, "{}", outcome.seconds);
}

/// 10 Mbit/s, with a patience that would not do if blocks had to arrive within it: nothing is sent twice.
#[test]
fn a_slow_line() {
    let folder = scratch();
    let image = folder.path().join("image");
    noisy(&image, 30);
    let judge = Judge::start(Config { uplink: Some(1_250_000), ..Config::default() }).unwrap();
    let mut job = Job::push(&image);
    job.stall_ms = Some(2000);
    let (_, outcome) = job.succeed(&judge);
    let report = judge.report();
    let snapshot = report.only_snapshot();
    assert_eq!((snapshot.block_count, snapshot.puts), (30, 30), "{outcome:?}");
    assert!(outcome.seconds < 20.0, "{}", outcome.seconds);
}

/// A service that enforces its limit hardly ever has to. And one that takes 100 ms for each block is asked for many at a
/// time, in bounded memory, with and without TLS. (How many, exactly, is for the tests of the engine, where nothing depends on
/// the machine.)
#[test]
fn rate_and_memory_stay_below_their_limits() {
    let slow = r#"[{"op": "PutSnapshotBlock", "do": "delay", "min_ms": 100, "max_ms": 100}]"#;
    for (script, over_tls, at_once) in [("[]", false, 1), (slow, false, 16), (slow, true, 16)] {
        let folder = scratch();
        let image = folder.path().join("image");
        noisy(&image, 2000);
        let mut config = Config { discard: true, enforce_rate: true, ..Config::default() };
        let mut job = Job::push(&image);
        if over_tls {
            let Some(made) = tls::certificates(folder.path()) else { return };
            config.tls = Some(Tls { certificate: made.server, key: made.key });
            job.ca_bundle = Some(made.authority);
        }
        let judge = Judge::start(config).unwrap();
        judge.set_faults(script).unwrap();
        let (_, outcome) = job.succeed(&judge);
        let report = judge.report();
        assert!(report.only_snapshot().peak_puts_per_second < 1000);
        let peak = report.operation("PutSnapshotBlock").peak;
        eprintln!("2000 blocks: {:.2} s, {} MiB, {peak} at once", outcome.seconds, outcome.memory >> 10);
        assert!((at_once..=128).contains(&peak), "{peak} at once");
        assert!(outcome.memory < 150 << 10, "{} KiB of memory", outcome.memory);
    }
}
