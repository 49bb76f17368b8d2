//! What a service says that is no answer, the same every time; `tests/fuzz` has the same for longer.

use std::process::Command;

use crate::draw::Random;
use crate::support::must;

const VARIABLE: &str = "LFS_IMAGE_NONSENSE";

#[test]
fn a_service_that_talks_nonsense() {
    // A process of its own, since credentials are in the environment.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "nonsense::talk", "--nocapture"]).env(VARIABLE, "250");
    let said = must(command.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret"));
    assert!(said.contains("1 passed"), "{said}");
}

/// Does nothing unless it is told to.
#[test]
fn talk() {
    let Ok(count) = std::env::var(VARIABLE) else { return };
    let count: usize = count.parse().unwrap();
    let (mut random, mut images) = (Random(11), 0);
    for _ in 0..count {
        let len = 8 + random.below(200);
        let mut input = random.bytes(len);
        // Half of it is what a service that is well would say.
        for byte in &mut input {
            if random.below(2) == 0 {
                *byte = 0;
            }
        }
        images += usize::from(crate::pull_body::pull(&input));
    }
    // Neither always nor never.
    assert!((count / 10..count * 9 / 10).contains(&images), "{images} of {count}");
}
