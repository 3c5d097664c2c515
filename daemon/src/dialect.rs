//! What all dialects have in common: the commands a client can give and the replies it can get. A dialect is pure: text
//! in, commands out; events and replies in, text out.

pub mod fastws;
mod json;
pub mod members;
pub mod native;
mod refusal;
mod reply;
pub mod spc;
pub mod sse;
pub mod streams;
pub mod user;
mod voice;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

pub use self::refusal::{Code, Refusal, echo};
pub use self::reply::{About, Begins, Cause, Loss, Record, Reply, Shown};
pub use self::voice::Voice;
use crate::event::Position;
use crate::metrics::labels::{self, Kind};

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    Native,
    /// The native messages as server-sent events.
    Sse,
    /// One connection per page, with subscriptions by stream and `session_id`.
    Streams,
    /// Statistical process control: characteristics by number, and acknowledgements for everybody.
    Spc,
    /// Routes: `bars.subscribe`, `bars.update`.
    Fastws(fastws::Revision),
    /// The connection is the subscription to what is the user's own.
    User,
}

impl Dialect {
    pub fn name(self) -> &'static str {
        self.label().text()
    }

    /// As metrics know it.
    pub fn label(self) -> labels::Dialect {
        match self {
            Self::Native => labels::Dialect::Native,
            Self::Sse => labels::Dialect::Sse,
            Self::Streams => labels::Dialect::Streams,
            Self::Spc => labels::Dialect::Spc,
            Self::Fastws(_) => labels::Dialect::Fastws,
            Self::User => labels::Dialect::User,
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
            Self::Sse | Self::Streams | Self::Fastws(_) | Self::User | Self::Spc => &[],
        }
    }

    /// What a connection asks for by being opened. `served` are the names of the endpoint's streams.
    pub fn opening(self, served: &[String]) -> Vec<Command> {
        match self {
            Self::Native | Self::Sse | Self::Streams | Self::Fastws(_) => Vec::new(),
            Self::User => user::opening(served),
            Self::Spc => spc::opening(served),
        }
    }

    /// The requests in one text message, in order.
    pub fn parse(self, text: &str, served: &[String]) -> Vec<Result<Request, Refusal>> {
        match self {
            Self::Native => native::parse(text),
            Self::Sse => Vec::new(),
            Self::Streams => vec![streams::parse(text)],
            Self::Spc => vec![spc::parse(text, served)],
            Self::Fastws(revision) => fastws::parse(text, revision),
            Self::User => user::parse(),
        }
    }

    /// What the reply is in this dialect, stamped with the time in nanoseconds since 1970.
    pub fn reply(self, reply: &Reply<'_>, unix_ns: i64) -> Said {
        match self {
            Self::Native => Said::Texts(vec![native::reply(reply, unix_ns)]),
            Self::Sse => Said::Texts(vec![sse::reply(reply, unix_ns)]),
            Self::Streams => Said::Texts(vec![streams::reply(reply, unix_ns)]),
            Self::Spc => Said::Texts(spc::reply(reply)),
            Self::Fastws(revision) => fastws::reply(reply, revision),
            Self::User => user::reply(reply, unix_ns),
        }
    }

    /// Whether a subscription begins with what there is, unless config says otherwise.
    pub fn begins_with_snapshot(self) -> bool {
        match self {
            Self::Native | Self::Sse | Self::Streams | Self::User => true,
            Self::Fastws(_) | Self::Spc => false,
        }
    }

    /// The kinds of events that it has no word for, in streams that are shown so.
    pub fn untold(self, view: Option<&str>) -> &'static [&'static str] {
        match self {
            Self::Streams => streams::untold(view),
            Self::Native | Self::Sse | Self::Fastws(_) | Self::User | Self::Spc => &[],
        }
    }

    /// The client's own spelling of a topic, where events have to repeat it.
    pub fn spelled_topic(self, target: &Target) -> Option<Arc<str>> {
        match self {
            Self::Native | Self::Sse | Self::Streams | Self::User | Self::Spc => None,
            Self::Fastws(revision) => fastws::spelled_topic(target, revision).map(Arc::from),
        }
    }

    /// Whether a client may say who it is after it has come in.
    pub fn can_authenticate(self) -> bool {
        match self {
            Self::Native | Self::Streams | Self::Spc => true,
            Self::Sse | Self::Fastws(_) | Self::User => false,
        }
    }

    /// Whether a client understands that it lost something and sees a snapshot instead. Else it has to come back, and
    /// begins anew.
    pub fn can_resync(self) -> bool {
        match self {
            Self::Native | Self::Sse | Self::Streams => true,
            Self::Fastws(_) | Self::User | Self::Spc => false,
        }
    }

    /// Whether parameters that the stream's template does not have are left out, instead of being refused.
    pub fn overlooks_unknown_params(self) -> bool {
        matches!(self, Self::Streams | Self::Fastws(fastws::Revision::A))
    }

    /// Whether a client may leave what it is not subscribed to.
    pub fn may_leave_nothing(self) -> bool {
        matches!(self, Self::Fastws(_) | Self::Spc)
    }

    /// What a handshake without a valid token is answered, where the dialect's clients know a wording of their own.
    pub fn unauthorized(self) -> Option<&'static str> {
        (self == Self::User).then_some(user::UNAUTHORIZED)
    }
}

