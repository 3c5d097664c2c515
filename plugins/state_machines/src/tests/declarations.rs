//! What may be declared, and what happens to running instances when other machines are.

use std::time::Duration;

use broadcastd_plugin_api::testing::Logged;

use super::*;
use crate::check;
use crate::settings::Settings;

fn wrong(machines: Value) -> Vec<(String, String)> {
    let failed = refused(json!({"machines": machines}));
    std::iter::once((failed.pointer, failed.message)).chain(failed.others).collect()
}

fn at(machines: Value) -> Vec<String> {
    wrong(machines).into_iter().map(|(pointer, _)| pointer).collect()
}

#[test]
fn everything_wrong_is_told_at_once_at_its_place() {
    let wrong = wrong(json!([
        {
            "id": "m", "initial": "A", "final": ["Z", "X"], "key": ["symbol", "symbol"],
            "states": [
                {"id": "A", "max_time": "1m"}, {"id": "A"}, {"id": "B", "on_timeout": "A"},
                {"id": "Z", "max_time": "0s", "on_timeout": "Y"}, {"id": "*"}, {"id": ""},
            ],
            "transitions": [
                {"from": "A", "to": "N", "event": "x"},
                {"from": "M", "to": "A", "event": "x"},
                {"from": "A", "to": "B", "event": "x"},
                {"from": "Z", "to": "A", "event": "x"},
                {"from": "A", "to": "B", "event": "y", "guard": "data.x >"},
                {"from": "*", "to": "A", "event": "any"},
                {"from": "B", "to": "A", "event": "any", "guard": "data.x"},
            ],
        },
        {"id": "m", "states": [{"id": "A"}]},
    ]));
    let expected = [
        ("/machines/0/key", "each once"),
        ("/machines/0/final/1", "there is no state \"X\""),
        ("/machines/0/states/0/max_time", "on_timeout"),
        ("/machines/0/states/1/id", "listed twice"),
        ("/machines/0/states/2/on_timeout", "max_time"),
        ("/machines/0/states/3/on_timeout", "there is no state \"Y\""),
        ("/machines/0/states/3/max_time", "at least 1ms"),
        ("/machines/0/states/3/max_time", "is final"),
        ("/machines/0/states/4/id", "stands for every state"),
        ("/machines/0/states/5/id", "1 to 128 bytes"),
        ("/machines/0/transitions/0/to", "there is no state \"N\""),
        ("/machines/0/transitions/1/from", "there is no state \"M\""),
        ("/machines/0/transitions/2", "transition 0"),
        ("/machines/0/transitions/3/from", "is final"),
        ("/machines/0/transitions/4/guard", "byte 8"),
        ("/machines/0/transitions/6", "transition 5"),
        ("/machines/1/id", "declared before"),
        ("/machines/1", "no initial state"),
    ];
    let short: Vec<&str> = wrong.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(short, expected.map(|(pointer, _)| pointer));
    for ((pointer, message), (_, part)) in wrong.iter().zip(expected) {
        assert!(message.contains(part), "{pointer}: {message}");
    }
}

#[test]
fn bounds_hold_at_their_edge() {
    let machine = |index: usize| json!({"id": format!("m{index}"), "initial": "A", "states": [{"id": "A"}]});
    let machines = |count: usize| Value::Array((0..count).map(machine).collect());
    start(json!({"machines": machines(check::MAX_MACHINES)}));
    assert_eq!(at(machines(check::MAX_MACHINES + 1)), ["/machines"]);
    let states = |count: usize| {
        let states: Vec<Value> = (0..count).map(|n| json!({"id": format!("s{n}")})).collect();
        json!([{"id": "m", "initial": "s0", "states": states}])
    };
    start(json!({"machines": states(check::MAX_STATES)}));
    assert_eq!(at(states(check::MAX_STATES + 1)), ["/machines/0/states"]);
    let transitions = |count: usize| {
        let all: Vec<Value> = (0..count).map(|n| json!({"from": "A", "to": "A", "event": format!("e{n}")})).collect();
        json!([{"id": "m", "initial": "A", "states": [{"id": "A"}], "transitions": all}])
    };
    start(json!({"machines": transitions(check::MAX_TRANSITIONS)}));
    assert_eq!(at(transitions(check::MAX_TRANSITIONS + 1)), ["/machines/0/transitions"]);
    assert_eq!(refused(json!({"initial": ""})).pointer, "/initial");
}

