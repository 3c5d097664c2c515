//! The mock: what it measures goes the way of what is heard, beside it, and is forgotten when nothing is made up any more.

use std::time::Duration;

use broadcastd_plugin_api::abi;
use broadcastd_plugin_api::testing::{Harness, Published};
use serde_json::{Value, json};

use super::whole::{sample, start};
use crate::mock::CHARACTERISTICS;
use crate::running::Charts;

const STEP: Duration = Duration::from_secs(2);
/// Steps until something has gone wrong with everything.
const UNTIL_WRONG: u32 = 60;

/// With the same made-up measurements in every run of the tests.
fn made_up(more: Value) -> Harness<Charts> {
    fastrand::seed(7);
    let mut settings = json!({"source": "mock"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    start(settings)
}

/// What is told of the characteristic in so many steps.
fn told(charts: &mut Harness<Charts>, id: &str, steps: u32) -> Vec<Published> {
    charts.advance(STEP * steps).unwrap();
    charts.published().into_iter().filter(|event| event.topic == id).collect()
}

fn count(told: &[Published], kind: &str) -> usize {
    told.iter().filter(|event| event.kind == kind).count()
}

fn refused(settings: Value) -> (String, String) {
    let failed = Harness::<Charts>::new(settings).err().unwrap();
    (failed.pointer.clone(), failed.message.clone())
}

#[test]
fn it_has_limits_after_the_baseline_and_violations_that_are_acknowledged() {
    let mut charts = made_up(json!({}));
    let [first, second] = CHARACTERISTICS.map(|one| one.id);
    let begun = told(&mut charts, first, 23);
    assert_eq!((count(&begun, "sample"), count(&begun, "control_limits")), (24, 0), "one at once, and one each step");
    let told = told(&mut charts, first, UNTIL_WRONG);
    assert_eq!((count(&told, "sample"), count(&told, "control_limits")), (UNTIL_WRONG as usize, 1));
    let outlier = told.iter().find(|event| event.payload["rule_id"] == 1).unwrap();
    assert_eq!(outlier.cause, None, "no stream knows of it");
    let asked = json!({"violation_id": outlier.payload["violation_id"], "reason": "Tool Change"});
    charts.command("acknowledge", "john.doe", &asked).unwrap();
    assert_eq!(charts.replies().pop().unwrap().status, abi::OK);
    let limits = charts.records().unwrap().into_iter().filter(|record| record.kind == "control_limits");
    let charts_of: Vec<_> = limits.map(|record| (record.topic, record.payload["chart"].clone())).collect();
    assert_eq!(charts_of, [(first.to_owned(), json!("imr")), (second.to_owned(), json!("xbar_r"))]);
}

#[test]
fn samples_that_are_published_are_taken_beside_it_and_without_it_nothing_is_made_up() {
    for (settings, of_mock) in [(json!({"source": "mock"}), 5), (json!({}), 0)] {
        let mut charts = start(settings);
        charts.advance(STEP * 4).unwrap();
        sample(&mut charts, json!({"characteristic_id": 7, "value": 1}));
        let published = charts.published();
        let of = |topic: &str| published.iter().filter(|event| event.topic == topic).count();
        assert_eq!((of(CHARACTERISTICS[0].id), of("7")), (of_mock, 1));
        assert!(published.last().unwrap().cause.is_some());
    }
}

#[test]
fn a_longer_baseline_is_made_before_anything_goes_wrong() {
    let mut charts = made_up(json!({"auto": {"limits": {"samples": 100}, "rules": "nelson"}}));
    for one in CHARACTERISTICS {
        assert_eq!(count(&told(&mut charts, one.id, 0), "violation"), 0);
    }
    charts.advance(STEP * 99).unwrap();
    assert_eq!(count(&charts.published(), "control_limits"), 2);
    assert!(count(&told(&mut charts, CHARACTERISTICS[0].id, UNTIL_WRONG), "violation") > 0);
}

#[test]
fn a_stream_without_room_stops_it() {
    let mut charts = made_up(json!({}));
    charts.published();
    charts.room(Some(0));
    charts.advance(STEP * 20_000).unwrap();
    charts.room(None);
    charts.writable().unwrap();
    assert_eq!(charts.published().len(), 2, "of one step");
}

#[test]
fn a_restart_goes_on_with_it_and_one_without_a_mock_forgets_it() {
    let mut charts = made_up(json!({}));
    sample(&mut charts, json!({"characteristic_id": 7, "value": 1}));
    charts.advance(STEP * 30).unwrap();
    let saved = charts.save().unwrap();
    charts.restart_from(Some(saved.clone())).unwrap();
    charts.published();
    let on = told(&mut charts, CHARACTERISTICS[0].id, 1);
    assert!(on[0].payload["sample_id"].as_u64() > Some(30) && on[0].payload["ucl"].is_number(), "{on:?}");
    let listed = json!({"characteristics": [{"id": CHARACTERISTICS[1].id, "chart": "xbar_r"}]});
    for (settings, left) in [(json!({}), vec!["7"]), (listed, vec!["7", CHARACTERISTICS[1].id])] {
        let mut without = start(settings);
        without.restart_from(Some(saved.clone())).unwrap();
        let mut topics: Vec<_> = without.records().unwrap().into_iter().map(|record| record.topic).collect();
        topics.dedup();
        assert_eq!(topics, left);
        without.advance(STEP * 100).unwrap();
        assert_eq!(count(&without.published(), "sample"), 0);
    }
}

#[test]
fn what_waits_of_it_is_forgotten_with_it() {
    let mut charts = made_up(json!({}));
    charts.room(Some(0));
    charts.advance(Duration::ZERO).unwrap();
    sample(&mut charts, json!({"characteristic_id": 7, "value": 1}));
    let saved = charts.save().unwrap();
    let second = CHARACTERISTICS[1].id;
    let listed = json!({"characteristics": [{"id": second, "chart": "xbar_r"}]});
    for (settings, left) in [(json!({}), vec!["7"]), (listed, vec![second, "7"])] {
        let mut without = start(settings);
        without.restart_from(Some(saved.clone())).unwrap();
        let topics: Vec<_> = without.published().into_iter().map(|event| event.topic).collect();
        assert_eq!(topics, left);
    }
}

#[test]
fn so_is_what_waits_of_its_acknowledgements() {
    let mut charts = made_up(json!({}));
    let told = told(&mut charts, CHARACTERISTICS[0].id, 23 + UNTIL_WRONG);
    let violation = told.iter().rfind(|event| event.payload["violation_id"].is_number()).unwrap();
    charts.room(Some(0));
    let asked = json!({"violation_id": violation.payload["violation_id"], "reason": "Tool Change"});
    charts.command("acknowledge", "john.doe", &asked).unwrap();
    assert_eq!(charts.replies().pop().unwrap().status, abi::OK);
    let saved = charts.save().unwrap();
    charts.restart_from(Some(saved.clone())).unwrap();
    charts.writable().unwrap();
    assert_eq!(count(&charts.published(), "ack_update"), 1, "it waited");
    let mut without = start(json!({}));
    without.restart_from(Some(saved)).unwrap();
    assert_eq!(without.published(), []);
}

#[test]
fn what_cannot_be_made_up_is_refused_at_its_place() {
    let told = refused(json!({"source": "mock", "interval": "9ms"}));
    assert_eq!(told, ("/interval".into(), "the interval must be at least 10ms".into()));
    let (pointer, why) = refused(json!({"source": "mock", "auto": {"chart": "p"}}));
    assert!(pointer == "/auto/chart" && why.contains("leave the chart out"), "{why}");
    start(json!({"source": "mock", "interval": "10ms"}));
    start(json!({"auto": {"chart": "p"}}));
}
