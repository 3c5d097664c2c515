//! All instances by session, and when something becomes due for one of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::input::MAX_NAME;
use crate::origin::Origin;
use crate::time::Time;
use crate::told::{Kind, Record, Told, Who};

/// Instances of all sessions: with usual names they take less than `MAX_BYTES`.
pub const MAX_INSTANCES: usize = 40_000;
/// Bytes of saved state that instances may take: with what waits for room it stays below the 64 MiB that the daemon keeps.
pub const MAX_BYTES: usize = 44 << 20;

/// One strategy on one symbol, say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub session: String,
    pub id: String,
    pub machine: String,
    pub strategy_id: Option<String>,
    pub symbol: Option<String>,
    pub state: String,
    pub previous_state: Option<String>,
    /// When it came into its state, when it began, and when it was heard of last, in milliseconds since 1970.
    pub since: i64,
    pub started: i64,
    pub heard: i64,
    pub version: u64,
    /// The version that its program said last.
    pub reported: Option<u64>,
    pub is_stale: bool,
    /// The kind of the newest event that described it.
    pub newest: Kind,
    /// What was heard of it last.
    pub origin: Origin,
    #[serde(skip)]
    pub alarms: Alarms,
}

/// When it is looked at next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Alarms {
    /// It has been in its state for as long as it may be.
    pub timeout: Option<i64>,
    /// Nothing was heard of it for long, unless something was since.
    pub silence: Option<i64>,
}

/// Where an instance stands: session and id.
pub type Place = (String, String);

#[derive(Debug, Default)]
pub struct Book {
    sessions: BTreeMap<String, BTreeMap<String, Instance>>,
    count: usize,
    /// What they take in saved state, at most.
    bytes: usize,
    timeouts: BTreeSet<(i64, Place)>,
    silences: BTreeSet<(i64, Place)>,
}

impl Book {
    /// Whether so many more, which take so many bytes more, may come.
    pub fn has_room(&self, count: usize, bytes: usize) -> bool {
        self.count + count <= MAX_INSTANCES && self.bytes + bytes <= MAX_BYTES
    }

    pub fn get(&self, session: &str, id: &str) -> Option<&Instance> {
        self.sessions.get(session)?.get(id)
    }

