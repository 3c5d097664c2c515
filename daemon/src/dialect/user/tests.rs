use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::dialect::{About, Begins, Cause, Dialect, Loss, Record, Voice};
use crate::event::{LogId, Position};
use crate::memory::Memory;

/// 2026-01-17T10:00:00.123456789Z
const TIME: i64 = 1_768_644_000_123_456_789;

fn told(kind: &str, payload: &'static str) -> String {
    let event = Event {
        log: LogId(1),
        seq: 7,
        prev: 0,
        flags: Default::default(),
        stream: "user".into(),
        topic: "user".into(),
        kind: kind.into(),
        key: "".into(),
        audience: "user-1".into(),
        session_id: None,
        payload: Bytes::from_static(payload.as_bytes()),
        unix_ns: TIME,
        published: std::time::Instant::now(),
        encoded: Default::default(),
        charge: Arc::<Memory>::default().charge(0),
    };
    String::from_utf8(Voice::of(Dialect::User).event(&event)).unwrap()
}

fn said(reply: &Reply<'_>) -> Vec<String> {
    match super::reply(reply, TIME) {
        Said::Texts(texts) => texts.into_iter().map(|text| String::from_utf8(text).unwrap()).collect(),
        Said::Close { code, reason } => vec![format!("close {code} {reason}")],
    }
}

