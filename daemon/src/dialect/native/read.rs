//! Native text to requests. Whatever cannot be read is answered by an error with a code, never by closing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::dialect::{BATCH_MS_RULE, Code, Command, Refusal, Request, RequestId, Target, batch_interval, echo};
use crate::event::Position;

/// The longest `id` of a request in bytes: it is echoed, so it must stay small.
const MAX_ID_BYTES: usize = 128;
const TYPES: &str = "auth, subscribe, unsubscribe, command, publish, snapshot, streams, ping";

/// The most requests in one message: more than any client needs at once, and a bound on what waits to be answered.
const MAX_REQUESTS: usize = 1000;

/// The requests in one text message: one JSON object, or several with white space between.
pub fn parse(text: &str) -> Vec<Result<Request, Refusal>> {
    let mut requests = Vec::new();
    for object in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        match object {
            Ok(_) if requests.len() == MAX_REQUESTS => {
                let message = format!("a message holds at most {MAX_REQUESTS} requests; send the rest in further ones");
                requests.push(Err(Refusal::new(Code::InvalidMessage, message)));
                return requests;
            }
            Ok(object) => requests.push(parse_object(object)),
            Err(error) => {
                requests.push(Err(Refusal::new(Code::InvalidJson, format!("the message is not JSON: {error}"))));
                return requests;
            }
        }
    }
    if requests.is_empty() {
        requests.push(Err(Refusal::new(Code::InvalidJson, "the message is empty; send a JSON object".to_owned())));
    }
    requests
}

/// The fields that a message may have. Unknown ones are ignored, so that newer clients can talk to older daemons.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: Option<Value>,
    stream: Option<Value>,
    topic: Option<Value>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    since: Option<Value>,
    batch_ms: Option<Value>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    token: Option<Value>,
    command: Option<Value>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn parse_object(whole: &RawValue) -> Result<Request, Refusal> {
    let text = whole.get();
    if !text.starts_with('{') {
        return Err(Refusal::new(
            Code::InvalidMessage,
            "a message is a JSON object, like {\"type\":\"ping\"}".to_owned(),
        ));
    }
    let wire: Wire<'_> = serde_json::from_str(text)
        .map_err(|error| Refusal::new(Code::InvalidMessage, format!("the message cannot be read: {error}")))?;
    let id = read_id(wire.id)?;
    let stream = wire.stream.as_ref().and_then(Value::as_str).map(str::to_owned);
    match read_command(&wire, whole) {
        Ok(command) => Ok(Request { id, command }),
        Err((code, message)) => {
            let refusal = Refusal { id, ..Refusal::new(code, message) };
            Err(match stream {
                Some(stream) => refusal.about(&stream),
                None => refusal,
            })
        }
    }
}

type Mistake = (Code, String);

fn read_command(wire: &Wire<'_>, whole: &RawValue) -> Result<Command, Mistake> {
    let kind = match &wire.kind {
        Some(Value::String(kind)) => kind.as_str(),
        Some(_) => return Err((Code::InvalidMessage, "\"type\" must be a string".to_owned())),
        None => return Err((Code::InvalidMessage, format!("the message has no \"type\"; valid types: {TYPES}"))),
    };
    match kind {
        "subscribe" => Ok(Command::Subscribe {
            target: read_target(wire)?,
            since: read_since(wire.since.as_ref())?,
            batch: read_batch(wire.batch_ms.as_ref())?,
        }),
        "unsubscribe" => Ok(Command::Unsubscribe(read_target(wire)?)),
        "snapshot" => Ok(Command::Snapshot(read_target(wire)?)),
        "streams" => Ok(Command::Streams),
        "ping" => Ok(Command::Ping),
        "auth" => Ok(Command::Auth { token: read_token(wire)? }),
        "publish" => Ok(Command::Publish(whole.to_owned())),
        "command" => read_ask(wire),
        unknown => Err((Code::UnknownType, format!("unknown type \"{}\"; valid types: {TYPES}", echo(unknown)))),
    }
}

fn read_token(wire: &Wire<'_>) -> Result<String, Mistake> {
    match &wire.token {
        Some(Value::String(token)) if !token.is_empty() => Ok(token.clone()),
        _ => Err((Code::InvalidMessage, "\"token\" must be a string: the client's token".to_owned())),
    }
}

fn read_ask(wire: &Wire<'_>) -> Result<Command, Mistake> {
    match (&wire.stream, &wire.command) {
        (None | Some(Value::Null), _) => {
            Err((Code::MissingStream, "missing \"stream\": whose command it is".to_owned()))
        }
        (Some(Value::String(stream)), Some(Value::String(command))) => Ok(Command::Ask {
            stream: stream.clone(),
            command: command.clone(),
            payload: wire.data.map(ToOwned::to_owned),
        }),
        _ => Err((Code::InvalidMessage, "\"stream\" and \"command\" must be strings".to_owned())),
    }
}

