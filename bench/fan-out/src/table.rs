//! Results as tables: one for each workload, then what is promised.

use std::fmt::Write;

use crate::bar;
use crate::figures::{Spread, Table, count, millis, percent, ratio, thousands};
use crate::peer::PEERS;
use crate::results::{Results, paired};
use crate::workload::{Shape, WORKLOADS, Workload};

const OURS: &str = "broadcastd";
/// How promises are judged.
const JUDGED: &str =
    "By the median; what is no matter of degree, by the worst run. None holds where a run of ours failed.";

/// A column: its head, the figure, and how that is written.
type Column = (&'static str, &'static str, fn(f64) -> String);

const FAN_OUT: &[Column] = &[
    ("deliveries/s", "per_second", count),
    ("server busy", "server_busy", percent),
    ("load's CPU ÷ server's CPU", "load_share", ratio),
    ("events per read", "per_read", ratio),
    ("p50 ms", "p50_us", millis),
    ("p99 ms", "p99_us", millis),
    ("p99.9 ms", "p999_us", millis),
    ("connects/s", "connects_per_second", count),
];
const PACED: &[Column] = &[
    ("events/s", "events_per_second", count),
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
    ("seconds until all are back", "back_s", ratio),
    ("resumes/s", "resumes_per_second", count),
    ("CPU of each, µs", "resume_cpu_us", count),
    ("snapshots sent", "snapshots_sent", count),
    ("snapshots encoded", "snapshots_made", count),
];

pub fn render(results: &Results) -> String {
    let mut text = format!("{} {}\n", results.setting, results.effort);
    for workload in WORKLOADS {
        if results.runs.iter().any(|run| run.workload == workload.name) {
            let (caption, table) = (caption(results, workload), of_workload(results, workload));
            _ = write!(text, "\n**{}**: {caption}\n\n{table}", workload.name);
        }
    }
    _ = write!(text, "\n**What is promised**\n\n{JUDGED}\n\n{}", bar::table(results));
    text
}

/// What the workload is, and how its runs differ from that and from those of others.
fn caption(results: &Results, workload: &Workload) -> String {
    let mut text = workload.what.to_owned();
    let runs = results.runs.iter().filter(|run| run.workload == workload.name);
    let most = runs.filter_map(|run| run.figures.find("connections")).reduce(f64::max);
    if let Some(most) = most.filter(|most| *most < workload.connections as f64) {
        _ = write!(text, "; with {} connections", thousands(most));
    }
    if workload.times > 1 {
        _ = write!(text, "; measured {} times as long as the others", workload.times);
    }
    text
}

fn of_workload(results: &Results, workload: &Workload) -> Table {
    let (columns, compares) = match workload.shape {
        Shape::Closed { .. } => (FAN_OUT, true),
        Shape::HalfOfTheSlowest | Shape::Paced { .. } => (PACED, true),
        Shape::Idle => (IDLE, false),
        Shape::Bars => (BARS, false),
        Shape::Herd => (HERD, false),
    };
    let has_events = workload.shape != Shape::Idle;
    let mut heads = vec!["server"];
    if compares {
        heads.extend(["deliveries per CPU-second", "broadcastd is × it"]);
    }
    heads.extend(columns.iter().map(|(head, ..)| *head));
    if has_events {
        heads.extend(["lost", "doubled", "out of order"]);
    }
    heads.push("runs");
    let mut table = Table::new(&heads);
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
        if has_events {
            row.extend(["lost", "doubled", "disorder"].map(|name| sum(results, workload.name, peer.name, name)));
        }
        row.push(runs(results, workload.name, peer.name));
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
    let told: Vec<f64> = results.of(workload, peer).filter_map(|run| run.figures.find(name)).collect();
    if told.is_empty() { "–".to_owned() } else { format!("{:.0}", told.iter().sum::<f64>()) }
}

