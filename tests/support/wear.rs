//! A guest that wears the filesystem out that it lives on.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::judge::{self, Fsck};
use super::qemu::{Guest, Machine};
use super::{Complaint, Verdict, both, must, run, scratch, support_file};

/// Boots the image into a phase of `guest-wear.sh`, which comes on a second disk, so that the image isn't touched by anything
/// but its own kernel.
fn start(image: &Path, phase: &str, kernel: &Path, folder: &Path) -> Guest {
    let script = folder.join("script.img");
    let mut text = format!("phase={phase}\n").into_bytes();
    text.extend(std::fs::read(support_file("guest-wear.sh")).unwrap());
    text.resize(1 << 20, b'\n');
    std::fs::write(&script, text).unwrap();
    let partition = judge::partitions(image).unwrap().len();
    let init = "init=/bin/sh -- -c \"mount -t devtmpfs devtmpfs /dev; exec sh /dev/nvme1n1\"";
    let command_line = format!("root=/dev/nvme0n1p{partition} rw console=ttyS0 panic=5 {init}");
    Machine::new(image).disk(&script).kernel(kernel, &command_line).keep_writes().start()
}

/// Runs a phase to its end, after which the filesystem must be clean.
pub fn phase(image: &Path, phase: &str, kernel: &Path) -> Verdict<Fsck> {
    let folder = scratch();
    let mut guest = start(image, phase, kernel, folder.path());
    let (outcome, told) =
        guest.wait_for_any(&["WEAR-DONE", "WEAR-FAILED", "Kernel panic"], Duration::from_secs(400));
    if outcome != 0 {
        return Err(Complaint(format!("{phase} in the guest failed:\n{told}")));
    }
    guest.wait_for_power_off(Duration::from_secs(60));
    judge::e2fsck(image, offset(image))
}

/// Cuts the power after so much time in the middle of everything. Returns what the journal of the image then is: `true` where
/// there is something in it to be replayed.
pub fn cut(image: &Path, kernel: &Path, after: Duration) -> bool {
    let folder = scratch();
    let mut guest = start(image, "cut", kernel, folder.path());
    let (outcome, told) =
        guest.wait_for_any(&["WEAR-RUNNING", "WEAR-FAILED", "Kernel panic"], Duration::from_secs(200));
    assert_eq!(outcome, 0, "the guest failed:\n{told}");
    std::thread::sleep(after);
    drop(guest);
    judge::field(&judge::dumpe2fs(image, offset(image)).unwrap(), "Filesystem features")
        .contains("needs_recovery")
}

/// e2fsck replays the journal and has nothing to mend beyond what a journal leaves to it: files that were open without a
/// name. Then the filesystem is clean.
pub fn replayed_by_e2fsck(image: &Path) -> Verdict<Fsck> {
    let folder = scratch();
    let copy = folder.path().join("copy.img");
    // The partition alone: e2fsck forgets where it begins when it opens the disk again after a replay.
    must(
        Command::new("dd")
            .arg(format!("if={}", image.display()))
            .arg(format!("of={}", copy.display()))
            .args(["bs=1M", "conv=sparse", "status=none"])
            .arg(format!("skip={}", offset(image) >> 20)),
    );
    let output = run(Command::new("e2fsck").arg("-p").arg(&copy));
    let text = both(&output);
    let usual = [
        "recovering journal",
        "Clearing orphaned inode",
        "clean",
        "files (",
        "Setting free",
        "Free blocks count",
        "Free inodes count",
        "FIXED",
    ];
    let strange =
        text.lines().find(|line| !line.trim().is_empty() && !usual.iter().any(|words| line.contains(words)));
    if output.status.code().is_none_or(|code| code > 1)
        || strange.is_some()
        || !text.contains("recovering journal")
    {
        return Err(Complaint(format!("e2fsck -p after a power cut: {}\n{text}", output.status)));
    }
    judge::e2fsck(&copy, 0)
}

fn offset(image: &Path) -> u64 {
    judge::partitions(image).unwrap().last().unwrap().offset
}
