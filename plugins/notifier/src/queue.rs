//! The messages that wait: bounded, in order within each group, each with its next attempt.
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::carrier::Message;

/// Bytes of all that wait: they are saved whole, which should take milliseconds.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What one message takes beside its texts, about.
const OVERHEAD: usize = 512;

/// One message on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// What is to be delivered.
    pub message: Message,
    /// Messages of one group keep their order.
    pub group: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When its event was heard, nanoseconds since 1970.
    pub queued_ns: i64,
    /// Which it is, as long as this queue lives.
    #[serde(skip)]
    number: u64,
    /// When it may be tried, on the monotonic clock.
    #[serde(skip)]
    due: Duration,
    #[serde(skip)]
    in_flight: bool,
}

/// What waits, oldest first.
#[derive(Debug, Default)]
pub struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    newest: u64,
}

/// An attempt that may begin.
#[derive(Debug)]
pub struct Attempt {
    /// Which entry.
    pub number: u64,
    /// What is to be delivered.
    pub message: Message,
}

impl Entry {
    /// One that may be tried at once.
    pub fn new(message: Message, group: String, queued_ns: i64) -> Self {
        Entry { message, group, attempts: 0, queued_ns, number: 0, due: Duration::ZERO, in_flight: false }
    }

    /// Bytes that it takes, about.
    pub fn weight(&self) -> usize {
        let Message { id, subject, body, fields, payload, topic, .. } = &self.message;
        let fields: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        OVERHEAD + id.len() + subject.len() + body.len() + topic.len() + payload.get().len() + fields + self.group.len()
    }
}

impl Queue {
    /// Adds one at the end. What it answers has to make room: the oldest that are not being delivered.
    pub fn push(&mut self, mut entry: Entry, size: usize) -> Vec<Entry> {
        self.newest += 1;
        entry.number = self.newest;
        self.bytes += entry.weight();
        self.entries.push_back(entry);
        let mut dropped = Vec::new();
        while self.entries.len() > size || self.bytes > MAX_BYTES {
            let Some(oldest) = self.entries.iter().position(|entry| !entry.in_flight) else { break };
            dropped.extend(self.take_at(oldest));
        }
        dropped
    }

    /// The next attempt, which then is in flight: the oldest that is due, and no other of its group is before it.
    pub fn begin(&mut self, now: Duration) -> Option<Attempt> {
        let at = self.heads().find(|(_, entry)| !entry.in_flight && entry.due <= now)?.0;
        let entry = &mut self.entries[at];
        entry.in_flight = true;
        entry.attempts += 1;
        Some(Attempt { number: entry.number, message: entry.message.clone() })
    }

    /// When the next attempt is due; `None` when nothing waits but for what is in flight.
    pub fn next_due(&self) -> Option<Duration> {
        self.heads().filter(|(_, entry)| !entry.in_flight).map(|(_, entry)| entry.due).min()
    }

