//! One characteristic: its process, its newest samples, and its violations that nobody has acknowledged.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::chart::Chart;
use crate::id::Id;
use crate::phase::Judged;
use crate::process::Process;
use crate::rules;
use crate::sample::{Incoming, Reject};
use crate::settings::Plan;
use crate::stamp::Stamp;
use crate::told::{Capability, ControlLimits, Kind, Sample, Severity, Told, Violation};

/// Samples that a snapshot shows: a page of a chart.
pub const MAX_SAMPLES: usize = 25;

/// Violations of one characteristic that wait to be acknowledged; a process that is out of control for longer has said
/// so often enough, and its oldest one goes.
pub const MAX_OPEN: usize = 64;

const LIMITS_KEY: &str = "limits";
const CAPABILITY_KEY: &str = "capability";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Characteristic {
    id: Id,
    plan: Plan,
    /// None before the first sample, unless its chart is set.
    process: Option<Process>,
    /// Samples so far; their records take turns by this.
    taken: u64,
    /// Excluded samples that had no id: their numbers are used up, too.
    #[serde(default)]
    skipped: u64,
    samples: VecDeque<Sample>,
    open: VecDeque<Violation>,
    /// Nobody has to be told of limits that came into force by the newest sample, or by the settings.
    are_limits_told: bool,
}

/// What became of a sample that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The rules that it violates, and how many violations had to go unacknowledged.
    Taken {
        violated: Vec<u8>,
        expired: usize,
    },
    Missing,
    Excluded,
}

impl Characteristic {
    pub fn new(id: Id, plan: &Plan, at: Stamp) -> Self {
        let process = plan.chart.map(|chart| Process::new(chart, plan, at));
        let (samples, open) = (VecDeque::new(), VecDeque::new());
        Self { id, plan: plan.clone(), process, taken: 0, skipped: 0, samples, open, are_limits_told: false }
    }

    /// Takes a sample. Violations are numbered behind `last`.
    pub fn take(
        &mut self,
        incoming: &Incoming,
        arrived: Stamp,
        last: &mut u64,
        out: &mut Vec<Told>,
    ) -> Result<Outcome, Reject> {
        let at = incoming.taken_at(arrived)?;
        let id = incoming.sample_id.clone().unwrap_or_else(|| self.next_number());
        if self.plan.exclude.contains(&id) {
            self.skipped += u64::from(incoming.sample_id.is_none());
            return Ok(Outcome::Excluded);
        }
        let measure = incoming.measure()?;
        let Some(chart) = self.chart().or_else(|| measure.usual_chart()) else { return Ok(Outcome::Missing) };
        let subgroup = measure.subgroup(chart, self.plan.subgroup_size)?;
        let process = self.process.get_or_insert_with(|| Process::new(chart, &self.plan, at));
        let Some(subgroup) = subgroup else {
            process.interrupt();
            return Ok(Outcome::Missing);
        };
        let had_limits = process.has_limits();
        let judged = process.take(&id, &subgroup, &self.plan, at);
        self.are_limits_told &= process.has_limits() == had_limits;
        let sample = self.sample(id, at, subgroup.statistic, judged.as_ref());
        out.push(Kind::Sample.of(&self.id, slot(self.taken), &sample));
        let violated = judged.map(|judged| self.violate(&sample, &judged, last, out)).unwrap_or_default();
        self.keep(sample);
        self.tell_new_limits(out);
        self.tell_capability(out);
        Ok(Outcome::Taken { violated, expired: self.expire(out) })
    }

    /// Inputs are gone, and it is not known whose: no run goes on behind them.
    pub fn interrupt(&mut self) {
        self.process.iter_mut().for_each(Process::interrupt);
    }

    /// Computes limits anew.
    pub fn recalculate(&mut self, at: Stamp, out: &mut Vec<Told>) -> Result<(), Reject> {
        let process = self.process.as_mut().ok_or(Reject::TooFewSamples)?;
        process.recalculate(&self.plan, at)?;
        self.tell_limits(out);
        self.tell_capability(out);
        Ok(())
    }

    /// Goes on by another plan, or begins anew if limits do not come from the same.
    pub fn adopt(&mut self, plan: &Plan, at: Stamp) {
        let told = self.limits();
        let old = std::mem::replace(&mut self.plan, plan.clone());
        let goes_on = self.process.as_mut().is_some_and(|process| process.follow(&old, plan));
        if !goes_on {
            self.process = plan.chart.map(|chart| Process::new(chart, plan, at));
            self.samples.clear();
        }
        self.are_limits_told &= self.limits() == told;
    }

