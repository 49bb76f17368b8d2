//! `lfs-image pull`: what comes back is what went up.

use std::fs::File;
use std::process::{Command, Output};
use std::time::Duration;

use aws_judge::{Config, Judge, View};

use crate::push::{nothing_to_complain, ok, push, start};
use crate::support::{both, must, scratch};
use crate::{errors, lfs_image};

fn pull(judge: &Judge, arguments: &[&str]) -> Output {
    lfs_image(judge).arg("pull").args(arguments).output().unwrap()
}

#[test]
fn a_snapshot_and_an_image_come_back() {
    let judge = start(Config { list_page: 10, empty_pages: true, ..Config::default() });
    let folder = scratch();
    let ami = ok(&push(&judge, folder.path(), &["--verify", "all"]));
    let read = judge.report().operation("GetSnapshotBlock").ok;
    let snapshot = judge.report().only_snapshot().clone();
    assert_eq!(read, snapshot.block_count as u64);
    let volume = folder.path().join("volume.img");
    judge.write_volume(&snapshot.id, View::Plain, &mut File::create(&volume).unwrap()).unwrap();
    let out = folder.path().join("out.img");
    let out = out.to_str().unwrap();
    for id in [&snapshot.id, &ami] {
        assert_eq!(ok(&pull(&judge, &[id, out])), out);
        must(Command::new("cmp").arg(out).arg(&volume));
        std::fs::remove_file(out).unwrap();
    }
    let told: serde_json::Value =
        serde_json::from_str(&ok(&pull(&judge, &["--json", &snapshot.id, out]))).unwrap();
    assert_eq!(told["snapshot"], snapshot.id.as_str());
    assert_eq!(told["blocks"], snapshot.block_count);
    assert_eq!(told["size"], 1 << 30);
    nothing_to_complain(&judge);
}

#[test]
fn what_can_not_be_pulled_is_explained() {
    let judge = start(Config::default());
    let folder = scratch();
    let id = judge.plant_snapshot(1, (0..64).map(|n| (n, vec![7; 512 << 10]))).unwrap();
    let out = folder.path().join("out.img");
    let out = out.to_str().unwrap();
    for (id, words) in [
        ("vol-1", "neither a snapshot"),
        ("ami-0123456789abcdef0", "there is no image ami-0123456789abcdef0 of yours in us-east-1"),
    ] {
        let output = pull(&judge, &[id, out]);
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        assert!(errors(&output).contains(words), "{}", errors(&output));
    }
    judge.set_faults(r#"[{"op": "GetSnapshotBlock", "nth": 20, "do": "access-denied"}]"#).unwrap();
    let output = pull(&judge, &[&id, out]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    for words in ["ebs:GetSnapshotBlock", "the same command goes on with", "rm "] {
        assert!(errors(&output).contains(words), "{}", errors(&output));
    }
    assert!(!std::path::Path::new(out).exists());
    judge.set_faults("[]").unwrap();
    ok(&pull(&judge, &[&id, out]));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_interrupted_pull_goes_on() {
    let judge = start(Config::default());
    let folder = scratch();
    let id = judge.plant_snapshot(1, (0..64).map(|n| (n, vec![7; 512 << 10]))).unwrap();
    let out = folder.path().join("out.img");
    judge.set_faults(r#"[{"op": "GetSnapshotBlock", "from": 20, "do": "stall", "seconds": 60}]"#).unwrap();
    let child = lfs_image(&judge)
        .arg("pull")
        .arg(&id)
        .arg(&out)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    assert!(judge.wait_for("GetSnapshotBlock", 20, Duration::from_secs(20)));
    std::thread::sleep(Duration::from_millis(500));
    must(Command::new("kill").args(["-INT", &child.id().to_string()]));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", both(&output));
    assert!(errors(&output).contains("the same command goes on"), "{}", errors(&output));
    judge.set_faults("[]").unwrap();
    let before = judge.report().operation("GetSnapshotBlock").ok;
    ok(&pull(&judge, &[&id, out.to_str().unwrap()]));
    assert!(judge.report().operation("GetSnapshotBlock").ok - before < 64, "it began anew");
}
