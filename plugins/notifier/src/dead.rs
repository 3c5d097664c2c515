//! Messages that could not be delivered: kept for somebody to look at, to try again or to throw away.
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fields;
use crate::queue::Entry;

/// Bytes of all dead letters, which are saved with the queue.
const MAX_BYTES: usize = 1024 * 1024;

/// Characters of a reason: the first line of an answer.
const MAX_WHY: usize = 300;

/// Dead letters, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct DeadLetters(VecDeque<DeadLetter>);

#[derive(Debug, Serialize, Deserialize)]
struct DeadLetter {
    entry: Entry,
    why: String,
    unix_ns: i64,
}

impl DeadLetters {
    /// Keeps one. How many of the oldest it has no room for; they are dropped and their ids logged.
    pub fn bury(&mut self, entry: Entry, why: &str, unix_ns: i64, max: usize) -> usize {
        let id = &*entry.message.id;
        let why: String = why.chars().take(MAX_WHY).collect();
        tracing::error!(id, why, attempts = entry.attempts, "a message could not be delivered: it is a dead letter");
        self.0.push_back(DeadLetter { entry, why, unix_ns });
        let mut dropped = 0;
        while self.0.len() > max || self.0.len() > 1 && self.bytes() > MAX_BYTES {
            let Some(oldest) = self.0.pop_front() else { break };
            tracing::error!(id = &*oldest.entry.message.id, "no room for so many dead letters: the oldest is dropped");
            dropped += 1;
        }
        dropped
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What an operator is shown of each.
    pub fn list(&self) -> Vec<Value> {
        let shown = |DeadLetter { entry, why, unix_ns }: &DeadLetter| {
            let message = &entry.message;
            json!({
                "id": message.id, "kind": message.kind, "topic": message.topic, "subject": message.subject,
                "why": why, "attempts": entry.attempts, "time": fields::time(*unix_ns),
            })
        };
        self.0.iter().map(shown).collect()
    }

    /// Takes those with these ids out; without ids, all. Oldest first.
    pub fn take(&mut self, ids: Option<&[String]>) -> Vec<Entry> {
        let is_meant = |dead: &DeadLetter| ids.is_none_or(|ids| ids.contains(&dead.entry.message.id));
        let (taken, kept): (VecDeque<_>, _) = std::mem::take(&mut self.0).into_iter().partition(is_meant);
        self.0 = kept;
        taken.into_iter().map(|dead| dead.entry).collect()
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|dead| dead.entry.weight()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::tests::entry;

    fn ids(dead: &DeadLetters) -> Vec<String> {
        dead.list().iter().map(|shown| shown["id"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let mut dead = DeadLetters::default();
        assert_eq!([1, 2, 3].map(|id| dead.bury(entry(id, "a", 0), "x", 0, 2)), [0, 0, 1]);
        assert_eq!(ids(&dead), ["2", "3"]);
        assert_eq!(dead.bury(entry(4, "a", MAX_BYTES), &"é".repeat(999), 0, 9), 2, "by bytes, and the newest stays");
        assert_eq!(
            (ids(&dead), dead.list()[0]["why"].as_str().unwrap().chars().count()),
            (vec!["4".to_owned()], MAX_WHY)
        );
    }

    #[test]
    fn some_or_all_are_taken_out() {
        let mut dead = DeadLetters::default();
        (1..=3).for_each(|id| assert_eq!(dead.bury(entry(id, "a", 0), "x", 0, 9), 0));
        assert_eq!(dead.take(Some(&["2".to_owned(), "9".to_owned()])).len(), 1);
        assert_eq!(ids(&dead), ["1", "3"]);
        assert_eq!(dead.take(None).len(), 2);
        assert_eq!(dead.len(), 0);
    }
}
