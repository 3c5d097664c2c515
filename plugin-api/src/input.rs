//! What a broadcaster is told: timers, demand, messages, gaps and commands.
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::failure::{Failure, FailureKind};

/// Which timer; a broadcaster numbers its own: `const CLOSE: TimerId = TimerId(1);`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(pub u64);

/// A topic or pattern of the own stream gained its first subscription or lost its last (the latter after a while, so
/// that a reconnect is no news).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand<'a> {
    /// The part after the stream, `AAPL:1`, `*:1`; empty is the whole stream.
    pub topic: &'a str,
    /// Subscriptions now; 0 = nobody.
    pub subscriptions: u64,
}

/// An event of a stream that the broadcaster listens to.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The stream, `ticks`.
    pub stream: &'a str,
    /// The full topic, `ticks:AAPL`.
    pub topic: &'a str,
    /// What happened, `tick`.
    pub kind: &'a str,
    /// Identity inside the topic; may be empty.
    pub key: &'a str,
    /// Private streams: the user it is for; else empty.
    pub audience: &'a str,
    /// The clients' own trading session; empty = none.
    pub session_id: &'a str,
    /// JSON object, as published; its shape has been checked only if the operator says `enforce`.
    pub payload: &'a [u8],
    /// Its number in the stream.
    pub seq: u64,
    /// The life of that numbering; another after a start of the daemon.
    pub epoch: &'a str,
    /// When it happened, nanoseconds since 1970 (UTC).
    pub unix_ns: i64,
}

impl<'a> Message<'a> {
    /// Reads the payload. The failure names kind, topic and number. Answering it from `on_message` restarts the
    /// broadcaster, which will be fed the same message again: count and log a wrong input instead.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, Failure> {
        serde_json::from_slice(self.payload).map_err(|error| {
            let Message { kind, topic, seq, .. } = self;
            Failure::of(FailureKind::Invalid, format!("payload of `{kind}` in {topic}, number {seq}: {error}"))
        })
    }
}

/// Inputs that are gone for good: both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// The stream that was listened to.
    pub stream: &'a str,
    /// The first number that is gone.
    pub from: u64,
    /// The last number that is gone.
    pub to: u64,
}

/// Which command an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

/// A client or operator, whose permission has been checked, asks for something.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// What a later answer names.
    pub request: RequestId,
    /// What is asked, `acknowledge`.
    pub name: &'a str,
    /// JSON.
    pub payload: &'a [u8],
    /// Who asks, as the daemon verified it.
    pub principal: &'a str,
    /// When the answer is no longer wanted, on the clock of [`crate::Context::now_mono`].
    pub deadline: Duration,
}

impl<'a> Command<'a> {
    /// Reads the payload; the failure may be answered as it is.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, Failure> {
        serde_json::from_slice(self.payload)
            .map_err(|error| Failure::of(FailureKind::Invalid, format!("payload of `{}`: {error}", self.name)))
    }
}

/// What `on_command` answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Done; this is the result.
    Now(Value),
    /// [`crate::Context::reply`] follows, before the command's deadline.
    Later,
}

/// What `reconfigure` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconfigured {
    /// The new settings are in force.
    Done,
    /// They need a new instance: the daemon makes one and hands the saved state over. Nothing was changed.
    Replace,
}

/// JSON pointer (RFC 6901) of where reading stopped.
pub(crate) fn pointer_of(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => pointer.push_str(variant),
            Segment::Unknown => {
                pointer.pop();
            }
        }
    }
    pointer
}
