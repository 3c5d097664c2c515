//! What a client may say. What may be left out may be null, too, and members that are not named here are passed over,
//! except in what is published.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The mark by which a client recognises the answer: a string or a number of at most 128 bytes, echoed as it was written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Id {
    Text(#[schemars(length(max = 126))] String),
    Number(serde_json::Number),
}

/// A place in a stream that a client remembers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Position {
    /// The life of the numbering.
    pub epoch: String,
    /// The number in the stream.
    pub seq: u64,
}

/// A value of a parameter: text, or what is taken as text.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    Text(#[schemars(length(min = 1))] String),
    Number(serde_json::Number),
    Flag(bool),
}

/// The value of a parameter, or several, which name several topics.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Param {
    One(Scalar),
    Several(#[schemars(length(min = 1))] Vec<Scalar>),
}

/// What a subscription names: a topic or pattern, or a stream with or without parameters for its template.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(extend("anyOf" = [
    {"required": ["topic"], "properties": {"topic": {"type": "string"}, "params": {"type": "null"}}},
    {"required": ["stream"], "properties": {"stream": {"type": "string"}, "topic": {"type": "null"}}},
]))]
pub struct Target {
    /// A full topic, `bars:AAPL:1`, or a pattern, `bars:*:1`; not together with `params`.
    pub topic: Option<String>,
    /// A stream by its name.
    pub stream: Option<String>,
    /// Parameters of the stream's template; a missing one takes its default, and is a wildcard without one.
    pub params: Option<BTreeMap<String, Option<Param>>>,
}

/// An event of the client's.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = [
    {"anyOf": [
        {"required": ["topic"], "properties": {"topic": {"type": "string"}}},
        {"required": ["stream"], "properties": {"stream": {"type": "string"}}},
    ]},
    {"anyOf": [
        {"properties": {"record": {"type": "null"}}},
        {"required": ["key"], "properties": {"key": {"type": "string"}}},
    ]},
]))]
pub struct Publish {
    /// The event's full topic. Without one it is the stream's root topic.
    #[schemars(length(min = 1, max = 256))]
    pub topic: Option<String>,
    /// The stream, where there is no topic; both together have to agree.
    #[schemars(length(min = 1, max = 256))]
    pub stream: Option<String>,
    /// What happened: the `type` of the event.
    #[schemars(length(min = 1, max = 256))]
    pub kind: String,
    /// The event's payload; none is {}.
    pub data: Option<BTreeMap<String, Value>>,
    /// Identity inside the topic: the newest event of a key leaves a record.
    #[schemars(length(min = 1, max = 256))]
    pub key: Option<String>,
    /// What a snapshot shows for the key in place of `data`.
    pub record: Option<BTreeMap<String, Value>>,
    /// Private streams: the user it is for.
    #[schemars(length(max = 256))]
    pub audience: Option<String>,
    /// A session of the publisher's own.
    #[schemars(length(min = 1, max = 256))]
    pub session_id: Option<String>,
    /// When it happened, RFC 3339; missing is now.
    #[schemars(extend("format" = "date-time"))]
    pub timestamp: Option<String>,
    pub id: Option<Id>,
}

/// What a client says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Says who the client is. What it says behind it waits for the answer.
    Auth {
        #[schemars(length(min = 1))]
        token: String,
        id: Option<Id>,
    },
    /// Asks for events: answered by `subscribed`, then by a `full_update` or the missed events.
    Subscribe {
        #[serde(flatten)]
        target: Target,
        /// The position of the last message that the client has; what came after it follows if it is still there.
        since: Option<Position>,
        /// Has events come together as a `batch`, at most once in so many milliseconds.
        #[schemars(range(min = 1, max = 10_000))]
        batch_ms: Option<u64>,
        id: Option<Id>,
    },
    /// Ends exactly the subscriptions that `subscribe` with the same words makes.
    Unsubscribe {
        #[serde(flatten)]
        target: Target,
        id: Option<Id>,
    },
    /// Asks for the records of topics without subscribing to them.
    Snapshot {
        #[serde(flatten)]
        target: Target,
        id: Option<Id>,
    },
    /// Asks for the names of the streams that the client may subscribe to.
    Streams { id: Option<Id> },
    /// Asks for a `pong`.
    Ping { id: Option<Id> },
    /// Publishes an event to a declared stream, for those whose token may.
    Publish(Publish),
    /// Asks a broadcaster to do something, for those whose token may.
    Command {
        /// The broadcaster's stream.
        stream: String,
        /// The command's name, as the broadcaster declares it.
        command: String,
        /// The payload, whatever the broadcaster declares; missing is null.
        #[serde(default)]
        data: Value,
        id: Option<Id>,
    },
}
