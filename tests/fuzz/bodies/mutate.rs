//! What a fuzzer does to its corpus, without a fuzzer: the same inputs every time.

use super::draw::Random;

/// Runs `body` over every input and over `rounds` mutations of them. An input that panics is shown as hex.
pub fn smoke(corpus: &[(String, Vec<u8>)], seed: u64, rounds: usize, mut body: impl FnMut(&[u8])) {
    assert!(!corpus.is_empty(), "there is no corpus");
    for (name, input) in corpus {
        run(name, input, &mut body);
    }
    let mut random = Random(seed);
    for round in 0..rounds {
        let (name, input) = &corpus[random.below(corpus.len())];
        let mut input = input.clone();
        for _ in 0..=random.below(4) {
            let (_, other) = &corpus[random.below(corpus.len())];
            mutate(&mut input, other, &mut random);
        }
        run(&format!("{name}, seed {seed}, round {round}"), &input, &mut body);
    }
}

fn run(what: &str, input: &[u8], body: &mut impl FnMut(&[u8])) {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(input)));
    if let Err(panic) = result {
        let path = std::env::temp_dir().join("lfs-image-finding");
        let _ = std::fs::write(&path, input);
        eprintln!("{what}: the input is in {}", path.display());
        std::panic::resume_unwind(panic);
    }
}

/// One change.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const NUMBERS: [&[u8]; 10] = [
        b"\0",
        b"\xff",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\x80\0\0\0\0\0\0\0",
        b"77777777777",
        b"\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"/../",
        b"\xff\x7f",
        b"18446744073709551615",
    ];
    let at = random.below(input.len() + 1);
    match random.below(7) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.next().to_le_bytes()[0],
        2 => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            for (to, from) in input[at..].iter_mut().zip(number) {
                *to = *from;
            }
        }
        3 => input.truncate(at),
        4 => {
            let len = random.below(input.len() - at + 1).min(600);
            input.drain(at..at + len);
        }
        5 => {
            let from = random.below(other.len() + 1);
            let len = random.below(other.len() - from + 1).min(1024);
            input.splice(at..at, other[from..from + len].iter().copied());
        }
        _ => {
            let from = random.below(other.len() + 1);
            for (to, from) in input[at..].iter_mut().zip(&other[from..]).take(random.below(64)) {
                *to = *from;
            }
        }
    }
}
