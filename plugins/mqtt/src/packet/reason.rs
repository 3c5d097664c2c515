//! Why a broker refuses, in words (2.4 and, for 3.1.1, the return codes of CONNACK).
use std::fmt;

use super::Version;

/// A broker's code together with what it wrote beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub version: Version,
    pub code: u8,
    /// In the broker's own words; often empty.
    pub words: String,
}

impl Reason {
    /// Whether it refuses what was asked.
    pub fn is_refusal(&self) -> bool {
        match self.version {
            Version::V311 => self.code != 0,
            Version::V5 => self.code >= 0x80,
        }
    }

    /// Whether it is about the message itself, which will be no better at the next attempt.
    pub fn is_for_good(&self) -> bool {
        const TOPIC_NAME_INVALID: u8 = 0x90;
        const PACKET_TOO_LARGE: u8 = 0x95;
        const PAYLOAD_FORMAT_INVALID: u8 = 0x99;
        self.version == Version::V5
            && matches!(self.code, TOPIC_NAME_INVALID | PACKET_TOO_LARGE | PAYLOAD_FORMAT_INVALID)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.version {
            Version::V311 => named_311(self.code),
            Version::V5 => named_5(self.code),
        };
        write!(f, "the broker says {name} ({:#04x})", self.code)?;
        if self.words.is_empty() { Ok(()) } else { write!(f, ": {}", self.words) }
    }
}

fn named_311(code: u8) -> &'static str {
    match code {
        1 => "unacceptable protocol version; try `version = \"5\"`",
        2 => "client identifier rejected",
        3 => "server unavailable",
        4 => "bad user name or password",
        5 => "not authorized",
        _ => "no",
    }
}

fn named_5(code: u8) -> &'static str {
    match code {
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x84 => "unsupported protocol version; try `version = \"3.1.1\"`",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8A => "banned",
        0x8B => "server shutting down",
        0x8D => "keep alive timeout",
        0x8E => "session taken over by another client of the same `client_id`",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x95 => "packet too large",
        0x97 => "quota exceeded",
        0x99 => "payload format invalid",
        0x9A => "retain not supported",
        0x9B => "QoS not supported",
        0x9C | 0x9D => "use another server",
        0x9F => "connection rate exceeded",
        _ => "no",
    }
}
