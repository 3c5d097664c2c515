//! What each kind of input leads to.

use broadcastd_plugin_api::testing::Input;

use super::*;
use crate::check::MAX_MACHINES;

#[test]
fn a_session_begins_runs_and_ends() {
    let mut machines = start(json!({}));
    let lists = json!({"strategies": ["momentum", "a:b"], "symbols": ["BTC", "ETH"]});
    say(&mut machines, "session.started", lists);
    let added = machines.published();
    let ids: Vec<&str> = added.iter().map(|event| event.payload["instance_id"].as_str().unwrap()).collect();
    let expected = ["strategy:momentum:BTC", "strategy:momentum:ETH", "strategy:a%3Ab:BTC", "strategy:a%3Ab:ETH"];
    assert_eq!(ids, expected);
    let first = &added[0];
    assert_eq!((first.topic.as_str(), first.session_id.as_str(), first.key.as_str()), (SESSION, SESSION, ids[0]));
    let payload = json!({"machine": "strategy", "instance_id": ids[0], "strategy_id": "momentum", "symbol": "BTC",
        "state": "MONITORING", "since": "2026-01-01T00:00:00.000Z", "version": 1});
    assert_eq!((first.kind.as_str(), &first.payload), ("instance_added", &payload));
    let mut record = payload.clone();
    record["session_id"] = SESSION.into();
    assert_eq!(first.record, Some(record));
    machines.advance(std::time::Duration::from_millis(1_500)).unwrap();
    moves(&mut machines, json!({"to": "ANYTHING", "data": {"price": 1.50}}));
    let change = machines.published().remove(0);
    let payload = json!({"machine": "strategy", "instance_id": ids[0], "strategy_id": "momentum", "symbol": "BTC",
        "state": "ANYTHING", "previous_state": "MONITORING", "since": "2026-01-01T00:00:01.500Z", "event": null,
        "version": 2, "duration_ms": 1_500, "data": {"price": 1.5}});
    assert_eq!((change.kind.as_str(), &change.payload), ("state_change", &payload));
    assert_eq!(change.record.unwrap()["previous_state"], "MONITORING");
    one(&mut machines, "instance.stopped", json!({"reason": "done"}));
    let removed = machines.published().remove(0);
    let payload = json!({"machine": "strategy", "instance_id": ids[0], "strategy_id": "momentum", "symbol": "BTC",
        "final_state": "ANYTHING", "reason": "done", "lifetime_ms": 1_500});
    assert_eq!((removed.kind.as_str(), &removed.payload, removed.key.as_str()), ("instance_removed", &payload, ids[0]));
    say(&mut machines, "session.stopped", json!({}));
    assert_eq!(brief(&mut machines), ["removed session_stopped MONITORING"; 3]);
    say(&mut machines, "session.stopped", json!({}));
    assert_eq!((brief(&mut machines), machines.records().unwrap().len()), (vec![], 0));
}

#[test]
fn an_instance_that_begins_again_replaces_itself_with_a_higher_version() {
    let mut machines = monitoring(json!({}));
    moves(&mut machines, json!({"to": "S1"}));
    one(&mut machines, "instance.started", json!({"at": "2026-01-01T00:00:09Z"}));
    let events = machines.published();
    assert_eq!(events.iter().map(line).collect::<Vec<_>>(), ["S1 v2", "added MONITORING v3"]);
    assert_eq!(events[1].payload["since"], "2026-01-01T00:00:09.000Z");
    assert_eq!(machines.records().unwrap().len(), 1);
}

#[test]
fn a_version_that_was_there_changes_nothing() {
    let mut machines = monitoring(declared());
    moves(&mut machines, json!({"event": "signal", "version": 7}));
    moves(&mut machines, json!({"event": "error", "version": 7}));
    moves(&mut machines, json!({"event": "error", "version": 6}));
    moves(&mut machines, json!({"event": "error", "version": 8}));
    moves(&mut machines, json!({"event": "reset"}));
    let told = ["S1 v7", "illegal duplicate", "illegal stale_version", "ERROR v8", "MONITORING v9"];
    assert_eq!(brief(&mut machines), told);
    let duplicates = json!({"machine": "strategy", "reason": "duplicate"});
    assert_eq!(counted(&machines, "illegal_transitions_total", &duplicates), 1.0);
}

