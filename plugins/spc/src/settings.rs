//! The settings of control charts: their meaning and defaults.

use broadcastd_plugin_api::duration::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::capability::Spec;
use crate::chart::Chart;
use crate::cusum::CusumSettings;
use crate::ewma::EwmaSettings;
use crate::id::Id;
use crate::rules::{RuleSet, Sides};

/// Settings of a broadcaster of control charts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Who measures: `samples` are those of the streams that are listened to; `mock` makes up some of the characteristics
    /// `mock-diameter` and `mock-weight` as well.
    #[schemars(extend("x-listens" = ["samples"]))]
    pub source: SourceName,
    /// How often the mock measures; at least 10ms.
    pub interval: Duration,
    /// The chart of every characteristic that is not listed; without `id`, `name` and `exclude`.
    pub auto: Plan,
    /// The charts of characteristics by their `id`.
    pub characteristics: Vec<Plan>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceName {
    #[default]
    Samples,
    Mock,
}

/// How one characteristic is watched.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// The number or text that samples name it by, and topics: characteristic 7 is the topic `alerts:7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// What people call it; shown with limits and violations; up to 100 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is plotted. Default: by the first sample, `imr` for a value, `xbar_r` for up to 10 values, those that are
    /// missing included, `xbar_s` for more, `c` for a count, `p` for one with a size. The other keys need it, but for the
    /// number of samples, a rule set by name, `rule8`, `repeat` and `exclude`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<Chart>,
    /// Values, or units, of a usual sample: those that limits are told for, and the size of a count without one. Limits
    /// of a sample of another size are its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subgroup_size: Option<f64>,
    /// Where limits come from.
    pub limits: LimitSettings,
    /// What the product must be: capability is measured against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<Spec>,
    /// The rules that violations are of: `nelson` (default), `western_electric`, or a list of their numbers, with
    /// parameters as in `{ rule = 2, run = 8 }`. Of a chart of counts a name stands for those of its rules that are 1 to 4.
    pub rules: RuleSet,
    /// Whether eight points far from the centre have to be on both sides of it.
    pub rule8: Sides,
    /// Which points of a pattern that goes on are violations.
    pub repeat: Repeat,
    /// Samples, by `sample_id`, that are neither judged nor counted in, as if they had not been; up to 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Id>,
    /// What an `ewma` chart weighs, and its limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ewma: Option<EwmaSettings>,
    /// What a `cusum` chart allows, and its limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cusum: Option<CusumSettings>,
}

/// Where limits come from, with the keys of that mode.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    pub mode: Mode,
    /// `baseline`: how many samples, from 2 to 100. Default: 25.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 100))]
    pub samples: Option<u32>,
    /// `standard`: the known mean, for `p` and `np` the share and for `u` the count per unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// `standard`: the known standard deviation of one value; it follows from the mean where something is counted.
    /// `fixed`: the standard error of a plotted point, for zones and rules. Default: a sixth of the distance of the limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    /// `fixed`: the centre line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub center: Option<f64>,
    /// `fixed`: the upper control limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ucl: Option<f64>,
    /// `fixed`: the lower control limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lcl: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Computed from the first samples and frozen; `recalculate` computes them anew from the newest ones.
    #[default]
    Baseline,
    /// From a mean and a standard deviation that are known.
    Standard,
    /// As given.
    Fixed,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// Each point that completes it.
    #[default]
    Every,
    /// The first point that completes it.
    Onset,
    /// The first, and then a pattern of new points.
    Restart,
}

impl Default for Settings {
    fn default() -> Self {
        let interval = Duration::from_ms(2_000);
        Self { source: SourceName::default(), interval, auto: Plan::default(), characteristics: Vec::new() }
    }
}

impl LimitSettings {
    pub fn samples(&self) -> usize {
        self.samples.unwrap_or(25) as usize
    }
}

impl Plan {
    /// Whether limits come from the same by both plans, whatever the chart.
    pub fn has_the_limits_of(&self, other: &Plan) -> bool {
        let of = |plan: &Plan| (plan.subgroup_size, plan.limits.clone(), plan.ewma, plan.cusum);
        of(self) == of(other)
    }

    pub fn ewma(&self) -> EwmaSettings {
        self.ewma.unwrap_or_default()
    }

    pub fn cusum(&self) -> CusumSettings {
        self.cusum.unwrap_or_default()
    }
}
