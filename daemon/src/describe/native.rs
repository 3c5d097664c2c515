//! What is said in the native protocol, as types from which its schemas are made. The codec does not use them; tests read
//! all that it writes as these types, and have it read what these write.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dialect::Code;

/// JSON Schema 2020-12 of one of these types.
pub fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// What every message has.
pub const FIVE: [&str; 5] = ["type", "stream", "session_id", "data", "timestamp"];

/// The schema of `Envelope`: a session may be null, and is there all the same.
pub fn envelope() -> Value {
    let mut schema = schema::<Envelope>();
    schema["required"] = FIVE.as_slice().into();
    schema
}

/// The mark by which a client recognises the answer: a string or a number of at most 128 bytes, echoed as it was written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Id {
    Text(String),
    Number(serde_json::Number),
}

/// A place in a stream that a client remembers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The life of the numbering.
    pub epoch: String,
    /// The number in the stream.
    pub seq: u64,
}

/// A value of a parameter: text, or what is taken as text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    Text(String),
    Number(serde_json::Number),
    Flag(bool),
}

/// The value of a parameter, or several, which name several topics.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Param {
    One(Scalar),
    Several(Vec<Scalar>),
}

/// What a subscription names: a topic or pattern, or a stream with parameters for its template.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// A full topic, `bars:AAPL:1`, or a pattern, `bars:*:1`; not together with `params`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub topic: Option<String>,
    /// A stream by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub stream: Option<String>,
    /// Parameters of the stream's template; a missing one takes its default, and is a wildcard without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BTreeMap<String, Param>")]
    pub params: Option<BTreeMap<String, Param>>,
}

/// What a client says.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Says who the client is. What it says behind it waits for the answer.
    Auth {
        token: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Id")]
        id: Option<Id>,
    },
    /// Asks for events: answered by `subscribed`, then by a `full_update` or the missed events.
    Subscribe {
        #[serde(flatten)]
        target: Target,
        /// The position of the last message that the client has; what came after it follows if it is still there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Position>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Id")]
        id: Option<Id>,
    },
    /// Ends exactly the subscriptions that `subscribe` with the same words makes.
    Unsubscribe {
        #[serde(flatten)]
        target: Target,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Id")]
        id: Option<Id>,
    },
    /// Asks for the records of topics without subscribing to them.
    Snapshot {
        #[serde(flatten)]
        target: Target,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Id")]
        id: Option<Id>,
    },
    /// Asks for the names of the streams that the client may subscribe to.
    Streams {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Id")]
        id: Option<Id>,
    },
    /// Asks for a `pong`.
    Ping {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Id")]
        id: Option<Id>,
    },
    /// Publishes an event to a declared stream, for those whose token may.
    Publish {
        /// The event's full topic.
        topic: String,
        /// What happened: the `type` of the event.
        kind: String,
        /// The event's payload.
        data: BTreeMap<String, Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Id")]
        id: Option<Id>,
    },
    /// Asks a broadcaster to do something, for those whose token may.
    Command {
        /// The broadcaster's stream.
        stream: String,
        /// The command's name, as the broadcaster declares it.
        command: String,
        data: BTreeMap<String, Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Id")]
        id: Option<Id>,
    },
}

/// What every message from the daemon has, and what some have beside it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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
    #[serde(default)]
    #[schemars(with = "u64")]
    pub seq: Option<u64>,
    /// The previous number of the same topic; missing in a topic's first event.
    #[serde(default)]
    #[schemars(with = "u64")]
    pub prev: Option<u64>,
    /// The full topic.
    #[serde(default)]
    #[schemars(with = "String")]
    pub topic: Option<String>,
    /// The full topics, where a subscription names several.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub topics: Option<Vec<String>>,
    /// The life of the numbering.
    #[serde(default)]
    #[schemars(with = "String")]
    pub epoch: Option<String>,
    /// True when it replaces what the client knows.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub resync: Option<bool>,
    /// The `id` of the message that this answers.
    #[serde(default)]
    #[schemars(with = "Id")]
    pub id: Option<Id>,
}

/// What a reply is about.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Asked {
    /// The full topic.
    #[serde(default)]
    #[schemars(with = "String")]
    pub topic: Option<String>,
    /// The full topics, where the client named several.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub topics: Option<Vec<String>>,
    /// The parameters as the client wrote them.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub params: Option<Value>,
    /// The topic as the client wrote it, where that was another spelling.
    #[serde(default)]
    #[schemars(with = "String")]
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
    /// The published event is in the log, at this position.
    Accepted {
        #[serde(default)]
        #[schemars(with = "Position")]
        position: Option<Position>,
    },
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
    },
    /// The answer to `ping`.
    Pong {},
    /// The stream's broadcaster does not run, so no events come; the subscription stays.
    NoSource { reason: String },
    /// The stream's events come again.
    Source {},
    /// The client was too slow and did not get all events up to the number `to`.
    Lagged {
        policy: String,
        /// How many events were left out.
        #[serde(default)]
        #[schemars(with = "u64")]
        dropped: Option<u64>,
        /// How many events gave way to newer ones.
        #[serde(default)]
        #[schemars(with = "u64")]
        replaced: Option<u64>,
        from: u64,
        to: u64,
    },
}

/// Why a message was not obeyed. An error does not close the connection.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Error {
    pub code: Code,
    /// For people; it may change.
    pub message: String,
    /// When there is room for one more message, in milliseconds.
    #[serde(default)]
    #[schemars(with = "u64")]
    pub retry_ms: Option<u64>,
}
