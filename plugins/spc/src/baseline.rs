//! The samples that limits are computed from: the newest ones of a characteristic, and what they say together.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::chart::{Chart, Level};
use crate::constants;
use crate::id::Id;
use crate::sample::Subgroup;
use crate::spread::Spread;

/// The newest samples, without those that are excluded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    samples: VecDeque<Kept>,
    /// A sample was missing since the newest one.
    is_interrupted: bool,
}

/// Saved without the names of its fields, because there are so many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "(Id, Spread, f64, bool)", into = "(Id, Spread, f64, bool)")]
struct Kept {
    id: Id,
    spread: Spread,
    range: f64,
    /// No sample was missing between the one before and this one.
    follows: bool,
}

impl Baseline {
    /// Takes a sample; the oldest one goes when there are more than `most`.
    pub fn add(&mut self, id: &Id, subgroup: &Subgroup, most: usize) {
        let Subgroup { spread, range, .. } = *subgroup;
        let follows = !std::mem::take(&mut self.is_interrupted);
        self.samples.push_back(Kept { id: id.clone(), spread, range, follows });
        while self.samples.len() > most {
            self.samples.pop_front();
        }
    }

    /// A sample is missing.
    pub fn interrupt(&mut self) {
        self.is_interrupted = true;
    }

    /// Forgets samples as if they had not been. What is missing before them is now missing before the next one.
    pub fn exclude(&mut self, excluded: &[Id]) {
        let mut follows = true;
        for kept in std::mem::take(&mut self.samples) {
            follows &= kept.follows;
            if !excluded.contains(&kept.id) {
                self.samples.push_back(Kept { follows, ..kept });
                follows = true;
            }
        }
        self.is_interrupted |= !follows;
    }

    pub fn count(&self) -> usize {
        self.samples.len()
    }

    /// All values together.
    pub fn overall(&self) -> Spread {
        self.samples.iter().map(|kept| kept.spread).fold(Spread::default(), Spread::and)
    }

    /// Values, or units, of the newest sample.
    pub fn newest_size(&self) -> Option<f64> {
        self.samples.back().map(|kept| kept.spread.count())
    }

    /// Whether some samples have several values.
    pub fn has_subgroups(&self) -> bool {
        self.samples.iter().any(|kept| kept.spread.count() > 1.0)
    }

    /// Where the process stands; none without two samples, or while nothing varies.
    ///
    /// Source: Montgomery: the centre is Σn_i x̄_i/Σn_i, of counts Σc/Σn. The standard deviation is always that within
    /// samples: the mean of R_i/d2(n_i), of S_i/c4(n_i), or of the moving ranges by d2(2).
    pub fn level(&self, chart: Chart) -> Option<Level> {
        if self.count() < 2 {
            return None;
        }
        let center = self.overall().mean();
        let level = match chart {
            Chart::P | Chart::Np | Chart::C | Chart::U => Level::of_counts(chart, center),
            Chart::XbarR => Level { center, sigma: self.within_by_ranges()? },
            Chart::XbarS => Level { center, sigma: self.within_by_deviations()? },
            Chart::Imr => Level { center, sigma: self.within_by_steps()? },
            Chart::Ewma | Chart::Cusum => {
                Level { center, sigma: self.within_by_deviations().or_else(|| self.within_by_steps())? }
            }
        };
        level.varies().then_some(level)
    }

    /// Source: Montgomery, on charts of x̄ and R: the mean of R_i/d2(n_i), which is R̄/d2 of samples of one size.
    fn within_by_ranges(&self) -> Option<f64> {
        mean(self.samples.iter().map(|kept| kept.range / constants::range(kept.spread.count() as usize).d2))
    }

    /// Source: Montgomery, on charts of x̄ and s: the mean of S_i/c4(n_i), which is S̄/c4 of samples of one size.
    fn within_by_deviations(&self) -> Option<f64> {
        let deviation = |kept: &Kept| Some(kept.spread.deviation()? / constants::c4(kept.spread.count() as usize));
        mean(self.samples.iter().filter_map(deviation))
    }

    /// Source: Montgomery, on charts of single values: MR̄/d2(2), of moving ranges of two.
    fn within_by_steps(&self) -> Option<f64> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1)).filter(|(_, newer)| newer.follows);
        let steps = pairs.map(|(older, newer)| (newer.spread.mean() - older.spread.mean()).abs());
        mean(steps.map(|step| step / constants::range(2).d2))
    }
}

impl From<(Id, Spread, f64, bool)> for Kept {
    fn from((id, spread, range, follows): (Id, Spread, f64, bool)) -> Self {
        Self { id, spread, range, follows }
    }
}

impl From<Kept> for (Id, Spread, f64, bool) {
    fn from(kept: Kept) -> Self {
        (kept.id, kept.spread, kept.range, kept.follows)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let all = values.map(|value| Spread::weighing(1.0, value)).fold(Spread::default(), Spread::and);
    (all.count() > 0.0).then(|| all.mean())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Measure;

    fn single(value: f64) -> Subgroup {
        Measure::Values { there: vec![value], of: 1 }.subgroup(Chart::Imr, None).unwrap().unwrap()
    }

    /// Single values, with a missing one for each NaN.
    fn baseline(values: &[f64], most: usize) -> Baseline {
        let mut baseline = Baseline::default();
        for (id, value) in (1..).zip(values) {
            if value.is_nan() {
                baseline.interrupt();
                continue;
            }
            baseline.add(&Id::Number(id), &single(*value), most);
        }
        baseline
    }

    /// The mean of the moving ranges.
    fn moving(baseline: &Baseline) -> Option<f64> {
        baseline.level(Chart::Imr).map(|level| (level.sigma * constants::range(2).d2 * 1e6).round() / 1e6)
    }

    #[test]
    fn what_is_missing_breaks_a_moving_range_and_what_is_excluded_does_not() {
        let whole = baseline(&[1.0, 2.0, f64::NAN, 9.0, 12.0], 25);
        assert_eq!(moving(&whole), Some(2.0), "|2-1| and |12-9|");
        let excluding = |ids: &[i64]| {
            let mut rest = whole.clone();
            rest.exclude(&ids.iter().map(|id| Id::Number(*id)).collect::<Vec<_>>());
            rest
        };
        assert_eq!(moving(&excluding(&[4])), Some(1.0), "12 still follows a missing one");
        assert_eq!((moving(&excluding(&[2])), moving(&excluding(&[5]))), (Some(3.0), Some(1.0)));
        let plain = baseline(&[1.0, 50.0, 4.0], 25);
        let mut rest = plain.clone();
        rest.exclude(&[Id::Text("2".into())]);
        assert_eq!(moving(&rest), Some(3.0));
        let mut last = baseline(&[1.0, 4.0, f64::NAN, 9.0], 25);
        last.exclude(&[Id::Number(4)]);
        last.add(&Id::Number(5), &single(10.0), 25);
        assert_eq!(moving(&last), Some(3.0), "10 follows a missing one");
    }

    #[test]
    fn only_the_newest_count_and_nothing_is_said_of_what_never_varies() {
        assert_eq!(moving(&baseline(&[900.0, 1.0, 2.0, 3.0], 3)), Some(1.0));
        assert_eq!((moving(&baseline(&[5.0; 9], 25)), moving(&baseline(&[5.0], 25))), (None, None));
        assert_eq!(moving(&baseline(&[1.0, f64::NAN, 2.0], 25)), None, "no two follow each other");
    }
}
