//! Whatever a client sends: the decoder never panics, keeps its bounds, and says the same however the bytes are cut.

use broadcastd::websocket::frame::{Decoder, Input, Violation};

/// Small, so that a fuzzed length reaches both sides of it.
const MAX_MESSAGE: usize = 1000;

/// A frame being gathered with the longest client header (14 bytes) and the message before it, each in a vector that
/// may have doubled.
const MAX_HELD: usize = 2 * (MAX_MESSAGE + 14) + 2 * MAX_MESSAGE;

#[derive(Debug, PartialEq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Violation(Violation),
}

/// The first byte says how the others are cut.
pub fn check(input: &[u8]) {
    let Some((&stride, bytes)) = input.split_first() else { return };
    let whole = decode(bytes, bytes.len());
    assert_eq!(decode(bytes, 1), whole);
    assert_eq!(decode(bytes, usize::from(stride)), whole);
}

fn decode(bytes: &[u8], stride: usize) -> Vec<Said> {
    let mut decoder = Decoder::new(MAX_MESSAGE);
    let mut said = Vec::new();
    for part in bytes.chunks(stride.max(1)) {
        let mut part = part.to_vec();
        let mut rest = part.as_mut_slice();
        loop {
            match decoder.next(&mut rest) {
                Ok(Some(input)) => said.push(own(input)),
                Ok(None) => break,
                Err(violation) => said.push(Said::Violation(violation)),
            }
        }
        assert!(rest.is_empty(), "bytes were left behind");
        assert!(decoder.held() <= MAX_HELD, "the decoder holds {} bytes", decoder.held());
    }
    said
}

fn own(input: Input<'_>) -> Said {
    match input {
        Input::Text(text) => Said::Text(text.to_owned()),
        Input::Binary(bytes) => Said::Binary(bytes.to_owned()),
        Input::Ping(payload) => Said::Ping(payload.to_owned()),
        Input::Pong(payload) => Said::Pong(payload.to_owned()),
        Input::Close { code, reason } => Said::Close(code, reason.to_owned()),
    }
}