#[test]
fn programs_number_what_they_report_whatever_happens_by_itself() {
    let mut machines = monitoring(declared());
    moves(&mut machines, json!({"event": "signal", "version": 2}));
    machines.advance(std::time::Duration::from_secs(301)).unwrap();
    moves(&mut machines, json!({"event": "cancel", "version": 3}));
    let told = brief(&mut machines);
    assert_eq!(told[..2], ["S1 v2", "O1 v3"]);
    assert_eq!(told.last().unwrap(), "MONITORING v4", "3 is new from the program, and 4 is new to clients");
}

#[test]
fn every_reason_is_told() {
    let mut machines = monitoring(declared());
    moves(&mut machines, json!({"event": "filled"}));
    moves(&mut machines, json!({"to": "NOWHERE"}));
    moves(&mut machines, json!({"to": "S1"}));
    moves(&mut machines, json!({"event": "filled", "data": {"quantity": 0}}));
    moves(&mut machines, json!({"event": "filled", "data": {"amount": 1}}));
    moves(&mut machines, json!({"event": "filled", "data": {"quantity": 0.5}}));
    moves(&mut machines, json!({"event": "closed"}));
    moves(&mut machines, json!({"event": "error"}));
    let events = machines.published();
    let told: Vec<String> = events.iter().map(line).collect();
    let expected = [
        "illegal no_transition",
        "illegal unknown_state",
        "S1 v2",
        "illegal guard_failed",
        "illegal guard_failed",
        "POSITION_ACTIVE v3",
        "EXITED v4",
        "illegal terminal",
    ];
    assert_eq!(told, expected);
    let illegal = json!({"machine": "strategy", "instance_id": "strategy:momentum:BTC", "strategy_id": "momentum",
        "symbol": "BTC", "from": "MONITORING", "to": "NOWHERE", "reason": "unknown_state"});
    assert_eq!((&events[1].payload, events[1].key.as_str(), &events[1].record), (&illegal, "", &None));
    assert_eq!(counted(&machines, "guard_missing_paths_total", &json!({})), 1.0);
    let stranger = json!({"strategy_id": "x", "symbol": "y", "event": "signal"});
    say(&mut machines, "instance.transition", stranger);
    let unknown = machines.published().remove(0);
    let payload = json!({"machine": "strategy", "instance_id": "strategy:x:y", "strategy_id": "x", "symbol": "y",
        "event": "signal", "reason": "unknown_instance"});
    assert_eq!(unknown.payload, payload);
}

#[test]
fn a_transition_without_event_is_taken_whatever_has_happened() {
    let mut machines = monitoring(json!({"machines": [{"id": "strategy", "initial": "A",
        "states": [{"id": "A"}, {"id": "B"}], "transitions": [{"from": "A", "to": "B"}]}]}));
    moves(&mut machines, json!({"event": "go"}));
    moves(&mut machines, json!({"event": "go", "to": "B"}));
    assert_eq!(brief(&mut machines), ["illegal no_transition", "B v2"]);
}

#[test]
fn what_is_illegal_can_be_let_pass() {
    let lenient = |how: &str| {
        let mut machine = strategy();
        machine["on_illegal"] = how.into();
        monitoring(json!({"machines": [machine]}))
    };
    for (how, told) in [
        ("reject", &["illegal no_transition", "illegal unknown_state", "illegal no_transition"][..]),
        (
            "accept_and_report",
            &["illegal no_transition", "O1 v2", "illegal unknown_state", "NEW v3", "illegal no_transition"],
        ),
        ("report_only", &["O1 v2", "NEW v3"]),
    ] {
        let mut machines = lenient(how);
        moves(&mut machines, json!({"to": "O1"}));
        moves(&mut machines, json!({"to": "NEW"}));
        moves(&mut machines, json!({"event": "closed"}));
        let events = machines.published();
        assert_eq!(events.iter().map(line).collect::<Vec<_>>(), told, "{how}");
        let forced = events.iter().find(|event| event.kind == "state_change");
        let reason = forced.map(|event| event.payload["reason"].as_str().unwrap().to_owned());
        assert_eq!(reason, (how != "reject").then(|| "no_transition".to_owned()));
        assert_eq!(counted(&machines, "illegal_transitions_total", &json!({})), 3.0, "{how}");
        let warned =
            machines.logs().iter().any(|line| line.message.contains("a transition is illegal") && line.level == 2);
        assert_eq!(warned, how == "report_only");
        let others = json!({"machine": "strategy", "state": "other"});
        let there = if how == "reject" { 0.0 } else { 1.0 };
        assert_eq!(shown(&machines, "instances", &others), there, "{how}: a state that nobody declared");
    }
}