    /// It is over with this one.
    pub fn take(&mut self, number: u64) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.number == number)?;
        self.take_at(at)
    }

    /// An attempt that did not begin or came back: it waits again.
    pub fn wait_until(&mut self, number: u64, due: Duration) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.number == number) {
            (entry.in_flight, entry.due) = (false, due);
        }
    }

    /// One that is in flight or waits.
    pub fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.number == number)
    }

    /// What waits or is in flight, oldest first.
    pub fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    fn take_at(&mut self, at: usize) -> Option<Entry> {
        let entry = self.entries.remove(at)?;
        self.bytes -= entry.weight();
        Some(entry)
    }

    /// The first of each group, oldest first.
    fn heads(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let mut seen = HashSet::new();
        self.entries.iter().enumerate().filter(move |(_, entry)| seen.insert(entry.group.as_str()))
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    pub fn entry(id: usize, group: &str, bytes: usize) -> Entry {
        let payload = RawValue::from_string(format!("\"{}\"", "x".repeat(bytes))).unwrap();
        let (kind, stream, topic) = ("a".to_owned(), "s".to_owned(), "s".to_owned());
        let (subject, body, fields) = (String::new(), String::new(), BTreeMap::new());
        let id = id.to_string();
        let message = Message { id, kind, stream, topic, unix_ns: 0, subject, body, suppressed: 0, fields, payload };
        Entry::new(message, group.to_owned(), 0)
    }

    const NOW: Duration = Duration::from_secs(10);

    fn begun(queue: &mut Queue) -> Option<String> {
        queue.begin(NOW).map(|attempt| attempt.message.id)
    }

    #[test]
    fn a_group_keeps_its_order_and_holds_up_no_other() {
        let mut queue = Queue::default();
        for (id, group) in [(1, "a"), (2, "a"), (3, "b")] {
            assert!(queue.push(entry(id, group, 0), 10).is_empty());
        }
        assert_eq!(
            [begun(&mut queue), begun(&mut queue), begun(&mut queue)],
            [Some("1".into()), Some("3".into()), None]
        );
        assert_eq!(queue.next_due(), None, "only attempts that are in flight are waited for");
        queue.wait_until(1, NOW + Duration::from_secs(1));
        assert_eq!(begun(&mut queue), None, "2 waits for 1");
        assert_eq!(queue.next_due(), Some(NOW + Duration::from_secs(1)));
        assert!(queue.take(1).is_some_and(|entry| entry.attempts == 1));
        assert_eq!(begun(&mut queue), Some("2".into()));
    }

    #[test]
    fn the_oldest_makes_room_unless_it_is_in_flight() {
        let mut queue = Queue::default();
        queue.push(entry(1, "a", 0), 2);
        queue.begin(NOW).unwrap();
        assert!(queue.push(entry(2, "b", 0), 2).is_empty());
        let dropped = queue.push(entry(3, "c", 0), 2);
        assert_eq!(dropped.iter().map(|entry| &*entry.message.id).collect::<Vec<_>>(), ["2"]);
    }

    #[test]
    fn bytes_are_bounded() {
        let mut queue = Queue::default();
        let one = MAX_BYTES / 4 - entry(1, "a", 0).weight();
        for id in 1..=4 {
            assert!(queue.push(entry(id, "a", one), 10).is_empty());
        }
        assert_eq!(queue.bytes, MAX_BYTES);
        assert_eq!(queue.push(entry(5, "a", 0), 10).len(), 1);
    }

    proptest! {
        /// Whatever happens in whatever order: attempts of a group never overlap or overtake, nothing disappears.
        #[test]
        fn order_within_groups_holds(steps in proptest::collection::vec((0_u8..4, 0_usize..3), 1..200)) {
            let (mut queue, mut flying, mut pushed, mut over) = (Queue::default(), Vec::new(), 0, 0);
            let mut last = [0; 3];
            let name = |group: usize| ["a", "b", "c"][group];
            for (step, pick) in steps {
                match step {
                    0 => {
                        pushed += 1;
                        queue.push(entry(pushed, name(pick), 0), usize::MAX);
                    }
                    1 => {
                        if let Some(attempt) = queue.begin(NOW) {
                            let entry = queue.get(attempt.number).unwrap();
                            let group = (0..3).find(|group| name(*group) == entry.group).unwrap();
                            let id: usize = entry.message.id.parse().unwrap();
                            prop_assert!(id >= last[group], "{} after {}", id, last[group]);
                            prop_assert!(!flying.iter().any(|(_, flying)| *flying == group));
                            last[group] = id;
                            flying.push((attempt.number, group));
                        }
                    }
                    _ if flying.is_empty() => {}
                    2 => {
                        let (number, _) = flying.remove(pick % flying.len());
                        queue.wait_until(number, NOW);
                    }
                    _ => {
                        let (number, _) = flying.remove(pick % flying.len());
                        prop_assert!(queue.take(number).is_some());
                        over += 1;
                    }
                }
                prop_assert_eq!(queue.entries().len() + over, pushed);
                prop_assert_eq!(queue.bytes, queue.entries().iter().map(Entry::weight).sum::<usize>());
            }
        }
    }
}
