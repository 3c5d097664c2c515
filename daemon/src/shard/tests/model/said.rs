//! What the daemon says, read strictly: a field that the protocol does not have is a mistake.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::truth::{Records, covers};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said<'a> {
    #[serde(rename = "type")]
    pub kind: &'a str,
    pub stream: &'a str,
    pub session_id: Option<&'a str>,
    #[serde(borrow)]
    pub data: &'a RawValue,
    pub timestamp: &'a str,
    pub seq: Option<u64>,
    pub prev: Option<u64>,
    pub topic: Option<&'a str>,
    #[serde(borrow, default)]
    topics: Vec<&'a str>,
    pub epoch: Option<&'a str>,
    #[serde(default)]
    pub resync: bool,
    pub id: Option<u64>,
}

/// The fields that `data` can have in what the daemon says itself.
#[derive(Debug, Default, Deserialize)]
pub struct Data<'a> {
    #[serde(default)]
    pub status: &'a str,
    #[serde(default)]
    pub code: &'a str,
    #[serde(default)]
    pub reason: &'a str,
    #[serde(default)]
    pub policy: &'a str,
    epoch: Option<&'a str>,
    topic: Option<&'a str>,
    #[serde(borrow, default)]
    topics: Vec<&'a str>,
    #[serde(default)]
    recovered: bool,
    #[serde(default)]
    pub replaced: u64,
    #[serde(default)]
    pub from: u64,
    #[serde(default)]
    pub to: u64,
}

impl<'a> Said<'a> {
    pub fn read(text: &'a [u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)))
    }

    /// The message without what does not matter to the model.
    pub fn short(&self) -> String {
        let (kind, stream, resync) = (self.kind, self.stream, if self.resync { " resync" } else { "" });
        let data = self.data.get();
        let data = &data[..data.find(",\"pad\"").unwrap_or(data.len())];
        format!("{kind}{resync} {stream} {:?} {:?} {:?} {data}", self.seq, self.prev, self.topic)
    }

    pub fn data(&self) -> Data<'a> {
        serde_json::from_str(self.data.get()).unwrap()
    }

    /// What a batch holds.
    pub fn messages(&self) -> Vec<Said<'a>> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Messages<'a> {
            #[serde(borrow)]
            messages: Vec<Said<'a>>,
        }
        serde_json::from_str::<Messages<'a>>(self.data.get()).unwrap().messages
    }

    /// The epoch of a reply.
    pub fn epoch(&self) -> Option<&'a str> {
        self.data().epoch
    }

    pub fn recovered(&self) -> bool {
        self.data().recovered
    }

    /// The topics that a snapshot is about, in order.
    pub fn topics(&self) -> Vec<String> {
        sorted(self.topic, &self.topics)
    }

    /// The topics that a reply is about, in order.
    pub fn replied_topics(&self) -> Vec<String> {
        let data = self.data();
        sorted(data.topic, &data.topics)
    }

    /// The serial number of an event's publication.
    pub fn serial(&self) -> u64 {
        serde_json::from_str::<Shown>(self.data.get()).unwrap().n
    }
}

/// The serial numbers of the records of a snapshot, by collection.
#[derive(Debug, PartialEq, Eq)]
pub struct FullUpdate(BTreeMap<String, Vec<u64>>);

#[derive(Deserialize)]
struct Shown {
    n: u64,
}

impl FullUpdate {
    pub fn read(update: &Said<'_>) -> Self {
        let collections: BTreeMap<String, Vec<Shown>> = serde_json::from_str(update.data.get()).unwrap();
        let serials = |records: Vec<Shown>| records.iter().map(|record| record.n).collect();
        Self(collections.into_iter().map(|(name, records)| (name, serials(records))).collect())
    }

    /// What a snapshot of these topics should show: `bars`, which is declared, also when it is empty.
    pub fn of(records: &Records, topics: &[String]) -> Self {
        let mut collections = BTreeMap::from([("bars".to_owned(), Vec::new())]);
        for ((topic, collection, _), serial) in records {
            if topics.iter().any(|pattern| covers(pattern, topic)) {
                collections.entry((*collection).to_owned()).or_default().push(*serial);
            }
        }
        Self(collections)
    }
}

fn sorted(topic: Option<&str>, topics: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = topic.into_iter().chain(topics.iter().copied()).map(str::to_owned).collect();
    all.sort();
    all
}
