//! Inputs for a property where there is no fuzzer: its seeds, and what a few changes make of them, the same every time.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use fastrand::Rng;

/// The longest input that is made: seeds are shorter, and what is longer finds no more.
const MAX_BYTES: usize = 4096;
/// Any number would do; it is the same every time.
const SEED: u64 = 1;

/// Runs a property on the seeds of this folder, and on so many inputs that are made of them.
pub fn run(seeds: &Path, cases: usize, property: fn(&[u8])) {
    let seeds = read(seeds);
    seeds.iter().for_each(|input| try_one(input, "a seed", property));
    let seed = std::env::var("BROADCASTD_TEST_SEED").map_or(SEED, |text| text.parse().unwrap());
    let mut rng = Rng::with_seed(seed);
    for case in 0..cases {
        let input = made_of(&seeds, &mut rng);
        try_one(&input, &format!("case {case} of BROADCASTD_TEST_SEED={seed}"), property);
    }
}

fn try_one(input: &[u8], name: &str, property: fn(&[u8])) {
    if let Err(failure) = catch_unwind(AssertUnwindSafe(|| property(input))) {
        eprintln!("{name}: b\"{}\"", input.escape_ascii());
        resume_unwind(failure);
    }
}

/// In the order of their names, so that a case is the same on every machine.
fn read(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no seeds", folder.display());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A seed with a few changes: the kinds of change that find most.
fn made_of(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = rng.choice(seeds).unwrap().clone();
    for _ in 0..rng.usize(1..=6) {
        let at = rng.usize(0..=input.len());
        let end = rng.usize(at..=input.len().min(at + 16));
        match rng.u8(0..7) {
            0 => input.insert(at, rng.u8(..)),
            1 => input.insert(at, *rng.choice(b"\"\\{}[]:,*%=.\n\r\0 -019eE\x7f\xc3\xff").unwrap()),
            2 => drop(input.drain(at..end)),
            3 => input.splice(at..at, input[at..end].to_vec()).for_each(drop),
            4 => input[at..end].iter_mut().for_each(|byte| *byte ^= 1 << rng.u8(0..8)),
            5 => input[at..end].iter_mut().for_each(|byte| *byte = rng.u8(..)),
            _ => {
                let other = rng.choice(seeds).unwrap();
                let from = rng.usize(0..=other.len());
                let to = rng.usize(from..=other.len().min(from + 64));
                input.splice(at..end, other[from..to].iter().copied()).for_each(drop);
            }
        }
    }
    input.truncate(MAX_BYTES);
    input
}
