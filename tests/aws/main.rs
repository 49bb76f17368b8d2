//! To AWS and back: through the binary, against a server that checks everything it is told.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod changing;
mod encrypted;
mod faults;
mod moto;
mod pull;
mod push;
mod secrets;
mod wire;

#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::{Command, Output};

use aws_judge::Judge;

/// The command, that knows of no AWS but the judge.
pub(crate) fn lfs_image(judge: &Judge) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lfs-image"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TMPDIR", "/var/tmp")
        .envs(judge.env());
    command
}

/// What it said on standard error.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What it said on standard output.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A tarball of the fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    support::project().join("fixtures/tar").join(name)
}

#[test]
fn no_test_file_is_forgotten() {
    let main = std::fs::read_to_string(support::project().join("tests/aws/main.rs")).unwrap();
    for entry in std::fs::read_dir(support::project().join("tests/aws")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some_and(|e| e == "rs") && stem != "main" {
            assert!(main.contains(&format!("mod {stem};")), "{stem}.rs is not a module of main.rs");
        }
    }
}
