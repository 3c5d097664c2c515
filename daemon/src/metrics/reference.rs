//! The reference of all metrics and their labels, in Markdown.

use super::labels::{FREE, LABELS, Label};
use super::{COUNTERS, GAUGES, HISTOGRAMS, PROCESS, SECONDS};

const INTRODUCTION: &str = "\
# Metrics

This page is written by `cargo xtask docs` from the daemon's one list of metrics. `GET /metrics` on the admin listener
answers in the text format of Prometheus. No topic, user, connection or client is ever a label.

Metrics that a plugin declares are shown under the prefix `broadcastd_plugin_`, with the label `broadcaster`; they end
with their broadcaster. What to do about them, with alert rules and a dashboard: [monitoring.md](monitoring.md). What the
[labels](#labels) of the daemon's own can be stands at the end.
";

const OF_LABELS: &str = "
## Labels

Most series begin with their first event: a value that is not shown has not happened.
";

pub fn reference() -> String {
    let sections = [("Counters", COUNTERS), ("Gauges", GAUGES), ("The process", PROCESS), ("Histograms", HISTOGRAMS)];
    let mut page = INTRODUCTION.to_owned();
    for (title, metrics) in sections {
        page.push_str(&format!("\n## {title}\n"));
        page.push_str(&table(("Name", "Meaning"), metrics));
    }
    let bounds: Vec<String> = SECONDS.iter().map(f64::to_string).collect();
    page.push_str(&format!("\nBounds of every histogram, in seconds: {}.\n", bounds.join(", ")));
    page.push_str(OF_LABELS);
    page.push_str(&table(("Label", "Names"), FREE));
    for Label { name, metrics, values, others } in LABELS {
        let metrics: Vec<String> = metrics.iter().map(|metric| format!("`{metric}`")).collect();
        page.push_str(&format!("\n`{name}` of {}:\n", metrics.join(", ")));
        page.push_str(&table(("Value", "Meaning"), values));
        if !others.is_empty() {
            page.push_str(&format!("\n… {others}.\n"));
        }
    }
    page
}

fn table((name, meaning): (&str, &str), rows: &[(&str, &str)]) -> String {
    let rows: String = rows.iter().map(|(name, meaning)| format!("| `{name}` | {meaning} |\n")).collect();
    format!("\n| {name} | {meaning} |\n|---|---|\n{rows}")
}
