//! Whatever comes in as samples of control charts: each is taken, missing, excluded or refused and counted, what is told of it
//! are numbers, and a restart changes nothing of what is shown.

use broadcastd_plugin_api::testing::{Harness, Input};
use serde_json::{Value, json};

use super::Charts;

const CHARTS: [&str; 10] = ["", "xbar_r", "xbar_s", "imr", "p", "np", "c", "u", "ewma", "cusum"];
const COUNTS: [&str; 4] = ["samples_total", "samples_missing_total", "samples_excluded_total", "inputs_rejected_total"];

/// The first byte says by which charts; each line is the payload of a sample, behind `!` that of what asks for new limits.
pub fn check(input: &[u8]) {
    let Some((&first, lines)) = input.split_first() else { return };
    let chart = CHARTS[usize::from(first) % CHARTS.len()];
    let settings = match chart {
        "" => json!({"auto": {"limits": {"samples": 2}}}),
        chart => json!({"auto": {"chart": chart, "subgroup_size": 2, "limits": {"samples": 2}}}),
    };
    let Ok(mut charts) = Harness::<Charts>::new(settings) else { return };
    let mut samples = 0;
    for line in lines.split(|byte| *byte == b'\n') {
        let (kind, payload) = line.strip_prefix(b"!").map_or(("sample", line), |rest| ("recalculate", rest));
        samples += usize::from(kind == "sample");
        let input = Input { payload: payload.to_vec(), ..Input::new("samples", kind, &()) };
        charts.input(&input).expect("nothing that comes in ends it");
    }
    let counted = |name: &str| -> f64 {
        let metrics = charts.metrics();
        metrics.iter().filter(|metric| metric.name == name).flat_map(|metric| metric.values.clone()).sum()
    };
    let [taken, missing, excluded, refused] = COUNTS.map(counted);
    let recalculated = counted("limits_recalculated_total");
    let inputs = lines.split(|byte| *byte == b'\n').count() as f64;
    assert_eq!(taken + missing + excluded + refused + recalculated, inputs, "each has its outcome");
    let told: Vec<Value> =
        charts.published().into_iter().filter(|event| event.kind == "sample").map(|event| event.payload).collect();
    assert_eq!(told.len() as f64, taken, "of {samples} samples");
    for sample in told {
        assert!(sample["value"].is_number() && !sample["characteristic_id"].is_null(), "{sample}");
    }
    let shown = charts.records().expect("it can be shown");
    charts.restart().expect("it can go on from what it saved");
    assert_eq!(charts.records().expect("it can be shown again"), shown);
}
