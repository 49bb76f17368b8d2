//! A pull from a service that talks nonsense. Needs the feature `ebs`.
#![no_main]

#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    bodies::pull::pull(input);
});
