use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::dialect::{
    About, Begins, Cause, Code, Command, Dialect, Record, Refusal, Reply, Said, Shown, Target, Voice,
};
use crate::event::{Event, LogId, Position};
use crate::memory::Memory;

const BOTH: [Revision; 2] = [Revision::A, Revision::C];

fn target(text: &str, revision: Revision) -> Target {
    match parse(text, revision).remove(0).unwrap().command {
        Command::Subscribe { target, since: None, batch: None } | Command::Unsubscribe(target) => target,
        other => panic!("{other:?}"),
    }
}

fn said(reply: &Reply<'_>, revision: Revision) -> Vec<String> {
    match super::reply(reply, revision) {
        Said::Texts(texts) => texts.into_iter().map(|text| String::from_utf8(text).unwrap()).collect(),
        Said::Close { code, reason } => vec![format!("close {code} {reason}")],
    }
}

/// What a client hears when its message cannot be carried out.
fn answer(text: &str, revision: Revision) -> String {
    match parse(text, revision).remove(0) {
        Ok(request) => format!("{} {}", request.command.kind().text(), target(text, revision).stream()),
        Err(refusal) => said(&Reply::Refused(&refusal), revision).remove(0),
    }
}

#[derive(Debug)]
struct Two;

impl Shown for Two {
    fn collections(&self) -> Vec<(Arc<str>, Bytes)> {
        Vec::new()
    }

