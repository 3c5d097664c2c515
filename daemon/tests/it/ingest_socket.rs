//! The ingest socket: where it is, who may open it, an answer for each line in order, and what a dead daemon left there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};

use broadcastd::server::ingest::socket::MAX_PRODUCERS;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house::{Client, hear_json};
use crate::http::PATIENCE;
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(each_line_is_answered_in_order),
        needs::nothing(a_line_is_answered_before_the_next_is_sent),
        needs::nothing(the_socket_is_for_the_daemons_user_and_group),
        needs::nothing(a_socket_of_a_dead_daemon_gives_way_and_of_a_living_one_does_not),
        needs::nothing(the_default_falls_back_to_the_state_folder),
        needs::nothing(a_reload_moves_the_socket_and_a_drain_ends_it),
        needs::nothing(one_that_reads_no_answers_holds_up_nobody),
        needs::nothing(so_many_producers_are_served_and_the_next_waits),
        needs::nothing(fifty_producers_at_once_lose_nothing_and_keep_their_order),
    ]
}

const LINE: &str = "{\"stream\":\"ticks\",\"type\":\"tick\"}\n";

pub struct Producer {
    socket: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Producer {
    pub fn connect(path: &Path) -> Self {
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { answers: BufReader::new(socket.try_clone().unwrap()), socket }
    }

    pub fn say(&mut self, lines: &str) {
        self.socket.write_all(lines.as_bytes()).unwrap();
    }

    /// The next answer; `Null` when the connection has ended.
    pub fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        if line.is_empty() { Value::Null } else { serde_json::from_str(&line).unwrap() }
    }
}

/// A daemon with its socket in its folder.
fn start() -> (Daemon, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ingest.sock");
    let daemon = Daemon::start_in(folder, &config(&path), &[]);
    (daemon, path)
}

fn config(path: &Path) -> String {
    format!("[ingest]\nsocket = {path:?}\n[streams.ticks]\nvisible = true\n")
}

/// The `number`s that a client hears, by `producer`.
pub fn heard(client: &mut Client, events: u64) -> BTreeMap<u64, Vec<u64>> {
    let mut numbers = BTreeMap::<u64, Vec<u64>>::new();
    for _ in 0..events {
        let event = hear_json(client);
        let figure = |name: &str| event["data"][name].as_u64().unwrap_or_else(|| panic!("{event}"));
        numbers.entry(figure("producer")).or_default().push(figure("number"));
    }
    numbers
}

fn each_line_is_answered_in_order() {
    let (daemon, path) = start();
    let mut producer = Producer::connect(&path);
    producer
        .say(&format!("{LINE}{{\"stream\":\"nope\",\"type\":\"a\",\"id\":\"7\"}}\n\n{LINE}{{\"stream\":\"ticks\","));
    producer.say("\"type\":\"tick\",\"id\":\"8\"}");
    producer.socket.shutdown(Shutdown::Write).unwrap();
    let position = || daemon.get("/v1/streams/ticks").json()["position"].take();
    let accepted = |seq: u64| json!({"accepted": true, "position": {"epoch": position()["epoch"], "seq": seq}});
    assert_eq!(producer.hear(), accepted(1));
    let refused = producer.hear();
    assert_eq!((&refused["error"]["code"], &refused["id"]), (&json!("unknown_stream"), &json!("7")));
    assert_eq!(producer.hear(), accepted(2));
    let last = producer.hear();
    assert_eq!((&last["position"]["seq"], &last["id"]), (&json!(3), &json!("8")), "the last line needs no end");
    assert_eq!(producer.hear(), Value::Null);
    assert_eq!(position()["seq"], 3);
}

fn a_line_is_answered_before_the_next_is_sent() {
    let (_daemon, path) = start();
    let mut producer = Producer::connect(&path);
    for seq in 1..=3 {
        producer.say(LINE);
        assert_eq!(producer.hear()["position"]["seq"], seq);
    }
}

fn the_socket_is_for_the_daemons_user_and_group() {
    let (_daemon, path) = start();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
}

fn a_socket_of_a_dead_daemon_gives_way_and_of_a_living_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ingest.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a file that nobody answers at");
    let _first = Daemon::start_in(folder, &config(&path), &[]);
    let mut producer = Producer::connect(&path);
    producer.say(LINE);
    assert_eq!(producer.hear()["accepted"], true);
    let (second, other) = start();
    let refused = second.refuse(|| second.configure(&config(&path)));
    let expected = format!(
        "cannot listen on unix:{}: it is taken already; stop the program that listens there, or change ingest.socket in the configuration",
        path.display()
    );
    assert!(refused.contains(&expected), "{refused}");
    let (_, _folder) = second.stop();
    assert!(path.exists() && !other.exists(), "each takes its own file away");
    producer.say(LINE);
    assert_eq!(producer.hear()["accepted"], true);
}

