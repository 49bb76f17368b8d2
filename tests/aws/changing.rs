//! What is pushed changes while it is read: no snapshot of the two is completed.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use aws_judge::{Config, Judge, View};

use crate::push::{nothing_to_complain, ok, push_file, start};
use crate::support::{both, must, noise, scratch};
use crate::{errors, lfs_image};

const PLAIN: [&str; 4] = ["--boot", "none", "--boot-mode", "legacy-bios"];

/// An archive with 12 MiB of noise: 24 blocks.
fn archive(folder: &Path) -> std::path::PathBuf {
    std::fs::write(folder.join("f"), noise(12 << 20)).unwrap();
    let archive = folder.join("f.tar");
    must(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(folder).arg("f"));
    archive
}

/// Nothing is completed that isn't deleted.
#[track_caller]
fn nothing_completed(judge: &Judge) {
    let report = judge.report();
    let sealed: Vec<_> = report.snapshots.iter().filter(|snapshot| snapshot.sealed).collect();
    assert!(sealed.is_empty() && report.images.is_empty(), "{sealed:?}");
}

#[test]
fn an_archive_or_image_that_changes_is_not_completed() {
    let folder = scratch();
    let archive = archive(folder.path());
    let raw = folder.path().join("raw.img");
    must(
        lfs_image(&start(Config::default()))
            .args(["raw", "--boot", "none", "--size", "64M"])
            .arg(&archive)
            .arg(&raw),
    );
    for (source, options) in [(&archive, &PLAIN[..]), (&raw, &PLAIN[2..])] {
        for (journal, change) in
            [(true, "overwrite the beginning"), (false, "overwrite the end"), (true, "cut"), (false, "grow")]
        {
            // Six blocks in a second.
            let judge = start(Config { uplink: Some(3 << 20), ..Config::default() });
            let victim = folder.path().join("victim");
            std::fs::copy(source, &victim).unwrap();
            must(Command::new("touch").args(["-d", "2020-02-02"]).arg(&victim));
            let mut command = lfs_image(&judge);
            command
                .env("HOME", folder.path())
                .args(["push", "--target", "none", "--jobs", "2"])
                .args(options);
            if !journal {
                command.arg("--no-resume");
            }
            let child = command.arg(&victim).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            assert!(judge.wait_for("PutSnapshotBlock", 6, Duration::from_secs(20)));
            let file = File::options().write(true).open(&victim).unwrap();
            let len = file.metadata().unwrap().len();
            match change {
                "overwrite the beginning" => file.write_all_at(b"changed", 600_000).unwrap(),
                "overwrite the end" => file.write_all_at(b"changed", 12 << 20).unwrap(),
                "cut" => file.set_len(8 << 20).unwrap(),
                _ => file.set_len(len + 4096).unwrap(),
            }
            judge.configure(|config| config.uplink = None);
            let output = child.wait_with_output().unwrap();
            let context = format!("{}: {change}: {}", source.display(), both(&output));
            assert_eq!(output.status.code(), Some(1), "{context}");
            assert!(errors(&output).contains("chang"), "{context}");
            nothing_completed(&judge);
            assert!(judge.report().live_snapshots().is_empty(), "{context}");
            nothing_to_complain(&judge);
        }
    }
    // As it is, it goes up.
    let judge = start(Config::default());
    ok(&push_file(&judge, folder.path(), &raw, &PLAIN[2..]));
    let volume = folder.path().join("volume");
    let snapshot = judge.report().only_snapshot().id.clone();
    judge.write_volume(&snapshot, View::Plain, &mut File::create(&volume).unwrap()).unwrap();
    // But for the partition table, which is that of a larger disk.
    must(Command::new("cmp").args(["-i", "1048576", "-n", "65900000"]).arg(&raw).arg(&volume));
}
