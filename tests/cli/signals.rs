//! Ctrl-C and its kin: code 130, soon, and nothing left behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{judge, must, scratch};
use crate::{fixture, lfs_image};

const OLD: &str = "what was there before";

/// A folder with an image that a walk is to replace.
fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = scratch();
    let out = folder.path().join("out.img");
    std::fs::write(&out, OLD).unwrap();
    (folder, out)
}

fn signal(child: &Child, name: &str) {
    must(Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()));
}

/// Waits for the end, which must be soon and leave the folder as it was.
#[track_caller]
fn ends(mut child: Child, within: Duration, folder: &Path) {
    let asked = Instant::now();
    let status = child.wait().unwrap();
    assert!(asked.elapsed() < within, "it took {:?}", asked.elapsed());
    assert_eq!(status.code(), Some(130));
    assert_eq!(std::fs::read_to_string(folder.join("out.img")).unwrap(), OLD);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1, "something is left behind");
}

/// Reads what a child says until a line begins so.
fn until(stderr: &mut BufReader<ChildStderr>, start: &str) {
    let mut line = String::new();
    while !line.trim_start().starts_with(start) {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it never said {start}");
    }
}

#[test]
fn while_writing() {
    if !judge::require(&["kill"]) {
        return;
    }
    for name in ["INT", "TERM", "HUP"] {
        let (folder, out) = folder();
        // Holes are hashed, too: that takes a minute.
        let mut child = lfs_image()
            .args(["raw", "--boot", "none", "--size", "100G", "--digest"])
            .arg(fixture("gnu-posix.tar"))
            .arg(&out)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        until(&mut stderr, "root");
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, name);
        until(&mut stderr, "error: interrupted");
        ends(child, Duration::from_secs(2), folder.path());
    }
}

#[test]
fn while_reading() {
    let (folder, out) = folder();
    let mut child = spawn_reader(&out);
    let mut stdin = child.stdin.take().unwrap();
    let mut header = std::fs::read(fixture("gnu-ustar.tar")).unwrap();
    header.truncate(512);
    // The same directory over and over: the archive never ends.
    let writer = std::thread::spawn(move || while stdin.write_all(&header).is_ok() {});
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "INT");
    ends(child, Duration::from_secs(2), folder.path());
    writer.join().unwrap();
}

#[test]
fn while_waiting_for_a_pipe() {
    let (folder, out) = folder();
    let mut child = spawn_reader(&out);
    let stdin = child.stdin.take().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "TERM");
    ends(child, Duration::from_secs(5), folder.path());
    drop(stdin);
}

#[test]
fn twice_is_at_once() {
    let (folder, out) = folder();
    let mut child = spawn_reader(&out);
    let stdin = child.stdin.take().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, "INT");
    ends(child, Duration::from_secs(1), folder.path());
    drop(stdin);
}

fn spawn_reader(out: &Path) -> Child {
    lfs_image()
        .args(["raw", "--boot", "none", "-"])
        .arg(out)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