/// How many count, and what became of the others: `5`, `3 (2 failed)`, `5 failed`.
fn runs(results: &Results, workload: &str, peer: &str) -> String {
    let runs: Vec<_> = results.of(workload, peer).collect();
    let stalled = runs.iter().filter(|run| run.figures.find("stalled").is_some()).count();
    let failed = runs.iter().filter(|run| run.failure.is_some()).count();
    let others = [(stalled, "stalled"), (failed, "failed")].into_iter().filter(|(runs, _)| *runs > 0);
    let others: Vec<String> = others.map(|(runs, what)| format!("{runs} {what}")).collect();
    match (runs.len() - stalled - failed, others.join(", ")) {
        (good, others) if others.is_empty() => good.to_string(),
        (0, others) => others,
        (good, others) => format!("{good} ({others})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;
    use crate::results::Run;

    /// One that failed has no words.
    fn run(workload: &str, peer: &str, round: usize, words: &str) -> Run {
        let failure = words.is_empty().then(|| "it broke".into());
        Run { workload: workload.into(), peer: peer.into(), round, failure, figures: Figures::read(words) }
    }

    fn rendered(runs: Vec<Run>) -> String {
        render(&Results { runs, ..Results::default() })
    }

    /// The cells of the line that begins so.
    fn cells<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
        let row = text.lines().find(|line| line.starts_with(begin)).unwrap();
        row.trim_matches('|').split('|').map(str::trim).collect()
    }

    #[test]
    fn a_row_has_medians_ratios_and_what_went_wrong() {
        let text = rendered(vec![
            run("W1", OURS, 0, "per_cpu=300 lost=0"),
            run("W1", "bun", 0, "per_cpu=100 lost=2"),
            run("W1", OURS, 1, "per_cpu=300 lost=0"),
            run("W1", "bun", 1, "stalled=1 lost=5"),
            run("W1", "nats", 0, ""),
            run("W1", "nats", 1, ""),
        ]);
        let (heads, bun, nats) = (cells(&text, "| server"), cells(&text, "| Bun"), cells(&text, "| NATS"));
        let at = |head: &str| heads.iter().position(|known| *known == head).unwrap();
        assert_eq!((bun[at("deliveries per CPU-second")], bun[at("broadcastd is × it")]), ("100", "3.00"));
        assert_eq!((bun[at("lost")], bun[at("runs")]), ("7", "1 (1 stalled)"));
        assert_eq!((nats[at("lost")], nats[at("runs")]), ("–", "2 failed"));
        assert_eq!(cells(&text, "| broadcastd")[at("runs")], "2");
        assert!(text.lines().any(|line| line.contains("axum + broadcast") && line.contains("not measured")), "{text}");
    }

    #[test]
    fn a_pace_is_told_and_servers_are_compared_at_it() {
        let text = rendered(vec![
            run("W5", OURS, 0, "per_cpu=300 events_per_second=27.31"),
            run("W5", "bun", 0, "per_cpu=200 events_per_second=27.29"),
        ]);
        assert_eq!(
            cells(&text, "| server")[..4],
            ["server", "deliveries per CPU-second", "broadcastd is × it", "events/s"]
        );
        assert_eq!(cells(&text, "| Bun")[1..4], ["200", "1.50", "27.3"]);
        assert!(text.contains("; measured 5 times as long as the others\n"), "{text}");
    }

    #[test]
    fn idle_connections_that_are_fewer_are_told_and_so_are_runs_that_failed() {
        let runs = |connections: &str| {
            let words = format!("pss_bytes=500 {connections}");
            vec![run("W4", OURS, 0, &words), run("W4", OURS, 1, &words), run("W4", OURS, 2, "")]
        };
        let text = rendered(runs("connections=9600"));
        assert!(text.contains("one topic; with 9,600 connections\n"), "{text}");
        assert_eq!(cells(&text, "| broadcastd").last(), Some(&"2 (1 failed)"));
        for whole in ["", "connections=19500"] {
            assert!(!rendered(runs(whole)).contains("; with"));
        }
    }
}
