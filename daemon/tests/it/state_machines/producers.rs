//! Many programs that report at the same time, each on a session of its own: nothing is lost, and each story keeps its order.

use std::collections::BTreeMap;
use std::thread;

use serde_json::{Value, json};

use super::{config, publish};
use crate::house::{Client, hear_json, say};
use crate::process::Daemon;

const PRODUCERS: usize = 8;
/// Rounds through a machine, each of three transitions.
const ROUNDS: usize = 25;
const ROUND: [(&str, &str); 3] = [("signal", "S1"), ("error", "ERROR"), ("reset", "MONITORING")];
const TRANSITIONS: usize = ROUNDS * ROUND.len();

pub fn programs_that_report_at_once_lose_nothing_and_keep_their_order() {
    let daemon = Daemon::start(&config());
    let mut all = daemon.subscriber("state_machines");
    let mut own = of_session(&daemon, "s3");
    thread::scope(|scope| {
        let daemon = &daemon;
        for producer in 0..PRODUCERS {
            scope.spawn(move || report(daemon, &format!("s{producer}")));
        }
        let mut stories = hear(&mut all, PRODUCERS);
        assert_eq!(stories.len(), PRODUCERS);
        let alone = hear(&mut own, 1);
        assert_eq!(alone.get("s3"), stories.get("s3"), "whoever hears one session hears the same of it");
        stories.values_mut().for_each(|story| check(story));
    });
    let shown = shown(&mut daemon.connect());
    assert_eq!(shown.len(), PRODUCERS);
    for instance in shown {
        assert_eq!(
            (&instance["state"], &instance["version"]),
            (&json!("MONITORING"), &json!(TRANSITIONS + 1)),
            "{instance}"
        );
    }
}

fn of_session(daemon: &Daemon, session: &str) -> Client {
    let mut client = daemon.connect();
    say(&mut client, &json!({"type": "subscribe", "topic": format!("state_machines:{session}")}).to_string());
    while hear_json(&mut client)["type"] != "full_update" {}
    client
}

/// One program's whole report, an answer awaited before the next word.
fn report(daemon: &Daemon, session: &str) {
    let say = |kind: &str, mut data: Value| {
        data["session_id"] = session.into();
        publish(daemon, &json!({"type": kind, "data": data}));
    };
    say("session.started", json!({"strategies": ["momentum"], "symbols": ["BTC"]}));
    for (event, _) in (0..ROUNDS).flat_map(|_| ROUND) {
        say("instance.transition", json!({"strategy_id": "momentum", "symbol": "BTC", "event": event}));
    }
}

/// What is told of so many sessions until each has come to its end.
fn hear(client: &mut Client, sessions: usize) -> BTreeMap<String, Vec<Value>> {
    let mut stories: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut seq = 0;
    while stories.values().filter(|story| story.len() == TRANSITIONS + 1).count() < sessions {
        let message = hear_json(client);
        let next = message["seq"].as_u64().unwrap();
        assert!(next > seq, "{message}");
        seq = next;
        let session = message["session_id"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned();
        stories.entry(session).or_default().push(json!([message["type"], message["data"]]));
    }
    stories
}

/// Added once, then every transition from where the one before has led, with the next version.
fn check(story: &[Value]) {
    assert_eq!(story[0][0], "instance_added");
    let mut state = "MONITORING";
    for (at, ((_, to), told)) in (0..ROUNDS).flat_map(|_| ROUND).zip(&story[1..]).enumerate() {
        let expected = json!(["state_change", to, state, at + 2]);
        let data = &told[1];
        assert_eq!(json!([told[0], data["state"], data["previous_state"], data["version"]]), expected, "{told}");
        state = to;
    }
}

fn shown(client: &mut Client) -> Vec<Value> {
    say(client, r#"{"type":"subscribe","stream":"state_machines"}"#);
    loop {
        let message = hear_json(client);
        if message["type"] == "full_update" {
            return message["data"]["instances"].as_array().unwrap().clone();
        }
    }
}
