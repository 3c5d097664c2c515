//! The packets of MQTT 3.1.1 and 5 that a client needs which only publishes: text and numbers ⇄ bytes, no I/O.
//!
//! Section numbers are those of "MQTT Version 5.0" (OASIS, 2019); 3.1.1 has the same packets without properties.
use std::io;

mod reason;
mod reply;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::reason::Reason;
pub use self::reply::{Ack, Granted, Reply};

/// What a packet may say in one length (1.5.5).
pub const MAX_PACKET_BYTES: usize = 268_435_455;

/// Which MQTT is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Version {
    #[serde(rename = "3.1.1")]
    V311,
    #[default]
    #[serde(rename = "5")]
    V5,
}

/// The first packet (3.1). The session ends with the connection, because what waits is kept elsewhere.
pub struct Connect<'a> {
    pub version: Version,
    /// Empty: the broker chooses one.
    pub client_id: &'a str,
    pub keep_alive_seconds: u16,
    /// User and password.
    pub login: Option<(&'a str, &'a str)>,
}

/// A message on its way (3.3).
pub struct Publish<'a> {
    pub version: Version,
    pub qos: u8,
    pub retain: bool,
    pub topic: &'a str,
    pub payload: &'a [u8],
    /// What follows is of version 5 alone: seconds after which the broker drops it undelivered …
    pub expiry_seconds: Option<u32>,
    /// … what the payload is, and properties that the receiver reads.
    pub content_type: &'a str,
    pub user_properties: &'a [(&'a str, &'a str)],
}

pub const PINGREQ: [u8; 2] = [0xC0, 0];
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

impl Connect<'_> {
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        const CLEAN: u8 = 0x02;
        const LOGIN: u8 = 0xC0;
        let mut body = Vec::new();
        put_text(&mut body, "MQTT")?;
        body.push(if self.version == Version::V5 { 5 } else { 4 });
        body.push(CLEAN | if self.login.is_some() { LOGIN } else { 0 });
        body.extend(self.keep_alive_seconds.to_be_bytes());
        if self.version == Version::V5 {
            body.push(0); // no properties
        }
        put_text(&mut body, self.client_id)?;
        if let Some((user, password)) = self.login {
            put_text(&mut body, user)?;
            put_text(&mut body, password)?;
        }
        framed(0x10, &body)
    }
}

impl Publish<'_> {
    /// `number` is what the broker acknowledges; QoS 0 has none.
    pub fn encode(&self, number: u16) -> io::Result<Vec<u8>> {
        let mut body = Vec::with_capacity(self.payload.len() + self.topic.len() + 100);
        put_text(&mut body, self.topic)?;
        if self.qos > 0 {
            body.extend(number.to_be_bytes());
        }
        if self.version == Version::V5 {
            let properties = self.properties()?;
            put_length(&mut body, properties.len())?;
            body.extend(properties);
        }
        body.extend(self.payload);
        framed(0x30 | self.qos << 1 | u8::from(self.retain), &body)
    }

    fn properties(&self) -> io::Result<Vec<u8>> {
        let mut properties = vec![0x01, 1]; // the payload is UTF-8
        if let Some(seconds) = self.expiry_seconds {
            properties.push(0x02);
            properties.extend(seconds.to_be_bytes());
        }
        properties.push(0x03);
        put_text(&mut properties, self.content_type)?;
        for (name, value) in self.user_properties {
            properties.push(0x26);
            put_text(&mut properties, name)?;
            put_text(&mut properties, value)?;
        }
        Ok(properties)
    }
}

/// The second half of QoS 2: the broker may let the message go (3.6).
pub fn pubrel(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [0x62, 2, high, low]
}

fn framed(first: u8, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut packet = Vec::with_capacity(body.len() + 5);
    packet.push(first);
    put_length(&mut packet, body.len())?;
    packet.extend(body);
    Ok(packet)
}

/// Seven bits a byte, the lowest first (1.5.5).
fn put_length(out: &mut Vec<u8>, length: usize) -> io::Result<()> {
    if length > MAX_PACKET_BYTES {
        return Err(invalid("a packet of MQTT has 256 MiB at most"));
    }
    let mut rest = length;
    while rest > 127 {
        out.push(rest as u8 & 127 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    let length = u16::try_from(text.len()).map_err(|_| invalid("a text of MQTT has 65535 bytes at most"))?;
    if text.contains('\0') {
        return Err(invalid("a text of MQTT has no NUL"));
    }
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
