//! `lfs-image push` when AWS refuses, forgets, drops or is slow: it ends in success or in the right words, and no pending
//! snapshot is left unnamed.

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use aws_judge::{Config, Judge};

use crate::push::{nothing_to_complain, ok, push, start};
use crate::support::{both, must, scratch};
use crate::{errors, fixture, lfs_image};

/// What is left is named, with the command that removes it.
#[track_caller]
fn all_is_named(judge: &Judge, output: &Output) {
    for snapshot in judge.report().live_snapshots() {
        let owned = judge.report().images.iter().any(|image| image.snapshots.contains(&snapshot.id));
        let command = format!("aws ec2 delete-snapshot --region us-east-1 --snapshot-id {}", snapshot.id);
        assert!(owned || errors(output).contains(&command), "{} is not named: {}", snapshot.id, both(output));
    }
}

#[test]
fn what_passes_is_survived() {
    let judge = start(Config::default());
    let folder = scratch();
    for (n, fault) in [
        // The first RegisterImage is the dry run.
        r#"{"op": "RegisterImage", "nth": [2, 3], "do": "throttle"}"#,
        r#"{"op": "RegisterImage", "nth": 2, "do": "internal-error"}"#,
        r#"{"op": "RegisterImage", "nth": 2, "do": "unavailable"}"#,
        r#"{"op": "RegisterImage", "nth": 2, "do": "drop", "at": "response"}"#,
        // It was done, and nobody heard.
        r#"{"op": "RegisterImage", "nth": 2, "do": "drop", "at": "applied"}"#,
        r#"{"op": "RegisterImage", "nth": 2, "do": "drop", "at": "body"}"#,
        r#"{"op": "DescribeSnapshots", "since": "snapshot-complete", "within_ms": 2000, "do": "not-found"}"#,
        r#"{"op": "DescribeImages", "nth": [2, 3], "do": "not-found"}"#,
        r#"{"op": ["GetCallerIdentity", "DescribeImages", "DescribeSnapshots"], "nth": 1, "do": "throttle"}"#,
        r#"{"op": "*", "probability": 0.2, "seed": 5, "do": "internal-error"}"#,
        r#"{"op": "CompleteSnapshot", "do": "slow-completion", "ms": 3000}"#,
        r#"{"op": "CopyImage", "nth": 2, "do": "drop", "at": "applied"}"#,
        r#"{"op": ["PutParameter", "ModifyImageAttribute"], "nth": 2, "do": "drop", "at": "applied"}"#,
        r#"{"op": "*", "probability": 0.1, "seed": 6, "do": "drop", "at": "applied"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        judge.set_faults(&format!("[{fault}]")).unwrap();
        let name = format!("image {n}");
        let copies = ["--copy-to", "eu-west-1", "--share-with", "210987654321", "--ssm-parameter", "/lfs/x"];
        let output = push(&judge, folder.path(), &[&["--name", &name][..], &copies].concat());
        let id = ok(&output);
        let report = judge.report();
        let images: Vec<_> = report.images.iter().filter(|image| image.name == name).collect();
        assert_eq!(images.len(), 2, "{fault}: {images:?}");
        assert!(images.iter().any(|image| image.id == id), "{fault}");
        for snapshot in report.live_snapshots() {
            assert_eq!(snapshot.state, "completed", "{fault}");
        }
    }
    nothing_to_complain(&judge);
}

/// A fault, what is asked for, and the words that must be there.
struct Refused {
    fault: &'static str,
    options: &'static [&'static str],
    words: &'static [&'static str],
}

