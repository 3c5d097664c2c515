//! Positions and topics as nobody should write them, at every door that takes one: each is answered, shortly, and the
//! answers stand in a golden file.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use libtest_mimic::Trial;
use regex_lite::Regex;
use serde_json::{Value, json};

use crate::http;
use crate::needs;
use crate::process::Daemon;
use crate::raw::{CLOSE, PING, Raw, TEXT, UPGRADE, frame};

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(odd_positions_are_answered_so), needs::nothing(odd_topics_are_answered_so)]
}

/// What an answer may have at most: none repeats much of what was asked.
const MAX_ANSWER: usize = 1500;
/// How much of a line stands in the golden file.
const MAX_SHOWN: usize = 400;

/// The epoch as it stands in what is asked and in the golden file, in place of the daemon's own.
const EPOCH: &str = "e1";

/// The doors, and another stream and a broadcaster that does not run beside the one that they show.
const CONFIG: &str = r#"
[streams.quotes]
visible = true
template = "{symbol}"
[streams.ticks]
visible = true
[broadcasters.bars]
plugin = "faulty"
enabled = false

[[server.endpoints]]
path = "/v1/ws"
[[server.endpoints]]
path = "/v1/sse"
dialect = "sse"
[[server.endpoints]]
path = "/ws"
dialect = "streams"
streams = ["quotes"]
[[server.endpoints]]
path = "/fastws/a"
dialect = "fastws"
revision = "a"
streams = ["quotes"]
[[server.endpoints]]
path = "/fastws/c"
dialect = "fastws"
revision = "c"
streams = ["quotes"]
[[server.endpoints]]
path = "/ws/samples"
dialect = "spc"
streams = ["quotes"]
"#;

/// What was asked and what came, a line for each.
struct Asked {
    daemon: Daemon,
    epoch: String,
    lines: Vec<String>,
}

impl Asked {
    /// Two events were published to the topic `A`, which are numbers 1 and 2.
    fn new() -> Self {
        let daemon = Daemon::start(CONFIG);
        for _ in 0..2 {
            assert_eq!(daemon.publish("quotes", &json!({"type": "tick", "topic": "quotes:A"})).status, 202);
        }
        let epoch = daemon.get("/v1/streams/quotes").json()["position"]["epoch"].as_str().unwrap().to_owned();
        Self { daemon, epoch, lines: Vec::new() }
    }

