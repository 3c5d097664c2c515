//! What a stream has accepted already, so that a repeated input or a retried publish does not make a second event.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::event::Cause;

/// The most publish ids a stream remembers at once; beyond, the oldest are forgotten before their time.
pub const MAX_IDS: usize = 100_000;
/// The inputs of one numbering whose events a stream knows. It must hold all that a restarted broadcaster is fed again,
/// and does so three times over; the rest is for events that follow late, from a worker.
pub const MAX_INPUTS: usize = 32_768;
/// The numberings whose inputs a stream knows: one for each stream that its broadcaster listens to, and those of earlier
/// lives that a saved state still speaks of. Beyond, the one that was used least lately is forgotten.
pub const MAX_NUMBERINGS: usize = 64;

#[derive(Debug, Default)]
pub struct Repeats {
    /// The one used last stands last.
    numberings: Vec<Numbering>,
    ids: HashMap<Box<str>, u64>,
    oldest_ids: VecDeque<(Instant, Box<str>)>,
}

/// What is known of an event's cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    New,
    Accepted,
    /// So many later inputs led to events that it is forgotten whether this one did.
    Forgotten,
}

/// The inputs of one life of one stream that led to events.
#[derive(Debug, Default)]
struct Numbering {
    stream: Box<str>,
    epoch: Box<str>,
    inputs: BTreeMap<u64, Ordinals>,
    /// The highest number that is no longer known.
    forgotten: u64,
}

/// The events of one input that were accepted: mostly all from the first on, and rarely one before its time.
#[derive(Debug, Default)]
struct Ordinals {
    below: u32,
    beyond: BTreeSet<u32>,
}

impl Repeats {
    /// Whether the event of exactly this cause was accepted before, whatever the order in which causes come.
    pub fn seen(&self, cause: &Cause<'_>) -> Seen {
        match self.numberings.iter().find(|numbering| numbering.is_of(cause)) {
            None => Seen::New,
            Some(numbering) => numbering.seen(cause),
        }
    }

    pub fn accept_cause(&mut self, cause: &Cause<'_>) {
        if !self.numberings.last().is_some_and(|last| last.is_of(cause)) {
            self.use_last(cause);
        }
        if let Some(numbering) = self.numberings.last_mut() {
            numbering.accept(cause);
        }
    }

    /// The newest input of a numbering that led to an event.
    pub fn newest_input(&self, stream: &str, epoch: &str) -> u64 {
        let cause = Cause { stream, epoch, ..Cause::default() };
        let numbering = self.numberings.iter().find(|numbering| numbering.is_of(&cause));
        numbering.and_then(|numbering| numbering.inputs.keys().next_back().copied()).unwrap_or(0)
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

    fn use_last(&mut self, cause: &Cause<'_>) {
        let known = self.numberings.iter().position(|numbering| numbering.is_of(cause));
        let numbering = match known {
            Some(at) => self.numberings.remove(at),
            None => Numbering { stream: cause.stream.into(), epoch: cause.epoch.into(), ..Numbering::default() },
        };
        if self.numberings.len() == MAX_NUMBERINGS {
            self.numberings.remove(0);
        }
        self.numberings.push(numbering);
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.oldest_ids.pop_front() {
            self.ids.remove(&id);
        }
    }
}

impl Numbering {
    fn is_of(&self, cause: &Cause<'_>) -> bool {
        *self.stream == *cause.stream && *self.epoch == *cause.epoch
    }

    fn seen(&self, cause: &Cause<'_>) -> Seen {
        match self.inputs.get(&cause.seq) {
            Some(ordinals) if ordinals.has(cause.ordinal) => Seen::Accepted,
            None if cause.seq <= self.forgotten => Seen::Forgotten,
            _ => Seen::New,
        }
    }

    fn accept(&mut self, cause: &Cause<'_>) {
        self.inputs.entry(cause.seq).or_default().add(cause.ordinal);
        if self.inputs.len() > MAX_INPUTS
            && let Some((oldest, _)) = self.inputs.pop_first()
        {
            self.forgotten = oldest;
        }
    }
}

impl Ordinals {
    fn has(&self, ordinal: u32) -> bool {
        ordinal < self.below || self.beyond.contains(&ordinal)
    }

