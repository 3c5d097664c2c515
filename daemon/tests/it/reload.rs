//! A changed configuration on the real daemon: what changed takes effect, and nobody else notices.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::events::Events;
use crate::house::{self, Client, hear_json};
use crate::process::{Daemon, PORTS};
use crate::{http, needs, steering};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_thousand_clients_miss_nothing_in_a_storm_of_reloads),
        needs::nothing(a_stream_that_is_added_can_be_used_and_one_that_is_removed_says_so),
        needs::nothing(a_disabled_broadcaster_starts_and_stops_with_its_setting),
        needs::nothing(listeners_come_and_go_and_connections_stay),
        needs::nothing(an_endpoint_moves_and_connections_stay),
        needs::nothing(log_levels_change_with_the_file),
    ]
}

/// Many enough that each has work waiting somewhere at the moment of every exchange. Half of them speak over WebSockets.
const CLIENTS: usize = 1000;
/// Threads that read for them, each in turn for its own.
const READERS: usize = 4;
/// How many rounds the publisher may be ahead of the slowest reader, so that nobody lags: this test is not about that.
const AHEAD: u64 = 20;
/// How often everything is done that a configuration can go through.
const STORMS: usize = 14;

const TICKS: &str = "[streams.ticks]\nvisible = true\n";

/// `steady` counts what is published to `in`; nothing ever happens to the other two streams.
const STORMY: &str = "[streams.ticks]\nvisible = true\n[streams.tocks]\nvisible = true\n[streams.in]\n\
[plugins]\ndirs = [\"plugins\"]\n";
const STREAMS: [&str; 3] = ["ticks", "tocks", "steady"];

fn a_thousand_clients_miss_nothing_in_a_storm_of_reloads() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("plugins")).unwrap();
    let library = folder.path().join("plugins/libsteady.so");
    let files = ["1.0.0", "2.0.0"].map(|version| {
        steering::build_as(folder.path(), "steady", version, &[]);
        (version, fs::read(&library).unwrap())
    });
    let daemon = Daemon::start_in(folder, &stormy(0, ""), &[]);
    let listeners: Vec<Vec<Listener>> = thread::scope(|scope| {
        let some = || (0..CLIENTS / READERS).map(|at| Listener::new(&daemon, at)).collect();
        let opening: Vec<_> = (0..READERS).map(|_| scope.spawn(some)).collect();
        opening.into_iter().map(|opened| opened.join().unwrap()).collect()
    });
    let open = || [("/v1/ws", "native"), ("/v1/sse", "sse")].map(|(path, dialect)| connections(&daemon, path, dialect));
    assert_eq!(open(), [CLIENTS / 2; 2]);
    let heard: Vec<AtomicU64> = (0..READERS).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_until(&daemon, &stop, &heard));
        let readers: Vec<_> = listeners
            .into_iter()
            .zip(&heard)
            .map(|(group, heard)| scope.spawn(move || listen_to_the_last(group, heard)))
            .collect();
        house::until("events flow", || heard.iter().all(|heard| heard.load(Ordering::Relaxed) > 0));
        for storm in 1..=STORMS {
            rage(&daemon, &library, &files, storm);
        }
        let during = heard.iter().map(|heard| heard.load(Ordering::Relaxed)).min().unwrap();
        stop.store(true, Ordering::Relaxed);
        let published = publisher.join().unwrap();
        let listeners: Vec<Listener> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
        assert_eq!(open(), [CLIENTS / 2; 2], "they are there to the end");
        let all_heard = |one: &Listener| one.heard.iter().all(|last| last.number == published);
        assert_eq!(listeners.iter().filter(|one| all_heard(one)).count(), CLIENTS, "of {published} events");
        assert!(during > 20, "only {during} events of each stream were under way");
    });
}

fn stormy(storm: usize, more: &str) -> String {
    format!(
        "{STORMY}[broadcasters.steady]\nplugin = \"steady\"\nlisten = [\"in\"]\nsettings = {{ mode = \"{storm}\" }}\n{more}"
    )
}