fn read_target(wire: &Wire<'_>) -> Result<Target, Mistake> {
    let text = |name: &str, value: &Option<Value>| match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err((Code::InvalidMessage, format!("\"{name}\" must be a string"))),
    };
    let (stream, topic) = (text("stream", &wire.stream)?, text("topic", &wire.topic)?);
    match (stream, topic) {
        (_, Some(topic)) if wire.params.is_none() => Ok(Target::Topic(topic)),
        (_, Some(_)) => Err((Code::InvalidParams, "give either \"topic\" or \"params\", not both".to_owned())),
        (Some(stream), None) => {
            let params = wire.params.map_or_else(|| Ok(BTreeMap::new()), read_params)?;
            Ok(Target::Params { stream, params, spelled: wire.params.map(ToOwned::to_owned) })
        }
        (None, None) => Err((Code::MissingStream, "missing \"stream\" (or \"topic\")".to_owned())),
    }
}

/// `{"symbol":"AAPL","ids":[1,2]}`: each value a string, a number or a boolean, or an array of such.
fn read_params(raw: &RawValue) -> Result<BTreeMap<String, Vec<String>>, Mistake> {
    let wrong = |what: String| (Code::InvalidParams, what);
    let values: BTreeMap<String, Value> =
        serde_json::from_str(raw.get()).map_err(|_| wrong("\"params\" must be an object".to_owned()))?;
    let mut params = BTreeMap::new();
    for (name, value) in values {
        let scalars = match value {
            Value::Null => continue,
            Value::Array(values) => values,
            scalar => vec![scalar],
        };
        let texts: Option<Vec<String>> = scalars.into_iter().map(scalar_text).collect();
        let texts = texts.filter(|texts| !texts.is_empty()).ok_or_else(|| {
            wrong(format!("parameter \"{}\" must be a string, a number, or a list of these", echo(&name)))
        })?;
        params.insert(name, texts);
    }
    Ok(params)
}

fn scalar_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn read_since(since: Option<&Value>) -> Result<Option<Position>, Mistake> {
    let Some(since) = since.filter(|since| !since.is_null()) else { return Ok(None) };
    let epoch = since.get("epoch").and_then(Value::as_str);
    let seq = since.get("seq").and_then(Value::as_u64);
    match (epoch, seq) {
        (Some(epoch), Some(seq)) => Ok(Some(Position { epoch: epoch.into(), seq })),
        _ => Err((
            Code::InvalidMessage,
            "\"since\" must be {\"epoch\": \"…\", \"seq\": a whole number}, as a reply gave it".to_owned(),
        )),
    }
}

fn read_batch(batch_ms: Option<&Value>) -> Result<Option<Duration>, Mistake> {
    let Some(batch_ms) = batch_ms.filter(|batch_ms| !batch_ms.is_null()) else { return Ok(None) };
    let interval = batch_ms.as_u64().and_then(batch_interval);
    interval.map(Some).ok_or_else(|| (Code::InvalidMessage, BATCH_MS_RULE.to_owned()))
}

