//! Servers of a few lines over WebSocket: Bun, uWebSockets, `ws`, axum.

use anyhow::{Result, ensure};

use super::{Dialect, Each, Step};
use crate::wire;

pub struct Frames;

impl Dialect for Frames {
    fn subscribe(&self, topic: u32) -> Vec<Step> {
        let wish = wire::masked_text_frame(format!("s:{topic}").as_bytes());
        vec![Step { say: wire::upgrade("/", ""), heard: wire::switched }, Step { say: wish, heard: wire::text }]
    }

    fn open(&self) -> Vec<Step> {
        vec![Step { say: wire::upgrade("/", ""), heard: wire::switched }]
    }

    fn publish(&self, topic: u32, payload: &[u8], out: &mut Vec<u8>) {
        let mut text = format!("p:{topic}:").into_bytes();
        text.extend_from_slice(payload);
        out.extend(wire::masked_text_frame(&text));
    }

    fn answers(&self, bytes: &[u8]) -> Result<usize> {
        ensure!(bytes.is_empty(), "the publisher is not answered here");
        Ok(0)
    }

    fn events(&self, bytes: &[u8], each: Each) -> Result<usize> {
        wire::texts(bytes, each)
    }
}
