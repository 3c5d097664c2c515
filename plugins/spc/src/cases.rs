//! Published data sets: what each module makes of them.

use serde_json::Value;

use crate::capability::{Indices, Spec};
use crate::constants;
use crate::cusum::{Cusum, CusumSettings, Side};
use crate::ewma::{Ewma, EwmaSettings, Width};
use crate::spread::Spread;

fn case(id: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../tests/spc-cases.json")).unwrap();
    let found = all["cases"].as_array().unwrap().iter().find(|case| case["id"] == id);
    found.unwrap().clone()
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn close(ours: f64, known: &Value, tolerance: f64, what: &str) {
    let known = known.as_f64().unwrap();
    assert!((ours - known).abs() <= tolerance, "{what}: {ours}, not {known}");
}

#[test]
fn pistonrings_capability() {
    let case = case("pistonrings-capability");
    let groups: Vec<Vec<f64>> = case["input"]["subgroups"].as_array().unwrap().iter().map(numbers).collect();
    let range = |group: &Vec<f64>| {
        let (least, most) = group.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
        (most - least) / constants::range(group.len()).d2
    };
    let sigma = groups.iter().map(range).sum::<f64>() / groups.len() as f64;
    let indices = |offset: f64| {
        let values: Vec<f64> = groups.iter().flatten().map(|value| value + offset).collect();
        let spec = Spec { usl: Some(74.05 + offset), lsl: Some(73.95 + offset), target: Some(74.0 + offset) };
        serde_json::to_value(Indices::new(&Spread::of(&values), sigma, &spec)).unwrap()
    };
    let (ours, far) = (indices(0.0), indices(1e9));
    for (name, known) in case["expected"].as_object().unwrap() {
        close(ours[name].as_f64().unwrap(), known, 1e-6 * known.as_f64().unwrap(), name);
        if name != "mean" {
            close(far[name].as_f64().unwrap(), known, 1e-4, &format!("{name} at an offset of 1e9"));
        }
    }
    for (name, known) in case["published"].as_object().unwrap() {
        close(ours[name].as_f64().unwrap(), known, 5e-3, name);
    }
}

#[test]
fn nist_ewma() {
    let case = case("nist-ewma");
    let (settings, sigma) = (EwmaSettings { lambda: 0.3, l: 3.0, limits: Width::Asymptotic }, 2.0539);
    let mut ewma = Ewma::new(50.0);
    for (index, value) in numbers(&case["input"]["values"]).into_iter().enumerate() {
        let plotted = ewma.add(value, 1.0, sigma, &settings);
        close(plotted.average, &case["expected"]["ewma"][index], 1e-9 * 50.0, "average");
        close(50.0 + settings.l * plotted.deviation, &case["expected"]["ucl"][index], 1e-6, "ucl");
        close(50.0 - settings.l * plotted.deviation, &case["published"]["lcl"], 2e-4, "published lcl");
    }
}

#[test]
fn nist_cusum() {
    let case = case("nist-cusum");
    let number = |name: &str| case["input"][name].as_f64().unwrap();
    let (target, sigma) = (number("target"), number("sigma"));
    let settings = CusumSettings { k: number("k"), h: number("h"), ..CusumSettings::default() };
    let mut cusum = Cusum::new(&settings);
    let (mut plus, mut minus) = (Vec::new(), Vec::new());
    for (index, value) in numbers(&case["input"]["values"]).into_iter().enumerate() {
        match cusum.add((value - target) / sigma, &settings) {
            Some(Side::Plus) => plus.push(index + 1),
            Some(Side::Minus) => minus.push(index + 1),
            None => {}
        }
        let known = |name: &str| &case["expected"][name][index];
        close(cusum.plus * sigma, known("c_plus"), 1e-9, "c_plus");
        close(cusum.minus * sigma, known("c_minus"), 1e-9, "c_minus");
        close(f64::from(cusum.n_plus), known("n_plus"), 0.0, "n_plus");
        close(f64::from(cusum.n_minus), known("n_minus"), 0.0, "n_minus");
    }
    assert_eq!(serde_json::json!(plus), case["expected"]["signals_plus"]);
    assert_eq!(serde_json::json!(minus), case["expected"]["signals_minus"]);
}
