//! The program alone: linked statically, in a directory with nothing else in it.

use std::path::Path;
use std::process::Command;

use crate::support::{both, judge, must, project, run};

#[test]
fn a_static_program_runs_in_an_empty_directory() {
    if !judge::require(&["chroot", "e2fsck", "zstd"]) {
        return;
    }
    // As `make dist` links it, without AWS, and in the profile whose dependencies are there soonest.
    let host = must(Command::new("rustc").arg("-vV"));
    let target = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
    let profile = Path::new(env!("CARGO_BIN_EXE_lfs-image")).parent().unwrap();
    let folder = profile.parent().unwrap().join("static");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "-q",
        "--locked",
        "-p",
        "lfs-image-cli",
        "--no-default-features",
        "--target",
        &target,
    ]);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static").env("CARGO_TARGET_DIR", &folder);
    must(cargo.current_dir(project()));
    let program = folder.join(&target).join("debug/lfs-image");
    let file = must(Command::new("readelf").args(["-lW"]).arg(&program));
    assert!(!file.contains("INTERP"), "it asks for a dynamic linker:\n{file}");
    // A program that isn't, doesn't.
    let dynamic = must(Command::new("readelf").args(["-lW", env!("CARGO_BIN_EXE_lfs-image")]));
    assert!(dynamic.contains("INTERP"));
    let output = run(Command::new(project().join("scripts/chroot-check.sh")).arg(&program));
    assert!(output.status.success(), "{}", both(&output));
    if !both(&output).contains("it runs in an empty directory") {
        judge::skip(&both(&output));
    }
}
