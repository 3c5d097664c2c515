//! What was heard of an instance last: the cause of what happens to it by itself, so that it happens once whatever is
//! handled again after a failure.

use std::sync::Arc;

use broadcastd_plugin_api::{Cause, Message};
use serde::{Deserialize, Serialize};

use crate::told::From;

/// Events of one input about one instance, told or not.
const PER_INSTANCE: u32 = 4;
/// Where the places of what happens by itself begin; what an input says itself is below, `MAX_STARTED` times
/// `PER_INSTANCE` at most.
const BY_ITSELF: u32 = 1 << 20;
/// Of what happens by itself after one input, so many events of an instance have a cause.
const MAX_BY_ITSELF: u32 = 1 << 10;
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
    /// What has happened by itself since.
    pub told: u32,
}

/// What an input has to say of an instance, each with a place of its own.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Recovered,
    Illegal,
    Change,
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
        From::Input(self.slot.saturating_mul(PER_INSTANCE).saturating_add(part as u32))
    }

    /// What has happened by itself so far is told anew from here on: the daemon must not take it for what it has.
    pub fn begin_anew(&mut self) {
        self.told = MAX_BY_ITSELF;
    }

    /// Something happens by itself; `newest` is the newest input that was heard at all.
    pub fn next(&mut self, newest: Option<&Origin>) -> From {
        let is_old = newest.is_some_and(|newest| {
            newest.stream == self.stream && newest.epoch == self.epoch && newest.seq.saturating_sub(self.seq) > MAX_AGE
        });
        if is_old || self.told >= MAX_BY_ITSELF {
            return From::Earlier(None);
        }
        let ordinal = BY_ITSELF.saturating_add(self.slot.saturating_mul(MAX_BY_ITSELF)).saturating_add(self.told);
        self.told += 1;
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
