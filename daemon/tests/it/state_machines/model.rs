//! A model of machines, and clients of every door held against it: they stay, come and go, resume and fall behind, while
//! the broadcaster panics again and again. Everybody can account for every event, and every snapshot is of its moment.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex};

use fastrand::Rng;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use self::ledger::{Entry, Ledger, check_silences, is_silence};
use self::world::{END, MACHINE, PRODUCERS, Told, World, session};
use super::{DOORS, Events, Listener};
use crate::dialogue;
use crate::house::{self, Client, hear_json, say};
use crate::http::{self, PATIENCE};
use crate::needs;
use crate::process::Daemon;

mod ledger;
mod world;

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(every_client_can_account_for_every_change)]
}

/// Of all producers together, unless the environment says otherwise.
const INPUTS: usize = 100_000;
const MORE_INPUTS: &str = "BROADCASTD_TEST_INPUTS";
/// Events that wait for the one for whom producers wait: well below its outbox.
const AHEAD: usize = 300;
const SEED: u64 = 7;
/// Publishes in turn with the others, so that all know which input comes when, until there were enough.
fn produce(daemon: &Daemon, pace: &Pace, world: &Mutex<World>) {
    loop {
        let mut world = world.lock().unwrap();
        let Some((lines, told)) = world.batch() else { return };
        send(daemon, &lines);
        drop(world);
        pace.wait(told);
    }
}

