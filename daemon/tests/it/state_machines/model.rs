//! A model of machines, and clients of every door held against it: they stay, come and go, resume and fall behind, while
//! the broadcaster panics again and again. Everybody can account for every event, and every snapshot is of its moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Condvar, Mutex};

use fastrand::Rng;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{DOORS, Events, Listener, MACHINE};
use crate::dialogue;
use crate::house::{self, Client, hear_json, say};
use crate::http::{self, PATIENCE};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(every_client_can_account_for_every_change)]
}

const PRODUCERS: usize = 3;
/// Of each producer, who has a session.
const INPUTS: usize = 10_000;
const BATCH: usize = 100;
/// Events of a session that wait for the one for whom producers wait: well below its outbox.
const AHEAD: usize = 100;
const STRATEGIES: [&str; 2] = ["grid", "momentum"];
const SYMBOLS: [&str; 2] = ["BTC", "ETH"];
const EVENTS: [&str; 5] = ["signal", "filled", "closed", "error", "reset"];
/// What each session ends with: whoever has heard or been shown it has heard everything.
const END: &str = "end";
const SEED: u64 = 7;

/// An instance as it was told last: state, since, version.
type Brief = (String, String, u64);
type Board = BTreeMap<(String, String), Brief>;

/// An event, as far as it can be foretold: kind, instance, and state or reason, with `since` and version where there are.
type Told = (String, String, String, Option<(String, u64)>);

/// One producer's session, and what it must lead to.
struct Model {
    session: String,
    rng: Rng,
    instances: BTreeMap<String, Instance>,
    told: Vec<Told>,
    ms: u64,
}

#[derive(Clone)]
struct Instance {
    state: &'static str,
    since: String,
    version: u64,
    reported: Option<u64>,
}

impl Model {
    fn new(seed: u64, producer: usize) -> Self {
        let rng = Rng::with_seed(seed.wrapping_mul(31).wrapping_add(producer as u64));
        Self { session: session(producer), rng, instances: BTreeMap::new(), told: Vec::new(), ms: 0 }
    }

    /// The next input, a line as programs publish it.
    fn input(&mut self) -> Value {
        self.ms += self.rng.u64(1..20);
        let (strategy, symbol) = (*self.rng.choice(&STRATEGIES).unwrap(), *self.rng.choice(&SYMBOLS).unwrap());
        match self.rng.u8(..) {
            0..3 => self.session_started(),
            3..5 => self.session_stopped(),
            5..10 => self.started(strategy, symbol),
            10..14 => self.stopped(strategy, symbol),
            _ => self.transition(strategy, symbol),
        }
    }

    fn report(&self, kind: &str, more: Value) -> Value {
        let mut data = json!({"session_id": self.session, "at": self.at()});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"type": kind, "data": data})
    }

    fn at(&self) -> String {
        let (seconds, ms) = (self.ms / 1_000, self.ms % 1_000);
        format!("2026-01-05T{:02}:{:02}:{:02}.{ms:03}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
    }

    fn session_started(&mut self) -> Value {
        for strategy in STRATEGIES {
            SYMBOLS.iter().for_each(|symbol| self.begin(&id(strategy, symbol)));
        }
        self.report("session.started", json!({"strategies": STRATEGIES, "symbols": SYMBOLS}))
    }

    fn session_stopped(&mut self) -> Value {
        for (id, instance) in std::mem::take(&mut self.instances) {
            self.told.push(("instance_removed".into(), id, instance.state.into(), None));
        }
        self.report("session.stopped", json!({}))
    }

    fn started(&mut self, strategy: &str, symbol: &str) -> Value {
        self.begin(&id(strategy, symbol));
        self.report("instance.started", json!({"strategy_id": strategy, "symbol": symbol}))
    }

    fn stopped(&mut self, strategy: &str, symbol: &str) -> Value {
        let id = id(strategy, symbol);
        if let Some(instance) = self.instances.remove(&id) {
            self.told.push(("instance_removed".into(), id, instance.state.into(), None));
        }
        self.report("instance.stopped", json!({"strategy_id": strategy, "symbol": symbol}))
    }

    fn begin(&mut self, id: &str) {
        let version = self.instances.get(id).map_or(0, |old| old.version) + 1;
        let instance = Instance { state: "MONITORING", since: self.at(), version, reported: None };
        self.told.push((
            "instance_added".into(),
            id.to_owned(),
            "MONITORING".into(),
            Some((instance.since.clone(), version)),
        ));
        self.instances.insert(id.to_owned(), instance);
    }

    fn transition(&mut self, strategy: &str, symbol: &str) -> Value {
        let (event, quantity) = (*self.rng.choice(&EVENTS).unwrap(), self.rng.u8(0..2));
        let (id, at) = (id(strategy, symbol), self.at());
        let known = self.instances.get(&id).cloned();
        let draw = self.rng.u64(0..8);
        let version = known.as_ref().and_then(|known| match draw {
            0 => known.reported.or(Some(known.version + 1)),
            1 => Some(known.version + 2),
            2 => known.reported.filter(|last| *last > 1).map(|last| last - 1),
            _ => None,
        });
        match known.ok_or("unknown_instance").and_then(|known| next(&known, event, quantity, version)) {
            Err(why) => self.told.push(("illegal_transition".into(), id, why.into(), None)),
            Ok(state) => {
                let instance = self.instances.get_mut(&id).unwrap();
                instance.version = (instance.version + 1).max(version.unwrap_or(0));
                instance.reported = version.or(instance.reported);
                if instance.state != state {
                    (instance.state, instance.since) = (state, at);
                }
                let numbers = Some((instance.since.clone(), instance.version));
                self.told.push(("state_change".into(), id, state.into(), numbers));
            }
        }
        let mut about = json!({"strategy_id": strategy, "symbol": symbol, "event": event});
        about["data"] = json!({"quantity": quantity});
        if let Some(version) = version {
            about["version"] = version.into();
        }
        self.report("instance.transition", about)
    }
}

