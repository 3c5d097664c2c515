//! Each row of what clients of the dialect may write and read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use crate::dialect::{
    About, Begins, Cause, Code, Command, Dialect, Loss, Record, Refusal, Reply, Request, Said, Shown, Target, Voice,
};
use crate::event::{Encoded, Event, Flags, LogId, Position};
use crate::memory::Memory;

fn only(text: &str) -> Result<Request, Refusal> {
    let mut requests = Dialect::Streams.parse(text, &[]);
    assert_eq!(requests.len(), 1, "{text}");
    requests.remove(0)
}

/// What a reply is, with the time at 1970, which must be proper JSON without a `stream` that is no subscription.
fn said(reply: &Reply<'_>) -> String {
    let Said::Texts(mut texts) = Dialect::Streams.reply(reply, 0) else { panic!("closed") };
    assert_eq!(texts.len(), 1);
    let text = String::from_utf8(texts.remove(0)).unwrap();
    let message: Value = serde_json::from_str(&text).unwrap();
    assert!(message["stream"].is_string(), "{text}");
    text.replace("1970-01-01T00:00:00.000Z", "T")
}

fn refused(text: &str) -> String {
    said(&Reply::Refused(&only(text).unwrap_err()))
}

fn error(code: &str, message: &str) -> String {
    format!(
        r#"{{"type":"error","stream":"","error_code":"{code}","error_message":{},"timestamp":"T","version":"1.0"}}"#,
        Value::from(message)
    )
}

/// An event of 1970.
pub(in crate::dialect) fn event(kind: &str, session_id: Option<&str>, payload: &'static [u8]) -> Event {
    Event {
        log: LogId(1),
        seq: 7,
        prev: 6,
        flags: Flags::default(),
        stream: "state_machines".into(),
        topic: "state_machines:e1".into(),
        kind: kind.into(),
        key: "".into(),
        audience: "".into(),
        session_id: session_id.map(Into::into),
        payload: Bytes::from_static(payload),
        unix_ns: 0,
        published: Instant::now(),
        encoded: Encoded::default(),
        charge: Arc::new(Memory::default()).charge(0),
    }
}

#[derive(Debug)]
struct Records(Vec<(Arc<str>, Bytes)>);

impl Shown for Records {
    fn collections(&self) -> Vec<(Arc<str>, Bytes)> {
        self.0.clone()
    }

