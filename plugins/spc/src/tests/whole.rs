//! The whole broadcaster under a virtual clock: what goes in, what comes out, and what outlives it.

use std::time::Duration;

use broadcastd_plugin_api::testing::{Failed, Harness, Input, Published, Setup};
use broadcastd_plugin_api::{Broadcaster, Flags, abi};
use serde_json::{Value, json};

use crate::characteristic::{MAX_OPEN, MAX_SAMPLES};
use crate::check::MAX_CHARACTERISTICS;
use crate::running::Charts;

/// A characteristic whose mean is 0 and whose standard deviation is 1.
const KNOWN: &str = r#"{"id": 1, "chart": "imr", "limits": {"mode": "standard", "mean": 0, "sigma": 1}, "rules": [1]}"#;

pub fn start(settings: Value) -> Harness<Charts> {
    Harness::new(settings).unwrap()
}

/// One known characteristic, with other settings in the place of its own.
pub fn known(more: Value) -> Value {
    let mut plan: Value = serde_json::from_str(KNOWN).unwrap();
    plan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "characteristics": [plan] })
}

pub fn sample(charts: &mut Harness<Charts>, data: Value) {
    charts.message("samples", "sample", &data).unwrap();
}

pub fn values(charts: &mut Harness<Charts>, values: &[f64]) {
    values.iter().for_each(|value| sample(charts, json!({"characteristic_id": 1, "value": value})));
}

/// What numbers of violations begin behind: the microsecond at which the samples here are published.
pub const FIRST: u64 = 1_767_225_600_000_000;

/// `kind topic key` (of a violation its number behind `FIRST`), with `~` before a record that nobody is told and `-` before one that is removed.
fn brief(event: &Published) -> String {
    let mark = match event.flags {
        flags if flags.has(Flags::DELETE) => "-",
        flags if flags.has(Flags::RECORD_ONLY) => "~",
        _ => "",
    };
    let key = match &*event.kind {
        "violation" => (event.key.parse::<u64>().unwrap() - FIRST).to_string(),
        _ => event.key.clone(),
    };
    format!("{mark}{} {} {key}", event.kind, event.topic)
}

fn briefs(charts: &mut Harness<Charts>) -> Vec<String> {
    charts.published().iter().map(brief).collect()
}

fn of_kind(charts: &mut Harness<Charts>, kind: &str) -> Vec<Value> {
    charts.published().into_iter().filter(|event| event.kind == kind).map(|event| event.payload).collect()
}

/// `rule@sample` of every violation since the last look.
pub fn violations(charts: &mut Harness<Charts>) -> Vec<String> {
    let told = of_kind(charts, "violation");
    let line = |told: &Value| format!("{}@{}", told["rule_id"], told["sample_id"]);
    told.iter().filter(|told| told["rule_id"].is_number()).map(line).collect()
}

fn counted(charts: &Harness<Charts>, name: &str) -> f64 {
    charts.metrics().iter().filter(|metric| metric.name == name).flat_map(|metric| metric.values.clone()).sum()
}

pub fn acknowledge(charts: &mut Harness<Charts>, violation: u64) -> (abi::Status, Value) {
    let asked = json!({"violation_id": FIRST + violation, "reason": "Tool Change"});
    charts.command("acknowledge", "john.doe", &asked).unwrap();
    let reply = charts.replies().pop().unwrap();
    (reply.status, reply.payload)
}