/// Where the machine of these tests leads, or why nowhere.
fn next(from: &Instance, event: &str, quantity: u8, version: Option<u64>) -> Result<&'static str, &'static str> {
    match (version, from.reported) {
        (Some(version), Some(last)) if version == last => return Err("duplicate"),
        (Some(version), Some(last)) if version < last => return Err("stale_version"),
        _ => {}
    }
    match (from.state, event) {
        ("EXITED", _) => Err("terminal"),
        (_, "error") => Ok("ERROR"),
        ("MONITORING", "signal") => Ok("S1"),
        ("S1", "filled") if quantity > 0 => Ok("POSITION_ACTIVE"),
        ("S1", "filled") => Err("guard_failed"),
        ("POSITION_ACTIVE", "closed") => Ok("EXITED"),
        ("ERROR", "reset") => Ok("MONITORING"),
        _ => Err("no_transition"),
    }
}

fn session(producer: usize) -> String {
    format!("exec_{producer}")
}

fn id(strategy: &str, symbol: &str) -> String {
    format!("strategy:{strategy}:{symbol}")
}

/// Publishes a whole session; what it must lead to.
fn produce(daemon: &Daemon, pace: &Pace, (seed, producer): (u64, usize)) -> Vec<Told> {
    let mut model = Model::new(seed, producer);
    for begin in (0..INPUTS).step_by(BATCH) {
        let mut lines = String::new();
        for _ in begin..INPUTS.min(begin + BATCH) {
            writeln!(lines, "{}", model.input()).unwrap();
        }
        send(daemon, &lines);
        pace.wait(&model.session, model.told.len());
    }
    let last = model.started(END, END);
    send(daemon, &last.to_string());
    model.told
}