/// All that can happen to a configuration and a plugin's file, one after the other as fast as the daemon takes it, beside
/// what it does by itself when a file is saved.
fn rage(daemon: &Daemon, library: &Path, files: &[(&str, Vec<u8>); 2], storm: usize) {
    let second = "[broadcasters.second]\nplugin = \"steady\"\nlisten = [\"in\"]\n[streams.more]\n";
    let is_taken = |what: &str, expected: u16| {
        let answer = ask_by_control(daemon, "/v1/reload");
        assert_eq!(answer.status, expected, "storm {storm}, {what}: {}", answer.body);
    };
    daemon.configure(&stormy(storm, ""));
    is_taken("other settings", 200);
    daemon.configure("[hub]\nmax_topic = 7\n");
    is_taken("a mistake", 422);
    let whole = format!("{PORTS}{}", stormy(storm, second));
    daemon.configure_whole(&whole[..whole.len() / 2]);
    is_taken("half a configuration", 422);
    daemon.configure(&stormy(storm, second));
    is_taken("another broadcaster", 200);
    let (version, file) = &files[storm % 2];
    replace_file(library, file);
    is_taken("another file of the plugin", 200);
    assert_eq!(daemon.get("/v1/broadcasters/steady").json()["version"], *version);
    fs::write(library, &file[..file.len() / 2]).unwrap();
    is_taken("half a file of the plugin", 422);
    replace_file(library, file);
    daemon.configure(&stormy(storm, ""));
    is_taken("one broadcaster less", 200);
}

fn ask_by_control(daemon: &Daemon, path: &str) -> http::Answer {
    let mut socket = UnixStream::connect(daemon.folder.path().join(".local/state/broadcastd/control.sock")).unwrap();
    socket.set_read_timeout(Some(http::PATIENCE)).unwrap();
    socket.write_all(&http::request("localhost", &format!("POST {path} HTTP/1.1"), &[], b"")).unwrap();
    http::read(&mut socket)
}

/// A client of all three streams that holds what it hears against what must come next.
struct Listener {
    client: Dialect,
    heard: [Last; STREAMS.len()],
    /// The number of the last events, once one of them has said so.
    end: Option<u64>,
}

enum Dialect {
    Native(Box<Client>),
    Sse(Events),
}

/// The last event of a stream: what was counted in it, and its number on the wire.
#[derive(Clone, Copy, Default)]
struct Last {
    number: u64,
    seq: u64,
}

impl Listener {
    fn new(daemon: &Daemon, at: usize) -> Self {
        let client = if at.is_multiple_of(2) {
            let mut client = daemon.connect();
            STREAMS.iter().for_each(|stream| house::subscribe(&mut client, stream));
            Dialect::Native(Box::new(client))
        } else {
            let topics = STREAMS.map(|stream| format!("topic={stream}")).join("&");
            let mut events = Events::open(&daemon.clients, &topics, &[]);
            let said = (0..=2 * STREAMS.len()).map(|_| events.next().event).collect::<Vec<_>>();
            assert_eq!(said.iter().filter(|event| *event == "full_update").count(), STREAMS.len(), "{said:?}");
            Dialect::Sse(events)
        };
        Self { client, heard: [Last::default(); STREAMS.len()], end: None }
    }

    /// Hears this event of each stream, and says whether it is the last.
    fn hear_round(&mut self, expected: u64) -> bool {
        while self.heard.iter().any(|last| last.number < expected) {
            let message = match &mut self.client {
                Dialect::Native(client) => hear_json(client),
                Dialect::Sse(events) => events.next().data,
            };
            assert!(message["type"] == "tick" || message["type"] == "n", "nobody should hear {message}");
            let at = STREAMS.iter().position(|stream| message["stream"] == *stream).unwrap();
            let (seq, Last { number, seq: before }) = (message["seq"].as_u64().unwrap(), self.heard[at]);
            assert_eq!(message["data"]["n"], number + 1, "behind {number}: {message}");
            assert_eq!(message["prev"].as_u64().unwrap_or(0), before, "behind {before}: {message}");
            // Records that are told anew at an exchange take numbers, too.
            assert!(seq == before + 1 || seq > before && message["type"] == "n", "behind {before}: {message}");
            self.heard[at] = Last { number: number + 1, seq };
            if message["data"]["last"] == true {
                self.end = Some(number + 1); // others may be behind it
            }
        }
        self.end == Some(expected)
    }
}

