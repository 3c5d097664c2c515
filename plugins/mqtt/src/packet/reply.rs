//! What a broker sends to a client that only publishes. Whatever the bytes are, they are a reply or refused.
use std::io::{self, Read};

use super::{Reason, Version, invalid};

/// The longest packet that is read: acknowledgements with a few words. Nothing was subscribed to.
pub const MAX_REPLY_BYTES: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    ConnAck(Reason, Granted),
    Ack(Ack, u16, Reason),
    PingResp,
    Disconnect(Reason),
}

/// Which step of a delivery is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    Published,
    Received,
    Completed,
}

/// What the broker allows on this connection (3.2.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    pub max_qos: u8,
    pub retain: bool,
    pub max_packet: usize,
    /// Instead of the one that was asked for.
    pub keep_alive_seconds: Option<u16>,
}

impl Default for Granted {
    fn default() -> Self {
        Granted { max_qos: 2, retain: true, max_packet: super::MAX_PACKET_BYTES, keep_alive_seconds: None }
    }
}

impl Reply {
    /// Reads one whole packet.
    pub fn read(from: &mut impl Read, version: Version) -> io::Result<Reply> {
        let gone = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it closed the connection"),
            _ => error,
        };
        read(from, version).map_err(gone)
    }
}

fn read(from: &mut impl Read, version: Version) -> io::Result<Reply> {
    let first = byte(from)?;
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let next = byte(from)?;
        length |= usize::from(next & 127) << shift;
        if next & 128 == 0 {
            break;
        }
        if shift == 21 {
            return Err(invalid("the broker does not speak MQTT: a length does not end"));
        }
    }
    if length > MAX_REPLY_BYTES {
        return Err(invalid("the broker sends more than an acknowledgement"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    decode(first, &body, version).ok_or_else(|| invalid("the broker does not speak MQTT, or another version"))
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn decode(first: u8, body: &[u8], version: Version) -> Option<Reply> {
    let mut body = Body(body);
    match first {
        0x20 => {
            let _session_present = body.byte()?;
            let code = body.byte()?;
            let mut granted = Granted::default();
            let words = body.properties(version, |number, value| granted.take(number, value))?;
            Some(Reply::ConnAck(Reason { version, code, words }, granted))
        }
        0x40 => body.ack(Ack::Published, version),
        0x50 => body.ack(Ack::Received, version),
        0x70 => body.ack(Ack::Completed, version),
        0xD0 => Some(Reply::PingResp),
        0xE0 => {
            let code = body.byte().unwrap_or(0);
            let words = body.properties(version, |_, _| {})?;
            Some(Reply::Disconnect(Reason { version, code, words }))
        }
        _ => None,
    }
}

impl Granted {
    fn take(&mut self, property: u8, value: u32) {
        match property {
            0x24 => self.max_qos = value.min(2) as u8,
            0x25 => self.retain = value != 0,
            0x27 => self.max_packet = value as usize,
            0x13 => self.keep_alive_seconds = u16::try_from(value).ok(),
            _ => {}
        }
    }
}

/// What is left of a packet's body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    /// A step's number; in version 5 a code and properties may follow (3.4.2).
    fn ack(&mut self, ack: Ack, version: Version) -> Option<Reply> {
        let number = self.number(2)? as u16;
        let code = if version == Version::V5 { self.byte().unwrap_or(0) } else { 0 };
        let words = self.properties(version, |_, _| {})?;
        Some(Reply::Ack(ack, number, Reason { version, code, words }))
    }

    /// Tells each property that is a number, and returns the reason in words (2.2.2). None at all is none, too.
    fn properties(&mut self, version: Version, mut told: impl FnMut(u8, u32)) -> Option<String> {
        let mut words = String::new();
        if version == Version::V311 || self.0.is_empty() {
            return Some(words);
        }
        let length = self.length()?;
        let mut inside = Body(self.take(length)?);
        while let Some(property) = inside.byte() {
            match property {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => told(property, inside.number(1)?),
                0x13 | 0x21..=0x23 => told(property, inside.number(2)?),
                0x02 | 0x11 | 0x18 | 0x27 => told(property, inside.number(4)?),
                0x1F => words = inside.text()?,
                0x26 => drop((inside.text()?, inside.text()?)),
                0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C => drop(inside.text()?),
                0x0B => told(property, u32::try_from(inside.length()?).ok()?),
                _ => return None,
            }
        }
        Some(words)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn number(&mut self, bytes: usize) -> Option<u32> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let next = self.byte()?;
            length |= usize::from(next & 127) << shift;
            if next & 128 == 0 {
                return Some(length);
            }
        }
        None
    }

    /// Text, or bytes that nobody here reads; on one line, for the log.
    fn text(&mut self) -> Option<String> {
        let length = self.number(2)? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        Some(text.replace(char::is_control, " "))
    }
}
