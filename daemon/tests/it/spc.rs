//! The door of statistical process control: everything that is said there, and a client that nobody here wrote.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::dialogue::{self, Dialogue};
use crate::house::{hear_json, say};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(everything_that_is_said),
        needs::nothing(what_is_not_told_is_counted),
        needs::program("node-ws", the_javascript_client_is_told_of_every_acknowledgement),
    ]
}

const PATH: &str = "/ws/samples";
const CONFIG: &str = r#"
[[server.endpoints]]
path = "/ws/samples"
dialect = "spc"
streams = ["alerts"]
"#;

fn everything_that_is_said() {
    let daemon = Daemon::start(&format!("{CONFIG}[streams.alerts]\nvisible = true\n"));
    let publish = |kind: &str, topic: &str, data: Value| {
        let topic = if topic.is_empty() { "alerts".to_owned() } else { format!("alerts:{topic}") };
        let event = json!({"type": kind, "topic": topic, "key": kind, "data": data});
        assert_eq!(daemon.publish("alerts", &event).status, 202);
    };
    publish("control_limits", "1", json!({"characteristic_id": 1, "ucl": 103.0}));
    let mut client = Dialogue::open(&daemon.clients, PATH);
    client.says(r#"{"type":"ping"}"#);
    client.hears();
    client.note("a violation is acknowledged");
    publish("ack_update", "", json!({"violation_id":10,"acknowledged":true,"user":"john.doe","reason":"Tool Change"}));
    client.hears();
    client.says(r#"{"type":"subscribe","characteristic_ids":[1, 2,3]}"#);
    client.hears();
    client.says(r#"{"action":"subscribe","characteristic_id":"4"}"#);
    client.hears();
    client.note("characteristics 9, 1 and 4 have news, and a violation is acknowledged");
    publish("sample", "9", json!({"sample_id":41,"characteristic_id":9}));
    publish(
        "sample",
        "1",
        json!({"sample_id":42,"characteristic_id":1,"value":10.5,"zone":"zone_c_upper","in_control":true}),
    );
    publish("violation", "4", json!({"violation_id":11,"sample_id":42,"characteristic_id":4,"severity":"CRITICAL"}));
    publish("ack_update", "", json!({"violation_id":11,"acknowledged":true}));
    publish("control_limits", "1", json!({"characteristic_id":1,"ucl":104.0}));
    (0..4).for_each(|_| drop(client.hears()));
    for mistake in [
        "hello",
        "[]",
        "{}",
        r#"{"type":"jump"}"#,
        r#"{"type":"subscribe"}"#,
        r#"{"type":"unsubscribe"}"#,
        r#"{"type":"subscribe","characteristic_ids":[{}]}"#,
    ] {
        client.says(mistake);
        client.hears();
    }
    client.says(r#"{"type":"unsubscribe","characteristic_ids":[1,2]}"#);
    client.hears();
    client.says(r#"{"type":"unsubscribe","characteristic_ids":[1,2]}"#);
    client.hears();
    client.note("characteristics 1 and 4 have news");
    publish("sample", "1", json!({"sample_id":43}));
    publish("sample", "4", json!({"sample_id":44}));
    client.hears();
    client.says(r#"{"type":"auth","token":"nobody knows it"}"#);
    client.hears();
    client.hears_close();
    client.is("spc");
}

fn what_is_not_told_is_counted() {
    let bars = "[[server.endpoints]]\npath = \"/bars\"\ndialect = \"fastws\"\nstreams = [\"alerts\"]\n";
    let broadcaster = "[broadcasters.alerts]\nplugin = \"faulty\"\nenabled = false\n";
    let daemon = Daemon::start(&format!("{CONFIG}{bars}{broadcaster}"));
    let untold = |dialect: &str| {
        let series = "broadcastd_no_source_untold_total{stream=\"alerts\",dialect=";
        daemon.metric(&format!("{series}\"{dialect}\"}}"))
    };
    let mut client = dialogue::open(&daemon.clients, PATH);
    say(&mut client, r#"{"type":"subscribe","characteristic_ids":[1]}"#);
    assert_eq!(hear_json(&mut client), json!({"type": "subscribed", "characteristic_ids": [1]}));
    say(&mut client, r#"{"type":"ping"}"#);
    assert_eq!(hear_json(&mut client), json!({"type": "pong"}), "nothing on the wire");
    assert_eq!(untold("spc"), Some(2.0), "by being there, and by subscribing");
    let mut client = dialogue::open(&daemon.clients, "/bars");
    for symbol in ["A", "B"] {
        let wish = json!({"type": "alerts.subscribe", "payload": {"symbol": symbol}});
        say(&mut client, &wish.to_string());
        let answer = hear_json(&mut client);
        assert_eq!(answer["payload"]["symbol"], symbol, "nothing on the wire: {answer}");
    }
    assert_eq!(untold("fastws"), Some(2.0), "for each subscription");
}

/// Is there, then subscribes to characteristic 1, and prints what it hears; leaves after the second acknowledgement.
const JAVASCRIPT: &str = r#"
const WebSocket = require("ws");
const socket = new WebSocket(process.argv[1]);
const say = message => socket.send(JSON.stringify(message));
let acknowledgements = 0;
socket.on("open", () => say({ type: "ping" }));
socket.on("message", data => {
    console.log(data.toString());
    if (JSON.parse(data).type !== "ack_update") return;
    if (++acknowledgements === 1) say({ type: "subscribe", characteristic_ids: [1] });
    else socket.close(1000);
});
socket.on("close", code => process.exit(code === 1000 ? 0 : 1));
socket.on("error", error => { console.error(error); process.exit(1); });
"#;

fn the_javascript_client_is_told_of_every_acknowledgement() {
    let daemon = Daemon::start(&format!("{CONFIG}[streams.alerts]\nvisible = true\n"));
    let url = format!("ws://{}{PATH}", daemon.clients);
    let mut node = Command::new("node").args(["-e", JAVASCRIPT, &url]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines().map(Result::unwrap);
    let publish = |kind: &str, topic: &str| {
        let event = json!({"type": kind, "topic": topic, "data": {"violation_id": 10}});
        assert_eq!(daemon.publish("alerts", &event).status, 202);
    };
    let mut hears = |expected: &str| assert_eq!(lines.next().as_deref(), Some(expected));
    hears(r#"{"type":"pong"}"#);
    publish("ack_update", "alerts");
    hears(r#"{"type":"ack_update","payload":{"violation_id":10}}"#);
    hears(r#"{"type":"subscribed","characteristic_ids":[1]}"#);
    publish("violation", "alerts:2");
    publish("violation", "alerts:1");
    hears(r#"{"type":"violation","payload":{"violation_id":10}}"#);
    publish("ack_update", "alerts");
    hears(r#"{"type":"ack_update","payload":{"violation_id":10}}"#);
    assert_eq!(lines.next(), None);
    assert!(node.wait().unwrap().success());
}
