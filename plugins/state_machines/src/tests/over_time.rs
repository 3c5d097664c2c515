//! What time does: timeouts, silence, restarts, gaps, and a stream without room.

use std::time::Duration;

use broadcastd_plugin_api::testing::Setup;

use super::*;
use crate::running::{HEARING, STATE_VERSION};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_instance_that_stays_too_long_goes_on_by_itself() {
    let mut machines = monitoring(declared());
    moves(&mut machines, json!({"event": "signal"}));
    machines.published();
    machines.advance(300 * SECOND - Duration::from_millis(1)).unwrap();
    let mut early = machines.published();
    early.retain(|event| event.kind == "state_change");
    assert_eq!(early, []);
    machines.advance(Duration::from_millis(1)).unwrap();
    let change = machines.published().remove(0).payload;
    assert_eq!(
        (&change["state"], &change["event"], &change["reason"]),
        (&json!("O1"), &json!("timeout"), &json!("max_time"))
    );
    assert_eq!((&change["duration_ms"], &change["since"]), (&json!(300_000), &json!("2026-01-01T00:05:00.000Z")));
}

#[test]
fn what_follows_from_an_input_that_the_daemon_has_forgotten_is_told_all_the_same() {
    let mut machines = monitoring(declared());
    moves(&mut machines, json!({"event": "signal"}));
    machines.published();
    machines.forget_inputs(1000);
    machines.advance(300 * SECOND).unwrap();
    let told = machines.published();
    let change = told.iter().find(|event| event.kind == "state_change").expect("it is told");
    assert_eq!((&change.payload["state"], &change.cause), (&json!("O1"), &None));
}

#[test]
fn what_was_due_before_an_input_is_done_before_it() {
    let mut machines = monitoring(declared());
    moves(&mut machines, json!({"event": "signal"}));
    let saved = machines.save().unwrap();
    machines.advance(301 * SECOND).unwrap();
    moves(&mut machines, json!({"event": "cancel"}));
    let first: Vec<Published> = machines.published().into_iter().filter(|event| event.kind == "state_change").collect();
    assert_eq!(first.iter().map(line).collect::<Vec<_>>(), ["S1 v2", "O1 v3", "MONITORING v4"]);
    // The state before the timeout, and the input once more, before the clock is looked at.
    machines.restart_from(Some(saved)).unwrap();
    let again = broadcastd_plugin_api::testing::Input {
        seq: Some(3),
        ..broadcastd_plugin_api::testing::Input::new(
            "sessions",
            "instance.transition",
            &json!({"session_id": SESSION, "strategy_id": "momentum", "symbol": "BTC", "event": "cancel"}),
        )
    };
    machines.input(&again).unwrap();
    let second: Vec<Published> =
        machines.published().into_iter().filter(|event| event.kind == "state_change").collect();
    let told = |events: &[Published]| {
        events.iter().map(|event| (event.payload.clone(), event.cause.clone())).collect::<Vec<_>>()
    };
    assert_eq!(told(&second), told(&first[1..]), "by their causes the daemon knows that it has them already");
    assert!(second.iter().all(|event| event.cause.is_some()));
}

#[test]
fn silence_is_told_once_and_so_is_its_end() {
    let mut machines = monitoring(json!({"stale_after": "60s"}));
    machines.advance(59 * SECOND).unwrap();
    one(&mut machines, "instance.heartbeat", json!({}));
    machines.advance(59 * SECOND).unwrap();
    assert_eq!(brief(&mut machines), [""; 0]);
    machines.advance(SECOND).unwrap();
    let stale = machines.published().remove(0);
    assert_eq!((line(&stale), &stale.record.as_ref().unwrap()["stale"]), ("stale 60000".into(), &json!(true)));
    assert_eq!(stale.payload["since"], "2026-01-01T00:00:00.000Z");
    assert_eq!(shown(&machines, "stale_instances", &json!({"machine": "strategy"})), 1.0);
    machines.advance(600 * SECOND).unwrap();
    assert_eq!(brief(&mut machines), [""; 0], "once in an episode");
    moves(&mut machines, json!({"to": "S1"}));
    let events = machines.published();
    assert_eq!(events.iter().map(line).collect::<Vec<_>>(), ["recovered 660000", "S1 v2"]);
    assert_eq!(events[0].record.as_ref().unwrap().get("stale"), None);
    assert_eq!(shown(&machines, "stale_instances", &json!({"machine": "strategy"})), 0.0);
    machines.advance(60 * SECOND).unwrap();
    assert_eq!(brief(&mut machines), ["stale 60000"], "another episode");
    say(&mut machines, "session.stopped", json!({}));
    assert_eq!(shown(&machines, "stale_instances", &json!({"machine": "strategy"})), 0.0);
}

