//! What really happened: every publication, by stream and life, and what the records were at each number.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use imbl::OrdMap;

use super::tell;
use crate::event::{Cause, Draft, Flags};
use crate::hub::log::Limits;
use crate::hub::settings::{Settings, Source};
use crate::hub::stream::Stream;
use crate::hub::stream::reads::{Reader, Sight};
use crate::hub::{Accepted, Hub, Refused};

/// Topic, collection and key of a record.
pub type Key = (Arc<str>, &'static str, &'static str);
/// The serial number of the publication that each record comes from.
pub type Records = OrdMap<Key, u64>;

/// The kinds of events here, each with the collection of its records.
pub const KINDS: [(&str, &str); 3] = [("bar", "bars"), ("late_bar", "bars"), ("tick", "records")];

const OPERATOR: Sight<'static> = Sight { reader: Reader::Operator, audience: "" };

/// What is published: everything that a client or a snapshot can see of it, under a serial number that it shows.
#[derive(Clone, Copy, Debug)]
pub struct Publication {
    pub part: &'static str,
    pub kind: usize,
    pub key: &'static str,
    pub flags: Flags,
    pub session_id: &'static str,
    pub pad: usize,
    pub has_record: bool,
}

/// A number of a stream, and what it was given to.
pub struct Entry {
    pub serial: u64,
    pub topic: Arc<str>,
    pub publication: Publication,
    pub prev: u64,
    /// Not one that only refreshed a record or replaced them all.
    pub is_delivered: bool,
}

/// How a stream stood: several may have the same number.
pub struct Moment {
    pub seq: u64,
    pub records: Records,
    /// Of the delivered events the history has those from this number on.
    kept_from: u64,
    topics: Topics,
    given_back: u64,
}

type Topics = OrdMap<Arc<str>, Known>;

/// A topic that the stream knows.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    /// Its newest delivered event since it is known.
    last: u64,
    /// The newest number that had to do with it.
    newest: u64,
    /// It may have been given back with events up to here.
    floor: u64,
}

/// One numbering of a stream.
pub struct Life {
    pub epoch: String,
    entries: Vec<Entry>,
    moments: Vec<Moment>,
    delivered: Vec<u64>,
    topics: Topics,
    newcomer: Option<Arc<str>>,
    /// The highest number of a topic that was given back.
    given_back: u64,
    records: Records,
    staged: Option<Records>,
    /// Topics of events that were told since records began to gather, and of those that gathered in vain.
    told_meanwhile: BTreeSet<Arc<str>>,
    astray: BTreeSet<Arc<str>>,
    /// When records were replaced by others, with the topics that differ.
    replaced: Vec<(u64, BTreeSet<Arc<str>>)>,
    /// The newest change of each record that was not delivered.
    pub unseen: BTreeSet<Key>,
    /// Up to which number its subscribers were sent away.
    pub shut_at: Vec<u64>,
    ids: HashMap<String, u64>,
    causes: BTreeSet<(u64, u32)>,
}

/// All lives of a stream's name.
pub struct Line {
    pub name: &'static str,
    pub lives: Vec<Life>,
    pub settings: Settings,
    /// `None` while it is not configured.
    pub stream: Option<Arc<Stream>>,
    /// Clients have heard of it as unknown at some time.
    pub was_hidden: bool,
}

impl Line {
    pub fn new(hub: &Hub, name: &'static str, settings: Settings) -> Self {
        let mut line = Self { name, lives: Vec::new(), settings, stream: None, was_hidden: false };
        line.declare(hub);
        line
    }

    /// Declares the stream, or gives it its present settings.
    pub fn declare(&mut self, hub: &Hub) {
        let stream = hub.declare(self.name, self.settings.clone());
        if self.stream.is_none() {
            self.lives.push(Life::new(stream.epoch()));
        }
        self.stream = Some(stream);
        if !self.settings.visible {
            self.was_hidden = true;
            let seq = self.life().seq();
            self.life_mut().shut_at.push(seq);
        }
        self.observe();
    }

    pub fn remove(&mut self, hub: &Hub) {
        hub.remove(self.name);
        self.stream = None;
        self.was_hidden = true;
        let seq = self.life().seq();
        self.life_mut().shut_at.push(seq);
    }

    pub fn life(&self) -> &Life {
        self.lives.last().unwrap()
    }