/// Every type that the clients know, and one that they do not, with its place in `data`.
#[test]
fn every_type_has_its_wrapper() {
    let payload = r#"{"id":"7","n":1.50}"#;
    let under = |key: &str| format!(r#"{{"{key}":{payload}}}"#);
    let rows = [
        ("CHAIN_UPDATE", under("chain")),
        ("LIFECYCLE_EVENT", format!(r#"{{"event":{payload},"id":"7","n":1.50}}"#)),
        ("GINIE_STATUS_UPDATE", under("status")),
        ("CIRCUIT_BREAKER_UPDATE", under("state")),
        ("PNL_UPDATE", under("pnl")),
        ("MODE_STATUS_UPDATE", under("status")),
        ("SYSTEM_STATUS_UPDATE", under("status")),
        ("SIGNAL_UPDATE", under("signal")),
        ("POSITION_UPDATE", under("positions")),
        ("TRADE_UPDATE", payload.to_owned()),
        ("ORDER_UPDATE", payload.to_owned()),
        ("BALANCE_UPDATE", payload.to_owned()),
        ("SIGNAL_GENERATED", payload.to_owned()),
        ("TRADING_MODE_CHANGED", payload.to_owned()),
        ("AUTOPILOT_TOGGLED", payload.to_owned()),
        ("PRICE_UPDATE", payload.to_owned()),
        ("WHATEVER_\"COMES\"", payload.to_owned()),
    ];
    for (kind, data) in rows {
        let name = serde_json::to_string(kind).unwrap();
        let expected = format!(r#"{{"type":{name},"timestamp":"2026-01-17T10:00:00.123456789Z","data":{data}}}"#);
        assert_eq!(told(kind, payload), expected);
        serde_json::from_str::<Value>(&expected).unwrap();
    }
}

#[test]
fn a_life_cycle_event_is_wrapped_and_flat_and_no_name_stands_twice() {
    let data = |payload| told("LIFECYCLE_EVENT", payload).split_once("\"data\":").unwrap().1.to_owned();
    assert_eq!(data("{}"), r#"{"event":{}}}"#);
    assert_eq!(data(r#" { "a" : 1e2 } "#), r#"{"event": { "a" : 1e2 } ,"a":1e2}}"#);
    assert_eq!(
        data(r#"{"eventType":"OPEN","event":"entry","\u0065vent":1,"x\"y":2}"#),
        r#"{"event":{"eventType":"OPEN","event":"entry","\u0065vent":1,"x\"y":2},"eventType":"OPEN","x\"y":2}}"#
    );
}

#[test]
fn a_list_of_positions_is_not_wrapped_twice() {
    let payload = r#"{"positions":[{"symbol":"BTC"}],"total":1}"#;
    assert!(told("POSITION_UPDATE", payload).ends_with(&format!("\"data\":{payload}}}")));
}

#[derive(Debug)]
struct Two;

impl Shown for Two {
    fn collections(&self) -> Vec<(Arc<str>, Bytes)> {
        Vec::new()
    }

    fn each(&self, show: &mut dyn FnMut(Record<'_>)) {
        show(Record { kind: "PNL_UPDATE", unix_ns: 0, json: br#"{"totalPnL":1}"# });
        show(Record { kind: "TRADE_UPDATE", unix_ns: 1, json: b"{}" });
    }
}

/// Every reply; what the clients do not know is nothing.
#[test]
fn every_reply_has_its_words_or_none() {
    let position = Position { epoch: "e".into(), seq: 1 };
    let streams = ["user".into()];
    let topics: [Arc<str>; 1] = ["user".into()];
    let loss = Loss { policy: "latest", events: 1, from: 1, to: 2 };
    let about = About { stream: "user", topics: &topics, target: None, session_id: None, id: &None };
    let connected = |user| Reply::Connected { client_id: "c", heartbeat: Duration::ZERO, streams: &streams, user };
    let update = |cause| Reply::FullUpdate { about, position: &position, shown: &Two, cause };
    let status = [
        r#"{"type":"PNL_UPDATE","timestamp":"1970-01-01T00:00:00.000000000Z","data":{"pnl":{"totalPnL":1}}}"#,
        r#"{"type":"TRADE_UPDATE","timestamp":"1970-01-01T00:00:00.000000001Z","data":{}}"#,
    ];
    let rows: [(Reply<'_>, &[&str]); 14] = [
        (
            connected(Some("user-1")),
            &[
                r#"{"type":"CONNECTED","message":"WebSocket connection established","timestamp":"2026-01-17T10:00:00.123456789Z","user_id":"user-1"}"#,
            ],
        ),
        (
            connected(None),
            &[
                r#"{"type":"CONNECTED","message":"WebSocket connection established","timestamp":"2026-01-17T10:00:00.123456789Z"}"#,
            ],
        ),
        (Reply::LoggedOut, &[r#"{"type":"USER_LOGOUT","timestamp":"2026-01-17T10:00:00.123456789Z","data":{}}"#]),
        (update(Cause::Asked), &status),
        (update(Cause::Resync), &status),
        (Reply::Authenticated { user: "u", permissions: &[], expires_unix_ns: None, id: &None }, &[]),
        (Reply::Subscribed { about, position: &position, begins: Begins::Snapshot }, &[]),
        (Reply::Unsubscribed { about }, &[]),
        (Reply::Snapshot { about, position: &position }, &[]),
        (Reply::Streams { streams: &streams, id: &None }, &[]),
        (Reply::Pong { id: &None }, &[]),
        (Reply::Lagged { stream: "user", loss: &loss }, &[]),
        (Reply::NoSource { stream: "user", reason: "stopped" }, &[]),
        (Reply::SourceBack { stream: "user" }, &[]),
    ];
    for (reply, expected) in rows {
        assert_eq!(said(&reply), expected, "{reply:?}");
    }
}

#[test]
fn what_a_client_says_is_ignored_and_what_its_connection_is_for_is_not_refused_in_silence() {
    for text in ["", "hello", r#"{"type":"subscribe","stream":"user"}"#] {
        let refusal = Dialect::User.parse(text, &["user".to_owned()]).remove(0).unwrap_err();
        assert_eq!(said(&Reply::Refused(&refusal)), [""; 0], "{text}");
    }
    let rows: [(Code, &[&str]); 6] = [
        (Code::InvalidMessage, &[]),
        (Code::RateLimited, &[]),
        (Code::AuthenticationRequired, &["close 4001 authentication required for WebSocket connection"]),
        (Code::Forbidden, &["close 1008 this identity may not read the streams of this endpoint"]),
        (Code::UnknownStream, &["close 1013 a stream of this endpoint is not there; come back later"]),
        (Code::Internal, &["close 1013 a stream of this endpoint is not there; come back later"]),
    ];
    for (code, expected) in rows {
        assert_eq!(said(&Reply::Refused(&Refusal::new(code, ""))), expected);
    }
}

#[test]
fn a_connection_is_the_subscription_to_each_stream() {
    let opening = Dialect::User.opening(&["user".to_owned(), "alerts".to_owned()]);
    let targets: Vec<String> = opening.iter().map(|command| format!("{command:?}")).collect();
    let whole = |stream: &str| format!("Subscribe {{ target: Topic(\"{stream}\"), since: None, batch: None }}");
    assert_eq!(targets, [whole("user"), whole("alerts")]);
}

#[test]
fn the_refusal_before_the_upgrade_is_as_the_clients_know_it() {
    let expected = r#"{"error":"UNAUTHORIZED","message":"authentication required for WebSocket connection"}"#;
    assert_eq!(Dialect::User.unauthorized(), Some(expected));
}
