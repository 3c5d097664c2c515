//! The minimal loop. A subscriber says its topic and hears a text, twice; the publisher sends frames as subscribers get
//! them, each behind its topic and length; the text in them is as long as what the daemon makes of the same payload.

use anyhow::{Result, ensure};

use super::{Dialect, Each, Step, name};
use crate::wire;

pub struct Limit;

/// What stands before a frame: the topic and the frame's length, four bytes each, the least significant first.
pub const HEAD: usize = 8;
/// How often a connection says its topic, and is answered. Who lets a WebSocket in and subscribes it has heard its client
/// twice, too: the kernel of a client that has never answered a server acknowledges every segment, and in the client's
/// time, which would make the loop cheaper than any server of such clients can be.
pub const ASKED: usize = 2;
/// The topic by which a connection says that it publishes.
pub const PUBLISHER: u32 = u32::MAX;

impl Dialect for Limit {
    fn subscribe(&self, topic: u32) -> Vec<Step> {
        (0..ASKED).map(|_| Step { say: topic.to_le_bytes().to_vec(), heard: wire::text }).collect()
    }

    fn open(&self) -> Vec<Step> {
        self.subscribe(PUBLISHER)
    }

    fn publish(&self, topic: u32, payload: &[u8], out: &mut Vec<u8>) {
        let frame = wire::text_frame(&enveloped(topic, payload));
        out.extend(topic.to_le_bytes());
        out.extend((frame.len() as u32).to_le_bytes());
        out.extend(frame);
    }

    fn answers(&self, bytes: &[u8]) -> Result<usize> {
        ensure!(bytes.is_empty(), "the publisher is not answered here");
        Ok(0)
    }

    fn events(&self, bytes: &[u8], each: Each) -> Result<usize> {
        wire::texts(bytes, each)
    }
}

/// As the daemon delivers it.
fn enveloped(topic: u32, payload: &[u8]) -> Vec<u8> {
    let mut text = b"{\"type\":\"tick\",\"stream\":\"ticks\",\"session_id\":null,\"data\":".to_vec();
    text.extend_from_slice(payload);
    let topic = name(topic);
    text.extend_from_slice(
        b",\"timestamp\":\"2026-01-01T00:00:00.000Z\",\"seq\":123456,\"prev\":123455,\"topic\":\"ticks:",
    );
    text.extend_from_slice(topic.as_bytes());
    text.extend_from_slice(b"\"}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/bench.md says the number.
    #[test]
    fn the_envelope_has_143_bytes() {
        let text = enveloped(0, b"{}");
        assert_eq!(text.len() - b"{}".len(), 143);
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(read["topic"], "ticks:t0");
    }
}