    /// True: it was one of its own that nobody had acknowledged.
    pub fn acknowledge(&mut self, violation: u64, out: &mut Vec<Told>) -> bool {
        let place = self.open.iter().position(|open| open.violation_id == violation);
        let closed = place.and_then(|place| self.open.remove(place));
        out.extend(closed.iter().map(|closed| Kind::Violation.removed(&self.id, closed.violation_id.to_string())));
        closed.is_some()
    }

    pub fn id(&self) -> &Id {
        &self.id
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether the settings list it.
    pub fn is_listed(&self) -> bool {
        self.plan.id.is_some()
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Everything that a snapshot shows.
    pub fn tell_records(&self, out: &mut Vec<Told>) {
        self.tell_limits(out);
        self.tell_capability(out);
        let first = self.taken - self.samples.len() as u64;
        let samples = (first..).zip(&self.samples);
        out.extend(samples.map(|(number, sample)| Kind::Sample.of(&self.id, slot(number), sample)));
        out.extend(self.open.iter().map(|open| self.violation(open)));
    }

    /// Tells limits that nobody has heard of yet.
    pub fn tell_new_limits(&mut self, out: &mut Vec<Told>) {
        if !std::mem::replace(&mut self.are_limits_told, true) {
            self.tell_limits(out);
        }
    }

    fn tell_limits(&self, out: &mut Vec<Told>) {
        out.extend(self.limits().map(|limits| Kind::ControlLimits.of(&self.id, LIMITS_KEY.into(), &limits)));
    }

    fn tell_capability(&self, out: &mut Vec<Told>) {
        let indices = self.process.as_ref().and_then(|process| process.capability(&self.plan));
        let capability = indices.map(|indices| Capability { characteristic_id: self.id.clone(), indices });
        out.extend(capability.map(|all| Kind::Capability.of(&self.id, CAPABILITY_KEY.into(), &all)));
    }

    /// The id of the next sample that has none.
    fn next_number(&self) -> Id {
        Id::Number((self.taken + self.skipped + 1).cast_signed())
    }

    fn chart(&self) -> Option<Chart> {
        self.process.as_ref().map(|process| process.chart)
    }

    fn limits(&self) -> Option<ControlLimits> {
        self.process.as_ref()?.limits(&self.id, &self.plan)
    }

    fn sample(&self, id: Id, at: Stamp, statistic: f64, judged: Option<&Judged>) -> Sample {
        let bounds = judged.map(|judged| judged.point.bounds);
        Sample {
            sample_id: id,
            characteristic_id: self.id.clone(),
            timestamp: at,
            value: judged.map_or(statistic, |judged| judged.point.value),
            zone: judged.map(|judged| judged.point.zone()),
            in_control: judged.is_none_or(|judged| judged.completed.is_empty()),
            center_line: bounds.map(|bounds| bounds.center),
            ucl: bounds.map(|bounds| bounds.ucl),
            lcl: bounds.map(|bounds| bounds.lcl),
        }
    }

    /// The rules that are violated.
    fn violate(&mut self, sample: &Sample, judged: &Judged, last: &mut u64, out: &mut Vec<Told>) -> Vec<u8> {
        for &rule in &judged.violated {
            *last += 1;
            let violation = Violation {
                violation_id: *last,
                sample_id: sample.sample_id.clone(),
                characteristic_id: self.id.clone(),
                name: self.plan.name.clone(),
                rule_id: rule,
                rule_name: self.chart().map_or("", |chart| rules::name(rule, chart)).to_owned(),
                severity: Severity::of(rule),
                timestamp: sample.timestamp,
                value: sample.value,
                estimate: judged.estimate,
            };
            out.push(self.violation(&violation));
            self.open.push_back(violation);
        }
        judged.violated.clone()
    }

    fn violation(&self, violation: &Violation) -> Told {
        Kind::Violation.of(&self.id, violation.violation_id.to_string(), violation)
    }

    fn keep(&mut self, sample: Sample) {
        self.taken += 1;
        self.samples.push_back(sample);
        if self.samples.len() > MAX_SAMPLES {
            self.samples.pop_front();
        }
    }

    /// How many violations had to go. They come last of all that is told of a sample: it depends on commands, which are
    /// not repeated when inputs are, and the places of the other events must be the same then.
    fn expire(&mut self, out: &mut Vec<Told>) -> usize {
        let many = self.open.len().saturating_sub(MAX_OPEN);
        let gone = self.open.drain(..many);
        out.extend(gone.map(|gone| Kind::Violation.removed(&self.id, gone.violation_id.to_string())));
        many
    }
}

/// The key of a sample's record: the newest ones have their turns.
fn slot(number: u64) -> String {
    (number % MAX_SAMPLES as u64).to_string()
}
