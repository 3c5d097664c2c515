//! The messages that wait: bounded, in order within each group, each with its next attempt.
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// When it may be tried, on the monotonic clock.
    #[serde(skip)]
    due: Duration,
    #[serde(skip)]
    in_flight: bool,
}

/// What waits, and who is next. No event costs more than looking up a few numbers, however many wait.
#[derive(Debug, Default)]
pub struct Queue {
    /// By number, which is as long as this queue lives: oldest first.
    entries: BTreeMap<u64, Entry>,
    /// The numbers of each group.
    groups: HashMap<String, BTreeSet<u64>>,
    /// Of the first of each group, unless in flight: those whose time had come at the last look, and the others with it.
    ready: BTreeSet<u64>,
    later: BTreeSet<(Duration, u64)>,
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
        Entry { message, group, attempts: 0, queued_ns, due: Duration::ZERO, in_flight: false }
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
    pub fn push(&mut self, entry: Entry, size: usize) -> Vec<Entry> {
        self.newest += 1;
        self.bytes += entry.weight();
        self.groups.entry(entry.group.clone()).or_default().insert(self.newest);
        self.entries.insert(self.newest, entry);
        self.line_up(self.newest);
        let mut dropped = Vec::new();
        while self.entries.len() > size || self.bytes > MAX_BYTES {
            let Some((&oldest, _)) = self.entries.iter().find(|(_, entry)| !entry.in_flight) else { break };
            dropped.extend(self.take(oldest));
        }
        dropped
    }

    /// The next attempt, which then is in flight: the oldest that is due, and no other of its group is before it.
    pub fn begin(&mut self, now: Duration) -> Option<Attempt> {
        while let Some(&(_, number)) = self.later.first().filter(|(due, _)| *due <= now) {
            self.later.pop_first();
            self.ready.insert(number);
        }
        let number = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&number)?;
        entry.in_flight = true;
        entry.attempts += 1;
        Some(Attempt { number, message: entry.message.clone() })
    }

    /// When the next attempt is due; `None` when nothing waits but for what is in flight.
    pub fn next_due(&self) -> Option<Duration> {
        let ready = self.ready.first().map(|_| Duration::ZERO);
        ready.or_else(|| self.later.first().map(|(due, _)| *due))
    }

    /// It is over with this one.
    pub fn take(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        self.bytes -= entry.weight();
        self.ready.remove(&number);
        self.later.remove(&(entry.due, number));
        let group = self.groups.get_mut(&entry.group)?;
        group.remove(&number);
        match group.first().copied() {
            Some(next) => self.line_up(next),
            None => _ = self.groups.remove(&entry.group),
        }
        Some(entry)
    }

    /// An attempt that did not begin or came back: it waits again.
    pub fn wait_until(&mut self, number: u64, due: Duration) {
        if let Some(entry) = self.entries.get_mut(&number) {
            (entry.in_flight, entry.due) = (false, due);
            self.line_up(number);
        }
    }

    /// One that is in flight or waits.
    pub fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// What waits or is in flight, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// How many wait or are in flight.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// One that may wait its turn, if it is the first of its group and does not do so already.
    fn line_up(&mut self, number: u64) {
        let Some(entry) = self.entries.get(&number) else { return };
        let first = self.groups.get(&entry.group).and_then(BTreeSet::first);
        if first == Some(&number) && !entry.in_flight && !self.ready.contains(&number) {
            self.later.insert((entry.due, number));
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::time::Instant;

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

    /// The rule by the letter: all that wait, gone through from the oldest one on.
    #[derive(Default)]
    struct List(Vec<(u64, usize, Option<u64>)>);

    impl List {
        /// The first of each group that is not in flight: its number and when it is due.
        fn heads(&self) -> impl Iterator<Item = (u64, u64)> {
            let mut seen = HashSet::new();
            let firsts = self.0.iter().filter(move |(_, group, _)| seen.insert(*group));
            firsts.filter_map(|(number, _, due)| Some((*number, (*due)?)))
        }

        /// The oldest one that is due; then it is in flight.
        fn begin(&mut self, now: u64) -> Option<u64> {
            let next = self.heads().find(|(_, due)| *due <= now)?.0;
            self.0.iter_mut().find(|(number, ..)| *number == next)?.2 = None;
            Some(next)
        }
    }

    /// What `rounds` cost at best that each add one, try one and are over with it, while so many groups wait.
    fn cost(waiting: usize, rounds: usize) -> Duration {
        let mut queue = Queue::default();
        (0..waiting).for_each(|id| _ = queue.push(entry(id, &id.to_string(), 0), usize::MAX));
        let round = |queue: &mut Queue, id: usize| {
            queue.push(entry(id, &id.to_string(), 0), usize::MAX);
            let attempt = queue.begin(NOW).unwrap();
            queue.next_due().unwrap();
            queue.take(attempt.number).unwrap();
        };
        let once = |part: usize| {
            let began = Instant::now();
            (0..rounds).for_each(|id| round(&mut queue, waiting + part * rounds + id));
            began.elapsed()
        };
        (0..10).map(once).min().unwrap()
    }

    #[test]
    fn a_long_queue_costs_an_event_little_more_than_a_short_one() {
        let (short, long) = (cost(10, 100), cost(5_000, 100));
        println!("100 messages cost {short:?} behind 10 others, {long:?} behind 5,000");
        assert!(long < short * 20, "{long:?} with 500 times as many, {short:?} with few");
    }

    proptest! {
        /// Whatever happens in whatever order: the queue does what a plain list would do.
        #[test]
        fn the_next_one_is_that_of_a_plain_list(steps in proptest::collection::vec((0_u8..6, 0_usize..4, 0_u64..4), 1..200)) {
            let (mut queue, mut list, mut flying, mut newest, mut now) = (Queue::default(), List::default(), Vec::new(), 0, 0);
            for (step, pick, wait) in steps {
                match step {
                    0 | 1 => {
                        newest += 1;
                        let dropped = queue.push(entry(newest as usize, &pick.to_string(), 0), 6).len();
                        list.0.push((newest, pick, Some(0)));
                        let oldest = list.0.iter().position(|(.., due)| due.is_some()).filter(|_| list.0.len() > 6);
                        prop_assert_eq!(dropped, oldest.map(|at| list.0.remove(at)).iter().count());
                    }
                    2 | 3 => {
                        now += wait;
                        let begun = queue.begin(Duration::from_secs(now)).map(|attempt| attempt.number);
                        prop_assert_eq!(begun, list.begin(now));
                        flying.extend(begun);
                    }
                    _ if flying.is_empty() => {}
                    4 => {
                        let number = flying.remove(pick % flying.len());
                        queue.wait_until(number, Duration::from_secs(now + wait));
                        list.0.iter_mut().find(|(one, ..)| *one == number).unwrap().2 = Some(now + wait);
                    }
                    _ => {
                        let number = flying.remove(pick % flying.len());
                        prop_assert!(queue.take(number).is_some());
                        list.0.retain(|(one, ..)| *one != number);
                    }
                }
                let due = list.heads().map(|(_, due)| due).min();
                let at_once = |due: Option<Duration>| due.map(|due| due.as_secs().max(now));
                prop_assert_eq!(at_once(queue.next_due()), at_once(due.map(Duration::from_secs)));
            }
        }

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
                prop_assert_eq!(queue.len() + over, pushed);
                prop_assert_eq!(queue.bytes, queue.iter().map(Entry::weight).sum::<usize>());
            }
        }
    }
}
