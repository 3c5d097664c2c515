//! The tabular cumulative sums of deviations from a centre.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a CUSUM chart allows, and when it signals; all in standard deviations of what is summed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CusumSettings {
    /// The slack: half of the shift that is to be found, in σ; 0 or above.
    #[schemars(range(min = 0))]
    pub k: f64,
    /// The sum beyond which there is a signal, in σ; above 0.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub h: f64,
    /// A head start, as a fraction of h from 0 (none) to below 1; 0.5 finds what is wrong from the beginning sooner.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub fir: f64,
    /// Whether the sums begin anew after a signal.
    pub reset: bool,
}

/// Sums below this, in σ, are rounding: they would go on being counted as sums above 0.
const TOLERANCE: f64 = 1e-9;

/// Both sums in σ, and for how many points in a row each has been above 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    pub plus: f64,
    pub minus: f64,
    pub n_plus: u32,
    pub n_minus: u32,
}

impl Default for CusumSettings {
    fn default() -> Self {
        Self { k: 0.5, h: 5.0, fir: 0.0, reset: false }
    }
}

impl Cusum {
    /// Source of the head start: J. M. Lucas and R. B. Crosier, "Fast initial response for CUSUM quality-control
    /// schemes", Technometrics 24 (1982): C_0 = H/2, here any fraction of H.
    pub fn new(settings: &CusumSettings) -> Self {
        let start = settings.fir * settings.h;
        Self { plus: start, minus: start, n_plus: 0, n_minus: 0 }
    }

    /// Takes a deviation from the centre in σ.
    ///
    /// Source: E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954), in the tabular form of Montgomery:
    /// C⁺_i = max(0, x_i − (μ0+K) + C⁺_{i−1}), C⁻_i = max(0, (μ0−K) − x_i + C⁻_{i−1}).
    pub fn add(&mut self, z: f64, settings: &CusumSettings) {
        let sum = |value: f64| if value > TOLERANCE { value } else { 0.0 };
        self.plus = sum(z - settings.k + self.plus);
        self.minus = sum(-settings.k - z + self.minus);
        self.n_plus = if self.plus > 0.0 { self.n_plus.saturating_add(1) } else { 0 };
        self.n_minus = if self.minus > 0.0 { self.n_minus.saturating_add(1) } else { 0 };
    }

    /// The larger sum, the lower one with a minus: what is plotted between −h and h.
    pub fn plotted(&self) -> f64 {
        if self.plus >= self.minus { self.plus } else { -self.minus }
    }

    /// Where the mean has gone to, in σ from the centre, by the larger sum.
    ///
    /// Source: Montgomery: μ0 + K + C⁺/N⁺, or μ0 − K − C⁻/N⁻.
    pub fn estimate(&self, settings: &CusumSettings) -> f64 {
        let by = |sum: f64, points: u32| settings.k + sum / f64::from(points.max(1));
        if self.plus >= self.minus { by(self.plus, self.n_plus) } else { -by(self.minus, self.n_minus) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_start_finds_a_shift_sooner_and_the_limit_itself_is_no_signal() {
        let first = |settings: &CusumSettings| {
            let mut cusum = Cusum::new(settings);
            let mut exceeds = |z: f64| {
                cusum.add(z, settings);
                cusum.plotted() > settings.h
            };
            (1..).find(|_| exceeds(1.5)).unwrap()
        };
        let slow = CusumSettings::default();
        assert_eq!((first(&slow), first(&CusumSettings { fir: 0.5, ..slow })), (6, 3));
    }

    #[test]
    fn the_estimate_is_where_the_mean_went() {
        let settings = CusumSettings::default();
        for shift in [1.5, -1.5] {
            let mut cusum = Cusum::new(&settings);
            (0..8).for_each(|_| cusum.add(shift, &settings));
            assert!((cusum.estimate(&settings) - shift).abs() < 1e-12);
        }
    }

    #[test]
    fn rounding_is_no_sum() {
        let settings = CusumSettings { k: 0.1 + 0.2, ..CusumSettings::default() };
        let mut cusum = Cusum::new(&settings);
        cusum.add(0.3 + 1e-12, &settings);
        assert_eq!((cusum.plus, cusum.n_plus), (0.0, 0));
    }
}
