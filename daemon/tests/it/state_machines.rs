//! State machines in the real daemon: what programs publish, what clients of every door hear, and what outlives what.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::dialogue::{self, Dialogue};
use crate::events::Events;
use crate::house::{self, Client, hear_json, say};
use crate::needs;
use crate::process::Daemon;
use crate::user_events::unmocked;

mod model;
mod page;
mod producers;

pub fn tests() -> Vec<Trial> {
    let own = vec![
        needs::nothing(three_doors_tell_one_story_and_a_right_snapshot_to_whoever_joins),
        needs::nothing(everything_that_is_said_to_a_page),
        needs::nothing(the_shipped_configuration_follows_sessions),
        needs::program("curl", page::the_story_of_the_page_is_heard_alike_at_every_door),
        needs::nothing(page::the_machine_of_the_page_allows_its_story),
        needs::nothing(page::where_a_machine_leads_nowhere_check_and_the_log_say_so_at_its_line),
        needs::nothing(since_outlives_a_restart_and_a_kill_is_told_as_a_gap),
        needs::nothing(a_reload_takes_no_state_away_that_is_in_use),
        needs::nothing(everything_wrong_with_a_machine_is_told_at_its_line),
        needs::nothing(figures_name_states_and_fold_those_that_nobody_declared),
        needs::nothing(who_comes_at_once_is_shown_the_same_bytes),
        needs::nothing(producers::programs_that_report_at_once_lose_nothing_and_keep_their_order),
    ];
    own.into_iter().chain(model::tests()).collect()
}

const SESSION: &str = "exec_1";
/// Every door, and nobody that falls silent.
const DOORS: &str = r#"
[[server.endpoints]]
path = "/v1/ws"
dialect = "native"
[[server.endpoints]]
path = "/v1/sse"
dialect = "sse"
[[server.endpoints]]
path = "/ws"
dialect = "streams"
streams = ["state_machines"]
aliases = { session_update = "state_machines" }
auth = "none"
[streams.sessions]
"#;
const MACHINE: &str = r#"
[[broadcasters.state_machines.settings.machines]]
id = "strategy"
initial = "MONITORING"
final = ["EXITED"]
stale_after = "0s"
states = [{ id = "MONITORING" }, { id = "S1" }, { id = "POSITION_ACTIVE" }, { id = "EXITED" }, { id = "ERROR" }]
transitions = [
  { from = "MONITORING", to = "S1", event = "signal" },
  { from = "S1", to = "POSITION_ACTIVE", event = "filled", guard = "data.quantity > 0" },
  { from = "POSITION_ACTIVE", to = "EXITED", event = "closed" },
  { from = "*", to = "ERROR", event = "error" },
  { from = "ERROR", to = "MONITORING", event = "reset" },
]
"#;

fn config() -> String {
    format!("{DOORS}[broadcasters.state_machines]\nplugin = \"state_machines\"\nlisten = [\"sessions\"]\n{MACHINE}")
}

/// What a program reports at a second of its own clock.
fn report(kind: &str, second: u32, more: Value) -> Value {
    let mut data = json!({"session_id": SESSION, "at": format!("2025-12-29T15:00:{second:02}Z")});
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"type": kind, "data": data})
}

/// What happens to the momentum on BTC.
fn happens(second: u32, event: &str, data: Value) -> Value {
    let about = json!({"strategy_id": "momentum", "symbol": "BTC", "event": event, "data": data});
    report("instance.transition", second, about)
}

fn started() -> Value {
    report("session.started", 0, json!({"strategies": ["momentum", "grid"], "symbols": ["BTC"]}))
}

fn publish(daemon: &Daemon, input: &Value) {
    let answer = daemon.publish("sessions", input);
    assert_eq!(answer.status, 202, "{input}: {answer:?}");
}

/// The whole of a session, with one mistake in it. Each input with the number of its events.
fn story() -> Vec<(Value, usize)> {
    vec![
        (started(), 2),
        (happens(10, "signal", json!({})), 1),
        (happens(12, "filled", json!({"quantity": 0})), 1),
        (happens(15, "filled", json!({"quantity": 1.5, "price": 42000.25})), 1),
        (happens(55, "closed", json!({})), 1),
        (report("instance.stopped", 56, json!({"strategy_id": "momentum", "symbol": "BTC", "reason": "done"})), 1),
        (report("session.stopped", 59, json!({})), 1),
    ]
}