#[test]
fn nobody_waits_for_a_sign_of_life_in_a_final_state_or_where_it_is_off() {
    let mut machine = strategy();
    machine["initial"] = "EXITED".into();
    for settings in [json!({"machines": [machine]}), json!({"stale_after": 0})] {
        let mut machines = monitoring(settings);
        machines.advance(100_000 * SECOND).unwrap();
        assert_eq!(brief(&mut machines), [""; 0]);
    }
}

#[test]
fn the_state_goes_on_after_a_crash_and_a_restart() {
    let mut machines = monitoring(declared());
    machines.advance(10 * SECOND).unwrap();
    moves(&mut machines, json!({"event": "signal"}));
    let told = machines.published().remove(0);
    let saved = machines.save().unwrap();
    machines.advance(20 * SECOND).unwrap();
    machines.restart_from(Some(saved)).unwrap();
    let record = machines.records().unwrap().remove(0);
    assert_eq!((record.kind.as_str(), &record.topic, &record.key), ("state_change", &told.topic, &told.key));
    assert_eq!(Some(&record.payload), told.record.as_ref(), "`since` too, so that nobody is shown a new set");
    machines.restart().unwrap();
    assert_eq!(Some(&machines.records().unwrap()[0].payload), told.record.as_ref());
    assert_eq!(shown(&machines, "instances", &json!({"state": "S1"})), 1.0);
    machines.advance(280 * SECOND).unwrap();
    assert_eq!(brief(&mut machines)[0], "O1 v3", "time has gone on meanwhile");
}

/// What is told of changes, with its cause.
fn changes(machines: &mut Machines) -> Vec<Published> {
    machines.published().into_iter().filter(|event| event.kind == "state_change").collect()
}

#[test]
fn no_timeout_is_taken_for_one_of_the_life_before() {
    let mut machines = monitoring(declared());
    moves(&mut machines, json!({"event": "signal"}));
    let state = machines.save().unwrap();
    changes(&mut machines);
    machines.advance(300 * SECOND).unwrap();
    let before = changes(&mut machines);
    assert_eq!(before.iter().map(line).collect::<Vec<_>>(), ["O1 v3"]);
    // It failed, and began again with other settings: what has timed out before has not this time.
    let mut patient = declared();
    let states = patient["machines"][0]["states"].as_array_mut().unwrap();
    states.iter_mut().find(|state| state["id"] == "S1").unwrap()["max_time"] = json!("10m");
    let unix_ns = (START + 301_000) * 1_000_000;
    let mut after =
        Machines::set_up(Setup { unix_ns, state: Some((STATE_VERSION, state)), ..Setup::new(patient) }).unwrap();
    assert_eq!(after.records().unwrap()[0].payload["state"], "S1");
    after.advance(300 * SECOND).unwrap();
    let told = changes(&mut after);
    assert_eq!(told.iter().map(line).collect::<Vec<_>>(), ["O1 v3"]);
    assert!(before[0].cause.is_some() && told[0].cause.is_none(), "the daemon would take it for told: {told:?}");
}

#[test]
fn between_two_failures_without_a_save_a_timeout_is_told_again_as_it_was() {
    let mut machines = monitoring(declared());
    moves(&mut machines, json!({"event": "signal"}));
    let saved = machines.save().unwrap();
    machines.advance(200 * SECOND).unwrap();
    machines.restart_from(Some(saved.clone())).unwrap();
    machines.records().unwrap();
    changes(&mut machines);
    machines.advance(100 * SECOND).unwrap();
    let once = changes(&mut machines);
    machines.restart_from(Some(saved)).unwrap();
    machines.records().unwrap();
    machines.advance(100 * SECOND).unwrap();
    let again = changes(&mut machines);
    assert_eq!((once.len(), once[0].cause.is_none()), (1, true));
    assert_eq!((&again[0].payload, again.len()), (&once[0].payload, 1), "`since` and `version`, too");
}

#[test]
fn after_a_restart_programs_are_heard_before_they_are_called_stale() {
    let mut machines = monitoring(json!({"stale_after": "10s"}));
    let state = machines.save().unwrap();
    let unix_ns = (START + 3_600_000) * 1_000_000;
    let setup = Setup { unix_ns, state: Some((STATE_VERSION, state)), ..Setup::new(json!({"stale_after": "10s"})) };
    let mut later = Machines::set_up(setup).unwrap();
    later.advance(Duration::from_millis(HEARING as u64 - 1)).unwrap();
    assert_eq!(brief(&mut later), [""; 0]);
    later.advance(Duration::from_millis(1)).unwrap();
    assert_eq!(brief(&mut later), ["stale 3630000"]);
}

