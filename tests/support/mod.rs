//! What the integration tests share: outside judges, mounts, virtual machines.
//!
//! A test file takes it in with `#[path = "../support/mod.rs"] mod support;`. Nothing here uses lfs-image: a judge that
//! shares code with the accused is none.
//!
//! A judge that is missing makes a test skip loudly on a person's machine and fail where `CI` is set.

#![allow(dead_code, reason = "no test binary uses all of it")]
#![allow(unreachable_pub, missing_docs, missing_debug_implementations, reason = "a module of a test binary")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic and speak")]

pub mod compare;
pub mod fault;
pub mod grow;
pub mod judge;
pub mod mount;
pub mod qemu;
pub mod rootfs;
pub mod tls;
pub mod wear;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a judge says: nothing to complain about, or its words.
pub type Verdict<T = ()> = Result<T, Complaint>;

/// A judge's words. `unwrap` shows them as they are.
pub struct Complaint(pub String);

impl std::fmt::Debug for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The project's folder.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of `tests/support`.
pub fn support_file(name: &str) -> PathBuf {
    project().join("tests/support").join(name)
}

/// A path that the environment names.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where the scripts keep what they fetch and build.
pub fn cached(name: &str) -> PathBuf {
    let caches = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    variable("LFS_IMAGE_CACHE").unwrap_or_else(|| caches().unwrap().join("lfs-image")).join(name)
}

/// An empty folder that goes away with the value. Large things belong here: it isn't on a memory file system.
pub fn scratch() -> tempfile::TempDir {
    let base = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    tempfile::Builder::new().prefix("lfs-image-test-").tempdir_in(base).unwrap()
}

/// Bytes that repeat nowhere and don't compress.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// Where programs are: those for root, too, which ordinary users don't look for.
pub fn path() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/sbin"
}

/// Runs a program to its end; `sbin` is on its path and it speaks English.
pub fn run(command: &mut Command) -> Output {
    command
        .env("PATH", path())
        .env("LC_ALL", "C.UTF-8")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{} doesn't run: {error}", command.get_program().display()))
}

/// Runs a program that has to succeed; its standard output.
#[track_caller]
pub fn must(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, both(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a program said on both of its channels.
pub fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}