fn send(daemon: &Daemon, lines: &str) {
    let path = "/v1/streams/sessions/publish";
    let answer = http::post(&daemon.admin, path, "application/x-ndjson", lines.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// How far the one is for whom producers wait, so that it misses nothing.
#[derive(Default)]
struct Pace {
    heard: Mutex<BTreeMap<String, usize>>,
    more: Condvar,
}

impl Pace {
    fn note(&self, session: &str) {
        *self.heard.lock().unwrap().entry(session.to_owned()).or_default() += 1;
        self.more.notify_all();
    }

    fn wait(&self, session: &str, told: usize) {
        let is_behind =
            |heard: &mut BTreeMap<String, usize>| heard.get(session).is_none_or(|heard| heard + AHEAD < told);
        let heard = self.heard.lock().unwrap();
        let late = self.more.wait_timeout_while(heard, PATIENCE, is_behind).unwrap().1;
        assert!(!late.timed_out(), "{told} events of {session} are not heard");
    }
}

/// The one for whom producers wait.
fn lead(mut client: Client, pace: &Pace) -> Heard {
    let mut heard = Heard { connections: vec![Vec::new()], ..Heard::default() };
    loop {
        let message = client.next();
        if message["data"]["instance_id"].is_string() {
            pace.note(message["session_id"].as_str().unwrap());
        }
        if heard.note(message, PRODUCERS) {
            return heard;
        }
    }
}

/// What was published.
struct Entry {
    seq: u64,
    session: String,
    kind: String,
    data: Value,
}

impl Entry {
    fn told(&self) -> Told {
        let text = |name: &str| self.data[name].as_str().unwrap_or_default().to_owned();
        let numbers = || Some((text("since"), self.data["version"].as_u64().unwrap()));
        let (what, numbers) = match self.kind.as_str() {
            "illegal_transition" => (text("reason"), None),
            "instance_removed" => (text("final_state"), None),
            _ => (text("state"), numbers()),
        };
        (self.kind.clone(), text("instance_id"), what, numbers)
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

/// One that comes and goes, with its position or without.
fn come_and_go(daemon: &Daemon, producer: usize, (seed, epoch): (u64, &str)) -> Heard {
    let (mut heard, mut rng) = (Heard::default(), Rng::with_seed(seed));
    loop {
        let mut client = daemon.connect();
        let position = heard.position().filter(|_| rng.u8(0..4) > 0);
        let since = position.map_or(Value::Null, |seq| json!({"epoch": epoch, "seq": seq}));
        subscribe(&mut client, &format!("state_machines:{}", session(producer)), &since);
        heard.connections.push(Vec::new());
        if heard.hear(&mut client, rng.usize(2..600), 1) {
            return heard;
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

/// Goes through the log as a client did, and knows what it must have been told and shown.
struct Ledger<'a> {
    log: Vec<&'a Entry>,
    at: usize,
    board: Board,
    /// Illegal transitions are not told to pages, and their messages have no numbers.
    is_page: bool,
    losses: usize,
}

impl<'a> Ledger<'a> {
    fn new(log: &'a [Entry], of: Option<usize>) -> Self {
        let is_meant = |entry: &&Entry| of.is_none_or(|producer| entry.session == session(producer));
        Self { log: log.iter().filter(is_meant).collect(), at: 0, board: Board::new(), is_page: false, losses: 0 }
    }

    fn check(mut self, heard: &Heard) -> usize {
        for message in heard.connections.iter().flatten() {
            match message["type"].as_str().unwrap() {
                "response" => assert_eq!(message.get("error_code"), None, "{message}"),
                "status" => {
                    self.losses += usize::from(message["data"]["status"] == "lagged" || message["status"] == "lagged")
                }
                "full_update" => self.take_snapshot(message),
                _ => self.take_event(message),
            }
        }
        assert!(self.log[self.at..].iter().all(|entry| self.is_untold(entry)), "it has not heard everything");
        self.losses
    }

    fn take_event(&mut self, message: &Value) {
        while self.log.get(self.at).is_some_and(|entry| self.is_untold(entry)) {
            self.step();
        }
        let entry = self.log.get(self.at).unwrap_or_else(|| panic!("nothing was published after {message}"));
        let said = (message["type"].as_str().unwrap(), message["session_id"].as_str().unwrap(), &message["data"]);
        assert_eq!(said, (&*entry.kind, &*entry.session, &entry.data), "number {}", entry.seq);
        if !self.is_page {
            assert_eq!(message["seq"], entry.seq, "{message}");
            let same = |earlier: &&&Entry| earlier.session == entry.session;
            let prev = self.log[..self.at].iter().rev().find(same).map(|earlier| earlier.seq);
            assert_eq!(message["prev"].as_u64(), prev, "{message}");
        }
        self.step();
    }

    fn take_snapshot(&mut self, message: &Value) {
        let brief = |one: &Value| {
            let text = |name: &str| one[name].as_str().unwrap().to_owned();
            let key = (text("session_id"), text("instance_id"));
            (key, (text("state"), text("since"), one["version"].as_u64().unwrap()))
        };
        let shown: Board = message["data"]["instances"].as_array().unwrap().iter().map(brief).collect();
        if let Some(seq) = message["seq"].as_u64() {
            assert!(self.at == 0 || self.log[self.at - 1].seq <= seq, "{message} is older than what was told");
            while self.log.get(self.at).is_some_and(|entry| entry.seq <= seq) {
                self.step();
            }
        }
        // A page is not told the moment: it must be one that was, and not before what it has heard.
        while self.is_page && self.board != shown && self.at < self.log.len() {
            self.step();
        }
        assert_eq!(self.board, shown, "{message}");
    }

    fn is_untold(&self, entry: &Entry) -> bool {
        self.is_page && entry.kind == "illegal_transition"
    }

    fn step(&mut self) {
        let entry = self.log[self.at];
        let (kind, id, state, numbers) = entry.told();
        let key = (entry.session.clone(), id);
        match (kind.as_str(), numbers) {
            ("instance_removed", _) => drop(self.board.remove(&key).unwrap()),
            (_, Some((since, version))) => drop(self.board.insert(key, (state, since, version))),
            _ => {}
        }
        self.at += 1;
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
    let machine = MACHINE.replace("settings.machines", "settings.settings.machines");
    format!(
        "{DOORS}[hub]\noutbox = \"512KiB\"\nping = {{ drop_after = \"10m\" }}\n[log]\nlevel = \"error\"\n[broadcasters.state_machines]\n\
         plugin = \"tripping\"\nlisten = [\"sessions\"]\nrestart = {{ max = 1000, backoff = \"1ms..10ms\" }}\n\
         stream = {{ history = {{ events = 1_000_000, bytes = \"512MiB\", age = \"1h\" }} }}\n\
         [broadcasters.state_machines.settings]\npanics = 12\nevery = 5000\n\
         [broadcasters.state_machines.settings.settings]\nlog_broadcasts = \"off\"\n{machine}"
    )
}

fn every_client_can_account_for_every_change() {
    let seed = std::env::var("BROADCASTD_TEST_SEED").map_or(SEED, |text| text.parse().unwrap());
    println!("BROADCASTD_TEST_SEED={seed}");
    let daemon = Daemon::start(&config());
    let whole = || {
        let mut client = daemon.connect();
        subscribe(&mut client, "state_machines", &Value::Null);
        client
    };
    let (pace, quick, mut slow) = (Pace::default(), whole(), whole());
    let answer = hear_json(&mut slow);
    let epoch = answer["data"]["epoch"].as_str().unwrap().to_owned();
    let sse = Events::open(&daemon.clients, "topic=state_machines", &[]);
    let (heard, told) = std::thread::scope(|scope| {
        let (daemon, pace, epoch) = (&daemon, &pace, &*epoch);
        let clients = [
            (None, scope.spawn(move || lead(quick, pace))),
            (None, scope.spawn(|| stay(sse))),
            (Some(0), scope.spawn(move || come_and_go(daemon, 0, (seed, epoch)))),
            (Some(1), scope.spawn(move || come_and_go(daemon, 1, (seed + 1, epoch)))),
            (Some(2), scope.spawn(move || page(daemon, 2, seed))),
        ];
        let producers = [0, 1, 2].map(|producer| scope.spawn(move || produce(daemon, pace, (seed, producer))));
        let told = producers.map(|producer| producer.join().unwrap());
        (clients.map(|(of, client)| (of, client.join().unwrap())), told)
    });
    let slow = stay(slow);
    let log = log(&heard[0].1);
    for (producer, told) in told.iter().enumerate() {
        let happened: Vec<Told> =
            log.iter().filter(|entry| entry.session == session(producer)).map(Entry::told).collect();
        let wrong = happened.iter().zip(told).position(|(one, other)| one != other);
        assert_eq!(wrong.map(|at| (&happened[at], &told[at])), None, "the first that is wrong in session {producer}");
        assert_eq!(happened.len(), told.len(), "session {producer}");
    }
    for (number, (of, heard)) in heard.iter().enumerate() {
        let ledger = Ledger { is_page: *of == Some(2), ..Ledger::new(&log, *of) };
        let losses = ledger.check(heard);
        println!("client {number}: {} connections, {losses} losses", heard.connections.len());
        assert!(number > 0 || losses == 0, "the one for whom everybody waits missed something");
    }
    assert!(Ledger::new(&log, None).check(&slow) > 0, "everything fitted into the kernel and the outbox");
    let restarts = daemon.get("/v1/broadcasters/state_machines").json()["restarts"].as_u64();
    let repeated = daemon.metric(r#"broadcastd_events_repeated_total{stream="state_machines"}"#);
    println!("{} events, {restarts:?} restarts, {repeated:?} repeated", log.len());
    assert!(restarts >= Some(3) && repeated > Some(0.0), "{restarts:?} restarts, {repeated:?} repeated");
    house::until("it runs", || daemon.readiness() == (200, vec![]));
}