fn the_default_falls_back_to_the_state_folder() {
    let daemon = Daemon::start("[streams.ticks]\n");
    let line = daemon.wait_for_log("events are taken at the ingest socket");
    let path = serde_json::from_str::<Value>(&line).unwrap()["path"].as_str().unwrap().to_owned();
    if !Path::new("/run/broadcastd").exists() {
        assert_eq!(Path::new(&path), daemon.folder.path().join(".local/state/broadcastd/ingest.sock"));
    }
    let mut producer = Producer::connect(Path::new(&path));
    producer.say(LINE);
    assert_eq!(producer.hear()["accepted"], true);
    daemon.stop();
    assert!(!Path::new(&path).exists());
}

fn a_reload_moves_the_socket_and_a_drain_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = |name: &str| {
        let path = if name.is_empty() { String::new() } else { folder.path().join(name).display().to_string() };
        format!("[ingest]\nsocket = \"{path}\"\n[streams.ticks]\n")
    };
    let daemon = Daemon::start(&config("a.sock"));
    let (a, b) = (folder.path().join("a.sock"), folder.path().join("b.sock"));
    let mut producer = Producer::connect(&a);
    daemon.reload(|| daemon.configure(&format!("{}# the same\n", config("a.sock"))));
    producer.say(LINE);
    assert_eq!(producer.hear()["accepted"], true, "a socket that stays keeps its producers");
    let refusal = daemon.refuse(|| daemon.configure(&config("no/where.sock")));
    assert!(refusal.contains("config.toml:6:10") && refusal.contains("see ingest.socket"), "{refusal}");
    daemon.reload(|| daemon.configure(&config("b.sock")));
    assert!(!a.exists() && b.exists());
    assert_eq!(producer.hear(), Value::Null, "whoever came by the old one has to come again");
    daemon.reload(|| daemon.configure(&config("")));
    assert!(!b.exists());
    daemon.reload(|| daemon.configure(&config("b.sock")));
    let mut producer = Producer::connect(&b);
    producer.say(LINE);
    assert_eq!(producer.hear()["accepted"], true);
    daemon.signal("TERM");
    assert_eq!(producer.hear(), Value::Null);
    daemon.wait();
}

fn one_that_reads_no_answers_holds_up_nobody() {
    let (_daemon, path) = start();
    let deaf = UnixStream::connect(&path).unwrap();
    deaf.set_nonblocking(true).unwrap();
    let lines = LINE.repeat(1000);
    while (&deaf).write(lines.as_bytes()).is_ok() {}
    let mut other = Producer::connect(&path);
    for _ in 0..100 {
        other.say(LINE);
        assert_eq!(other.hear()["accepted"], true);
    }
}

fn so_many_producers_are_served_and_the_next_waits() {
    let (_daemon, path) = start();
    let mut served: Vec<Producer> = (0..MAX_PRODUCERS).map(|_| Producer::connect(&path)).collect();
    for producer in &mut served {
        producer.say(LINE);
        assert_eq!(producer.hear()["accepted"], true);
    }
    let mut next = Producer::connect(&path);
    next.say(LINE);
    next.socket.set_nonblocking(true).unwrap();
    served[0].say(LINE);
    assert_eq!(served[0].hear()["accepted"], true);
    assert!(next.answers.fill_buf().is_err(), "it has its place in the queue only");
    next.socket.set_nonblocking(false).unwrap();
    served.pop();
    assert_eq!(next.hear()["accepted"], true);
}

fn fifty_producers_at_once_lose_nothing_and_keep_their_order() {
    const PRODUCERS: u64 = 50;
    const EVENTS: u64 = 10;
    let (daemon, path) = start();
    let mut client = daemon.subscriber("ticks");
    let all_at_once = Arc::new(Barrier::new(usize::try_from(PRODUCERS).unwrap()));
    let producers = (0..PRODUCERS).map(|producer| {
        let (at_once, path) = (all_at_once.clone(), path.clone());
        std::thread::spawn(move || {
            let mut socket = Producer::connect(&path);
            at_once.wait();
            for number in 0..EVENTS {
                let data = format!("{{\"producer\":{producer},\"number\":{number}}}");
                socket.say(&format!("{{\"stream\":\"ticks\",\"type\":\"tick\",\"data\":{data}}}\n"));
            }
            let seqs: Vec<u64> = (0..EVENTS).map(|_| socket.hear()["position"]["seq"].as_u64().unwrap()).collect();
            assert!(seqs.is_sorted(), "{seqs:?}");
        })
    });
    producers.collect::<Vec<_>>().into_iter().for_each(|producer| producer.join().unwrap());
    let numbers = heard(&mut client, PRODUCERS * EVENTS);
    let expected: Vec<u64> = (0..EVENTS).collect();
    assert!((0..PRODUCERS).all(|producer| numbers[&producer] == expected), "{numbers:?}");
}
