//! What all dialects have in common: the commands a client can give and the replies it can get. A dialect is pure: text
//! in, commands out; events and replies in, text out.

pub mod native;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Event, Position};

/// A wire format. Each has a slot of its own for the encoding that an event carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    Native,
}

impl Dialect {
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
        }
    }

    /// Where an event keeps its encoding in this dialect.
    pub fn slot(self) -> usize {
        self as usize
    }

    /// The WebSocket subprotocols that a client may ask for by name.
    pub fn subprotocols(self) -> &'static [&'static str] {
        match self {
            Self::Native => &[native::SUBPROTOCOL],
        }
    }

    /// The requests in one text message, in order.
    pub fn parse(self, text: &str) -> Vec<Result<Request, Refusal>> {
        match self {
            Self::Native => native::parse(text),
        }
    }

    /// The event's text on the wire.
    pub fn event(self, event: &Event) -> Vec<u8> {
        match self {
            Self::Native => native::event(event),
        }
    }

    /// The reply's text on the wire, stamped with the time in nanoseconds since 1970.
    pub fn reply(self, reply: &Reply<'_>, unix_ns: i64) -> Vec<u8> {
        match self {
            Self::Native => native::reply(reply, unix_ns),
        }
    }
}

/// The mark by which a client recognises the answer to its request: JSON as the client wrote it.
pub type RequestId = Option<Box<RawValue>>;

#[derive(Debug)]
pub struct Request {
    pub id: RequestId,
    pub command: Command,
}

#[derive(Debug)]
pub enum Command {
    Subscribe {
        target: Target,
        since: Option<Position>,
    },
    Unsubscribe(Target),
    Snapshot(Target),
    Streams,
    Ping,
    /// A command that the client may not give: why not.
    Denied(Refusal),
}

impl Command {
    /// The name that metrics and log lines use.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Subscribe { .. } => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::Snapshot(_) => "snapshot",
            Self::Streams => "streams",
            Self::Ping => "ping",
            Self::Denied(_) => "denied",
        }
    }
}

/// What a subscription names: a topic or pattern, or a stream with parameters for its template.
#[derive(Debug)]
pub enum Target {
    Topic(String),
    Params { stream: String, params: BTreeMap<String, Vec<String>>, spelled: Option<Box<RawValue>> },
}

impl Target {
    /// The stream's name, as far as it can be told without knowing the streams.
    pub fn stream(&self) -> &str {
        match self {
            Self::Topic(topic) => topic.split_once(':').map_or(topic, |(stream, _)| stream),
            Self::Params { stream, .. } => stream,
        }
    }

    /// The clients' own trading session that the subscription is about, when it names exactly one.
    pub fn session_id(&self) -> Option<&str> {
        match self {
            Self::Topic(_) => None,
            Self::Params { params, .. } => match params.get("session_id").map(Vec::as_slice) {
                Some([only]) => Some(only),
                _ => None,
            },
        }
    }
}

/// Why a request was not carried out: a code for programs, a sentence for people.
#[derive(Debug)]
pub struct Refusal {
    pub code: Code,
    pub message: String,
    pub stream: Option<String>,
    /// After what time the same request may be carried out, where it is only a matter of time.
    pub retry: Option<Duration>,
    pub id: RequestId,
}

/// The error codes of the native protocol, which every dialect maps to its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ErrorCode")]
pub enum Code {
    InvalidJson,
    InvalidMessage,
    UnknownType,
    MissingStream,
    UnknownStream,
    InvalidParams,
    AuthenticationRequired,
    NotSubscribed,
    RateLimited,
    TooManySubscriptions,
    Internal,
}

impl Code {
    pub fn text(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidMessage => "invalid_message",
            Self::UnknownType => "unknown_type",
            Self::MissingStream => "missing_stream",
            Self::UnknownStream => "unknown_stream",
            Self::InvalidParams => "invalid_params",
            Self::AuthenticationRequired => "authentication_required",
            Self::NotSubscribed => "not_subscribed",
            Self::RateLimited => "rate_limited",
            Self::TooManySubscriptions => "too_many_subscriptions",
            Self::Internal => "internal",
        }
    }
}

/// What the daemon says to one client.
#[derive(Debug)]
pub enum Reply<'a> {
    /// The first message of a connection.
    Connected {
        client_id: &'a str,
        heartbeat: Duration,
        streams: &'a [Arc<str>],
    },
    Subscribed {
        about: About<'a>,
        position: &'a Position,
        begins: Begins,
    },
    /// The records of a subscription; `resync` when they replace what a lagging connection missed.
    FullUpdate {
        about: About<'a>,
        position: &'a Position,
        collections: &'a [(Arc<str>, Bytes)],
        cause: Cause,
    },
    Unsubscribed {
        about: About<'a>,
    },
    /// A `FullUpdate` follows.
    Snapshot {
        about: About<'a>,
        position: &'a Position,
    },
    Streams {
        streams: &'a [Arc<str>],
        id: &'a RequestId,
    },
    Pong {
        id: &'a RequestId,
    },
    Lagged {
        stream: &'a str,
        loss: &'a Loss,
    },
    NoSource {
        stream: &'a str,
        reason: &'a str,
    },
    /// The stream's events come again.
    SourceBack {
        stream: &'a str,
    },
    Refused(&'a Refusal),
}

/// What follows the reply to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// Exactly the events missed since the client's position.
    Recovered,
    Snapshot,
}

/// Why a client gets a `FullUpdate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Asked,
    Resync,
}

/// What a reply is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub stream: &'a str,
    /// Full canonical topics or patterns.
    pub topics: &'a [Arc<str>],
    pub target: Option<&'a Target>,
    pub session_id: Option<&'a str>,
    pub id: &'a RequestId,
}

/// What a connection did not get, from one number to another of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub policy: &'static str,
    /// How many events that waited for this connection were left out.
    pub events: u64,
    pub from: u64,
    pub to: u64,
}

impl Loss {
    /// Takes in another loss of the same log.
    pub fn widen(&mut self, other: &Loss) {
        self.events += other.events;
        (self.from, self.to) = (self.from.min(other.from), self.to.max(other.to));
    }
}