fn send(daemon: &Daemon, lines: &str) {
    let path = "/v1/streams/sessions/publish";
    let answer = http::post(&daemon.admin, path, "application/x-ndjson", lines.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// How far the one is for whom producers wait, so that it misses nothing.
#[derive(Default)]
struct Pace {
    heard: Mutex<usize>,
    more: Condvar,
}

impl Pace {
    fn note(&self) {
        *self.heard.lock().unwrap() += 1;
        self.more.notify_all();
    }

    fn wait(&self, told: usize) {
        let is_behind = |heard: &mut usize| *heard + AHEAD < told;
        let heard = self.heard.lock().unwrap();
        let (heard, late) = self.more.wait_timeout_while(heard, PATIENCE, is_behind).unwrap();
        assert!(!late.timed_out(), "{told} events were told, and {heard} are heard");
    }
}

/// The one for whom producers wait.
fn lead(mut client: Client, pace: &Pace) -> Heard {
    let mut heard = Heard { connections: vec![Vec::new()], ..Heard::default() };
    loop {
        let message = client.next();
        if message["data"]["instance_id"].is_string() && !is_silence(message["type"].as_str().unwrap()) {
            pace.note();
        }
        if heard.note(message, PRODUCERS) {
            return heard;
        }
    }
}

/// Everything that a client was told, one list for each of its connections.
#[derive(Default)]
struct Heard {
    connections: Vec<Vec<Value>>,
    /// Sessions whose end it has heard of.
    ended: BTreeSet<String>,
}

impl Heard {
    /// One message more. Whether that was all, if so many sessions matter.
    fn note(&mut self, message: Value, sessions: usize) -> bool {
        let shown = message["data"]["instances"].as_array();
        let ends = shown.into_iter().flatten().filter(|one| one["strategy_id"] == END);
        self.ended.extend(ends.map(|one| one["session_id"].as_str().unwrap().to_owned()));
        if message["data"]["strategy_id"] == END {
            self.ended.insert(message["session_id"].as_str().unwrap().to_owned());
        }
        self.connections.last_mut().unwrap().push(message);
        self.ended.len() == sessions
    }

    fn hear(&mut self, listener: &mut impl Listener, most: usize, sessions: usize) -> bool {
        (0..most).any(|_| self.note(listener.next(), sessions))
    }

    fn position(&self) -> Option<u64> {
        self.connections
            .iter()
            .flatten()
            .rev()
            .filter(|one| one["type"] != "response")
            .find_map(|one| one["seq"].as_u64())
    }
}

fn subscribe(client: &mut Client, topic: &str, since: &Value) {
    say(client, &json!({"type": "subscribe", "topic": topic, "since": since}).to_string());
}

/// One that hears everything, of all sessions.
fn stay(mut listener: impl Listener) -> Heard {
    let mut heard = Heard { connections: vec![Vec::new()], ..Heard::default() };
    heard.hear(&mut listener, usize::MAX, PRODUCERS);
    heard
}

/// One that comes and goes, with its position or without; sometimes it only unsubscribes.
fn come_and_go(daemon: &Daemon, producer: usize, (seed, epoch): (u64, &str)) -> Heard {
    let (mut heard, mut rng) = (Heard::default(), Rng::with_seed(seed));
    let (topic, mut client) = (format!("state_machines:{}", session(producer)), daemon.connect());
    loop {
        let position = heard.position().filter(|_| rng.u8(0..4) > 0);
        let since = position.map_or(Value::Null, |seq| json!({"epoch": epoch, "seq": seq}));
        subscribe(&mut client, &topic, &since);
        let answer = client.next();
        assert_eq!(answer["data"]["status"], "subscribed", "nothing comes of what was left: {answer}");
        heard.connections.push(vec![answer]);
        if heard.hear(&mut client, rng.usize(2..600), 1) {
            return heard;
        }
        if rng.bool() {
            client = daemon.connect();
        } else if unsubscribe(&mut client, &topic, &mut heard) {
            return heard;
        }
    }
}

/// Leaves, and hears what is still to come until that is answered. Whether that was all.
fn unsubscribe(client: &mut Client, topic: &str, heard: &mut Heard) -> bool {
    say(client, &json!({"type": "unsubscribe", "topic": topic}).to_string());
    loop {
        let message = client.next();
        let has_left = message["data"]["status"] == "unsubscribed";
        if heard.note(message, 1) || has_left {
            return !has_left;
        }
    }
}

/// A page that is opened and closed.
fn page(daemon: &Daemon, producer: usize, seed: u64) -> Heard {
    let (mut heard, mut rng) = (Heard::default(), Rng::with_seed(seed));
    loop {
        let mut client = dialogue::open(&daemon.clients, "/ws");
        let params = json!({"session_id": session(producer)});
        say(&mut client, &json!({"type": "subscribe", "stream": "state_machines", "params": params}).to_string());
        heard.connections.push(Vec::new());
        if heard.hear(&mut client, rng.usize(3..2_000), 1) {
            return heard;
        }
    }
}

/// Everything that was published, as the one heard it for whom everybody waits.
fn log(heard: &Heard) -> Vec<Entry> {
    let entry = |message: &Value| Entry {
        seq: message["seq"].as_u64().unwrap(),
        session: message["session_id"].as_str().unwrap().to_owned(),
        kind: message["type"].as_str().unwrap().to_owned(),
        data: message["data"].clone(),
    };
    let events = heard.connections.iter().flatten().filter(|message| message["data"]["instance_id"].is_string());
    events.map(entry).collect()
}

/// The broadcaster panics before and after inputs, while it saves, and before it tells its records.
fn config() -> String {
    format!(
        "{DOORS}[hub]\noutbox = \"512KiB\"\nping = {{ drop_after = \"10m\" }}\n[log]\nlevel = \"error\"\n[broadcasters.state_machines]\n\
         plugin = \"tripping\"\nlisten = [\"sessions\"]\nrestart = {{ max = 1000, backoff = \"1ms..10ms\" }}\n\
         stream = {{ history = {{ events = 1_000_000, bytes = \"512MiB\", age = \"1h\" }} }}\n\
         [broadcasters.state_machines.settings]\npanics = 12\nevery = 5000\nbehind_saves = true\n\
         [broadcasters.state_machines.settings.settings]\nlog_broadcasts = \"off\"\n{MACHINE}"
    )
}

fn every_client_can_account_for_every_change() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (seed, inputs) = (number("BROADCASTD_TEST_SEED").unwrap_or(SEED), number(MORE_INPUTS));
    println!("BROADCASTD_TEST_SEED={seed}");
    let daemon = Daemon::start(&config());
    let world = Mutex::new(World::new(seed, inputs.map_or(INPUTS, |inputs| inputs as usize)));
    let whole = || {
        let mut client = daemon.connect();
        subscribe(&mut client, "state_machines", &Value::Null);
        client
    };
    let (pace, quick, mut slow) = (Pace::default(), whole(), whole());
    let answer = hear_json(&mut slow);
    let epoch = answer["data"]["epoch"].as_str().unwrap().to_owned();
    let sse = Events::open(&daemon.clients, "topic=state_machines", &[]);
    let heard = std::thread::scope(|scope| {
        let (daemon, pace, epoch, world) = (&daemon, &pace, &*epoch, &world);
        let clients = [
            (None, scope.spawn(move || lead(quick, pace))),
            (None, scope.spawn(|| stay(sse))),
            (Some(0), scope.spawn(move || come_and_go(daemon, 0, (seed, epoch)))),
            (Some(1), scope.spawn(move || come_and_go(daemon, 1, (seed + 1, epoch)))),
            (Some(2), scope.spawn(move || page(daemon, 2, seed))),
        ];
        let producers = [(); PRODUCERS].map(|()| scope.spawn(move || produce(daemon, pace, world)));
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        send(daemon, &world.lock().unwrap().ends());
        clients.map(|(of, client)| (of, client.join().unwrap()))
    });
    let (slow, world) = (stay(slow), world.into_inner().unwrap());
    let log = log(&heard[0].1);
    let mut untold = 0;
    for session in &world.sessions {
        let told = || log.iter().filter(|entry| entry.session == session.id);
        let happened: Vec<Told> = told().filter(|entry| !is_silence(&entry.kind)).map(Entry::told).collect();
        let wrong = happened.iter().zip(&session.told).position(|(one, other)| one != other);
        let wrong = wrong.map(|at| (&happened[at], &session.told[at]));
        assert_eq!(wrong, None, "the first that is wrong in {}", session.id);
        assert_eq!(happened.len(), session.told.len(), "{}", session.id);
        untold += check_silences(told(), session);
    }
    for (number, (of, heard)) in heard.iter().enumerate() {
        let ledger = Ledger::new(&log, *of);
        let ledger = if *of == Some(2) { ledger.of_page() } else { ledger };
        let losses = ledger.check(heard);
        println!("client {number}: {} connections, {losses} losses", heard.connections.len());
        assert!(number > 0 || losses == 0, "the one for whom everybody waits missed something");
    }
    assert!(Ledger::new(&log, None).check(&slow) > 0, "everything fitted into the kernel and the outbox");
    let restarts = daemon.get("/v1/broadcasters/state_machines").json()["restarts"].as_u64();
    let repeated = daemon.metric(r#"broadcastd_events_repeated_total{stream="state_machines"}"#);
    let silences: usize = world.sessions.iter().map(|session| session.silences.len()).sum();
    println!("{} events, {silences} silences, {untold} of their ends not told", log.len());
    println!("{restarts:?} restarts, {repeated:?} repeated");
    assert!(restarts >= Some(3) && repeated > Some(0.0), "{restarts:?} restarts, {repeated:?} repeated");
    assert!(silences > 100 && untold * 10 < silences, "nobody is called stale soon after a restart, but else");
    house::until("it runs", || daemon.readiness() == (200, vec![]));
}
