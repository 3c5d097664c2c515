//! Made-up measurements of processes that are in control, until their mean shifts or drifts off for some samples.

use fastrand::Rng;
use serde_json::{Value, json};

/// What is measured. Names say that it is made up, and real characteristics have other ones.
pub const CHARACTERISTICS: [Characteristic; 2] = [
    Characteristic { id: "mock-diameter", target: 74.0, sigma: 0.01, values: 1 },
    Characteristic { id: "mock-weight", target: 250.0, sigma: 1.5, values: 5 },
];

/// Samples behind the baseline until something goes wrong for the first time: at one a second, within the first minute.
const FIRST_CALM: std::ops::RangeInclusive<usize> = 5..=10;

/// Samples in control between two disturbances: some pages of a chart, so that what is normal is seen to be.
const CALM: std::ops::RangeInclusive<usize> = 40..=80;

/// How far a shift goes, in standard errors of what is plotted: nearly every point is beyond the limits.
const SHIFT: f64 = 4.5;
const SHIFT_SAMPLES: std::ops::RangeInclusive<usize> = 3..=6;

/// How far a trend goes with each sample, in standard errors: the last ones are beyond the limits.
const TREND: f64 = 0.8;
const TREND_SAMPLES: std::ops::RangeInclusive<usize> = 7..=9;

/// Decimals of a value: what a gauge shows.
const DECIMALS: f64 = 1_000.0;

/// As many numbers from 0 to 1 as have a sum with the variance 1; it is as good as normal, and within 6 of its mean.
const UNIFORMS: usize = 12;

#[derive(Debug, Clone, Copy)]
pub struct Characteristic {
    pub id: &'static str,
    pub target: f64,
    /// The standard deviation of one value.
    pub sigma: f64,
    /// Values of a sample.
    pub values: usize,
}

#[derive(Debug)]
pub struct Mock {
    random: Rng,
    processes: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    of: Characteristic,
    course: Course,
    /// Samples of its course so far, and those to come.
    done: usize,
    left: usize,
}

/// What becomes of the mean, in standard errors of what is plotted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Course {
    Calm,
    Shift(f64),
    Trend(f64),
}

impl Mock {
    /// The same `random` makes the same measurements. So many samples at first make the baseline, and nothing goes wrong.
    pub fn new(baseline: usize, mut random: Rng) -> Self {
        let calm = |of| Process { of, course: Course::Calm, done: 0, left: baseline + random.usize(FIRST_CALM) };
        let processes = CHARACTERISTICS.into_iter().map(calm).collect();
        Self { random, processes }
    }

    /// A sample of each characteristic: the `data` of its event.
    pub fn samples(&mut self) -> Vec<Value> {
        let Self { random, processes } = self;
        processes.iter_mut().map(|process| process.sample(random)).collect()
    }
}

impl Process {
    /// Source: the standard error of a mean of n values is σ/√n, Montgomery, chapter 6.
    fn sample(&mut self, random: &mut Rng) -> Value {
        if self.left == 0 {
            (self.course, self.left) = self.course.next(random);
            self.done = 0;
        }
        (self.done, self.left) = (self.done + 1, self.left - 1);
        let Characteristic { id, target, sigma, values } = self.of;
        let mean = target + self.course.offset(self.done) * sigma / (values as f64).sqrt();
        let mut value = || ((mean + sigma * normal(random)) * DECIMALS).round() / DECIMALS;
        if values == 1 {
            return json!({"characteristic_id": id, "value": value()});
        }
        let all: Vec<f64> = (0..values).map(|_| value()).collect();
        json!({"characteristic_id": id, "values": all})
    }
}

impl Course {
    /// What follows, and for how many samples.
    fn next(self, random: &mut Rng) -> (Self, usize) {
        let side = if random.bool() { 1.0 } else { -1.0 };
        match self {
            Course::Calm if random.bool() => (Course::Shift(side * SHIFT), random.usize(SHIFT_SAMPLES)),
            Course::Calm => (Course::Trend(side * TREND), random.usize(TREND_SAMPLES)),
            Course::Shift(_) | Course::Trend(_) => (Course::Calm, random.usize(CALM)),
        }
    }