    fn add(&mut self, ordinal: u32) {
        if ordinal >= self.below {
            self.beyond.insert(ordinal);
        }
        while self.beyond.remove(&self.below) {
            self.below += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(seq: u64, ordinal: u32) -> Cause<'static> {
        Cause { stream: "ticks", epoch: "e1", seq, ordinal }
    }

    #[test]
    fn exactly_what_was_accepted_is_a_repeat_in_any_order() {
        let mut repeats = Repeats::default();
        for (seq, ordinal) in [(9, 1), (5, 0), (9, 0), (7, 3), (5, 1)] {
            assert_eq!(repeats.seen(&cause(seq, ordinal)), Seen::New, "{seq}, {ordinal}");
            repeats.accept_cause(&cause(seq, ordinal));
            assert_eq!(repeats.seen(&cause(seq, ordinal)), Seen::Accepted, "{seq}, {ordinal}");
        }
        for (seq, ordinal) in [(9, 2), (8, 0), (7, 0), (7, 2), (7, 4), (5, 2), (1, 0)] {
            assert_eq!(repeats.seen(&cause(seq, ordinal)), Seen::New, "{seq}, {ordinal}");
        }
        assert_eq!((repeats.newest_input("ticks", "e1"), repeats.newest_input("ticks", "e2")), (9, 0));
    }

    #[test]
    fn numberings_are_told_apart_by_stream_and_epoch() {
        let mut repeats = Repeats::default();
        repeats.accept_cause(&cause(7, 0));
        for other in [Cause { stream: "other", ..cause(7, 0) }, Cause { epoch: "e2", ..cause(7, 0) }] {
            assert_eq!(repeats.seen(&other), Seen::New);
            repeats.accept_cause(&other);
            assert_eq!((repeats.seen(&other), repeats.seen(&cause(7, 0))), (Seen::Accepted, Seen::Accepted));
        }
    }

    #[test]
    fn beyond_the_bound_the_oldest_input_is_known_to_be_forgotten() {
        let mut repeats = Repeats::default();
        for seq in 1..=MAX_INPUTS as u64 {
            repeats.accept_cause(&cause(2 * seq, 0));
        }
        assert_eq!((repeats.seen(&cause(2, 0)), repeats.seen(&cause(1, 0))), (Seen::Accepted, Seen::New));
        repeats.accept_cause(&cause(2 * MAX_INPUTS as u64 + 2, 0));
        assert_eq!((repeats.seen(&cause(2, 0)), repeats.seen(&cause(1, 0))), (Seen::Forgotten, Seen::Forgotten));
        assert_eq!((repeats.seen(&cause(3, 0)), repeats.seen(&cause(4, 0))), (Seen::New, Seen::Accepted));
    }

    #[test]
    fn beyond_the_bound_the_numbering_used_least_lately_is_forgotten() {
        let mut repeats = Repeats::default();
        let epochs: Vec<String> = (0..=MAX_NUMBERINGS).map(|n| n.to_string()).collect();
        let of = |n: usize| Cause { epoch: &epochs[n], ..cause(1, 0) };
        (0..MAX_NUMBERINGS).for_each(|n| repeats.accept_cause(&of(n)));
        repeats.accept_cause(&Cause { ordinal: 1, ..of(0) });
        repeats.accept_cause(&of(MAX_NUMBERINGS));
        assert_eq!((repeats.seen(&of(0)), repeats.seen(&of(1))), (Seen::Accepted, Seen::New));
    }

    #[test]
    fn an_input_with_many_events_costs_no_more_than_one() {
        let mut ordinals = Ordinals::default();
        for ordinal in [2, 0, 1, 3, 5] {
            ordinals.add(ordinal);
        }
        assert_eq!((ordinals.below, ordinals.beyond.len()), (4, 1));
        assert!(ordinals.has(3) && !ordinals.has(4) && ordinals.has(5) && !ordinals.has(6));
        ordinals.add(4);
        ordinals.add(4);
        assert_eq!((ordinals.below, ordinals.beyond.len()), (6, 0));
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