fn read_id(id: Option<&RawValue>) -> Result<RequestId, Refusal> {
    let Some(id) = id.filter(|id| id.get() != "null") else { return Ok(None) };
    let is_scalar = id.get().starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
    if !is_scalar || id.get().len() > MAX_ID_BYTES {
        let message = format!("\"id\" must be a string or a number of at most {MAX_ID_BYTES} bytes");
        return Err(Refusal::new(Code::InvalidMessage, message));
    }
    Ok(Some(id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Result<Request, Refusal> {
        let mut requests = parse(text);
        assert_eq!(requests.len(), 1, "{text}");
        requests.remove(0)
    }

    fn refused(text: &str) -> String {
        let refusal = only(text).unwrap_err();
        format!("{}: {}", refusal.code.text(), refusal.message)
    }

    #[test]
    fn a_subscription_names_a_topic_or_a_stream_with_parameters() {
        let text = r#"{"type":"subscribe","stream":"bars","params":{"symbol":"AAPL","n":[1,"2"]},"since":{"epoch":"k","seq":41},"id":"3"}"#;
        let request = only(text).unwrap();
        assert_eq!(request.id.unwrap().get(), "\"3\"");
        let Command::Subscribe { target: Target::Params { stream, params, .. }, since, batch: None } = request.command
        else {
            panic!()
        };
        assert_eq!(
            (stream.as_str(), params["symbol"].as_slice(), params["n"].as_slice()),
            ("bars", &["AAPL".to_owned()][..], &["1".to_owned(), "2".to_owned()][..])
        );
        assert_eq!(since, Some(Position { epoch: "k".into(), seq: 41 }));
        let request = only(r#"{"type":"unsubscribe","topic":"bars:AAPL:*"}"#).unwrap();
        assert!(matches!(request.command, Command::Unsubscribe(Target::Topic(topic)) if topic == "bars:AAPL:*"));
    }

    #[test]
    fn a_message_may_hold_several_objects() {
        let kinds: Vec<&str> = parse("{\"type\":\"ping\"}\n{\"type\":\"streams\"}\n")
            .iter()
            .map(|r| r.as_ref().unwrap().command.kind().text())
            .collect();
        assert_eq!(kinds, ["ping", "streams"]);
        let many = parse(&"{\"type\":\"ping\"}".repeat(MAX_REQUESTS + 2));
        assert!(many.len() == MAX_REQUESTS + 1 && many[MAX_REQUESTS - 1].is_ok() && many[MAX_REQUESTS].is_err());
        let requests = parse("{\"type\":\"ping\"}\n{\"type\":");
        assert!(
            requests[0].is_ok() && requests[1].as_ref().unwrap_err().code == Code::InvalidJson && requests.len() == 2
        );
    }

    #[test]
    fn mistakes_are_told_apart() {
        let rows = [
            ("", "invalid_json: the message is empty; send a JSON object"),
            ("hello", "invalid_json: the message is not JSON: expected value at line 1 column 1"),
            ("[1]", "invalid_message: a message is a JSON object, like {\"type\":\"ping\"}"),
            (
                "{}",
                "invalid_message: the message has no \"type\"; valid types: auth, subscribe, unsubscribe, command, publish, snapshot, streams, ping",
            ),
            (r#"{"type":7}"#, "invalid_message: \"type\" must be a string"),
            (r#"{"type":"subscribe"}"#, "missing_stream: missing \"stream\" (or \"topic\")"),
            (r#"{"type":"subscribe","stream":7}"#, "invalid_message: \"stream\" must be a string"),
            (r#"{"type":"subscribe","stream":"bars","params":[1]}"#, "invalid_params: \"params\" must be an object"),
            (
                r#"{"type":"subscribe","stream":"bars","params":{"symbol":{}}}"#,
                "invalid_params: parameter \"symbol\" must be a string, a number, or a list of these",
            ),
            (
                r#"{"type":"subscribe","topic":"bars","params":{}}"#,
                "invalid_params: give either \"topic\" or \"params\", not both",
            ),
            (
                r#"{"type":"subscribe","stream":"bars","since":41}"#,
                "invalid_message: \"since\" must be {\"epoch\": \"…\", \"seq\": a whole number}, as a reply gave it",
            ),
            (r#"{"type":"ping","id":{}}"#, "invalid_message: \"id\" must be a string or a number of at most 128 bytes"),
            (r#"{"type":"command","command":"ack"}"#, "missing_stream: missing \"stream\": whose command it is"),
            (
                r#"{"type":"command","stream":"alerts","command":7}"#,
                "invalid_message: \"stream\" and \"command\" must be strings",
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(refused(text), expected, "{text}");
        }
        assert!(refused(r#"{"type":"jump"}"#).starts_with("unknown_type: unknown type \"jump\"; valid types: auth"));
        assert!(only(&format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(126))).is_ok());
        assert!(only(&format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(127))).is_err());
    }

    #[test]
    fn events_are_gathered_for_a_while_that_has_bounds() {
        let wish = |batch_ms: &str| format!(r#"{{"type":"subscribe","topic":"bars","batch_ms":{batch_ms}}}"#);
        for (batch_ms, meant) in [("null", None), ("1", Some(1)), ("10000", Some(10_000))] {
            let Command::Subscribe { batch, .. } = only(&wish(batch_ms)).unwrap().command else { panic!() };
            assert_eq!(batch, meant.map(Duration::from_millis));
        }
        for batch_ms in ["0", "10001", "-1", "0.5", "50.0", "\"50\"", "true", "[50]", "18446744073709551616"] {
            let rule = "invalid_message: \"batch_ms\" must be a whole number of milliseconds from 1 to 10000";
            assert_eq!(refused(&wish(batch_ms)), rule, "{batch_ms}");
        }
    }

    #[test]
    fn a_refusal_keeps_stream_and_id() {
        let refusal = only(r#"{"type":"jump","stream":"bars","id":5}"#).unwrap_err();
        assert_eq!((refusal.stream.as_deref(), refusal.id.unwrap().get()), (Some("bars"), "5"));
    }
}
