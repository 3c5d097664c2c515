//! Whatever numbers are accepted, in settings and samples: what is told and saved of them are numbers, too.

use broadcastd_plugin_api::testing::Harness;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::whole::sample;
use crate::running::Charts;
use crate::sample::{MAX_MAGNITUDE, MIN_MAGNITUDE};

const CHARTS: [&str; 9] = ["xbar_r", "xbar_s", "imr", "p", "np", "c", "u", "ewma", "cusum"];

/// From where nothing is left of a number to where nothing is above it.
const NUMBERS: [f64; 12] = [
    5e-324,
    1e-250,
    0.9 * MIN_MAGNITUDE,
    MIN_MAGNITUDE,
    1e-50,
    0.3,
    1.0,
    4.0,
    1e50,
    MAX_MAGNITUDE,
    1.1 * MAX_MAGNITUDE,
    f64::MAX,
];

fn number() -> impl Strategy<Value = f64> {
    select(NUMBERS.to_vec())
}

/// One that there may be, and often has to be.
fn good() -> impl Strategy<Value = f64> {
    select(vec![MIN_MAGNITUDE, 0.3, 1.0, MAX_MAGNITUDE])
}

fn mostly_good() -> impl Strategy<Value = f64> {
    prop_oneof![4 => good(), 1 => number()]
}

fn limits(chart: &'static str) -> impl Strategy<Value = Value> {
    let counts = ["p", "np", "c", "u"].contains(&chart);
    let accumulates = ["ewma", "cusum"].contains(&chart);
    (0..3, mostly_good(), mostly_good()).prop_map(move |(mode, mean, sigma)| match mode {
        0 if counts => json!({"mode": "standard", "mean": mean}),
        0 => json!({"mode": "standard", "mean": mean, "sigma": sigma}),
        1 if !accumulates => json!({"mode": "fixed", "center": 0, "ucl": mean, "lcl": -sigma}),
        _ => json!({"samples": 2}),
    })
}

fn plan(chart: &'static str) -> impl Strategy<Value = Value> {
    let size = match chart {
        "c" | "imr" => Just(1.0).boxed(),
        "u" => mostly_good().boxed(),
        "p" | "np" => select(vec![1.0, 4.0, 1e50, MAX_MAGNITUDE]).boxed(),
        _ => Just(2.0).boxed(),
    };
    (limits(chart), size, mostly_good(), mostly_good()).prop_map(move |(limits, size, one, other)| {
        let mut plan = json!({"chart": chart, "limits": limits, "subgroup_size": size});
        match chart {
            "ewma" => plan["ewma"] = json!({"lambda": one.min(1.0), "l": other}),
            "cusum" => plan["cusum"] = json!({"k": one, "h": other, "fir": 0.5}),
            _ if limits["mode"] != "fixed" => plan["rules"] = json!([{"rule": 1, "sigma": one}, 2, 3]),
            _ => {}
        }
        plan
    })
}

fn measured(chart: &'static str) -> BoxedStrategy<Value> {
    let signed = (mostly_good(), prop::bool::ANY).prop_map(|(value, is_below)| if is_below { -value } else { value });
    match chart {
        "c" => select(vec![0.0, 1.0, 1e50, MAX_MAGNITUDE]).prop_map(|count| json!({ "count": count })).boxed(),
        "p" | "np" | "u" => (select(vec![0.0, 1.0, 1e50, MAX_MAGNITUDE]), number())
            .prop_map(|(count, size)| json!({"count": count, "size": size}))
            .boxed(),
        "imr" => signed.prop_map(|value| json!({ "value": value })).boxed(),
        _ => prop::collection::vec(signed, 2..4).prop_map(|values| json!({ "values": values })).boxed(),
    }
}

fn case() -> impl Strategy<Value = (Value, Vec<Value>)> {
    select(CHARTS.to_vec()).prop_flat_map(|chart| (plan(chart), prop::collection::vec(measured(chart), 1..12)))
}

/// What is told of samples are numbers, and a restart changes nothing. Settings that are refused are none.
fn hold(plan: &Value, samples: Vec<Value>) {
    let Ok(mut charts) = Harness::<Charts>::new(json!({ "auto": plan })) else { return };
    for mut data in samples {
        data["characteristic_id"] = json!(1);
        sample(&mut charts, data);
    }
    for event in charts.published().iter().filter(|event| event.kind == "sample") {
        assert!(event.payload["value"].is_number(), "{}", event.payload);
    }
    let saved = charts.save().unwrap();
    charts.restart().unwrap();
    assert!(charts.save().unwrap() == saved, "{}", String::from_utf8_lossy(&saved));
}

#[test]
fn neither_their_ratios_nor_sums_of_many_standard_deviations_are_too_large() {
    let count = json!({"count": MAX_MAGNITUDE, "size": MIN_MAGNITUDE});
    hold(&json!({"chart": "u", "limits": {"samples": 2}}), vec![count; 3]);
    let values = [1e-250, -1e-250, MAX_MAGNITUDE, MAX_MAGNITUDE].map(|value| json!({ "value": value }));
    hold(&json!({"chart": "cusum", "limits": {"samples": 2}}), values.to_vec());
    let known = |sigma: f64| json!({"chart": "cusum", "limits": {"mode": "standard", "mean": 0, "sigma": sigma}});
    [1e-250, MIN_MAGNITUDE].iter().for_each(|sigma| hold(&known(*sigma), values.to_vec()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn what_is_accepted_can_be_saved((plan, samples) in case()) {
        hold(&plan, samples);
    }
}
