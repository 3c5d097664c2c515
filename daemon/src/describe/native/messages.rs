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
        /// Has events come together as a `batch`, at most once in so many milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u64")]
        batch_ms: Option<u64>,
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
        /// When its rights end.
        #[serde(default)]
        #[schemars(with = "String")]
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
    Accepted {
        #[serde(default)]
        #[schemars(with = "String")]
        epoch: Option<String>,
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
        /// Who the client is, where that is known already.
        #[serde(default)]
        #[schemars(with = "String")]
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

/// Several messages of a subscription that asked for it, in order.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    pub messages: Vec<Envelope>,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::dialect::{self, About, Begins, Cause, Loss, Record, Refusal, Reply, RequestId, Shown, Target as Named};
    use crate::event;

    /// The message as the codec writes it, read as what it is described as; and all that it has is described.
    fn read(reply: &Reply<'_>) -> Envelope {
        let text = dialect::native::reply(reply, 0);
        let value: Value = serde_json::from_slice(&text).unwrap();
        let message: Envelope = serde_json::from_value(value.clone()).unwrap();
        let (data, described) = match message.kind.as_str() {
            "response" => (serde_json::from_value::<Response>(message.data.clone()).map(drop), schema::<Response>()),
            "status" => (serde_json::from_value::<Status>(message.data.clone()).map(drop), schema::<Status>()),
            "error" => (serde_json::from_value::<Error>(message.data.clone()).map(drop), schema::<Error>()),
            "full_update" => (Ok(()), json!({"properties": value["data"]})),
            other => panic!("{other} is not described"),
        };
        data.unwrap_or_else(|error| panic!("{value}: {error}"));
        let variants = described["oneOf"].as_array().cloned().unwrap_or_else(|| vec![described]);
        let status = &value["data"]["status"];
        let own =
            variants.iter().find(|one| status.is_null() || one["properties"]["status"]["const"] == *status).unwrap();
        for (field, _) in value["data"].as_object().unwrap() {
            assert!(own["properties"].get(field).is_some(), "{field} of {value} is not described");
        }
        for required in own["required"].as_array().into_iter().flatten() {
            assert!(value["data"].get(required.as_str().unwrap()).is_some(), "{required} is not in {value}");
        }
        message
    }

    #[derive(Debug)]
    struct Bars;

    impl Shown for Bars {
        fn collections(&self) -> Vec<(Arc<str>, bytes::Bytes)> {
            vec![("bars".into(), "{}".into())]
        }

        fn each(&self, _: &mut dyn FnMut(Record<'_>)) {}
    }

    #[test]
    fn all_that_the_codec_writes_is_described() {
        let id: RequestId = Some(to_raw_value("1").unwrap());
        let (streams, topics): ([Arc<str>; 1], [Arc<str>; 2]) =
            (["bars".into()], ["bars:A:1".into(), "bars:B:1".into()]);
        let position = event::Position { epoch: "e".into(), seq: 7 };
        let spelled = Some(to_raw_value(&json!({"symbol": "A"})).unwrap());
        let params = Named::Params { stream: "bars".to_owned(), params: BTreeMap::new(), spelled };
        let topic = Named::Topic("bars:%41:1".to_owned());
        let about =
            |target, topics| About { stream: "bars", topics, target: Some(target), session_id: Some("s"), id: &id };
        let (one, several) = (about(&topic, &topics[..1]), about(&params, &topics[..]));
        let lost = |policy| Loss { policy, events: 3, from: 1, to: 3 };
        let refusal = Refusal {
            id: id.clone(),
            retry: Some(Duration::from_millis(20)),
            ..Refusal::new(Code::RateLimited, "slower")
        };
        let (asked, resync) = (Cause::Asked, Cause::Resync);
        for reply in [
            Reply::Authenticated { user: "u", permissions: &[], expires_unix_ns: Some(0), id: &id },
            Reply::Authenticated { user: "u", permissions: &[], expires_unix_ns: None, id: &id },
            Reply::LoggedOut,
            Reply::Accepted { stream: "ticks", position: Some(&position), id: &id },
            Reply::Accepted { stream: "mail", position: None, id: &id },
            Reply::Done { stream: "alerts", result: b"{\"done\":true}", id: &id },
            Reply::Connected { client_id: "c", heartbeat: Duration::from_secs(30), streams: &streams, user: Some("u") },
            Reply::Subscribed { about: one, position: &position, begins: Begins::Snapshot },
            Reply::Subscribed { about: several, position: &position, begins: Begins::Recovered },
            Reply::FullUpdate { about: one, position: &position, shown: &Bars, cause: asked },
            Reply::FullUpdate { about: several, position: &position, shown: &Bars, cause: resync },
            Reply::Unsubscribed { about: several },
            Reply::Snapshot { about: one, position: &position },
            Reply::Streams { streams: &streams, id: &id },
            Reply::Pong { id: &id },
            Reply::Lagged { stream: "bars", loss: &lost("latest") },
            Reply::Lagged { stream: "bars", loss: &lost("resync") },
            Reply::NoSource { stream: "bars", reason: "it stopped" },
            Reply::SourceBack { stream: "bars" },
            Reply::Refused(&refusal),
        ] {
            read(&reply);
            // A new reply stands in the list above, too.
            match reply {
                Reply::Connected { .. } | Reply::Subscribed { .. } | Reply::FullUpdate { .. } => {}
                Reply::Unsubscribed { .. } | Reply::Snapshot { .. } | Reply::Streams { .. } | Reply::Pong { .. } => {}
                Reply::Authenticated { .. } | Reply::LoggedOut | Reply::Accepted { .. } | Reply::Done { .. } => {}
                Reply::Lagged { .. } | Reply::NoSource { .. } | Reply::SourceBack { .. } | Reply::Refused(_) => {}
            }
        }
    }

    #[test]
    fn the_codec_reads_every_command_that_is_described() {
        let target = Target { topic: Some("bars:A:1".to_owned()), ..Target::default() };
        let params = BTreeMap::from([
            ("symbol".to_owned(), Param::Several(vec![Scalar::Text("A".to_owned()), Scalar::Flag(true)])),
            ("resolution".to_owned(), Param::One(Scalar::Number(5.into()))),
        ]);
        let by_params = Target { stream: Some("bars".to_owned()), params: Some(params), ..Target::default() };
        let since = Some(Position { epoch: "e".to_owned(), seq: 7 });
        let commands = [
            Command::Auth { token: "t".to_owned(), id: None },
            Command::Subscribe { target: target.clone(), since, batch_ms: Some(50), id: Some(Id::Number(1.into())) },
            Command::Subscribe { target: by_params, since: None, batch_ms: None, id: Some(Id::Text("2".to_owned())) },
            Command::Unsubscribe { target: target.clone(), id: None },
            Command::Snapshot { target, id: None },
            Command::Streams { id: None },
            Command::Ping { id: None },
        ];
        for command in commands {
            let value = serde_json::to_value(&command).unwrap();
            let read = dialect::native::parse(&value.to_string()).remove(0);
            let read = read.unwrap_or_else(|refusal| panic!("{value}: {}", refusal.message));
            assert_eq!(read.command.kind(), value["type"], "{value}");
        }
        let all = schema::<Command>();
        let words =
            all["oneOf"].as_array().unwrap().iter().map(|one| one["properties"]["type"]["const"].as_str().unwrap());
        for word in words {
            let refused = dialect::native::parse(&format!("{{\"type\":\"{word}\"}}")).remove(0).err();
            assert!(refused.is_none_or(|refusal| refusal.code != Code::UnknownType), "{word}");
        }
    }

    #[test]
    fn codes_are_described_as_they_are_written() {
        for code in schema::<Code>()["enum"].as_array().unwrap() {
            assert_eq!(serde_json::from_value::<Code>(code.clone()).unwrap().text(), code);
        }
    }
}
