//! Publishing over HTTP: every status, what a rejected event says, and that a retry is harmless.

use std::io::Write;

use broadcastd::server::ingest::MAX_BODY_BYTES;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::http::{Answer, ask, connect, get, post, read, request};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(an_object_an_array_and_lines_are_accepted),
        needs::nothing(every_event_stands_alone),
        needs::nothing(what_cannot_be_told_apart_is_refused_whole),
        needs::nothing(a_full_stream_says_what_to_send_again),
        needs::nothing(only_two_content_types_are_taken),
        needs::nothing(a_body_has_a_longest_length),
        needs::nothing(too_many_events_are_refused_before_the_first),
        needs::nothing(only_declared_streams_take_events),
        needs::nothing(a_retry_with_an_id_is_harmless),
        needs::nothing(private_streams_take_an_audience_and_tell_no_position),
        needs::nothing(client_listeners_need_a_token),
        needs::nothing(a_body_that_ends_early_disturbs_nobody),
    ]
}

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

const PATH: &str = "/v1/streams/ticks/publish";
const TICKS: &str = "[streams.ticks]\nvisible = true\n";
/// What an answer here has for the epoch of the daemon's stream.
const EPOCH: &str = "e1";

struct Ingest(Daemon);

impl Ingest {
    fn start() -> Self {
        Self(Daemon::start(TICKS))
    }

    fn send(&self, content_type: &str, body: &[u8]) -> Answer {
        post(&self.0.admin, PATH, content_type, body)
    }

    fn told(&self, content_type: &str, body: &str) -> (u16, Value) {
        told(self.send(content_type, body.as_bytes()))
    }

    /// The number of the stream's last event.
    fn seq(&self) -> Value {
        self.0.get("/v1/streams/ticks").json()["position"]["seq"].take()
    }
}

fn told(answer: Answer) -> (u16, Value) {
    let mut body = answer.json();
    if let Some(epoch) = body.pointer_mut("/position/epoch") {
        *epoch = json!(EPOCH);
    }
    (answer.status, body)
}

fn accepted(events: u64, seq: u64) -> (u16, Value) {
    (202, json!({"accepted": events, "rejected": [], "position": {"epoch": EPOCH, "seq": seq}}))
}

