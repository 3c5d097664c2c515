//! What clients of the dialects with words of their own say and hear, letter for letter: transcripts that are played to the
//! real daemon. `UPDATE_GOLDEN=1` writes what was heard; how much is heard at each step stays as it is written.

use std::path::PathBuf;

use broadcastd::event::unix_now;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::house::Client;
use crate::http::{self, ask};
use crate::needs;
use crate::process::Daemon;
use crate::reads::{SECRET, token};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(fastws_a),
        needs::nothing(fastws_a_with_snapshot),
        needs::nothing(fastws_c),
        needs::nothing(native_batches),
        needs::nothing(user),
    ]
}

fn fastws_a() {
    play("fastws-a", &format!("dialect = \"fastws\"\n{BARS}"));
}

fn fastws_a_with_snapshot() {
    play("fastws-a-snapshot", &format!("dialect = \"fastws\"\nsnapshot = true\n{BARS}"));
}

fn fastws_c() {
    play("fastws-c", &format!("dialect = \"fastws\"\nrevision = \"c\"\n{BARS}"));
}

fn native_batches() {
    play("native-batches", BARS);
}

fn user() {
    play("user", "dialect = \"user\"\nstreams = [\"user\"]\nauth = \"required\"\n");
}

const PATH: &str = "/door";
const BARS: &str = "streams = [\"bars\", \"quotes\"]\naliases = { candles = \"bars\" }\n";
const STREAMS: [(&str, &str); 3] = [
    ("bars", "visible = true\ntemplate = \"{symbol}:{resolution=1}\""),
    ("quotes", "visible = true\ntemplate = \"{symbol}\""),
    ("user", "visible = true\nprivate = true"),
];
/// When every event here is published.
const PUBLISHED: &str = "2026-01-17T10:00:00.123456789Z";
const PUBLISHED_TEXT: &str = "2026-01-17T10:00:00.123";
/// What transcripts have for the epoch of the daemon's streams.
const EPOCH: &str = "e1";

/// What happens on the stage: one line of a transcript each.
struct Stage {
    daemon: Daemon,
    epoch: String,
    client: Option<Client>,
}

fn play(name: &str, endpoint: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/dialects/{name}.txt"));
    let script = std::fs::read_to_string(&path).unwrap();
    let mut stage = Stage::new(endpoint);
    let mut heard = String::new();
    for line in script.lines() {
        let line = if line.starts_with('<') { format!("< {}", stage.hear()) } else { line.to_owned() };
        heard += &(line.clone() + "\n");
        stage.act(&line);
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, heard).unwrap();
    } else {
        assert_eq!(heard, script, "{name}");
    }
}

/// A daemon with the endpoint, and the streams but for one.
fn config(endpoint: &str, removed: &str) -> String {
    let streams = STREAMS.into_iter().filter(|(name, _)| *name != removed);
    let streams: String = streams.map(|(name, of_it)| format!("[streams.{name}]\n{of_it}\n")).collect();
    format!(
        "[[server.endpoints]]\npath = \"{PATH}\"\n{endpoint}[auth]\njwt = {{ secret = {{ env = \"JWT\" }} }}\n{streams}"
    )
}

impl Stage {
    /// With what config says of the endpoint.
    fn new(endpoint: &str) -> Self {
        let daemon = Daemon::start_with(&config(endpoint, ""), &[("JWT", SECRET), ("BROADCASTD_SERVER__SHARDS", "1")]);
        let epoch = daemon.get("/v1/streams/bars").json()["position"]["epoch"].as_str().unwrap().to_owned();
        Self { daemon, epoch, client: None }
    }

    fn act(&mut self, line: &str) {
        let words: Vec<&str> = line.splitn(6, ' ').collect();
        match *words {
            ["connect"] => self.connect(None),
            ["connect", user] => self.connect(Some(user)),
            [">", ..] => {
                let said = line[2..].replace(&format!(r#""epoch":"{EPOCH}""#), &format!(r#""epoch":"{}""#, self.epoch));
                self.client().send(Message::text(said)).unwrap();
            }
            ["binary", ..] => self.client().send(Message::binary(line.as_bytes().to_vec())).unwrap(),
            ["publish", topic, kind, key, audience, payload] => self.publish(topic, [kind, key, audience], payload),
            ["logout", user] => {
                let line = format!("DELETE /v1/users/{user}/connections HTTP/1.1");
                assert_eq!(ask(&self.daemon.admin, &line, &[], b"").status, 200);
            }
            // An endpoint that names the stream goes with it: config would be refused otherwise.
            ["remove", stream] => self.daemon.reload(|| self.daemon.configure(&config("", stream))),
            ["#", ..] | ["<", ..] | [""] => {}
            _ => panic!("what is {line:?}?"),
        }
    }

    /// The payload goes over the wire as it is written, as the golden texts have it.
    fn publish(&self, topic: &str, [kind, key, audience]: [&str; 3], payload: &str) {
        let stream = topic.split(':').next().unwrap();
        let mut event = json!({"type": kind, "topic": topic, "timestamp": PUBLISHED});
        for (name, word) in [("key", key), ("audience", audience)] {
            if word != "-" {
                event[name] = Value::from(word);
            }
        }
        let mut body = event.to_string();
        body.truncate(body.len() - 1);
        body += &format!(",\"data\":{payload}}}");
        let path = format!("/v1/streams/{stream}/publish");
        let answer = http::post(&self.daemon.admin, &path, "application/json", body.as_bytes());
        assert_eq!(answer.status, 202, "{body}: {answer:?}");
    }

    fn connect(&mut self, user: Option<&str>) {
        let mut uri = format!("ws://{}{PATH}", self.daemon.clients);
        if let Some(user) = user {
            uri += &format!("?token={}", token(user, unix_now(), &json!({})));
        }
        self.client = Some(tungstenite::client(uri, http::connect(&self.daemon.clients)).unwrap().0);
    }

    fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("a client connects first")
    }

    fn hear(&mut self) -> String {
        loop {
            match self.client().read().unwrap() {
                Message::Text(text) => return without_now(&text.replace(&self.epoch, EPOCH)),
                Message::Close(Some(frame)) => return format!("close {} {}", u16::from(frame.code), frame.reason),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The text with `now` for every other time than that of the events.
fn without_now(text: &str) -> String {
    const BEFORE: &str = "\"timestamp\":\"";
    match text.split_once(BEFORE) {
        Some((before, rest)) if !rest.starts_with(PUBLISHED_TEXT) => {
            let (time, rest) = rest.split_once('"').unwrap();
            assert!(["2026-01-17T10:00:00.123Z".len(), "2026-01-17T10:00:00.123456789Z".len()].contains(&time.len()));
            format!("{before}{BEFORE}now\"{rest}")
        }
        _ => text.to_owned(),
    }
}
