//! The daemon, in its native protocol. It is published to as its peers are, over a WebSocket of one of its clients.

use anyhow::{Result, bail};

use super::{Dialect, Each, Step, name, nothing};
use crate::wire;

/// The stream that is published to.
pub const STREAM: &str = "ticks";
/// The token that the publisher shows, and its SHA-256, which the daemon's configuration has.
pub const TOKEN: &str = "the-token-of-the-publisher-in-the-fan-out";
pub const TOKEN_SHA256: &str = "3cfa8ccdb5f2857e3d9066ee971887440d910e31221ae75ae324949668fa39a2";
const PATH: &str = "/v1/ws";

pub struct Broadcastd;

/// Connections that are let in and ask for nothing.
pub struct Bare;

impl Dialect for Broadcastd {
    fn subscribe(&self, topic: u32) -> Vec<Step> {
        let wish = format!("{{\"type\":\"subscribe\",\"topic\":\"{STREAM}:{}\"}}", name(topic));
        let wish = wire::masked_text_frame(wish.as_bytes());
        let mut steps = Bare.subscribe(topic);
        // The answer, then the snapshot.
        steps.push(Step { say: wish, heard: wire::text });
        steps.push(Step { say: Vec::new(), heard: wire::text });
        steps
    }

    fn open(&self) -> Vec<Step> {
        let shown = wire::upgrade(PATH, &format!("Authorization: Bearer {TOKEN}\r\n"));
        vec![Step { say: shown, heard: wire::switched }, Step { say: Vec::new(), heard: wire::text }]
    }

    fn publish(&self, topic: u32, payload: &[u8], out: &mut Vec<u8>) {
        let begin =
            format!("{{\"type\":\"publish\",\"topic\":\"{STREAM}:{}\",\"kind\":\"tick\",\"data\":", name(topic));
        let mut text = begin.into_bytes();
        text.extend_from_slice(payload);
        text.push(b'}');
        out.extend(wire::masked_text_frame(&text));
    }

    /// Without an `id` only refusals are answered.
    fn answers(&self, bytes: &[u8]) -> Result<usize> {
        wire::texts(bytes, &mut |text| bail!("refused: {}", String::from_utf8_lossy(text)))
    }

    fn events(&self, bytes: &[u8], each: Each) -> Result<usize> {
        wire::texts(bytes, each)
    }
}

impl Dialect for Bare {
    fn subscribe(&self, _: u32) -> Vec<Step> {
        let greeted = Step { say: Vec::new(), heard: wire::text };
        vec![Step { say: wire::upgrade(PATH, ""), heard: wire::switched }, greeted]
    }

    fn open(&self) -> Vec<Step> {
        vec![Step { say: Vec::new(), heard: nothing }]
    }

    fn publish(&self, _: u32, _: &[u8], _: &mut Vec<u8>) {}

    fn answers(&self, bytes: &[u8]) -> Result<usize> {
        Broadcastd.answers(bytes)
    }

    fn events(&self, bytes: &[u8], each: Each) -> Result<usize> {
        wire::texts(bytes, each)
    }
}