/// A client of a door, by what it is told: kinds and payloads, which are the same everywhere.
trait Listener {
    fn next(&mut self) -> Value;

    /// What is shown to it when it comes.
    fn shown(&mut self) -> Vec<Value> {
        loop {
            let message = self.next();
            if message["type"] == "full_update" {
                return message["data"]["instances"].as_array().unwrap_or_else(|| panic!("{message}")).clone();
            }
            assert!(["response", "status"].contains(&message["type"].as_str().unwrap()), "{message}");
        }
    }

    fn event(&mut self) -> (String, Value) {
        let message = self.next();
        let kind = message["type"].as_str().unwrap();
        assert!(!["response", "status", "full_update", "error"].contains(&kind), "{message}");
        assert_eq!(message["session_id"], SESSION);
        (kind.to_owned(), message["data"].clone())
    }
}

impl Listener for Client {
    fn next(&mut self) -> Value {
        hear_json(self)
    }
}

impl Listener for Events {
    fn next(&mut self) -> Value {
        Events::next(self).data
    }
}

fn native(daemon: &Daemon) -> Client {
    let mut client = daemon.connect();
    say(&mut client, &json!({"type": "subscribe", "topic": format!("state_machines:{SESSION}")}).to_string());
    client
}

fn page(daemon: &Daemon) -> Client {
    let mut client = dialogue::open(&daemon.clients, "/ws");
    assert_eq!(hear_json(&mut client)["status"], "connected");
    let wish = json!({"type": "subscribe", "stream": "state_machines", "params": {"session_id": SESSION}});
    say(&mut client, &wish.to_string());
    client
}

fn sse(daemon: &Daemon) -> Events {
    Events::open(&daemon.clients, &format!("topic=state_machines:{SESSION}"), &[])
}

/// Who joins now, by each door.
fn newcomers(daemon: &Daemon) -> [Box<dyn Listener>; 3] {
    [Box::new(native(daemon)), Box::new(page(daemon)), Box::new(sse(daemon))]
}

/// What events and snapshots both say of an instance.
fn brief(one: &Value) -> [Value; 7] {
    ["machine", "instance_id", "strategy_id", "symbol", "state", "since", "version"].map(|name| one[name].clone())
}

/// What clients make of events: the newest of each instance.
#[derive(Clone, Default)]
struct Board(BTreeMap<String, Value>);

impl Board {
    fn take(&mut self, kind: &str, data: &Value) {
        let id = data["instance_id"].as_str().unwrap().to_owned();
        match kind {
            "instance_added" | "state_change" => drop(self.0.insert(id, data.clone())),
            "instance_removed" => drop(self.0.remove(&id).unwrap()),
            other => assert_eq!(other, "illegal_transition"),
        }
    }

    /// A snapshot has what every instance was last told to be, and nothing else.
    fn is_shown_by(&self, instances: &[Value]) {
        let mut shown: Vec<_> = instances.iter().map(brief).collect();
        shown.sort_by_key(|one| one[1].to_string());
        assert_eq!(shown, self.0.values().map(brief).collect::<Vec<_>>());
        for one in instances {
            assert_eq!(one["session_id"], SESSION);
        }
    }
}

fn three_doors_tell_one_story_and_a_right_snapshot_to_whoever_joins() {
    let daemon = Daemon::start(&config());
    let mut first = newcomers(&daemon);
    let mut later: Vec<(usize, [Box<dyn Listener>; 3])> = Vec::new();
    first.iter_mut().for_each(|one| assert_eq!(one.shown(), [] as [Value; 0]));
    let mut board = Board::default();
    let mut told = Vec::new();
    for (input, events) in story() {
        publish(&daemon, &input);
        for _ in 0..events {
            let (kind, data) = first[0].event();
            board.take(&kind, &data);
            told.push((kind, data));
        }
        let mut here = newcomers(&daemon);
        here.iter_mut().for_each(|one| board.is_shown_by(&one.shown()));
        later.push((told.len(), here));
    }
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    let (added, moved, gone) = ("instance_added", "state_change", "instance_removed");
    assert_eq!(kinds, [added, added, moved, "illegal_transition", moved, moved, gone, gone]);
    let [_, page, sse] = &mut first;
    let rest = |from: usize| told[from..].to_vec();
    let for_pages = |from: usize| rest(from).into_iter().filter(|(kind, _)| kind != "illegal_transition");
    for_pages(0).for_each(|event| assert_eq!(page.event(), event));
    rest(0).into_iter().for_each(|event| assert_eq!(sse.event(), event));
    for (from, [native, page, sse]) in &mut later {
        rest(*from).into_iter().for_each(|event| assert_eq!((native.event(), sse.event()), (event.clone(), event)));
        for_pages(*from).for_each(|event| assert_eq!(page.event(), event));
    }
}

