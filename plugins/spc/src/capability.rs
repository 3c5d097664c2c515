//! What a process in control is capable of, measured against its specification.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spread::Spread;

/// What the product must be, in the unit of the values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// The upper specification limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usl: Option<f64>,
    /// The lower specification limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lsl: Option<f64>,
    /// The value aimed at, for Cpm and Ppm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
}

/// The indices; null where a limit that they need is not given, or where nothing varies.
///
/// Sources: V. E. Kane, "Process capability indices", Journal of Quality Technology 18 (1986) for Cp = (USL−LSL)/6σ,
/// CPU, CPL and Cpk = min(CPU, CPL); L. K. Chan, S. W. Cheng and F. A. Spiring, "A new measure of process capability:
/// Cpm", ibid. 20 (1988): Cpm = (USL−LSL)/6√(σ²+(x̄−T)²). The P indices are the same with the overall standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Indices {
    pub mean: f64,
    /// Within subgroups, which the limits rest on; null where limits are fixed.
    pub sigma_within: Option<f64>,
    /// Of all values since the limits were set, those that they were computed of included.
    pub sigma_overall: Option<f64>,
    pub cp: Option<f64>,
    pub cpu: Option<f64>,
    pub cpl: Option<f64>,
    pub cpk: Option<f64>,
    pub cpm: Option<f64>,
    pub pp: Option<f64>,
    pub ppk: Option<f64>,
    pub ppm: Option<f64>,
}

/// The indices with one standard deviation.
struct One {
    both: Option<f64>,
    upper: Option<f64>,
    lower: Option<f64>,
    least: Option<f64>,
    about_target: Option<f64>,
}

impl Indices {
    pub fn new(values: &Spread, sigma_within: Option<f64>, spec: &Spec) -> Self {
        let mean = values.mean();
        let within = One::new(mean, sigma_within, spec);
        let overall = One::new(mean, values.deviation(), spec);
        Self {
            mean,
            sigma_within,
            sigma_overall: values.deviation(),
            cp: within.both,
            cpu: within.upper,
            cpl: within.lower,
            cpk: within.least,
            cpm: within.about_target,
            pp: overall.both,
            ppk: overall.least,
            ppm: overall.about_target,
        }
    }
}

impl One {
    /// Source: Kane, and of what is about the target Chan, Cheng and Spiring, as the indices name them.
    fn new(mean: f64, sigma: Option<f64>, spec: &Spec) -> Self {
        let sigma = sigma.filter(|sigma| *sigma > 0.0);
        let over = |length: Option<f64>, times: f64| Some(length? / (times * sigma?)).filter(|index| index.is_finite());
        let width = spec.usl.zip(spec.lsl).map(|(usl, lsl)| usl - lsl);
        let upper = over(spec.usl.map(|usl| usl - mean), 3.0);
        let lower = over(spec.lsl.map(|lsl| mean - lsl), 3.0);
        let about_target = || Some(width? / (6.0 * sigma?.hypot(mean - spec.target?)));
        let least = upper.into_iter().chain(lower).reduce(f64::min);
        Self { both: over(width, 6.0), upper, lower, least, about_target: about_target() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_has_no_width_and_what_never_varies_has_no_index() {
        let values = Spread::of(&[1.0, 2.0, 3.0]);
        let upper = Indices::new(&values, Some(0.5), &Spec { usl: Some(5.0), ..Spec::default() });
        assert_eq!((upper.cp, upper.cpl, upper.cpk, upper.ppk), (None, None, Some(2.0), Some(1.0)));
        let flat = Spread::of(&[1.0, 1.0]);
        let none = Indices::new(&flat, Some(0.0), &Spec { usl: Some(5.0), lsl: Some(0.0), target: Some(1.0) });
        assert_eq!((none.cp, none.cpk, none.cpm, none.pp), (None, None, None, None));
    }
}
