//! Nchan, a module of nginx: subscribers by WebSocket, the publisher by HTTP requests one behind the other.

use anyhow::Result;

use super::{Dialect, Each, Step, name, nothing};
use crate::wire;

pub struct Nchan;

impl Dialect for Nchan {
    fn subscribe(&self, topic: u32) -> Vec<Step> {
        vec![Step { say: wire::upgrade(&format!("/sub?id={}", name(topic)), ""), heard: wire::switched }]
    }

    fn open(&self) -> Vec<Step> {
        vec![Step { say: Vec::new(), heard: nothing }]
    }

    fn publish(&self, topic: u32, payload: &[u8], out: &mut Vec<u8>) {
        let (path, length) = (format!("/pub?id={}", name(topic)), payload.len());
        out.extend(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n").bytes());
        out.extend_from_slice(payload);
    }

    fn answers(&self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        while let Some(length) = wire::success(&bytes[at..])? {
            at += length;
        }
        Ok(at)
    }

    fn events(&self, bytes: &[u8], each: Each) -> Result<usize> {
        wire::texts(bytes, each)
    }
}
