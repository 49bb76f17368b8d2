//! Killed, and gone on with.

use std::time::Duration;

use aws_judge::{Config, Judge, View};

use crate::child::Job;
use crate::content::{assert_same, noise, noisy, volume};
use crate::support::scratch;

/// Killed at twenty moments, the upload goes on each time, and what was acknowledged isn't sent again.
#[test]
fn killed_and_gone_on_with() {
    const JOBS: u64 = 8;
    let folder = scratch();
    let image = folder.path().join("image");
    noisy(&image, 600);
    let judge = Judge::start(Config::default()).unwrap();
    // Eight seconds for all of it, so that none of those that are killed is through before.
    judge
        .set_faults(r#"[{"op": "PutSnapshotBlock", "do": "delay", "min_ms": 60, "max_ms": 150, "seed": 1}]"#)
        .unwrap();
    let mut job = Job::push(&image).journal();
    job.jobs = Some(8);
    let (mut killed, mut waited) = (0, 0);
    for round in 0..20_u64 {
        let mut child = job.spawn(&judge);
        // From before the first request to the middle of many.
        let wait = u64::from(noise(round + 100, 1)[0]) * 2;
        std::thread::sleep(Duration::from_millis(wait));
        waited += wait;
        child.kill().unwrap();
        killed += u64::from(!child.wait().unwrap().success());
    }
    assert_eq!(killed, 20, "in {waited} ms");
    let (id, outcome) = job.succeed(&judge);
    let report = judge.report();
    // A start that nobody heard of is found again by its token.
    let snapshot = report.only_snapshot();
    assert_eq!((snapshot.id.as_str(), snapshot.block_count), (id.as_str(), 600));
    assert!(snapshot.resent <= killed * JOBS, "{} blocks were sent again", snapshot.resent);
    assert!(outcome.kept > 0 && outcome.fingerprint_matches);
    assert!(!job.journal.unwrap().exists());
    assert_same(&image, &volume(&judge, &id, View::Plain, folder.path()));
    eprintln!("killed {killed} times: {} of 600 blocks sent again", snapshot.resent);
}

/// What can be cured keeps its snapshot.
#[test]
fn denied_and_allowed() {
    let folder = scratch();
    let image = folder.path().join("image");
    noisy(&image, 100);
    let judge = Judge::start(Config::default()).unwrap();
    judge.set_faults(r#"[{"op": "PutSnapshotBlock", "blocks": [50, null], "do": "access-denied"}]"#).unwrap();
    let mut job = Job::push(&image).journal();
    job.jobs = Some(8);
    let outcome = job.run(&judge);
    let (left, resumable, _) = outcome.left.unwrap();
    assert!(resumable && outcome.error.contains("access denied"), "{}", outcome.error);
    judge.set_faults("[]").unwrap();
    let (id, outcome) = job.succeed(&judge);
    assert_eq!(id, left);
    assert!(outcome.kept >= 40, "{outcome:?}");
    // Those under way when the first one was denied may have arrived.
    assert!(judge.report().only_snapshot().resent <= 8);
}

/// The network goes away in the middle, for longer than anybody waits, and comes back another day.
#[test]
fn the_network_goes_and_comes_back() {
    let folder = scratch();
    let image = folder.path().join("image");
    noisy(&image, 100);
    let judge = Judge::start(Config::default()).unwrap();
    judge
        .set_faults(
            r#"[{"op": "PutSnapshotBlock", "from": 40, "do": "drop", "at": "request"},
                {"op": ["CompleteSnapshot", "StartSnapshot"], "from": 2, "do": "drop", "at": "request"}]"#,
        )
        .unwrap();
    let mut job = Job::push(&image).journal();
    (job.jobs, job.give_up_ms) = (Some(4), Some(1500));
    let outcome = job.run(&judge);
    let (left, resumable, _) = outcome.left.unwrap();
    assert!(resumable && outcome.error.contains("nothing has succeeded for"), "{}", outcome.error);
    judge.set_faults("[]").unwrap();
    let (id, outcome) = job.succeed(&judge);
    assert_eq!((id, outcome.kept), (left, 39));
    assert_eq!(judge.report().only_snapshot().resent, 0);
}

#[test]
fn another_image_is_noticed() {
    let folder = scratch();
    let image = folder.path().join("image");
    noisy(&image, 100);
    let judge = Judge::start(Config::default()).unwrap();
    judge.set_faults(r#"[{"op": "PutSnapshotBlock", "blocks": [50, null], "do": "access-denied"}]"#).unwrap();
    let mut job = Job::push(&image).journal();
    // One after the other: among several at a time, block 10 may still be on its way when block 50 is refused.
    job.jobs = Some(1);
    let old = job.run(&judge).left.unwrap().0;
    judge.set_faults("[]").unwrap();
    // The same size and time, another byte.
    let time = std::fs::metadata(&image).unwrap().modified().unwrap();
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 10 << 19).unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    assert_eq!(std::fs::metadata(&image).unwrap().modified().unwrap(), time);
    let outcome = job.run(&judge);
    assert!(
        outcome.error.contains("the image has changed since the upload began: block 10 "),
        "{}",
        outcome.error
    );
    assert_eq!(outcome.left, Some((old.clone(), false, outcome.left.clone().unwrap().2)));
    // Nothing is left to go on with, so the next one is another.
    let (id, outcome) = job.succeed(&judge);
    assert_ne!(id, old);
    assert_eq!(outcome.kept, 0);
}

/// Only one at a time.
#[test]
fn two_at_once() {
    let folder = scratch();
    let image = folder.path().join("image");
    noisy(&image, 100);
    let judge = Judge::start(Config::default()).unwrap();
    judge.set_faults(r#"[{"op": "PutSnapshotBlock", "do": "delay", "min_ms": 200, "max_ms": 200}]"#).unwrap();
    let mut job = Job::push(&image).journal();
    job.jobs = Some(4);
    let mut first = job.spawn(&judge);
    assert!(judge.wait_for("PutSnapshotBlock", 1, Duration::from_secs(20)));
    let mut second = job.clone();
    second.outcome = folder.path().join("second");
    let outcome = second.run(&judge);
    assert!(outcome.error.contains("another lfs-image is at work"), "{}", outcome.error);
    assert!(first.wait().unwrap().success());
    assert!(job.outcome().snapshot.is_some());
    assert_eq!(judge.report().snapshots.len(), 1);
}
