//! Each row of what clients of the dialect may write and read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::dialect::streams::tests::event;
use crate::dialect::{
    About, Begins, Cause, Code, Command, Dialect, Loss, Record, Refusal, Reply, Request, Said, Shown, Target, Voice,
};
use crate::event::Position;

fn only(text: &str) -> Result<Request, Refusal> {
    let mut requests = Dialect::Spc.parse(text, &["alerts".to_owned()]);
    assert_eq!(requests.len(), 1, "{text}");
    requests.remove(0)
}

/// What a reply is, each message of it proper JSON.
fn said(reply: &Reply<'_>) -> Vec<String> {
    let Said::Texts(texts) = Dialect::Spc.reply(reply, 0) else { panic!("closed") };
    let texts: Vec<String> = texts.into_iter().map(|text| String::from_utf8(text).unwrap()).collect();
    texts.iter().for_each(|text| drop(serde_json::from_str::<Value>(text).unwrap()));
    texts
}

#[derive(Debug)]
struct Records<'a>(Vec<Record<'a>>);

impl Shown for Records<'_> {
    fn collections(&self) -> Vec<(Arc<str>, Bytes)> {
        panic!("the dialect shows each record by itself");
    }

    fn each(&self, show: &mut dyn FnMut(Record<'_>)) {
        self.0.iter().for_each(|record| show(*record));
    }
}

#[test]
fn a_connection_begins_with_what_the_stream_says_to_all() {
    let opening = Dialect::Spc.opening(&["alerts".to_owned()]);
    assert!(
        matches!(&opening[..], [Command::Subscribe { target: Target::Root(stream), since: None, batch: None }] if stream == "alerts")
    );
}

