//! Mean and standard deviation of values as they come, right however far from zero they lie.

use serde::{Deserialize, Serialize};

/// Count, mean and sum of squared deviations from it. The count of what is counted and not measured is its size, which
/// may be a fraction.
///
/// Source: B. P. Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 4
/// (1962), and for parts that are joined T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the sample
/// variance", The American Statistician 37 (1983). No square of a value is ever formed, so that no digits cancel at large
/// offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 3]", into = "[f64; 3]")]
pub struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Self {
        values.iter().map(|value| Self::weighing(1.0, *value)).fold(Self::default(), Self::and)
    }

    /// So many values, or units, of which nothing but the mean is known.
    pub fn weighing(count: f64, mean: f64) -> Self {
        Self { count, mean, squares: 0.0 }
    }

    /// All of both.
    ///
    /// Source: Chan, Golub and LeVeque, as above: M₂ = M₂ₐ + M₂ᵦ + δ² nₐnᵦ/n.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let (between, share) = (other.mean - self.mean, other.count / count);
        let mean = self.mean + between * share;
        let squares = self.squares + other.squares + between * between * self.count * share;
        Self { count, mean, squares }
    }

    pub fn count(&self) -> f64 {
        self.count
    }

    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation with the divisor n − 1; none of fewer than two values.
    ///
    /// Source: Montgomery, on measures of variation: s² = Σ(x−x̄)²/(n−1).
    pub fn deviation(&self) -> Option<f64> {
        (self.count > 1.0).then(|| (self.squares / (self.count - 1.0)).sqrt())
    }
}

impl From<[f64; 3]> for Spread {
    fn from([count, mean, squares]: [f64; 3]) -> Self {
        Self { count, mean, squares }
    }
}

impl From<Spread> for [f64; 3] {
    fn from(spread: Spread) -> Self {
        [spread.count, spread.mean, spread.squares]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_whole_far_from_zero() {
        let values = [1.0, 4.0, 4.0, 9.0, 2.5].map(|value| value + 1e12);
        let whole = Spread::of(&values);
        let joined = Spread::of(&values[..2]).and(Spread::of(&values[2..])).and(Spread::default());
        for spread in [whole, joined] {
            assert_eq!((spread.count(), spread.mean()), (5.0, 1e12 + 4.1));
            assert!((spread.deviation().unwrap() - 9.05f64.sqrt()).abs() < 1e-3);
        }
        assert_eq!(Spread::of(&[7.0]).deviation(), None);
    }
}
