//! What the daemon promises against its peers, and whether it holds.

use crate::figures::{Spread, Table};
use crate::results::{Results, Run, paired};

const OURS: &str = "broadcastd";
const PUBSUB: &[&str] = &["bun", "uws"];
const PUBSUB_LABEL: &str = "the better of Bun and npm `uwebsockets`";
const BATCH: &[&str] = &["limit-batch"];
const BATCH_LABEL: &str = "limit: joined, one write";
const AXUM: &[&str] = &["axum"];
const AXUM_LABEL: &str = "axum + broadcast";

struct Bar {
    workload: &'static str,
    against: &'static str,
    /// The bound that must hold, and the aim.
    least: f64,
    aim: f64,
    side: Side,
    judged_by: JudgedBy,
    measure: fn(&Results, &str) -> Vec<f64>,
}

/// Where a good figure lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Above,
    Below,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JudgedBy {
    Median,
    /// What is no matter of degree holds in every run.
    Worst,
}

const BARS: &[Bar] = &[
    above("W1", PUBSUB_LABEL, (1.0, 1.25), |results, name| per_cpu(results, name, OURS, PUBSUB)),
    above("W2", PUBSUB_LABEL, (1.0, 1.25), |results, name| per_cpu(results, name, OURS, PUBSUB)),
    above("W1-serial", PUBSUB_LABEL, (1.15, 1.3), |results, name| per_cpu(results, name, OURS, PUBSUB)),
    above("W1-serial", "with epoll: the best limit without io_uring", (0.9, 1.0), |results, name| {
        per_cpu(results, name, "broadcastd-epoll", &["limit-write", "limit-batch", "limit-writev"])
    }),
    above("W1-burst", "Bun", (2.5, 3.5), |results, name| per_cpu(results, name, OURS, &["bun"])),
    above("W3", PUBSUB_LABEL, (1.1, 1.4), |results, name| per_cpu(results, name, OURS, PUBSUB)),
    above("W1", BATCH_LABEL, (0.85, 1.0), |results, name| per_cpu(results, name, OURS, BATCH)),
    above("W2", BATCH_LABEL, (0.85, 1.0), |results, name| per_cpu(results, name, OURS, BATCH)),
    above("W1-burst", BATCH_LABEL, (0.85, 1.0), |results, name| per_cpu(results, name, OURS, BATCH)),
    above("W1", AXUM_LABEL, (2.0, 10.0), |results, name| per_cpu(results, name, OURS, AXUM)),
    above("W1-serial", AXUM_LABEL, (2.0, 2.0), |results, name| per_cpu(results, name, OURS, AXUM)),
    above("W1-burst", AXUM_LABEL, (2.0, 2.0), |results, name| per_cpu(results, name, OURS, AXUM)),
    above("W2", AXUM_LABEL, (2.0, 2.0), |results, name| per_cpu(results, name, OURS, AXUM)),
    above("W3", AXUM_LABEL, (1.5, 1.5), |results, name| per_cpu(results, name, OURS, AXUM)),
    above("W4", "memory of axum + broadcast", (2.0, 2.0), |results, name| {
        ratios(results, name, "pss_bytes", ("axum", OURS))
    }),
    above("W5", AXUM_LABEL, (2.0, 2.0), |results, name| per_cpu(results, name, OURS, AXUM)),
    above("W8", AXUM_LABEL, (2.0, 2.0), |results, name| per_cpu(results, name, OURS, AXUM)),
    below("W4", "bytes of user space per idle connection", (2048.0, 500.0), |results, name| {
        results.figures(name, OURS, "pss_bytes").into_iter().map(|(_, bytes)| bytes).collect()
    }),
    below("W5", "p99 of Bun's", (1.0, 0.85), |results, name| ratios(results, name, "p99_us", (OURS, "bun"))),
    below("W8", "processor time, of that with eager flush", (0.6, 0.3), |results, name| {
        ratios(results, name, "server_busy", ("broadcastd-auto", OURS))
    }),
    below("W8", "ms that p50 is worse", (5.0, 5.0), |results, name| {
        let (adaptive, eager) =
            (results.figures(name, "broadcastd-auto", "p50_us"), results.figures(name, OURS, "p50_us"));
        paired(&adaptive, &eager, |adaptive, eager| (adaptive - eager) / 1e3)
    }),
    always(above("W7", "share that resumed", (1.0, 1.0), |results, name| {
        paired(&results.figures(name, OURS, "resumed"), &results.figures(name, OURS, "connections"), |resumed, all| {
            resumed / all
        })
    })),
    always(below("W7", "events lost or doubled", (0.0, 0.0), |results, name| {
        paired(&results.figures(name, OURS, "lost"), &results.figures(name, OURS, "doubled"), |lost, doubled| {
            lost + doubled
        })
    })),
    always(below("W7", "times that the snapshot was encoded for all", (1.0, 1.0), |results, name| {
        results.figures(name, OURS, "snapshots_made").into_iter().map(|(_, made)| made).collect()
    })),
];

