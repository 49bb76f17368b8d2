//! Faults as they are seen on the wire.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use aws_judge::Config;

use crate::hand::{Line, block, open};

#[test]
fn connections_drop_where_the_script_says() {
    let judge = open(Config::default());
    let snapshot = Line::to(&judge).start();
    let drop = |at: &str| {
        judge
            .set_faults(&format!(r#"[{{"op":"PutSnapshotBlock","nth":1,"do":"drop","at":"{at}"}}]"#))
            .unwrap();
        let mut line = Line::to(&judge);
        let error = line.put(&snapshot, 0, &block(1)).unwrap_err();
        let gone = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(gone.contains(&error.kind()), "{at}: {error}");
        judge.report().only_snapshot().puts
    };
    assert_eq!(drop("request"), 0);
    assert_eq!(drop("response"), 0);
    assert_eq!(drop("applied"), 1);
    assert_eq!(judge.report().only_snapshot().resent, 0);
    // The client couldn't know: a second put isn't held against it.
    assert_eq!(drop("body"), 2);
    assert_eq!(judge.report().only_snapshot().resent, 0);
    assert_eq!(judge.report().operation("PutSnapshotBlock").dropped, 3);
    assert_eq!(judge.report().operation("PutSnapshotBlock").ok, 1);
}

#[test]
fn an_unavailable_service_answers_in_html() {
    let judge = open(Config::default());
    judge.set_faults(r#"[{"op":"*","times":1,"do":"unavailable"}]"#).unwrap();
    let mut line = Line::to(&judge);
    let answer = line.ask("POST /snapshots", &[], br#"{"VolumeSize":1}"#).unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (503, Some("text/html")));
    assert_eq!(judge.report().snapshots.len(), 0);
    line.start();
    assert!(judge.set_faults(r#"[{"op":"*","do":"nonsense"}]"#).is_err());
    assert!(judge.set_faults(r#"[{"op":"*","do":"throttle","when":1}]"#).is_err());
}

#[test]
fn a_slow_line_is_slow_for_all_together() {
    let judge = open(Config { uplink: Some(2 << 20), ..Config::default() });
    let snapshot = Line::to(&judge).start();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for index in 0..4 {
            let (judge, snapshot) = (&judge, &snapshot);
            scope.spawn(move || {
                assert_eq!(Line::to(judge).put(snapshot, index, &block(1)).unwrap().status, 201);
            });
        }
    });
    // 2 MiB at 2 MiB/s.
    let took = begun.elapsed();
    assert!((Duration::from_millis(950)..Duration::from_secs(4)).contains(&took), "{took:?}");
    assert_eq!(judge.report().operation("PutSnapshotBlock").peak, 4);
}

#[test]
fn a_new_snapshot_may_not_be_found_for_a_while() {
    let judge = open(Config::default());
    judge
        .set_faults(
            r#"[{"op":"PutSnapshotBlock","since":"snapshot-start","within_ms":400,"do":"not-found"}]"#,
        )
        .unwrap();
    let mut line = Line::to(&judge);
    let snapshot = line.start();
    let answer = line.put(&snapshot, 0, &block(1)).unwrap();
    assert_eq!(answer.error(), (404, "ResourceNotFoundException".into(), "SNAPSHOT_NOT_FOUND".into()));
    std::thread::sleep(Duration::from_millis(450));
    assert_eq!(line.put(&snapshot, 0, &block(1)).unwrap().status, 201);
    assert_eq!(judge.report().operation("PutSnapshotBlock").errors["ResourceNotFoundException"], 1);
}

#[test]
fn a_client_that_goes_away_is_counted_and_changes_nothing() {
    let judge = open(Config::default());
    let mut line = Line::to(&judge);
    let snapshot = line.start();
    let mut other = Line::to(&judge);
    let headers = [("Content-Length", "524288")];
    other.send(&format!("PUT /snapshots/{snapshot}/blocks/0"), &headers, &block(1)[..200_000]).unwrap();
    assert!(judge.wait_for("PutSnapshotBlock", 1, Duration::from_secs(5)));
    drop(other);
    let end = Instant::now() + Duration::from_secs(5);
    while judge.report().operation("PutSnapshotBlock").aborted == 0 {
        assert!(Instant::now() < end, "{:?}", judge.report().operations);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(judge.report().only_snapshot().puts, 0);
    assert!(judge.report().bytes_received >= 200_000);
}

/// How much the judge takes: `cargo test -p aws-judge -- --ignored --nocapture throughput`.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    for discard in [false, true] {
        let judge = open(Config { discard, ..Config::default() });
        let snapshot = Line::to(&judge).start();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..8_u32 {
                let (judge, snapshot) = (&judge, &snapshot);
                scope.spawn(move || {
                    let mut line = Line::to(judge);
                    let data = block(u8::try_from(thread).unwrap() + 1);
                    let sum = crate::hand::sum(&data);
                    let headers = [
                        ("x-amz-Data-Length", "524288"),
                        ("x-amz-Checksum", sum.as_str()),
                        ("x-amz-Checksum-Algorithm", "SHA256"),
                    ];
                    for index in 0..256 {
                        let path = format!("PUT /snapshots/{snapshot}/blocks/{}", thread * 256 + index);
                        assert_eq!(line.ask(&path, &headers, &data).unwrap().status, 201);
                    }
                });
            }
        });
        let seconds = begun.elapsed().as_secs_f64();
        eprintln!("discard {discard}: {:.0} MB/s", 2048.0 * 0.524_288 / seconds);
    }
}