#[test]
fn characteristics_are_numbers_or_texts_several_or_one() {
    let rows = [
        (r#"{"type":"subscribe","characteristic_ids":[1, 2,3]}"#, "subscribe", vec!["1", "2", "3"], "[1, 2,3]"),
        (r#"{"type":"subscribe","characteristic_ids":["1","a:b"]}"#, "subscribe", vec!["1", "a:b"], r#"["1","a:b"]"#),
        (r#"{"action":"subscribe","characteristic_id":7}"#, "subscribe", vec!["7"], "[7]"),
        (r#"{"type":"","action":"subscribe","characteristic_ids":7}"#, "subscribe", vec!["7"], "[7]"),
        (
            r#"{"type":"unsubscribe","characteristic_ids":null,"characteristic_id":"x"}"#,
            "unsubscribe",
            vec!["x"],
            r#"["x"]"#,
        ),
    ];
    for (text, kind, expected, echo) in rows {
        let request = only(text).unwrap();
        assert_eq!(request.command.kind().text(), kind, "{text}");
        let (Command::Subscribe { target, .. } | Command::Unsubscribe(target)) = request.command else { panic!() };
        assert_eq!(target.spelled().unwrap().get(), echo);
        let Target::Parts { stream, parts, .. } = target else { panic!() };
        assert_eq!((stream.as_str(), parts.iter().map(String::as_str).collect::<Vec<_>>()), ("alerts", expected));
    }
}

#[test]
fn the_other_commands_are_read() {
    assert!(matches!(only(r#"{"type":"ping"}"#).unwrap().command, Command::Ping));
    assert!(matches!(only(r#"{"action":"ping"}"#).unwrap().command, Command::Ping));
    let auth = only(r#"{"type":"auth","token":"t"}"#).unwrap().command;
    assert!(matches!(auth, Command::Auth { token } if token == "t"));
}

#[test]
fn every_mistake_is_told_and_closes_nothing() {
    let rows = [
        ("hello", "Message must be valid JSON: expected value at line 1 column 1"),
        ("[1]", "Message must be a JSON object"),
        ("{}", "Message must contain 'type' field"),
        (r#"{"type":null,"characteristic_ids":[1]}"#, "Message must contain 'type' field"),
        (r#"{"type":"jump"}"#, "Unknown message type: jump"),
        (r#"{"type":7}"#, "Unknown message type: 7"),
        (r#"{"type":"subscribe"}"#, "Subscribe message must contain 'characteristic_ids' or 'characteristic_id' field"),
        (
            r#"{"type":"unsubscribe","characteristic_ids":null}"#,
            "Unsubscribe message must contain 'characteristic_ids' or 'characteristic_id' field",
        ),
        (
            r#"{"type":"subscribe","characteristic_ids":[]}"#,
            "'characteristic_ids' must be numbers or strings, at least one",
        ),
        (
            r#"{"type":"subscribe","characteristic_ids":[1,{}]}"#,
            "'characteristic_ids' must be numbers or strings, at least one",
        ),
        (
            r#"{"type":"subscribe","characteristic_id":true}"#,
            "'characteristic_id' must be numbers or strings, at least one",
        ),
        (r#"{"type":"auth"}"#, "Auth message must contain 'token' field"),
    ];
    for (text, message) in rows {
        let told = said(&Reply::Refused(&only(text).unwrap_err()));
        assert_eq!(told, [format!(r#"{{"type":"error","message":{}}}"#, Value::from(message))], "{text}");
    }
}

#[test]
fn only_a_token_that_proves_nothing_is_an_auth_error() {
    let rejected = Refusal::new(Code::AuthenticationRequired, "the token has expired");
    assert_eq!(said(&Reply::Refused(&rejected)), [r#"{"type":"auth_error","message":"the token has expired"}"#]);
    let private = Refusal::new(Code::AuthenticationRequired, "private").about("alerts");
    assert_eq!(said(&Reply::Refused(&private)), [r#"{"type":"error","message":"private"}"#]);
}

#[test]
fn what_the_dialect_has_no_words_for_is_not_said() {
    let loss = Loss { policy: "latest", events: 1, from: 1, to: 2 };
    let position = &Position { epoch: "k".into(), seq: 7 };
    let root = Target::Root("alerts".to_owned());
    let about = About { stream: "alerts", topics: &[], target: Some(&root), session_id: None, id: &None };
    let silent = [
        Reply::Connected { client_id: "c", heartbeat: Duration::from_secs(30), streams: &[], user: None },
        Reply::Subscribed { about, position, begins: Begins::Snapshot },
        Reply::Lagged { stream: "alerts", loss: &loss },
        Reply::NoSource { stream: "alerts", reason: "stopped" },
        Reply::SourceBack { stream: "alerts" },
        Reply::LoggedOut,
    ];
    for reply in silent {
        assert_eq!(said(&reply), [""; 0], "{reply:?}");
    }
}

#[test]
fn answers_repeat_the_characteristics_as_they_were_written() {
    let target = Target::Parts {
        stream: "alerts".to_owned(),
        parts: vec!["1".to_owned()],
        spelled: serde_json::value::RawValue::from_string("[1.0, \"2\"]".to_owned()).ok(),
    };
    let about = About { stream: "alerts", topics: &[], target: Some(&target), session_id: None, id: &None };
    let position = &Position { epoch: "k".into(), seq: 7 };
    let rows = [
        (
            Reply::Subscribed { about, position, begins: Begins::Snapshot },
            r#"{"type":"subscribed","characteristic_ids":[1.0, "2"]}"#,
        ),
        (Reply::Unsubscribed { about }, r#"{"type":"unsubscribed","characteristic_ids":[1.0, "2"]}"#),
        (Reply::Pong { id: &None }, r#"{"type":"pong"}"#),
        (
            Reply::Authenticated { user: "u", permissions: &[], expires_unix_ns: None, id: &None },
            r#"{"type":"auth_ok"}"#,
        ),
    ];
    for (reply, expected) in rows {
        assert_eq!(said(&reply), [expected]);
    }
}

#[test]
fn a_snapshot_is_what_holds_now_message_by_message() {
    let record = |kind: &'static str, json: &'static str| Record { kind, unix_ns: 0, json: json.as_bytes() };
    let records = Records(vec![
        record("control_limits", r#"{"characteristic_id":1,"ucl":3.0}"#),
        record("sample", r#"{"sample_id":42}"#),
        record("violation", r#"{"violation_id":10}"#),
    ]);
    let about = About { stream: "alerts", topics: &[], target: None, session_id: None, id: &None };
    let position = &Position { epoch: "k".into(), seq: 7 };
    let shown = said(&Reply::FullUpdate { about, position, shown: &records, cause: Cause::Asked });
    assert_eq!(
        shown,
        [
            r#"{"type":"control_limits","payload":{"characteristic_id":1,"ucl":3.0}}"#,
            r#"{"type":"violation","payload":{"violation_id":10}}"#
        ]
    );
    assert_eq!((Dialect::Spc.begins_with_snapshot(), Dialect::Spc.can_resync()), (false, false));
}

#[test]
fn an_event_is_its_kind_and_its_payload() {
    let event = event("ack_update", None, br#"{"violation_id":10,"acknowledged":true}"#);
    assert_eq!(
        String::from_utf8(Voice::of(Dialect::Spc).event(&event)).unwrap(),
        r#"{"type":"ack_update","payload":{"violation_id":10,"acknowledged":true}}"#
    );
}
