//! Whatever is written to the ingest socket: each line has one answer, in order, that is proper JSON; and it is the same
//! however the lines were cut on their way.

use std::sync::Arc;

use broadcastd::hub::Hub;
use broadcastd::hub::settings::Settings;
use broadcastd::server::ingest::talk::Talk;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The first byte says how long the pieces are that the rest comes in.
pub fn check(input: &[u8]) {
    let Some((&first, lines)) = input.split_first() else { return };
    let (hub, answers) = answers(lines.chunks(1 + usize::from(first)));
    let (_, whole) = self::answers(lines.chunks(lines.len().max(1)));
    assert_eq!(answers, whole, "it depends on the cuts");
    let is_line = |line: &&[u8]| !line.trim_ascii().is_empty();
    let sent = lines.split(|byte| *byte == b'\n').filter(is_line).count();
    assert_eq!(answers.iter().filter(|byte| **byte == b'\n').count(), sent);
    let mut accepted = 0;
    for line in answers.split_inclusive(|byte| *byte == b'\n') {
        let answer: Answer =
            serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {}", line.escape_ascii()));
        match (answer.accepted, answer.error) {
            (Some(true), None) => accepted += 1,
            (None, Some(error)) => {
                assert!(!error.code.is_empty() && !error.message.is_empty());
                assert!(error.pointer.is_empty() || error.pointer.starts_with('/'), "{}", error.pointer);
                assert_eq!(error.retry_ms.is_some(), error.code == "full");
            }
            _ => panic!("neither accepted nor not: {}", line.escape_ascii()),
        }
    }
    let seq = hub.stream("ticks").expect("it was declared").figures().seq;
    assert!(seq <= accepted, "a repeated event is accepted and takes no number");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    accepted: Option<bool>,
    #[expect(dead_code, reason = "it may be there")]
    position: Option<IgnoredAny>,
    #[expect(dead_code, reason = "it may be there")]
    id: Option<String>,
    error: Option<Reason>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    code: String,
    message: String,
    pointer: String,
    retry_ms: Option<u64>,
}

fn answers<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Arc<Hub>, Vec<u8>) {
    let hub = Hub::new("epoch");
    hub.declare("ticks", Settings::default());
    let mut talk = Talk::new(hub.clone());
    for piece in pieces {
        talk.hear(piece);
        while talk.answer_next() {}
    }
    talk.end();
    let answers = std::mem::take(talk.answers());
    (hub, answers)
}