#[test]
fn what_comes_first_hides_only_what_it_covers() {
    let with = |transitions: Value| json!([{"id": "m", "initial": "A", "states": [{"id": "A"}, {"id": "B"}], "transitions": transitions}]);
    for fine in [
        json!([{"from": "A", "to": "B", "event": "x", "guard": "data.a"}, {"from": "A", "to": "A", "event": "x"}]),
        json!([{"from": "A", "to": "B", "event": "x"}, {"from": "*", "to": "A", "event": "x"}]),
        json!([{"from": "A", "to": "B", "event": "x"}, {"from": "A", "to": "B", "event": "y"}]),
        json!([{"from": "A", "to": "B"}, {"from": "A", "to": "A"}]),
    ] {
        start(json!({"machines": with(fine)}));
    }
    for hidden in [
        json!([{"from": "A", "to": "B", "event": "x"}, {"from": "A", "to": "A", "event": "x", "guard": "data.a"}]),
        json!([{"from": "*", "to": "B", "event": "x"}, {"from": "*", "to": "A", "event": "x"}]),
        json!([{"from": "A", "to": "B"}, {"from": "A", "to": "B"}]),
    ] {
        assert_eq!(at(with(hidden)), ["/machines/0/transitions/1"]);
    }
}

#[test]
fn what_is_odd_is_a_warning() {
    let mut machine = strategy();
    machine["states"].as_array_mut().unwrap().push(json!({"id": "ISLAND"}));
    machine["transitions"].as_array_mut().unwrap().retain(|one| one["event"] != "reset");
    let place = |id: &str| {
        let index = machine["states"].as_array().unwrap().iter().position(|state| state["id"] == id).unwrap();
        format!("/machines/1/states/{index}/id")
    };
    let expected = vec![
        (place("ERROR"), "nothing leads out of state \"ERROR\", which is not final".to_owned()),
        (place("ISLAND"), "nothing leads to state \"ISLAND\"".to_owned()),
    ];
    let mut sound = strategy();
    sound["id"] = json!("sound");
    let harness = start(declared());
    let mut warned = harness.warnings(&json!({"machines": [sound, machine]})).unwrap();
    warned.sort_by_key(|(pointer, _)| expected.iter().position(|(place, _)| place == pointer));
    assert_eq!(warned, expected);
    assert_eq!(harness.warnings(&declared()), Ok(vec![]));
}

#[test]
fn every_setting_is_described_and_a_wrong_name_is_refused() {
    let schema = schemars::schema_for!(Settings).to_value();
    for (name, property) in schema["properties"].as_object().unwrap() {
        assert!(property["description"].is_string(), "{name} is described");
    }
    for (name, kind) in schema["$defs"].as_object().unwrap() {
        for (field, property) in kind["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{name}.{field} is described");
        }
    }
    assert!(serde_json::from_value::<Settings>(json!({"machine": []})).is_err());
}

/// The machine without a state, and without what leads there.
fn without(state: &str) -> Value {
    let mut machine = strategy();
    let is_about = |one: &Value| [&one["from"], &one["to"], &one["on_timeout"]].contains(&&json!(state));
    machine["transitions"].as_array_mut().unwrap().retain(|one| !is_about(one));
    machine["states"].as_array_mut().unwrap().retain(|one| one["id"] != state && !is_about(one));
    machine
}

#[test]
fn a_state_in_use_is_not_taken_away() {
    let mut machines = monitoring(declared());
    moves(&mut machines, json!({"event": "signal"}));
    moves(&mut machines, json!({"event": "error"}));
    machines.logs();
    let mut other = without("ERROR");
    other["transitions"].as_array_mut().unwrap().push(json!({"from": "MONITORING", "to": "O1", "event": "skip"}));
    let settings = json!({"machines": [other], "log_broadcasts": "off"});
    assert!(machines.reconfigure(&settings).unwrap(), "everything else of the reload goes on");
    assert_eq!(machines.degraded().unwrap(), "machine \"strategy\" keeps its old declaration while ERROR is in use");
    assert_eq!(told_kept(&mut machines), 1);
    let kept = json!({"machine": "strategy"});
    assert_eq!(shown(&machines, "declaration_kept", &kept), 1.0);
    machines.advance(Duration::from_secs(20)).unwrap();
    assert_eq!(told_kept(&mut machines), 0, "once is enough");
    machines.restart().unwrap();
    assert_eq!(told_kept(&mut machines), 1);
    assert_eq!(shown(&machines, "declaration_kept", &kept), 1.0, "it is kept over a restart, too");
    machines.published();
    moves(&mut machines, json!({"event": "reset"}));
    assert_eq!(brief(&mut machines), ["MONITORING v4"], "by the old declaration");
    machines.advance(Duration::from_secs(5)).unwrap();
    assert_eq!((machines.degraded(), shown(&machines, "declaration_kept", &kept)), (None, 0.0));
    moves(&mut machines, json!({"event": "error"}));
    moves(&mut machines, json!({"event": "skip"}));
    let told = brief(&mut machines);
    assert_eq!(told[told.len() - 2..], ["illegal no_transition", "O1 v5"], "by the new one");
}