#[test]
fn nobody_has_to_set_anything() {
    let mut charts = start(json!({}));
    for value in 0..25 {
        sample(&mut charts, json!({"characteristic_id": "bore:7", "value": value % 3, "sample_id": value + 100}));
    }
    let published = charts.published();
    let lines: Vec<String> = published.iter().map(brief).collect();
    assert_eq!((&*lines[0], &*lines[24], lines.len()), ("sample bore%3A7 0", "sample bore%3A7 24", 26));
    assert_eq!(lines[25], "control_limits bore%3A7 limits");
    let first = json!({"sample_id": 100, "characteristic_id": "bore:7", "timestamp": "2026-01-01T00:00:00.000Z",
        "value": 0.0, "zone": null, "in_control": true, "center_line": null, "ucl": null, "lcl": null});
    assert_eq!(published[0].payload, first);
    let limits = &published[25].payload;
    assert_eq!((&limits["method"], &limits["sample_count"]), (&json!("moving_range"), &json!(25)));
    assert_eq!((&limits["chart"], limits["center_line"].as_f64()), (&json!("imr"), Some(0.96)));
    sample(&mut charts, json!({"characteristic_id": "bore:7", "value": 99, "time": "2026-01-02T03:04:05.678Z"}));
    let judged = charts.published();
    let told = json!({"violation_id": FIRST + 1, "sample_id": 26, "characteristic_id": "bore:7", "rule_id": 1,
        "rule_name": "Outlier", "severity": "CRITICAL", "timestamp": "2026-01-02T03:04:05.678Z", "value": 99.0});
    assert_eq!(judged[1].payload, told);
    let of_sample = |name: &str| judged[0].payload[name].clone();
    assert_eq!((of_sample("zone"), of_sample("in_control")), (json!("beyond_ucl"), json!(false)));
    assert_eq!(of_sample("ucl"), limits["ucl"]);
    let causes: Vec<_> =
        judged.iter().map(|event| event.cause.clone().map(|cause| (cause.seq, cause.ordinal))).collect();
    assert_eq!(causes, [Some((26, 0)), Some((26, 1))]);
}

#[test]
fn each_rule_is_a_violation_of_its_own_and_what_is_missing_says_nothing() {
    let mut charts = start(known(json!({"rules": "nelson"})));
    assert_eq!(briefs(&mut charts), ["control_limits 1 limits"], "limits that are set are told at once");
    values(&mut charts, &[2.5, 2.5, 3.5]);
    assert_eq!(violations(&mut charts), ["1@3", "5@3"]);
    sample(&mut charts, json!({"characteristic_id": 1, "value": null}));
    assert_eq!(briefs(&mut charts), [""; 0]);
    values(&mut charts, &[2.5, 2.5]);
    assert_eq!(violations(&mut charts), [""; 0], "the runs were broken");
    values(&mut charts, &[2.5]);
    assert_eq!(violations(&mut charts), ["5@6"]);
    let figures = ["samples_total", "samples_missing_total", "violations_total", "violations_open"];
    assert_eq!(figures[..3].iter().map(|name| counted(&charts, name)).collect::<Vec<_>>(), [6.0, 1.0, 3.0]);
}

#[test]
fn a_sample_that_is_missing_in_part_is_of_the_chart_of_whole_ones() {
    let mut charts = start(json!({"auto": {"limits": {"samples": 2}}}));
    let of =
        |charts: &mut Harness<Charts>, values: Value| sample(charts, json!({"characteristic_id": 1, "values": values}));
    of(&mut charts, json!([10.1, null, null, null, null]));
    of(&mut charts, json!([10.1, 10.2, null, null, 10.3]));
    of(&mut charts, json!([10.1, 10.2, 10.3, 10.4, 10.5]));
    assert_eq!(of_kind(&mut charts, "control_limits")[0]["chart"], "xbar_r");
    let figures = ["samples_total", "samples_missing_total", "inputs_rejected_total"];
    assert_eq!(figures.map(|name| counted(&charts, name)), [2.0, 1.0, 0.0]);
}

#[test]
fn a_pattern_that_goes_on_is_told_as_the_settings_say() {
    let on = [0.5; 12];
    for (repeat, expected) in
        [("every", vec!["2@3", "2@4", "2@5", "2@6"]), ("onset", vec!["2@3"]), ("restart", vec!["2@3", "2@6"])]
    {
        let mut charts = start(known(json!({"rules": [{"rule": 2, "run": 3}], "repeat": repeat})));
        values(&mut charts, &on[..6]);
        assert_eq!(violations(&mut charts), expected, "{repeat}");
    }
}

#[test]
fn what_is_excluded_is_as_if_it_had_not_been() {
    let mut charts = start(known(json!({"rules": [{"rule": 2, "run": 3}], "exclude": ["bad", 7]})));
    values(&mut charts, &[0.5, 0.5]);
    sample(&mut charts, json!({"characteristic_id": 1, "value": -99, "sample_id": "bad"}));
    sample(&mut charts, json!({"characteristic_id": 1, "value": null, "sample_id": 7}));
    values(&mut charts, &[0.5]);
    assert_eq!(violations(&mut charts), ["2@3"]);
    assert_eq!(counted(&charts, "samples_excluded_total"), 2.0);
}

