//! Each setting of a characteristic, as the whole broadcaster obeys it; and what a sample costs.

use std::time::Instant;

use serde_json::{Value, json};

use super::whole::{known, start, values, violations};
use crate::book::Book;
use crate::sample::Incoming;
use crate::stamp::Stamp;

/// `rule@sample` of what is told of a series, by a plan that is listed and by the same for whoever is not.
fn told(more: &Value, series: &[f64]) -> Vec<String> {
    let listed = known(more.clone());
    let mut auto = listed["characteristics"][0].clone();
    auto.as_object_mut().unwrap().remove("id");
    let [listed, auto] = [listed, json!({ "auto": auto })].map(|settings| {
        let mut charts = start(settings);
        values(&mut charts, series);
        violations(&mut charts)
    });
    assert_eq!(listed, auto, "{more}");
    listed
}

#[test]
fn every_parameter_of_a_rule_counts() {
    let rows: &[(Value, &[f64], &[&str])] = &[
        (json!([1]), &[2.6], &[]),
        (json!([{"rule": 1, "sigma": 2.5}]), &[2.5, 2.6], &["1@2"]),
        (json!([2]), &[0.5; 9], &["2@9"]),
        (json!([{"rule": 2, "run": 7}]), &[0.5; 7], &["2@7"]),
        (json!([{"rule": 2, "run": 3, "of": 4}]), &[0.5, 0.5, -0.5, 0.5], &["2@4"]),
        (json!([3]), &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], &["3@6"]),
        (json!([{"rule": 3, "run": 7}]), &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], &[]),
        (json!([{"rule": 4, "run": 4}]), &[0.1, 0.2, 0.1, 0.2], &["4@4"]),
        (json!([5]), &[2.5, 0.0, 2.5], &["5@3"]),
        (json!([{"rule": 5, "run": 3, "of": 3}]), &[2.5, 0.0, 2.5, 2.5, 2.5], &["5@5"]),
        (json!([{"rule": 6, "run": 2, "of": 3}]), &[1.5, 0.0, 1.5], &["6@3"]),
        (json!([{"rule": 7, "run": 3}]), &[1.0, -1.0, 0.0], &["7@3"]),
        (json!([{"rule": 8, "run": 2}]), &[1.5, 1.5, -1.5], &["8@3"]),
        (json!("western_electric"), &[0.5; 8], &["2@8"]),
        (json!("nelson"), &[0.5; 8], &[]),
    ];
    for (rules, series, expected) in rows {
        assert_eq!(told(&json!({"rules": rules}), series), *expected, "{rules}");
    }
    let one_side = [1.5; 8];
    assert_eq!(told(&json!({"rules": [8]}), &one_side), [""; 0]);
    assert_eq!(told(&json!({"rules": [8], "rule8": "any"}), &one_side), ["8@8"]);
}

#[test]
fn every_setting_of_an_average_and_of_sums_counts() {
    let ewma = |own: Value| json!({"chart": "ewma", "rules": "nelson", "ewma": own});
    let cusum = |own: Value| json!({"chart": "cusum", "rules": "nelson", "cusum": own});
    let rows: &[(Value, &[f64], &[&str])] = &[
        (ewma(json!({"lambda": 1.0})), &[2.9, 3.1], &["1@2"]),
        (ewma(json!({"lambda": 0.5, "l": 1.5})), &[1.6], &["1@1"]),
        (ewma(json!({"lambda": 0.5, "l": 1.5, "limits": "asymptotic"})), &[1.6], &[]),
        (cusum(json!({})), &[1.5; 6], &["1@6"]),
        (cusum(json!({"h": 4})), &[1.5; 5], &["1@5"]),
        (cusum(json!({"h": 4, "k": 1.0})), &[1.5; 5], &[]),
        (cusum(json!({"h": 4, "fir": 0.5})), &[1.5; 3], &["1@3"]),
        (cusum(json!({"h": 4, "fir": 0.5})), &[-1.5; 3], &["1@3"]),
        (cusum(json!({"h": 4})), &[1.5; 7], &["1@5", "1@6", "1@7"]),
        (cusum(json!({"h": 4, "reset": true})), &[1.5; 7], &["1@5"]),
        (cusum(json!({"h": 4, "fir": 0.5, "reset": true})), &[1.5; 6], &["1@3", "1@6"]),
    ];
    for (more, series, expected) in rows {
        assert_eq!(told(more, series), *expected, "{more}");
    }
}

#[test]
fn a_sample_costs_the_same_however_many_came_before() {
    let settings = json!({"auto": {"chart": "imr", "spec": {"usl": 9}, "limits": {"samples": 25}}});
    let now = Stamp::of_ns(0);
    let mut book = Book::new(serde_json::from_value(settings).unwrap(), now);
    let incoming: Vec<Incoming> =
        (0..7).map(|value| serde_json::from_value(json!({"characteristic_id": 1, "value": value})).unwrap()).collect();
    let mut cost = |samples: usize| {
        let began = Instant::now();
        for one in incoming.iter().cycle().take(samples) {
            book.take(one, now, &mut Vec::new()).unwrap();
        }
        began.elapsed()
    };
    let early = (0..10).map(|_| cost(100)).min().unwrap();
    cost(50_000);
    let late = (0..10).map(|_| cost(100)).min().unwrap();
    println!("100 samples cost {early:?} behind a few others, {late:?} behind 50,000");
    assert!(late < early * 10);
}