    /// At its `nth` sample, from 1.
    fn offset(self, nth: usize) -> f64 {
        match self {
            Course::Calm => 0.0,
            Course::Shift(by) => by,
            Course::Trend(by) => by * nth as f64,
        }
    }
}

/// As good as normal, with the mean 0 and the standard deviation 1. Source: the sum of twelve uniform numbers, P. Hall,
/// Biometrika 19, 1927.
fn normal(random: &mut Rng) -> f64 {
    (0..UNIFORMS).map(|_| random.f64()).sum::<f64>() - UNIFORMS as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Book;
    use crate::characteristic::Outcome;
    use crate::id::Id;
    use crate::settings::Settings;
    use crate::stamp::Stamp;

    const BASELINE: usize = 25;
    const SEEDS: std::ops::Range<u64> = 0..40;

    /// At one sample a second: within the first minute.
    const MINUTE: usize = 60;

    /// The rules that each sample violates, by characteristic.
    fn judged(seed: u64, samples: usize) -> [Vec<Vec<u8>>; 2] {
        let mut mock = Mock::new(BASELINE, Rng::with_seed(seed));
        let now = Stamp::of_ns(0);
        let mut book = Book::new(Settings::default(), now);
        let mut judged = [Vec::new(), Vec::new()];
        for _ in 0..samples {
            for (at, data) in mock.samples().into_iter().enumerate() {
                match book.take(&serde_json::from_value(data).unwrap(), now, &mut Vec::new()) {
                    Ok(Outcome::Taken { violated, .. }) => judged[at].push(violated),
                    other => panic!("{other:?}"),
                }
            }
        }
        judged
    }

    #[test]
    fn within_a_minute_a_point_of_each_is_beyond_its_limits_and_then_all_is_normal_again() {
        for seed in SEEDS {
            for (which, points) in judged(seed, 20 * MINUTE).iter().enumerate() {
                let outlier = points.iter().position(|rules| rules.contains(&1));
                assert!(outlier.is_some_and(|at| (BASELINE..MINUTE).contains(&at)), "{seed} {which}: {outlier:?}");
                let normal = points[outlier.unwrap()..].windows(15).any(|points| points.iter().all(Vec::is_empty));
                assert!(normal, "{seed} {which}: never in control again");
                let bad = points.iter().filter(|rules| rules.contains(&1)).count();
                assert!((points.len() / 50..points.len() / 5).contains(&bad), "{seed} {which}: {bad} beyond limits");
            }
        }
    }

    #[test]
    fn shifts_and_trends_go_to_both_sides_and_stay_near_the_target() {
        let mut seen = std::collections::BTreeSet::new();
        let mut mock = Mock::new(BASELINE, Rng::with_seed(3));
        for _ in 0..50 * MINUTE {
            for (process, data) in mock.samples().into_iter().enumerate() {
                let Process { of, course, .. } = mock.processes[process];
                seen.insert(format!("{course:?}"));
                let far = (SHIFT.max(TREND * *TREND_SAMPLES.end() as f64) + UNIFORMS as f64 / 2.0) * of.sigma;
                let values =
                    data.get("values").and_then(Value::as_array).cloned().unwrap_or(vec![data["value"].clone()]);
                assert_eq!(values.len(), of.values);
                assert!(values.iter().all(|value| (value.as_f64().unwrap() - of.target).abs() <= far), "{data}");
            }
        }
        assert!(seen.iter().eq(["Calm", "Shift(-4.5)", "Shift(4.5)", "Trend(-0.8)", "Trend(0.8)"]), "{seen:?}");
    }

    #[test]
    fn nothing_goes_wrong_while_the_baseline_is_made() {
        for (seed, baseline) in SEEDS.zip((2..=100).step_by(7).cycle()) {
            let mut mock = Mock::new(baseline, Rng::with_seed(seed));
            for nth in 0..=baseline {
                mock.samples();
                assert!(mock.processes.iter().all(|process| process.course == Course::Calm), "{seed}: {nth}");
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_measurements() {
        let run = |seed| {
            let mut mock = Mock::new(BASELINE, Rng::with_seed(seed));
            (0..200).flat_map(|_| mock.samples()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn names_are_ids_and_say_that_they_are_made_up() {
        for Characteristic { id, .. } in CHARACTERISTICS {
            assert!(id.starts_with("mock-") && Id::Text(id.into()).broken_rule().is_none());
        }
    }
}
