//! The newest record of every key: what a snapshot shows. Taking a snapshot clones a root, whatever the size.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use imbl::OrdMap;

use super::pattern::Pattern;
use crate::memory::Memory;

/// All records of a log, by topic.
#[derive(Clone, Debug, Default)]
pub struct Records {
    topics: OrdMap<Arc<str>, Arc<TopicRecords>>,
    count: usize,
    memory: Arc<Memory>,
}

/// The records of one topic, by collection and key.
#[derive(Clone, Debug, Default)]
struct TopicRecords {
    collections: BTreeMap<Arc<str>, Collection>,
}

/// The newest description of one thing.
#[derive(Clone, Debug)]
pub struct Record {
    pub kind: Arc<str>,
    pub unix_ns: i64,
    pub json: Bytes,
}

/// Told anew it is the same, whenever that was.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.json == other.json
    }
}

#[derive(Clone, Debug, Default)]
struct Collection {
    records: OrdMap<Box<str>, Record>,
    /// The records as JSON with commas between, made when the first snapshot needs them and shared by all that follow.
    joined: OnceLock<Bytes>,
}

impl Records {
    /// No records; what is made of them later counts in this memory.
    pub fn new(memory: &Arc<Memory>) -> Self {
        Self { memory: memory.clone(), ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn has_topic(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub fn contains(&self, topic: &str, collection: &str, key: &str) -> bool {
        let found = self.topics.get(topic).and_then(|records| records.collections.get(collection));
        found.is_some_and(|collection| collection.records.contains_key(key))
    }

    pub fn put(&mut self, topic: &Arc<str>, collection: &Arc<str>, key: &str, record: Record) {
        let records = self.topics.entry(topic.clone()).or_default();
        let collection = Arc::make_mut(records).collections.entry(collection.clone()).or_default();
        collection.joined = OnceLock::new();
        if collection.records.insert(key.into(), record).is_none() {
            self.count += 1;
        }
    }

    pub fn remove(&mut self, topic: &str, collection: &str, key: &str) {
        let Some(records) = self.topics.get_mut(topic) else { return };
        let records = Arc::make_mut(records);
        let Some(found) = records.collections.get_mut(collection) else { return };
        found.joined = OnceLock::new();
        if found.records.remove(key).is_some() {
            self.count -= 1;
        }
        if found.records.is_empty() {
            records.collections.remove(collection);
        }
        if records.collections.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// The topics whose records are not the same in both.
    pub fn topics_that_differ(&self, other: &Self) -> Vec<Arc<str>> {
        let differ = |topic: &&Arc<str>| match (self.topics.get(*topic), other.topics.get(*topic)) {
            (Some(ours), Some(theirs)) => !ours.is_like(theirs),
            _ => true,
        };
        let only_other = other.topics.keys().filter(|topic| !self.topics.contains_key(*topic));
        self.topics.keys().chain(only_other).filter(differ).cloned().collect()
    }

    /// The records that the patterns match, as they are now: later changes do not show in it.
    pub fn snapshot(&self, patterns: &[Pattern]) -> Snapshot {
        Snapshot { records: self.clone(), patterns: patterns.to_vec(), declared: Vec::new() }
    }
}

/// The records of a subscription at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    records: Records,
    patterns: Vec<Pattern>,
    /// Collections that are shown even when they are empty.
    declared: Vec<Arc<str>>,
}

impl Snapshot {
    /// The same, showing these collections even when they are empty.
    pub fn declaring(self, declared: Vec<Arc<str>>) -> Self {
        Self { declared, ..self }
    }

    /// The same moment for other patterns.
    pub fn of(&self, patterns: &[Pattern]) -> Self {
        Self { patterns: patterns.to_vec(), ..self.clone() }
    }

    /// Whether it is of the very same records, seen alike: equal ones would take a look at each.
    pub fn is(&self, other: &Self) -> bool {
        self.records.topics.ptr_eq(&other.records.topics)
            && self.patterns == other.patterns
            && self.declared == other.declared
    }

    /// Each collection with its records as JSON, commas between, in order of topic and key.
    pub fn collections(&self) -> Vec<(Arc<str>, Bytes)> {
        let mut merged: BTreeMap<Arc<str>, Vec<Bytes>> =
            self.declared.iter().map(|name| (name.clone(), Vec::new())).collect();
        for records in self.matching() {
            for (name, collection) in &records.collections {
                merged.entry(name.clone()).or_default().push(collection.joined(&self.records.memory).clone());
            }
        }
        merged.into_iter().map(|(name, parts)| (name, join(parts.iter()))).collect()
    }

    /// Each record, in order of topic, collection and key.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.matching().flat_map(|records| records.collections.values()).flat_map(|found| found.records.values())
    }

    fn matching(&self) -> Box<dyn Iterator<Item = &Arc<TopicRecords>> + '_> {
        let topics = &self.records.topics;
        if self.patterns.iter().any(|pattern| pattern.exact().is_none()) {
            let wanted = |topic: &str| self.patterns.iter().any(|pattern| pattern.matches(topic));
            return Box::new(topics.iter().filter(move |(topic, _)| wanted(topic)).map(|(_, records)| records));
        }
        // Every pattern names one topic: look these up, and the root, instead of walking all.
        let mut names: Vec<&str> = self.patterns.iter().map(|pattern| &**pattern.text()).collect();
        names.extend(self.patterns.first().map(Pattern::stream));
        names.sort_unstable();
        names.dedup();
        Box::new(names.into_iter().filter_map(|name| topics.get(name)))
    }
}

impl TopicRecords {
    fn is_like(&self, other: &Self) -> bool {
        self.collections.len() == other.collections.len()
            && self
                .collections
                .iter()
                .zip(&other.collections)
                .all(|((name, ours), (theirs_name, theirs))| name == theirs_name && ours.records == theirs.records)
    }
}

impl Collection {
    fn joined(&self, memory: &Arc<Memory>) -> &Bytes {
        self.joined.get_or_init(|| match self.records.len() {
            // Shared, and counted where it was made.
            1 => self.records.values().next().map(|only| only.json.clone()).unwrap_or_default(),
            _ => memory.hold(join(self.records.values().map(|record| &record.json))),
        })
    }
}

fn join<'a>(parts: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let parts: Vec<&Bytes> = parts.collect();
    if let [only] = parts[..] {
        return only.clone();
    }
    let mut joined = BytesMut::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        if !joined.is_empty() {
            joined.put_u8(b',');
        }
        joined.put_slice(part);
    }
    joined.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(records: &mut Records, topic: &str, key: &str, record: &'static str) {
        let record = Record { kind: "bar".into(), unix_ns: 0, json: Bytes::from_static(record.as_bytes()) };
        records.put(&topic.into(), &"bars".into(), key, record);
    }

    fn shown(records: &Records, pattern: &str) -> Vec<(String, String)> {
        let collections = records.snapshot(&[Pattern::parse(pattern).unwrap()]).collections();
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        collections.into_iter().map(|(name, joined)| (name.to_string(), text(joined))).collect()
    }

    #[test]
    fn a_snapshot_has_the_newest_record_of_each_matching_key() {
        let mut records = Records::default();
        put(&mut records, "bars:A:1", "current", "{\"a\":1}");
        put(&mut records, "bars:A:1", "current", "{\"a\":2}");
        put(&mut records, "bars:A:1", "closed", "{\"a\":0}");
        put(&mut records, "bars:B:1", "current", "{\"b\":1}");
        put(&mut records, "bars", "all", "{\"r\":1}");
        let bars = |text: &str| vec![("bars".to_owned(), text.to_owned())];
        assert_eq!(shown(&records, "bars:A:1"), bars("{\"r\":1},{\"a\":0},{\"a\":2}"));
        assert_eq!(shown(&records, "bars"), bars("{\"r\":1},{\"a\":0},{\"a\":2},{\"b\":1}"));
        assert_eq!(records.len(), 4);
    }

    #[test]
    fn removing_the_last_record_leaves_nothing() {
        let mut records = Records::default();
        put(&mut records, "bars:A:1", "current", "{}");
        records.remove("bars:A:1", "bars", "other");
        assert_eq!(records.len(), 1);
        records.remove("bars:A:1", "bars", "current");
        assert_eq!((records.len(), shown(&records, "bars")), (0, vec![]));
        assert!(records.topics.is_empty());
    }

    #[test]
    fn a_snapshot_does_not_see_later_changes() {
        let mut records = Records::default();
        put(&mut records, "bars:A:1", "current", "1");
        let snapshot = records.snapshot(&[Pattern::whole("bars")]);
        put(&mut records, "bars:A:1", "current", "2");
        assert_eq!(snapshot.collections(), [("bars".into(), Bytes::from_static(b"1"))]);
    }
}