/// To the letter, in a golden file.
fn everything_that_is_said_to_a_page() {
    let daemon = Daemon::start(&config());
    let mut page = Dialogue::open(&daemon.clients, "/ws");
    page.hears();
    page.says(r#"{"type":"subscribe","stream":"state_machines","params":{"session_id":"exec_1"},"timestamp":"2025-12-29T15:00:00.000Z"}"#);
    (0..2).for_each(|_| drop(page.hears()));
    let (mut told, mut untold) = (0.0, 0.0);
    for (input, events) in story() {
        page.note(&format!("{} {}", input["type"].as_str().unwrap(), input["data"]));
        publish(&daemon, &input);
        // Events of what is illegal are not told; what follows shows that nothing was said.
        let is_illegal = input["data"]["data"]["quantity"] == 0;
        (0..events).filter(|_| !is_illegal).for_each(|_| drop(page.hears()));
        *(if is_illegal { &mut untold } else { &mut told }) += events as f64;
    }
    page.says(r#"{"type":"unsubscribe","stream":"state_machines","timestamp":"2025-12-29T15:01:00.000Z"}"#);
    page.hears();
    page.is("state_machines");
    let count = |name: &str| daemon.metric(&format!("{name}{{stream=\"state_machines\",dialect=\"streams\"}}"));
    assert_eq!(count("broadcastd_deliveries_total"), Some(told));
    assert_eq!(count("broadcastd_events_untold_total"), Some(untold));
    assert!(untold > 0.0, "the story has something that is not told");
}

fn the_shipped_configuration_follows_sessions() {
    let shipped = include_str!("../../../config.toml");
    let ports = [("\"127.0.0.1:8080\", \"127.0.0.1:8000\"", "\"127.0.0.1:0\""), ("127.0.0.1:9180", "127.0.0.1:0")];
    let level = ("log_broadcasts = \"debug\"", "log_broadcasts = \"info\"");
    let text = ports.iter().chain([&level]).fold(unmocked(shipped), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    let daemon = Daemon::start("");
    daemon.reload(|| daemon.configure_whole(&text));
    let mut client = page(&daemon);
    assert_eq!(client.shown(), [] as [Value; 0]);
    publish(&daemon, &started());
    assert_eq!(client.event().0, "instance_added");
    let log = daemon.wait_for_log("state_machine.broadcast");
    assert!(log.contains("instance_added") && log.contains("subscribers"), "{log}");
}

fn since_outlives_a_restart_and_a_kill_is_told_as_a_gap() {
    const MOVES: usize = 400;
    let daemon = Daemon::start(&config());
    let turn = |n: usize| happens(1 + u32::from(n > 0), if n.is_multiple_of(2) { "error" } else { "reset" }, json!({}));
    publish(&daemon, &Value::Array([started()].into_iter().chain((0..MOVES).map(turn)).collect()));
    // It stops at once: what was accepted is followed to the end before.
    let (status, folder) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    let daemon = Daemon::start_in(folder, &config(), &[]);
    let find = |shown: Vec<Value>| shown.into_iter().find(|one| one["strategy_id"] == "momentum").unwrap();
    let brief = |one: &Value| json!([one["state"], one["since"], one["version"]]);
    let mut client = native(&daemon);
    let momentum = find(client.shown());
    let (before, since) = (MOVES as u64 + 1, "2025-12-29T15:00:02.000Z");
    assert_eq!(brief(&momentum), json!(["MONITORING", since, before]), "{momentum}");
    publish(&daemon, &happens(9, "signal", json!({})));
    let (_, change) = client.event();
    let after = json!(["S1", "2025-12-29T15:00:09.000Z", before + 1]);
    assert_eq!((brief(&change), &change["duration_ms"]), (after.clone(), &json!(7_000)));
    assert_eq!(figure(&daemon, "input_gaps_total", &[]), Some(0.0), "it stopped in order, and nothing was lost");
    daemon.signal("KILL");
    let folder = daemon.wait().1;
    let daemon = Daemon::start_in(folder, &config(), &[]);
    daemon.wait_for_log("inputs are gone before they were read");
    assert_eq!(figure(&daemon, "input_gaps_total", &[]), Some(1.0));
    let momentum = find(native(&daemon).shown());
    let whole = [json!(["MONITORING", since, before]), after];
    assert!(whole.contains(&brief(&momentum)), "what was saved last, as it was then: {momentum}");
}

fn a_reload_takes_no_state_away_that_is_in_use() {
    let daemon = Daemon::start(&config());
    let mut client = native(&daemon);
    client.shown();
    publish(&daemon, &Value::Array(vec![started(), happens(1, "signal", json!({}))]));
    (0..3).for_each(|_| drop(client.event()));
    let gone = |line: &&str| line.contains("S1") && !line.starts_with("states");
    let kept = |line: &&str| !gone(line);
    let less: Vec<&str> = MACHINE.lines().filter(kept).collect();
    let less = less.join("\n").replace("{ id = \"S1\" }, ", "");
    assert!(!less.contains("S1"), "{less}");
    let less = config().replace(MACHINE, &less);
    daemon.reload(|| daemon.configure(&less));
    let told =
        "broadcaster state_machines is degraded: machine \"strategy\" keeps its old declaration while S1 is in use";
    house::until("the operator is told", || daemon.readiness() == (200, vec![told.to_owned()]));
    let log = daemon.wait_for_log("a machine keeps its old declaration");
    assert!(log.contains("strategy") && log.contains("S1"), "{log}");
    let kept = |daemon: &Daemon| figure(daemon, "declaration_kept", &[("machine", "strategy")]);
    assert_eq!(kept(&daemon), Some(1.0));
    publish(&daemon, &happens(2, "filled", json!({"quantity": 1})));
    assert_eq!(client.event().1["state"], "POSITION_ACTIVE", "by the old declaration");
    house::until("the new declaration is in force", || daemon.readiness() == (200, vec![]));
    assert_eq!(kept(&daemon), Some(0.0));
    let events = ["error", "reset", "signal"].map(|event| happens(3, event, json!({})));
    publish(&daemon, &Value::Array(events.to_vec()));
    assert_eq!([0, 1].map(|_| client.event().1["state"].clone()), ["ERROR", "MONITORING"]);
    assert_eq!(client.event().1["reason"], "no_transition", "by the new one");
}

fn everything_wrong_with_a_machine_is_told_at_its_line() {
    let daemon = Daemon::start(&config());
    let bad = config()
        .replace("initial = \"MONITORING\"", "initial = \"MONITOR\"")
        .replace("data.quantity > 0", "data.quantity >")
        .replace("from = \"ERROR\", to = \"MONITORING\"", "from = \"EXITED\", to = \"NOWHERE\"");
    let told = daemon.refuse(|| daemon.configure(&bad));
    let whole = format!("{}{bad}", crate::process::PORTS);
    for (place, why) in [
        ("initial = ", "there is no state \"MONITOR\""),
        ("data.quantity >", "the guard is not understood at byte 15"),
        ("EXITED\", to", "state \"EXITED\" is final"),
        ("NOWHERE", "there is no state \"NOWHERE\""),
    ] {
        let line = whole.lines().position(|line| line.contains(place)).unwrap() + 1;
        assert!(told.contains(why) && told.contains(&format!("config.toml:{line}:")), "{place}:\n{told}");
    }
    assert!(told.ends_with("4 errors. the running configuration stays active\n"), "{told}");
}

/// A figure of the broadcaster with these labels.
fn figure(daemon: &Daemon, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let page = daemon.get("/metrics").body;
    let begin = format!("broadcastd_plugin_{name}{{");
    let fits = |line: &&str| {
        line.starts_with(&begin)
            && line.contains("broadcaster=\"state_machines\"")
            && labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
    };
    page.lines().find(fits).and_then(|line| line.rsplit(' ').next()?.parse().ok())
}

fn figures_name_states_and_fold_those_that_nobody_declared() {
    let plugin = "[broadcasters.state_machines]\nplugin = \"state_machines\"\nlisten = [\"sessions\"]\n";
    let daemon = Daemon::start(&format!("{DOORS}{plugin}settings = {{ stale_after = \"5s\" }}\n"));
    let mut client = native(&daemon);
    client.shown();
    let to = |second, state: &str| {
        report("instance.transition", second, json!({"strategy_id": "momentum", "symbol": "BTC", "to": state}))
    };
    let unknown = report("instance.transition", 4, json!({"strategy_id": "nobody", "symbol": "BTC", "to": "S1"}));
    publish(&daemon, &Value::Array(vec![started(), to(3, "S1"), to(5, "STRANGE"), to(6, "WEIRD"), unknown]));
    while client.event().0 != "illegal_transition" {}
    let of = |state| [("machine", "strategy"), ("state", state)];
    assert_eq!(figure(&daemon, "instances", &of("other")), Some(1.0));
    assert_eq!(figure(&daemon, "instances", &of("MONITORING")), Some(1.0));
    assert_eq!(figure(&daemon, "instances", &of("S1")), Some(0.0));
    let moves = |from, to| figure(&daemon, "transitions_total", &[("machine", "strategy"), ("from", from), ("to", to)]);
    assert_eq!([moves("MONITORING", "S1"), moves("S1", "other"), moves("other", "other")], [Some(1.0); 3]);
    let reason = [("machine", "strategy"), ("reason", "unknown_instance")];
    assert_eq!(figure(&daemon, "illegal_transitions_total", &reason), Some(1.0));
    assert_eq!(figure(&daemon, "time_in_state_seconds_sum", &of("MONITORING")), Some(3.0));
    assert_eq!(figure(&daemon, "time_in_state_seconds_count", &of("other")), Some(1.0));
    for _ in 0..2 {
        assert_eq!(client.event().0, "instance_stale");
    }
    assert_eq!(figure(&daemon, "stale_instances", &[("machine", "strategy")]), Some(2.0));
    let oldest = || figure(&daemon, "oldest_in_state_seconds", &of("other"));
    house::until("who stays long is seen", || oldest() > Some(0.0));
    let page = daemon.get("/metrics").body;
    for bound in ["0.1", "1", "300", "86400", "2592000", "+Inf"] {
        let bucket = [of("MONITORING")[0], of("MONITORING")[1], ("le", bound)];
        let expected = f64::from(u8::from(!["0.1", "1"].contains(&bound)));
        assert_eq!(figure(&daemon, "time_in_state_seconds_bucket", &bucket), Some(expected), "3 s, up to {bound}");
    }
    let snapshots = |stream: &str| daemon.metric(&format!("broadcastd_snapshots_sent_total{{stream=\"{stream}\"}}"));
    let before = snapshots("state_machines").unwrap();
    for _ in 0..2 {
        self::page(&daemon).shown();
    }
    assert_eq!((before, snapshots("state_machines")), (1.0, Some(3.0)), "to each one that subscribes");
    for name in ["STRANGE", "WEIRD", "momentum", SESSION] {
        assert!(!page.contains(name), "{name} is no label");
    }
}

fn who_comes_at_once_is_shown_the_same_bytes() {
    const CROWD: usize = 400;
    let daemon = Daemon::start(&config());
    let count = |what: &str| {
        daemon.metric(&format!("broadcastd_snapshots_{what}_total{{stream=\"state_machines\"}}")).unwrap_or_default()
    };
    let mut first = daemon.subscriber("state_machines");
    publish(&daemon, &started());
    for _ in 0..2 {
        assert_eq!(hear_json(&mut first)["type"], "instance_added");
    }
    let mut crowd: Vec<Client> = (0..CROWD).map(|_| daemon.connect()).collect();
    let (sent, made) = (count("sent"), count("made"));
    let subscribe = json!({"type": "subscribe", "stream": "state_machines"}).to_string();
    crowd.iter_mut().for_each(|client| say(client, &subscribe));
    for client in &mut crowd {
        assert_eq!(hear_json(client)["data"]["status"], "subscribed");
        let shown = hear_json(client);
        assert_eq!(shown["data"]["instances"].as_array().map(Vec::len), Some(2), "{shown}");
    }
    assert_eq!(count("sent") - sent, CROWD as f64);
    let made = count("made") - made;
    assert!(
        made * 20.0 <= CROWD as f64,
        "made {made} times: once by each shard, and again where a slow machine paused"
    );
}
