//! What must be refused or noted, asked for by hand.

use std::os::unix::fs::MetadataExt;

use aws_judge::{Config, Judge, View};

use crate::hand::{Line, block, kinds, open, sum};

#[test]
fn requests_without_a_good_signature_are_refused_as_each_service_does() {
    let judge = Judge::start(Config::default()).unwrap();
    let mut line = Line::to(&judge);
    let answer = line.ask("POST /snapshots", &[], br#"{"VolumeSize":1}"#).unwrap();
    assert_eq!(answer.error(), (403, "MissingAuthenticationTokenException".into(), String::new()));
    let answer = line.ask("POST /snapshots", &[("Authorization", "Basic eA==")], b"{}").unwrap();
    assert_eq!(answer.error().1, "IncompleteSignatureException");
    let answer = line.ec2("Action=DescribeRegions&Version=2016-11-15");
    assert_eq!(answer.status, 401);
    assert!(String::from_utf8_lossy(&answer.body).contains("<Code>AuthFailure</Code>"));
    let credential = |service: &str| {
        let key = judge.config().access_key;
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/20200101/us-east-1/{service}/aws4_request, SignedHeaders=host;x-amz-date, \
             Signature=00"
        )
    };
    let headers = [("Authorization", &*credential("ec2")), ("X-Amz-Date", "20200101T000000Z")];
    let answer = line.ask("POST /snapshots", &headers, b"{}").unwrap();
    assert!(answer.json()["Message"].as_str().unwrap().contains("scoped"), "{:?}", answer.json());
    let headers = [("Authorization", &*credential("ebs")), ("X-Amz-Date", "20200101T000000Z")];
    let answer = line.ask("POST /snapshots", &headers, b"{}").unwrap();
    assert_eq!(answer.error().1, "InvalidSignatureException");
    assert!(judge.report().snapshots.is_empty());
    assert_eq!(judge.report().connections, 1);
}

#[test]
fn bodies_that_lie_are_refused() {
    let judge = open(Config::default());
    let mut line = Line::to(&judge);
    let snapshot = line.start();
    let path = format!("PUT /snapshots/{snapshot}/blocks/0");
    let (zeros, good) = (block(0), sum(&block(0)));
    let headers = |length: &'static str| {
        [
            ("x-amz-Data-Length", length),
            ("x-amz-Checksum", good.as_str()),
            ("x-amz-Checksum-Algorithm", "SHA256"),
        ]
    };
    let invalid = (400, "ValidationException".to_owned(), "INVALID_PARAMETER_VALUE".to_owned());
    for missing in 0..3 {
        let mut some = headers("524288").to_vec();
        some.remove(missing);
        assert_eq!(line.ask(&path, &some, &zeros).unwrap().error(), invalid);
    }
    assert_eq!(line.ask(&path, &headers("524288"), &zeros[1..]).unwrap().error(), invalid);
    assert_eq!(line.ask(&path, &headers("524287"), &zeros).unwrap().error(), invalid);
    let two = [zeros.clone(), zeros.clone(), zeros.clone()].concat();
    assert_eq!(line.ask(&path, &headers("524288"), &two).unwrap().status, 413);
    let mut flipped = zeros.clone();
    flipped[524_287] ^= 1;
    assert_eq!(line.ask(&path, &headers("524288"), &flipped).unwrap().error(), invalid);
    for index in ["2048", "-1", "x", "99999999999"] {
        let path = format!("PUT /snapshots/{snapshot}/blocks/{index}");
        assert_eq!(line.ask(&path, &headers("524288"), &zeros).unwrap().error().2, "INVALID_BLOCK");
    }
    assert_eq!(judge.report().only_snapshot().block_count, 0);
    assert_eq!(line.ask(&path, &headers("524288"), &zeros).unwrap().status, 201);
    assert_eq!(line.ask("POST /snapshots", &[], b"{").unwrap().error().1, "SerializationException");
    let answer = line.ask("POST /snapshots", &[], br#"{"VolumeSize":"1"}"#).unwrap();
    assert_eq!(answer.error().1, "SerializationException");
    assert_eq!(line.ask("GET /snapshots", &[], b"").unwrap().status, 404);
}

