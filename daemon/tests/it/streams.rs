//! The door of pages with one connection: everything that is said there, the client's own rules on a clock of its own,
//! and the state that it fetches.

use std::io::Write;
use std::process::{Command, Stdio};

use std::collections::BTreeMap;

use broadcastd::dialect::Dialect;
use broadcastd::event::Draft;
use broadcastd::hub::settings::Settings;
use broadcastd::hub::template::Template;
use broadcastd::identity::Auth;
use broadcastd::server::EndpointConfig;
use broadcastd::shard::inbox::Endpoint;
use broadcastd_plugin_api::KindSpec;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::dialogue::{self, Dialogue};
use crate::house::{House, hear_json, say, shard_config};
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

fn endpoint() -> Endpoint {
    let aliases = [("session_update".to_owned(), "state_machines".to_owned())].into();
    Endpoint { aliases, ..dialogue::endpoint(PATH, Dialect::Streams, &["state_machines", "bars", "orders"]) }
}

fn instances() -> KindSpec {
    KindSpec { schema: json!({}), collection: Some("instances".to_owned()) }
}

/// A house with state machines, as their broadcaster declares them.
fn house(endpoint: Endpoint) -> House {
    let house = House::with(dialogue::serving([endpoint]), shard_config());
    let kinds = ["state_change", "instance_added", "instance_removed"];
    let kinds = kinds.map(|kind| (kind.to_owned(), instances())).into();
    let template = Template::parse("{session_id}").unwrap();
    house.hub.declare("state_machines", Settings { template, kinds, ..Settings::default() });
    house.hub.declare("orders", Settings { private: true, ..Settings::default() });
    house
}

/// A state machine of a session changes.
fn change(house: &House, session_id: &str, state: &str) {
    let payload = json!({"strategy_id": "momentum", "symbol": "BTCUSDT", "state": state}).to_string();
    let draft = Draft {
        kind: "state_change",
        topic: session_id,
        key: "momentum:BTCUSDT",
        session_id,
        payload: payload.as_bytes(),
        ..Draft::default()
    };
    house.hub.stream("state_machines").unwrap().publish(&draft, None).unwrap();
}

fn everything_that_is_said() {
    let daemon = Daemon::start(&config(false));
    let change = |session_id: &str, state: &str| {
        let topic = format!("state_machines:{session_id}");
        let data = json!({"strategy_id": "momentum", "symbol": "BTCUSDT", "state": state});
        let event = json!({"type": "state_change", "topic": topic, "key": "momentum:BTCUSDT", "session_id": session_id, "data": data});
        assert_eq!(daemon.publish("state_machines", &event).status, 202);
    };
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
    let house = house(endpoint());
    let mut page = dialogue::open(&house.address(), PATH);
    let connected = hear_json(&mut page);
    say(&mut page, SUBSCRIBE);
    let subscribed = [hear_json(&mut page), hear_json(&mut page)];
    say(&mut page, HEARTBEAT);
    let pong = hear_json(&mut page);
    change(&house, "exec_1", "S1");
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

fn the_state_is_what_everybody_may_read() {
    let aliases = [("positions".to_owned(), "ticks".to_owned())].into();
    let streams = ["state_machines", "ticks", "orders", "hidden"].map(str::to_owned).to_vec();
    let house = house(Endpoint { aliases, streams, ..endpoint() });
    let address = house.address();
    let data = || {
        let answer = get(&address, STATE);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert_eq!(answer.header("access-control-allow-origin"), None);
        let mut told = answer.json();
        assert_eq!(told["success"], true);
        assert!(told["data"].as_object_mut().unwrap().remove("timestamp").unwrap().as_str().unwrap().ends_with('Z'));
        told["data"].take()
    };
    assert_eq!(data(), json!({"positions": [], "active_signals": [], "state_machine_state": []}));
    let kinds = BTreeMap::from([("a".to_owned(), instances())]);
    let hidden = Settings { visible: false, kinds: kinds.clone(), ..Settings::default() };
    house.hub.declare("hidden", hidden);
    house.hub.declare("elsewhere", Settings { kinds: kinds.clone(), ..Settings::default() });
    house.hub.declare("signals", Settings::default());
    house.hub.declare("orders", Settings { private: true, kinds, ..Settings::default() });
    for stream in ["hidden", "elsewhere", "orders", "signals"] {
        let audience = if stream == "orders" { "ann" } else { "" };
        let draft = Draft { kind: "a", key: "1", audience, payload: br#"{"mine":true}"#, ..Draft::default() };
        house.hub.stream(stream).unwrap().publish(&draft, None).unwrap();
    }
    assert_eq!(data(), json!({"positions": [], "active_signals": [], "state_machine_state": []}), "nothing of others");
    let draft = Draft { kind: "position", key: "BTC", payload: br#"{"quantity":2}"#, ..Draft::default() };
    house.hub.stream("ticks").unwrap().publish(&draft, None).unwrap();
    change(&house, "exec_1", "S1");
    change(&house, "exec_2", "O1");
    let told = data();
    assert_eq!((&told["positions"], &told["active_signals"]), (&json!([{"quantity": 2}]), &json!([])));
    let states: Vec<&Value> = told["state_machine_state"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["S1", "O1"]);
}

fn the_state_is_where_the_dialect_is() {
    let mut config = dialogue::serving([]);
    config.listen = vec!["127.0.0.1:0".into(), "localhost:0".into()];
    let native = Endpoint::open("/v1/ws", Dialect::Native);
    config.endpoints = vec![
        EndpointConfig { listen: None, endpoint: native },
        EndpointConfig { listen: Some("127.0.0.1:0".into()), endpoint: endpoint() },
    ];
    let house = House::with(config, shard_config());
    let [here, there] = &house.server.addresses()[..] else { panic!() };
    assert_eq!(get(here, STATE).status, 200);
    let missing = get(there, STATE);
    assert_eq!((missing.status, &missing.json()["error"]["code"]), (404, &json!("unknown_path")));
    let foreign = ask(here, &format!("GET {STATE} HTTP/1.1"), &[("Origin", "https://example.com")], b"");
    assert_eq!((foreign.status, &foreign.json()["error"]["code"]), (403, &json!("origin_refused")));
    let posted = ask(here, &format!("POST {STATE} HTTP/1.1"), &[], b"");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    let closed = crate::streams::house(Endpoint { auth: Auth::Required, ..endpoint() });
    change(&closed, "exec_1", "S1");
    let refused = get(&closed.address(), STATE);
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