#[test]
fn samples_behind_an_excluded_number_have_the_next_ones() {
    let mut charts = start(known(json!({"exclude": [2, 3]})));
    values(&mut charts, &[0.5; 3]);
    charts.restart().unwrap();
    values(&mut charts, &[0.5; 2]);
    let told = charts.published().into_iter().filter(|event| event.kind == "sample");
    let ids: Vec<(String, Value)> = told.map(|event| (event.key, event.payload["sample_id"].clone())).collect();
    assert_eq!(ids, [("0".into(), json!(1)), ("1".into(), json!(4)), ("2".into(), json!(5))]);
    assert_eq!(counted(&charts, "samples_excluded_total"), 2.0);
}

#[test]
fn limits_are_computed_anew_when_somebody_asks() {
    let mut charts = start(json!({"auto": {"chart": "imr", "limits": {"samples": 3}, "rules": [2]}}));
    let again = |charts: &mut Harness<Charts>| {
        charts.message("samples", "recalculate", &json!({"characteristic_id": 1})).unwrap();
        of_kind(charts, "control_limits")
    };
    assert_eq!(again(&mut charts), [Value::Null; 0]);
    values(&mut charts, &[1.0, 2.0, 3.0]);
    assert_eq!(of_kind(&mut charts, "control_limits")[0]["center_line"], 2.0);
    values(&mut charts, &[11.0, 12.0, 13.0, 12.0, 11.0, 12.0, 13.0, 12.0]);
    let limits = again(&mut charts);
    assert_eq!((limits.len(), &limits[0]["sample_count"]), (1, &json!(3)));
    assert_eq!(limits[0]["center_line"], (12.0 + 13.0 + 12.0) / 3.0, "of the newest samples");
    values(&mut charts, &[13.0]);
    assert_eq!(violations(&mut charts), [""; 0], "the runs of the old limits are over");
    let mut set = start(known(json!({})));
    set.published();
    assert_eq!(again(&mut set), [Value::Null; 0]);
    let reasons = |charts: &Harness<Charts>| {
        let refused = charts.metrics().into_iter().filter(|metric| metric.name == "inputs_rejected_total");
        refused.map(|metric| metric.labels["reason"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((reasons(&charts), reasons(&set)), (vec!["unknown_characteristic".into()], vec!["no_baseline".into()]));
}

#[test]
fn averages_and_sums_signal_by_their_own_limits() {
    let mut ewma = start(known(json!({"chart": "ewma", "rules": "nelson", "ewma": {"lambda": 0.5}})));
    let limits = of_kind(&mut ewma, "control_limits").remove(0);
    assert!((limits["ucl"].as_f64().unwrap() - 3.0 * (0.5f64 / 1.5).sqrt()).abs() < 1e-12, "where they end");
    values(&mut ewma, &[2.0, 2.0, 2.0]);
    let told = ewma.published();
    assert_eq!(told[0].payload["value"], 1.0);
    assert_eq!(told[0].payload["ucl"], 1.5, "3 · √(0.25) of the first");
    let violation = &told.last().unwrap().payload;
    assert_eq!((&violation["rule_id"], &violation["rule_name"]), (&json!(1), &json!("EWMA Signal")));
    let settings = json!({"chart": "cusum", "rules": "nelson", "cusum": {"h": 2, "reset": true},
        "limits": {"mode": "standard", "mean": 10, "sigma": 2}});
    let mut cusum = start(known(settings));
    let limits = of_kind(&mut cusum, "control_limits").remove(0);
    assert_eq!((&limits["center_line"], &limits["ucl"], &limits["lcl"]), (&json!(0.0), &json!(4.0), &json!(-4.0)));
    values(&mut cusum, &[6.0, 6.0, 6.0]);
    let told = cusum.published();
    let value = |index: usize| told[index].payload["value"].as_f64().unwrap();
    assert_eq!((value(0), value(1)), (-3.0, -6.0), "2 σ below, less half of one");
    assert_eq!((&told[2].payload["rule_name"], &told[2].payload["estimate"]), (&json!("CUSUM Signal"), &json!(6.0)));
    assert_eq!(value(3), -3.0, "the sums began anew");
}

#[test]
fn a_violation_is_acknowledged_once_and_everybody_learns_it() {
    let mut charts = start(known(json!({"name": "bore"})));
    values(&mut charts, &[9.0, -9.0]);
    let told = of_kind(&mut charts, "violation");
    assert_eq!((&told[1]["violation_id"], &told[1]["name"]), (&json!(FIRST + 2), &json!("bore")));
    let (status, update) = acknowledge(&mut charts, 2);
    let expected = json!({"violation_id": FIRST + 2, "characteristic_id": 1, "acknowledged": true, "user": "john.doe",
        "reason": "Tool Change", "timestamp": "2026-01-01T00:00:00.000Z"});
    assert_eq!((status, &update), (abi::OK, &expected));
    let published = charts.published();
    assert_eq!(published.iter().map(brief).collect::<Vec<_>>(), ["-violation 1 2", "ack_update  "]);
    assert_eq!(published[1].payload, expected);
    let (status, why) = acknowledge(&mut charts, 2);
    assert_eq!(
        (status, why["message"].as_str()),
        (
            abi::E_CONFLICT,
            Some(&*format!("violation {} was acknowledged by \"john.doe\" at 2026-01-01T00:00:00.000Z", FIRST + 2))
        )
    );
    assert_eq!(acknowledge(&mut charts, 3).0, abi::E_NOT_FOUND);
    charts.restart().unwrap();
    assert_eq!(acknowledge(&mut charts, 2).0, abi::E_CONFLICT, "it survives");
    assert_eq!(acknowledge(&mut charts, 1).0, abi::OK);
    charts.command("acknowledge", "", &json!({"violation_id": FIRST + 1, "reason": "Because"})).unwrap();
    assert_eq!(charts.replies()[0].status, abi::E_INVALID);
    assert_eq!(counted(&charts, "violations_acknowledged_total"), 2.0);
}

#[test]
fn no_number_is_given_twice_whatever_is_forgotten() {
    let mut charts = start(known(json!({"rules": "nelson"})));
    let ids = |charts: &mut Harness<Charts>| -> Vec<u64> {
        of_kind(charts, "violation").iter().map(|told| told["violation_id"].as_u64().unwrap() - FIRST).collect()
    };
    let saved = charts.save().unwrap();
    values(&mut charts, &[9.0, 9.0]);
    assert_eq!(ids(&mut charts), [1, 2]);
    charts.restart_from(Some(saved.clone())).unwrap();
    charts.advance(Duration::from_millis(1)).unwrap();
    values(&mut charts, &[9.0]);
    assert_eq!(ids(&mut charts), [1_001], "a daemon that was killed comes back later");
    assert_eq!(acknowledge(&mut charts, 1).0, abi::E_NOT_FOUND, "of what was forgotten nothing is acknowledged");
    let again = json!({"characteristic_id": 1, "value": 9});
    charts.input(&Input { unix_ns: Some(0), ..Input::new("samples", "sample", &again) }).unwrap();
    assert_eq!(ids(&mut charts), [1_002], "a clock that was set back changes nothing");
}

#[test]
fn what_is_heard_again_after_a_failure_is_told_under_the_same_numbers() {
    let mut charts = start(known(json!({"rules": "nelson"})));
    let saved = charts.save().unwrap();
    charts.published();
    values(&mut charts, &[9.0, 9.0]);
    let told = charts.published();
    charts.restart_from(Some(saved)).unwrap();
    charts.advance(Duration::from_secs(60)).unwrap();
    for seq in [1, 2] {
        let again = json!({"characteristic_id": 1, "value": 9});
        let unix_ns = Some(1_767_225_600_000_000_000);
        charts.input(&Input { seq: Some(seq), unix_ns, ..Input::new("samples", "sample", &again) }).unwrap();
    }
    let keys = |all: &[Published]| all.iter().map(|event| event.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&charts.published()), keys(&told));
}

#[test]
fn the_oldest_of_too_many_violations_goes_last_of_all_and_is_counted() {
    let mut charts = start(known(json!({"rules": [1, {"rule": 2, "run": 2}]})));
    let spans = MAX_OPEN / 2;
    values(&mut charts, &vec![9.0; spans]);
    assert_eq!(counted(&charts, "violations_expired_total"), 0.0);
    charts.published();
    values(&mut charts, &[9.0]);
    let last = briefs(&mut charts);
    let ids = [2 * spans, 2 * spans + 1];
    let told = [format!("violation 1 {}", ids[0]), format!("violation 1 {}", ids[1])];
    assert_eq!(last[1..], [told[0].clone(), told[1].clone(), "-violation 1 1".into()]);
    assert_eq!((counted(&charts, "violations_expired_total"), acknowledge(&mut charts, 1).0), (1.0, abi::E_NOT_FOUND));
}

#[test]
fn a_snapshot_shows_limits_the_newest_samples_open_violations_and_capability() {
    let mut charts = start(known(json!({"spec": {"usl": 6, "lsl": -6}})));
    values(&mut charts, &vec![1.0; MAX_SAMPLES + 2]);
    values(&mut charts, &[4.0, 5.0]);
    acknowledge(&mut charts, 1);
    let records = charts.records().unwrap();
    let lines: Vec<String> = records.iter().map(brief).collect();
    let mut samples: Vec<&Value> =
        records.iter().filter(|event| event.kind == "sample").map(|event| &event.payload["sample_id"]).collect();
    samples.sort_by_key(|id| id.as_u64());
    assert_eq!(samples, (5..=29).map(Value::from).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert_eq!((&*lines[0], &*lines[1]), ("~control_limits 1 limits", "~capability 1 capability"));
    assert_eq!((lines.len(), &*lines[MAX_SAMPLES + 2]), (MAX_SAMPLES + 3, "~violation 1 2"));
    let newest = records.iter().find(|event| event.key == "3" && event.kind == "sample").unwrap();
    assert_eq!(newest.payload["value"], 5.0, "the slot after that of sample 28");
    assert!((records[1].payload["cpk"].as_f64().unwrap() - (6.0 - 36.0 / 29.0) / 3.0).abs() < 1e-12);
}

#[test]
fn a_restart_at_any_moment_changes_nothing() {
    let settings = || {
        json!({"auto": {"chart": "ewma", "limits": {"samples": 5}}, "characteristics": [
        {"id": 1, "limits": {"samples": 4}, "rules": "nelson", "repeat": "onset"}, {"id": "s", "chart": "cusum"}]})
    };
    let run = |restart_at: Option<usize>| {
        let mut charts = start(settings());
        let mut random = fastrand::Rng::with_seed(7);
        for index in 0..60 {
            let value = f64::from(random.i32(-30..60)) / 10.0 + index as f64 / 7.0;
            for id in [json!(1), json!("s"), json!("other")] {
                sample(&mut charts, json!({"characteristic_id": id, "value": value}));
            }
            if restart_at == Some(index) {
                charts.restart().unwrap();
            }
        }
        charts
            .published()
            .into_iter()
            .map(|event| (event.kind, event.topic, event.key, event.payload))
            .collect::<Vec<_>>()
    };
    let plain = run(None);
    assert!(plain.iter().filter(|event| event.0 == "violation").count() > 5);
    for moment in [0, 3, 4, 20, 40] {
        assert!(run(Some(moment)) == plain, "a restart after round {moment} changes something");
    }
}

/// A successor with other settings.
fn reloaded(charts: &mut Harness<Charts>, settings: Value) -> Harness<Charts> {
    assert!(!charts.reconfigure(&settings).unwrap(), "a new instance takes over");
    let state = Some((Charts::STATE_VERSION, charts.save().unwrap()));
    Harness::set_up(Setup { state, ..Setup::new(settings) }).unwrap()
}

#[test]
fn a_reload_touches_those_whose_settings_changed_and_nobody_else() {
    let listed = |id: u64, more: Value| {
        let mut plan = json!({"id": id, "chart": "imr", "limits": {"samples": 3}, "rules": [{"rule": 2, "run": 3}]});
        plan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        plan
    };
    let mut before =
        start(json!({"characteristics": [listed(1, json!({})), listed(2, json!({})), listed(3, json!({}))]}));
    for id in 1..=4 {
        for value in [1.0, 2.0, 3.0, 9.0, 9.0, 9.0] {
            sample(&mut before, json!({"characteristic_id": id, "value": value}));
        }
    }
    // 1 stays, 2 gets limits of its own, 3 goes, 4 (which nobody had listed) is listed.
    let fixed = json!({"chart": "imr", "limits": {"mode": "fixed", "center": 9, "ucl": 10, "lcl": 8}});
    let settings =
        json!({"characteristics": [listed(1, json!({"name": "new"})), listed(2, fixed), listed(4, json!({}))]});
    let mut after = reloaded(&mut before, settings);
    let told = after.published();
    let limits: Vec<(&str, &Value)> = told.iter().map(|event| (&*event.topic, &event.payload["ucl"])).collect();
    assert_eq!(limits.len(), 2, "1 has another name, 2 other limits: {told:?}");
    assert_eq!((limits[0].0, limits[1]), ("1", ("2", &json!(10.0))));
    assert_eq!(told[0].payload["name"], "new");
    let topics: Vec<String> = after.records().unwrap().iter().map(brief).collect();
    assert!(!topics.iter().any(|line| line.contains(" 3 ")), "3 is forgotten: {topics:?}");
    assert!(topics.contains(&"~sample 1 4".to_owned()) && !topics.iter().any(|line| line.starts_with("~sample 2")));
    for id in [1, 2, 3, 4] {
        sample(&mut after, json!({"characteristic_id": id, "value": 9.5}));
    }
    let zones: Vec<(String, Value)> = after
        .published()
        .into_iter()
        .filter(|event| event.kind == "sample")
        .map(|event| (event.topic, event.payload["zone"].clone()))
        .collect();
    let expected = [("1", json!("beyond_ucl")), ("2", json!("zone_b_upper")), ("3", Value::Null), ("4", Value::Null)];
    assert_eq!(zones, expected.map(|(topic, zone)| (topic.to_owned(), zone)));
}

#[test]
fn runs_begin_anew_with_limits_at_another_distance_and_with_nothing_else() {
    let rules = |sigma: f64| json!({"rules": [{"rule": 1, "sigma": sigma}, {"rule": 2, "run": 3}]});
    for (more, expected) in [(json!({"name": "bore"}), vec!["2@3"]), (rules(2.5), vec![])] {
        let mut settings = known(rules(2.0));
        let mut before = start(settings.clone());
        values(&mut before, &[0.5, 0.5]);
        settings["characteristics"][0].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut after = reloaded(&mut before, settings);
        values(&mut after, &[0.5]);
        assert_eq!(violations(&mut after), expected, "{more}");
    }
}

#[test]
fn everything_that_is_wrong_with_settings_is_said_at_once() {
    let wrong = json!({
        "auto": {"id": 3, "exclude": [1]},
        "characteristics": [
            {"chart": "imr", "subgroup_size": 2},
            {"id": 7, "chart": "p", "limits": {"mode": "standard", "mean": 1.5, "sigma": 1}, "spec": {"usl": 1}},
            {"id": "7", "chart": "cusum", "rules": [1], "ewma": {"lambda": 0.5}, "limits": {"mode": "fixed", "ucl": 1, "lcl": 2}},
            {"id": "", "chart": "xbar_r", "subgroup_size": 26, "spec": {"usl": 1, "lsl": 2},
             "rules": [{"rule": 1, "run": 2}, {"rule": 2, "run": 9, "of": 8}, 2, 9, {"rule": 5, "sigma": 2}]},
            {"id": 8, "rules": [1], "spec": {"usl": 1}, "limits": {"mean": 3}},
            {"id": 9, "chart": "np", "rules": [5], "subgroup_size": 2.5}
        ]
    });
    let Failed { pointer, message, others, .. } = Harness::<Charts>::new(wrong.clone()).unwrap_err();
    let mut places: Vec<String> = others.into_iter().map(|(pointer, _)| pointer).collect();
    places.insert(0, pointer);
    let expected = [
        "/auto/id",
        "/auto/exclude",
        "/characteristics/0",
        "/characteristics/0/subgroup_size",
        "/characteristics/1/subgroup_size",
        "/characteristics/1/limits/sigma",
        "/characteristics/1/limits/mean",
        "/characteristics/1/spec",
        "/characteristics/2/id",
        "/characteristics/2/limits/mode",
        "/characteristics/2/limits/center",
        "/characteristics/2/ewma",
        "/characteristics/2/rules",
        "/characteristics/3/id",
        "/characteristics/3/subgroup_size",
        "/characteristics/3/spec/lsl",
        "/characteristics/3/rules/0/run",
        "/characteristics/3/rules/1/of",
        "/characteristics/3/rules/2",
        "/characteristics/3/rules/3",
        "/characteristics/3/rules/4/sigma",
        "/characteristics/4/spec",
        "/characteristics/4/rules",
        "/characteristics/4/limits/mean",
        "/characteristics/5/subgroup_size",
        "/characteristics/5/rules/0",
    ];
    assert_eq!(places, expected, "{message}");
    let charts = start(json!({}));
    assert!(!charts.validate(&wrong).unwrap_err().others.is_empty(), "before anything is made, too");
}

#[test]
fn bad_inputs_are_refused_counted_and_change_nothing() {
    let mut charts = start(known(json!({})));
    charts.published();
    for bad in [
        json!({}),
        json!({"characteristic_id": 1}),
        json!({"characteristic_id": 1, "value": "much"}),
        json!({"characteristic_id": 1, "values": [1, 2]}),
        json!({"characteristic_id": 1, "count": 1}),
        json!({"characteristic_id": 1, "value": 1e101}),
        json!({"characteristic_id": 1, "value": 1, "time": "soon"}),
        json!({"characteristic_id": 1, "value": 1, "sample_id": "x".repeat(41)}),
        json!({"characteristic_id": "", "value": 1}),
        json!({"characteristic_id": 2, "count": 1.5}),
    ] {
        sample(&mut charts, bad);
    }
    charts.message("samples", "recalculate", &json!({})).unwrap();
    charts.message("samples", "tick", &json!({"price": 1})).unwrap();
    assert_eq!(briefs(&mut charts), [""; 0]);
    assert_eq!((counted(&charts, "inputs_rejected_total"), counted(&charts, "inputs_ignored_total")), (11.0, 1.0));
    sample(&mut charts, json!({"characteristic_id": 2, "value": 3}));
    assert_eq!(briefs(&mut charts), ["sample 2 0"], "its refused count did not make it a chart of counts");
}

#[test]
fn so_many_characteristics_are_watched_and_no_more() {
    let mut charts = start(known(json!({})));
    for id in 2..=MAX_CHARACTERISTICS {
        sample(&mut charts, json!({"characteristic_id": id, "value": 1}));
    }
    assert_eq!(counted(&charts, "inputs_rejected_total"), 0.0);
    sample(&mut charts, json!({"characteristic_id": "one more", "value": 1}));
    values(&mut charts, &[1.0]);
    assert_eq!((counted(&charts, "inputs_rejected_total"), counted(&charts, "samples_total")), (1.0, 1000.0));
}

#[test]
fn what_finds_no_room_waits_keeps_its_cause_and_outlives_a_restart() {
    let mut charts = start(known(json!({"rules": "nelson"})));
    values(&mut charts, &[9.0]);
    charts.published();
    charts.room(Some(1));
    values(&mut charts, &[9.0, 9.0]);
    let (status, _) = acknowledge(&mut charts, 1);
    assert_eq!(status, abi::E_LIMIT, "nobody could be told");
    let first = charts.published();
    charts.restart().unwrap();
    charts.writable().unwrap();
    let rest = charts.published();
    let lines: Vec<String> = first.iter().chain(&rest).map(brief).collect();
    assert_eq!(lines, ["sample 1 1", "violation 1 2", "sample 1 2", "violation 1 3", "violation 1 4"]);
    let cause = |event: &Published| event.cause.as_ref().map(|cause| (cause.seq, cause.ordinal));
    assert_eq!(rest.iter().map(cause).collect::<Vec<_>>(), [Some((2, 1)), Some((3, 0)), Some((3, 1)), Some((3, 2))]);
    assert_eq!(acknowledge(&mut charts, 1).0, abi::OK);
}

#[test]
fn inputs_that_are_gone_break_runs_and_a_restart_does_not() {
    let mut charts = start(known(json!({"rules": [{"rule": 2, "run": 3}]})));
    values(&mut charts, &[0.5, 0.5]);
    charts.restart().unwrap();
    values(&mut charts, &[0.5]);
    assert_eq!((violations(&mut charts), counted(&charts, "input_gaps_total")), (vec!["2@3".into()], 0.0));
    for (gaps, (from, to)) in [(4, 5), (0, 17), (0, 0)].into_iter().enumerate() {
        charts.gap("samples", from, to).unwrap();
        values(&mut charts, &[0.5, 0.5]);
        assert_eq!((violations(&mut charts), counted(&charts, "input_gaps_total")), (vec![], gaps as f64 + 1.0));
        values(&mut charts, &[0.5]);
        assert_eq!(violations(&mut charts).len(), 1);
    }
}
