//! The fuzz targets for everybody: each property of `fuzz/properties` holds on the seeds, and on inputs made of them. The
//! inputs are the same every time; `BROADCASTD_TEST_SEED` makes others, and a failure says which it was.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use fastrand::Rng;
use libtest_mimic::Trial;

use crate::needs;
use crate::tidy::tree;

#[path = "../../../fuzz/properties/abi_input.rs"]
mod abi_input;
#[path = "../../../fuzz/properties/command.rs"]
mod command;
#[path = "../../../fuzz/properties/config.rs"]
mod config;
#[path = "../../../fuzz/properties/frame_decoder.rs"]
mod frame_decoder;
#[path = "../../../fuzz/properties/guard.rs"]
mod guards;
#[path = "../../../fuzz/properties/handshake.rs"]
mod handshake;
#[path = "../../../fuzz/properties/ingest.rs"]
mod ingest;
#[path = "../../../fuzz/properties/ingest_socket.rs"]
mod ingest_socket;
#[path = "../../../fuzz/properties/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "../../../fuzz/properties/token.rs"]
mod token;
#[path = "../../../fuzz/properties/topic.rs"]
mod topic;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(frames),
        needs::nothing(guards),
        needs::nothing(handshakes),
        needs::nothing(commands),
        needs::nothing(configurations),
        needs::nothing(proxy_heads),
        needs::nothing(tokens),
        needs::nothing(topics),
        needs::nothing(abi_inputs),
        needs::nothing(ingested_bodies),
        needs::nothing(ingested_lines),
        needs::nothing(every_property_has_a_target_and_seeds),
    ]
}

/// The longest input that is made: seeds are shorter, and what is longer finds no more.
const MAX_BYTES: usize = 4096;
/// Any number would do; it is the same every time.
const SEED: u64 = 1;

fn frames() {
    run("frame_decoder", 20_000, frame_decoder::check);
}

fn guards() {
    run("guard", 50_000, guards::check);
}

fn handshakes() {
    run("handshake", 30_000, handshake::check);
}

fn commands() {
    run("command", 30_000, command::check);
}

fn configurations() {
    run("config", 5_000, config::check); // each is read, checked and shown whole
}

fn proxy_heads() {
    run("proxy_protocol", 50_000, proxy_protocol::check);
}

fn tokens() {
    run("token", 20_000, token::check);
}

fn topics() {
    run("topic", 50_000, topic::check);
}

fn abi_inputs() {
    run("abi_input", 30_000, abi_input::check);
}

fn ingested_bodies() {
    run("ingest", 20_000, ingest::check);
}

fn ingested_lines() {
    run("ingest_socket", 20_000, ingest_socket::check);
}

fn every_property_has_a_target_and_seeds() {
    let names = |folder: &str| {
        let files = std::fs::read_dir(tree::root().join("fuzz").join(folder)).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let targets = names("fuzz_targets");
    assert_eq!((names("properties"), names("seeds")), (targets.clone(), targets.clone()));
    let listed = std::fs::read_to_string(tree::root().join("fuzz/Cargo.toml")).unwrap();
    assert!(targets.iter().all(|name| listed.contains(&format!("name = \"{name}\""))), "{targets:?}");
}

fn run(target: &str, cases: usize, property: fn(&[u8])) {
    let seeds = seeds(&tree::root().join("fuzz/seeds").join(target));
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
fn seeds(folder: &Path) -> Vec<Vec<u8>> {
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
