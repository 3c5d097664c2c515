//! All characteristics, and which of their violations were acknowledged.

use std::collections::{BTreeMap, VecDeque};

use broadcastd_plugin_api::{Failure, FailureKind};
use serde::{Deserialize, Serialize};

use crate::characteristic::{Characteristic, Outcome};
use crate::check::MAX_CHARACTERISTICS;
use crate::id::Id;
use crate::sample::{Incoming, Reject};
use crate::settings::{Plan, Settings};
use crate::stamp::Stamp;
use crate::told::{AckUpdate, Acknowledge, Told};

/// Acknowledgements that are remembered, so that a second one is told of the first: more than a shift has.
pub const MAX_ACKNOWLEDGED: usize = 1_000;

/// What is saved of it is all but the settings.
#[derive(Serialize, Deserialize)]
pub struct Book {
    #[serde(skip)]
    auto: Plan,
    characteristics: BTreeMap<String, Characteristic>,
    acknowledged: VecDeque<AckUpdate>,
    /// The number of the newest violation, or the time of the newest sample. What is saved is older than what was told
    /// when the daemon is killed; but numbers go on from the time then, and no number stands for less than a microsecond,
    /// which is less than telling a violation takes: so none is ever given twice.
    last: u64,
}

impl Book {
    pub fn new(settings: Settings, now: Stamp) -> Self {
        let listed = settings.characteristics.iter().filter_map(|plan| Some((plan.id.clone()?, plan)));
        let begun = listed.map(|(id, plan)| (id.text().into_owned(), Characteristic::new(id, plan, now)));
        Self { characteristics: begun.collect(), auto: settings.auto, acknowledged: VecDeque::new(), last: 0 }
    }

    /// Goes on from what was saved, by the settings of now: who is listed no longer is forgotten, and begins anew like
    /// anybody who is not. Answers how many were forgotten.
    pub fn restore(&mut self, saved: Book, now: Stamp) -> usize {
        (self.acknowledged, self.last) = (saved.acknowledged, saved.last);
        let mut forgotten = 0;
        for (key, mut old) in saved.characteristics {
            let is_full = self.characteristics.len() >= MAX_CHARACTERISTICS;
            match self.characteristics.get(&key) {
                Some(new) => old.adopt(new.plan(), now),
                None if old.is_listed() || is_full => {
                    forgotten += 1;
                    continue;
                }
                None => old.adopt(&self.auto, now),
            }
            self.characteristics.insert(key, old);
        }
        forgotten
    }

    /// Forgets a characteristic of which nothing comes any more, unless it is listed. Answers whether it is forgotten, or
    /// was not known.
    pub fn forget(&mut self, id: &str) -> bool {
        let is_listed = self.characteristics.get(id).is_some_and(Characteristic::is_listed);
        if !is_listed {
            self.characteristics.remove(id);
        }
        !is_listed
    }

    pub fn take(&mut self, incoming: &Incoming, arrived: Stamp, out: &mut Vec<Told>) -> Result<Outcome, Reject> {
        let Incoming { characteristic_id: id, sample_id, .. } = incoming;
        if [Some(id), sample_id.as_ref()].into_iter().flatten().any(|id| id.broken_rule().is_some()) {
            return Err(Reject::Id);
        }
        self.last = self.last.max(arrived.us());
        if let Some(known) = self.characteristics.get_mut(&*id.text()) {
            return known.take(incoming, arrived, &mut self.last, out);
        }
        if self.characteristics.len() >= MAX_CHARACTERISTICS {
            return Err(Reject::TooManyCharacteristics);
        }
        let mut new = Characteristic::new(id.clone(), &self.auto, arrived);
        let outcome = new.take(incoming, arrived, &mut self.last, out)?;
        self.characteristics.insert(id.text().into_owned(), new);
        Ok(outcome)
    }

    pub fn recalculate(&mut self, id: &Id, at: Stamp, out: &mut Vec<Told>) -> Result<(), Reject> {
        let known = self.characteristics.get_mut(&*id.text()).ok_or(Reject::UnknownCharacteristic)?;
        known.recalculate(at, out)
    }

    /// Inputs are gone.
    pub fn interrupt(&mut self) {
        self.characteristics.values_mut().for_each(Characteristic::interrupt);
    }

    /// The failure is the answer to whoever asked.
    pub fn acknowledge(
        &mut self,
        asked: &Acknowledge,
        user: &str,
        now: Stamp,
        out: &mut Vec<Told>,
    ) -> Result<AckUpdate, Failure> {
        let Acknowledge { violation_id, reason } = *asked;
        if let Some(first) = self.acknowledged.iter().find(|first| first.violation_id == violation_id) {
            let AckUpdate { user, timestamp, .. } = first;
            let why = format!("violation {violation_id} was acknowledged by {user:?} at {timestamp}");
            return Err(Failure::of(FailureKind::Conflict, why));
        }
        let mut owned = self.characteristics.values_mut();
        let owner = owned.find_map(|one| one.acknowledge(violation_id, out).then(|| one.id().clone()));
        let Some(characteristic_id) = owner else {
            let why = format!("violation {violation_id} is not open; subscribe with a snapshot to see those that are");
            return Err(Failure::of(FailureKind::NotFound, why));
        };
        let update = AckUpdate {
            violation_id,
            characteristic_id,
            acknowledged: true,
            user: user.to_owned(),
            reason,
            timestamp: now,
        };
        out.push(update.told());
        if self.acknowledged.len() == MAX_ACKNOWLEDGED {
            self.acknowledged.pop_front();
        }
        self.acknowledged.push_back(update.clone());
        Ok(update)
    }

    /// Everything that a snapshot shows.
    pub fn tell_records(&self, out: &mut Vec<Told>) {
        self.characteristics.values().for_each(|one| one.tell_records(out));
    }

    /// Tells limits that came into force by the settings, and not by a sample.
    pub fn tell_new_limits(&mut self, out: &mut Vec<Told>) {
        self.characteristics.values_mut().for_each(|one| one.tell_new_limits(out));
    }

    pub fn characteristic_count(&self) -> usize {
        self.characteristics.len()
    }

    pub fn open_count(&self) -> usize {
        self.characteristics.values().map(Characteristic::open_count).sum()
    }
}
