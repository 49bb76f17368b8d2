//! What the command says of itself, and to those who use it wrongly: `cmd/*.trycmd`.
//!
//! `TRYCMD=overwrite cargo test` writes down what is said now.

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
    for page in [
        "lfs-image",
        "lfs-image-raw",
        "lfs-image-push",
        "lfs-image-pull",
        "lfs-image-inspect",
        "lfs-image-completions",
    ] {
        let text = std::fs::read_to_string(folder.path().join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".SH NAME") && text.contains("Examples"), "{page}");
    }
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