fn listen_to_the_last(mut listeners: Vec<Listener>, heard: &AtomicU64) -> Vec<Listener> {
    for expected in 1.. {
        let last = listeners.iter_mut().map(|listener| listener.hear_round(expected)).filter(|last| *last).count();
        heard.store(expected, Ordering::Relaxed);
        if last > 0 {
            assert_eq!(last, listeners.len());
            break;
        }
    }
    listeners
}

/// Publishes to all three without a pause but for its readers, and says how many events of each there were.
fn publish_until(daemon: &Daemon, stop: &AtomicBool, heard: &[AtomicU64]) -> u64 {
    for n in 1.. {
        let last = stop.load(Ordering::Relaxed);
        let event = json!({"type": "tick", "topic": "ticks:A", "data": {"n": n, "last": last}});
        let other = json!({"type": "tick", "topic": "tocks:A", "data": {"n": n, "last": last}});
        for (stream, event) in [("ticks", event), ("tocks", other), ("in", json!({"type": "do", "data": {"do": "x"}}))]
        {
            let answer = daemon.publish(stream, &event);
            assert_eq!(answer.status, 202, "{answer:?}");
        }
        if last {
            return n;
        }
        let slowest = || heard.iter().map(|heard| heard.load(Ordering::Relaxed)).min().unwrap();
        house::until("the readers follow", || slowest() + AHEAD >= n);
    }
    unreachable!("there are more numbers than time")
}

