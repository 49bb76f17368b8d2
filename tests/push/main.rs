//! Uploads to, and downloads from, a server that checks everything that a request says.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic and speak")]
#![allow(unreachable_pub, reason = "what fuzzing shares is of other crates, too")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the clock and the environment")]

mod child;
mod content;
mod faults;
mod nonsense;
mod pull;
mod resume;
mod storm;

#[path = "../fuzz/bodies/draw.rs"]
#[allow(dead_code, reason = "fuzzing draws more from it")]
mod draw;
#[path = "../fuzz/bodies/pull.rs"]
mod pull_body;
#[path = "../support/mod.rs"]
mod support;

#[test]
fn no_test_file_is_forgotten() {
    let main = std::fs::read_to_string(support::project().join("tests/push/main.rs")).unwrap();
    for entry in std::fs::read_dir(support::project().join("tests/push")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some_and(|e| e == "rs") && stem != "main" {
            assert!(main.contains(&format!("mod {stem};")), "{stem}.rs is not a module of main.rs");
        }
    }
}
