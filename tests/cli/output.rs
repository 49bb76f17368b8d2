//! What goes where: results to stdout and nothing else, words to stderr, and what happens when nobody takes them.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};

use crate::support::{judge, must, scratch};
use crate::{errors, fixture, lfs_image, raw};

#[test]
fn stdout_is_the_result_alone() {
    let folder = scratch();
    let out = folder.path().join("an image.img");
    let run = |options: &[&str]| {
        let output = lfs_image()
            .args(["raw", "--boot", "none", "--size", "64M"])
            .args(options)
            .arg(fixture("gnu-posix.tar"))
            .arg(&out)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", errors(&output));
        (String::from_utf8(output.stdout.clone()).unwrap(), errors(&output))
    };
    let (stdout, stderr) = run(&[]);
    let (root, path) = stdout.split_once(' ').unwrap();
    assert!(root.starts_with("root=PARTUUID=") && path == format!("{}\n", out.display()), "{stdout}");
    for step in ["read", "plan", "root", "write"] {
        assert!(stderr.lines().any(|line| line.starts_with(&format!("  {step} "))), "{stderr}");
    }
    // Neither colours nor bars where there is no terminal.
    assert!(!stderr.contains(['\u{1b}', '\r']), "{stderr:?}");
    let short =
        stderr.replace(fixture("").to_str().unwrap(), "").replace(folder.path().to_str().unwrap(), "");
    assert!(short.lines().all(|line| line.len() <= 80 && line.trim_end() == line), "{stderr}");

    assert_eq!(run(&["-q"]), (stdout.clone(), String::new()));
    let (json, stderr) = run(&["--json", "--digest"]);
    assert_eq!(stderr, "");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(format!("{} {}\n", json["root"].as_str().unwrap(), json["image"].as_str().unwrap()), stdout);
    let sum = must(Command::new("sha256sum").arg(&out));
    assert!(sum.trim_start_matches('\\').starts_with(json["sha256"].as_str().unwrap()));
    let written = |kind: &str| json["written"][kind].as_u64().unwrap();
    assert_eq!(written("data") + written("zeros") + written("unallocated"), 64 << 20);
    assert_eq!(json["size"], 64 << 20);
    assert_eq!(json["input"]["archives"][0], fixture("gnu-posix.tar").to_str().unwrap());

    let (stdout, _) = run(&["--digest"]);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], format!("sha256:{}  {}", json["sha256"].as_str().unwrap(), out.display()));
    assert!(lines[1].starts_with("root=") && lines.len() == 2);
}

#[test]
fn a_pipe_gets_the_same_bytes() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    raw(&fixture("gnu-posix.tar"), &out, &["--boot", "none", "--size", "64M"]);
    let output = lfs_image()
        .args(["raw", "--boot", "none", "--size", "64M"])
        .arg(fixture("gnu-posix.tar"))
        .arg("-")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(output.stdout == std::fs::read(&out).unwrap(), "a pipe gets other bytes than a file");
    assert!(errors(&output).contains("         PARTUUID="), "{}", errors(&output));
    judge::e2fsck(&out, 2 << 20).unwrap();
}

#[test]
fn a_pipe_that_closes_is_a_failure() {
    let mut child = lfs_image()
        .args(["raw", "--boot", "none", "--size", "64M"])
        .arg(fixture("gnu-posix.tar"))
        .arg("-")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = [0; 4096];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    assert!(said.contains("caused by: Broken pipe") && said.contains("hint: "), "{said}");
}

#[test]
fn nobody_reading_a_report_is_no_failure() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    raw(&fixture("gnu-ustar.tar"), &out, &["--boot", "none", "--size", "64M"]);
    let mut child = lfs_image()
        .args(["inspect", "--usage", "9", "--plan"])
        .arg(&out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), errors(&output)), (Some(0), String::new()));
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let output = lfs_image()
        .args(["raw", "--boot", "none", "--size", "64M"])
        .arg(fixture("gnu-posix.tar"))
        .arg(&out)
        .stdout(full())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("error: write to stdout\ncaused by: No space left"),
        "{}",
        errors(&output)
    );
    // The same for an image that goes there.
    for (to, stdout) in [("/dev/full", Stdio::null()), ("-", full().into())] {
        let output = lfs_image()
            .args(["raw", "--boot", "none", "--size", "64M"])
            .arg(fixture("gnu-posix.tar"))
            .arg(to)
            .stdout(stdout)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains("No space left"), "{}", errors(&output));
    }
}

/// Runs a command line with a terminal for all three channels; gives what the terminal showed and the exit code.
fn on_a_terminal(line: &str, environment: &[(&str, &str)]) -> (String, Option<i32>) {
    let folder = scratch();
    let record = folder.path().join("record");
    let mut script = Command::new("script");
    script.args(["-qec", line]).arg(&record).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    script.env("TERM", "xterm").env("SHELL", "/bin/sh").stdin(Stdio::null()).stdout(Stdio::null());
    let status = script.envs(environment.iter().copied()).status().unwrap();
    (String::from_utf8_lossy(&std::fs::read(record).unwrap()).into_owned(), status.code())
}

#[test]
fn terminals_see_bars_and_no_images() {
    if !judge::require(&["script"]) {
        return;
    }
    let folder = scratch();
    let (program, archive) =
        (env!("CARGO_BIN_EXE_lfs-image"), fixture("gnu-posix.tar").display().to_string());
    let out = folder.path().join("out.img");
    let (said, code) = on_a_terminal(&format!("{program} raw --boot none {archive} -"), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("stdout is a terminal") && said.len() < 4000, "{said}");
    assert!(said.contains("\u{1b}["), "{said:?}");
    let (said, _) = on_a_terminal(&format!("{program} raw --boot none {archive} -"), &[("NO_COLOR", "1")]);
    assert!(!said.contains('\u{1b}'), "{said:?}");

    // Long enough to need a bar: holes are hashed, too.
    let line = format!("{program} raw --boot none --size 3G --digest {archive} {}", out.display());
    let (said, code) = on_a_terminal(&line, &[("NO_COLOR", "1")]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("  write  [") && said.contains("3.00 GiB"), "{said:?}");
    let (said, _) = on_a_terminal(&line, &[("TERM", "dumb")]);
    assert!(!said.contains("  write  ["), "{said:?}");
    let (said, _) = on_a_terminal(&format!("{line} -q"), &[]);
    assert!(!said.contains("  write  ["), "{said:?}");
}