fn a_stream_that_is_added_can_be_used_and_one_that_is_removed_says_so() {
    let daemon = Daemon::start(TICKS);
    let mut client = daemon.subscriber("ticks");
    daemon.reload(|| daemon.configure(&format!("{TICKS}[streams.news]\nvisible = true\n")));
    house::subscribe(&mut client, "news");
    let event = json!({"type": "headline", "data": {}});
    assert_eq!(daemon.publish("news", &event).status, 202);
    assert_eq!(hear_json(&mut client)["type"], "headline");
    daemon.reload(|| daemon.configure(TICKS));
    assert_eq!(reason_for_no_source(&mut client), "the stream was removed");
    assert_eq!(daemon.publish("news", &event).status, 404);
    house::say(&mut client, r#"{"type":"subscribe","stream":"news"}"#);
    assert_eq!(hear_json(&mut client)["data"]["code"], "unknown_stream");
    assert_eq!(daemon.publish("ticks", &event).status, 202);
    assert_eq!(hear_json(&mut client)["stream"], "ticks");
}

fn a_disabled_broadcaster_starts_and_stops_with_its_setting() {
    let config = |enabled: bool| {
        format!("[broadcasters.hello]\nplugin = \"faulty\"\nenabled = {enabled}\nsettings = {{ interval_ms = 10 }}\n")
    };
    let daemon = Daemon::start(&config(false));
    let mut client = daemon.subscriber("hello");
    let disabled = "the broadcaster is disabled";
    assert_eq!(reason_for_no_source(&mut client), disabled);
    assert_eq!(daemon.readiness(), (200, vec!["broadcaster hello is stopped".to_owned()]));
    daemon.reload(|| daemon.configure(&config(true)));
    begins_again(&mut client);
    assert_eq!(daemon.readiness(), (200, vec![]));
    daemon.reload(|| daemon.configure(&config(false)));
    assert_eq!(reason_for_no_source(&mut client), disabled);
    daemon.reload(|| daemon.configure(&config(true)));
    begins_again(&mut client);
}

/// Before the first event the client hears that there is a source, and is shown what that one has to show.
fn begins_again(client: &mut Client) {
    let before: Vec<Value> =
        std::iter::repeat_with(|| hear_json(client)).take_while(|message| message["type"] != "count").collect();
    assert!(before.iter().any(|message| message["data"]["status"] == "source"), "{before:?}");
    assert!(
        before.iter().all(|message| message["data"]["status"] == "source" || message["resync"] == true),
        "{before:?}"
    );
}

fn listeners_come_and_go_and_connections_stay() {
    let daemon = Daemon::start(TICKS);
    let path = daemon.folder.path().join("clients.sock");
    let (one, two) = ("\"127.0.0.1:0\"", format!("\"127.0.0.1:0\", \"unix:{}\"", path.display()));
    let config = |listen: &str| format!("{}{TICKS}", PORTS.replacen(one, listen, 1));
    let mut old = daemon.subscriber("ticks");
    daemon.reload(|| daemon.configure_whole(&config(&two)));
    let mut by_file = by_socket_file(&path);
    house::subscribe(&mut by_file, "ticks");
    daemon.reload(|| daemon.configure_whole(&config(one)));
    assert!(!path.exists());
    daemon.publish("ticks", &json!({"type": "tick", "data": {}}));
    assert_eq!(hear_json(&mut old)["type"], "tick");
    assert_eq!(hear_json(&mut by_file)["type"], "tick");
    daemon.subscriber("ticks");
}

fn an_endpoint_moves_and_connections_stay() {
    let daemon = Daemon::start(TICKS);
    let mut old = daemon.subscriber("ticks");
    daemon.reload(|| {
        daemon.configure(&format!("{TICKS}[[server.endpoints]]\npath = \"/elsewhere\"\nstreams = [\"ticks\"]\n"));
    });
    assert_eq!(house::connect(&daemon.clients, &[]).unwrap_err().status, 404);
    let socket = http::connect(&daemon.clients);
    let mut new = house::open(socket, &format!("ws://{}/elsewhere", daemon.clients), &[]).unwrap();
    house::subscribe(&mut new, "ticks");
    daemon.publish("ticks", &json!({"type": "tick", "data": {}}));
    assert_eq!(hear_json(&mut old)["type"], "tick");
    assert_eq!(hear_json(&mut new)["type"], "tick");
}

fn log_levels_change_with_the_file() {
    let level = |level: &str| format!("{TICKS}[log]\nlevel = \"{level}\"\n");
    let daemon = Daemon::start(&level("error"));
    daemon.reload(|| daemon.configure(&level("info")));
    daemon.configure(&level("error"));
    house::until("the second reload", || {
        daemon.metric(r#"broadcastd_config_reloads_total{outcome="applied"}"#) == Some(3.0)
    });
    daemon.refuse(|| daemon.configure(&level("loud")));
    assert_eq!(daemon.log_text().matches("the configuration was reloaded").count(), 1);
}

fn by_socket_file(path: &Path) -> tungstenite::WebSocket<UnixStream> {
    let socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(http::PATIENCE)).unwrap();
    house::open(socket, "ws://localhost/v1/ws", &[]).unwrap()
}

/// What the client is told when the source of its stream is gone; events that came before are skipped.
fn reason_for_no_source(client: &mut Client) -> Value {
    loop {
        let message = hear_json(client);
        if message["data"]["status"] == "no_source" {
            return message["data"]["reason"].clone();
        }
        assert_ne!(message["type"], "status", "{message}");
    }
}

fn connections(daemon: &Daemon, path: &str, dialect: &str) -> usize {
    let open = daemon.metric(&format!("broadcastd_connections{{endpoint=\"{path}\",dialect=\"{dialect}\"}}"));
    open.unwrap_or_default() as usize
}

/// As one replaces a plugin: a new file renamed over the old one.
fn replace_file(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}
