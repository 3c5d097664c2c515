//! Random stories for the shipped plugins: whatever they are told, what they publish and what snapshots then show is as
//! they declare it.

use std::fmt::Write as _;

use fastrand::Rng;
use serde_json::{Value, json};

use super::conformance::{Case, tried};

/// Stories of each plugin.
const STORIES: usize = 3;
/// Inputs of a story.
const INPUTS: usize = 120;
/// When the virtual clock of a plugin under test begins, in milliseconds since 1970.
const BEGINNING: u64 = 1_767_625_200_000;

pub fn whatever_they_are_told_they_say_what_they_declare() {
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let tellers = [machines, charts, users, bars];
    let cases: Vec<Case> = (0..STORIES).flat_map(|_| tellers.map(|teller| teller(&mut rng))).collect();
    for (case, (code, told)) in cases.iter().zip(tried(&cases)) {
        let passes = |check: &str| told.contains(&format!("  pass {check:<16}"));
        let inputs = case.inputs.as_deref().unwrap_or_default();
        assert_eq!(code, 0, "SEED={seed} {}: {told}\n{inputs}", case.title);
        assert!(passes("events") && passes("records"), "SEED={seed} {}: {told}\n{inputs}", case.title);
    }
}

fn story(plugin: &str, settings: Value, inputs: impl Iterator<Item = Value>) -> Case {
    let lines = inputs.fold(String::new(), |mut lines, input| {
        writeln!(lines, "{input}").unwrap();
        lines
    });
    Case { inputs: Some(lines), ..Case::of(plugin, Some(settings)) }
}

fn pick<T: Clone>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())].clone()
}

/// Programs that report what they may and what they may not; nothing is heard of them in the end.
fn machines(rng: &mut Rng) -> Case {
    let machine = json!({
        "id": "m", "initial": "A", "final": ["C"], "stale_after": "40s",
        "on_illegal": pick(rng, &["reject", "accept_and_report", "report_only"]),
        "states": [{"id": "A", "max_time": "20s", "on_timeout": "B"}, {"id": "B"}, {"id": "C"}],
        "transitions": [
            {"from": "A", "to": "B", "event": "go", "guard": "not data.x"}, {"from": "B", "to": "A"},
            {"from": "*", "to": "C", "event": "end"},
        ],
    });
    let settings = if rng.bool() { json!({"machines": [machine]}) } else { json!({"stale_after": "7s"}) };
    let report = |rng: &mut Rng| {
        let kinds = ["transition", "transition", "transition", "started", "heartbeat", "stopped"];
        let mut data = json!({
            "session_id": pick(rng, &["s", "t:*"]), "strategy_id": pick(rng, &["a", "b\"\n"]), "symbol": pick(rng, &["X", "é"]),
            "to": pick(rng, &["A", "B", "C", "D"]), "event": pick(rng, &["go", "end", "?"]), "version": rng.u32(1..9),
            "reason": "because", "data": pick(rng, &[json!(null), json!({"x": true}), json!([1.5])]),
        });
        for optional in ["symbol", "to", "event", "version", "reason", "data"] {
            if rng.u32(..3) == 0 {
                data.as_object_mut().unwrap().remove(optional);
            }
        }
        json!({"stream": "sessions", "type": format!("instance.{}", pick(rng, &kinds)), "data": data})
    };
    let last = json!({"stream": "sessions", "type": "session.started",
        "data": {"session_id": "u", "strategies": ["a", "b"], "symbols": ["X"]}});
    let reports: Vec<Value> = (1..INPUTS).map(|_| report(rng)).chain([last]).collect();
    story("state_machines", settings, reports.into_iter())
}

/// Measures and counts, most of them in control.
fn charts(rng: &mut Rng) -> Case {
    let chart = pick(rng, &["imr", "ewma", "cusum"]);
    let settings = json!({
        "auto": {"limits": {"mode": "baseline", "samples": 5}, "rules": "nelson"},
        "characteristics": [{"id": 7, "name": "bore", "chart": chart, "limits": {"mode": "baseline", "samples": 5},
            "spec": {"usl": 120, "lsl": 80, "target": 100}}],
    });
    let sample = |rng: &mut Rng| {
        let value = |rng: &mut Rng| json!(90.0 + rng.f64() * if rng.u32(..9) == 0 { 90.0 } else { 20.0 });
        let data = match rng.u32(..8) {
            0 => json!({"characteristic_id": "weight", "values": [value(rng), value(rng), value(rng)]}),
            1 => json!({"characteristic_id": "faults", "count": rng.u32(..5)}),
            2 => json!({"characteristic_id": "share", "count": rng.u32(..5), "size": rng.u32(5..50)}),
            3 => json!({"characteristic_id": 7, "value": null}),
            _ => json!({"characteristic_id": 7, "value": value(rng)}),
        };
        let kind = if rng.u32(..40) == 0 { "recalculate" } else { "sample" };
        json!({"stream": "samples", "type": kind, "data": data})
    };
    let samples: Vec<Value> = (0..INPUTS).map(|_| sample(rng)).collect();
    story("spc", settings, samples.into_iter())
}

/// Events of known kinds and of some that the settings add.
fn users(rng: &mut Rng) -> Case {
    let order = json!({"type": "object", "required": ["orderId"]});
    let settings = json!({"kinds": {
        "ORDER_UPDATE": {"key": "orderId", "schema": order, "finished": ["FILLED"]},
        "POSITION_UPDATE": {"current": true, "latest": true},
        "TRADE_UPDATE": {},
    }});
    let event = |rng: &mut Rng| {
        let (kind, data) = match rng.u32(..6) {
            0 => ("ORDER_UPDATE", json!({"orderId": rng.u32(..200), "status": pick(rng, &["NEW", "FILLED"])})),
            1 => ("POSITION_UPDATE", json!({"positions": []})),
            2 => ("TRADE_UPDATE", json!({"orderId": 7})),
            3 => ("CHAIN_UPDATE", json!({"chainId": pick(rng, &["c1", "c2"]), "orders": [], "status": "active"})),
            4 => ("LIFECYCLE_EVENT", json!({"eventType": "TRADE_OPENED"})),
            _ => ("NOBODY_KNOWS_IT", json!({})),
        };
        json!({"stream": "user_updates", "type": kind, "audience": pick(rng, &["user-1", "user-2"]), "data": data})
    };
    let events: Vec<Value> = (0..INPUTS).map(|_| event(rng)).collect();
    story("user_events", settings, events.into_iter())
}

/// Trades of two symbols, some of them late.
fn bars(rng: &mut Rng) -> Case {
    let settings = json!({"source": "ticks", "symbols": ["*"], "resolutions": ["1T", "1"]});
    let tick = |rng: &mut Rng| {
        let symbol = pick(rng, &["A", "B"]);
        let (price, size) = (rng.u32(1..10_000), rng.u32(..100));
        let data = json!({"symbol": symbol, "price": f64::from(price) / 16.0, "size": f64::from(size) / 4.0,
            "time": BEGINNING - rng.u64(..600_000)});
        json!({"stream": "ticks", "topic": format!("ticks:{symbol}"), "type": "tick", "data": data})
    };
    let ticks: Vec<Value> = (0..INPUTS).map(|_| tick(rng)).collect();
    story("bars", settings, ticks.into_iter())
}
