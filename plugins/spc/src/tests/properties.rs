//! Property tests: a chart says the same in every unit, of the mirror image, and however its samples are broken up.

use std::collections::BTreeMap;
use std::time::Duration;

use broadcastd_plugin_api::testing::{Harness, Published};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::whole::{sample, start};
use crate::chart::Bounds;
use crate::point::Point;
use crate::running::Charts;
use crate::runs::{Pattern, Rule, Runs};
use crate::spread::Spread;

const CHARTS: [&str; 5] = ["imr", "xbar_r", "xbar_s", "ewma", "cusum"];

/// Measured samples in steps of 1/8, so that shifting and scaling by powers of two round nothing; some are missing.
fn samples() -> impl Strategy<Value = (String, Vec<Vec<f64>>)> {
    let chart = prop::sample::select(CHARTS.to_vec());
    chart.prop_flat_map(|chart| {
        let size = if chart == "imr" { 1 } else { 4 };
        let eighths = (-40i32..40, 0i32..3).prop_map(|(value, far)| f64::from(value * (1 + far / 2 * 3)) / 8.0);
        let one = prop_oneof![9 => prop::collection::vec(eighths, size), 1 => Just(Vec::new())];
        (Just(chart.to_owned()), prop::collection::vec(one, 12..60))
    })
}

/// What is told of samples, each changed like this.
fn told(chart: &str, samples: &[Vec<f64>], change: impl Fn(f64) -> f64) -> Vec<Published> {
    let mut charts = start(json!({"auto": {"chart": chart, "limits": {"samples": 8}}}));
    for values in samples {
        let values: Vec<f64> = values.iter().map(|value| change(*value)).collect();
        sample(&mut charts, json!({"characteristic_id": 1, "values": values}));
    }
    charts.published()
}

/// The verdict of every event: kind, sample, zone by whatever shows it, and rule.
fn verdicts(told: &[Published], zone: fn(&Published) -> String) -> Vec<String> {
    let line = |event: &Published| {
        let Published { kind, payload, .. } = event;
        format!("{kind} {} {} {}", payload["sample_id"], zone(event), payload["rule_id"])
    };
    told.iter().map(line).collect()
}

fn same(event: &Published) -> String {
    event.payload["zone"].as_str().unwrap_or_default().to_owned()
}

/// A point on the centre line is shown as upper in both images.
fn off_the_centre(event: &Published) -> String {
    if is_on_the_centre(event) { "centre".into() } else { same(event) }
}

fn mirrored(event: &Published) -> String {
    let zone = off_the_centre(event);
    match zone.strip_suffix("_upper") {
        Some(start) => format!("{start}_lower"),
        None if zone == "beyond_ucl" => "beyond_lcl".into(),
        None if zone == "beyond_lcl" => "beyond_ucl".into(),
        None => zone.replace("_lower", "_upper"),
    }
}

fn is_on_the_centre(event: &Published) -> bool {
    let (value, center) = (event.payload["value"].as_f64(), event.payload["center_line"].as_f64());
    event.kind == "sample" && value.zip(center).is_some_and(|(value, center)| (value - center).abs() < 1e-9)
}

/// Every figure is the other one scaled and shifted; sums are of differences, and are not shifted, but what they are of
/// was rounded where it had been shifted to.
fn follow(told: &[Published], other: &[Published], scale: f64, by: f64, is_sum: impl Fn(&Published) -> bool) {
    for (one, other) in told.iter().zip(other) {
        let shift = if is_sum(one) { 0.0 } else { by };
        for name in ["value", "center_line", "ucl", "lcl"] {
            let (Some(one), Some(other)) = (one.payload[name].as_f64(), other.payload[name].as_f64()) else { continue };
            let size = scale.abs() * one.abs() + shift.abs() + scale.abs();
            let tolerance = 1e-9 * size + 1e-12 * by.abs();
            assert!((other - (one * scale + shift)).abs() <= tolerance, "{name}: {one} became {other}");
        }
    }
}