fn an_object_an_array_and_lines_are_accepted() {
    let ingest = Ingest::start();
    assert_eq!(ingest.told(JSON, r#"{"type":"tick","data":{}}"#), accepted(1, 1));
    assert_eq!(ingest.told(JSON, r#" [{"type":"a"},{"type":"b","topic":"ticks:AAPL"}]"#), accepted(2, 3));
    assert_eq!(ingest.told(LINES, "{\"type\":\"a\"}\r\n\n{\"type\":\"b\"}\n"), accepted(2, 5));
    assert_eq!(ingest.told("Application/JSON; charset=utf-8", "{\"type\":\"tick\"}"), accepted(1, 6));
    assert_eq!(ingest.told(JSON, "[]"), accepted(0, 6));
    assert_eq!(ingest.told(LINES, ""), accepted(0, 6));
}

fn every_event_stands_alone() {
    let ingest = Ingest::start();
    let body = r#"[{"type":"a"},7,{"type":"b","topic":"bars:AAPL"},{"type":"c","price":1},{"type":"d","topic":"ticks:*"},{"type":"e"},{"type":"f","audience":"u"}]"#;
    let rejected = json!([
        {"index": 1, "pointer": "", "error": "an event is a JSON object, like {\"type\":\"tick\",\"data\":{}}"},
        {"index": 2, "pointer": "/topic", "error": "a topic of this stream begins with \"ticks:\", and a part follows"},
        {"index": 3, "pointer": "/price", "error": "unknown field \"price\"; an event has: stream, topic, type, data, key, record, audience, session_id, timestamp, id"},
        {"index": 4, "pointer": "/topic", "error": "\"ticks:*\" is not a topic's one spelling; percent-encode : * % inside a part"},
        {"index": 6, "pointer": "/audience", "error": "the event has an audience, but the stream is not private; set private = true, or leave it out"},
    ]);
    let expected = json!({"accepted": 2, "rejected": rejected, "position": {"epoch": EPOCH, "seq": 2}});
    assert_eq!(ingest.told(JSON, body), (207, expected));
    let (status, told) = ingest.told(LINES, "{\"type\":\"a\"}\n{\"type\":\n");
    assert_eq!((status, &told["accepted"], &told["rejected"][0]["index"]), (207, &json!(1), &json!(1)));
    assert!(told["rejected"][0]["error"].as_str().unwrap().starts_with("not JSON: EOF"));
    let expected = json!({
        "accepted": 0,
        "rejected": [{"index": 0, "pointer": "/type", "error": "\"type\" is missing; it says what happened"}],
        "position": {"epoch": EPOCH, "seq": 3},
    });
    assert_eq!(ingest.told(JSON, "{}"), (422, expected));
}

fn what_cannot_be_told_apart_is_refused_whole() {
    let ingest = Ingest::start();
    for body in ["", "[{\"type\":\"a\"}", "{\"type\":\"a\"}\n{\"type\":\"b\"}", "nonsense", "[{\"type\":\"a\"},]"] {
        let (status, told) = ingest.told(JSON, body);
        assert_eq!((status, &told["error"]["code"]), (422, &json!("invalid_json")), "{body}");
    }
    assert_eq!(ingest.send(JSON, b"{\"type\":\"\xff\"}").status, 422);
    assert_eq!(
        ingest.told(JSON, "nonsense").1["error"]["message"],
        "the body is neither one JSON object nor an array of them: expected ident at line 1 column 2; for one object a line send Content-Type: application/x-ndjson"
    );
    assert_eq!(ingest.seq(), 0, "nothing of it was published");
}

fn a_full_stream_says_what_to_send_again() {
    let hub = "[hub]\nlisten_buffer = \"4KiB\"\n";
    let listener = "[broadcasters.deaf]\nplugin = \"faulty\"\nlisten = [\"ticks\"]\nsettings = { mode = \"hang\", at = \"message\" }\n";
    let ingest = Ingest(Daemon::start(&format!("{TICKS}{hub}{listener}")));
    let body = vec![json!({"type": "a"}); 100];
    let answer = ingest.send(JSON, Value::from([&body[..], &[json!({})]].concat()).to_string().as_bytes());
    assert_eq!((answer.status, answer.header("retry-after")), (207, Some("1")), "{answer:?}");
    let (_, mut part) = told(answer);
    let taken = part["accepted"].as_u64().unwrap();
    assert!((2..100).contains(&taken) && ingest.seq() == taken, "{part}");
    let rejected = part["rejected"].as_array_mut().unwrap();
    let missing = json!({"index": 100, "pointer": "/type", "error": "\"type\" is missing; it says what happened"});
    assert_eq!(rejected.pop(), Some(missing), "what stands for itself is told beside it");
    let full = |index: u64| json!({"index": index, "pointer": "", "error": "full"});
    assert_eq!(*rejected, (taken..100).map(full).collect::<Vec<_>>(), "nothing behind the first is tried");
    let answer = ingest.send(JSON, br#"{"type":"d"}"#);
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    let position = json!({"epoch": EPOCH, "seq": taken});
    assert_eq!(told(answer).1, json!({"accepted": 0, "rejected": [full(0)], "position": position}));
    ingest.0.reload(|| ingest.0.configure(&format!("{TICKS}{hub}")));
    assert_eq!(ingest.told(JSON, r#"{"type":"d"}"#), accepted(1, taken + 1), "nobody is behind any more");
}

fn only_two_content_types_are_taken() {
    let ingest = Ingest::start();
    for other in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let (status, told) = ingest.told(other, r#"{"type":"a"}"#);
        assert_eq!((status, &told["error"]["code"]), (415, &json!("unsupported_media_type")), "{other}");
    }
    let bare = ask(&ingest.0.admin, "POST /v1/streams/ticks/publish HTTP/1.1", &[], b"{}");
    assert_eq!(
        (bare.status, bare.body.as_str()),
        (
            415,
            r#"{"error":{"code":"unsupported_media_type","message":"send Content-Type: application/json for an object or an array, application/x-ndjson for one object a line"}}"#
        )
    );
}

fn a_body_has_a_longest_length() {
    let ingest = Ingest::start();
    const AROUND: &str = r#"{"type":"a","data":{"x":""}}"#;
    let body = |length: usize| AROUND.replace("\"x\":\"", &format!("\"x\":\"{}", "y".repeat(length - AROUND.len())));
    assert_eq!(ingest.told(JSON, &body(MAX_BODY_BYTES)), accepted(1, 1));
    let (status, told) = ingest.told(JSON, &body(MAX_BODY_BYTES + 1));
    assert_eq!((status, &told["error"]["code"]), (413, &json!("payload_too_large")));
    assert_eq!(told["error"]["message"], "a request has at most 8388608 bytes; send it in several requests");
}

fn too_many_events_are_refused_before_the_first() {
    let ingest = Ingest::start();
    let (status, told) = ingest.told(JSON, &format!("[{}{{}}]", "{\"type\":\"a\"},".repeat(100_000)));
    assert_eq!((status, &told["error"]["code"]), (413, &json!("too_many_events")));
    assert_eq!(ingest.seq(), 0);
}

fn only_declared_streams_take_events() {
    let bars = |is_enabled: bool| format!("[broadcasters.bars]\nplugin = \"faulty\"\nenabled = {is_enabled}\n");
    let daemon = Daemon::start(&format!("{TICKS}{}", bars(true)));
    let send = |stream: &str| post(&daemon.admin, &format!("/v1/streams/{stream}/publish"), JSON, b"{\"type\":\"a\"}");
    let message = |answer: Answer| answer.json()["error"]["message"].take();
    for (source, is_enabled) in [("running", true), ("absent", false)] {
        if !is_enabled {
            daemon.reload(|| daemon.configure(&format!("{TICKS}{}", bars(false))));
        }
        assert_eq!(daemon.get("/v1/streams/bars").json()["source"], source);
        let refused = send("bars");
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("forbidden")));
        assert_eq!(
            message(refused),
            "stream \"bars\" belongs to the broadcaster of that name, which alone publishes to it; declare a stream of your own as [streams.NAME]"
        );
    }
    let unknown = send("nope");
    assert_eq!(unknown.status, 404);
    assert_eq!(message(unknown), "unknown stream \"nope\"; streams to publish to: ticks");
    daemon.reload(|| daemon.configure(&bars(false)));
    assert_eq!(message(send("ticks")), "unknown stream \"ticks\"; streams to publish to: none is declared");
}

fn a_retry_with_an_id_is_harmless() {
    let ingest = Ingest::start();
    let body = r#"[{"type":"a","id":"1"},{"type":"b","id":"2"}]"#;
    assert_eq!(ingest.told(JSON, body), accepted(2, 2));
    assert_eq!(ingest.told(JSON, body), accepted(2, 2));
    assert_eq!(ingest.told(JSON, r#"[{"type":"a","id":"1"},{"type":"c","id":"3"}]"#), accepted(2, 3));
    assert_eq!(ingest.0.get("/v1/streams/ticks").json()["history"]["events"], 3);
}

fn private_streams_take_an_audience_and_tell_no_position() {
    let ingest = Ingest(Daemon::start("[streams.ticks]\nprivate = true\n"));
    let expected = json!({"accepted": 1, "rejected": [], "position": null});
    assert_eq!(ingest.told(JSON, r#"{"type":"a","audience":"u1"}"#), (202, expected));
}

fn client_listeners_need_a_token() {
    let ingest = Ingest::start();
    let clients = &ingest.0.clients;
    let refused = post(clients, PATH, JSON, br#"{"type":"a"}"#);
    assert_eq!(
        (refused.status, refused.header("www-authenticate"), refused.body.as_str()),
        (
            401,
            Some("Bearer"),
            r#"{"error":{"code":"authentication_required","message":"publishing here needs a token: send Authorization: Bearer TOKEN, or publish on the admin listener"}}"#
        )
    );
    assert_eq!(post(clients, "/v1/streams/nope/publish", "", b"").status, 401, "no name is given away");
    assert_eq!(get(clients, PATH).status, 405);
    assert_eq!(ingest.seq(), 0);
}

fn a_body_that_ends_early_disturbs_nobody() {
    let ingest = Ingest::start();
    let whole = request(
        &ingest.0.admin,
        "POST /v1/streams/ticks/publish HTTP/1.1",
        &[("Content-Type", JSON)],
        br#"{"type":"a"}"#,
    );
    let mut socket = connect(&ingest.0.admin);
    socket.write_all(&whole[..whole.len() - 3]).unwrap();
    drop(socket);
    assert_eq!(ingest.told(JSON, r#"{"type":"a"}"#), accepted(1, 1));
    let mut slow = connect(&ingest.0.admin);
    for byte in whole.chunks(7) {
        slow.write_all(byte).unwrap();
    }
    assert_eq!(read(&mut slow).status, 202);
}
