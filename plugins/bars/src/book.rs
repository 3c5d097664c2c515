//! One symbol: its clock, the ids it has seen and the bars of all its resolutions.

use serde::{Deserialize, Serialize};

use crate::ids::Ids;
use crate::resolution::Resolution;
use crate::series::{Rules, Series, Taken};
use crate::tick::{Reject, Tick};
use crate::update::Update;

/// What drives closing, grace and lateness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clock {
    Wall,
    /// The newest time among the trades of the same symbol.
    Event,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Book {
    watermark: i64,
    ids: Ids,
    series: Vec<Series>,
}

/// What became of a trade in the topics of its symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    pub amended: u64,
    pub too_late: u64,
}

impl Book {
    /// The topics of a symbol are numbered one after the other from `first_topic`.
    pub fn new(first_topic: u32, resolutions: &[Resolution]) -> Self {
        let series = (first_topic..).zip(resolutions).map(|(topic, resolution)| Series::new(topic, *resolution));
        Self { watermark: i64::MIN, ids: Ids::default(), series: series.collect() }
    }

    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// Takes a trade at the watermark `now`, which is the trade's own time on the event clock.
    pub fn take(&mut self, tick: &Tick<'_>, now: i64, rules: &Rules, out: &mut Vec<Update>) -> Result<Outcome, Reject> {
        if tick.id.is_some_and(|id| !self.ids.insert(id)) {
            return Err(Reject::Duplicate);
        }
        self.watermark = self.watermark.max(now);
        let mut outcome = Outcome::default();
        for series in &mut self.series {
            match series.take(tick.trade(), self.watermark, rules, out) {
                Taken::InTime => {}
                Taken::Amended => outcome.amended += 1,
                Taken::TooLate => outcome.too_late += 1,
            }
        }
        Ok(outcome)
    }

    pub fn advance(&mut self, now: i64, rules: &Rules, out: &mut Vec<Update>) {
        self.watermark = self.watermark.max(now);
        for series in &mut self.series {
            series.advance(self.watermark, rules, out);
        }
    }

    pub fn flush(&mut self, rules: &Rules, out: &mut Vec<Update>) {
        for series in &mut self.series {
            series.flush(self.watermark, rules, out);
        }
    }

    pub fn deadline(&self, rules: &Rules) -> Option<i64> {
        self.series.iter().filter_map(|series| series.deadline(rules)).min()
    }

    /// Goes on from a saved book: series of resolutions that are no longer wanted go, new ones start empty. The answer
    /// is how many that were wanted could not go on.
    pub fn resume(&mut self, saved: Book, rules: &Rules) -> usize {
        self.watermark = saved.watermark;
        self.ids = saved.ids;
        let mut dropped = 0;
        for old in saved.series {
            let Some(series) = self.series.iter_mut().find(|series| series.resolution() == old.resolution()) else {
                continue;
            };
            match old.resumed(series.topic(), rules) {
                Some(resumed) => *series = resumed,
                None => dropped += 1,
            }
        }
        dropped
    }
}
