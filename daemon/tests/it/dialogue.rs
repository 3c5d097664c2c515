//! What one client and the daemon say to each other on any path, held against a golden file of it.

use std::path::Path;

use broadcastd::dialect::Dialect;
use broadcastd::server::{Config, EndpointConfig};
use broadcastd::shard::inbox::Endpoint;
use regex_lite::Regex;
use serde_json::Value;

use crate::house::{self, Client, say};
use crate::http;

/// A client on this path that has neither said nor heard anything.
pub fn open(address: &str, path: &str) -> Client {
    let request = tungstenite::ClientRequestBuilder::new(format!("ws://{address}{path}").parse().unwrap());
    tungstenite::client(request, http::connect(address)).unwrap().0
}

/// A house that serves exactly these endpoints on each of its listeners.
pub fn serving(endpoints: impl IntoIterator<Item = Endpoint>) -> Config {
    let endpoints = endpoints.into_iter().map(|endpoint| EndpointConfig { listen: None, endpoint }).collect();
    Config { endpoints, ..house::config() }
}

/// These streams in a dialect, as that shows them unless config says otherwise.
pub fn endpoint(path: &str, dialect: Dialect, streams: &[&str]) -> Endpoint {
    let streams = streams.iter().map(|name| (*name).to_owned()).collect();
    Endpoint { streams, snapshot: dialect.begins_with_snapshot(), ..Endpoint::open(path, dialect) }
}

pub struct Dialogue {
    client: Client,
    lines: Vec<String>,
}

impl Dialogue {
    pub fn open(address: &str, path: &str) -> Self {
        Self { client: open(address, path), lines: vec![format!("# a client connects to {path}")] }
    }

    /// What happens beside what is said.
    pub fn note(&mut self, text: &str) {
        self.lines.push(format!("# {text}"));
    }

    pub fn says(&mut self, text: &str) {
        say(&mut self.client, text);
        self.lines.push(format!("→ {}", without_epoch(text)));
    }

    /// The next message; each is proper JSON.
    pub fn hears(&mut self) -> Value {
        let text = loop {
            match self.client.read().unwrap() {
                tungstenite::Message::Text(text) => break text,
                tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) => {}
                other => panic!("{other:?} after {:#?}", self.lines),
            }
        };
        self.lines.push(format!("← {}", neutral(&text)));
        serde_json::from_str(&text).unwrap()
    }

    pub fn hears_close(&mut self) {
        let (code, reason) = house::hear_close(&mut self.client);
        self.lines.push(neutral(&format!("← close {code} {reason}")));
    }

    /// Everything was said as the golden file has it.
    pub fn is(self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/dialects/{name}.txt"));
        let text = self.lines.join("\n") + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(text, golden, "{} reads otherwise; UPDATE_GOLDEN=1 rewrites it", file.display());
    }
}

/// The text without what differs from run to run.
fn neutral(text: &str) -> String {
    let differing = [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME"),
        (r#""client_id":"[^"]*""#, r#""client_id":"…""#),
        (r#""retry_ms":\d+"#, r#""retry_ms":…"#),
        (r"\d+ ms\b", "… ms"),
    ];
    let replace = |text: String, (pattern, shown)| Regex::new(pattern).unwrap().replace_all(&text, shown).into_owned();
    differing.into_iter().fold(without_epoch(text), replace)
}

/// One that a test makes up is shorter than a daemon's, and stays.
fn without_epoch(text: &str) -> String {
    Regex::new(r#""epoch":"[0-9A-Za-z]{7,}""#).unwrap().replace_all(text, r#""epoch":"EPOCH""#).into_owned()
}