#[test]
fn since_is_when_the_state_was_entered() {
    let mut machines = monitoring(declared());
    let mut at = |second: u32, event: &str| {
        moves(&mut machines, json!({"event": event, "at": format!("2026-01-01T00:00:{second:02}Z")}));
        let event = machines.published().remove(0).payload;
        (event["since"].as_str().unwrap()[17..19].parse::<u32>().unwrap(), event["duration_ms"].as_u64().unwrap())
    };
    assert_eq!(at(1, "signal"), (1, 1_000));
    assert_eq!(at(3, "signal"), (1, 2_000), "it stays where it is");
    assert_eq!(at(4, "error"), (4, 3_000));
    assert_eq!(at(2, "reset"), (4, 0), "time does not go back");
    assert_eq!(counted(&machines, "clamped_times_total", &json!({})), 1.0);
    let times = json!({"machine": "strategy", "state": "S1"});
    assert_eq!(counted(&machines, "time_in_state_seconds", &times), 3.0);
    let again = json!({"machine": "strategy", "from": "S1", "to": "S1"});
    assert_eq!(counted(&machines, "transitions_total", &again), 1.0);
}

#[test]
fn a_state_can_be_entered_anew() {
    let mut machines = monitoring(json!({}));
    let mut to = |data: Value| {
        moves(&mut machines, data);
        machines.published().remove(0).payload["since"].as_str().unwrap()[17..19].to_owned()
    };
    assert_eq!(to(json!({"to": "S1", "at": "2026-01-01T00:00:01Z"})), "01");
    assert_eq!(to(json!({"to": "S1", "at": "2026-01-01T00:00:02Z"})), "01");
    assert_eq!(to(json!({"to": "S1", "at": "2026-01-01T00:00:03Z", "reenter": true})), "03");
    let mut machines = monitoring(declared());
    for event in ["signal", "error"] {
        moves(&mut machines, json!({"event": event}));
    }
    machines.published();
    let mut machines = timed_out();
    machines.advance(std::time::Duration::from_secs(7)).unwrap();
    moves(&mut machines, json!({"event": "again"}));
    let again = machines.published().pop().unwrap();
    assert_eq!((again.payload["duration_ms"].as_u64(), &again.payload["state"]), (Some(7_000), &json!("O1")));
    assert_eq!(again.payload["since"], "2026-01-01T00:05:07.000Z");
}

fn timed_out() -> Machines {
    let mut machines = monitoring(declared());
    moves(&mut machines, json!({"event": "signal"}));
    machines.advance(std::time::Duration::from_secs(300)).unwrap();
    machines
}

