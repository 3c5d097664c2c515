//! Log lines that clients send: which are kept, where they go, and what they cannot do.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house;
use crate::http::{Answer, ask, post};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(warnings_and_errors_are_kept_and_the_rest_is_counted),
        needs::nothing(a_line_stays_one_line),
        needs::nothing(what_is_no_line_is_refused_whole),
        needs::nothing(one_address_cannot_fill_the_log),
        needs::nothing(the_target_has_a_level_of_its_own),
        needs::nothing(pages_of_foreign_origins_write_nothing),
    ]
}

const CONFIG: &str = "[streams.ticks]\nvisible = true\n";

fn send(address: &str, body: &Value) -> Answer {
    post(address, "/v1/log", "application/json", body.to_string().as_bytes())
}

/// The lines of the log that clients wrote.
fn written(daemon: &Daemon) -> Vec<Value> {
    let text = daemon.log_text();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "client_log").collect()
}

fn warnings_and_errors_are_kept_and_the_rest_is_counted() {
    let daemon = Daemon::start(CONFIG);
    let lines = json!([
        {"level": "debug", "message": "d"}, {"level": "info", "message": "i"},
        {"level": "warn", "message": "w", "context": {"a": 1}, "url": "http://localhost/x", "user_agent": "test"},
        {"level": "error", "message": "e", "timestamp": 12},
    ]);
    for address in [&daemon.clients, &daemon.admin] {
        let answer = send(address, &lines);
        assert_eq!((answer.status, answer.json()), (202, json!({"kept": 2, "dropped": 2})));
    }
    assert_eq!(send(&daemon.clients, &json!({"level": "WARNING", "message": "last"})).json()["kept"], 1);
    daemon.wait_for_log("last");
    let written = written(&daemon);
    let told: Vec<_> =
        written.iter().map(|line| (line["level"].as_str().unwrap(), line["message"].as_str().unwrap())).collect();
    assert_eq!(told, [("WARN", "w"), ("ERROR", "e"), ("WARN", "w"), ("ERROR", "e"), ("WARN", "last")]);
    let first = &written[0];
    let fields = ["peer", "context", "url", "user_agent"].map(|name| first[name].as_str().unwrap());
    assert_eq!(fields, ["127.0.0.1", r#"{"a":1}"#, "http://localhost/x", "test"]);
    assert_eq!(written[1]["context"], "timestamp=12");
    assert_eq!(daemon.metric(r#"broadcastd_client_log_lines_total{outcome="kept"}"#), Some(5.0));
    assert_eq!(daemon.metric(r#"broadcastd_client_log_lines_total{outcome="below_warn"}"#), Some(4.0));
}

fn a_line_stays_one_line() {
    let daemon = Daemon::start("[streams.ticks]\nvisible = true\n[log]\nformat = \"text\"\n");
    let forged = "x\n2026-01-01T00:00:00Z ERROR broadcastd: forged\r\u{1b}[2J\u{0}";
    let lines =
        json!({"level": "error", "message": forged, "context": {"k\n": forged}, "url": forged, "user_agent": forged});
    assert_eq!(send(&daemon.clients, &lines).status, 202);
    let line = daemon.wait_for_log("client_log");
    assert_eq!(send(&daemon.clients, &json!({"level": "error", "message": "fin"})).status, 202);
    daemon.wait_for_log("fin");
    let text = daemon.log_text();
    assert_eq!(text.split(['\n', '\r']).filter(|part| part.contains("forged")).count(), 1, "{text}");
    assert!(line.contains("x\\n2026") && !line.contains('\u{0}') && !line.contains("\u{1b}[2J"), "{line:?}");
    assert_eq!(send(&daemon.clients, &json!({"level": "error", "message": "y".repeat(60_000)})).status, 202);
    let long = daemon.wait_for_log("yyyy");
    assert!(long.len() < 5000 && long.contains('…'), "{} bytes", long.len());
}

fn what_is_no_line_is_refused_whole() {
    let daemon = Daemon::start(CONFIG);
    let asked = |body: &[u8]| post(&daemon.clients, "/v1/log", "text/plain", body);
    let many = |count: usize| format!("[{}]", vec![r#"{"level":"debug","message":"m"}"#; count].join(","));
    let bad: &[&[u8]] = &[
        b"",
        b"nonsense",
        b"[1]",
        b"[[\"warn\",\"m\"]]",
        b"{\"level\":\"warn\"}",
        b"{\"message\":\"m\"}",
        b"{\"level\":\"warn\",\"message\":7}",
        b"{\"level\":\"loud\",\"message\":\"m\"}",
        b"{\"level\":\"warn\",\"message\":\"m\",\"else\":1}",
        b"{\"level\":\"warn\",\"message\":\"\xff\"}",
        b"[{\"level\":\"warn\",\"message\":\"kept?\"},{}]",
    ];
    for body in bad {
        let refused = asked(body);
        let shown = String::from_utf8_lossy(body).into_owned();
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("invalid_log")), "{shown}");
    }
    assert_eq!(asked(many(100).as_bytes()).json(), json!({"kept": 0, "dropped": 100}));
    assert_eq!(asked(many(101).as_bytes()).status, 400);
    let body = |bytes: usize| {
        let frame = r#"{"level":"info","message":""}"#;
        format!(r#"{{"level":"info","message":"{}"}}"#, "z".repeat(bytes - frame.len()))
    };
    assert_eq!(asked(body(64 << 10).as_bytes()).status, 202, "the largest body");
    assert_eq!(asked(body((64 << 10) + 1).as_bytes()).status, 413);
    assert_eq!(asked("[".repeat(10_000).as_bytes()).status, 400);
    let wrong = crate::http::get(&daemon.clients, "/v1/log");
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
    assert_eq!(written(&daemon), Vec::<Value>::new());
}

fn one_address_cannot_fill_the_log() {
    let daemon = Daemon::start(CONFIG);
    let lines = |count: usize| Value::Array(vec![json!({"level": "warn", "message": "again"}); count]);
    assert_eq!(send(&daemon.clients, &lines(100)).status, 202);
    assert_eq!(send(&daemon.clients, &lines(21)).status, 429, "all or none");
    assert_eq!(send(&daemon.clients, &lines(20)).status, 202);
    let refused = send(&daemon.clients, &lines(1));
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("10")));
    assert_eq!(refused.json()["error"]["message"], "too many lines; an address may write 120 a minute");
    assert_eq!(
        send(&daemon.clients, &json!({"level": "info", "message": "i"})).status,
        202,
        "what is not kept is free"
    );
    assert_eq!(daemon.metric(r#"broadcastd_client_log_lines_total{outcome="too_many"}"#), Some(22.0));
    let mut client = daemon.connect();
    house::say(&mut client, r#"{"type":"ping"}"#);
    assert!(house::hear(&mut client).contains("pong"), "nobody else is held up");
}

fn the_target_has_a_level_of_its_own() {
    let daemon = Daemon::start("[streams.ticks]\nvisible = true\n[log]\nlevel = \"info,client_log=error\"\n");
    let lines = json!([{"level": "warn", "message": "unwanted"}, {"level": "error", "message": "wanted"}]);
    assert_eq!(send(&daemon.clients, &lines).status, 202);
    daemon.wait_for_log("wanted");
    let messages: Vec<Value> = written(&daemon).iter().map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["wanted"]);
}

fn pages_of_foreign_origins_write_nothing() {
    let daemon = Daemon::start(CONFIG);
    let body = br#"{"level":"warn","message":"m"}"#;
    let asked = |origin: &str| ask(&daemon.clients, "POST /v1/log HTTP/1.1", &[("Origin", origin)], body).status;
    assert_eq!((asked("https://example.com"), asked("null")), (403, 403));
    assert_eq!(asked("http://localhost:3000"), 202);
}
