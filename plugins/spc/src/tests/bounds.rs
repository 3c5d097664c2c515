//! Every bound at its edge.

use broadcastd_plugin_api::abi;
use broadcastd_plugin_api::testing::Harness;
use serde_json::{Value, json};

use super::whole::{acknowledge, sample, start};
use crate::book::MAX_ACKNOWLEDGED;
use crate::characteristic::{MAX_OPEN, MAX_SAMPLES};
use crate::check::{MAX_BASELINE, MAX_CHARACTERISTICS, MAX_EXCLUDED, MAX_NAME_BYTES};
use crate::id;
use crate::publish::MAX_WAITING;
use crate::running::Charts;
use crate::runs::MAX_RUN;
use crate::sample::{MAX_MAGNITUDE, MIN_MAGNITUDE};

/// What the daemon takes of a state; beyond it, `save` fails.
const MAX_STATE_BYTES: usize = 64 << 20;

fn wild() -> Harness<Charts> {
    start(json!({"characteristics": [{"id": 1, "chart": "imr", "rules": [1],
        "limits": {"mode": "standard", "mean": 0, "sigma": 1}}]}))
}

#[test]
fn settings_are_taken_up_to_their_bound() {
    let one = |more: Value| {
        let mut plan = json!({"id": 1, "chart": "imr"});
        plan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "characteristics": [plan] })
    };
    let excluded = |count: usize| one(json!({"exclude": (0..count).collect::<Vec<_>>()}));
    let named = |bytes: usize| one(json!({"name": "x".repeat(bytes)}));
    let samples = |count: u32| one(json!({"limits": {"samples": count}}));
    let run = |run: u32| one(json!({"rules": [{"rule": 7, "run": run}]}));
    let sigma = |sigma: f64| one(json!({"limits": {"mode": "standard", "mean": 0, "sigma": sigma}}));
    let many = |count: usize| json!({"characteristics": (0..count).map(|id| json!({"id": id})).collect::<Vec<_>>()});
    let charts = start(json!({}));
    for (pointer, at, beyond) in [
        ("/characteristics/0/exclude", excluded(MAX_EXCLUDED), excluded(MAX_EXCLUDED + 1)),
        ("/characteristics/0/name", named(MAX_NAME_BYTES), named(MAX_NAME_BYTES + 1)),
        ("/characteristics/0/limits/samples", samples(MAX_BASELINE), samples(MAX_BASELINE + 1)),
        ("/characteristics/0/limits/samples", samples(2), samples(1)),
        ("/characteristics/0/limits/sigma", sigma(MIN_MAGNITUDE), sigma(MIN_MAGNITUDE * 0.9)),
        ("/characteristics/0/limits/sigma", sigma(MAX_MAGNITUDE), sigma(MAX_MAGNITUDE * 1.1)),
        ("/characteristics/0/rules/0/run", run(MAX_RUN), run(MAX_RUN + 1)),
        ("/characteristics/0/rules/0/run", run(2), run(1)),
        ("/characteristics", many(MAX_CHARACTERISTICS), many(MAX_CHARACTERISTICS + 1)),
    ] {
        assert_eq!(charts.validate(&at), Ok(()), "{pointer}");
        let refused = charts.validate(&beyond).unwrap_err();
        assert_eq!((&*refused.pointer, refused.status), (pointer, abi::E_INVALID), "{}", refused.message);
    }
}

#[test]
fn the_oldest_acknowledgement_is_forgotten() {
    let mut charts = wild();
    for violation in 1..=MAX_ACKNOWLEDGED as u64 {
        sample(&mut charts, json!({"characteristic_id": 1, "value": 9}));
        assert_eq!(acknowledge(&mut charts, violation).0, abi::OK);
    }
    assert_eq!(acknowledge(&mut charts, 1).0, abi::E_CONFLICT);
    sample(&mut charts, json!({"characteristic_id": 1, "value": 9}));
    acknowledge(&mut charts, MAX_ACKNOWLEDGED as u64 + 1);
    assert_eq!((acknowledge(&mut charts, 1).0, acknowledge(&mut charts, 2).0), (abi::E_NOT_FOUND, abi::E_CONFLICT));
}

#[test]
fn so_many_events_wait_for_room_and_then_it_fails() {
    let mut charts = wild();
    charts.room(Some(0));
    for _ in 0..MAX_WAITING {
        sample(&mut charts, json!({"characteristic_id": 1, "value": 0}));
    }
    let failed = charts.message("samples", "sample", &json!({"characteristic_id": 1, "value": 0})).unwrap_err();
    assert!(failed.status == abi::E_LIMIT && failed.message.contains("wait for room"), "{failed}");
}

/// As many characteristics as there may be, each with as much to keep as it can have.
#[test]
fn the_largest_state_is_one_that_the_daemon_takes() {
    let id = |number: usize| format!("{number:0>width$}", width = id::MAX_BYTES);
    let rules: Vec<Value> = (1..=8).map(|rule| json!({ "rule": rule })).collect();
    let plan = |exclude: Vec<String>| {
        json!({"id": id(0), "name": "n".repeat(MAX_NAME_BYTES), "chart": "xbar_r", "subgroup_size": 2,
            "rules": rules, "exclude": exclude, "limits": {"samples": MAX_BASELINE}, "spec": {"usl": 1.0 / 3.0, "lsl": 0.1}})
    };
    let size = |count: usize| {
        let mut charts = start(json!({"characteristics": [plan((1..=MAX_EXCLUDED).map(id).collect())]}));
        let mut random = fastrand::Rng::with_seed(1);
        for number in 0..count {
            let far = if number > MAX_BASELINE as usize { 1e90 } else { 1.0 };
            let values = [random.f64() * far, random.f64() * far];
            sample(&mut charts, json!({"characteristic_id": id(0), "sample_id": id(number + 1_000), "values": values}));
        }
        charts.save().unwrap().len()
    };
    let largest = size(MAX_BASELINE as usize + MAX_OPEN + MAX_SAMPLES);
    assert!(largest > 20_000 && largest * MAX_CHARACTERISTICS < MAX_STATE_BYTES, "{largest} bytes");
}
