//! A changed configuration on the real daemon: what changed takes effect, and nobody else notices.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house::{self, Client, hear_json};
use crate::http;
use crate::needs;
use crate::process::{Daemon, PLUGINS, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(five_hundred_clients_miss_nothing_while_the_configuration_changes),
        needs::nothing(a_stream_that_is_added_can_be_used_and_one_that_is_removed_says_so),
        needs::nothing(a_disabled_broadcaster_starts_and_stops_with_its_setting),
        needs::nothing(listeners_come_and_go_and_connections_stay),
        needs::nothing(an_endpoint_moves_and_connections_stay),
        needs::nothing(log_levels_change_with_the_file),
    ]
}

/// Many enough that each has work waiting somewhere at the moment of every exchange.
const CLIENTS: usize = 500;
/// Threads that read for them, each in turn for its own.
const READERS: usize = 4;
/// How many events the publisher may be ahead of the slowest reader, so that nobody lags: this test is not about that.
const AHEAD: u64 = 20;

const TICKS: &str = "[streams.ticks]\nvisible = true\n";

fn five_hundred_clients_miss_nothing_while_the_configuration_changes() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    let faulty = fs::read(PLUGINS.join("libfaulty.so")).unwrap();
    replace_file(&plugins.join("libfaulty.so"), &faulty);
    let config = |interval: u32, more: &str| {
        let plugins = plugins.display();
        format!(
            "{TICKS}[plugins]\ndirs = [\"{plugins}\"]\n[broadcasters.hello]\nplugin = \"faulty\"\nsettings = {{ interval_ms = {interval} }}\n{more}"
        )
    };
    let second = "[broadcasters.second]\nplugin = \"faulty\"\n";
    let daemon = Daemon::start_in(folder, &config(200, ""), &[]);
    let listeners: Vec<Vec<Listener>> =
        (0..READERS).map(|_| (0..CLIENTS / READERS).map(|_| Listener::new(&daemon)).collect()).collect();
    assert_eq!(connections(&daemon), CLIENTS);
    let heard: Vec<AtomicU64> = (0..READERS).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_until(&daemon, &stop, &heard));
        let readers: Vec<_> = listeners
            .into_iter()
            .zip(&heard)
            .map(|(group, heard)| scope.spawn(move || listen_to_the_last(group, heard)))
            .collect();

        let sha256 = |daemon: &Daemon| daemon.get("/v1/broadcasters/hello").json()["sha256"].clone();
        let first_file = sha256(&daemon);
        daemon.reload(|| daemon.configure(&config(100, "")));
        daemon.reload(|| daemon.configure(&config(100, second)));
        let mut of_second = daemon.subscriber("second");
        assert_eq!(hear_json(&mut of_second)["type"], "count");
        daemon.reload(|| {
            replace_file(&plugins.join("libfaulty.so"), &[&faulty[..], b"\n"].concat());
            daemon.signal("HUP");
        });
        assert_ne!(sha256(&daemon), first_file);
        daemon.reload(|| daemon.configure(&config(150, "")));
        assert_eq!(reason_for_no_source(&mut of_second), "the stream was removed");
        drop(of_second);
        house::until("the probe is gone", || connections(&daemon) == CLIENTS);

        stop.store(true, Ordering::Relaxed);
        let published = publisher.join().unwrap();
        assert!(published > 100, "only {published} events were under way");
        let listeners: Vec<Listener> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
        let with_counts = listeners.iter().filter(|listener| listener.count.is_some()).count();
        assert_eq!((listeners.len(), with_counts), (CLIENTS, CLIENTS));
    });
}

/// A client of both streams that holds what it hears against what must come next.
struct Listener {
    client: Client,
    /// The last count of `hello`, whose broadcaster is replaced again and again and goes on from its state.
    count: Option<u64>,
}

impl Listener {
    fn new(daemon: &Daemon) -> Self {
        let mut client = daemon.subscriber("ticks");
        house::say(&mut client, r#"{"type":"subscribe","stream":"hello"}"#);
        Self { client, count: None }
    }

    /// Hears up to the next tick, which must be this one, and says whether it is the last.
    fn hear_tick(&mut self, expected: u64) -> bool {
        loop {
            let message = hear_json(&mut self.client);
            match (message["type"].as_str().unwrap(), &message["data"]) {
                ("tick", data) => {
                    assert_eq!((&message["seq"], &data["n"]), (&json!(expected), &json!(expected)), "{message}");
                    return data["last"] == true;
                }
                ("count", data) => {
                    let count = data["count"].as_u64().unwrap();
                    assert!(self.count.is_none_or(|before| count == before + 1), "{:?}, then {message}", self.count);
                    self.count = Some(count);
                }
                ("response" | "full_update", _) if self.count.is_none() => {}
                _ => panic!("nobody should hear {message}"),
            }
        }
    }
}

fn listen_to_the_last(mut listeners: Vec<Listener>, heard: &AtomicU64) -> Vec<Listener> {
    for expected in 1.. {
        let last = listeners.iter_mut().map(|listener| listener.hear_tick(expected)).filter(|last| *last).count();
        heard.store(expected, Ordering::Relaxed);
        if last > 0 {
            assert_eq!(last, listeners.len());
            break;
        }
    }
    listeners
}

/// Publishes without a pause but for its readers, and says how many events there were.
fn publish_until(daemon: &Daemon, stop: &AtomicBool, heard: &[AtomicU64]) -> u64 {
    for n in 1.. {
        let last = stop.load(Ordering::Relaxed);
        let answer =
            daemon.publish("ticks", &json!({"type": "tick", "topic": "ticks:A", "data": {"n": n, "last": last}}));
        assert_eq!(answer.status, 202, "{answer:?}");
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

fn connections(daemon: &Daemon) -> usize {
    let open = daemon.metric(r#"broadcastd_connections{endpoint="/v1/ws",dialect="native"}"#);
    open.unwrap_or_default() as usize
}

/// As one replaces a plugin: a new file renamed over the old one.
fn replace_file(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}