    fn each(&self, show: &mut dyn FnMut(Record<'_>)) {
        show(Record { kind: "bar", unix_ns: 0, json: br#"{"time":1,"final":true}"# });
        show(Record { kind: "note", unix_ns: 0, json: br#"{"text":"late"}"# });
    }
}

fn event(kind: &str, payload: &'static str, voice: &Voice) -> String {
    let event = Event {
        log: LogId(1),
        seq: 7,
        prev: 0,
        flags: Default::default(),
        stream: "bars".into(),
        topic: "bars:AAPL:1".into(),
        kind: kind.into(),
        key: "current".into(),
        audience: "".into(),
        session_id: None,
        payload: Bytes::from_static(payload.as_bytes()),
        unix_ns: 0,
        published: std::time::Instant::now(),
        encoded: Default::default(),
        charge: Arc::<Memory>::default().charge(0),
    };
    String::from_utf8(voice.event(&event)).unwrap()
}

#[test]
fn a_subscription_is_a_route_and_a_payload() {
    let rows = [
        (
            Revision::A,
            r#"{"symbol":"AAPL","params":{"resolution":"5"}}"#,
            vec![("resolution", "5"), ("symbol", "AAPL")],
        ),
        (Revision::A, r#"{"symbol":"AAPL"}"#, vec![("symbol", "AAPL")]),
        (Revision::A, r#"{"symbol":"AAPL","params":null,"since":7}"#, vec![("symbol", "AAPL")]),
        (Revision::A, r#"{"symbol":"AAPL","params":{"resolution":null,"symbol":"MSFT"}}"#, vec![("symbol", "AAPL")]),
        (Revision::C, r#"{"symbol":"AAPL","resolution":"5"}"#, vec![("resolution", "5"), ("symbol", "AAPL")]),
        (Revision::C, r#"{"resolution":null,"symbol":"AAPL"}"#, vec![("symbol", "AAPL")]),
    ];
    for (revision, payload, expected) in rows {
        for operation in ["subscribe", "unsubscribe"] {
            let text = format!(r#" {{"payload":{payload},"type":"quotes.eu.{operation}"}}"#);
            let Target::Params { stream, params, .. } = target(&text, revision) else { panic!("{text}") };
            let params: Vec<(&str, &str)> = params.iter().map(|(name, values)| (&**name, &*values[0])).collect();
            assert_eq!((stream.as_str(), params), ("quotes.eu", expected.clone()), "{text}");
            assert_eq!(answer(&text, revision), format!("{operation} quotes.eu"));
        }
    }
}

/// The three rows of mistakes, for either generation of clients.
#[test]
fn every_mistake_closes_with_its_text() {
    let decode = "close 1003 Could not decode message";
    let matching = "close 1003 No matching type";
    let validate = "close 1003 Could not validate payload";
    let rows = [
        ("", decode),
        ("hello", decode),
        ("{\"type\":", decode),
        ("{} {}", decode),
        ("[]", validate),
        (r#"["bars.subscribe",{"symbol":"AAPL"}]"#, validate),
        ("{}", validate),
        (r#"{"type":7}"#, validate),
        (r#"{"type":null,"payload":{"symbol":"AAPL"}}"#, validate),
        (r#"{"type":"bars"}"#, matching),
        (r#"{"type":"ping"}"#, matching),
        (r#"{"type":""}"#, matching),
        (r#"{"type":"bars.update","payload":{"symbol":"AAPL"}}"#, matching),
        (r#"{"type":"bars.subscribe.response","payload":{"symbol":"AAPL"}}"#, matching),
        (r#"{"type":"bars.Subscribe","payload":{"symbol":"AAPL"}}"#, matching),
        (r#"{"type":"bars.subscribe"}"#, validate),
        (r#"{"type":"bars.subscribe","payload":null}"#, validate),
        (r#"{"type":"bars.subscribe","payload":"AAPL"}"#, validate),
        (r#"{"type":"bars.subscribe","payload":["AAPL"]}"#, validate),
        (r#"{"type":"bars.subscribe","payload":{}}"#, validate),
        (r#"{"type":"bars.subscribe","payload":{"symbol":null}}"#, validate),
        (r#"{"type":"bars.subscribe","payload":{"symbol":7}}"#, validate),
        (r#"{"type":"bars.subscribe","payload":{"symbol":["AAPL"]}}"#, validate),
        (r#"{"type":"bars.unsubscribe","payload":{"Symbol":"AAPL"}}"#, validate),
    ];
    for (text, expected) in rows {
        for revision in BOTH {
            assert_eq!(answer(text, revision), expected, "{text}");
        }
    }
    let number = |payload: &str| format!(r#"{{"type":"bars.subscribe","payload":{payload}}}"#);
    let odd = target(&number(r#"{"symbol":"AAPL","params":{"resolution":1,"limit":{}}}"#), Revision::A);
    let Target::Params { params, .. } = odd else { panic!() };
    assert!(params["resolution"].is_empty() && params["limit"].is_empty(), "they name nothing: {params:?}");
    assert_eq!(answer(&number(r#"{"symbol":"AAPL","params":["1"]}"#), Revision::A), validate);
    assert_eq!(answer(&number(r#"{"symbol":"AAPL","resolution":1}"#), Revision::C), validate);
}

/// What the hub or the shard refuses.
#[test]
fn every_refusal_closes() {
    let rows = [
        (Code::InvalidJson, "close 1003 Could not decode message"),
        (Code::InvalidMessage, "close 1003 Could not decode message"),
        (Code::UnknownType, "close 1003 No matching type"),
        (Code::UnknownStream, "close 1003 No matching type"),
        (Code::MissingStream, "close 1003 No matching type"),
        (Code::InvalidParams, "close 1003 Could not validate payload"),
        (Code::NotSubscribed, "close 1003 Could not validate payload"),
        (Code::RateLimited, "close 1008 more messages a second than hub.rate allows"),
        (Code::TooManySubscriptions, "close 1008 more subscriptions than hub.max_subscriptions allows"),
        (Code::AuthenticationRequired, "close 4001 this stream needs a verified identity"),
        (Code::Forbidden, "close 1008 this identity may not read that"),
        (Code::Internal, "close 1013 the daemon could not do that; come back later"),
    ];
    for (code, expected) in rows {
        assert_eq!(said(&Reply::Refused(&Refusal::new(code, "")), Revision::A), [expected]);
    }
}

/// Every reply in each revision; what the dialect has no words for is nothing.
#[test]
fn every_reply_has_its_words_or_none() {
    let position = Position { epoch: "e".into(), seq: 1 };
    let streams = ["bars".into()];
    let topics: [Arc<str>; 1] = ["bars:AAPL:1".into()];
    let loss = crate::dialect::Loss { policy: "latest", events: 1, from: 1, to: 2 };
    for revision in BOTH {
        let asked = match revision {
            Revision::A => target(r#"{"type":"candles.subscribe","payload":{"symbol":"AAPL"}}"#, revision),
            Revision::C => {
                target(r#"{"type":"candles.subscribe","payload":{"symbol":"AAPL","resolution":null}}"#, revision)
            }
        };
        let about = About { stream: "candles", topics: &topics, target: Some(&asked), session_id: None, id: &None };
        let unasked = About { target: None, ..about };
        let begins = Begins::Snapshot;
        let update = |about, cause| Reply::FullUpdate { about, position: &position, shown: &Two, cause };
        let rows = [
            (Reply::Subscribed { about, position: &position, begins }, 1),
            (Reply::Unsubscribed { about }, 1),
            (update(about, Cause::Asked), 2),
            (update(unasked, Cause::Resync), if revision == Revision::A { 2 } else { 0 }),
            (Reply::Connected { client_id: "c", heartbeat: Duration::ZERO, streams: &streams, user: None }, 0),
            (Reply::Authenticated { user: "u", permissions: &[], expires_unix_ns: None, id: &None }, 0),
            (Reply::Snapshot { about, position: &position }, 0),
            (Reply::Streams { streams: &streams, id: &None }, 0),
            (Reply::Pong { id: &None }, 0),
            (Reply::Lagged { stream: "bars", loss: &loss }, 0),
            (Reply::NoSource { stream: "bars", reason: "stopped" }, 0),
            (Reply::SourceBack { stream: "bars" }, 0),
            (Reply::LoggedOut, 0),
        ];
        let texts: Vec<Vec<String>> = rows.iter().map(|(reply, _)| said(reply, revision)).collect();
        for (texts, (reply, count)) in texts.iter().zip(&rows) {
            assert_eq!(texts.len(), *count, "{reply:?}");
        }
        let expected = match revision {
            Revision::A => [
                r#"{"type":"candles.subscribe.response","payload":{"status":"ok","symbol":"AAPL","message":"Subscribed to AAPL","topic":"candles:AAPL:1"}}"#,
                r#"{"type":"candles.unsubscribe.response","payload":{"status":"ok","symbol":"AAPL","message":"Unsubscribed from AAPL","topic":"candles:AAPL:1"}}"#,
                r#"{"type":"candles.update","payload":{"time":1}}"#,
                r#"{"type":"candles.update","payload":{"text":"late"}}"#,
            ],
            Revision::C => [
                r#"{"type":"candles.subscribe.response","payload":{"status":"ok","message":"Subscribed","topic":"candles:{\"resolution\":\"\",\"symbol\":\"AAPL\"}"}}"#,
                r#"{"type":"candles.unsubscribe.response","payload":{"status":"ok","message":"Unsubscribed","topic":"candles:{\"resolution\":\"\",\"symbol\":\"AAPL\"}"}}"#,
                r#"{"type":"candles.update","payload":{"topic":"candles:{\"resolution\":\"\",\"symbol\":\"AAPL\"}","payload":{"time":1}}}"#,
                r#"{"type":"candles.update","payload":{"topic":"candles:{\"resolution\":\"\",\"symbol\":\"AAPL\"}","payload":{"text":"late"}}}"#,
            ],
        };
        assert_eq!(texts[..3].concat(), expected);
    }
}

#[test]
fn a_topic_is_spelled_as_the_client_computes_it() {
    let spelled = |payload: &str| {
        let text = format!(r#"{{"type":"bars.subscribe","payload":{payload}}}"#);
        spelled_topic(&target(&text, Revision::C), Revision::C).unwrap()
    };
    assert_eq!(spelled(r#"{"symbol":"AAPL","resolution":"1"}"#), r#"bars:{"resolution":"1","symbol":"AAPL"}"#);
    assert_eq!(spelled(r#"{ "resolution" : "1", "symbol":"AAPL" }"#), r#"bars:{"resolution":"1","symbol":"AAPL"}"#);
    assert_eq!(spelled(r#"{"symbol":"AAPL","resolution":null}"#), r#"bars:{"resolution":"","symbol":"AAPL"}"#);
    assert_eq!(spelled(r#"{"symbol":"Ä\u00e4\"\n","Z":"1","a":"2"}"#), r#"bars:{"Z":"1","a":"2","symbol":"Ää\"\n"}"#);
    let first = target(r#"{"type":"bars.subscribe","payload":{"symbol":"AAPL"}}"#, Revision::A);
    assert_eq!(spelled_topic(&first, Revision::A), None);
}

const WHOLE: &str = r#"{"symbol":"AAPL","resolution":"1","volume":1000000,"time":1697097600000,"open":150.0,"high":151.0,"low":149.50,"close":1.505e2,"final":false,"revision":0}"#;

#[test]
fn an_update_is_the_bare_bar() {
    let voice = Voice::of(Dialect::Fastws(Revision::A));
    let bare = r#"{"type":"bars.update","payload":{"time":1697097600000,"open":150.0,"high":151.0,"low":149.50,"close":1.505e2,"volume":1000000}}"#;
    assert_eq!(event("bar", WHOLE, &voice), bare);
    let named = Voice { alias: Some("candles".into()), ..voice.clone() };
    assert_eq!(event("bar", WHOLE, &named), bare.replace("bars.", "candles."));
    assert_eq!(event("quote", WHOLE, &voice), format!(r#"{{"type":"bars.update","payload":{WHOLE}}}"#));
    assert_eq!(event("bar", r#"{"final":true}"#, &voice), r#"{"type":"bars.update","payload":{}}"#);
    let spelled = Voice { topic: Some(r#"bars:{"symbol":"AAPL"}"#.into()), ..Voice::of(Dialect::Fastws(Revision::C)) };
    let wrapped = format!(
        r#"{{"type":"bars.update","payload":{{"topic":"bars:{{\"symbol\":\"AAPL\"}}","payload":{}}}"#,
        bare.split_once("\"payload\":").unwrap().1
    );
    assert_eq!(event("bar", WHOLE, &spelled), wrapped);
    assert!(voice.format().is_some() && named.format().is_none() && spelled.format().is_none());
}
