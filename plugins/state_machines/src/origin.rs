//! What was heard of an instance last: the cause of what happens to it by itself, so that it happens once whatever is
//! handled again after a failure.

use std::sync::Arc;

use broadcastd_plugin_api::{Cause, Message};
use serde::{Deserialize, Serialize};

use crate::told::From;

/// Where the places of what an input says beside its changes begin. The changes are below, one for each instance and
/// without a hole, so that the daemon remembers all of them as one number.
const BESIDE: u32 = 1 << 17;
/// Where the places of what happens by itself begin: the silence of each instance, then the first timeout of each, then
/// the second, so that where the same happens to all of them the daemon remembers one run.
const BY_ITSELF: u32 = 1 << 20;
/// So many timeouts of an instance after one input have a cause.
const MAX_TIMEOUTS: u32 = 1 << 10;
/// The daemon remembers the causes of its newest 32,768 inputs; what is older is told without one.
const MAX_AGE: u64 = 30_000;

/// An input, and the instance's place among those that it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    #[serde(with = "text")]
    pub stream: Arc<str>,
    #[serde(with = "text")]
    pub epoch: Arc<str>,
    pub seq: u64,
    /// Its place among the instances of the input.
    pub slot: u32,
    /// The timeouts since.
    pub told: u32,
}

/// What an input has to say of an instance, each with a place of its own.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Change,
    Recovered,
    Illegal,
}

impl Origin {
    pub fn of(message: &Message<'_>, like: Option<&Origin>) -> Self {
        // Instances share the texts of their numbering.
        let shared = |text: &str, known: Option<&Arc<str>>| match known {
            Some(known) if **known == *text => known.clone(),
            _ => Arc::from(text),
        };
        Self {
            stream: shared(message.stream, like.map(|like| &like.stream)),
            epoch: shared(message.epoch, like.map(|like| &like.epoch)),
            seq: message.seq,
            slot: 0,
            told: 0,
        }
    }

    pub fn in_slot(&self, slot: usize) -> Self {
        Self { slot: u32::try_from(slot).unwrap_or(u32::MAX), ..self.clone() }
    }

    /// Where a part of what the input says stands.
    pub fn part(&self, part: Part) -> From {
        let base = match part {
            Part::Change => 0,
            Part::Recovered => BESIDE,
            Part::Illegal => 2 * BESIDE,
        };
        From::Input(self.slot.saturating_add(base))
    }

    /// What has happened by itself so far is told anew from here on: the daemon must not take it for what it has.
    pub fn begin_anew(&mut self) {
        self.told = MAX_TIMEOUTS;
    }

    /// A state has ended by itself; `newest` is the newest input that was heard at all.
    pub fn timeout(&mut self, newest: Option<&Origin>) -> From {
        let cause = self.by_itself(1 + self.told, newest);
        self.told = (self.told + 1).min(MAX_TIMEOUTS);
        cause
    }

    /// Nothing was heard since, for too long. That has a place of its own, because after a failure it is told later than
    /// before, or not at all: what times out must not be taken for it.
    pub fn silence(&self, newest: Option<&Origin>) -> From {
        self.by_itself(0, newest)
    }

    fn by_itself(&self, which: u32, newest: Option<&Origin>) -> From {
        let is_old = newest.is_some_and(|newest| {
            newest.stream == self.stream && newest.epoch == self.epoch && newest.seq.saturating_sub(self.seq) > MAX_AGE
        });
        // What is made up follows from no input that the daemon could know.
        if is_old || self.stream.is_empty() || self.told >= MAX_TIMEOUTS {
            return From::Earlier(None);
        }
        let ordinal = BY_ITSELF.saturating_add(which.saturating_mul(BESIDE)).saturating_add(self.slot);
        let (stream, epoch) = (self.stream.clone(), self.epoch.clone());
        From::Earlier(Some(Cause { stream, epoch, seq: self.seq, ordinal }))
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self { stream: Arc::from(""), epoch: Arc::from(""), seq: 0, slot: 0, told: 0 }
    }
}

mod text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::MAX_INSTANCES;

    #[test]
    fn changes_stand_without_a_hole_and_nothing_in_the_place_of_another() {
        let place = |slot: usize, part: Part| match Origin::default().in_slot(slot).part(part) {
            From::Input(place) => place,
            From::Earlier(cause) => panic!("{cause:?}"),
        };
        assert_eq!([0, 1, 2].map(|slot| place(slot, Part::Change)), [0, 1, 2]);
        let last = MAX_INSTANCES - 1;
        assert!(place(last, Part::Change) < place(0, Part::Recovered));
        assert!(place(last, Part::Recovered) < place(0, Part::Illegal));
        assert!(place(last, Part::Illegal) < BY_ITSELF);
    }

    #[test]
    fn what_happens_to_all_by_itself_stands_without_a_hole_and_nothing_in_the_place_of_another() {
        let heard = Origin { stream: Arc::from("sessions"), ..Origin::default() };
        let of = |slot: usize, told: u32| Origin { told, ..heard.in_slot(slot) };
        let place = |told: From| match told {
            From::Earlier(Some(cause)) => cause.ordinal,
            other => panic!("{other:?}"),
        };
        let silence = |slot: usize, told: u32| place(of(slot, told).silence(None));
        let timeout = |slot: usize, told: u32| place(of(slot, told).timeout(None));
        assert_eq!([silence(0, 0), silence(1, 0), silence(2, 7)], [0, 1, 2].map(|slot| BY_ITSELF + slot));
        assert_eq!([timeout(0, 0), timeout(1, 0), timeout(2, 0)].map(|place| place - timeout(0, 0)), [0, 1, 2]);
        let last = MAX_INSTANCES - 1;
        assert!(silence(last, 0) < timeout(0, 0) && timeout(last, 0) < timeout(0, 1));
        assert!(timeout(last, MAX_TIMEOUTS - 1) < crate::publish::WITHOUT_CAUSE);
        let mut origin = of(3, MAX_TIMEOUTS - 1);
        assert!(matches!(origin.timeout(None), From::Earlier(Some(_))));
        assert_eq!([origin.timeout(None), origin.silence(None)], [const { From::Earlier(None) }; 2]);
        assert_eq!(Origin::default().timeout(None), From::Earlier(None), "it was made up");
    }
}