/// What is told of two characteristics whose samples come in parts of these sizes, first some of one and then as many of
/// the other: by topic, without the numbers of violations. Each part comes so many milliseconds later, after a restart, to a stream
/// without room, or after somebody has asked for a snapshot.
fn told_in_parts(
    chart: &str,
    samples: &[Vec<f64>],
    parts: &[(usize, u64, u8)],
) -> BTreeMap<String, Vec<(String, Value)>> {
    let mut charts = start(json!({"auto": {"chart": chart, "limits": {"samples": 8}}}));
    let (mut parts, mut at) = (parts.iter().cycle(), 0);
    while at < samples.len() {
        let (size, later, before) = *parts.next().unwrap();
        charts.advance(Duration::from_millis(later)).unwrap();
        match before {
            0 => {}
            1 => charts.restart().unwrap(),
            2 => charts.room(Some(1)),
            _ => drop(charts.records().unwrap()),
        }
        let end = (at + size).min(samples.len());
        for id in ["a", "b"] {
            for (index, values) in (at..end).zip(&samples[at..end]) {
                sample(&mut charts, json!({"characteristic_id": id, "values": values, "time": index}));
            }
        }
        charts.room(None);
        charts.writable().unwrap();
        at = end;
    }
    let mut told = BTreeMap::<String, Vec<(String, Value)>>::new();
    for mut event in charts.published() {
        event.payload["violation_id"] = Value::Null;
        told.entry(event.topic).or_default().push((event.kind, event.payload));
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_unit_does_not_matter((chart, samples) in samples(), power in -12i32..12, shift in -4_000i32..4_000) {
        let (scale, shift) = (2f64.powi(power), f64::from(shift));
        let plain = told(&chart, &samples, |value| value);
        let changed = told(&chart, &samples, |value| value * scale + shift);
        prop_assert_eq!(verdicts(&plain, same), verdicts(&changed, same));
        let is_sum = |event: &Published| chart == "cusum" && (event.kind != "sample" || !event.payload["zone"].is_null());
        follow(&plain, &changed, scale, shift, is_sum);
    }

    #[test]
    fn the_mirror_image_is_judged_alike((chart, samples) in samples()) {
        let plain = told(&chart, &samples, |value| value);
        let image = told(&chart, &samples, |value| -value);
        prop_assert_eq!(verdicts(&plain, mirrored), verdicts(&image, off_the_centre));
    }

    #[test]
    fn a_far_offset_changes_no_verdict((chart, samples) in samples()) {
        let plain = told(&chart, &samples, |value| value);
        let far = told(&chart, &samples, |value| value + f64::from(1 << 30));
        prop_assert_eq!(verdicts(&plain, same), verdicts(&far, same));
    }

    #[test]
    fn restarts_between_any_samples_change_nothing((chart, samples) in samples(), every in 1usize..9) {
        let run = |every: usize| {
            let mut charts: Harness<Charts> = start(json!({"auto": {"chart": &chart, "limits": {"samples": 5}}}));
            for (index, values) in samples.iter().enumerate() {
                sample(&mut charts, json!({"characteristic_id": 1, "values": values}));
                if index % every == 0 {
                    charts.restart().unwrap();
                }
            }
            charts.published().into_iter().map(|event| (event.kind, event.key, event.payload)).collect::<Vec<_>>()
        };
        prop_assert!(run(every) == run(usize::MAX));
    }

    /// However a series comes in, with whatever happens in between: of each characteristic the same is said.
    #[test]
    fn the_parts_that_samples_come_in_do_not_matter(
        (chart, samples) in samples(),
        parts in prop::collection::vec((1usize..9, 0u64..5_000, 0u8..4), 1..20),
    ) {
        let whole = told_in_parts(&chart, &samples, &[(samples.len(), 0, 0)]);
        prop_assert_eq!(whole.len(), 2);
        prop_assert_eq!(told_in_parts(&chart, &samples, &parts), whole);
    }

    /// However values are put together, the whole is that of the plain formula.
    #[test]
    fn parts_make_the_whole(values in prop::collection::vec(-1e6f64..1e6, 2..60), at in 0usize..60) {
        let at = at.min(values.len());
        let joined = Spread::of(&values[..at]).and(Spread::of(&values[at..]));
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let deviation = (squares / (values.len() as f64 - 1.0)).sqrt();
        prop_assert!((joined.mean() - mean).abs() < 1e-6 && (joined.deviation().unwrap() - deviation).abs() < 1e-6);
    }

    /// The rules by bits are the rules by the letter, over the list of all points.
    #[test]
    fn runs_are_judged_by_the_letter(eighths in prop::collection::vec(-26i32..26, 1..90)) {
        let values: Vec<f64> = eighths.iter().map(|value| f64::from(*value) / 8.0).collect();
        let patterns = [
            Pattern::Outside,
            Pattern::OneSide { run: 9, of: 9, sigmas: 0.0 },
            Pattern::Trend { run: 3 },
            Pattern::Alternating { run: 5 },
            Pattern::OneSide { run: 2, of: 3, sigmas: 2.0 },
            Pattern::OneSide { run: 4, of: 5, sigmas: 1.0 },
            Pattern::Near { run: 4 },
            Pattern::FarOnBothSides { run: 4 },
            Pattern::Far { run: 4 },
        ];
        let rules: Vec<Rule> = (1..).zip(patterns).map(|(id, pattern)| Rule { id, pattern }).collect();
        let mut runs = Runs::new(&rules);
        for end in 1..=values.len() {
            let point = Point { value: values[end - 1], bounds: Bounds::around(0.0, 1.0, 3.0) };
            let fires: Vec<u8> = runs.judge(&point).iter().map(|completed| completed.rule).collect();
            let expected = rules.iter().filter(|rule| by_the_letter(rule.pattern, &values[..end]));
            prop_assert_eq!(fires, expected.map(|rule| rule.id).collect::<Vec<_>>());
        }
    }
}

fn by_the_letter(pattern: Pattern, values: &[f64]) -> bool {
    let last = |length: u32| values.len().checked_sub(length as usize).map(|from| &values[from..]);
    let is_far = |value: &f64| value.abs() > 1.0;
    match pattern {
        Pattern::Outside => values.last().unwrap().abs() > 3.0,
        Pattern::OneSide { run, of, sigmas } => last(of).is_some_and(|window| {
            let side = |sign: f64| {
                let beyond = |value: &&f64| **value * sign > sigmas;
                beyond(&window.last().unwrap()) && window.iter().filter(beyond).count() >= run as usize
            };
            side(1.0) || side(-1.0)
        }),
        Pattern::Trend { run } => last(run).is_some_and(|window| {
            window.windows(2).all(|pair| pair[1] > pair[0]) || window.windows(2).all(|pair| pair[1] < pair[0])
        }),
        Pattern::Alternating { run } => last(run).is_some_and(|window| {
            window.windows(2).all(|pair| pair[0] != pair[1])
                && window.windows(3).all(|three| (three[1] > three[0]) != (three[2] > three[1]))
        }),
        Pattern::Near { run } => last(run).is_some_and(|window| !window.iter().any(is_far)),
        Pattern::Far { run } => last(run).is_some_and(|window| window.iter().all(is_far)),
        Pattern::FarOnBothSides { run } => last(run).is_some_and(|window| {
            let both = window.iter().any(|value| *value > 0.0) && window.iter().any(|value| *value < 0.0);
            both && window.iter().all(is_far)
        }),
    }
}