#[test]
fn a_circle_of_timeouts_ends_after_a_long_time_away() {
    let circle = json!({"machines": [{"id": "strategy", "initial": "A", "stale_after": 0, "states": [
        {"id": "A", "max_time": "1ms", "on_timeout": "B"}, {"id": "B", "max_time": "1ms", "on_timeout": "A"}]}]});
    let mut machines = monitoring(circle.clone());
    let state = machines.save().unwrap();
    let unix_ns = (START + 86_400_000) * 1_000_000;
    let setup = Setup { unix_ns, state: Some((STATE_VERSION, state)), ..Setup::new(circle) };
    let mut later = Machines::set_up(setup).unwrap();
    later.advance(Duration::from_millis(2_001)).unwrap();
    assert!((1..100).contains(&later.published().len()));
}

#[test]
fn a_damaged_or_foreign_state_is_refused() {
    for state in [(STATE_VERSION, b"{".to_vec()), (STATE_VERSION, b"{}".to_vec()), (STATE_VERSION + 1, b"{}".to_vec())]
    {
        let setup = Setup { state: Some(state), ..Setup::new(json!({})) };
        assert!(Machines::set_up(setup).is_err());
    }
}

#[test]
fn inputs_that_are_gone_are_told_to_the_operator() {
    let mut machines = monitoring(json!({}));
    machines.gap("sessions", 5, 9).unwrap();
    assert_eq!(counted(&machines, "input_gaps_total", &json!({})), 1.0);
    assert!(
        machines.logs().iter().any(|line| line.message.contains("inputs are gone") && line.message.contains("to=9"))
    );
}

#[test]
fn what_finds_no_room_waits_in_order_and_survives() {
    let mut machines = start(json!({}));
    machines.room(Some(1));
    say(&mut machines, "session.started", json!({"strategies": ["a", "momentum"], "symbols": ["BTC"]}));
    moves(&mut machines, json!({"to": "S1"}));
    assert_eq!(brief(&mut machines), ["added MONITORING v1"]);
    machines.restart().unwrap();
    machines.writable().unwrap();
    let events = machines.published();
    assert_eq!(events.iter().map(line).collect::<Vec<_>>(), ["added MONITORING v1", "S1 v2"]);
    let causes: Vec<_> =
        events.iter().map(|event| event.cause.as_ref().map(|cause| (cause.seq, cause.ordinal))).collect();
    assert_eq!(causes, [Some((1, 1)), Some((2, 0))], "each with the cause it had");
}

#[test]
fn while_the_stream_is_full_the_clock_does_not_overtake_what_is_held_back() {
    let mut machines = monitoring(declared());
    machines.room(Some(0));
    moves(&mut machines, json!({"event": "signal"}));
    let unix_ns = Some(machines.now_unix_ns());
    machines.advance(301 * SECOND).unwrap();
    assert_eq!(machines.until_next_timer(), Some(4 * SECOND), "nothing but the figures");
    machines.room(None);
    machines.writable().unwrap();
    assert_eq!(brief(&mut machines), ["S1 v2"], "neither timed out nor stale");
    let filled = json!({"session_id": SESSION, "strategy_id": "momentum", "symbol": "BTC", "event": "filled",
        "data": {"quantity": 1}});
    let filled = broadcastd_plugin_api::testing::Input {
        unix_ns,
        ..broadcastd_plugin_api::testing::Input::new("sessions", "instance.transition", &filled)
    };
    machines.input(&filled).unwrap();
    machines.advance(300 * SECOND - Duration::from_millis(1)).unwrap();
    assert_eq!(brief(&mut machines), ["POSITION_ACTIVE v3"], "it was filled in time");
    machines.advance(Duration::from_millis(1)).unwrap();
    assert_eq!(brief(&mut machines), ["stale 300000"]);
}

#[test]
fn after_the_stream_was_full_programs_are_heard_before_they_are_called_stale() {
    let mut machines = monitoring(json!({"stale_after": "60s"}));
    machines.room(Some(0));
    moves(&mut machines, json!({"to": "S1"}));
    machines.advance(600 * SECOND).unwrap();
    machines.room(None);
    machines.writable().unwrap();
    machines.advance(Duration::from_millis(HEARING as u64 - 1)).unwrap();
    assert_eq!(brief(&mut machines), ["S1 v2"]);
    machines.advance(Duration::from_millis(1)).unwrap();
    assert_eq!(brief(&mut machines), ["stale 630000"]);
}

#[test]
fn the_oldest_of_each_state_is_shown() {
    let mut machines = monitoring(json!({}));
    machines.advance(20 * SECOND).unwrap();
    let monitoring = json!({"machine": "strategy", "state": "MONITORING"});
    assert_eq!(shown(&machines, "oldest_in_state_seconds", &monitoring), 20.0);
    moves(&mut machines, json!({"to": "S1"}));
    machines.advance(5 * SECOND).unwrap();
    assert_eq!(shown(&machines, "oldest_in_state_seconds", &monitoring), 0.0);
    assert_eq!(shown(&machines, "instances", &monitoring), 0.0);
}
