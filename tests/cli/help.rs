//! What the command says of itself, and to those who use it wrongly: `cmd/*.trycmd`.
//!
//! `TRYCMD=overwrite cargo test` writes down what is said now.

use std::process::Command;

use crate::lfs_image;
use crate::support::{must, scratch};

#[test]
fn help_and_usage() {
    trycmd::TestCases::new()
        .register_bin("lfs-image", std::path::Path::new(env!("CARGO_BIN_EXE_lfs-image")))
        .env("COLUMNS", "80")
        .case(crate::support::project().join("tests/cli/cmd/*.trycmd").to_str().unwrap());
}

#[test]
fn every_page_of_the_manual() {
    let folder = scratch();
    must(lfs_image().arg("man").arg(folder.path()));
    let verbs = [
        "raw",
        "push",
        "pull",
        "inspect",
        "check",
        "ls",
        "cat",
        "extract",
        "diff",
        "init",
        "completions",
        "man",
    ];
    let pages = verbs.map(|verb| format!("lfs-image-{verb}.1"));
    for page in pages.iter().map(String::as_str).chain(["lfs-image.1"]) {
        let path = folder.path().join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "\"EXIT STATUS\"", "\"SEE ALSO\""] {
            assert!(text.contains(&format!("\n.SH {section}\n")), "{page} has no {section}");
        }
        // What a reader of manuals says of it.
        if let Ok(output) =
            Command::new("man").args(["--warnings", "-l"]).arg(&path).env("MANWIDTH", "80").output()
        {
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{page}: {}",
                crate::errors(&output)
            );
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), pages.len() + 1);
    assert!(must(lfs_image().arg("man")).contains(".TH lfs-image 1"));
}

#[test]
fn it_starts_at_once() {
    // The best of a few, since others work on this machine, too.
    let best = (0..10)
        .map(|_| {
            let start = std::time::Instant::now();
            must(lfs_image().arg("-V"));
            start.elapsed()
        })
        .min();
    assert!(best.unwrap() < std::time::Duration::from_millis(50), "{best:?}");
}