#[test]
fn wrong_sums_and_counts_do_not_complete() {
    let judge = open(Config::default());
    let mut line = Line::to(&judge);
    let snapshot = line.start();
    line.put(&snapshot, 9, &block(1)).unwrap();
    line.put(&snapshot, 2, &block(2)).unwrap();
    // The order is by index, not by arrival.
    let answer = line.complete(&snapshot, &[block(1), block(2)]);
    assert_eq!(answer.error().2, "INVALID_PARAMETER_VALUE");
    let answer = line.complete(&snapshot, &[block(2)]);
    assert_eq!(answer.error().2, "INVALID_PARAMETER_VALUE");
    assert_eq!(judge.report().only_snapshot().state, "pending");
    assert_eq!(line.complete(&snapshot, &[block(2), block(1)]).status, 202);
    assert_eq!(judge.report().only_snapshot().state, "completed");
    assert_eq!(kinds(&judge), [""; 0]);
}

#[test]
fn what_a_good_client_does_not_do_is_noted() {
    let judge = open(Config { puts_per_second: 5, complete_ms: 0, ..Config::default() });
    let mut line = Line::to(&judge);
    let snapshot = line.start();
    for _ in 0..2 {
        line.put(&snapshot, 0, &block(1)).unwrap();
    }
    assert_eq!(kinds(&judge), [""; 0], "the same data again is only counted");
    assert_eq!(judge.report().only_snapshot().resent, 1);
    line.put(&snapshot, 0, &block(2)).unwrap();
    assert_eq!(kinds(&judge), ["block-changed"]);
    for index in 1..5 {
        line.put(&snapshot, index, &block(3)).unwrap();
    }
    assert_eq!(kinds(&judge), ["block-changed", "put-rate"]);
    assert!(judge.report().only_snapshot().peak_puts_per_second > 5);
    judge.configure(|config| config.enforce_rate = true);
    let refused = line.put(&snapshot, 6, &block(3)).unwrap();
    assert_eq!(refused.error(), (400, "RequestThrottledException".into(), "RESOURCE_LEVEL_THROTTLE".into()));
    judge.configure(|config| config.puts_per_second = 1000);
    let headers = [("x-amz-ChangedBlocksCount", "5")];
    let answer = line.ask(&format!("POST /snapshots/completion/{snapshot}"), &headers, b"").unwrap();
    assert_eq!(answer.status, 202);
    line.put(&snapshot, 7, &block(3)).unwrap();
    assert_eq!(kinds(&judge)[2..], ["complete-without-checksum", "put-after-complete"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    line.put(&snapshot, 7, &block(3)).unwrap();
    assert!(kinds(&judge).contains(&"put-after-fatal".into()));
    line.ask("POST /snapshots", &[], br#"{"VolumeSize":1,"ParentSnapshot":"x"}"#).unwrap();
    assert_eq!(kinds(&judge).last().unwrap(), "unknown-member");
}

#[test]
fn absent_blocks_are_zeros_or_noise_and_parents_show_through() {
    let judge = open(Config::default());
    let parent = judge.plant_snapshot(1, [(0, block(1)), (1, block(2)), (2, block(0))]).unwrap();
    let mut line = Line::to(&judge);
    let body = format!(r#"{{"VolumeSize":1,"ParentSnapshotId":"{parent}"}}"#);
    let answer = line.ask("POST /snapshots", &[], body.as_bytes()).unwrap();
    let child = answer.json()["SnapshotId"].as_str().unwrap().to_owned();
    line.put(&child, 1, &block(9)).unwrap();
    assert_eq!(line.complete(&child, &[block(9)]).status, 202);
    let view = |view| {
        let mut volume = Vec::new();
        judge.write_volume(&child, view, &mut volume).unwrap();
        assert_eq!(volume.len(), 1 << 30);
        volume.truncate(4 << 19);
        volume.chunks(1 << 19).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    assert!(view(View::Plain) == [block(1), block(9), block(0), block(0)]);
    let noise = view(View::Encrypted);
    assert!(noise[..3] == [block(1), block(9), block(0)], "zeros that were put stay zeros");
    assert!(noise[3].iter().filter(|&&byte| byte == 0).count() < 4096, "what was never put is noise");
    assert_eq!(judge.block(&child, 0).unwrap(), Some(block(1)));
    assert_eq!(judge.block(&child, 3).unwrap(), None);
    let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
    judge.save_volume(&child, View::Plain, file.path()).unwrap();
    let (saved, about) = (std::fs::read(file.path()).unwrap(), file.as_file().metadata().unwrap());
    assert!(saved.len() == 1 << 30 && saved[..1 << 20] == [block(1), block(9)].concat());
    assert!(
        saved[1 << 20..].iter().all(|&byte| byte == 0) && about.blocks() < 4 * 1024,
        "{}",
        about.blocks()
    );
    let blocks = judge.snapshot(&child).unwrap().blocks;
    assert_eq!(blocks.iter().map(|block| (block.index, block.puts)).collect::<Vec<_>>(), [(1, 1)]);
}

#[test]
fn the_query_protocol_takes_nothing_unknown() {
    let judge = open(Config::default());
    let mut line = Line::to(&judge);
    let mut code = |form: &str| {
        let answer = line.ec2(form);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        let code = body.split("<Code>").nth(1).and_then(|rest| rest.split('<').next());
        (answer.status, code.unwrap_or_default().to_owned())
    };
    let mut refused =
        |form: &str, status: u16, want: &str| assert_eq!(code(form), (status, want.into()), "{form}");
    refused("Action=DescribeRegions&Version=2016-11-15", 200, "");
    refused("Action=DescribeRegions&Version=2012-01-01", 400, "NoSuchVersion");
    refused("Action=TerminateInstances&Version=2016-11-15", 400, "InvalidAction");
    refused("Action=DescribeRegions&Version=2016-11-15&Region=x", 400, "UnknownParameter");
    refused("Action=DescribeRegions&Version=2016-11-15&DryRun=yes", 400, "InvalidParameterValue");
    refused("Action=DescribeRegions&Version=2016-11-15&DryRun=true", 412, "DryRunOperation");
    refused("Action=DescribeRegions&Version=2016-11-15&RegionName.2=us-east-1", 400, "InvalidParameterValue");
    refused("Action=DescribeRegions&Version=2016-11-15&x=%zz", 400, "MalformedQueryString");
    refused("Action=DeleteSnapshot&Version=2016-11-15", 400, "MissingParameter");
    refused("Action=DeleteSnapshot&Version=2016-11-15&SnapshotId=snap-1", 400, "InvalidSnapshotID.Malformed");
    refused(
        "Action=DeleteSnapshot&Version=2016-11-15&SnapshotId=snap-0123456789abcdef0",
        400,
        "InvalidSnapshot.NotFound",
    );
}

#[test]
fn an_image_holds_its_snapshot_until_it_is_deregistered() {
    let judge = open(Config::default());
    let snapshot = judge.plant_snapshot(1, []).unwrap();
    let image = judge.plant_image("taken", &snapshot);
    let mut line = Line::to(&judge);
    let delete = format!("Action=DeleteSnapshot&Version=2016-11-15&SnapshotId={snapshot}");
    let answer = line.ec2(&delete);
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains("InvalidSnapshot.InUse") && text.contains(&image), "{text}");
    let register = format!(
        "Action=RegisterImage&Version=2016-11-15&Name=taken&RootDeviceName=/dev/xvda&VirtualizationType=hvm&Architecture=x86_64&\
         BlockDeviceMapping.1.DeviceName=/dev/xvda&BlockDeviceMapping.1.Ebs.SnapshotId={snapshot}"
    );
    assert!(String::from_utf8_lossy(&line.ec2(&register).body).contains("InvalidAMIName.Duplicate"));
    let deregister = format!("Action=DeregisterImage&Version=2016-11-15&ImageId={image}");
    assert_eq!(line.ec2(&deregister).status, 200);
    assert_eq!(line.ec2(&register).status, 200);
    assert_eq!(line.ec2(&delete).status, 400);
    let image = judge.report().only_image().id.clone();
    line.ec2(&format!("Action=DeregisterImage&Version=2016-11-15&ImageId={image}"));
    assert_eq!(line.ec2(&delete).status, 200);
    assert!(judge.report().live_snapshots().is_empty());
}
