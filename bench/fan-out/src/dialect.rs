//! How each server is spoken to: what is said to it, what it answers, and how an event looks, without any socket.

pub mod broadcastd;
mod frames;
pub mod limit;
mod mqtt;
mod nats;
mod nchan;
mod redis;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;

/// Which clients a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The native protocol: JSON over WebSocket.
    Broadcastd,
    /// Texts over WebSocket: `s:TOPIC`, `p:TOPIC:PAYLOAD`, and payloads come as they are.
    Frames,
    /// NATS's own protocol over TCP.
    Nats,
    /// RESP over TCP.
    Redis,
    /// Subscribers by WebSocket, the publisher by HTTP.
    Nchan,
    /// MQTT 3.1.1 over WebSocket.
    Mqtt,
    /// The minimal loop: a topic's number over TCP, and ready-made frames.
    Limit,
}

impl Kind {
    pub fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Broadcastd => &broadcastd::Broadcastd,
            Self::Frames => &frames::Frames,
            Self::Nats => &nats::Nats,
            Self::Redis => &redis::Redis,
            Self::Nchan => &nchan::Nchan,
            Self::Mqtt => &mqtt::Mqtt,
            Self::Limit => &limit::Limit,
        }
    }
}

/// One exchange at the begin of a connection: something is said, then the answer is waited for.
pub struct Step {
    pub say: Vec<u8>,
    pub heard: Heard,
}

/// How many bytes the answer has, when all of it is there; an error when it is not the right one.
pub type Heard = fn(&[u8]) -> Result<Option<usize>>;

/// What is done with one message.
pub type Each<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

pub trait Dialect: Sync {
    /// How a connection becomes a subscriber of a topic: behind these steps it gets every event.
    fn subscribe(&self, topic: u32) -> Vec<Step>;
    /// How a connection becomes one that publishes.
    fn open(&self) -> Vec<Step>;
    /// Adds what publishes a payload.
    fn publish(&self, topic: u32, payload: &[u8], out: &mut Vec<u8>);
    /// Looks at the answers to publishes that are whole, and returns how many bytes these are. A refusal is an error.
    fn answers(&self, bytes: &[u8]) -> Result<usize>;
    /// Hands over each whole message to a subscriber that has the payload of an event in it, and returns how many bytes they are.
    fn events(&self, bytes: &[u8], each: Each) -> Result<usize>;
}

/// The name of a topic, where it must be a text.
fn name(topic: u32) -> String {
    format!("t{topic}")
}

/// Nothing is answered.
fn nothing(_: &[u8]) -> Result<Option<usize>> {
    Ok(Some(0))
}

/// One line that begins so, and its end.
fn line(bytes: &[u8], begin: &str) -> Result<Option<usize>> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let said = String::from_utf8_lossy(&bytes[..end]);
    ensure!(said.starts_with(begin), "{begin:?} is expected, not {said:?}");
    Ok(Some(end + 1))
}

/// The line without its end, and where the next one begins.
fn next_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]), end + 1))
}

fn number(digits: &[u8]) -> Result<usize> {
    match std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()) {
        Some(number) => Ok(number),
        None => bail!("{:?} is no number", String::from_utf8_lossy(digits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &[u8] = b"{\"c\":1}";

    /// An event as each server delivers it.
    fn delivered() -> Vec<(Kind, Vec<u8>)> {
        let text = String::from_utf8_lossy(PAYLOAD);
        let framed = crate::wire::text_frame(PAYLOAD);
        let mut published = Vec::new();
        Limit.dialect().publish(3, PAYLOAD, &mut published);
        let mqtt = [&[0x82, 13, 0x30, 11, 0, 2][..], b"t3", PAYLOAD].concat();
        vec![
            (Broadcastd, crate::wire::text_frame(format!("{{\"type\":\"tick\",\"data\":{text}}}").as_bytes())),
            (Frames, framed.clone()),
            (Nchan, framed),
            (Nats, format!("MSG t3 1 7\r\n{text}\r\n").into_bytes()),
            (Redis, format!("*3\r\n$7\r\nmessage\r\n$2\r\nt3\r\n$7\r\n{text}\r\n").into_bytes()),
            (Mqtt, mqtt),
            (Limit, published[limit::HEAD..].to_vec()),
        ]
    }

    use Kind::{Broadcastd, Frames, Limit, Mqtt, Nats, Nchan, Redis};

    #[test]
    fn events_are_found_whole_wherever_a_read_ends() {
        for (kind, event) in delivered() {
            let twice = [&event[..], &event[..]].concat();
            for end in 0..=twice.len() {
                let mut found = 0;
                let taken = kind.dialect().events(&twice[..end], &mut |message| {
                    assert!(message.windows(PAYLOAD.len()).any(|window| window == PAYLOAD), "{kind:?}");
                    found += 1;
                    Ok(())
                });
                assert_eq!(
                    (taken.unwrap(), found),
                    (end / event.len() * event.len(), end / event.len()),
                    "{kind:?} cut at {end}"
                );
            }
        }
    }

    #[test]
    fn a_refusal_is_no_silence() {
        let said = |text: &str| crate::wire::text_frame(text.as_bytes());
        let refusals = [
            (Broadcastd, said("{\"type\":\"error\"}")),
            (Frames, said("no")),
            (Nats, b"-ERR 'Permissions Violation'\r\n".to_vec()),
            (Redis, b"-ERR unknown command\r\n".to_vec()),
            (Nchan, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
            (Mqtt, said("no")),
            (Limit, said("no")),
        ];
        for (kind, bytes) in refusals {
            assert!(kind.dialect().answers(&bytes).is_err(), "{kind:?}");
        }
        for (kind, bytes) in [
            (Nats, "+OK\r\nPO"),
            (Redis, ":12\r\n:1"),
            (Nchan, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nokHT"),
        ] {
            assert_eq!(kind.dialect().answers(bytes.as_bytes()).unwrap(), bytes.len() - 2, "{kind:?}");
        }
    }

    #[test]
    fn who_is_not_let_in_is_told() {
        for (kind, bytes) in [
            (Broadcastd, "HTTP/1.1 403 Forbidden\r\n\r\n"),
            (Frames, "HTTP/1.1 426 Upgrade\r\n\r\n"),
            (Nats, "-ERR 'maximum connections exceeded'\r\n"),
            (Redis, "-DENIED no\r\n"),
            (Nchan, "HTTP/1.1 503 No\r\n\r\n"),
            (Mqtt, "HTTP/1.1 404 No\r\n\r\n"),
        ] {
            let step = &kind.dialect().subscribe(3)[0];
            assert!((step.heard)(bytes.as_bytes()).is_err(), "{kind:?}");
            assert!((step.heard)(b"").unwrap().is_none(), "{kind:?}");
        }
    }
}