    pub fn get_mut(&mut self, session: &str, id: &str) -> Option<&mut Instance> {
        self.sessions.get_mut(session)?.get_mut(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.sessions.values().flat_map(BTreeMap::values)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Instance> {
        self.sessions.values_mut().flat_map(BTreeMap::values_mut)
    }

    /// The instances of a session.
    pub fn ids(&self, session: &str) -> Vec<String> {
        self.sessions.get(session).map(|instances| instances.keys().cloned().collect()).unwrap_or_default()
    }

    /// Puts it in the place of the one of the same session and id, if there is one.
    pub fn put(&mut self, instance: Instance) {
        let _replaced = self.remove(&instance.session, &instance.id);
        let instance = Instance { alarms: Alarms::default(), ..instance };
        self.count += 1;
        self.bytes += instance.weight();
        self.sessions.entry(instance.session.clone()).or_default().insert(instance.id.clone(), instance);
    }

    pub fn remove(&mut self, session: &str, id: &str) -> Option<Instance> {
        let instances = self.sessions.get_mut(session)?;
        let removed = instances.remove(id)?;
        if instances.is_empty() {
            self.sessions.remove(session);
        }
        self.count -= 1;
        self.bytes -= removed.weight();
        for (set, at) in [(&mut self.timeouts, removed.alarms.timeout), (&mut self.silences, removed.alarms.silence)] {
            at.map(|at| set.remove(&(at, (session.to_owned(), id.to_owned()))));
        }
        Some(removed)
    }

    /// Sets when an instance is looked at next. For its silence an earlier time stays, and it is looked at too early
    /// rather than noted at each sign of life.
    pub fn set_alarms(&mut self, session: &str, id: &str, alarms: Alarms) {
        let Some(instance) = self.sessions.get_mut(session).and_then(|instances| instances.get_mut(id)) else { return };
        let old = instance.alarms;
        let keeps_silence = old.silence.is_some_and(|old| alarms.silence.is_some_and(|new| old <= new));
        let silence = if keeps_silence { old.silence } else { alarms.silence };
        instance.alarms = Alarms { timeout: alarms.timeout, silence };
        let place = || (session.to_owned(), id.to_owned());
        for (set, old, new) in
            [(&mut self.timeouts, old.timeout, alarms.timeout), (&mut self.silences, old.silence, silence)]
        {
            if old != new {
                old.map(|old| set.remove(&(old, place())));
                new.map(|new| set.insert((new, place())));
            }
        }
    }

    /// The next one that has been in its state for long enough at this time.
    pub fn take_timeout(&mut self, until: i64) -> Option<Place> {
        let place = take_first(&mut self.timeouts, until)?;
        if let Some(instance) = self.get_mut(&place.0, &place.1) {
            instance.alarms.timeout = None;
        }
        Some(place)
    }

    /// The next one of which nothing may have been heard for too long.
    pub fn take_silence(&mut self, until: i64) -> Option<Place> {
        let place = take_first(&mut self.silences, until)?;
        if let Some(instance) = self.get_mut(&place.0, &place.1) {
            instance.alarms.silence = None;
        }
        Some(place)
    }

    /// When the next one has been in its state for too long, and when the next one has been silent for too long.
    pub fn next_alarms(&self) -> Alarms {
        let first = |set: &BTreeSet<(i64, Place)>| set.first().map(|(at, _)| *at);
        Alarms { timeout: first(&self.timeouts), silence: first(&self.silences) }
    }

    /// The states that instances of each machine are in.
    pub fn states_in_use(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for instance in self.iter() {
            used.entry(&instance.machine).or_default().insert(&instance.state);
        }
        used
    }
}

fn take_first(set: &mut BTreeSet<(i64, Place)>, until: i64) -> Option<Place> {
    let is_due = set.first().is_some_and(|(at, _)| *at <= until);
    if is_due { set.pop_first().map(|(_, place)| place) } else { None }
}

impl Instance {
    /// One of which nothing is known but its id.
    pub fn unknown(id: String) -> Self {
        Self {
            session: String::new(),
            id,
            machine: String::new(),
            strategy_id: None,
            symbol: None,
            state: String::new(),
            previous_state: None,
            since: 0,
            started: 0,
            heard: 0,
            version: 0,
            reported: None,
            is_stale: false,
            newest: Kind::InstanceAdded,
            origin: Origin::default(),
            alarms: Alarms::default(),
        }
    }

    /// What it takes in saved state at most, in bytes, whatever its states are: it stays the same as long as it is there.
    pub fn weight(&self) -> usize {
        const ESCAPED: usize = 2; // `\"`, the longest that a letter of a name becomes
        const STATES: usize = 2 * ESCAPED * MAX_NAME;
        const REST: usize = 480; // the names of the members, the numbers, and the origin with its stream and epoch
        let key = |key: &Option<String>| key.as_ref().map_or(0, String::len);
        let names = self.session.len() + self.id.len() + self.machine.len();
        REST + STATES + ESCAPED * (names + key(&self.strategy_id) + key(&self.symbol))
    }

    pub fn who(&self) -> Who<'_> {
        Who {
            machine: &self.machine,
            instance_id: &self.id,
            strategy_id: self.strategy_id.as_deref(),
            symbol: self.symbol.as_deref(),
        }
    }

    pub fn record(&self) -> Record<'_> {
        Record {
            session_id: &self.session,
            who: self.who(),
            state: &self.state,
            previous_state: self.previous_state.as_deref(),
            since: self.since(),
            version: self.version,
            stale: self.is_stale,
        }
    }

    /// An event that describes it as it is from here on.
    pub fn told(&mut self, kind: Kind, payload: String, origin: crate::told::From) -> Told {
        self.newest = kind;
        let record = crate::told::json(&self.record());
        Told { kind, session: self.session.clone(), key: self.id.clone(), payload, record, origin }
    }

    pub fn since(&self) -> Time {
        Time(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::MAX_WAITING;
    use crate::told::json;

    #[test]
    fn nothing_takes_more_than_it_weighs() {
        const YEAR_0: i64 = -62_167_219_200_000;
        let worst = "\"".repeat(MAX_NAME);
        let some = Some(worst.clone());
        let origin = Origin {
            stream: "s".repeat(64).into(),
            epoch: "e".repeat(36).into(),
            seq: u64::MAX,
            slot: 40_000,
            told: 1_024,
        };
        let instance = Instance {
            session: worst.clone(),
            machine: worst.clone(),
            strategy_id: some.clone(),
            symbol: some.clone(),
            state: worst.clone(),
            previous_state: some,
            since: YEAR_0,
            started: YEAR_0,
            heard: YEAR_0,
            version: 1 << 53,
            reported: Some(1 << 53),
            newest: Kind::InstanceRecovered,
            origin,
            ..Instance::unknown(format!("{worst}:{worst}:{worst}"))
        };
        let saved = json(&instance).len() + ",".len();
        assert!(saved <= instance.weight(), "{saved} {}", instance.weight());
        const { assert!(MAX_BYTES + MAX_WAITING <= 62 << 20, "2 MiB are for machines") };
    }

    #[test]
    fn what_goes_leaves_room() {
        let mut book = Book::default();
        let one = Instance::unknown("one".into());
        let rest = MAX_BYTES - one.weight();
        book.put(one.clone());
        book.put(one);
        assert!(book.has_room(1, rest) && !book.has_room(1, rest + 1));
        assert!(book.has_room(MAX_INSTANCES - 1, 0) && !book.has_room(MAX_INSTANCES, 0));
        book.remove("", "one").unwrap();
        assert!(book.has_room(MAX_INSTANCES, MAX_BYTES));
    }
}