    fn life_mut(&mut self) -> &mut Life {
        self.lives.last_mut().unwrap()
    }

    pub fn set_source(&self, source: Source) {
        if let Some(stream) = &self.stream {
            stream.set_source(source);
        }
    }

    pub fn begin_records(&mut self) {
        if let Some(stream) = &self.stream {
            stream.begin_records();
            let life = self.life_mut();
            let told = std::mem::take(&mut life.told_meanwhile);
            if life.staged.replace(Records::default()).is_some() {
                life.astray.extend(told);
            }
        }
    }

    pub fn end_records(&mut self) {
        let Some(stream) = &self.stream else { return };
        stream.end_records();
        self.life_mut().replace_records();
        tell(|| format!("  {} has its records replaced at {}", self.name, self.life().seq()));
        self.observe();
    }

    /// Publishes, and compares what the stream says with what it should say.
    pub fn publish(&mut self, serial: u64, publication: Publication, id: &str, cause: Option<(u64, u32)>) {
        let Some(stream) = self.stream.clone() else { return };
        let payload = format!("{{\"n\":{serial},\"pad\":\"{}\"}}", "x".repeat(publication.pad));
        let record = format!("{{\"n\":{serial}}}");
        let draft = Draft {
            flags: publication.flags,
            kind: KINDS[publication.kind].0,
            topic: publication.part,
            key: publication.key,
            record: if publication.has_record { record.as_bytes() } else { b"" },
            session_id: publication.session_id,
            payload: payload.as_bytes(),
            cause: cause.map(|(seq, ordinal)| Cause { stream: "inputs", epoch: "e", seq, ordinal }),
            id,
            ..Draft::default()
        };
        let topic = match publication.part {
            "" => self.name.into(),
            part => format!("{}:{part}", self.name).into(),
        };
        let limits = self.settings.limits;
        if self.life().is_short_of_topics(&limits) {
            stream.outline(&OPERATOR).unwrap(); // now, and not in the midst of it, it sees what is too old
            self.observe();
        }
        let is_running = stream.source() == Source::Running;
        let expected = self.life_mut().accept(serial, publication, (topic, &limits), (id, cause, is_running));
        assert_eq!(stream.publish(&draft, None), expected, "publication {serial}");
        tell(|| format!("  {} {expected:?} {} {publication:?}", self.name, self.life().seq()));
        self.observe();
    }

    /// Looks how far back the history reaches: which bound let an event go is not the clients' matter.
    pub fn observe(&mut self) {
        let Some(stream) = &self.stream else { return };
        let figures = stream.figures();
        let limits = self.settings.limits.history;
        assert!(figures.history_events <= limits.events && figures.history_bytes <= limits.bytes);
        let life = self.lives.last_mut().unwrap();
        assert_eq!(figures.seq, life.seq());
        let gone = life.delivered.len() - figures.history_events;
        let kept_from = life.delivered.get(gone).copied().unwrap_or(u64::MAX);
        life.give_back(&stream.topics(&OPERATOR).unwrap(), kept_from);
        let is_same = life.moments.last().is_some_and(|moment| {
            (moment.seq, moment.kept_from, moment.given_back) == (life.seq(), kept_from, life.given_back)
                && moment.records.ptr_eq(&life.records)
                && moment.topics.ptr_eq(&life.topics)
        });
        if !is_same {
            let (records, topics, given_back) = (life.records.clone(), life.topics.clone(), life.given_back);
            life.moments.push(Moment { seq: life.seq(), records, kept_from, topics, given_back });
        }
    }
}

impl Life {
    fn new(epoch: &str) -> Self {
        Self {
            epoch: epoch.to_owned(),
            entries: Vec::new(),
            moments: Vec::new(),
            delivered: Vec::new(),
            topics: Topics::default(),
            newcomer: None,
            given_back: 0,
            records: Records::default(),
            staged: None,
            told_meanwhile: BTreeSet::new(),
            astray: BTreeSet::new(),
            replaced: Vec::new(),
            unseen: BTreeSet::new(),
            shut_at: Vec::new(),
            ids: HashMap::new(),
            causes: BTreeSet::new(),
        }
    }

    pub fn seq(&self) -> u64 {
        self.entries.len() as u64
    }

    pub fn records(&self) -> &Records {
        &self.records
    }

    pub fn entry(&self, seq: u64) -> &Entry {
        &self.entries[seq as usize - 1]
    }

