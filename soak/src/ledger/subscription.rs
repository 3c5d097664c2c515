//! One subscription of a client: what it may hear next, and what it remembers across connections.

use std::collections::{HashMap, VecDeque};

use crate::truth::{Pattern, Truth};

/// How many told ranges are remembered: a gap shows itself soon after what was replaced, or never.
const MAX_TOLD: usize = 64;

/// What a client can know about a stream beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Part of a relay, whose every event is known.
    Relay(Pattern),
    /// All of a broadcaster that publishes nothing that may be replaced: only `prev` says whether all has come.
    Plain,
    /// All of a broadcaster whose waiting events may be replaced; what was is told afterwards.
    Replaceable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Live,
    /// Nothing until a snapshot at this number.
    Waiting(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: String,
    pub seq: u64,
}

#[derive(Clone, Debug)]
pub struct Subscription {
    pub stream: String,
    pub want: Want,
    pub position: Option<Position>,
    pub stage: Stage,
    /// The last number of each topic since the position it began with, where only `prev` tells.
    topics: HashMap<String, u64>,
    /// Up to here everything was heard or shown, where only `prev` tells.
    floor: u64,
    told: VecDeque<(u64, u64)>,
}

/// What an event is to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The very next one.
    Next,
    /// Nothing: another topic, or long known.
    Other,
    /// It shows that this number has not come, and is not told yet.
    Beyond(u64),
    /// It is the next one, and shows that this number has not come.
    NextBeyond(u64),
}

/// An event as it came.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub seq: u64,
    pub prev: u64,
    pub topic: &'a str,
}

impl Subscription {
    pub fn new(stream: &str, want: Want) -> Self {
        Self {
            stream: stream.to_owned(),
            want,
            position: None,
            stage: Stage::Waiting(0),
            topics: HashMap::new(),
            floor: 0,
            told: VecDeque::new(),
        }
    }

    pub fn topic(&self) -> String {
        match self.want {
            Want::Relay(pattern) => pattern.topic(&self.stream),
            Want::Plain | Want::Replaceable => self.stream.clone(),
        }
    }

    pub fn known(&self) -> u64 {
        self.position.as_ref().map_or(0, |position| position.seq)
    }

    /// Goes on behind its position.
    pub fn recovered(&mut self) {
        self.stage = Stage::Live;
        self.go_on_from(self.known());
    }

    /// A snapshot holds everything up to its number.
    pub fn shown(&mut self, epoch: &str, seq: u64) {
        self.stage = Stage::Live;
        self.position = Some(Position { epoch: epoch.to_owned(), seq });
        self.go_on_from(seq);
    }

    /// What was dropped from `from` on is told, and a snapshot at `to` follows; the number that was lost untold.
    pub fn lagged(&mut self, from: u64, to: u64) -> Result<(), u64> {
        let next = self.next();
        if self.stage == Stage::Live && next.is_some_and(|next| next < from) {
            return Err(next.unwrap_or_default());
        }
        self.stage = Stage::Waiting(to);
        Ok(())
    }

    /// Newer events have replaced some in this range.
    pub fn replaced(&mut self, from: u64, to: u64) {
        self.told.push_back((from, to));
        if self.told.len() > MAX_TOLD {
            self.told.pop_front();
        }
    }

    /// The number that should have come when everything up to `seq` has.
    pub fn missing_at(&self, seq: u64) -> Option<u64> {
        self.next().filter(|next| *next <= seq && self.stage == Stage::Live)
    }

    pub fn hear(&mut self, event: &Event<'_>) -> Heard {
        if self.stage != Stage::Live || event.seq <= self.known() {
            return Heard::Other;
        }
        match self.want {
            Want::Relay(pattern) => self.hear_known(pattern, event.seq),
            Want::Plain | Want::Replaceable => self.hear_linked(event),
        }
    }

    fn hear_known(&mut self, pattern: Pattern, seq: u64) -> Heard {
        let is_meant = pattern.matches(&Truth::of(seq));
        match pattern.next_after(self.known()) {
            next if next < seq => Heard::Beyond(next),
            _ if is_meant => {
                self.advance(seq);
                Heard::Next
            }
            _ => {
                self.advance(seq);
                Heard::Other
            }
        }
    }

    fn hear_linked(&mut self, event: &Event<'_>) -> Heard {
        let last = self.topics.insert(event.topic.to_owned(), event.seq).unwrap_or_default().max(self.floor);
        self.advance(event.seq);
        let is_told = self.told.iter().any(|(from, to)| (*from..=*to).contains(&event.prev));
        if event.prev <= last || is_told { Heard::Next } else { Heard::NextBeyond(event.prev) }
    }

    /// The number that comes next, where that is known.
    fn next(&self) -> Option<u64> {
        match self.want {
            Want::Relay(pattern) => Some(pattern.next_after(self.known())),
            Want::Plain | Want::Replaceable => None,
        }
    }

    fn advance(&mut self, seq: u64) {
        if let Some(position) = &mut self.position {
            position.seq = seq;
        }
    }

    fn go_on_from(&mut self, seq: u64) {
        self.floor = seq;
        self.topics.clear();
        self.told.clear();
    }
}
