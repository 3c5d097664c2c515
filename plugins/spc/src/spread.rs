//! Mean and standard deviation of values as they come, right however far from zero they lie.

use serde::{Deserialize, Serialize};

/// Count, mean and sum of squared deviations from it.
///
/// Source: B. P. Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 4
/// (1962). No square of a value is ever formed, so that no digits cancel at large offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Self {
        let mut spread = Self::default();
        values.iter().for_each(|value| spread.add(*value));
        spread
    }

    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation with the divisor n − 1; none of fewer than two values.
    pub fn deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count as f64 - 1.0)).sqrt())
    }
}
