//! Whatever a client sends: the decoder never panics, keeps its bounds, and says the same however the bytes are cut, with
//! and without compression.

use broadcastd::websocket::deflate::{self, Compression};
use broadcastd::websocket::frame::{Decoder, Input, Violation};

/// Small, so that a fuzzed length reaches both sides of it.
const MAX_MESSAGE: usize = 1000;

/// A frame being gathered with the longest client header (14 bytes) and the message before it, each in a vector that
/// may have doubled.
const fn max_held(compression: Compression) -> usize {
    let longest = match compression {
        Compression::Off => MAX_MESSAGE,
        Compression::On => deflate::longest_deflated(MAX_MESSAGE),
    };
    2 * (longest + 14) + 2 * longest
}

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
    let [plain, deflated] = [Compression::Off, Compression::On].map(|compression| {
        let whole = decode(bytes, bytes.len(), compression);
        assert_eq!(decode(bytes, 1, compression), whole);
        assert_eq!(decode(bytes, usize::from(stride), compression), whole);
        whole
    });
    // Until its first compressed message a client is told the same with and without compression.
    let differing = plain.iter().zip(&deflated).find(|(plain, deflated)| plain != deflated);
    if let Some((plain, _)) = differing {
        assert!(matches!(plain, Said::Violation(Violation { code: 1002, .. })), "{differing:?}");
    }
    comes_back(bytes);
}

/// What the daemon compresses is what it inflates, also as the frame of a client.
fn comes_back(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MAX_MESSAGE)];
    let payload = deflate::compress(bytes, 1);
    let length = u16::try_from(payload.len()).expect("little becomes little");
    let header = if length < 126 { vec![0x80 | length as u8] } else { [&[0xfe], &length.to_be_bytes()[..]].concat() };
    let frame = [&[0xc2], header.as_slice(), &[0; 4], &payload].concat();
    assert_eq!(decode(&frame, frame.len(), Compression::On), [Said::Binary(bytes.to_owned())]);
}

fn decode(bytes: &[u8], stride: usize, compression: Compression) -> Vec<Said> {
    let mut decoder = Decoder::new(MAX_MESSAGE).with(compression);
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
        assert!(decoder.held() <= max_held(compression), "the decoder holds {} bytes", decoder.held());
    }
    said
}

fn own(input: Input<'_>) -> Said {
    let is_bounded = |len: usize| assert!(len <= MAX_MESSAGE, "a message of {len} bytes");
    match input {
        Input::Text(text) => {
            is_bounded(text.len());
            Said::Text(text.to_owned())
        }
        Input::Binary(bytes) => {
            is_bounded(bytes.len());
            Said::Binary(bytes.to_owned())
        }
        Input::Ping(payload) => Said::Ping(payload.to_owned()),
        Input::Pong(payload) => Said::Pong(payload.to_owned()),
        Input::Close { code, reason } => Said::Close(code, reason.to_owned()),
    }
}
