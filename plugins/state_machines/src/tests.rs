//! The whole broadcaster under a virtual clock.

mod declarations;
mod guard;
mod made_up;
mod over_time;
mod properties;
mod rules;

use std::collections::BTreeMap;

use broadcastd_plugin_api::Flags;
use broadcastd_plugin_api::testing::{Failed, Harness, Published};
use serde_json::{Value, json};

use crate::running::StateMachines;

/// 2026-01-01T00:00:00Z, where the harness starts.
const START: i64 = 1_767_225_600_000;
const SESSION: &str = "exec_20251229_155227_b7f11eaa";

type Machines = Harness<StateMachines>;

/// The machine of the example in docs/state-machines.md, with what the tests need beside.
fn strategy() -> Value {
    json!({
        "id": "strategy",
        "initial": "MONITORING",
        "final": ["EXITED"],
        "states": [
            {"id": "MONITORING"}, {"id": "S1", "max_time": "5m", "on_timeout": "O1"}, {"id": "O1"},
            {"id": "POSITION_ACTIVE"}, {"id": "EXITED"}, {"id": "ERROR"},
        ],
        "transitions": [
            {"from": "MONITORING", "to": "S1", "event": "signal"},
            {"from": "S1", "to": "POSITION_ACTIVE", "event": "filled", "guard": "data.quantity > 0"},
            {"from": "S1", "to": "S1", "event": "signal"},
            {"from": "O1", "to": "O1", "event": "again", "reenter": true},
            {"from": "O1", "to": "MONITORING", "event": "cancel"},
            {"from": "POSITION_ACTIVE", "to": "EXITED", "event": "closed"},
            {"from": "*", "to": "ERROR", "event": "error"},
            {"from": "ERROR", "to": "MONITORING", "event": "reset"},
        ],
    })
}

fn declared() -> Value {
    json!({"machines": [strategy()]})
}

fn start(settings: Value) -> Machines {
    Harness::new(settings).unwrap()
}

fn refused(settings: Value) -> Failed {
    Harness::<StateMachines>::new(settings).err().unwrap()
}

/// One that has a session with one instance, whose events were taken.
fn monitoring(settings: Value) -> Machines {
    let mut machines = start(settings);
    say(&mut machines, "session.started", json!({"strategies": ["momentum"], "symbols": ["BTC"]}));
    machines.published();
    machines
}

/// An input of the session.
fn say(machines: &mut Machines, kind: &str, data: Value) {
    let mut all = json!({"session_id": SESSION});
    all.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
    machines.message("sessions", kind, &all).unwrap();
}

/// An input about the one instance.
fn one(machines: &mut Machines, kind: &str, data: Value) {
    let mut all = json!({"strategy_id": "momentum", "symbol": "BTC"});
    all.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
    say(machines, kind, all);
}

fn moves(machines: &mut Machines, data: Value) {
    one(machines, "instance.transition", data);
}

/// `kind state version`, or the reason of what is illegal; of what is removed the reason and the last state.
fn brief(machines: &mut Machines) -> Vec<String> {
    machines.published().iter().map(line).collect()
}

fn line(event: &Published) -> String {
    let Published { kind, payload, .. } = event;
    let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
    match kind.as_str() {
        "illegal_transition" => format!("illegal {}", text("reason")),
        "instance_removed" => {
            assert!(event.flags.has(Flags::DELETE));
            format!("removed {} {}", text("reason"), text("final_state"))
        }
        "instance_stale" | "instance_recovered" => format!("{} {}", &kind[9..], payload["idle_ms"]),
        "instance_added" => format!("added {} v{}", text("state"), payload["version"]),
        _ => format!("{} v{}", text("state"), payload["version"]),
    }
}

/// Sum of what was counted, over the series with these labels.
fn counted(machines: &Machines, name: &str, labels: &Value) -> f64 {
    series(machines, name, labels).flat_map(|(_, values)| values).sum()
}

/// What the gauge shows now.
fn shown(machines: &Machines, name: &str, labels: &Value) -> f64 {
    // A restarted broadcaster opens its series again: the last of the same labels counts.
    let newest: BTreeMap<String, f64> =
        series(machines, name, labels).filter_map(|(key, values)| Some((key, *values.last()?))).collect();
    newest.values().sum()
}

fn series(machines: &Machines, name: &str, labels: &Value) -> impl Iterator<Item = (String, Vec<f64>)> {
    let labels = labels.as_object().unwrap().clone();
    let name = name.to_owned();
    let fits = move |series: &Value| labels.iter().all(|(label, value)| series[label] == *value);
    let all = machines.metrics().into_iter().filter(move |metric| metric.name == name && fits(&metric.labels));
    all.map(|metric| (metric.labels.to_string(), metric.values))
}
