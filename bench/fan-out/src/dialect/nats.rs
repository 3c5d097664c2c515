//! NATS, over its own TCP protocol: by WebSocket it costs a tenth more.

use anyhow::{Result, bail, ensure};

use super::{Dialect, Each, Step, line, name, next_line, number};

pub struct Nats;

const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"lang\":\"bench\",\"version\":\"0\",\"protocol\":1,\"echo\":true}\r\n";

impl Dialect for Nats {
    fn subscribe(&self, topic: u32) -> Vec<Step> {
        let mut steps = self.open();
        // The answer to a ping comes behind what was asked before it.
        let wish = format!("SUB {} 1\r\nPING\r\n", name(topic)).into_bytes();
        steps.push(Step { say: wish, heard: pong });
        steps
    }

    fn open(&self) -> Vec<Step> {
        let greeted = Step { say: Vec::new(), heard: |bytes| line(bytes, "INFO ") };
        let ping = format!("{CONNECT}PING\r\n").into_bytes();
        vec![greeted, Step { say: ping, heard: pong }]
    }

    fn publish(&self, topic: u32, payload: &[u8], out: &mut Vec<u8>) {
        out.extend(format!("PUB {} {}\r\n", name(topic), payload.len()).bytes());
        out.extend_from_slice(payload);
        out.extend(b"\r\n");
    }

    fn answers(&self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        while let Some((said, end)) = next_line(&bytes[at..]) {
            ensure!(!said.starts_with(b"-ERR"), "refused: {}", String::from_utf8_lossy(said));
            at += end;
        }
        Ok(at)
    }

    fn events(&self, bytes: &[u8], each: Each) -> Result<usize> {
        let mut at = 0;
        while let Some((head, end)) = next_line(&bytes[at..]) {
            if !head.starts_with(b"MSG ") {
                ensure!(!head.starts_with(b"-ERR"), "{}", String::from_utf8_lossy(head));
                at += end; // INFO when the server has news of itself
                continue;
            }
            let Some(length) = head.rsplit(|byte| *byte == b' ').next() else { bail!("a message without a length") };
            let payload = at + end..at + end + number(length)?;
            if bytes.len() < payload.end + 2 {
                break;
            }
            at = payload.end + 2;
            each(&bytes[payload])?;
        }
        Ok(at)
    }
}

/// The answer to a ping; news of the server may stand before it.
fn pong(bytes: &[u8]) -> Result<Option<usize>> {
    let mut at = 0;
    while let Some((said, end)) = next_line(&bytes[at..]) {
        at += end;
        if said == b"PONG" {
            return Ok(Some(at));
        }
        ensure!(said.starts_with(b"INFO "), "PONG is expected, not {:?}", String::from_utf8_lossy(said));
    }
    Ok(None)
}