    /// The delivered events with numbers above `after`, up to `up_to`.
    pub fn delivered(&self, after: u64, up_to: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let (start, end) = (after.min(self.seq()) as usize, up_to.min(self.seq()) as usize);
        let numbered = (after + 1..).zip(&self.entries[start..end.max(start)]);
        numbered.filter(|(_, entry)| entry.is_delivered)
    }

    /// How the stream stood when it had this number.
    pub fn moments(&self, seq: u64) -> &[Moment] {
        let start = self.moments.partition_point(|moment| moment.seq < seq);
        let end = self.moments.partition_point(|moment| moment.seq <= seq);
        &self.moments[start..end]
    }

    /// Whether everything that these patterns missed behind `since` could be had at that moment.
    pub fn reaches_back(&self, moment: &Moment, patterns: &[String], since: u64) -> bool {
        let is_meant = |topic: &str| patterns.iter().any(|pattern| covers(pattern, topic));
        let between = |seq: u64| since < seq && seq <= moment.seq;
        since <= moment.seq
            && patterns.iter().all(|pattern| moment.floor(pattern) <= since)
            && (since..moment.seq).map(|before| (before + 1, self.entry(before + 1))).all(|(seq, entry)| {
                !is_meant(&entry.topic) || (entry.is_delivered && seq >= moment.kept_from) || entry.topic.is_empty()
            })
            && !self.replaced.iter().any(|(seq, topics)| between(*seq) && topics.iter().any(|topic| is_meant(topic)))
    }

    /// Whether records were replaced behind a number and up to another.
    pub fn has_replaced(&self, after: u64, up_to: u64) -> bool {
        self.replaced.iter().any(|(seq, _)| after < *seq && *seq <= up_to)
    }

    /// Whether a later event that is published by now may stand for this one.
    pub fn is_superseded(&self, seq: u64) -> bool {
        let old = self.entry(seq);
        let name = |entry: &Entry| (entry.topic.clone(), entry.publication.kind, entry.publication.key);
        old.is_replaceable()
            && self.delivered(seq, u64::MAX).any(|(_, entry)| entry.is_replaceable() && name(entry) == name(old))
    }

    fn accept(
        &mut self,
        serial: u64,
        publication: Publication,
        (topic, limits): (Arc<str>, &Limits),
        (id, cause, is_running): (&str, Option<(u64, u32)>, bool),
    ) -> Result<Accepted, Refused> {
        let is_repeated = cause.is_some_and(|cause| self.causes.contains(&cause));
        if let Some(seq) = self.ids.get(id).copied().or(is_repeated.then_some(0)) {
            if cause.is_some() && is_running && !publication.key.is_empty() {
                let flags = Flags(publication.flags.0 | Flags::RECORD_ONLY.0); // nothing is delivered, but its record is new
                self.append(serial, Publication { flags, ..publication }, topic, limits)?;
            }
            return Ok(Accepted { seq, repeated: true });
        }
        let seq = self.append(serial, publication, topic, limits)?;
        if !id.is_empty() {
            self.ids.insert(id.to_owned(), seq);
        }
        self.causes.extend(cause);
        Ok(Accepted { seq, repeated: false })
    }

    fn append(
        &mut self,
        serial: u64,
        publication: Publication,
        topic: Arc<str>,
        limits: &Limits,
    ) -> Result<u64, Refused> {
        if !self.topics.contains_key(&topic) {
            let kept_from = self.moments.last().map_or(0, |moment| moment.kept_from);
            if self.topics.keys().filter(|topic| self.is_kept(topic, kept_from)).count() >= limits.max_topics {
                return Err(Refused::TooManyTopics(limits.max_topics));
            }
        }
        let prev = match self.topics.get(&topic) {
            Some(known) => known.last,
            None => {
                self.newcomer = Some(topic.clone());
                self.topics.insert(topic.clone(), Known { last: 0, newest: 0, floor: 0 });
                0
            }
        };
        let key: Key = (topic.clone(), KINDS[publication.kind].1, publication.key);
        let records = self.staged.as_mut().unwrap_or(&mut self.records);
        let (has_key, is_deleted) = (!publication.key.is_empty(), publication.flags.has(Flags::DELETE));
        if has_key && !is_deleted && records.len() >= limits.max_records && !records.contains_key(&key) {
            return Err(Refused::TooManyRecords(limits.max_records));
        }
        if has_key && is_deleted {
            records.remove(&key);
        } else if has_key {
            records.insert(key.clone(), serial);
        }
        let is_delivered = !publication.flags.has(Flags::RECORD_ONLY);
        self.entries.push(Entry { serial, topic: topic.clone(), publication, prev, is_delivered });
        let seq = self.seq();
        let known = self.topics.get_mut(&topic).unwrap();
        known.newest = seq;
        if is_delivered {
            known.last = seq;
            if has_key {
                self.told_meanwhile.insert(topic.clone());
            }
            self.delivered.push(seq);
            self.unseen.remove(&key);
        } else {
            self.unseen.insert(key);
        }
        Ok(seq)
    }

