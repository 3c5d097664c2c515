//! The door of pages with one connection: everything that is said there, the client's own rules on a clock of its own,
//! and the state that it fetches.

use std::io::Write;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::dialogue::{self, Dialogue};
use crate::house::{hear_json, say, until};
use crate::http::{ask, get};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(everything_that_is_said),
        needs::program("node", a_page_keeps_its_connection_for_ten_minutes),
        needs::nothing(the_state_is_what_everybody_may_read),
        needs::nothing(the_state_is_where_the_dialect_is),
        needs::nothing(a_relay_is_heard_and_its_state_is_fetched),
    ]
}

const PATH: &str = "/ws";
const STATE: &str = "/api/state/snapshot";
const SUBSCRIBE: &str = r#"{"type":"subscribe","stream":"state_machines","params":{"session_id":"exec_1"},"timestamp":"2026-01-05T10:00:00.000Z"}"#;
const HEARTBEAT: &str = r#"{"type":"heartbeat","timestamp":"2026-01-05T10:00:30.000Z"}"#;

/// A state machine of a session changes, as an outside program tells it.
fn change(daemon: &Daemon, session_id: &str, state: &str) {
    let topic = format!("state_machines:{session_id}");
    let data = json!({"strategy_id": "momentum", "symbol": "BTCUSDT", "state": state});
    let event = json!({"type": "state_change", "topic": topic, "key": "momentum:BTCUSDT", "session_id": session_id, "data": data});
    assert_eq!(daemon.publish("state_machines", &event).status, 202);
}