#[test]
fn what_is_refused_is_explained() {
    let refused = |fault, options, words| Refused { fault, options, words };
    let none: &'static [&'static str] = &[];
    let copy: &'static [&'static str] = &["--copy-to", "eu-west-1"];
    for Refused { fault, options, words } in [
        refused(
            r#"{"op": "PutSnapshotBlock", "blocks": [20, null], "do": "access-denied"}"#,
            none,
            &["ebs:PutSnapshotBlock", "organi"],
        ),
        refused(r#"{"op": "StartSnapshot", "do": "access-denied"}"#, none, &["ebs:StartSnapshot", "organi"]),
        refused(r#"{"op": "StartSnapshot", "do": "kms-denied"}"#, none, &["kms"]),
        refused(r#"{"op": "PutSnapshotBlock", "nth": 5, "do": "quota"}"#, none, &["PutSnapshotBlock"]),
        refused(r#"{"op": "CompleteSnapshot", "do": "access-denied"}"#, none, &["ebs:CompleteSnapshot"]),
        refused(
            r#"{"op": "CompleteSnapshot", "do": "fail-completion"}"#,
            none,
            &["became `error`", "aws ec2 delete-snapshot --region us-east-1"],
        ),
        refused(
            r#"{"op": "RegisterImage", "nth": 2, "do": "access-denied"}"#,
            none,
            &[
                "ec2:RegisterImage is denied in us-east-1",
                "service control policy",
                "request ",
                "the same command goes on",
            ],
        ),
        refused(
            r#"{"op": "RegisterImage", "nth": 2, "do": "error", "status": 400, "code": "InvalidParameterValue", "message": "No."}"#,
            none,
            &[
                "can't register snap-",
                "ec2:RegisterImage failed",
                "InvalidParameterValue: No.",
                "HTTP 400, request ",
            ],
        ),
        refused(
            r#"{"op": "CopyImage", "nth": 2, "do": "error", "status": 400, "code": "ResourceLimitExceeded", "message": "Many."}"#,
            copy,
            &[
                "can't copy ami-",
                "to eu-west-1",
                "quota",
                "aws ec2 deregister-image --region us-east-1 --image-id ami-",
            ],
        ),
        refused(
            r#"{"op": "PutParameter", "do": "access-denied"}"#,
            &["--ssm-parameter", "/lfs/x"],
            &["can't publish ami-", "ssm:PutParameter is denied", "deregister-image"],
        ),
        refused(
            r#"{"op": "GetSnapshotBlock", "nth": 3, "do": "alter"}"#,
            &["--verify", "all"],
            &["has another block", "than was sent", "the same command goes on", "delete-snapshot"],
        ),
        refused(
            r#"{"op": "GetCallerIdentity", "do": "expired-token"}"#,
            none,
            &["the credentials are refused by sts:GetCallerIdentity"],
        ),
        refused(
            r#"{"op": "DescribeSnapshots", "do": "access-denied"}"#,
            none,
            &["ec2:DescribeSnapshots is denied"],
        ),
        refused(
            r#"{"op": "DescribeImages", "do": "access-denied"}"#,
            none,
            &["ec2:DescribeImages is denied"],
        ),
    ] {
        let judge = start(Config::default());
        judge.set_faults(&format!("[{fault}]")).unwrap();
        let folder = scratch();
        let asked = Instant::now();
        let output = push(&judge, folder.path(), options);
        assert_eq!(output.status.code(), Some(1), "{fault}: {}", both(&output));
        for word in words {
            assert!(errors(&output).contains(word), "{fault}: {word} is not in {}", errors(&output));
        }
        assert!(asked.elapsed() < Duration::from_secs(15), "{fault}: {:?}", asked.elapsed());
        all_is_named(&judge, &output);
        nothing_to_complain(&judge);
        // When it is mended, the same command succeeds, and nothing is there twice.
        judge.set_faults("[]").unwrap();
        ok(&push(&judge, folder.path(), options));
        let report = judge.report();
        assert_eq!(
            report.live_images().iter().filter(|image| image.region == "us-east-1").count(),
            1,
            "{fault}"
        );
    }
}

#[test]
fn what_can_not_succeed_is_refused_before_the_first_byte() {
    let folder = scratch();
    let denied = |action: &str| Config { denied: vec![action.to_owned()], ..Config::default() };
    let share: &[&str] = &["--share-with", "210987654321"];
    let public: &[&str] = &["--public", "--confirm-public"];
    for (config, options, words) in [
        (denied("ec2:RegisterImage"), &[][..], "ec2:RegisterImage is denied"),
        (denied("ec2:CopyImage"), &["--copy-to", "eu-west-1"], "ec2:CopyImage is denied in eu-west-1"),
        (denied("ec2:ModifyImageAttribute"), share, "ec2:ModifyImageAttribute is denied"),
        (denied("ec2:ModifySnapshotAttribute"), share, "ec2:ModifySnapshotAttribute is denied"),
        (
            denied("ec2:EnableImageDeprecation"),
            &["--deprecate-after", "1y"],
            "ec2:EnableImageDeprecation is denied",
        ),
        (
            Config { pending_quota: 0, block_public_access: true, ..Config::default() },
            public,
            "blocks public images",
        ),
        (Config { encryption_by_default: true, ..Config::default() }, public, "can't be public"),
        (
            Config {
                encryption_by_default: true,
                default_kms_key: "alias/aws/ebs".to_owned(),
                ..Config::default()
            },
            share,
            "can't be shared",
        ),
        (
            Config { secret_key: "another".to_owned(), ..Config::default() },
            &[],
            "the credentials are refused",
        ),
        (Config::default(), &["--copy-to", "us-east-1"], "can't be copied there"),
        (Config::default(), &["--deprecate-after", "2000-01-01"], "within 10 years"),
        (
            Config::default(),
            &["--kms-key", "arn:aws:kms:eu-west-1:123456789012:key/1"],
            "is of eu-west-1, and the snapshot will be in us-east-1",
        ),
        (Config::default(), &["--volume-type", "st1"], "root volumes are"),
    ] {
        // A server's own secret differs from what its clients are told.
        let theirs = config.secret_key == "another";
        let judge = start(config);
        let mut command = lfs_image(&judge);
        if theirs {
            command.env("AWS_SECRET_ACCESS_KEY", "mine");
        }
        let output = command
            .env("HOME", folder.path())
            .args(["push", "--boot", "none", "--boot-mode", "legacy-bios"])
            .args(options)
            .arg(fixture("gnu-posix.tar"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{words}: {}", both(&output));
        assert!(errors(&output).contains(words), "{words}: {}", errors(&output));
        assert!(judge.report().snapshots.is_empty(), "{words}");
        assert!(output.stdout.is_empty());
        nothing_to_complain(&judge);
    }
    // What the README's policy allows is enough.
    let beyond = [
        "ec2:GetEbsEncryptionByDefault",
        "ec2:GetEbsDefaultKmsKeyId",
        "ec2:GetImageBlockPublicAccessState",
        "ec2:CopyImage",
        "ec2:ModifyImageAttribute",
        "ec2:ModifySnapshotAttribute",
        "ec2:EnableImageDeprecation",
        "ec2:DescribeRegions",
        "ebs:ListSnapshotBlocks",
        "ebs:GetSnapshotBlock",
        "ssm:PutParameter",
    ];
    let judge = start(Config { denied: beyond.map(str::to_owned).to_vec(), ..Config::default() });
    ok(&push(&judge, folder.path(), &[]));
    // Who can't delete is told so before.
    let judge = start(denied("ec2:DeleteSnapshot"));
    let output = push(&judge, folder.path(), &["--dry-run"]);
    ok(&output);
    assert!(errors(&output).contains("ec2:DeleteSnapshot may be denied"), "{}", errors(&output));
}

#[test]
fn wrong_usage_is_code_2() {
    let judge = start(Config::default());
    let folder = scratch();
    for options in [
        &["--public"][..],
        &["--confirm-public"],
        &["--public", "--confirm-public", "--encrypt"],
        &["--name", "a:b"],
        &["--tag", "novalue"],
        &["--tag", "aws:x=1"],
        &["--tag", "a=1", "--tag", "a=2"],
        &["--volume-size", "1.5G"],
        &["--share-with", "1234"],
        &["--copy-to", "Mars"],
        &["--copy-to", "eu-west-1,eu-west-1"],
        &["--snapshot-only", "--copy-to", "eu-west-1"],
        &["--deprecate-after", "soon"],
        &["--ssm-parameter", "a b"],
        &["--jobs", "0"],
        &["--verify", "0"],
        &["--tpm", "maybe"],
        &["--resume-file", "x", "--no-resume"],
    ] {
        let output = push(&judge, folder.path(), options);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {}", both(&output));
    }
    assert!(judge.report().operations.is_empty());
    // No region is no usage, but a matter of configuration; and what isn't there is told before anybody is asked.
    for (words, said) in [
        (&["push", "/dev/null"][..], "no AWS region"),
        (&["push", "nowhere.img"], "open nowhere.img"),
        (&["push", "/"], "/ is a directory"),
        (&["pull", "elsewhere", "out.img"], "neither a snapshot"),
        (&["pull", "snap-0123456789abcdef0", "out.img"], "no AWS region"),
    ] {
        let output = lfs_image(&judge)
            .env_remove("AWS_REGION")
            .env_remove("AWS_DEFAULT_REGION")
            .current_dir(folder.path())
            .args(words)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(errors(&output).contains(said), "{words:?}: {}", errors(&output));
        assert!(
            !said.contains("region") || errors(&output).contains("hint: `--region"),
            "{}",
            errors(&output)
        );
    }
}

/// A push that takes a while.
fn slow_push(judge: &Judge, home: &std::path::Path, options: &[&str]) -> Child {
    lfs_image(judge)
        .env("HOME", home)
        .args(["push", "--target", "none", "--boot", "none", "--boot-mode", "legacy-bios"])
        .args(options)
        .arg(fixture("gnu-posix.tar"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn an_interrupted_push_cleans_up_or_goes_on() {
    let folder = scratch();
    // 45 blocks at six in a second.
    let judge = start(Config { uplink: Some(3 << 20), ..Config::default() });
    let interrupted = |options: &[&str]| {
        let child = slow_push(&judge, folder.path(), options);
        let before = judge.report().operation("PutSnapshotBlock").ok;
        while judge.report().operation("PutSnapshotBlock").ok < before + 10 {
            std::thread::sleep(Duration::from_millis(20));
        }
        must(Command::new("kill").args(["-INT", &child.id().to_string()]));
        let asked = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
        assert_eq!(output.status.code(), Some(130), "{}", both(&output));
        assert!(output.stdout.is_empty());
        output
    };
    let output = interrupted(&["--no-resume"]);
    assert!(judge.report().live_snapshots().is_empty(), "{}", both(&output));

    let output = interrupted(&[]);
    let left = judge.report().only_snapshot().clone();
    all_is_named(&judge, &output);
    assert!(errors(&output).contains("the same command goes on"), "{}", errors(&output));
    judge.configure(|config| config.uplink = None);
    ok(&push(&judge, folder.path(), &[]));
    let report = judge.report();
    let snapshot = report.only_snapshot();
    assert_eq!((&snapshot.id, snapshot.state.as_str()), (&left.id, "completed"));
    assert_eq!(report.only_image().snapshots, [left.id]);
    nothing_to_complain(&judge);
}

/// A tarball's push that is killed without a word: the same command finds its journal, and what was acknowledged stays.
#[test]
fn a_killed_push_of_a_tarball_goes_on() {
    let folder = scratch();
    let judge = start(Config { uplink: Some(6 << 20), ..Config::default() });
    for killed in 1..=3 {
        let mut child = slow_push(&judge, folder.path(), &["--jobs", "4"]);
        let before = judge.report().operation("PutSnapshotBlock").ok;
        while judge.report().operation("PutSnapshotBlock").ok < before + 8 {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended before it was killed for the {killed}. time"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
    }
    judge.configure(|config| config.uplink = None);
    ok(&push(&judge, folder.path(), &[]));
    let report = judge.report();
    let snapshot = report.only_snapshot();
    assert_eq!((snapshot.state.as_str(), report.only_image().snapshots.len()), ("completed", 1));
    assert!(snapshot.resent <= 3 * 4, "{} blocks were sent again", snapshot.resent);
    nothing_to_complain(&judge);
    let state = folder.path().join(".local/state/lfs-image");
    assert_eq!(std::fs::read_dir(state).unwrap().count(), 0);
}

/// A tarball that is another one when it is pushed again: what the killed push left is named until it is gone.
#[test]
fn what_a_push_of_another_content_left_is_named() {
    let folder = scratch();
    let judge = start(Config { uplink: Some(6 << 20), ..Config::default() });
    let archive = folder.path().join("rootfs.tar");
    let again = |judge: &Judge| {
        let mut command = lfs_image(judge);
        command.env("HOME", folder.path()).args([
            "push",
            "--target",
            "none",
            "--boot",
            "none",
            "--snapshot-only",
        ]);
        command.arg(&archive).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    std::fs::copy(fixture("gnu-ustar.tar"), &archive).unwrap();
    let mut child = again(&judge).spawn().unwrap();
    assert!(judge.wait_for("PutSnapshotBlock", 4, Duration::from_secs(20)));
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    let left = judge.report().only_snapshot().id.clone();
    judge.configure(|config| config.uplink = None);

    std::fs::copy(fixture("gnu-posix.tar"), &archive).unwrap();
    let named = format!("delete-snapshot --region us-east-1 --snapshot-id {left}");
    for _ in 0..2 {
        let output = again(&judge).output().unwrap();
        ok(&output);
        assert!(errors(&output).contains(&named), "{}", both(&output));
    }
    // Once it is gone, so is the word of it.
    let state = folder.path().join(".local/state/lfs-image");
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1);
    assert!(judge.delete_snapshot(&left));
    let output = again(&judge).output().unwrap();
    ok(&output);
    assert!(!errors(&output).contains(&left), "{}", both(&output));
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0);
    nothing_to_complain(&judge);
}

#[test]
fn an_interrupt_while_waiting_ends_it_too() {
    let folder = scratch();
    let judge = start(Config { complete_ms: 60_000, ..Config::default() });
    let child = slow_push(&judge, folder.path(), &[]);
    assert!(judge.wait_for("CompleteSnapshot", 1, Duration::from_secs(20)));
    std::thread::sleep(Duration::from_millis(500));
    must(Command::new("kill").args(["-TERM", &child.id().to_string()]));
    let asked = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
    assert_eq!(output.status.code(), Some(130), "{}", both(&output));
    all_is_named(&judge, &output);
}
