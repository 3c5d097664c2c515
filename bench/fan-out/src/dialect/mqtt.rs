//! MQTT 3.1.1 over WebSocket, as Mosquitto speaks it: one packet in a binary frame, quality of service 0.

use anyhow::{Context, Result, ensure};

use super::{Dialect, Each, Step, name};
use crate::wire;

pub struct Mqtt;

/// Protocol level 4, a clean session, no keep-alive, no name.
const CONNECT: &[u8] = &[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0];
const CONNACK: &[u8] = &[0x20, 2, 0, 0];
/// To the first subscription of a connection, with quality of service 0.
const SUBACK: &[u8] = &[0x90, 3, 0, 1, 0];
const PUBLISH: u8 = 0x30;

impl Dialect for Mqtt {
    fn subscribe(&self, topic: u32) -> Vec<Step> {
        let topic = name(topic);
        let mut packet = vec![0x82, (topic.len() + 5) as u8, 0, 1, 0, topic.len() as u8];
        packet.extend(topic.bytes());
        packet.push(0);
        let mut steps = self.open();
        steps.push(Step { say: wire::masked_binary_frame(&packet), heard: |bytes| packet_is(bytes, SUBACK) });
        steps
    }

    fn open(&self) -> Vec<Step> {
        let upgrade = wire::upgrade("/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n");
        let connected = |bytes: &[u8]| packet_is(bytes, CONNACK);
        vec![
            Step { say: upgrade, heard: wire::switched },
            Step { say: wire::masked_binary_frame(CONNECT), heard: connected },
        ]
    }

    fn publish(&self, topic: u32, payload: &[u8], out: &mut Vec<u8>) {
        let topic = name(topic);
        let length = 2 + topic.len() + payload.len();
        // Seven bits a byte, the least significant first; a payload here needs two.
        let mut packet = vec![PUBLISH, (length % 128) as u8 | 0x80, (length / 128) as u8, 0, topic.len() as u8];
        packet.extend(topic.bytes());
        packet.extend_from_slice(payload);
        out.extend(wire::masked_binary_frame(&packet));
    }

    fn answers(&self, bytes: &[u8]) -> Result<usize> {
        ensure!(bytes.is_empty(), "the publisher is not answered here");
        Ok(0)
    }

    fn events(&self, bytes: &[u8], each: Each) -> Result<usize> {
        let mut at = 0;
        while let Some((_, packet, end)) = wire::frame(&bytes[at..]) {
            ensure!(packet.first() == Some(&PUBLISH), "a packet {packet:x?}");
            let length = packet.iter().skip(1).position(|byte| byte & 0x80 == 0).context("a length without an end")?;
            let topic = packet.get(length + 2..length + 4).context("a packet without a topic")?;
            let payload = length + 4 + usize::from(u16::from_be_bytes([topic[0], topic[1]]));
            each(packet.get(payload..).context("a packet without a payload")?)?;
            at += end;
        }
        Ok(at)
    }
}

fn packet_is(bytes: &[u8], expected: &[u8]) -> Result<Option<usize>> {
    let Some((_, packet, end)) = wire::frame(bytes) else { return Ok(None) };
    ensure!(packet == expected, "{expected:x?} is expected, not {packet:x?}");
    Ok(Some(end))
}
