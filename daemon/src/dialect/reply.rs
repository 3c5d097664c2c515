//! What the daemon says to one client, in the terms of no dialect.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Refusal, RequestId, Target};
use crate::event::Position;

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
        /// The commands that it may give.
        permissions: &'a [String],
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
    /// An event of the client's was taken; where it is, unless its stream is private.
    Accepted {
        stream: &'a str,
        position: Option<&'a Position>,
        id: &'a RequestId,
    },
    /// A broadcaster did what it was asked, and says this, which is JSON.
    Done {
        stream: &'a str,
        result: &'a [u8],
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// How many events that waited for this connection were left out. What was published after that and before the fresh
    /// snapshot never came to wait: it is between the numbers, and nobody has counted it.
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
