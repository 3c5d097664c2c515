//! What the daemon says to clients.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::commands::Id;
use crate::dialect::Code;

/// What every message has; `session_id` may be null, and is there all the same.
pub const FIVE: [&str; 5] = ["type", "stream", "session_id", "data", "timestamp"];

/// What every message from the daemon has, and what some have beside it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = FIVE))]
pub struct Envelope {
    /// What happened: the event's own kind, or one of the daemon's words.
    #[serde(rename = "type")]
    pub kind: String,
    /// The stream, or "system" in messages that are about none.
    pub stream: String,
    /// A session of the publisher's own.
    pub session_id: Option<String>,
    /// The event's payload, or what the daemon has to say.
    pub data: Value,
    /// UTC, RFC 3339 with three decimals; of an event: when it was published or, if the publisher said so, happened.
    pub timestamp: String,
    /// The number in the stream; each event of a stream has its own, rising.
    pub seq: Option<u64>,
    /// The previous number of the same topic; missing in a topic's first event.
    pub prev: Option<u64>,
    /// The full topic.
    pub topic: Option<String>,
    /// The full topics, where a subscription names several.
    pub topics: Option<Vec<String>>,
    /// The life of the numbering.
    pub epoch: Option<String>,
    /// True when it replaces what the client knows.
    pub resync: Option<bool>,
    /// The `id` of the message that this answers.
    pub id: Option<Id>,
}

/// What a reply is about.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Asked {
    /// The full topic.
    pub topic: Option<String>,
    /// The full topics, where the client named several.
    pub topics: Option<Vec<String>>,
    /// The parameters as the client wrote them.
    pub params: Option<BTreeMap<String, Value>>,
    /// The topic as the client wrote it, where that was another spelling.
    pub requested: Option<String>,
}

/// The answer to a command.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Response {
    /// The token was taken.
    Authenticated {
        /// Who the client is from now on.
        user: String,
        /// When its rights end.
        expires: Option<String>,
    },
    /// Events follow: behind a `full_update`, or with `recovered` behind exactly those that were missed.
    Subscribed {
        #[serde(flatten)]
        asked: Asked,
        epoch: String,
        recovered: bool,
    },
    /// No further event of it follows.
    Unsubscribed {
        #[serde(flatten)]
        asked: Asked,
    },
    /// A `full_update` follows.
    Snapshot {
        #[serde(flatten)]
        asked: Asked,
        epoch: String,
    },
    /// The streams that the client may subscribe to.
    Streams { streams: Vec<String> },
    /// The published event is in the log: with the message's `seq` the epoch is its position. In a private stream there is
    /// none to tell.
    Accepted { epoch: Option<String> },
    /// The command was carried out.
    Ok {
        /// What it gives back.
        result: Value,
    },
}

/// What the daemon says unasked, and `pong`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum Status {
    /// The first message of every connection.
    Connected {
        client_id: String,
        protocol: String,
        /// How often the daemon pings a quiet client, in seconds.
        heartbeat_s: u64,
        streams: Vec<String>,
        /// Who the client is, where that is known already.
        user: Option<String>,
    },
    /// The answer to `ping`.
    Pong {},
    /// The stream's broadcaster does not run, so no events come; the subscription stays.
    NoSource { reason: String },
    /// The stream's events come again.
    Source {},
    /// The user has logged out; the connection ends.
    LoggedOut {},
    /// The client was too slow and did not get all events up to the number `to`.
    Lagged {
        policy: String,
        /// How many events were left out.
        dropped: Option<u64>,
        /// How many events gave way to newer ones.
        replaced: Option<u64>,
        from: u64,
        to: u64,
    },
}

/// Several messages of a subscription that asked for it, in order.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    pub messages: Vec<Envelope>,
}

/// Why a message was not obeyed. The connection stays, unless the error is about who the client is: then it may be closed behind it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Error {
    pub code: Code,
    /// For people; it may change.
    pub message: String,
    /// After how many milliseconds the same may be carried out.
    pub retry_ms: Option<u64>,
}