    fn replace_records(&mut self) {
        let Some(staged) = self.staged.take() else { return };
        let of = |records: &Records, topic: &Arc<str>| -> Records {
            records.iter().filter(|(key, _)| key.0 == *topic).map(|(key, serial)| (key.clone(), *serial)).collect()
        };
        let topics: BTreeSet<Arc<str>> = self.records.keys().chain(staged.keys()).map(|key| key.0.clone()).collect();
        let differ = topics.into_iter().filter(|topic| of(&self.records, topic) != of(&staged, topic));
        let topics: BTreeSet<Arc<str>> = differ.chain(std::mem::take(&mut self.astray)).collect();
        self.records = staged;
        if !topics.is_empty() {
            let publication = Publication {
                part: "",
                kind: 0,
                key: "",
                flags: Flags::RECORD_ONLY,
                session_id: "",
                pad: 0,
                has_record: false,
            };
            self.entries.push(Entry { serial: 0, topic: "".into(), publication, prev: 0, is_delivered: false });
            let seq = self.seq();
            for topic in &topics {
                self.topics.get_mut(topic).unwrap().newest = seq;
            }
            self.replaced.push((seq, topics));
        }
    }

    /// Whether the stream has as many topics as it may have.
    fn is_short_of_topics(&self, limits: &Limits) -> bool {
        self.topics.len() >= limits.max_topics
    }

    /// Whether something is kept of a topic: it must not be given back.
    fn is_kept(&self, topic: &Arc<str>, kept_from: u64) -> bool {
        let has_record = |records: &Records| records.keys().any(|key| key.0 == *topic);
        let is_staged = |staged| has_record(staged) || self.told_meanwhile.contains(topic);
        !topic.contains(':')
            || self.topics[topic].last >= kept_from
            || has_record(&self.records)
            || self.staged.as_ref().is_some_and(is_staged)
            || self.astray.contains(topic)
    }

    /// Takes out what the stream no longer knows: nothing may be kept of it.
    fn give_back(&mut self, known: &[Arc<str>], kept_from: u64) {
        assert!(known.iter().all(|topic| self.topics.contains_key(topic)));
        let gone: Vec<Arc<str>> = self.topics.keys().filter(|topic| !known.contains(topic)).cloned().collect();
        for topic in gone {
            assert!(!self.is_kept(&topic, kept_from), "{topic} is given back");
            self.given_back = self.given_back.max(self.topics[&topic].newest);
            self.topics.remove(&topic);
        }
        if let Some(newcomer) = self.newcomer.take().filter(|topic| topic.contains(':')) {
            self.topics.get_mut(&newcomer).unwrap().floor = self.given_back; // room was made for it first
        }
    }
}

impl Moment {
    /// The number from which on everything is known of the topics of a pattern.
    fn floor(&self, pattern: &str) -> u64 {
        let is_exact = pattern.contains(':') && pattern.split(':').all(|part| part != "*");
        let known = self.topics.get(pattern).filter(|_| is_exact);
        known.map_or(self.given_back, |known| known.floor)
    }
}

impl Entry {
    pub fn is_replaceable(&self) -> bool {
        self.publication.flags.has(Flags::LATEST)
    }
}

/// Whether an event of this topic reaches a subscription to this pattern, by the words of the protocol.
pub fn covers(pattern: &str, topic: &str) -> bool {
    if !pattern.contains(':') || !topic.contains(':') || pattern == topic {
        return true;
    }
    let (mut asked, mut given) = (pattern.split(':'), topic.split(':'));
    loop {
        match (asked.next(), given.next()) {
            (None, None) => return true,
            (Some(part), Some(other)) if part == "*" || part == other => {}
            _ => return false,
        }
    }
}