    fn each(&self, _show: &mut dyn FnMut(Record<'_>)) {
        panic!("the dialect shows collections");
    }
}

#[test]
fn a_subscription_names_a_stream_and_what_it_is_about() {
    let text = r#"{"type":"subscribe","stream":"state_machines","params":{"session_id":"exec_1","n":[1,"2",true],"no":null,"none":"","odd":{"x":1},"mixed":["a",{}]},"timestamp":"now","id":"req_1"}"#;
    let request = only(text).unwrap();
    assert_eq!(request.id.unwrap().get(), "\"req_1\"");
    let Command::Subscribe { target, since: None, batch: None } = request.command else { panic!() };
    assert_eq!((target.stream(), target.session_id()), ("state_machines", Some("exec_1")));
    assert!(target.spelled().unwrap().get().starts_with(r#"{"session_id":"exec_1","n":[1,"#));
    let Target::Params { params, .. } = target else { panic!() };
    let list: Vec<(&str, Vec<&str>)> =
        params.iter().map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect())).collect();
    let expected = [("mixed", vec![]), ("n", vec!["1", "2", "true"]), ("odd", vec![]), ("session_id", vec!["exec_1"])];
    assert_eq!(list, expected);
    for text in [r#"{"type":"subscribe","stream":"s"}"#, r#"{"type":"subscribe","stream":"s","params":null,"id":null}"#]
    {
        let request = only(text).unwrap();
        assert!(request.id.is_none());
        assert!(
            matches!(request.command, Command::Subscribe { target: Target::Params { params, .. }, .. } if params.is_empty())
        );
    }
}

#[test]
fn the_other_commands_are_read() {
    let command = |text: &str| only(text).unwrap().command;
    let left = command(r#"{"type":"unsubscribe","stream":"state_machines","params":{"session_id":"x"}}"#);
    assert!(matches!(left, Command::Unsubscribe(Target::Held(stream)) if stream == "state_machines"));
    assert!(matches!(command(r#"{"type":"heartbeat","timestamp":1}"#), Command::Ping));
    assert!(matches!(command(r#"{"type":"auth","token":"t"}"#), Command::Auth { token } if token == "t"));
}

#[test]
fn every_mistake_has_its_code_and_text() {
    let rows = [
        ("", "invalid_json", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        ("{\"type\":", "invalid_json", "Invalid JSON: EOF while parsing a value at line 1 column 8"),
        ("[1]", "validation_error", "Message must be a JSON object"),
        ("{}", "validation_error", "Message must have 'type' field"),
        (r#"{"type":""}"#, "validation_error", "Message must have 'type' field"),
        (r#"{"type":7}"#, "validation_error", "Field 'type' must be a string"),
        (r#"{"type":"jump"}"#, "unknown_message_type", "Unknown message type: jump"),
        (r#"{"type":"subscribe"}"#, "validation_error", "Missing required field: stream"),
        (r#"{"type":"subscribe","stream":null}"#, "validation_error", "Missing required field: stream"),
        (r#"{"type":"unsubscribe"}"#, "validation_error", "Missing required field: stream"),
        (r#"{"type":"subscribe","stream":7}"#, "validation_error", "Field 'stream' must be a string"),
        (r#"{"type":"subscribe","stream":"s","params":[]}"#, "validation_error", "Field 'params' must be an object"),
        (r#"{"type":"heartbeat","id":7}"#, "validation_error", "Field 'id' must be a string"),
        (r#"{"type":"auth"}"#, "validation_error", "Missing required field: token"),
        (r#"{"type":"auth","token":" "}"#, "validation_error", "Authentication token cannot be empty"),
    ];
    for (text, code, message) in rows {
        assert_eq!(refused(text), error(code, message), "{text}");
    }
}

#[test]
fn names_and_marks_have_a_longest_length_in_characters() {
    let stream = |length: usize| format!(r#"{{"type":"unsubscribe","stream":"{}"}}"#, "ß".repeat(length));
    assert!(only(&stream(100)).is_ok());
    assert_eq!(refused(&stream(101)), error("validation_error", "Field 'stream' exceeds maximum length of 100"));
    let id = |length: usize| format!(r#"{{"type":"heartbeat","id":"{}"}}"#, "ß".repeat(length));
    assert!(only(&id(50)).is_ok());
    assert_eq!(refused(&id(51)), error("validation_error", "Field 'id' exceeds maximum length of 50"));
}

#[test]
fn every_refusal_of_the_house_has_a_code_of_the_dialect() {
    let rows = [
        (Code::InvalidJson, "invalid_json"),
        (Code::InvalidMessage, "validation_error"),
        (Code::UnknownType, "unknown_message_type"),
        (Code::MissingStream, "validation_error"),
        (Code::InvalidParams, "validation_error"),
        (Code::AuthenticationRequired, "authentication_required"),
        (Code::Forbidden, "subscription_failed"),
        (Code::NotSubscribed, "unsubscription_failed"),
        (Code::RateLimited, "rate_limit_exceeded"),
        (Code::TooManySubscriptions, "subscription_failed"),
        (Code::Internal, "service_unavailable"),
    ];
    for (code, expected) in rows {
        assert_eq!(said(&Reply::Refused(&Refusal::new(code, "why"))), error(expected, "why"));
    }
    let valid = vec!["session_update".into(), "state_machines".into()];
    let unknown = Refusal { valid, ..Refusal::new(Code::UnknownStream, "native words").about("paper_trading") };
    let expected = "Invalid stream type: paper_trading. Must be one of: ['session_update', 'state_machines']";
    assert_eq!(said(&Reply::Refused(&unknown)), error("validation_error", expected));
    let id = serde_json::value::RawValue::from_string("\"req_7\"".to_owned()).ok();
    let later = Refusal { retry: Some(Duration::from_millis(20)), id, ..Refusal::new(Code::RateLimited, "later") };
    assert_eq!(
        said(&Reply::Refused(&later)),
        r#"{"type":"error","stream":"","error_code":"rate_limit_exceeded","error_message":"later","retry_ms":20,"timestamp":"T","version":"1.0","id":"req_7"}"#
    );
}

#[test]
fn what_is_about_no_subscription_has_an_empty_stream() {
    let loss = |policy| Loss { policy, events: 3, from: 4, to: 9 };
    let (stream, id) = ("session_update", &None);
    let permissions = &["alerts.acknowledge".to_owned()];
    let rows = [
        (
            Reply::Connected { client_id: "c-1", heartbeat: Duration::from_secs(30), streams: &[], user: None },
            r#"{"type":"status","status":"connected","stream":"","client_id":"c-1","server_time":"T","features":["heartbeat","subscriptions"],"reconnected":false,"timestamp":"T","version":"1.0"}"#,
        ),
        (
            Reply::Authenticated { user: "u", permissions, expires_unix_ns: Some(1_000_000_000), id },
            r#"{"type":"response","status":"authenticated","stream":"","user_id":"u","permissions":["alerts.acknowledge"],"session_expires":"1970-01-01T00:00:01.000Z","timestamp":"T","version":"1.0"}"#,
        ),
        (
            Reply::Authenticated { user: "u", permissions: &[], expires_unix_ns: None, id },
            r#"{"type":"response","status":"authenticated","stream":"","user_id":"u","permissions":[],"session_expires":null,"timestamp":"T","version":"1.0"}"#,
        ),
        (Reply::Pong { id }, r#"{"type":"status","status":"pong","stream":"","timestamp":"T"}"#),
        (
            Reply::Lagged { stream, loss: &loss("resync") },
            r#"{"type":"status","status":"lagged","stream":"","session_id":null,"data":{"stream":"session_update","dropped":3,"from":4,"to":9,"policy":"resync"},"timestamp":"T"}"#,
        ),
        (
            Reply::Lagged { stream, loss: &loss("latest") },
            r#"{"type":"status","status":"lagged","stream":"","session_id":null,"data":{"stream":"session_update","replaced":3,"from":4,"to":9,"policy":"latest"},"timestamp":"T"}"#,
        ),
        (
            Reply::NoSource { stream, reason: "it stopped" },
            r#"{"type":"status","status":"no_source","stream":"","session_id":null,"data":{"stream":"session_update","reason":"it stopped"},"timestamp":"T"}"#,
        ),
        (
            Reply::SourceBack { stream },
            r#"{"type":"status","status":"source","stream":"","session_id":null,"data":{"stream":"session_update"},"timestamp":"T"}"#,
        ),
        (
            Reply::Streams { streams: &["a".into()], id },
            r#"{"type":"response","status":"streams","stream":"","streams":["a"],"timestamp":"T","version":"1.0"}"#,
        ),
        (Reply::LoggedOut, r#"{"type":"status","status":"logged_out","stream":"","timestamp":"T"}"#),
    ];
    for (reply, expected) in rows {
        assert_eq!(said(&reply), expected);
    }
}

#[test]
fn answers_to_subscriptions_repeat_what_was_asked() {
    let request =
        only(r#"{"type":"subscribe","stream":"session_update","params":{"session_id" : "e1"},"id":"r"}"#).unwrap();
    let Command::Subscribe { target, .. } = &request.command else { panic!() };
    let about = About {
        stream: "session_update",
        topics: &[],
        target: Some(target),
        session_id: target.session_id(),
        id: &request.id,
    };
    let position = &Position { epoch: "k".into(), seq: 7 };
    let answer = |status: &str| {
        format!(
            r#"{{"type":"response","status":"{status}","stream":"session_update","params":{{"session_id" : "e1"}},"session_id":"e1","timestamp":"T","version":"1.0","id":"r"}}"#
        )
    };
    assert_eq!(said(&Reply::Subscribed { about, position, begins: Begins::Snapshot }), answer("subscribed"));
    assert_eq!(said(&Reply::Snapshot { about, position }), answer("snapshot"));
    let held = Target::Held("session_update".to_owned());
    let about = About { target: Some(&held), session_id: held.session_id(), id: &None, ..about };
    assert_eq!(
        said(&Reply::Unsubscribed { about }),
        r#"{"type":"response","status":"unsubscribed","stream":"session_update","params":{},"session_id":null,"timestamp":"T","version":"1.0"}"#
    );
    let update = |records: Vec<(Arc<str>, Bytes)>| {
        said(&Reply::FullUpdate { about, position, shown: &Records(records), cause: Cause::Asked })
    };
    assert_eq!(
        update(vec![("instances".into(), Bytes::from_static(b"{\"a\":1},{}"))]),
        r#"{"type":"full_update","stream":"session_update","session_id":null,"data":{"instances":[{"a":1},{}]},"timestamp":"T"}"#
    );
    assert!(update(vec![("instances".into(), Bytes::new())]).contains(r#""data":{"instances":[]}"#));
    assert!(update(vec![]).contains(r#""data":{}"#));
}

#[test]
fn an_event_has_the_name_that_the_client_uses() {
    let event = event("state_change", Some("e1"), br#"{"state":"S1"}"#);
    let told = |alias: Option<&str>| {
        let voice = Voice { alias: alias.map(Into::into), ..Voice::of(Dialect::Streams) };
        String::from_utf8(voice.event(&event)).unwrap()
    };
    assert_eq!(
        told(None),
        r#"{"type":"state_change","stream":"state_machines","session_id":"e1","data":{"state":"S1"},"timestamp":"1970-01-01T00:00:00.000Z"}"#
    );
    assert!(told(Some("session_update")).contains(r#""stream":"session_update""#));
}

#[test]
fn what_these_clients_have_no_word_for_is_not_told() {
    let untold = |view| Dialect::Streams.untold(view);
    assert_eq!(untold(Some("state_machine")), ["illegal_transition", "instance_recovered", "instance_stale"]);
    assert_eq!([untold(None), untold(Some("candles"))], [&[] as &[&str]; 2], "of other streams they know nothing");
    assert_eq!(Dialect::Native.untold(Some("state_machine")), &[] as &[&str]);
}
