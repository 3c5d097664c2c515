//! The fuzz targets for everybody: each property of `fuzz/properties` holds on the seeds, and on inputs made of them. The
//! inputs are the same every time; `BROADCASTD_TEST_SEED` makes others, and a failure says which it was.

use libtest_mimic::Trial;

use crate::needs;
use crate::tidy::tree;

#[path = "../../../fuzz/properties/abi_input.rs"]
mod abi_input;
#[path = "../../../fuzz/properties/caller.rs"]
mod caller;
#[path = "../../../fuzz/properties/client_log.rs"]
mod client_log;
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
#[path = "../../../fuzz/made.rs"]
mod made;
#[path = "../../../fuzz/properties/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "../../../fuzz/query.rs"]
mod query;
#[path = "../../../fuzz/properties/reads.rs"]
mod reads;
#[path = "../../../fuzz/shown.rs"]
mod shown;
#[path = "../../../fuzz/properties/sse_request.rs"]
mod sse_request;
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
        needs::nothing(what_callers_say_of_themselves),
        needs::nothing(topics),
        needs::nothing(abi_inputs),
        needs::nothing(ingested_bodies),
        needs::nothing(ingested_lines),
        needs::nothing(lines_for_the_log),
        needs::nothing(requests_for_events),
        needs::nothing(requests_that_read),
        needs::nothing(every_property_has_a_target_and_seeds),
    ]
}

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

fn what_callers_say_of_themselves() {
    run("caller", 20_000, caller::check);
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

fn lines_for_the_log() {
    run("client_log", 20_000, client_log::check);
}

fn requests_for_events() {
    run("sse_request", 50_000, sse_request::check);
}

fn requests_that_read() {
    run("reads", 20_000, reads::check);
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
    made::run(&tree::root().join("fuzz/seeds").join(target), cases, property);
}