#[test]
fn what_cannot_be_followed_is_counted_and_changes_nothing() {
    let mut machines = monitoring(declared());
    for (kind, data, why) in [
        ("session.started", json!({"strategies": "momentum"}), "malformed"),
        ("session.started", json!({"strategies": ["a"], "symbols": [""]}), "malformed"),
        ("session.started", json!({"strategies": ["a"], "symbols": ["b"], "machine": "orders"}), "unknown_machine"),
        ("session.started", json!({"strategies": vec!["a"; 101], "symbols": vec!["b"; 100]}), "too_many"),
        ("session.started", json!({"session_id": "x".repeat(129), "strategies": [], "symbols": []}), "malformed"),
        ("instance.started", json!({"strategy_id": "a"}), "malformed"),
        ("instance.transition", json!({"strategy_id": "a", "symbol": "b"}), "malformed"),
        ("instance.transition", json!({"strategy_id": "a", "symbol": "b", "to": "S1", "at": "now"}), "malformed"),
        ("instance.transition", json!({"strategy_id": "a", "symbol": "b", "to": "S1", "version": 0}), "malformed"),
        ("instance.heartbeat", json!({"strategy_id": "a", "symbol": "b"}), "unknown_instance"),
        ("instance.stopped", json!({"strategy_id": "a", "symbol": "b"}), "unknown_instance"),
    ] {
        let labels = json!({"reason": why});
        let before = counted(&machines, "inputs_rejected_total", &labels);
        say(&mut machines, kind, data.clone());
        assert_eq!(counted(&machines, "inputs_rejected_total", &labels), before + 1.0, "{kind} {data}");
    }
    say(&mut machines, "session.paused", json!({}));
    assert_eq!(counted(&machines, "inputs_ignored_total", &json!({})), 1.0);
    machines.message("sessions", "session.stopped", &json!({})).unwrap();
    let broken =
        Input { payload: b"{\"session_id\":".to_vec(), ..Input::new("sessions", "session.stopped", &json!({})) };
    machines.input(&broken).unwrap();
    assert_eq!(brief(&mut machines), [""; 0]);
    assert_eq!(machines.records().unwrap().len(), 1);
    let beside = Input { session_id: SESSION, ..Input::new("sessions", "session.stopped", &json!({})) };
    machines.input(&beside).unwrap();
    assert_eq!(brief(&mut machines), ["removed session_stopped MONITORING"], "the session may be said beside");
}

#[test]
fn machines_that_are_only_spoken_of_take_no_place() {
    let mut machines = start(json!({}));
    let about = |name: String| json!({"machine": name, "strategy_id": "a", "symbol": "b", "to": "S1"});
    for n in 0..=MAX_MACHINES {
        for kind in ["instance.heartbeat", "instance.transition", "instance.stopped"] {
            say(&mut machines, kind, about(format!("m{n}")));
        }
        say(&mut machines, "session.started", json!({"machine": format!("m{n}"), "strategies": [], "symbols": []}));
    }
    assert_eq!(brief(&mut machines), vec!["illegal unknown_instance"; MAX_MACHINES + 1]);
    let spoken_of = json!({"machine": "other", "reason": "unknown_instance"});
    assert_eq!(counted(&machines, "illegal_transitions_total", &spoken_of), 65.0, "no name is a label for ever");
    for n in 0..=MAX_MACHINES {
        say(&mut machines, "instance.started", about(format!("m{n}")));
    }
    assert_eq!(machines.published().len(), MAX_MACHINES);
    assert_eq!(counted(&machines, "inputs_rejected_total", &json!({"reason": "unknown_machine"})), 1.0);
}

#[test]
fn whatever_the_reason_is_it_stops() {
    let long = format!("{}é and more", "x".repeat(127));
    for (reason, told) in [
        (json!(""), "stopped"),
        (json!("\n"), "stopped"),
        (json!("lost\nthe line\u{85}"), "lost the line "),
        (json!(long), &long[..127]),
        (json!(long[1..]), &long[1..129]),
    ] {
        let mut machines = monitoring(json!({}));
        one(&mut machines, "instance.stopped", json!({"reason": reason}));
        assert_eq!(brief(&mut machines), [format!("removed {told} MONITORING")]);
    }
    let mut machines = monitoring(json!({}));
    say(&mut machines, "session.stopped", json!({"reason": ""}));
    assert_eq!(brief(&mut machines), ["removed session_stopped MONITORING"]);
}

#[test]
fn there_are_as_many_instances_as_may_be() {
    let mut machines = start(json!({"log_broadcasts": "off", "stale_after": 0}));
    let hundred = |letter: &str| (0..100).map(|n| format!("{letter}{n}")).collect::<Vec<_>>();
    for session in 0..4 {
        let data = json!({"session_id": format!("s{session}"), "strategies": hundred("a"), "symbols": hundred("b")});
        machines.message("sessions", "session.started", &data).unwrap();
    }
    assert_eq!(machines.published().len(), crate::book::MAX_INSTANCES);
    one(&mut machines, "instance.started", json!({}));
    let again = json!({"session_id": "s0", "strategy_id": "a0", "symbol": "b0"});
    machines.message("sessions", "instance.started", &again).unwrap();
    assert_eq!(brief(&mut machines), ["added MONITORING v2"], "one that is there may begin anew");
    assert_eq!(counted(&machines, "inputs_rejected_total", &json!({"reason": "too_many"})), 1.0);
}

