//! The command from outside.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic and speak")]

mod alone;
mod bad;
mod bombs;
mod boot;
mod boot_bios;
mod boot_refused;
mod boot_same;
mod boot_uefi;
mod boot_upgrade;
mod docs;
mod faults;
mod fuzz;
mod grub_fstest;
mod help;
mod host_boot;
mod host_check;
mod host_edits;
mod host_trees;
mod hostile;
mod image;
mod inspect;
mod json;
mod lies;
mod look;
mod options;
mod output;
mod places;
mod property;
mod run;
mod scale;
mod screens;
mod signals;
mod wear;

#[path = "../fuzz/bodies/draw.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with tests/fuzz")]
mod draw;
#[path = "../fuzz/bodies/mutate.rs"]
#[allow(dead_code, unreachable_pub, clippy::disallowed_methods, reason = "shared with tests/fuzz")]
mod mutate;
#[path = "../image/tarball.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with tests/image")]
mod tarball;

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The command with an environment of its own.
pub(crate) fn lfs_image() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lfs-image"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TMPDIR", "/var/tmp");
    command
}

/// `lfs-image raw` that has to succeed: what it printed.
#[track_caller]
pub(crate) fn raw(rootfs: &Path, out: &Path, options: &[&str]) -> String {
    let output = lfs_image().arg("raw").args(options).arg(rootfs).arg(out).output().unwrap();
    assert!(output.status.success(), "{}", support::both(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What it said on standard error.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A tarball of the fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    support::project().join("fixtures/tar").join(name)
}

#[test]
fn no_test_file_is_forgotten() {
    let main = std::fs::read_to_string(support::project().join("tests/cli/main.rs")).unwrap();
    for entry in std::fs::read_dir(support::project().join("tests/cli")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some_and(|e| e == "rs") && stem != "main" {
            assert!(main.contains(&format!("mod {stem};")), "{stem}.rs is not a module of main.rs");
        }
    }
}