/// What a reply becomes: messages, perhaps none, or the end of the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Texts(Vec<Vec<u8>>),
    Close { code: u16, reason: &'static str },
}

/// Events are gathered for so many milliseconds: less is a message for each, and longer is no stream any more.
const BATCH_MS: RangeInclusive<u64> = 1..=10_000;

/// What a client is told whose wish for batches is none of these.
pub const BATCH_MS_RULE: &str = "\"batch_ms\" must be a whole number of milliseconds from 1 to 10000";

/// A client's wish for batches, if it is within bounds.
pub fn batch_interval(millis: u64) -> Option<Duration> {
    BATCH_MS.contains(&millis).then(|| Duration::from_millis(millis))
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
        /// For how long events are gathered, to come as one message.
        batch: Option<Duration>,
    },
    Unsubscribe(Target),
    Snapshot(Target),
    /// An event of the client's, as it wrote the message.
    Publish(Box<RawValue>),
    /// The client asks something of a broadcaster.
    Ask {
        stream: String,
        command: String,
        payload: Option<Box<RawValue>>,
    },
    Streams,
    Ping,
    /// A command that the client may not give: why not.
    Denied(Refusal),
}

impl Command {
    /// As metrics know it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Auth { .. } => Kind::Auth,
            Self::Subscribe { .. } => Kind::Subscribe,
            Self::Unsubscribe(_) => Kind::Unsubscribe,
            Self::Snapshot(_) => Kind::Snapshot,
            Self::Publish(_) => Kind::Publish,
            Self::Ask { .. } => Kind::Command,
            Self::Streams => Kind::Streams,
            Self::Ping => Kind::Ping,
            Self::Denied(_) => Kind::Denied,
        }
    }
}

/// What a subscription names. Streams are called as the client calls them.
#[derive(Debug)]
pub enum Target {
    /// A topic or a pattern.
    Topic(String),
    /// Topics or patterns, at least one and all of this stream.
    Topics { stream: String, topics: Vec<String> },
    /// A stream with parameters for its template.
    Params { stream: String, params: BTreeMap<String, Vec<String>>, spelled: Option<Box<RawValue>> },
    /// The topics of a stream with these as their only parts, each taken literally.
    Parts { stream: String, parts: Vec<String>, spelled: Option<Box<RawValue>> },
    /// What a stream says to every subscriber, and nothing else of it.
    Root(String),
    /// Whatever the client is subscribed to by this name of a stream; there is nothing to subscribe to in it.
    Held(String),
}

impl Target {
    /// The stream's name, as far as it can be told without knowing the streams.
    pub fn stream(&self) -> &str {
        match self {
            Self::Topic(topic) => topic.split_once(':').map_or(topic, |(stream, _)| stream),
            Self::Topics { stream, .. } | Self::Params { stream, .. } | Self::Parts { stream, .. } => stream,
            Self::Root(stream) | Self::Held(stream) => stream,
        }
    }

    /// What the client named, as it wrote it.
    pub fn spelled(&self) -> Option<&RawValue> {
        match self {
            Self::Params { spelled, .. } | Self::Parts { spelled, .. } => spelled.as_deref(),
            Self::Topic(_) | Self::Topics { .. } | Self::Root(_) | Self::Held(_) => None,
        }
    }

    /// The clients' own trading session that the subscription is about, when it names exactly one.
    pub fn session_id(&self) -> Option<&str> {
        match self {
            Self::Topic(_) | Self::Topics { .. } | Self::Parts { .. } | Self::Root(_) | Self::Held(_) => None,
            Self::Params { params, .. } => match params.get("session_id").map(Vec::as_slice) {
                Some([only]) => Some(only),
                _ => None,
            },
        }
    }
}