/// How often the operator was told.
fn told_kept(machines: &mut Machines) -> usize {
    let told = |line: &Logged| line.level == 2 && line.message.contains("keeps its old declaration");
    machines.logs().into_iter().filter(told).count()
}

#[test]
fn instances_are_found_by_the_keys_they_began_with() {
    let mut machines = monitoring(declared());
    let mut other = strategy();
    other["key"] = json!(["symbol"]);
    machines.reconfigure(&json!({"machines": [other]})).unwrap();
    let told = "machine \"strategy\" keeps its old declaration while MONITORING is in use";
    assert_eq!(machines.degraded().unwrap(), told);
    moves(&mut machines, json!({"event": "signal"}));
    one(&mut machines, "instance.stopped", json!({}));
    assert_eq!(brief(&mut machines), ["S1 v2", "removed stopped S1"]);
    machines.advance(Duration::from_secs(5)).unwrap();
    assert_eq!(machines.degraded(), None);
    one(&mut machines, "instance.started", json!({}));
    assert_eq!(machines.published()[0].payload["instance_id"], "strategy:BTC");
}

#[test]
fn instances_that_name_no_machine_are_found_while_another_is_to_be_first() {
    let mut machines = monitoring(declared());
    let first = json!({"id": "other", "initial": "A", "states": [{"id": "A"}]});
    machines.reconfigure(&json!({"machines": [first, strategy()]})).unwrap();
    let told = "machine \"strategy\" keeps its old declaration while MONITORING is in use";
    assert_eq!(machines.degraded().unwrap(), told);
    moves(&mut machines, json!({"event": "signal"}));
    machines.restart().unwrap();
    moves(&mut machines, json!({"event": "error"}));
    one(&mut machines, "instance.stopped", json!({}));
    assert_eq!(brief(&mut machines), ["S1 v2", "ERROR v3", "removed stopped ERROR"]);
    machines.advance(Duration::from_secs(5)).unwrap();
    assert_eq!(machines.degraded(), None);
    one(&mut machines, "instance.started", json!({}));
    assert_eq!(machines.published()[0].payload["machine"], "other");
}

#[test]
fn what_nobody_uses_can_go() {
    let mut machines = monitoring(declared());
    assert!(machines.reconfigure(&json!({"machines": [without("ERROR")]})).unwrap());
    assert_eq!(machines.degraded(), None);
    moves(&mut machines, json!({"event": "error"}));
    assert_eq!(brief(&mut machines), ["illegal no_transition"]);
    machines.reconfigure(&json!({"machines": [{"id": "other", "initial": "A", "states": [{"id": "A"}]}]})).unwrap();
    assert!(machines.degraded().unwrap().contains("while MONITORING is in use"), "a machine that goes has no state");
    say(&mut machines, "session.stopped", json!({}));
    machines.advance(Duration::from_secs(5)).unwrap();
    assert_eq!(machines.degraded(), None);
    machines.reconfigure(&json!({})).unwrap();
    say(&mut machines, "session.started", json!({"strategies": ["momentum"], "symbols": ["BTC"]}));
    moves(&mut machines, json!({"to": "ANYTHING"}));
    let told = brief(&mut machines);
    assert_eq!(told.last().unwrap(), "ANYTHING v2", "without a declaration every state is accepted");
}

#[test]
fn new_times_hold_for_those_who_are_there() {
    let mut machines = monitoring(declared());
    moves(&mut machines, json!({"event": "signal"}));
    machines.published();
    let mut faster = strategy();
    faster["states"][1]["max_time"] = "10s".into();
    machines.reconfigure(&json!({"machines": [faster], "stale_after": "20s"})).unwrap();
    machines.advance(Duration::from_secs(20)).unwrap();
    assert_eq!(brief(&mut machines), ["O1 v3", "stale 20000"]);
}

#[test]
fn a_refused_declaration_leaves_the_old_one_in_force() {
    let mut machines = monitoring(declared());
    let failed = machines.reconfigure(&json!({"machines": [{"id": ""}]})).unwrap_err();
    assert_eq!(failed.pointer, "/machines/0/id");
    moves(&mut machines, json!({"event": "signal"}));
    assert_eq!(brief(&mut machines), ["S1 v2"]);
}
