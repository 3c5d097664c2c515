//! How long charts run until their first signal, over many simulated processes: the figures of the literature come out.

use crate::chart::{Bounds, Chart};
use crate::cusum::{Cusum, CusumSettings};
use crate::ewma::{Ewma, EwmaSettings, Width};
use crate::point::Point;
use crate::rules::{NamedRules, RuleSet, Sides};
use crate::runs::Runs;

/// Processes that are simulated; the standard error of a mean run length of 92 is then about 0.45.
const PROCESSES: u32 = 40_000;

/// Values with the standard normal distribution.
///
/// Source: G. Marsaglia and T. A. Bray, "A convenient method for generating normal variables", SIAM Review 6 (1964).
struct Normal(fastrand::Rng);

impl Normal {
    /// The seed is printed, and shown when a test fails.
    fn new() -> Self {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        Self(fastrand::Rng::with_seed(seed))
    }

    fn next(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.0.f64() - 1.0, 2.0 * self.0.f64() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * square.ln() / square).sqrt();
            }
        }
    }
}

/// The mean number of points up to the first signal of a process that has moved by so many standard deviations.
fn mean_run_length<F: FnMut(f64) -> bool>(processes: u32, shift: f64, mut begin: impl FnMut() -> F) -> f64 {
    let mut normal = Normal::new();
    let mut points = 0u64;
    for _ in 0..processes {
        let mut signals = begin();
        points += 1;
        while !signals(normal.next() + shift) {
            points += 1;
        }
    }
    points as f64 / f64::from(processes)
}

fn of_rules(processes: u32, shift: f64, rules: &RuleSet) -> f64 {
    let bounds = Bounds::around(0.0, 1.0, rules.width());
    let rules = rules.of(Chart::Imr, Sides::BothSides);
    mean_run_length(processes, shift, || {
        let mut runs = Runs::new(&rules);
        move |value| !runs.judge(&Point { value, bounds }).is_empty()
    })
}

fn listed(list: &str) -> RuleSet {
    serde_json::from_str(list).unwrap()
}

fn is_near(ours: f64, known: f64, within: f64) {
    assert!((ours - known).abs() <= within, "{ours} points, not {known} ± {within}");
}

/// C. W. Champ and W. H. Woodall, "Exact results for Shewhart control charts with supplementary runs rules",
/// Technometrics 29 (1987): 91.75 of the exact chain in which a run may begin before the window is full; 92.3 where only
/// full windows are judged.
#[test]
fn western_electric_in_control() {
    is_near(of_rules(PROCESSES, 0.0, &RuleSet::Named(NamedRules::WesternElectric)), 92.3, 2.0);
}

/// One point in 370.4 of a normal process is beyond three standard deviations; in 43.9 after a shift of one.
#[test]
fn rule_1_alone() {
    is_near(of_rules(PROCESSES, 0.0, &listed("[1]")), 370.4, 9.0);
    is_near(of_rules(PROCESSES, 1.0, &listed("[1]")), 43.9, 1.1);
}

#[test]
fn nelson_in_control_and_after_a_shift() {
    is_near(of_rules(PROCESSES, 0.0, &listed("[1,2,3,4]")), 119.5, 3.0);
    is_near(of_rules(PROCESSES, 0.0, &RuleSet::default()), 73.0, 2.0);
    is_near(of_rules(PROCESSES, 1.0, &RuleSet::default()), 9.9, 0.3);
}

/// D. C. Montgomery, "Introduction to Statistical Quality Control": a tabular CUSUM with k = 1/2 and h = 5 runs 465
/// points in control, and 10.4 after a shift of one standard deviation; with h = 4, 168 and 8.38.
#[test]
fn cusum() {
    let of = |h: f64, shift: f64, processes: u32| {
        let settings = CusumSettings { h, ..CusumSettings::default() };
        mean_run_length(processes, shift, || {
            let mut cusum = Cusum::new(&settings);
            move |value| {
                cusum.add(value, &settings);
                cusum.plotted().abs() > settings.h
            }
        })
    };
    is_near(of(5.0, 0.0, PROCESSES), 465.0, 12.0);
    is_near(of(4.0, 0.0, PROCESSES), 168.0, 5.0);
    is_near(of(5.0, 1.0, PROCESSES), 10.4, 0.2);
    is_near(of(4.0, 1.0, PROCESSES), 8.38, 0.2);
}

/// J. M. Lucas and M. S. Saccucci, "Exponentially weighted moving average control schemes", Technometrics 32 (1990), as
/// Montgomery quotes them: with λ = 0.2 and L = 2.962 an EWMA runs 500 points in control and 10.5 after a shift of one
/// standard deviation, by its asymptotic limits.
#[test]
fn ewma() {
    let of = |shift: f64| {
        let settings = EwmaSettings { lambda: 0.2, l: 2.962, limits: Width::Asymptotic };
        mean_run_length(PROCESSES, shift, || {
            let mut ewma = Ewma::new(0.0);
            move |value| {
                let plotted = ewma.add(value, 1.0, 1.0, &settings);
                let bounds = Bounds::around(0.0, plotted.deviation, settings.l);
                Point { value: plotted.average, bounds }.outside().is_some()
            }
        })
    };
    is_near(of(0.0), 500.0, 13.0);
    is_near(of(1.0), 10.5, 0.2);
}
