//! Redis, over RESP.

use anyhow::{Result, ensure};

use super::{Dialect, Each, Step, name, next_line, nothing, number};

pub struct Redis;

/// Lines that stand before a payload: how many parts, then a length and a text for `message` and for the topic, then a length.
const LINES_BEFORE: usize = 6;

impl Dialect for Redis {
    fn subscribe(&self, topic: u32) -> Vec<Step> {
        vec![Step { say: format!("SUBSCRIBE {}\r\n", name(topic)).into_bytes(), heard: subscribed }]
    }

    fn open(&self) -> Vec<Step> {
        vec![Step { say: Vec::new(), heard: nothing }]
    }

    fn publish(&self, topic: u32, payload: &[u8], out: &mut Vec<u8>) {
        let topic = name(topic);
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{topic}\r\n${}\r\n", topic.len(), payload.len());
        out.extend(head.bytes());
        out.extend_from_slice(payload);
        out.extend(b"\r\n");
    }

    /// A number for each: how many it reached.
    fn answers(&self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        while let Some((said, end)) = next_line(&bytes[at..]) {
            ensure!(said.starts_with(b":"), "refused: {}", String::from_utf8_lossy(said));
            at += end;
        }
        Ok(at)
    }

    fn events(&self, bytes: &[u8], each: Each) -> Result<usize> {
        let mut at = 0;
        'messages: loop {
            let mut payload = at;
            let mut last: &[u8] = b"";
            for _ in 0..LINES_BEFORE {
                let Some((said, end)) = next_line(&bytes[payload..]) else { break 'messages };
                (last, payload) = (said, payload + end);
            }
            let end = payload + number(&last[1..])?;
            if bytes.len() < end + 2 {
                break;
            }
            at = end + 2;
            each(&bytes[payload..end])?;
        }
        Ok(at)
    }
}

/// `subscribe`, the topic, and how many are subscribed to now.
fn subscribed(bytes: &[u8]) -> Result<Option<usize>> {
    let mut at = 0;
    for index in 0..LINES_BEFORE {
        let Some((said, end)) = next_line(&bytes[at..]) else { return Ok(None) };
        let expected: &[u8] = [&b"*3"[..], b"$9", b"subscribe"].get(index).unwrap_or(&said);
        ensure!(said == expected, "{:?}", String::from_utf8_lossy(said));
        at += end;
    }
    Ok(Some(at))
}
