//! One numbering in memory: sequence, history, topics and records of a stream, or of one audience of a private stream.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::history::{Bounds, History};
use super::kinds::Kind;
use super::pattern::{Pattern, canonical_topic};
use super::records::{Record, Records, Snapshot};
use super::stream::reads::Share;
use super::targets::Targets;
use super::topics::{Place, Topics};
use super::{Common, Refused};
use crate::event::{Draft, Encoded, Event, Flags, LogId};
use crate::memory::Memory;

/// What a log may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub history: Bounds,
    pub max_topics: usize,
    pub max_records: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { history: Bounds::default(), max_topics: 100_000, max_records: 100_000 }
    }
}

/// Something that a subscriber who remembers a position gets.
#[derive(Debug)]
pub enum Answer {
    /// Exactly the events missed since the position, oldest first.
    Recovered(Vec<Arc<Event>>),
    Snapshot(Snapshot),
}

pub struct Log {
    pub id: LogId,
    pub targets: Targets,
    stream: Arc<str>,
    audience: Arc<str>,
    memory: Arc<Memory>,
    seq: u64,
    history: History,
    /// The highest number that left the history.
    evicted: u64,
    /// Up to here nothing can be gone on from, whatever the topic.
    forgotten: u64,
    topics: Topics,
    records: Records,
    /// While the broadcaster publishes all its records anew: the set that will replace the present one.
    staged: Option<Staged>,
    /// Topics of events that were told while a set gathered that came to nothing: the present records do not show them.
    astray: BTreeSet<Arc<str>>,
}

/// A set of records that gathers apart.
struct Staged {
    records: Records,
    /// Topics whose events were told meanwhile, and are in this set alone.
    told: BTreeSet<Arc<str>>,
}

impl Log {
    pub fn new(stream: Arc<str>, audience: Arc<str>, common: &Common) -> Self {
        Self {
            id: common.next_log_id(),
            targets: Targets::default(),
            stream: stream.clone(),
            audience,
            memory: common.memory.clone(),
            seq: 0,
            history: History::default(),
            evicted: 0,
            forgotten: 0,
            topics: Topics::new(stream.clone()),
            records: Records::default(),
            staged: None,
            astray: BTreeSet::new(),
        }
    }

    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    pub fn records(&self) -> &Records {
        &self.records
    }

