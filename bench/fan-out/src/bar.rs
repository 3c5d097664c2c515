//! What the daemon promises against its peers, and whether it holds.

use crate::figures::{Spread, Table, ratio};
use crate::results::{Results, paired};

const OURS: &str = "broadcastd";
const PUBSUB: &[&str] = &["bun", "uws"];

struct Bar {
    workload: &'static str,
    against: &'static str,
    /// The bound that must hold, and the aim.
    least: f64,
    aim: f64,
    side: Side,
    measure: fn(&Results, &str) -> Vec<f64>,
}

/// Where a good figure lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Above,
    Below,
}

const BARS: &[Bar] = &[
    above("W1", "the better of Bun and npm `uwebsockets`", (1.0, 1.25), |results, name| {
        per_cpu(results, name, OURS, PUBSUB)
    }),
    above("W2", "the better of Bun and npm `uwebsockets`", (1.0, 1.25), |results, name| {
        per_cpu(results, name, OURS, PUBSUB)
    }),
    above("W1-serial", "the same, with io_uring", (1.15, 1.3), |results, name| per_cpu(results, name, OURS, PUBSUB)),
    above("W1-serial", "limit: a write for each event; with epoll", (0.9, 1.0), |results, name| {
        per_cpu(results, name, "broadcastd-epoll", &["limit-write"])
    }),
    above("W1-burst", "Bun", (2.5, 3.5), |results, name| per_cpu(results, name, OURS, &["bun"])),
    above("W3", "the better of Bun and npm `uwebsockets`", (1.1, 1.4), |results, name| {
        per_cpu(results, name, OURS, PUBSUB)
    }),
    above("W1", "limit: joined, one write", (0.85, 1.0), |results, name| {
        per_cpu(results, name, OURS, &["limit-batch"])
    }),
    above("W2", "limit: joined, one write", (0.85, 1.0), |results, name| {
        per_cpu(results, name, OURS, &["limit-batch"])
    }),
    above("W1-burst", "limit: joined, one write", (0.85, 1.0), |results, name| {
        per_cpu(results, name, OURS, &["limit-batch"])
    }),
    above("W1", "axum + broadcast", (2.0, 10.0), |results, name| per_cpu(results, name, OURS, &["axum"])),
    above("W1-serial", "axum + broadcast", (2.0, 2.0), |results, name| per_cpu(results, name, OURS, &["axum"])),
    above("W1-burst", "axum + broadcast", (2.0, 2.0), |results, name| per_cpu(results, name, OURS, &["axum"])),
    above("W2", "axum + broadcast", (2.0, 2.0), |results, name| per_cpu(results, name, OURS, &["axum"])),
    above("W3", "axum + broadcast", (1.5, 1.5), |results, name| per_cpu(results, name, OURS, &["axum"])),
    below("W4", "bytes of user space per idle connection", (2048.0, 500.0), |results, name| {
        results.figures(name, OURS, "pss_bytes").into_iter().map(|(_, bytes)| bytes).collect()
    }),
    below("W5", "p99 of Bun's", (1.0, 0.85), |results, name| {
        paired(&results.figures(name, OURS, "p99_us"), &results.figures(name, "bun", "p99_us"), |ours, theirs| {
            ours / theirs
        })
    }),
    below("W8", "processor time, of that with eager flush", (0.6, 0.3), |results, name| {
        let (adaptive, eager) =
            (results.figures(name, "broadcastd-auto", "server_busy"), results.figures(name, OURS, "server_busy"));
        paired(&adaptive, &eager, |adaptive, eager| adaptive / eager)
    }),
    below("W8", "ms that p50 is worse", (5.0, 5.0), |results, name| {
        let (adaptive, eager) =
            (results.figures(name, "broadcastd-auto", "p50_us"), results.figures(name, OURS, "p50_us"));
        paired(&adaptive, &eager, |adaptive, eager| (adaptive - eager) / 1e3)
    }),
    above("W7", "share that resumed", (1.0, 1.0), |results, name| {
        paired(&results.figures(name, OURS, "resumed"), &results.figures(name, OURS, "connections"), |resumed, all| {
            resumed / all
        })
    }),
    below("W7", "events lost or doubled", (0.0, 0.0), |results, name| {
        paired(&results.figures(name, OURS, "lost"), &results.figures(name, OURS, "doubled"), |lost, doubled| {
            lost + doubled
        })
    }),
    below("W7", "snapshots put into bytes for all", (1.0, 1.0), |results, name| {
        results.figures(name, OURS, "snapshots_made").into_iter().map(|(_, made)| made).collect()
    }),
];

/// Each bar that was measured, and whether it holds: by the median of all runs.
pub fn table(results: &Results) -> Table {
    let mut table = Table::new(&["workload", "against", "at least", "aim", "measured", "holds"]);
    for bar in BARS {
        let measured = (bar.measure)(results, bar.workload);
        if results.runs.iter().all(|run| run.workload != bar.workload) {
            continue;
        }
        let sign = if bar.side == Side::Above { "" } else { "≤ " };
        let (said, holds) = match measured.is_empty() {
            true => ("–".to_owned(), "not measured"),
            false => {
                let spread = Spread::of(measured);
                (spread.with(ratio), bar.verdict(spread.median))
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
    fn verdict(&self, measured: f64) -> &'static str {
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
    Bar { workload, against, least, aim, side: Side::Above, measure }
}

const fn below(workload: &'static str, against: &'static str, (least, aim): (f64, f64), measure: Measure) -> Bar {
    Bar { workload, against, least, aim, side: Side::Below, measure }
}

fn per_cpu(results: &Results, workload: &str, ours: &str, theirs: &[&str]) -> Vec<f64> {
    let (ours, theirs) = (results.figures(workload, ours, "per_cpu"), results.best(workload, theirs, "per_cpu"));
    paired(&ours, &theirs, |ours, theirs| ours / theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_holds_at_its_edge_and_not_beyond() {
        let none: Measure = |_, _| Vec::new();
        let (more, less) = (above("W", "", (1.0, 2.0), none), below("W", "", (1.0, 0.5), none));
        for (measured, wanted) in [(0.99, "no"), (1.0, "yes"), (2.0, "yes, and the aim")] {
            assert_eq!(more.verdict(measured), wanted);
        }
        for (measured, wanted) in [(1.01, "no"), (1.0, "yes"), (0.5, "yes, and the aim")] {
            assert_eq!(less.verdict(measured), wanted);
        }
    }
}
