//! The newest record of every key: what a snapshot shows. Taking a snapshot clones a root, whatever the size.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use equivalent::{Comparable, Equivalent};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::pattern::Pattern;

/// All records of a log, in one tree: most topics have one or two, and with trees of their own these would be mostly room.
#[derive(Clone, Debug, Default)]
pub struct Records(OrdMap<Address, Record>);

/// Where a record belongs. They are shown in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Address {
    topic: Arc<str>,
    collection: Arc<str>,
    key: Arc<str>,
}

/// An address that is looked for.
struct At<'a> {
    topic: &'a str,
    collection: &'a str,
    key: &'a str,
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

impl Comparable<Address> for At<'_> {
    fn compare(&self, address: &Address) -> Ordering {
        let theirs = (&*address.topic, &*address.collection, &*address.key);
        (self.topic, self.collection, self.key).cmp(&theirs)
    }
}

impl Equivalent<Address> for At<'_> {
    fn equivalent(&self, address: &Address) -> bool {
        self.compare(address).is_eq()
    }
}

impl Records {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has_topic(&self, topic: &str) -> bool {
        self.of(topic).next().is_some()
    }

    pub fn contains(&self, topic: &str, collection: &str, key: &str) -> bool {
        self.0.contains_key(&At { topic, collection, key })
    }

    pub fn put(&mut self, topic: &Arc<str>, collection: &Arc<str>, key: &str, record: Record) {
        match self.0.get_mut(&At { topic, collection, key }) {
            Some(known) => *known = record,
            None => {
                let address = Address { topic: topic.clone(), collection: collection.clone(), key: key.into() };
                self.0.insert(address, record);
            }
        }
    }

    pub fn remove(&mut self, topic: &str, collection: &str, key: &str) {
        self.0.remove(&At { topic, collection, key });
    }

    /// The topics whose records are not the same in both, in order.
    pub fn topics_that_differ(&self, other: &Self) -> Vec<Arc<str>> {
        let differ = self.0.diff(&other.0).map(|item| match item {
            DiffItem::Add(at, _) | DiffItem::Remove(at, _) | DiffItem::Update { new: (at, _), .. } => at.topic.clone(),
        });
        let mut topics: Vec<Arc<str>> = differ.collect();
        topics.dedup();
        topics
    }

    /// The records that the patterns match, as they are now: later changes do not show in it.
    pub fn snapshot(&self, patterns: &[Pattern]) -> Snapshot {
        Snapshot { records: self.clone(), patterns: patterns.to_vec(), declared: Vec::new() }
    }

    fn of<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = (&'a Address, &'a Record)> {
        let first = At { topic, collection: "", key: "" };
        self.0.range(first..).take_while(move |(address, _)| &*address.topic == topic)
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
        self.records.0.ptr_eq(&other.records.0) && self.patterns == other.patterns && self.declared == other.declared
    }

    /// Each collection with its records as JSON, commas between, in order of topic and key.
    pub fn collections(&self) -> Vec<(Arc<str>, Bytes)> {
        let mut merged: BTreeMap<&Arc<str>, Vec<&Bytes>> =
            self.declared.iter().map(|name| (name, Vec::new())).collect();
        for (address, record) in self.matching() {
            merged.entry(&address.collection).or_default().push(&record.json);
        }
        merged.into_iter().map(|(name, parts)| (name.clone(), join(&parts))).collect()
    }

    /// Each record, in order of topic, collection and key.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.matching().map(|(_, record)| record)
    }

    fn matching(&self) -> Box<dyn Iterator<Item = (&Address, &Record)> + '_> {
        if self.patterns.iter().any(|pattern| pattern.exact().is_none()) {
            let mut seen: Option<(&Arc<str>, bool)> = None; // the topic of the record before, mostly the same
            return Box::new(self.records.0.iter().filter(move |(address, _)| match seen {
                Some((topic, is_wanted)) if *topic == address.topic => is_wanted,
                _ => {
                    let is_wanted = self.patterns.iter().any(|pattern| pattern.matches(&address.topic));
                    seen = Some((&address.topic, is_wanted));
                    is_wanted
                }
            }));
        }
        // Every pattern names one topic: look these up, and the root, instead of walking all.
        let mut names: Vec<&str> = self.patterns.iter().map(|pattern| &**pattern.text()).collect();
        names.extend(self.patterns.first().map(Pattern::stream));
        names.sort_unstable();
        names.dedup();
        Box::new(names.into_iter().flat_map(|name| self.records.of(name)))
    }
}

fn join(parts: &[&Bytes]) -> Bytes {
    if let [only] = parts {
        return Bytes::clone(only);
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
    fn only_what_matches_is_shown() {
        let mut records = Records::default();
        for (topic, record) in [("bars:A:1", "1"), ("bars:A:10", "2"), ("bars:A:5", "3"), ("bars:B:1", "4")] {
            put(&mut records, topic, "closed", record);
            put(&mut records, topic, "current", record);
        }
        for (pattern, text) in [("bars:A:1", "1,1"), ("bars:*:1", "1,1,4,4"), ("bars:A:*", "1,1,2,2,3,3")] {
            assert_eq!(shown(&records, pattern), [("bars".to_owned(), text.to_owned())], "{pattern}");
        }
        assert!(records.has_topic("bars:A:1") && !records.has_topic("bars:A") && !records.has_topic("bars:A:2"));
    }

    #[test]
    fn topics_differ_by_what_was_added_changed_or_removed() {
        let told = |told: &[(&str, &str, &'static str)]| {
            let mut records = Records::default();
            told.iter().for_each(|(topic, key, record)| put(&mut records, topic, key, record));
            records
        };
        let before = told(&[("bars:A", "k", "1"), ("bars:B", "k", "1"), ("bars:C", "k", "1"), ("bars:C", "l", "1")]);
        let after = told(&[("bars:A", "k", "1"), ("bars:B", "k", "2"), ("bars:D", "k", "1"), ("bars:D", "l", "1")]);
        let differ = ["bars:B".into(), "bars:C".into(), "bars:D".into()];
        assert_eq!(before.topics_that_differ(&after), differ);
        assert_eq!(after.topics_that_differ(&before), differ);
        assert_eq!(before.topics_that_differ(&before.clone()), []);
    }

    #[test]
    fn removing_the_last_record_leaves_nothing() {
        let mut records = Records::default();
        put(&mut records, "bars:A:1", "current", "{}");
        records.remove("bars:A:1", "bars", "other");
        assert_eq!(records.len(), 1);
        records.remove("bars:A:1", "bars", "current");
        assert_eq!((records.len(), shown(&records, "bars")), (0, vec![]));
        assert!(records.is_empty() && !records.has_topic("bars:A:1"));
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
