//! The daemon, in its native protocol. It is published to as its peers are, over a WebSocket of one of its clients.

use anyhow::{Result, bail, ensure};

use super::{Dialect, Each, Step, name};
use crate::wire;

/// The stream that is published to.
pub const STREAM: &str = "ticks";
/// The token that the publisher shows, and its SHA-256, which the daemon's configuration has.
pub const TOKEN: &str = "the-token-of-the-publisher-in-the-fan-out";
pub const TOKEN_SHA256: &str = "3cfa8ccdb5f2857e3d9066ee971887440d910e31221ae75ae324949668fa39a2";
const PATH: &str = "/v1/ws";

pub struct Broadcastd;

impl Dialect for Broadcastd {
    fn subscribe(&self, topic: u32) -> Vec<Step> {
        let wish = format!("{{\"type\":\"subscribe\",\"topic\":\"{STREAM}:{}\"}}", name(topic));
        let wish = wire::masked_text_frame(wish.as_bytes());
        vec![
            Step { say: wire::upgrade(PATH, ""), heard: wire::switched },
            Step { say: Vec::new(), heard: wire::text },
            // The answer, then the snapshot.
            Step { say: wish, heard: wire::text },
            Step { say: Vec::new(), heard: wire::text },
        ]
    }

    fn open(&self) -> Vec<Step> {
        let shown = wire::upgrade(PATH, &format!("Authorization: Bearer {TOKEN}\r\n"));
        vec![Step { say: shown, heard: wire::switched }, Step { say: Vec::new(), heard: wire::text }]
    }

    fn publish(&self, topic: u32, payload: &[u8], out: &mut Vec<u8>) {
        out.extend(published(topic, "", payload));
    }

    /// Without an `id` only refusals are answered.
    fn answers(&self, bytes: &[u8]) -> Result<usize> {
        wire::texts(bytes, &mut |text| bail!("refused: {}", String::from_utf8_lossy(text)))
    }

    fn events(&self, bytes: &[u8], each: Each) -> Result<usize> {
        wire::texts(bytes, each)
    }
}

/// Publishes an event that leaves a record, which is shown to everybody who comes later. It is there when this is answered.
pub fn record(topic: u32, key: u32, payload: &[u8]) -> Step {
    let say = published(topic, &format!("\"key\":\"k{key}\",\"id\":{key},"), payload);
    Step { say, heard: accepted }
}

/// `more` are members that end with a comma.
fn published(topic: u32, more: &str, payload: &[u8]) -> Vec<u8> {
    let topic = name(topic);
    let begin = format!("{{\"type\":\"publish\",\"topic\":\"{STREAM}:{topic}\",\"kind\":\"tick\",{more}\"data\":");
    let mut text = begin.into_bytes();
    text.extend_from_slice(payload);
    text.push(b'}');
    wire::masked_text_frame(&text)
}

fn accepted(bytes: &[u8]) -> Result<Option<usize>> {
    let Some((_, said, end)) = wire::frame(bytes) else { return Ok(None) };
    let said = String::from_utf8_lossy(said);
    ensure!(said.contains("\"status\":\"accepted\""), "refused: {said}");
    Ok(Some(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_an_event_with_a_key_and_waits_for_its_answer() {
        let Step { say, heard } = record(3, 7, b"{\"x\":1}");
        // Behind two bytes of the head and four of the mask.
        let said: serde_json::Value = serde_json::from_slice(&say[6..]).unwrap();
        assert!(said["topic"] == "ticks:t3" && said["key"] == "k7" && said["data"]["x"] == 1, "{said}");
        let answer =
            wire::text_frame(b"{\"type\":\"response\",\"data\":{\"status\":\"accepted\",\"epoch\":\"k\"},\"id\":7}");
        assert_eq!(heard(&answer).unwrap(), Some(answer.len()));
        assert_eq!(heard(&answer[..9]).unwrap(), None);
        assert!(heard(&wire::text_frame(b"{\"type\":\"error\"}")).is_err());
    }
}
