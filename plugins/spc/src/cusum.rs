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
    pub h: f64,
    /// A head start, as a fraction of h from 0 (none) to below 1; 0.5 finds what is wrong from the beginning sooner.
    #[schemars(range(min = 0, max = 1))]
    pub fir: f64,
    /// Whether the sums begin anew after a signal.
    pub reset: bool,
}

/// Both sums in σ, and for how many points in a row each has been above 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    pub plus: f64,
    pub minus: f64,
    pub n_plus: u32,
    pub n_minus: u32,
}

/// Which sum is beyond h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Plus,
    Minus,
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

    /// Takes a deviation from the centre in σ. The signal: a sum beyond h, strictly; the larger one when both are.
    ///
    /// Source: E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954), in the tabular form of Montgomery:
    /// C⁺_i = max(0, x_i − (μ0+K) + C⁺_{i−1}), C⁻_i = max(0, (μ0−K) − x_i + C⁻_{i−1}).
    pub fn add(&mut self, z: f64, settings: &CusumSettings) -> Option<Side> {
        self.plus = (z - settings.k + self.plus).max(0.0);
        self.minus = (-settings.k - z + self.minus).max(0.0);
        self.n_plus = if self.plus > 0.0 { self.n_plus + 1 } else { 0 };
        self.n_minus = if self.minus > 0.0 { self.n_minus + 1 } else { 0 };
        let largest = self.plus.max(self.minus);
        let side = if self.plus >= self.minus { Side::Plus } else { Side::Minus };
        (largest > settings.h).then_some(side)
    }

    /// The larger sum, the lower one with a minus: what is plotted between −h and h.
    pub fn plotted(&self) -> f64 {
        if self.plus >= self.minus { self.plus } else { -self.minus }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_start_finds_a_shift_sooner_and_the_limit_itself_is_no_signal() {
        let first = |settings: &CusumSettings| {
            let mut cusum = Cusum::new(settings);
            (1..).find(|_| cusum.add(1.5, settings).is_some()).unwrap()
        };
        let slow = CusumSettings::default();
        assert_eq!((first(&slow), first(&CusumSettings { fir: 0.5, ..slow })), (6, 3));
    }
}