    /// A client says this, and hears an answer or the end; it is still answered if it was not closed.
    fn says(&mut self, path: &str, message: &[u8]) {
        let address = &self.daemon.clients;
        let mut raw = Raw::on(http::connect(address));
        raw.send(&http::request(address, &format!("GET {path} HTTP/1.1"), &UPGRADE, b""));
        assert!(raw.head().starts_with("HTTP/1.1 101 "), "{path}");
        if ["/v1/ws", "/ws"].contains(&path) {
            assert!(raw.text().contains("\"connected\""));
        }
        let said = std::str::from_utf8(message).map(|text| text.replace(EPOCH, &self.epoch).into_bytes());
        raw.send(&frame(TEXT, &said.unwrap_or_else(|_| message.to_owned())));
        let answer = answer(&mut raw);
        if !answer.starts_with("close ") {
            raw.say(r#"{"type":"heartbeat"}"#);
            raw.frame();
        }
        self.note(&format!("{path} {}", String::from_utf8_lossy(message)), &answer);
    }

    fn gets(&mut self, target: &str, headers: &[(&str, &str)]) {
        let address = &self.daemon.clients;
        let mut socket = http::connect(address);
        let ours = |text: &str| text.replace(EPOCH, &self.epoch);
        let values: Vec<String> = headers.iter().map(|(_, value)| ours(value)).collect();
        let sent: Vec<_> = headers.iter().zip(&values).map(|((name, _), value)| (*name, &**value)).collect();
        let line = format!("GET {} HTTP/1.1", ours(target));
        socket.write_all(&http::request(address, &line, &sent, b"")).unwrap();
        let answer = if target.starts_with("/v1/sse") { first_event(socket) } else { plain(http::read(&mut socket)) };
        let headers: String = headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect();
        self.note(&format!("GET {target}{headers}"), &answer);
    }

    fn note(&mut self, asked: &str, answer: &str) {
        assert!(answer.len() < MAX_ANSWER, "{} bytes for {}", answer.len(), cut(asked));
        let answer = answer.replace(&self.epoch, EPOCH);
        let time = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z").unwrap();
        self.lines.push(format!("→ {}\n← {}\n", cut(asked), cut(&time.replace_all(&answer, "TIME"))));
    }

    /// Everything is as the golden file has it.
    fn is(self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/wishes/{name}.txt"));
        let text = self.lines.concat();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(text, golden, "{} reads otherwise; UPDATE_GOLDEN=1 rewrites it", file.display());
    }
}

fn answer(raw: &mut Raw) -> String {
    loop {
        match raw.frame() {
            (PING, _) => {}
            (TEXT, text) => return String::from_utf8(text).unwrap(),
            (CLOSE, payload) => {
                let (code, reason) = payload.split_first_chunk().unwrap();
                return format!("close {} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(reason));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The first that is said about what was asked for, or the refusal.
fn first_event(socket: std::net::TcpStream) -> String {
    let mut lines = BufReader::new(socket).lines().map(Result::unwrap);
    let status = lines.next().unwrap();
    if !status.ends_with("200 OK") {
        return format!("{status} {}", lines.last().unwrap());
    }
    let is_said = |line: &String| line.starts_with("data: ") && !line.contains("\"connected\"");
    lines.find(is_said).unwrap()
}

fn plain(answer: http::Answer) -> String {
    format!("{} {}", answer.status, answer.body)
}

/// A line that is shown, with its control characters and what is too long made visible.
fn cut(line: &str) -> String {
    let shown: String = line.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'").replace("\\\\", "\\");
    match shown.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}… ({} bytes)", &shown[..at], line.len()),
        None => shown,
    }
}

fn odd_positions_are_answered_so() {
    let mut asked = Asked::new();
    let long = "9".repeat(10_000);
    let numbers = [
        "1",
        "0",
        "2",
        "3",
        "-1",
        "-0",
        "1.0",
        "1.5",
        "1e0",
        "1e400",
        "18446744073709551615",
        "18446744073709551616",
        "9007199254740993",
        &long,
        "null",
        "true",
        "\"1\"",
        "[]",
        "{}",
        "",
    ];
    for number in numbers {
        let since =
            format!(r#"{{"type":"subscribe","topic":"quotes:A","since":{{"epoch":"{EPOCH}","seq":{number}}}}}"#);
        asked.says("/v1/ws", since.as_bytes());
        let text = number.replace('"', "%22");
        asked.gets("/v1/sse?topic=quotes:A", &[("Last-Event-ID", &format!("quotes={EPOCH}:{number}"))]);
        asked.gets(&format!("/v1/streams/quotes/history?topic=quotes:A&since={EPOCH}:{text}"), &[]);
    }
    for epoch in ["null", "1", "[]", "\"\"", "\"E1\"", "\"e1 \"", r#""e1\u0000""#, &format!("\"{long}\"")] {
        let since = format!(r#"{{"type":"subscribe","topic":"quotes:A","since":{{"epoch":{epoch},"seq":1}}}}"#);
        asked.says("/v1/ws", since.as_bytes());
    }
    for since in ["null", "1", "-1", "\"e1:1\"", "[\"e1\",1]", "{}", r#"{"seq":1}"#, r#"{"epoch":"e1"}"#] {
        asked.says("/v1/ws", format!(r#"{{"type":"subscribe","topic":"quotes:A","since":{since}}}"#).as_bytes());
    }
    for last in ["", "quotes", "quotes=", "=e1:1", "quotes=e1:1;quotes=e1:0", "ticks=e1:1", "quotes=e1:1%00", "ü"] {
        asked.gets("/v1/sse?topic=quotes:A", &[("Last-Event-ID", last)]);
    }
    asked.gets("/v1/sse?topic=quotes:A", &[("Last-Event-ID", "quotes=e1:1"), ("Last-Event-ID", "quotes=e1:0")]);
    for since in ["", "e1", ":", "e1:", ":1", "E1:1", "e1:1:1", "e1%3A1", "e1:1%00", "%ff", "e1:1&since=e1:0"] {
        asked.gets(&format!("/v1/streams/quotes/history?since={since}"), &[]);
    }
    // Doors without positions have no use for one.
    for number in ["-1", "1.5", "18446744073709551616", "\"x\""] {
        let since = format!(r#""since":{{"epoch":"e1","seq":{number}}}"#);
        asked.says("/ws", format!(r#"{{"type":"subscribe","stream":"quotes",{since}}}"#).as_bytes());
        asked.says("/ws/samples", format!(r#"{{"type":"subscribe","characteristic_ids":["A"],{since}}}"#).as_bytes());
        let payload = format!(r#"{{"type":"quotes.subscribe","payload":{{"symbol":"A",{since}}},{since}}}"#);
        asked.says("/fastws/a", payload.as_bytes());
        asked.says("/fastws/c", payload.as_bytes());
        asked.gets(&format!("/v1/streams/quotes/snapshot?since=e1:{}", number.replace('"', "")), &[]);
    }
    asked.is("positions");
}

/// Parts of a topic behind `quotes:`, as a client would write them in JSON.
fn odd_parts() -> Vec<String> {
    let parts = [
        "A",
        "%41",
        "%4",
        "%zz",
        "%",
        "%00",
        "%0a",
        "%ff",
        "%C3%A4",
        "ä",
        "\u{0}",
        "\n",
        "\u{7f}",
        "%3A",
        "%2A",
        "%25",
        "*",
        "A*",
        "**",
        "",
        ":",
        "A:",
        " ",
        "\u{feff}A",
        "e\u{301}",
    ];
    let long = [
        "x".repeat(249),
        "x".repeat(250),
        "x".repeat(10_000),
        "%41".repeat(249),
        "a:".repeat(15) + "a",
        "a:".repeat(16) + "a",
    ];
    parts.map(str::to_owned).into_iter().chain(long).collect()
}

fn odd_topics_are_answered_so() {
    let mut asked = Asked::new();
    for part in odd_parts() {
        let encoded: String = part
            .bytes()
            .map(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02x}") },
            )
            .collect();
        asked.says("/v1/ws", &message(json!({"type": "subscribe", "topic": format!("quotes:{part}")})));
        asked.says("/v1/ws", &message(json!({"type": "subscribe", "stream": "quotes", "params": {"symbol": part}})));
        asked.says("/ws", &message(json!({"type": "subscribe", "stream": "quotes", "params": {"symbol": part}})));
        asked.says("/fastws/a", &message(json!({"type": "quotes.subscribe", "payload": {"symbol": part}})));
        asked.says("/ws/samples", &message(json!({"type": "subscribe", "characteristic_ids": [part]})));
        asked.gets(&format!("/v1/sse?topic=quotes%3a{encoded}"), &[]);
        asked.gets(&format!("/v1/streams/quotes/history?limit=1&topic=quotes:{encoded}"), &[]);
        asked.gets(&format!("/v1/streams/quotes/snapshot?topic=quotes:{encoded}"), &[]);
    }
    for stream in ["", ":", "Quotes", "quotes ", "%71uotes", "*", "\u{0}", "nope", &"x".repeat(10_000)] {
        asked.says("/v1/ws", &message(json!({"type": "subscribe", "topic": stream})));
        asked.says("/v1/ws", &message(json!({"type": "subscribe", "stream": stream})));
        asked.says("/ws", &message(json!({"type": "subscribe", "stream": stream})));
        asked.says("/fastws/c", &message(json!({"type": format!("{stream}.subscribe"), "payload": {"symbol": "A"}})));
    }
    // What is no text at all.
    asked.says("/v1/ws", b"{\"type\":\"subscribe\",\"topic\":\"quotes:\xff\"}");
    asked.says("/v1/ws", br#"{"type":"subscribe","topic":"quotes:\ud800"}"#);
    asked.says("/ws", b"{\"type\":\"subscribe\",\"stream\":\"\xc3\x28\"}");
    asked.says("/fastws/a", b"{\"type\":\"quotes.subscribe\",\"payload\":{\"symbol\":\"\xff\"}}");
    asked.says("/ws/samples", b"{\"type\":\"subscribe\",\"characteristic_ids\":[\"\xff\"]}");
    for topic in ["quotes:%ff", "quotes:%C3%28", "quotes:%", "quotes:%4", "quotes:%zz", "quotes:%2541", "quotes:%25zz"]
    {
        asked.gets(&format!("/v1/sse?topic={topic}"), &[]);
        asked.gets(&format!("/v1/streams/quotes/history?limit=1&topic={topic}"), &[]);
    }
    asked.is("topics");
}

fn message(message: Value) -> Vec<u8> {
    message.to_string().into_bytes()
}