fn everything_that_is_said() {
    let daemon = Daemon::start(&config(false));
    let change = |session_id: &str, state: &str| change(&daemon, session_id, state);
    let mut page = Dialogue::open(&daemon.clients, PATH);
    page.hears();
    page.says(SUBSCRIBE);
    page.hears();
    page.hears();
    page.note("another session changes, then this one");
    change("exec_2", "S1");
    change("exec_1", "S1");
    page.hears();
    page.says(
        r#"{"type":"subscribe","stream":"session_update","params":{"session_id":"exec_1","unknown":[1]},"id":"req_1"}"#,
    );
    page.hears();
    page.hears();
    page.note("one change, by both names");
    change("exec_1", "O1");
    page.hears();
    page.hears();
    page.says(HEARTBEAT);
    page.hears();
    for mistake in [
        "hello",
        "[]",
        "{}",
        r#"{"type":"command","action":"get_status"}"#,
        r#"{"type":"subscribe","params":{}}"#,
        r#"{"type":"subscribe","stream":"paper_trading","id":"req_2"}"#,
        r#"{"type":"subscribe","stream":"orders"}"#,
    ] {
        page.says(mistake);
        page.hears();
    }
    page.says(r#"{"type":"unsubscribe","stream":"session_update"}"#);
    page.hears();
    page.says(r#"{"type":"unsubscribe","stream":"session_update"}"#);
    page.hears();
    page.note("the broadcaster of a stream does not run; then it does");
    page.says(r#"{"type":"subscribe","stream":"bars"}"#);
    (0..3).for_each(|_| drop(page.hears()));
    daemon.reload(|| daemon.configure(&config(true)));
    (0..2).for_each(|_| drop(page.hears()));
    page.says(r#"{"type":"auth","token":"nobody knows it","id":"req_3"}"#);
    page.hears();
    page.hears_close();
    page.is("streams");
}

/// The client's rules, run by node against what the daemon says.
fn a_page_keeps_its_connection_for_ten_minutes() {
    let daemon = Daemon::start(&config(false));
    let mut page = dialogue::open(&daemon.clients, PATH);
    let connected = hear_json(&mut page);
    say(&mut page, SUBSCRIBE);
    let subscribed = [hear_json(&mut page), hear_json(&mut page)];
    say(&mut page, HEARTBEAT);
    let pong = hear_json(&mut page);
    change(&daemon, "exec_1", "S1");
    let event = hear_json(&mut page);
    let said = |pong: &Value| json!({"connected": connected, "subscribed": subscribed, "pong": pong, "event": event});
    let fine = json!({"sockets": 1, "missed": 0, "early": 0, "updates": 1, "lost": 0});
    assert_eq!(lived(&said(&pong)), fine);
    let mut named = pong.clone();
    named["stream"] = "system".into();
    let lived = lived(&said(&named));
    let (sockets, missed) = (lived["sockets"].as_u64().unwrap(), lived["missed"].as_u64().unwrap());
    assert!((5..=6).contains(&sockets) && (12..=17).contains(&missed), "the rules take no notice: {lived}");
}

/// What the page tells of ten minutes with a daemon that says this.
fn lived(said: &Value) -> Value {
    let mut node = Command::new("node")
        .args(["-e", include_str!("streams/page.js")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    node.stdin.take().unwrap().write_all(said.to_string().as_bytes()).unwrap();
    let ended = node.wait_with_output().unwrap();
    assert!(ended.status.success());
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// Somebody who could be known, so that an identity may be asked for.
const AUTH: &str =
    "[[auth.tokens]]\nname = \"page\"\nsha256 = \"a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e\"\n";

/// Four broadcasters of state machines, of which clients of the endpoint may read one; and streams that somebody might
/// take for those that the client knows.
fn of_many(signals: &str) -> String {
    let machines = [
        ("state_machines", "sessions", "visible = true"),
        ("hidden", "hidden_sessions", "visible = false"),
        ("elsewhere", "other_sessions", "visible = true"),
        ("known", "known_sessions", "auth = \"required\""),
    ];
    let machines = machines.map(|(name, input, stream)| {
        format!(
            "[streams.{input}]\n[broadcasters.{name}]\nplugin = \"state_machines\"\nlisten = [\"{input}\"]\nstream = {{ {stream} }}\n\
             [[broadcasters.{name}.settings.machines]]\nid = \"strategy\"\ninitial = \"MONITORING\"\n\
             states = [{{ id = \"MONITORING\" }}, {{ id = \"S1\" }}]\ntransitions = [{{ from = \"*\", to = \"S1\", event = \"signal\" }}]\n"
        )
    });
    format!(
        "[[server.endpoints]]\npath = \"/ws\"\ndialect = \"streams\"\nstreams = [\"state_machines\", \"hidden\", \"known\", \"ticks\", \"orders\", \"secured\", \"alerts\"]\n\
         aliases = {{ positions = \"ticks\", signals = \"{signals}\" }}\n\
         [streams.ticks]\nvisible = true\n[streams.orders]\nvisible = true\nprivate = true\n\
         [streams.secured]\nvisible = true\nauth = \"required\"\n[streams.alerts]\nvisible = true\n{AUTH}{}",
        machines.concat()
    )
}

/// What a page fetches, without its time.
fn state(address: &str) -> Value {
    let answer = get(address, STATE);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let mut told = answer.json();
    assert_eq!(told["success"], true);
    assert!(told["data"].as_object_mut().unwrap().remove("timestamp").unwrap().as_str().unwrap().ends_with('Z'));
    told["data"].take()
}

fn the_state_is_what_everybody_may_read() {
    let daemon = Daemon::start(&of_many("orders"));
    let nothing = json!({"positions": [], "active_signals": [], "state_machine_state": []});
    assert_eq!(state(&daemon.clients), nothing);
    let publish = |stream: &str, event: Value| assert_eq!(daemon.publish(stream, &event).status, 202, "{stream}");
    let begin = |input: &str, session: &str| {
        let data = json!({"session_id": session, "strategies": ["momentum"], "symbols": ["BTC"]});
        publish(input, json!({"type": "session.started", "data": data}));
    };
    let machines = |name: &str| daemon.get(&format!("/v1/streams/{name}")).json()["records"].take();
    for (input, name) in [("hidden_sessions", "hidden"), ("other_sessions", "elsewhere"), ("known_sessions", "known")] {
        begin(input, "exec_9");
        until("there is one", || machines(name) == 1);
    }
    let signal = |audience: Value| json!({"type": "signal", "key": "1", "audience": audience, "data": {"mine": true}});
    publish("orders", signal(json!("ann")));
    for stream in ["secured", "alerts"] {
        publish(stream, signal(Value::Null));
    }
    assert_eq!(state(&daemon.clients), nothing, "nothing of others");
    daemon.reload(|| daemon.configure(&of_many("secured")));
    assert_eq!(state(&daemon.clients), nothing, "nothing that wants an identity");
    daemon.reload(|| daemon.configure(&of_many("alerts")));
    publish("ticks", json!({"type": "position", "key": "BTC", "data": {"quantity": 2}}));
    begin("sessions", "exec_1");
    begin("sessions", "exec_2");
    until("both are there", || machines("state_machines") == 2);
    let told = state(&daemon.clients);
    assert_eq!((&told["positions"], &told["active_signals"]), (&json!([{"quantity": 2}]), &json!([{"mine": true}])));
    let shown = told["state_machine_state"].as_array().unwrap();
    let of: Vec<[&Value; 2]> = shown.iter().map(|one| [&one["session_id"], &one["state"]]).collect();
    assert_eq!(of, [["exec_1", "MONITORING"], ["exec_2", "MONITORING"]]);
}

fn the_state_is_where_the_dialect_is() {
    let whole = |more: &str| {
        format!(
            "[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [streams.state_machines]\nvisible = true\n[[server.endpoints]]\npath = \"/v1/ws\"\n\
             [[server.endpoints]]\npath = \"/ws\"\ndialect = \"streams\"\nstreams = [\"state_machines\"]\n{more}{AUTH}"
        )
    };
    let daemon = Daemon::start("[streams.state_machines]\nvisible = true\n");
    let nowhere = get(&daemon.clients, STATE);
    assert_eq!((nowhere.status, &nowhere.json()["error"]["code"]), (404, &json!("unknown_path")));
    daemon.reload(|| daemon.configure_whole(&whole("listen = \"127.0.0.1:0\"\n")));
    let addresses: Vec<String> = serde_json::from_value(daemon.get("/v1/status").json()["listen"].take()).unwrap();
    let [here, there] = &addresses[..] else { panic!("{addresses:?}") };
    assert_eq!(get(here, STATE).status, 200);
    let missing = get(there, STATE);
    assert_eq!((missing.status, &missing.json()["error"]["code"]), (404, &json!("unknown_path")));
    let foreign = ask(here, &format!("GET {STATE} HTTP/1.1"), &[("Origin", "https://example.com")], b"");
    assert_eq!((foreign.status, &foreign.json()["error"]["code"]), (403, &json!("origin_refused")));
    let posted = ask(here, &format!("POST {STATE} HTTP/1.1"), &[], b"");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    daemon.reload(|| daemon.configure_whole(&whole("auth = \"required\"\n")));
    change(&daemon, "exec_1", "S1");
    let refused = get(here, STATE);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (401, &json!("authentication_required")));
}

const CONFIG: &str = r#"
[[server.endpoints]]
path = "/ws"
dialect = "streams"
streams = ["state_machines", "positions", "bars", "orders"]
aliases = { session_update = "state_machines" }

[streams.state_machines]
visible = true
template = "{session_id}"

[streams.positions]
visible = true

[streams.orders]
visible = true
private = true
"#;

/// With a broadcaster beside what outside programs publish.
fn config(is_running: bool) -> String {
    let settings = "settings = { interval_ms = 3600000 }";
    format!("{CONFIG}[broadcasters.bars]\nplugin = \"faulty\"\nenabled = {is_running}\n{settings}\n")
}

fn a_relay_is_heard_and_its_state_is_fetched() {
    let daemon = Daemon::start(&config(false));
    let mut page = dialogue::open(&daemon.clients, PATH);
    assert_eq!(hear_json(&mut page)["status"], "connected");
    say(&mut page, r#"{"type":"subscribe","stream":"session_update","params":{"session_id":"exec_1"}}"#);
    assert_eq!(hear_json(&mut page)["status"], "subscribed");
    assert_eq!(hear_json(&mut page)["type"], "full_update");
    let change = json!({
        "type": "state_change", "topic": "state_machines:exec_1", "session_id": "exec_1",
        "data": {"strategy_id": "momentum", "symbol": "BTCUSDT", "state": "S1", "since": "2026-01-05T10:00:00Z"},
    });
    assert_eq!(daemon.publish("state_machines", &change).status, 202);
    let event = hear_json(&mut page);
    assert_eq!(
        (&event["type"], &event["stream"], &event["session_id"], &event["data"]),
        (&json!("state_change"), &json!("session_update"), &json!("exec_1"), &change["data"])
    );
    let position = json!({"type": "position", "key": "BTC", "data": {"quantity": 2}});
    assert_eq!(daemon.publish("positions", &position).status, 202);
    assert_eq!(get(&daemon.clients, STATE).json()["data"]["positions"], json!([{"quantity": 2}]));
    // What is not told of the machines of a broadcaster is told of a stream that says nothing of machines.
    let illegal = json!({"type": "illegal_transition", "topic": "state_machines:exec_1"});
    assert_eq!(daemon.publish("state_machines", &illegal).status, 202);
    assert_eq!(hear_json(&mut page)["type"], "illegal_transition");
    let count = |name: &str| daemon.metric(&format!("{name}{{stream=\"state_machines\",dialect=\"streams\"}}"));
    assert_eq!(count("broadcastd_deliveries_total"), Some(2.0));
    assert_eq!(count("broadcastd_events_untold_total"), Some(0.0));
}
