//! What a stream has accepted already, so that a repeated input or a retried publish does not make a second event.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::event::Cause;

/// The most publish ids a stream remembers at once; beyond, the oldest are forgotten before their time.
pub const MAX_IDS: usize = 100_000;
/// The inputs of one numbering whose events a stream knows. It must hold all that a restarted broadcaster is fed again,
/// and does so three times over; the rest is for events that follow late, from a worker.
pub const MAX_INPUTS: usize = 32_768;
/// The runs of ordinals, beside the usual one that begins with the first, that are known of one numbering: what an input
/// leads to beside that, and what follows from it by itself, leaves holes. It allows four for each input.
pub const MAX_RUNS: usize = 4 * MAX_INPUTS;
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
    /// The runs of all inputs that begin beyond the first event.
    runs: usize,
    /// The highest number that is no longer known.
    forgotten: u64,
}

/// The events of one input that were accepted: mostly all from the first on. The others are kept as runs, so that many
/// cost no more than one, whatever holes are between them.
#[derive(Debug, Default)]
struct Ordinals {
    /// All from 0 up to here, without it.
    below: u64,
    /// First → behind the last; no two of them touch. Wider than an ordinal, because the last one has one behind it, too.
    beyond: BTreeMap<u64, u64>,
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

    /// Beyond the bounds the oldest input goes, and if it is the only one, that one.
    fn accept(&mut self, cause: &Cause<'_>) {
        let ordinals = self.inputs.entry(cause.seq).or_default();
        self.runs -= ordinals.beyond.len();
        ordinals.add(cause.ordinal.into());
        self.runs += ordinals.beyond.len();
        while (self.inputs.len() > MAX_INPUTS || self.runs > MAX_RUNS)
            && let Some((oldest, gone)) = self.inputs.pop_first()
        {
            self.runs -= gone.beyond.len();
            self.forgotten = oldest;
        }
    }
}

impl Ordinals {
    fn has(&self, ordinal: u32) -> bool {
        let ordinal = u64::from(ordinal);
        let run = self.beyond.range(..=ordinal).next_back();
        ordinal < self.below || run.is_some_and(|(_, end)| ordinal < *end)
    }

    fn add(&mut self, ordinal: u64) {
        let before = self.beyond.range(..=ordinal).next_back().map(|(first, end)| (*first, *end));
        if ordinal < self.below || before.is_some_and(|(_, end)| ordinal < end) {
            return;
        }
        let end = self.beyond.remove(&(ordinal + 1)).unwrap_or(ordinal + 1);
        match before.filter(|(_, end)| *end == ordinal) {
            _ if ordinal == self.below => self.below = end,
            Some((first, _)) => _ = self.beyond.insert(first, end),
            None => _ = self.beyond.insert(ordinal, end),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

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
    fn what_follows_behind_a_hole_costs_no_more_than_one() {
        let mut repeats = Repeats::default();
        repeats.accept_cause(&cause(1, 0));
        for ordinal in (1 << 20..(1 << 20) + 100_000).chain([u32::MAX - 1, u32::MAX]) {
            repeats.accept_cause(&cause(1, ordinal));
        }
        assert_eq!(repeats.numberings[0].runs, 2);
        for (ordinal, seen) in [
            (0, Seen::Accepted),
            (1, Seen::New),
            ((1 << 20) - 1, Seen::New),
            (1 << 20, Seen::Accepted),
            ((1 << 20) + 99_999, Seen::Accepted),
            ((1 << 20) + 100_000, Seen::New),
            (u32::MAX - 2, Seen::New),
            (u32::MAX, Seen::Accepted),
        ] {
            assert_eq!(repeats.seen(&cause(1, ordinal)), seen, "{ordinal}");
        }
    }

    #[test]
    fn holes_are_bounded_and_beyond_that_the_oldest_input_is_known_to_be_forgotten() {
        let mut repeats = Repeats::default();
        repeats.accept_cause(&cause(1, 7));
        (1..MAX_RUNS as u32).for_each(|n| repeats.accept_cause(&cause(2, 2 * n)));
        assert_eq!((repeats.seen(&cause(1, 7)), repeats.numberings[0].runs), (Seen::Accepted, MAX_RUNS));
        repeats.accept_cause(&cause(3, 1));
        assert_eq!(repeats.seen(&cause(1, 7)), Seen::Forgotten);
        assert_eq!((repeats.seen(&cause(2, 2)), repeats.seen(&cause(2, 3))), (Seen::Accepted, Seen::New));
        repeats.accept_cause(&cause(4, 1));
        assert_eq!((repeats.seen(&cause(2, 2)), repeats.numberings[0].runs), (Seen::Forgotten, 2));
        assert_eq!(repeats.seen(&cause(3, 1)), Seen::Accepted);
    }

    #[test]
    fn one_input_with_more_holes_than_all_may_have_is_forgotten_and_nothing_of_it_is_taken_for_new() {
        let mut repeats = Repeats::default();
        (1..=MAX_RUNS as u32 + 1).for_each(|n| repeats.accept_cause(&cause(9, 2 * n)));
        assert_eq!((repeats.seen(&cause(9, 2)), repeats.seen(&cause(9, 3))), (Seen::Forgotten, Seen::Forgotten));
        assert_eq!((repeats.seen(&cause(10, 0)), repeats.numberings[0].runs), (Seen::New, 0));
    }

    proptest! {
        #[test]
        fn the_answers_are_those_of_a_plain_set(causes in proptest::collection::vec((1..4_u64, 0..24_u32), 0..200)) {
            let (mut repeats, mut plain) = (Repeats::default(), BTreeSet::new());
            for (seq, ordinal) in causes {
                repeats.accept_cause(&cause(seq, ordinal));
                plain.insert((seq, ordinal));
                for (seq, ordinal) in (1..4).flat_map(|seq| (0..25).map(move |ordinal| (seq, ordinal))) {
                    let seen = if plain.contains(&(seq, ordinal)) { Seen::Accepted } else { Seen::New };
                    prop_assert_eq!(repeats.seen(&cause(seq, ordinal)), seen, "{}, {}", seq, ordinal);
                }
            }
            let starts = |(seq, ordinal): &&(u64, u32)| *ordinal > 0 && !plain.contains(&(*seq, ordinal - 1));
            let runs = repeats.numberings.first().map_or(0, |numbering| numbering.runs);
            prop_assert_eq!(runs, plain.iter().filter(starts).count(), "as few as can be");
        }
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
