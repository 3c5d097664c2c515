//! The made-up session: it goes the way of what programs report, beside these, and ends when nothing is to be made up.

use std::time::Duration;

use broadcastd_plugin_api::testing::{Input, Setup};
use serde_json::{Value, json};

use super::{Machines, START, counted, declared, line, monitoring, moves, refused, say, shown, start, strategy};
use crate::mock::SESSION;
use crate::running::STATE_VERSION;

const STEP: Duration = Duration::from_secs(2);

fn made_up(more: Value) -> Value {
    let mut settings = json!({"source": "mock"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

/// With the same made-up session in every run of the tests.
fn begin(settings: Value) -> Machines {
    fastrand::seed(7);
    start(settings)
}

/// What is told of the made-up session in so many steps.
fn told(machines: &mut Machines, steps: u32) -> Vec<String> {
    machines.advance(STEP * steps).unwrap();
    machines.published().iter().filter(|event| event.session_id == SESSION).map(line).collect()
}

/// A machine that knows none of the states of the one where none is declared.
fn order() -> Value {
    json!({"machines": [{"id": "order", "initial": "NEW", "states": [{"id": "NEW"}, {"id": "SENT"}],
        "transitions": [{"from": "NEW", "to": "SENT", "event": "send"}, {"from": "SENT", "to": "NEW", "event": "back"}]}]})
}

fn instances(machines: &Machines) -> f64 {
    shown(machines, "instances", &json!({}))
}

#[test]
fn states_change_beside_those_that_programs_report() {
    let mut machines = begin(made_up(json!({})));
    assert_eq!(told(&mut machines, 0), ["added MONITORING v1"; 4]);
    say(&mut machines, "session.started", json!({"strategies": ["momentum"], "symbols": ["BTC"]}));
    moves(&mut machines, json!({"to": "S1"}));
    let beside: Vec<String> = machines.published().iter().map(line).collect();
    assert_eq!(beside, ["added MONITORING v1", "S1 v2"]);
    let changes = told(&mut machines, 100);
    assert!(changes.iter().any(|line| line.starts_with("POSITION_ACTIVE")), "{changes:?}");
    assert!(changes.iter().any(|line| line.starts_with("added MONITORING")), "they begin anew: {changes:?}");
    assert_eq!(counted(&machines, "inputs_rejected_total", &json!({})), 0.0);
    assert_eq!(counted(&machines, "illegal_transitions_total", &json!({})), 0.0);
    moves(&mut machines, json!({"to": "O1"}));
    let beside = machines.published();
    assert_eq!(beside.iter().map(line).collect::<Vec<_>>(), ["O1 v3"], "it was not touched");
    assert_eq!(beside[0].cause.clone().map(|cause| cause.seq), Some(3));
}

#[test]
fn without_a_mock_nothing_is_made_up() {
    let mut machines = start(json!({}));
    assert_eq!(told(&mut machines, 100), [""; 0]);
}

#[test]
fn nobody_falls_silent_and_what_times_out_goes_on() {
    let waits = json!({"id": "m", "initial": "A", "states": [{"id": "A", "max_time": "1s", "on_timeout": "B"}, {"id": "B"}],
        "transitions": [{"from": "B", "to": "A", "event": "back"}]});
    let mut machines = begin(made_up(json!({"machines": [waits], "stale_after": "10s"})));
    machines.advance(STEP * 100).unwrap();
    let published = machines.published();
    assert!(published.iter().all(|event| event.cause.is_none()), "no stream knows of it");
    let all: Vec<String> = published.iter().map(line).collect();
    let lines = |begin: &str| all.iter().filter(|line| line.starts_with(begin)).count();
    assert!(lines("A v") > 4 && lines("B v") > 4 && lines("stale") == 0, "{all:?}");
}

#[test]
fn a_stream_without_room_stops_it() {
    let mut machines = begin(made_up(json!({})));
    told(&mut machines, 0);
    machines.room(Some(0));
    assert_eq!(told(&mut machines, 1_000), [""; 0]);
    machines.room(None);
    machines.writable().unwrap();
    let waited: Vec<String> = machines.published().iter().map(line).collect();
    assert!(!waited.is_empty() && waited.iter().all(|line| line == "S1 v2"), "of one step: {waited:?}");
}

#[test]
fn other_settings_end_it_or_let_it_begin_anew_by_the_machine_that_is_declared() {
    fastrand::seed(7);
    let mut machines = monitoring(made_up(json!({})));
    told(&mut machines, 100);
    assert!(machines.reconfigure(&made_up(declared())).unwrap());
    let turn = told(&mut machines, 0);
    assert_eq!(turn[..4].iter().filter(|line| line.starts_with("removed nothing is made up any more")).count(), 4);
    assert_eq!(turn[4..], ["added MONITORING v1"; 4]);
    assert_eq!(shown(&machines, "declaration_kept", &json!({})), 0.0);
    assert!(told(&mut machines, 100).contains(&"S1 v2".to_owned()));
    assert_eq!(counted(&machines, "illegal_transitions_total", &json!({})), 0.0);
    assert!(machines.reconfigure(&declared()).unwrap());
    assert_eq!(told(&mut machines, 0).len(), 4, "they go");
    assert_eq!((told(&mut machines, 100).len(), instances(&machines)), (0, 1.0), "the one of a program stays");
}

#[test]
fn a_restart_goes_on_with_it_and_one_without_a_mock_ends_it() {
    fastrand::seed(7);
    let mut machines = monitoring(made_up(json!({})));
    told(&mut machines, 20);
    let saved = machines.save().unwrap();
    machines.restart_from(Some(saved.clone())).unwrap();
    let on = told(&mut machines, 100);
    assert!(!on.is_empty() && !on.contains(&"added MONITORING v1".to_owned()), "{on:?}");
    let mut without = start(json!({}));
    without.restart_from(Some(saved)).unwrap();
    let removed = told(&mut without, 0);
    assert!(removed.len() == 4 && removed.iter().all(|line| line.starts_with("removed")), "{removed:?}");
    assert_eq!(instances(&without), 1.0);
    without.restart().unwrap();
    assert_eq!(told(&mut without, 100), [""; 0], "it has ended once");
}

#[test]
fn a_restart_with_other_machines_lets_it_begin_anew_by_them() {
    let mut open = begin(made_up(json!({})));
    told(&mut open, 20);
    let saved = open.save().unwrap();
    let mut declared = begin(made_up(order()));
    declared.restart_from(Some(saved)).unwrap();
    let turn = told(&mut declared, 0);
    assert_eq!(turn[..4].iter().filter(|line| line.starts_with("removed nothing is made up any more")).count(), 4);
    assert_eq!(turn[4..], ["added NEW v1"; 4]);
    assert_eq!((declared.degraded(), instances(&declared)), (None, 4.0));
    assert_eq!(shown(&declared, "declaration_kept", &json!({})), 0.0);
}

#[test]
fn it_keeps_an_old_machine_no_longer_than_programs_do() {
    fastrand::seed(7);
    let mut machines = monitoring(made_up(json!({})));
    machines.reconfigure(&made_up(order())).unwrap();
    let turn = told(&mut machines, 20);
    assert!(machines.degraded().is_some() && !turn.contains(&"added NEW v1".to_owned()), "{turn:?}");
    say(&mut machines, "session.stopped", json!({}));
    let turn = told(&mut machines, 4);
    assert_eq!(turn.iter().filter(|line| *line == "added NEW v1").count(), 4, "{turn:?}");
    assert_eq!((machines.degraded(), instances(&machines)), (None, 4.0));
}

#[test]
fn it_overtakes_no_input_after_a_restart() {
    for (source, count) in [("sessions", 0.0), ("mock", 4.0)] {
        let mut machines = monitoring(made_up(declared()));
        moves(&mut machines, json!({"event": "signal"}));
        told(&mut machines, 1);
        let state = Some((STATE_VERSION, machines.save().unwrap()));
        let mut settings = declared();
        settings["source"] = source.into();
        let setup = Setup { unix_ns: (START + 301_000) * 1_000_000, state, ..Setup::new(settings) };
        let mut after = Machines::set_up(setup).unwrap();
        after.advance(Duration::ZERO).unwrap();
        assert_eq!(instances(&after), 1.0 + count);
        let filled = json!({"session_id": super::SESSION, "strategy_id": "momentum", "symbol": "BTC", "event": "filled",
            "data": {"quantity": 1}});
        let unix_ns = Some((START + 299_000) * 1_000_000);
        after.input(&Input { unix_ns, ..Input::new("sessions", "instance.transition", &filled) }).unwrap();
        let published = after.published();
        let beside: Vec<String> = published.iter().filter(|event| event.session_id != SESSION).map(line).collect();
        assert_eq!(beside, ["POSITION_ACTIVE v3"], "{source}: it was filled in time");
    }
}

#[test]
fn its_end_overtakes_no_input_that_is_held_back() {
    let mut machines = monitoring(made_up(declared()));
    told(&mut machines, 0);
    machines.room(Some(0));
    moves(&mut machines, json!({"event": "signal"}));
    machines.advance(Duration::from_secs(301)).unwrap();
    machines.reconfigure(&declared()).unwrap();
    machines.writable().unwrap();
    let published = machines.published();
    let beside: Vec<String> = published.iter().filter(|event| event.session_id != SESSION).map(line).collect();
    assert_eq!(beside, ["S1 v2"], "it has not timed out");
}

#[test]
fn an_interval_that_nobody_could_read_is_refused() {
    let failed = refused(made_up(json!({"interval": "9ms"})));
    assert_eq!((&*failed.pointer, &*failed.message), ("/interval", "the interval must be at least 10ms"));
    start(made_up(json!({"interval": "10ms", "machines": [strategy()]})));
}
