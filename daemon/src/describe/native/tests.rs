//! The codec and its description, held against each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::commands::{Id, Param, Position, Publish, Scalar, Target};
use super::*;
use crate::dialect::{
    self, About, Begins, Cause, Code, Loss, Record, Refusal, Reply, RequestId, Shown, Target as Named,
};
use crate::event;
use crate::hub::commands::Shape;
use crate::hub::names::Names;
use crate::ingest::read::Fields;

/// The message as the codec writes it, read as what it is described as; and all that it has is described.
fn read(reply: &Reply<'_>) -> Envelope {
    let text = dialect::native::reply(reply, 0);
    let value: Value = serde_json::from_slice(&text).unwrap();
    let message: Envelope = serde_json::from_value(value.clone()).unwrap();
    let (data, described) = match message.kind.as_str() {
        "response" => {
            (serde_json::from_value::<Response>(message.data.clone()).map(drop), schema_of_said::<Response>())
        }
        "status" => (serde_json::from_value::<Status>(message.data.clone()).map(drop), schema_of_said::<Status>()),
        "error" => (serde_json::from_value::<Error>(message.data.clone()).map(drop), schema_of_said::<Error>()),
        "full_update" => (Ok(()), json!({"properties": {"bars": {"type": "array"}}})),
        other => panic!("{other} is not described"),
    };
    data.unwrap_or_else(|error| panic!("{value}: {error}"));
    assert_eq!(judge(&schema_of_said::<Envelope>(), &value), Ok(()), "{value}");
    assert_eq!(judge(&described, &value["data"]), Ok(()), "{value}");
    let variants = described["oneOf"].as_array().cloned().unwrap_or_else(|| vec![described]);
    let status = &value["data"]["status"];
    let own = variants.iter().find(|one| status.is_null() || one["properties"]["status"]["const"] == *status).unwrap();
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
    let (streams, topics): ([Arc<str>; 1], [Arc<str>; 2]) = (["bars".into()], ["bars:A:1".into(), "bars:B:1".into()]);
    let position = event::Position { epoch: "e".into(), seq: 7 };
    let spelled = Some(to_raw_value(&json!({"symbol": "A"})).unwrap());
    let params = Named::Params { stream: "bars".to_owned(), params: BTreeMap::new(), spelled };
    let topic = Named::Topic("bars:%41:1".to_owned());
    let about = |target, topics| About { stream: "bars", topics, target: Some(target), session_id: Some("s"), id: &id };
    let (one, several) = (about(&topic, &topics[..1]), about(&params, &topics[..]));
    let lost = |policy| Loss { policy, events: 3, from: 1, to: 3 };
    let refusal =
        Refusal { id: id.clone(), retry: Some(Duration::from_millis(20)), ..Refusal::new(Code::RateLimited, "slower") };
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
fn the_codec_takes_every_command_that_is_described() {
    let target = Target { topic: Some("bars:A:1".to_owned()), ..Target::default() };
    let params = BTreeMap::from([
        ("symbol".to_owned(), Some(Param::Several(vec![Scalar::Text("A".to_owned()), Scalar::Flag(true)]))),
        ("resolution".to_owned(), Some(Param::One(Scalar::Number(5.into())))),
        ("venue".to_owned(), None),
    ]);
    let by_params = Target { stream: Some("bars".to_owned()), params: Some(params), ..Target::default() };
    let since = Some(Position { epoch: "e".to_owned(), seq: 7 });
    let event = Publish { stream: Some("ticks".to_owned()), kind: "tick".to_owned(), ..Publish::default() };
    let (stream, command) = ("alerts".to_owned(), "acknowledge".to_owned());
    for command in [
        Command::Auth { token: "t".to_owned(), id: None },
        Command::Subscribe { target: target.clone(), since, batch_ms: Some(50), id: Some(Id::Number(1.into())) },
        Command::Subscribe { target: by_params, since: None, batch_ms: None, id: Some(Id::Text("2".to_owned())) },
        Command::Unsubscribe { target: target.clone(), id: None },
        Command::Snapshot { target, id: None },
        Command::Streams { id: None },
        Command::Ping { id: None },
        Command::Publish(event),
        Command::Command { stream, command, data: Value::Null, id: None },
    ] {
        let value = serde_json::to_value(&command).unwrap();
        assert_eq!(judge(&schema::<Command>(), &value), Ok(()), "{value}");
        assert!(is_taken(&value), "{value}");
    }
}

/// Members with what may stand there, right and wrong.
fn members() -> Vec<(&'static str, Vec<Value>)> {
    let since = |epoch: Value, seq: Value| json!({"epoch": epoch, "seq": seq});
    let params = |value: Value| json!({"symbol": value});
    let texts = |right: &str| vec![json!(null), json!(right), json!(""), json!(7), json!("x".repeat(257))];
    let objects = || vec![json!(null), json!({}), json!({"a": 1}), json!([]), json!("x")];
    vec![
        ("id", vec![json!(null), json!("1"), json!(-1.5), json!(true), json!({}), json!([]), json!("x".repeat(127))]),
        ("stream", vec![json!(null), json!("ticks"), json!(""), json!(7)]),
        ("topic", vec![json!(null), json!("ticks:A"), json!("ticks"), json!(""), json!(7)]),
        (
            "params",
            vec![
                json!(null),
                json!({}),
                params(json!("A")),
                params(json!(null)),
                params(json!("")),
                params(json!({})),
                params(json!([])),
                params(json!(["A", 1, true])),
                params(json!([null])),
                params(json!([""])),
                json!([]),
            ],
        ),
        (
            "since",
            vec![
                json!(null),
                since(json!("e"), json!(1)),
                since(json!("e"), json!(-1)),
                since(json!("e"), json!(0.5)),
                since(json!(7), json!(1)),
                json!({"epoch": "e"}),
                json!({"epoch": "", "seq": 0, "more": 1}),
                json!("e:1"),
            ],
        ),
        ("batch_ms", [json!(null), json!(1), json!(10_000), json!(0), json!(10_001), json!(1.5), json!("50")].into()),
        ("token", vec![json!(null), json!("t"), json!(""), json!(7)]),
        ("command", vec![json!(null), json!("acknowledge"), json!(""), json!(7)]),
        ("data", [objects(), vec![json!(7)]].concat()),
        ("kind", texts("tick")),
        ("key", texts("k")),
        ("record", objects()),
        ("audience", texts("user-1")),
        ("session_id", texts("s")),
        ("timestamp", vec![json!(null), json!("2026-01-17T10:00:00.123Z"), json!("yesterday"), json!(""), json!(7)]),
        ("nobody_knows_it", vec![json!(1)]),
        ("type", vec![json!(null), json!("jump"), json!(7)]),
    ]
}

/// One message of each type and each way to give it, with every member and every two in every way: what the codec takes
/// fits the description, and what it refuses does not.
#[test]
fn the_description_takes_what_the_codec_takes_and_refuses_what_it_refuses() {
    let described = Shape::new(&schema::<Command>()).unwrap();
    let (members, mut taken, mut refused) = (members(), 0, 0);
    let mut look = |message: &Value| {
        let is_taken = is_taken(message);
        let fits = described.check(message.to_string().as_bytes());
        assert_eq!(fits.is_ok(), is_taken, "{message}: {fits:?}");
        *(if is_taken { &mut taken } else { &mut refused }) += 1;
    };
    for message in [
        json!({"type": "auth", "token": "t"}),
        json!({"type": "subscribe", "topic": "ticks:A"}),
        json!({"type": "subscribe", "stream": "ticks", "params": {"symbol": "A"}}),
        json!({"type": "unsubscribe", "stream": "ticks"}),
        json!({"type": "snapshot", "topic": "ticks"}),
        json!({"type": "streams"}),
        json!({"type": "ping"}),
        json!({"type": "publish", "topic": "ticks:A", "kind": "tick"}),
        json!({"type": "command", "stream": "alerts", "command": "acknowledge"}),
    ] {
        look(&message);
        for name in message.as_object().unwrap().keys() {
            let mut less = message.clone();
            less.as_object_mut().unwrap().remove(name);
            look(&less);
            members.iter().for_each(|(name, values)| with_each(&less, name, values, &mut look));
        }
        for (index, (name, values)) in members.iter().enumerate() {
            with_each(&message, name, values, &mut |one| {
                look(one);
                members[index + 1..].iter().for_each(|(name, values)| with_each(one, name, values, &mut look));
            });
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
}

fn with_each(message: &Value, name: &str, values: &[Value], look: &mut dyn FnMut(&Value)) {
    for value in values {
        let mut changed = message.clone();
        changed[name] = value.clone();
        look(&changed);
    }
}

/// Whether the message is understood as far as it can be without knowing the streams.
fn is_taken(message: &Value) -> bool {
    let read = dialect::native::parse(&message.to_string()).remove(0);
    match read.map(|request| request.command) {
        Ok(dialect::Command::Publish(message)) => is_event(&message).is_ok(),
        Ok(_) => true,
        Err(_) => false,
    }
}

fn is_event(message: &RawValue) -> Result<(), String> {
    let fields = Fields::read_message(message).map_err(|mistake| mistake.error)?;
    let named = fields.stream().map_err(|mistake| mistake.error)?;
    let stream = if named.is_empty() { fields.stream_of_topic().map_err(|mistake| mistake.error)? } else { named };
    let event = fields.event(&stream, &Names::default()).map_err(|mistake| mistake.error)?;
    if stream.is_empty() { Err(format!("no stream for {event:?}")) } else { Ok(()) }
}

fn judge(schema: &Value, value: &Value) -> Result<(), String> {
    let fits = Shape::new(schema).unwrap().check(value.to_string().as_bytes());
    fits.map_err(|misfit| format!("{}: {}", misfit.pointer, misfit.message))
}

#[test]
fn codes_are_described_as_they_are_written() {
    for code in schema::<Code>()["enum"].as_array().unwrap() {
        assert_eq!(serde_json::from_value::<Code>(code.clone()).unwrap().text(), code);
    }
}
