//! Results as tables: one for each workload, then the bars.

use std::fmt::Write;

use crate::bar;
use crate::figures::{Spread, Table, count, millis, percent, ratio};
use crate::peer::PEERS;
use crate::results::{Results, paired};
use crate::workload::{Shape, WORKLOADS, Workload};

const OURS: &str = "broadcastd";

/// A column: its head, the figure, and how that is written.
type Column = (&'static str, &'static str, fn(f64) -> String);

const FAN_OUT: &[Column] = &[
    ("deliveries/s", "per_second", count),
    ("server busy", "server_busy", percent),
    ("load's CPU, of the server's", "load_share", percent),
    ("events per read", "per_read", ratio),
    ("p50 ms", "p50_us", millis),
    ("p99 ms", "p99_us", millis),
    ("p99.9 ms", "p999_us", millis),
    ("connects/s", "connects_per_second", count),
];
const PACED: &[Column] = &[
    ("server busy", "server_busy", percent),
    ("events per read", "per_read", ratio),
    ("p50 ms", "p50_us", millis),
    ("p99 ms", "p99_us", millis),
    ("p99.9 ms", "p999_us", millis),
];
const IDLE: &[Column] = &[
    ("PSS bytes each", "pss_bytes", count),
    ("RSS bytes each", "rss_bytes", count),
    ("connects/s", "connects_per_second", count),
];
const BARS: &[Column] = &[
    ("deliveries per CPU-second", "per_cpu", count),
    ("deliveries/s", "per_second", count),
    ("server busy", "server_busy", percent),
    ("p50 ms, at most", "p50_us", millis),
    ("p99 ms, at most", "p99_us", millis),
];
const HERD: &[Column] = &[
    ("resumed", "resumed", count),
    ("all are back after s", "back_s", ratio),
    ("resumes/s", "resumes_per_second", count),
    ("CPU of each, µs", "resume_cpu_us", count),
    ("snapshots sent", "snapshots_sent", count),
    ("put into bytes", "snapshots_made", count),
];

pub fn render(results: &Results) -> String {
    let mut text = format!("{} {}\n", results.setting, results.effort);
    for workload in WORKLOADS {
        if results.runs.iter().any(|run| run.workload == workload.name) {
            _ = write!(text, "\n**{}**: {}\n\n{}", workload.name, workload.what, of_workload(results, workload));
        }
    }
    _ = write!(text, "\n**Bars**, by the median\n\n{}", bar::table(results));
    text
}

fn of_workload(results: &Results, workload: &Workload) -> Table {
    let (columns, compares) = match workload.shape {
        Shape::Closed { .. } => (FAN_OUT, true),
        Shape::HalfOfTheSlowest | Shape::Paced { .. } => (PACED, false),
        Shape::Idle => (IDLE, false),
        Shape::Bars => (BARS, false),
        Shape::Herd => (HERD, false),
    };
    let compared: &[&str] = if compares { &["deliveries per CPU-second", "broadcastd is × it"] } else { &[] };
    let faults: &[&str] = if workload.shape == Shape::Idle { &[] } else { &["lost", "doubled", "out of order"] };
    let heads: Vec<&str> = columns.iter().map(|(head, ..)| *head).collect();
    let mut table = Table::new(&[&["server"], compared, &heads, faults].concat());
    for peer in PEERS.iter().filter(|peer| results.of(workload.name, peer.name).next().is_some()) {
        let mut row = vec![peer.label.to_owned()];
        let values = |name: &str| results.figures(workload.name, peer.name, name);
        if compares {
            let theirs = values("per_cpu");
            row.push(spread(theirs.iter().map(|(_, value)| *value), count));
            let ours = results.figures(workload.name, OURS, "per_cpu");
            row.push(spread(paired(&ours, &theirs, |ours, theirs| ours / theirs), ratio));
        }
        row.extend(
            columns.iter().map(|(_, name, write)| spread(values(name).into_iter().map(|(_, value)| value), *write)),
        );
        if !faults.is_empty() {
            row.extend(["lost", "doubled", "disorder"].map(|name| sum(results, workload.name, peer.name, name)));
        }
        table.row(row);
    }
    table
}

fn spread(values: impl IntoIterator<Item = f64>, write: fn(f64) -> String) -> String {
    let values: Vec<f64> = values.into_iter().collect();
    match values.len() {
        0 => "–".to_owned(),
        1 => write(values[0]),
        _ => Spread::of(values).with(write),
    }
}

/// Of all runs, those that stalled included.
fn sum(results: &Results, workload: &str, peer: &str, name: &str) -> String {
    let runs: Vec<_> = results.of(workload, peer).collect();
    let stalled = runs.iter().filter(|run| run.figures.find("stalled").is_some()).count();
    let failed = runs.iter().filter(|run| run.failure.is_some()).count();
    let told: Vec<f64> = runs.iter().filter_map(|run| run.figures.find(name)).collect();
    let total = if told.is_empty() { "–".to_owned() } else { format!("{:.0}", told.iter().sum::<f64>()) };
    let notes = [(stalled, "stalled"), (failed, "failed")];
    let notes = notes.iter().filter(|(runs, _)| *runs > 0).map(|(runs, what)| format!(" ({runs} {what})"));
    format!("{total}{}", notes.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;
    use crate::results::Run;

    #[test]
    fn a_row_has_medians_ratios_and_what_went_wrong() {
        let run = |peer: &str, round, words: &str| Run {
            workload: "W1".into(),
            peer: peer.into(),
            round,
            failure: None,
            figures: Figures::read(words),
        };
        let runs = vec![
            run(OURS, 0, "per_cpu=300 lost=0"),
            run("bun", 0, "per_cpu=100 lost=2"),
            run(OURS, 1, "per_cpu=300 lost=0"),
            run("bun", 1, "stalled=1 lost=5"),
        ];
        let text = render(&Results { runs, ..Results::default() });
        let row = text.lines().find(|line| line.starts_with("| Bun")).unwrap();
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!((cells[2], cells[3], cells[12]), ("100", "3.0", "7 (1 stalled)"), "{row}");
        assert!(text.lines().any(|line| line.contains("axum + broadcast") && line.contains("not measured")), "{text}");
    }
}
