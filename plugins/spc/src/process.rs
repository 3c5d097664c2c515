//! One process: first a baseline, then limits and a judgement of each sample.

use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::capability::Indices;
use crate::chart::{Bounds, Chart};
use crate::id::Id;
use crate::phase::{Judged, Phase};
use crate::sample::{Reject, Subgroup};
use crate::settings::{Mode, Plan};
use crate::stamp::Stamp;
use crate::told::{ControlLimits, Method};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub chart: Chart,
    baseline: Baseline,
    /// None while limits are not known.
    phase: Option<Phase>,
}

impl Process {
    pub fn new(chart: Chart, plan: &Plan, at: Stamp) -> Self {
        Self { chart, baseline: Baseline::default(), phase: Phase::set(plan, chart, at) }
    }

    /// Takes a sample. It is judged by the limits that were there before it came; none: there were none.
    pub fn take(&mut self, id: &Id, subgroup: &Subgroup, plan: &Plan, at: Stamp) -> Option<Judged> {
        if plan.limits.mode == Mode::Baseline {
            self.baseline.add(id, subgroup, plan.limits.samples());
        }
        if let Some(phase) = &mut self.phase {
            return Some(phase.judge(subgroup, plan, self.chart));
        }
        if self.baseline.count() >= plan.limits.samples() {
            self.begin_phase(plan, at);
        }
        None
    }

    pub fn has_limits(&self) -> bool {
        self.phase.is_some()
    }

    /// A sample is missing.
    pub fn interrupt(&mut self) {
        self.baseline.interrupt();
        self.phase.iter_mut().for_each(Phase::interrupt);
    }

    /// Computes limits anew, of the newest samples.
    pub fn recalculate(&mut self, plan: &Plan, at: Stamp) -> Result<(), Reject> {
        if plan.limits.mode != Mode::Baseline {
            return Err(Reject::NoBaseline);
        }
        if self.begin_phase(plan, at) { Ok(()) } else { Err(Reject::TooFewSamples) }
    }

    /// Goes on by another plan, if the limits are the same by it.
    pub fn follow(&mut self, old: &Plan, new: &Plan) -> bool {
        let has_the_chart = new.chart == old.chart || new.chart == Some(self.chart);
        if !has_the_chart || !new.has_the_limits_of(old) {
            return false;
        }
        self.baseline.exclude(&new.exclude);
        if let Some(phase) = &mut self.phase {
            phase.follow(old, new, self.chart);
        }
        true
    }

    /// The limits in force, as they are told.
    pub fn limits(&self, id: &Id, plan: &Plan) -> Option<ControlLimits> {
        let phase = self.phase.as_ref()?;
        let Bounds { center, ucl, lcl, .. } = phase.bounds(plan, self.chart);
        Some(ControlLimits {
            characteristic_id: id.clone(),
            name: plan.name.clone(),
            chart: self.chart,
            center_line: center,
            ucl,
            lcl,
            method: self.method(plan),
            sample_count: phase.sample_count,
            sigma: phase.sigma(),
            subgroup_size: phase.size,
            dispersion: phase.dispersion(plan, self.chart),
            timestamp: phase.since,
        })
    }

    /// What it is capable of, if it is measured and has a specification.
    pub fn capability(&self, plan: &Plan) -> Option<Indices> {
        let (phase, spec) = (self.phase.as_ref()?, plan.spec.as_ref()?);
        let overall = phase.overall();
        (overall.count() > 0.0).then(|| Indices::new(overall, phase.sigma(), spec))
    }

    /// False: too few samples, or nothing varies.
    fn begin_phase(&mut self, plan: &Plan, at: Stamp) -> bool {
        let phase = Phase::computed(&self.baseline, plan, self.chart, at);
        let is_new = phase.is_some();
        self.phase = phase.or(self.phase.take());
        is_new
    }

    fn method(&self, plan: &Plan) -> Method {
        match (plan.limits.mode, self.chart) {
            (Mode::Standard, _) => Method::Standard,
            (Mode::Fixed, _) => Method::Fixed,
            (Mode::Baseline, Chart::XbarR) => Method::Range,
            (Mode::Baseline, Chart::XbarS) => Method::StandardDeviation,
            (Mode::Baseline, Chart::Imr) => Method::MovingRange,
            (Mode::Baseline, Chart::P | Chart::Np) => Method::Binomial,
            (Mode::Baseline, Chart::C | Chart::U) => Method::Poisson,
            (Mode::Baseline, Chart::Ewma | Chart::Cusum) if self.baseline.has_subgroups() => Method::StandardDeviation,
            (Mode::Baseline, Chart::Ewma | Chart::Cusum) => Method::MovingRange,
        }
    }
}
