//! What clients of the dialects with words of their own say and hear, letter for letter: transcripts that are played to a
//! running shard. `UPDATE_GOLDEN=1` writes what was heard; how much is heard at each step stays as it is written.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use broadcastd::dialect::Dialect;
use broadcastd::dialect::fastws::Revision;
use broadcastd::event::Draft;
use broadcastd::hub::settings::{Settings, Source};
use broadcastd::hub::template::Template;
use broadcastd::identity::{Auth, Identity};
use broadcastd::shard::inbox::{Endpoint, Inbound, Newcomer};
use broadcastd_plugin_api::KindSpec;
use libtest_mimic::Trial;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use crate::house::{House, config, shard_config};
use crate::{http, needs};

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
    play("fastws-a", endpoint(Dialect::Fastws(Revision::A), &["bars", "quotes"]));
}

fn fastws_a_with_snapshot() {
    play("fastws-a-snapshot", Endpoint { snapshot: true, ..endpoint(Dialect::Fastws(Revision::A), &["bars"]) });
}

fn fastws_c() {
    play("fastws-c", endpoint(Dialect::Fastws(Revision::C), &["bars", "quotes"]));
}

fn native_batches() {
    play("native-batches", endpoint(Dialect::Native, &["bars", "quotes"]));
}

fn user() {
    play("user", Endpoint { auth: Auth::Required, ..endpoint(Dialect::User, &["user"]) });
}

fn endpoint(dialect: Dialect, streams: &[&str]) -> Endpoint {
    let streams = streams.iter().map(|stream| (*stream).to_owned()).collect();
    let aliases = [("candles".to_owned(), "bars".to_owned())].into();
    Endpoint { streams, aliases, snapshot: dialect.begins_with_snapshot(), ..Endpoint::open("/", dialect) }
}

/// When every event here is published: 2026-01-17T10:00:00.123456789Z.
const PUBLISHED: i64 = 1_768_644_000_123_456_789;
const PUBLISHED_TEXT: &str = "2026-01-17T10:00:00.123";

/// What happens on the stage: one line of a transcript each.
struct Stage {
    house: House,
    endpoint: Arc<Endpoint>,
    client: Option<WebSocket<UnixStream>>,
}

fn play(name: &str, endpoint: Endpoint) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/dialects/{name}.txt"));
    let script = std::fs::read_to_string(&path).unwrap();
    let mut stage = Stage { house: House::with(config(), shard_config()), endpoint: endpoint.into(), client: None };
    stage.declare();
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

impl Stage {
    fn declare(&self) {
        let bar = KindSpec { schema: true.into(), collection: Some("bars".to_owned()) };
        let bars = Settings {
            template: Template::parse("{symbol}:{resolution=1}").unwrap(),
            kinds: [("bar".to_owned(), bar)].into(),
            ..Settings::default()
        };
        self.house.hub.declare("bars", bars).set_source(Source::Declared);
        let quotes = Settings { template: Template::parse("{symbol}").unwrap(), ..Settings::default() };
        self.house.hub.declare("quotes", quotes);
        self.house.hub.declare("user", Settings { private: true, ..Settings::default() });
    }

    fn act(&mut self, line: &str) {
        let words: Vec<&str> = line.splitn(7, ' ').map(|word| if word == "-" { "" } else { word }).collect();
        match *words {
            ["connect"] => self.connect(None),
            ["connect", user] => self.connect(Some(user)),
            [">", ..] => self.client().send(Message::text(&line[2..])).unwrap(),
            ["binary", ..] => self.client().send(Message::binary(line.as_bytes().to_vec())).unwrap(),
            ["publish", topic, kind, key, audience, ..] => {
                let (stream, topic) = topic.split_once(':').unwrap_or((topic, ""));
                let payload = words[5..].join(" ");
                let draft = Draft { kind, topic, key, audience, payload: payload.as_bytes(), ..Draft::default() };
                let draft = Draft { unix_ns: PUBLISHED, ..draft };
                self.house.hub.stream(stream).unwrap().publish(&draft, None).unwrap();
            }
            ["logout", user] => self.house.shards[0].inbox.hand(Inbound::LogOut(user.into())),
            ["remove", stream] => self.house.hub.remove(stream),
            ["#", ..] | ["<", ..] | [""] => {}
            _ => panic!("what is {line:?}?"),
        }
    }

    fn connect(&mut self, user: Option<&str>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.set_read_timeout(Some(http::PATIENCE)).unwrap();
        let identity = user.map(|user| Arc::new(Identity::of_user(user)));
        let newcomer = Newcomer { identity, ..Newcomer::over(OwnedFd::from(theirs), self.endpoint.clone()) };
        self.house.shards[0].inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        self.client = Some(WebSocket::from_raw_socket(ours, Role::Client, None));
    }

    fn client(&mut self) -> &mut WebSocket<UnixStream> {
        self.client.as_mut().expect("a client connects first")
    }

    fn hear(&mut self) -> String {
        loop {
            match self.client().read().unwrap() {
                Message::Text(text) => return without_now(&text),
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
