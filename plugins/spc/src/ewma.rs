//! The exponentially weighted moving average of a statistic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an EWMA chart weighs and how wide its limits are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EwmaSettings {
    /// The weight of the newest sample, above 0 up to 1.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub lambda: f64,
    /// The distance of the limits, in standard deviations of the average; above 0.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub l: f64,
    /// `exact` limits widen from the first sample on, `asymptotic` ones are where those end.
    pub limits: Width,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Width {
    Exact,
    Asymptotic,
}

/// The average so far, and its variance in units of the variance of one value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ewma {
    average: f64,
    variance: f64,
}

/// What is plotted, and its standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plotted {
    pub average: f64,
    pub deviation: f64,
}

impl Default for EwmaSettings {
    fn default() -> Self {
        Self { lambda: 0.2, l: 3.0, limits: Width::Exact }
    }
}

impl EwmaSettings {
    /// The variance in the long run of the average of means of `n` values, in units of the variance of one value.
    ///
    /// Source: S. W. Roberts, "Control chart tests based on geometric moving averages", Technometrics 1 (1959): λ/(2−λ)
    /// of the variance of what is averaged, which of means is σ²/n.
    pub fn asymptotic(&self, n: f64) -> f64 {
        self.lambda / (2.0 - self.lambda) / n
    }
}

impl Ewma {
    pub fn new(center: f64) -> Self {
        Self { average: center, variance: 0.0 }
    }

    /// Takes the mean of `n` values of this standard deviation.
    ///
    /// Source: S. W. Roberts, "Control chart tests based on geometric moving averages", Technometrics 1 (1959):
    /// z_i = λx_i + (1−λ)z_{i−1}. The variance follows the same recursion, with λ² and (1−λ)²; for equal n it is
    /// σ²λ/(2−λ)·[1−(1−λ)^{2i}] (Montgomery), and without the bracket the asymptotic one.
    pub fn add(&mut self, mean: f64, n: f64, sigma: f64, settings: &EwmaSettings) -> Plotted {
        let EwmaSettings { lambda, limits, .. } = *settings;
        self.average += lambda * (mean - self.average);
        self.variance = lambda * lambda / n + (1.0 - lambda) * (1.0 - lambda) * self.variance;
        let variance = match limits {
            Width::Exact => self.variance,
            Width::Asymptotic => settings.asymptotic(n),
        };
        Plotted { average: self.average, deviation: sigma * variance.sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_limits_are_those_of_the_formula() {
        let settings = EwmaSettings::default();
        let mut ewma = Ewma::new(10.0);
        for i in 1..40 {
            let plotted = ewma.add(10.0, 4.0, 2.0, &settings);
            let expected = (0.2 / 1.8 * (1.0 - 0.8f64.powi(2 * i))).sqrt();
            assert!((plotted.deviation - expected).abs() < 1e-12);
        }
    }
}
