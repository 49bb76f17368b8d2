//! Back again.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use aws_judge::{BLOCK_SIZE, Config, Judge};

use crate::child::Job;
use crate::content::{GIB, noise, noisy};
use crate::support::scratch;

/// A snapshot of so many blocks of noise with gaps between them, and zeros at the end.
fn plant(judge: &Judge, blocks: u32) -> (String, Vec<(u32, Vec<u8>)>) {
    let mut planted: Vec<(u32, Vec<u8>)> =
        (0..blocks).map(|n| (5 * n, noise(u64::from(n) + 1, BLOCK_SIZE))).collect();
    planted.push((2047, vec![0; BLOCK_SIZE]));
    (judge.plant_snapshot(1, planted.clone()).unwrap(), planted)
}

#[track_caller]
fn assert_pulled(out: &std::path::Path, planted: &[(u32, Vec<u8>)]) {
    let image = std::fs::read(out).unwrap();
    assert_eq!(image.len() as u64, GIB);
    let mut expected = planted.iter().peekable();
    for (n, block) in (0_u32..).zip(image.chunks(BLOCK_SIZE)) {
        match expected.next_if(|(index, _)| *index == n) {
            Some((_, bytes)) => assert!(block == bytes, "block {n}"),
            None => assert!(block.iter().all(|byte| *byte == 0), "block {n}"),
        }
    }
    // Space is taken by noise alone.
    let noise = (planted.len() as u64 - 1) * BLOCK_SIZE as u64;
    assert!(out.metadata().unwrap().blocks() * 512 <= noise + (4 << 20));
}

#[test]
fn a_snapshot_becomes_a_file() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let judge = Judge::start(Config { list_page: 100, empty_pages: true, ..Config::default() }).unwrap();
    judge
        .set_faults(
            r#"[{"op": "GetSnapshotBlock", "probability": 0.05, "seed": 1, "do": "throttle-snapshot"},
                {"op": "GetSnapshotBlock", "probability": 0.05, "seed": 2, "do": "drop", "at": "body"},
                {"op": "GetSnapshotBlock", "probability": 0.05, "seed": 3, "do": "internal-error"},
                {"op": "GetSnapshotBlock", "probability": 0.05, "seed": 4, "do": "damage"},
                {"op": "ListSnapshotBlocks", "nth": 1, "do": "not-found"}]"#,
        )
        .unwrap();
    let (id, planted) = plant(&judge, 300);
    let (_, outcome) = Job::pull(&id, &out).succeed(&judge);
    assert_eq!((outcome.blocks, outcome.kept), (301, 0));
    assert_pulled(&out, &planted);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn killed_and_gone_on_with() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let judge = Judge::start(Config::default()).unwrap();
    judge
        .set_faults(r#"[{"op": "GetSnapshotBlock", "do": "delay", "min_ms": 1, "max_ms": 60, "seed": 1}]"#)
        .unwrap();
    let (id, planted) = plant(&judge, 400);
    let mut job = Job::pull(&id, &out);
    job.jobs = Some(8);
    let mut killed = 0;
    for round in 0..8_u64 {
        // A fast machine is nearly through by now: the last word is the whole pull's.
        if judge.report().operation("GetSnapshotBlock").ok > 250 {
            break;
        }
        let mut child = job.spawn(&judge);
        std::thread::sleep(Duration::from_millis(100 + 60 * round));
        child.kill().unwrap();
        killed += u64::from(!child.wait().unwrap().success());
        assert_eq!(out.exists(), killed <= round, "it has its name before it is complete");
    }
    let (_, outcome) = job.succeed(&judge);
    assert!(killed > 1 && outcome.kept > 0, "{killed} times, {outcome:?}");
    assert_pulled(&out, &planted);
    let calls = judge.report().operation("GetSnapshotBlock").ok;
    assert!(calls <= 401 + 8 * killed, "{calls} blocks were sent for 401");
}

#[test]
fn what_was_sent_is_read_back() {
    let folder = scratch();
    let image = folder.path().join("image");
    noisy(&image, 50);
    let judge = Judge::start(Config::default()).unwrap();
    let mut job = Job::push(&image);
    job.verify = Some(7);
    let (_, outcome) = job.succeed(&judge);
    assert_eq!(outcome.verified, 7, "{}", outcome.error);
    job.verify = Some(1000);
    let (_, outcome) = job.succeed(&judge);
    assert_eq!(outcome.verified, 50, "{}", outcome.error);
    assert_eq!(judge.report().operation("GetSnapshotBlock").ok, 57);
    // What comes back damaged is read again; what is there but another is told.
    judge.set_faults(r#"[{"op": "GetSnapshotBlock", "tries": 1, "do": "damage"}]"#).unwrap();
    let (_, outcome) = job.succeed(&judge);
    assert_eq!((outcome.verified, outcome.error.as_str()), (50, ""));
    judge.set_faults(r#"[{"op": "GetSnapshotBlock", "blocks": [33, 33], "do": "alter"}]"#).unwrap();
    let (id, outcome) = job.succeed(&judge);
    assert_eq!(outcome.error, format!("{id} has another block 33 than was sent"));
}

#[test]
fn what_is_no_snapshot() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let judge = Judge::start(Config::default()).unwrap();
    let outcome = Job::pull("snap-../../x", &out).run(&judge);
    assert!(outcome.error.contains("is not a snapshot id"), "{}", outcome.error);
    let mut job = Job::pull("snap-0123456789abcdef0", &out);
    job.not_found_ms = Some(500);
    let outcome = job.run(&judge);
    assert!(outcome.error.contains("no such snapshot"), "{}", outcome.error);
}