#[test]
fn names_that_take_much_room_leave_less_for_others() {
    let mut machines = start(json!({"log_broadcasts": "off", "stale_after": 0}));
    let long = |n: usize| format!("{n:0>3}{}", "\"".repeat(125));
    let hundred: Vec<String> = (0..100).map(long).collect();
    for session in 0..2 {
        let data = json!({"session_id": long(session), "strategies": hundred, "symbols": hundred});
        machines.message("sessions", "session.started", &data).unwrap();
    }
    assert_eq!(machines.published().len(), 10_000, "all of a session or none");
    assert_eq!(counted(&machines, "inputs_rejected_total", &json!({"reason": "too_many"})), 1.0);
}

#[test]
fn the_end_of_all_can_wait_and_be_saved() {
    let mut machines = start(json!({"log_broadcasts": "off", "stale_after": 0}));
    let hundred = |letter: &str| (0..100).map(|n| format!("{letter}{n}")).collect::<Vec<_>>();
    for letter in ["trend-a", "trend-b", "trend-c", "trend-d"] {
        say(&mut machines, "session.started", json!({"strategies": hundred(letter), "symbols": hundred("BTC")}));
    }
    assert_eq!(machines.published().len(), crate::book::MAX_INSTANCES);
    machines.room(Some(0));
    say(&mut machines, "session.stopped", json!({}));
    let state = machines.save().unwrap().len();
    assert!(state < 64 << 20, "{state} bytes");
    machines.room(None);
    machines.writable().unwrap();
    assert_eq!(machines.published().len(), crate::book::MAX_INSTANCES);
}

#[test]
fn what_waits_is_bounded_by_its_bytes() {
    let mut machines = monitoring(json!({}));
    machines.room(Some(0));
    let large = json!({"strategy_id": "momentum", "symbol": "BTC", "session_id": SESSION, "to": "S1",
        "data": "\"".repeat(1 << 20)});
    let mut tell = || machines.message("sessions", "instance.transition", &large);
    // Escaped in the payload, and once more where it is saved.
    (0..4).for_each(|_| _ = tell().unwrap());
    let failed = tell().unwrap_err();
    assert_eq!(failed.status, broadcastd_plugin_api::abi::E_LIMIT);
    assert!(failed.message.starts_with("18 MiB of events wait for room"), "{}", failed.message);
}

#[test]
fn machines_tell_their_instances_apart_by_their_keys() {
    let two = json!({"machines": [
        {"id": "strategy", "initial": "ON", "states": [{"id": "ON"}], "key": ["strategy_id"]},
        {"id": "order:book", "initial": "OPEN", "states": [{"id": "OPEN"}], "key": ["symbol"]},
    ]});
    let mut machines = start(two);
    say(&mut machines, "session.started", json!({"strategies": ["a", "b"], "symbols": ["x", "y", "z"]}));
    say(&mut machines, "session.started", json!({"strategies": [], "symbols": ["x"], "machine": "order:book"}));
    say(&mut machines, "instance.heartbeat", json!({"strategy_id": "a", "symbol": "any"}));
    let events = machines.published();
    let ids: Vec<&str> = events.iter().map(|event| event.payload["instance_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["strategy:a", "strategy:b", "order%3Abook:x"]);
    assert_eq!(events[0].payload.get("symbol"), None);
    assert_eq!(counted(&machines, "inputs_total", &json!({})), 3.0);
}

#[test]
fn every_broadcast_is_logged_at_the_level_that_is_set() {
    let logged = |level: &str| {
        let mut machines = start(json!({"log_broadcasts": level}));
        machines.subscribe(SESSION).unwrap();
        machines.subscribe("").unwrap();
        machines.subscribe("another").unwrap();
        say(&mut machines, "session.started", json!({"strategies": ["a"], "symbols": ["b"]}));
        let line = machines.logs().into_iter().find(|line| line.message.contains("state_machine.broadcast"));
        line.map(|line| (line.level, line.message))
    };
    let text = "state_machine.broadcast type=\"instance_added\" subscribers=2".to_owned();
    assert_eq!(logged("info"), Some((3, text.clone())));
    assert_eq!(logged("trace"), Some((5, text)));
    assert_eq!(logged("off"), None);
}
