//! What all dialects have in common: the commands a client can give and the replies it can get. A dialect is pure: text
//! in, commands out; events and replies in, text out.

pub mod native;
pub mod sse;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Event, Format, Position};

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    Native,
    /// The native messages as server-sent events.
    Sse,
}

impl Dialect {
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Sse => "sse",
        }
    }

    /// Whether what is said travels in WebSocket frames; else it is an HTTP answer that does not end.
    pub fn is_framed(self) -> bool {
        self != Self::Sse
    }

    /// The WebSocket subprotocols that a client may ask for by name.
    pub fn subprotocols(self) -> &'static [&'static str] {
        match self {
            Self::Native => &[native::SUBPROTOCOL],
            Self::Sse => &[],
        }
    }

    /// What a connection asks for by being opened. `served` are the names of the endpoint's streams.
    pub fn opening(self, _served: &[String]) -> Vec<Command> {
        match self {
            Self::Native | Self::Sse => Vec::new(),
        }
    }

    /// The requests in one text message, in order.
    pub fn parse(self, text: &str, _served: &[String]) -> Vec<Result<Request, Refusal>> {
        match self {
            Self::Native => native::parse(text),
            Self::Sse => Vec::new(),
        }
    }

    /// What the reply is in this dialect, stamped with the time in nanoseconds since 1970.
    pub fn reply(self, reply: &Reply<'_>, unix_ns: i64) -> Said {
        match self {
            Self::Native => Said::Texts(vec![native::reply(reply, unix_ns)]),
            Self::Sse => Said::Texts(vec![sse::reply(reply, unix_ns)]),
        }
    }

    /// Whether a subscription begins with what there is, unless config says otherwise.
    pub fn begins_with_snapshot(self) -> bool {
        match self {
            Self::Native | Self::Sse => true,
        }
    }

    /// The client's own spelling of a topic, where events have to repeat it.
    pub fn spelled_topic(self, _target: &Target) -> Option<Arc<str>> {
        match self {
            Self::Native | Self::Sse => None,
        }
    }

    /// Whether a client may say who it is after it has come in.
    pub fn can_authenticate(self) -> bool {
        match self {
            Self::Native => true,
            Self::Sse => false,
        }
    }

    /// Whether a client understands that it lost something and sees a snapshot instead. Else it has to come back, and
    /// begins anew.
    pub fn can_resync(self) -> bool {
        match self {
            Self::Native | Self::Sse => true,
        }
    }
}

/// What a reply becomes: messages, perhaps none, or the end of the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Texts(Vec<Vec<u8>>),
    Close { code: u16, reason: &'static str },
}

/// How the events of a subscription are put into words: what their text depends on beside themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Voice {
    pub dialect: Dialect,
    /// What the client calls the stream, where that is not its name.
    pub alias: Option<Arc<str>>,
    /// The client's own spelling of its topic, in dialects that repeat it with each event.
    pub topic: Option<Arc<str>>,
}

impl Voice {
    /// A dialect without any peculiarity of the client.
    pub fn of(dialect: Dialect) -> Self {
        Self { dialect, alias: None, topic: None }
    }

    /// Where an event keeps its text, if that is the same for all clients of the dialect.
    pub fn format(&self) -> Option<Format> {
        let is_common = self.alias.is_none() && self.topic.is_none();
        is_common.then_some(Format(match self.dialect {
            Dialect::Native => 0,
            Dialect::Sse => 1,
        }))
    }

    /// The event's text on the wire.
    pub fn event(&self, event: &Event) -> Vec<u8> {
        match self.dialect {
            Dialect::Native => native::event(event),
            Dialect::Sse => sse::event(event),
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
    /// The client says who it is.
    Auth {
        token: String,
    },
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
            Self::Auth { .. } => "auth",
            Self::Subscribe { .. } => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::Snapshot(_) => "snapshot",
            Self::Streams => "streams",
            Self::Ping => "ping",
            Self::Denied(_) => "denied",
        }
    }
}

/// What a subscription names. Streams are called as the client calls them.
#[derive(Debug)]
pub enum Target {
    /// A topic or a pattern.
    Topic(String),
    /// A stream with parameters for its template.
    Params { stream: String, params: BTreeMap<String, Vec<String>>, spelled: Option<Box<RawValue>> },
    /// The topics of a stream with these as their only parts, each taken literally.
    Parts { stream: String, parts: Vec<String>, spelled: Option<Box<RawValue>> },
    /// What a stream says to every subscriber, and nothing else of it.
    Root(String),
}

impl Target {
    /// The stream's name, as far as it can be told without knowing the streams.
    pub fn stream(&self) -> &str {
        match self {
            Self::Topic(topic) => topic.split_once(':').map_or(topic, |(stream, _)| stream),
            Self::Params { stream, .. } | Self::Parts { stream, .. } | Self::Root(stream) => stream,
        }
    }

    /// The clients' own trading session that the subscription is about, when it names exactly one.
    pub fn session_id(&self) -> Option<&str> {
        match self {
            Self::Topic(_) | Self::Parts { .. } | Self::Root(_) => None,
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
    /// What would have done, where that can be listed.
    pub valid: Vec<Arc<str>>,
    /// After what time the same request may be carried out, where it is only a matter of time.
    pub retry: Option<Duration>,
    pub id: RequestId,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), stream: None, valid: Vec::new(), retry: None, id: None }
    }

    /// The same, about a stream.
    pub fn about(self, stream: &str) -> Self {
        Self { stream: Some(stream.to_owned()), ..self }
    }
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
    Forbidden,
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
            Self::Forbidden => "forbidden",
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
        /// Who the client is, where that is known already.
        user: Option<&'a str>,
    },
    Authenticated {
        user: &'a str,
        /// When its rights end, in nanoseconds since 1970.
        expires_unix_ns: Option<i64>,
        id: &'a RequestId,
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
        shown: &'a dyn Shown,
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
    /// The user has logged out; the connection ends.
    LoggedOut,
}

/// The records of a subscription, in the two ways that dialects show them.
pub trait Shown: std::fmt::Debug {
    /// Each collection with its records as JSON, commas between.
    fn collections(&self) -> Vec<(Arc<str>, Bytes)>;
    /// Each record by itself.
    fn each(&self, show: &mut dyn FnMut(Record<'_>));
}

/// One record of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub kind: &'a str,
    pub unix_ns: i64,
    pub json: &'a [u8],
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
    /// As the client calls it.
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