/// Each bar that was measured, and whether it holds. None does where a run of ours has failed.
pub fn table(results: &Results) -> Table {
    let mut table = Table::new(&["workload", "against", "at least", "aim", "measured", "holds"]);
    for bar in BARS {
        let ours = || results.runs.iter().filter(|run| run.workload == bar.workload && run.peer.starts_with(OURS));
        let rounds = ours().filter(|run| run.peer == OURS).count();
        if rounds == 0 {
            continue;
        }
        let measured = (bar.measure)(results, bar.workload);
        let sign = if bar.side == Side::Above { "" } else { "≤ " };
        let (said, holds) = match measured.len() {
            0 => ("–".to_owned(), "not measured"),
            runs => {
                let spread = Spread::of(measured);
                let few = if runs < rounds { format!(", {runs} of {rounds} runs") } else { String::new() };
                let holds = if ours().any(Run::went_wrong) { "no: a run failed" } else { bar.verdict(&spread) };
                (format!("{}{few}", spread.with(bound_digits)), holds)
            }
        };
        let bound = |value: f64| format!("{sign}{value}");
        table.row([
            bar.workload.to_owned(),
            bar.against.to_owned(),
            bound(bar.least),
            bound(bar.aim),
            said,
            holds.to_owned(),
        ]);
    }
    table
}

impl Bar {
    fn verdict(&self, measured: &Spread) -> &'static str {
        let measured = match (self.judged_by, self.side) {
            (JudgedBy::Median, _) => measured.median,
            (JudgedBy::Worst, Side::Above) => measured.min,
            (JudgedBy::Worst, Side::Below) => measured.max,
        };
        let reaches = |bound: f64| match self.side {
            Side::Above => measured >= bound,
            Side::Below => measured <= bound,
        };
        match (reaches(self.least), reaches(self.aim)) {
            (true, true) => "yes, and the aim",
            (true, false) => "yes",
            (false, _) => "no",
        }
    }
}

type Measure = fn(&Results, &str) -> Vec<f64>;

const fn above(workload: &'static str, against: &'static str, (least, aim): (f64, f64), measure: Measure) -> Bar {
    Bar { workload, against, least, aim, side: Side::Above, judged_by: JudgedBy::Median, measure }
}

const fn below(workload: &'static str, against: &'static str, (least, aim): (f64, f64), measure: Measure) -> Bar {
    Bar { workload, against, least, aim, side: Side::Below, judged_by: JudgedBy::Median, measure }
}

const fn always(bar: Bar) -> Bar {
    Bar { judged_by: JudgedBy::Worst, ..bar }
}

/// As a bound is written, and a digit more: close to it, one digit would not tell on which side.
fn bound_digits(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

fn per_cpu(results: &Results, workload: &str, ours: &str, theirs: &[&str]) -> Vec<f64> {
    let (ours, theirs) = (results.figures(workload, ours, "per_cpu"), results.best(workload, theirs, "per_cpu"));
    paired(&ours, &theirs, |ours, theirs| ours / theirs)
}

/// The same figure of two servers in each round, the first by the second.
fn ratios(results: &Results, workload: &str, figure: &str, (one, other): (&str, &str)) -> Vec<f64> {
    paired(&results.figures(workload, one, figure), &results.figures(workload, other, figure), |one, other| one / other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;

    #[test]
    fn a_bar_holds_at_its_edge_and_not_beyond() {
        let none: Measure = |_, _| Vec::new();
        let (more, less) = (above("W", "", (1.0, 2.0), none), below("W", "", (1.0, 0.5), none));
        for (measured, wanted) in [(0.99, "no"), (1.0, "yes"), (2.0, "yes, and the aim")] {
            assert_eq!(more.verdict(&Spread::of([measured])), wanted);
        }
        for (measured, wanted) in [(1.01, "no"), (1.0, "yes"), (0.5, "yes, and the aim")] {
            assert_eq!(less.verdict(&Spread::of([measured])), wanted);
        }
    }

    #[test]
    fn what_must_always_hold_is_judged_by_the_worst_run() {
        let none: Measure = |_, _| Vec::new();
        let (more, less) = (above("W", "", (1.0, 1.0), none), below("W", "", (0.0, 0.0), none));
        assert_eq!(more.verdict(&Spread::of([0.9, 1.0, 1.0])), "yes, and the aim");
        assert_eq!(always(more).verdict(&Spread::of([0.9, 1.0, 1.0])), "no");
        assert_eq!(always(less).verdict(&Spread::of([0.0, 0.0, 1.0])), "no");
    }

    #[test]
    fn a_run_that_failed_breaks_every_bar_and_others_that_failed_are_told() {
        let run = |peer: &str, round, words: &str| Run {
            workload: "W1-burst".into(),
            peer: peer.into(),
            round,
            failure: words.is_empty().then(|| "it broke".into()),
            figures: Figures::read(words),
        };
        let runs = vec![run(OURS, 0, "per_cpu=400"), run("bun", 0, "per_cpu=100"), run(OURS, 1, "per_cpu=400")];
        let mut results = Results { runs, ..Results::default() };
        results.runs.push(run("bun", 1, ""));
        let line = |results: &Results| {
            let table = table(results).to_string();
            table.lines().find(|line| line.contains("| Bun")).unwrap_or_default().to_owned()
        };
        let (said, holds) = ("4.00 (4.00–4.00), 1 of 2 runs", "yes, and the aim");
        assert!(line(&results).contains(said) && line(&results).contains(holds), "{}", line(&results));
        results.runs.push(run("broadcastd-epoll", 1, "per_cpu=1 stalled=1"));
        assert!(line(&results).contains("no: a run failed"), "{}", line(&results));
    }
}
