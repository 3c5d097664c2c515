//! What a stream has accepted already, so that a repeated input or a retried publish does not make a second event.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::event::Cause;

/// The most publish ids a stream remembers at once; beyond, the oldest are forgotten before their time.
pub const MAX_IDS: usize = 100_000;

/// The most streams that the causes of a stream's events may come from: a broadcaster listens to a handful.
pub const MAX_CAUSES: usize = 1000;

#[derive(Debug, Default)]
pub struct Repeats {
    causes: HashMap<Box<str>, (u64, u32)>,
    ids: HashMap<Box<str>, u64>,
    oldest_ids: VecDeque<(Instant, Box<str>)>,
}

impl Repeats {
    /// Whether an event of this cause, or of a later one of the same stream, was accepted before.
    pub fn is_repeated_cause(&self, cause: &Cause<'_>) -> bool {
        self.causes.get(cause.stream).is_some_and(|last| (cause.seq, cause.ordinal) <= *last)
    }

    /// Whether the last cause of this one's stream can be remembered.
    pub fn has_room_for(&self, cause: &Cause<'_>) -> bool {
        self.causes.len() < MAX_CAUSES || self.causes.contains_key(cause.stream)
    }

    pub fn accept_cause(&mut self, cause: &Cause<'_>) {
        match self.causes.get_mut(cause.stream) {
            Some(last) => *last = (cause.seq, cause.ordinal),
            None => _ = self.causes.insert(cause.stream.into(), (cause.seq, cause.ordinal)),
        }
    }

    /// The number that an event with this id got, if it was accepted within the time that ids are kept.
    pub fn seq_of(&self, id: &str) -> Option<u64> {
        self.ids.get(id).copied()
    }

    pub fn accept_id(&mut self, id: &str, seq: u64, now: Instant) {
        self.ids.insert(id.into(), seq);
        self.oldest_ids.push_back((now, id.into()));
        if self.oldest_ids.len() > MAX_IDS {
            self.forget_oldest();
        }
    }

    pub fn forget_ids_older_than(&mut self, keep: Duration, now: Instant) {
        while self.oldest_ids.front().is_some_and(|(accepted, _)| now.saturating_duration_since(*accepted) > keep) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.oldest_ids.pop_front() {
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_accepted_once_and_in_order() {
        let mut repeats = Repeats::default();
        let cause = |seq, ordinal| Cause { stream: "ticks", seq, ordinal };
        assert!(!repeats.is_repeated_cause(&cause(7, 0)));
        repeats.accept_cause(&cause(7, 1));
        assert!(repeats.is_repeated_cause(&cause(7, 0)) && repeats.is_repeated_cause(&cause(7, 1)));
        assert!(!repeats.is_repeated_cause(&cause(7, 2)) && !repeats.is_repeated_cause(&cause(8, 0)));
        assert!(!repeats.is_repeated_cause(&Cause { stream: "other", seq: 1, ordinal: 0 }));
    }

    #[test]
    fn streams_of_causes_are_bounded() {
        let mut repeats = Repeats::default();
        let names: Vec<String> = (0..=MAX_CAUSES).map(|number| format!("s{number}")).collect();
        let cause = |number: usize| Cause { stream: &names[number], seq: 1, ordinal: 0 };
        for number in 0..MAX_CAUSES {
            assert!(repeats.has_room_for(&cause(number)));
            repeats.accept_cause(&cause(number));
        }
        assert!(!repeats.has_room_for(&cause(MAX_CAUSES)) && repeats.has_room_for(&cause(7)));
    }

    #[test]
    fn ids_are_bounded_by_number_and_age() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        for number in 0..=MAX_IDS as u64 {
            repeats.accept_id(&number.to_string(), number, start);
        }
        assert_eq!((repeats.seq_of("0"), repeats.seq_of("1")), (None, Some(1)));
        repeats.forget_ids_older_than(Duration::from_secs(300), start + Duration::from_secs(300));
        assert_eq!(repeats.seq_of("1"), Some(1));
        repeats.forget_ids_older_than(Duration::from_secs(300), start + Duration::from_secs(301));
        assert_eq!((repeats.seq_of("1"), repeats.ids.len()), (None, 0));
    }
}