    pub fn topic_count(&self) -> usize {
        self.topics.count()
    }

    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.iter()
    }

    /// Gives the draft its number, keeps it, updates the records and hands it to the shards that have a subscriber.
    pub fn append(
        &mut self,
        draft: &Draft<'_>,
        kind: &Kind,
        limits: &Limits,
        now: Instant,
    ) -> Result<Arc<Event>, Refused> {
        let place = self.place_of_topic(draft.topic, limits, now)?;
        self.check_room_for_record(draft, self.topics.name(place), kind, limits)?;
        self.seq += 1;
        let event = Arc::new(self.event(draft, place, kind, now));
        self.update_records(draft, &event, &kind.collection);
        if draft.flags.has(Flags::RECORD_ONLY) {
            self.topics.evicted(place, self.seq);
            return Ok(event);
        }
        self.topics.told(place, self.seq); // `prev` names what a subscriber got, so that it sees no gap where there is none
        self.history.push(event.clone());
        self.evict(limits, now);
        self.targets.deliver(&event);
        Ok(event)
    }

    /// What a subscription to these patterns begins with. `since` is the number that the client remembers of this epoch.
    pub fn answer(&self, patterns: &[Pattern], since: Option<u64>) -> Answer {
        match since {
            Some(since) if since <= self.seq && self.reaches_back_to(patterns, since) => {
                Answer::Recovered(self.missed(patterns, since))
            }
            _ => Answer::Snapshot(self.records.snapshot(patterns)),
        }
    }

    /// Lets go what the bounds no longer allow, without waiting for the next event.
    pub fn evict(&mut self, limits: &Limits, now: Instant) {
        self.evict_down_to(&limits.history, now);
    }

    pub fn halve_history(&mut self) {
        let half = Bounds { events: self.history.len() / 2, bytes: self.history.bytes() / 2, age: Duration::MAX };
        self.evict_down_to(&half, Instant::now());
    }

    /// Keeps nothing but the count: whoever reads the log from here on is not whom it was for.
    pub fn forget(&mut self) {
        (self.forgotten, self.evicted) = (self.seq, self.seq);
        self.history = History::default();
        (self.records, self.staged) = (Records::default(), None);
        self.topics = Topics::new(self.stream.clone());
        self.astray.clear();
    }

    /// Whether records gather that will replace the present ones.
    pub fn is_staging(&self) -> bool {
        self.staged.is_some()
    }

    pub fn begin_records(&mut self) {
        self.abandon_records();
        self.staged = Some(Staged { records: Records::default(), told: BTreeSet::new() });
    }

    /// Replaces the records by what was published since `begin_records`. When that is another set, it takes a number: a
    /// position from before can no longer be resumed exactly for the topics that differ, and subscribers are shown it.
    pub fn end_records(&mut self, declared: &[Arc<str>]) {
        let Some(staged) = self.staged.take() else { return };
        self.topics.all_may_be_quiet();
        let before = std::mem::replace(&mut self.records, staged.records);
        let mut changed = std::mem::take(&mut self.astray);
        changed.extend(before.topics_that_differ(&self.records));
        if changed.is_empty() {
            return;
        }
        self.seq += 1;
        changed.iter().for_each(|topic| self.evicted_of(topic, self.seq));
        let shown = self.records.snapshot(&[Pattern::whole(&self.stream)]).declaring(declared.to_vec());
        self.targets.records_replaced(self.id, self.seq, &shown);
    }

    /// Keeps the present records: what was published since `begin_records` is not the whole set.
    pub fn abandon_records(&mut self) {
        let Some(staged) = self.staged.take() else { return };
        self.topics.all_may_be_quiet();
        self.astray.extend(staged.told);
    }

    /// Events that an outlet missed behind `seq` up to `up_to`, and the number that it has then.
    pub fn catch_up(&self, seq: u64, up_to: u64, max: usize) -> CaughtUp {
        let lost = (seq < self.evicted).then(|| (seq + 1, self.evicted.min(up_to)));
        let missed = self.history.after(seq).take_while(|event| event.seq <= up_to);
        let events: Vec<_> = missed.take(max).cloned().collect();
        let complete = events.len() < max;
        let newest = self.seq.min(up_to);
        let reached = if complete { newest } else { events.last().map_or(newest, |event| event.seq) };
        CaughtUp { events, lost, reached }
    }

    fn evict_down_to(&mut self, bounds: &Bounds, now: Instant) {
        while let Some(event) = self.history.evict(bounds, now) {
            self.evicted = event.seq;
            self.evicted_of(&event.topic, event.seq);
        }
    }

    fn evicted_of(&mut self, topic: &str, seq: u64) {
        if let Some(place) = self.topics.find(topic) {
            self.topics.evicted(place, seq);
        }
    }

    /// Where the topic with this part behind the stream's name stands; it becomes known, if it may.
    fn place_of_topic(&mut self, part: &str, limits: &Limits, now: Instant) -> Result<Place, Refused> {
        if part.is_empty()
            && let Some(place) = self.topics.find(&self.stream)
        {
            return Ok(place);
        }
        let full = if part.is_empty() { self.stream.to_string() } else { [&*self.stream, ":", part].concat() };
        if let Some(place) = self.topics.find(&full) {
            return Ok(place);
        }
        match canonical_topic(&full) {
            Err(reason) => return Err(Refused::BadTopic(reason.to_string())),
            Ok(canonical) if canonical != full || full.split(':').any(|part| part == "*") => {
                return Err(Refused::BadTopic(format!(
                    "\"{full}\" is not a topic's one spelling; percent-encode : * % inside a part"
                )));
            }
            Ok(_) if !self.has_room_for_topic(limits, now) => return Err(Refused::TooManyTopics(limits.max_topics)),
            Ok(_) => {}
        }
        Ok(self.topics.insert(if part.is_empty() { self.stream.clone() } else { full.into() }))
    }

    /// Whether one more topic may be known; at the bound, those that nothing is kept of are given back.
    fn has_room_for_topic(&mut self, limits: &Limits, now: Instant) -> bool {
        if self.topics.count() >= limits.max_topics {
            self.evict(limits, now);
        }
        let Self { topics, history, records, staged, astray, .. } = self;
        let oldest = history.oldest().unwrap_or(u64::MAX);
        topics.make_room(limits.max_topics, |topic, last| {
            let is_staged = |staged: &Staged| staged.records.has_topic(topic) || staged.told.contains(topic);
            let has_records = records.has_topic(topic) || staged.as_ref().is_some_and(is_staged);
            last >= oldest || has_records || astray.contains(topic)
        })
    }

    fn check_room_for_record(
        &self,
        draft: &Draft<'_>,
        topic: &str,
        kind: &Kind,
        limits: &Limits,
    ) -> Result<(), Refused> {
        let records = self.staged.as_ref().map_or(&self.records, |staged| &staged.records);
        let adds = !draft.key.is_empty() && !draft.flags.has(Flags::DELETE);
        if adds && records.len() >= limits.max_records && !records.contains(topic, &kind.collection, draft.key) {
            return Err(Refused::TooManyRecords(limits.max_records));
        }
        Ok(())
    }

    fn event(&self, draft: &Draft<'_>, place: Place, kind: &Kind, now: Instant) -> Event {
        Event {
            log: self.id,
            seq: self.seq,
            prev: self.topics.last(place),
            flags: draft.flags,
            stream: self.stream.clone(),
            topic: self.topics.name(place).clone(),
            kind: kind.name.clone(),
            key: draft.key.into(),
            audience: self.audience.clone(),
            session_id: (!draft.session_id.is_empty()).then(|| draft.session_id.into()),
            payload: self.memory.hold(draft.payload.to_vec()),
            unix_ns: draft.unix_ns,
            published: now,
            encoded: Encoded::default(),
            charge: self.memory.charge(Event::weight_beside_payload(draft.key)),
        }
    }

    fn update_records(&mut self, draft: &Draft<'_>, event: &Event, collection: &Arc<str>) {
        if draft.key.is_empty() {
            return;
        }
        let records = match &mut self.staged {
            Some(staged) => {
                if !draft.flags.has(Flags::RECORD_ONLY) {
                    staged.told.insert(event.topic.clone());
                }
                &mut staged.records
            }
            None => &mut self.records,
        };
        if draft.flags.has(Flags::DELETE) {
            records.remove(&event.topic, collection, draft.key);
            return;
        }
        let own = || self.memory.hold(draft.record.to_vec());
        let json = if draft.record.is_empty() { event.payload.clone() } else { own() };
        let record = Record { kind: event.kind.clone(), unix_ns: event.unix_ns, json };
        records.put(&event.topic, collection, draft.key, record);
    }

    /// Whether everything behind `since` that the patterns name is still kept.
    pub fn reaches_back_to(&self, patterns: &[Pattern], since: u64) -> bool {
        if since < self.forgotten || !self.topics.is_whole_since(&self.stream, since) {
            return false;
        }
        patterns.iter().all(|pattern| match pattern.exact() {
            Some(topic) => self.topics.is_whole_since(topic, since),
            None => self.topics.are_whole_since(since, |topic| pattern.matches(topic)),
        })
    }

    /// The first kept events behind `since` that the patterns name, and whether there are more.
    pub fn some_of(&self, patterns: &[Pattern], since: u64, share: Share) -> (Vec<Arc<Event>>, bool) {
        let (mut events, mut bytes) = (Vec::new(), 0);
        for event in self.history.after(since) {
            if !patterns.iter().any(|pattern| pattern.matches(&event.topic)) {
                continue;
            }
            bytes += event.payload.len();
            if events.len() == share.events || (bytes > share.bytes && !events.is_empty()) {
                return (events, true);
            }
            events.push(event.clone());
        }
        (events, false)
    }

    fn missed(&self, patterns: &[Pattern], since: u64) -> Vec<Arc<Event>> {
        let wanted = |event: &&Arc<Event>| patterns.iter().any(|pattern| pattern.matches(&event.topic));
        self.history.after(since).filter(wanted).cloned().collect()
    }
}

/// What an outlet that had been full reads again.
#[derive(Debug)]
pub struct CaughtUp {
    pub events: Vec<Arc<Event>>,
    /// Numbers that left the history meanwhile.
    pub lost: Option<(u64, u64)>,
    /// The outlet now has everything up to and including this number that could still be had.
    pub reached: u64,
}
