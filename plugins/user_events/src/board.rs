//! What each user is shown when a page opens: the newest event of every thing, within bounds.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::event::{Event, Way};

/// Things of one kind that are kept for a user: more chains or signals than a page lists.
pub const MAX_OF_A_KIND: usize = 100;

/// So many things that are done go at once when there are too many. A client that was away resumes exactly only if
/// nothing went meanwhile, so that things go seldom rather than one by one.
pub const DONE_AT_ONCE: usize = 25;

/// Things that are kept for all users together: as many as a stream has audiences.
pub const MAX_THINGS: usize = 100_000;

/// Bytes of saved state that everything kept may take: half of what the daemon saves for a broadcaster.
pub const MAX_BYTES: usize = 32 << 20;

#[derive(Default)]
pub struct Board {
    /// In the order in which they changed.
    things: BTreeMap<u64, Thing>,
    /// Where the things of a user and kind are, by their keys.
    shelves: HashMap<(String, String), HashMap<String, u64>>,
    bytes: usize,
    next: u64,
}

/// The newest event of a thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Thing {
    pub event: Event<'static>,
    /// Nothing more is expected of it.
    pub is_done: bool,
}

/// A thing that is no longer kept, and why it was that one.
#[derive(Debug)]
pub struct Gone {
    pub event: Event<'static>,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was done, and one of the oldest such of its user.
    Done,
    /// It was the oldest of its user, none of which is done.
    Oldest,
    /// It was the oldest of all, of whichever user.
    OldestOfAll,
}

impl Board {
    /// Keeps what is told of a thing. The answer is what had to make room.
    pub fn put(&mut self, thing: Thing) -> Vec<Gone> {
        let order = self.next;
        self.next += 1;
        self.bytes += thing.event.weight();
        let shelf = (thing.event.user.to_string(), thing.event.kind.to_string());
        let key = thing.event.key.to_string();
        let before = self.shelves.entry(shelf.clone()).or_default().insert(key, order);
        self.things.insert(order, thing);
        if let Some(old) = before.and_then(|before| self.things.remove(&before)) {
            self.bytes -= old.event.weight();
        }
        let mut gone = self.clear(&shelf);
        while self.things.len() > MAX_THINGS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.things.keys().next().copied() else { break };
            gone.extend(self.take(oldest, Why::OldestOfAll));
        }
        gone
    }

    /// What is to be shown again because something went: the record of what is for everybody stands in the place of what
    /// users have of the same kind and key themselves, and takes that with it; and the other way round. In the order in
    /// which it changed, which is the same whenever it is handled again.
    pub fn beneath(&self, gone: &Event<'_>) -> Vec<Event<'static>> {
        let of_all = (String::new(), gone.kind.to_string());
        let shelves: Vec<&HashMap<String, u64>> = match &*gone.user {
            "" => self.shelves.iter().filter(|((_, kind), _)| *kind == *gone.kind).map(|(_, shelf)| shelf).collect(),
            _ => self.shelves.get(&of_all).into_iter().collect(),
        };
        let mut orders: Vec<u64> = shelves.iter().filter_map(|shelf| shelf.get(&*gone.key).copied()).collect();
        orders.sort_unstable();
        let things = orders.iter().filter_map(|order| self.things.get(order));
        let again = |thing: &Thing| {
            let user = if gone.user.is_empty() { &thing.event.user } else { &gone.user };
            Event { way: Way::Again, user: Cow::Owned(user.to_string()), ..thing.event.clone() }
        };
        things.map(again).collect()
    }

    /// Everything that is kept, in the order in which it changed.
    pub fn things(&self) -> impl Iterator<Item = &Thing> {
        self.things.values()
    }

    /// Makes room among the things of a user and kind.
    fn clear(&mut self, shelf: &(String, String)) -> Vec<Gone> {
        let Some(orders) = self.shelves.get(shelf).filter(|orders| orders.len() > MAX_OF_A_KIND) else {
            return Vec::new();
        };
        let mut orders: Vec<u64> = orders.values().copied().collect();
        orders.sort_unstable();
        let is_done = |order: &u64| self.things.get(order).is_some_and(|thing| thing.is_done);
        let done: Vec<u64> = orders.iter().copied().filter(is_done).take(DONE_AT_ONCE).collect();
        let (going, why) = if done.is_empty() { (vec![orders[0]], Why::Oldest) } else { (done, Why::Done) };
        going.into_iter().filter_map(|order| self.take(order, why)).collect()
    }

    fn take(&mut self, order: u64, why: Why) -> Option<Gone> {
        let Thing { event, .. } = self.things.remove(&order)?;
        self.bytes -= event.weight();
        let shelf = (event.user.to_string(), event.kind.to_string());
        if let Some(orders) = self.shelves.get_mut(&shelf) {
            orders.remove(&*event.key);
            if orders.is_empty() {
                self.shelves.remove(&shelf);
            }
        }
        Some(Gone { event, why })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn thing(user: &str, key: &str, is_done: bool, payload: String) -> Thing {
        let event = Event {
            way: Way::Ordered,
            kind: "CHAIN_UPDATE".into(),
            user: Cow::Owned(user.to_owned()),
            key: Cow::Owned(key.to_owned()),
            session_id: "".into(),
            unix_ns: 0,
            payload: Cow::Owned(RawValue::from_string(payload).unwrap()),
        };
        Thing { event, is_done }
    }

    fn small(user: &str, key: usize, is_done: bool) -> Thing {
        thing(user, &key.to_string(), is_done, "{}".to_owned())
    }

    fn keys(gone: &[Gone], why: Why) -> Vec<&str> {
        assert!(gone.iter().all(|gone| gone.why == why), "{gone:?}");
        gone.iter().map(|gone| &*gone.event.key).collect()
    }

    #[test]
    fn the_oldest_that_are_done_go_first_and_only_those_of_the_same_user() {
        let mut board = Board::default();
        board.put(small("b", 0, true));
        for key in 0..MAX_OF_A_KIND {
            assert!(board.put(small("a", key, key % 2 == 1)).is_empty(), "{key}");
        }
        assert!(board.put(small("a", 1, true)).is_empty(), "that one is known, and new again");
        let gone = board.put(small("a", MAX_OF_A_KIND, false));
        let expected: Vec<String> = (0..DONE_AT_ONCE).map(|n| (2 * n + 3).to_string()).collect();
        assert_eq!(keys(&gone, Why::Done), expected);
        assert_eq!(board.things().count(), 1 + MAX_OF_A_KIND + 1 - DONE_AT_ONCE);
    }

    #[test]
    fn where_none_is_done_the_oldest_goes() {
        let mut board = Board::default();
        for key in 0..MAX_OF_A_KIND {
            assert!(board.put(small("a", key, false)).is_empty());
        }
        board.put(small("a", 0, false));
        assert_eq!(keys(&board.put(small("a", MAX_OF_A_KIND, false)), Why::Oldest), ["1"]);
    }

    #[test]
    fn all_users_together_are_bounded() {
        let mut board = Board::default();
        for user in 0..MAX_THINGS {
            assert!(board.put(small(&user.to_string(), 0, false)).is_empty());
        }
        let gone = board.put(small("one more", 0, false));
        assert_eq!((gone.len(), &*gone[0].event.user, gone[0].why), (1, "0", Why::OldestOfAll));
        assert_eq!(board.shelves.len(), MAX_THINGS, "nothing is left of who has nothing");
    }

    #[test]
    fn bytes_are_bounded_and_freed() {
        let mut board = Board::default();
        let large = || format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
        let most = MAX_BYTES / ((1 << 20) + 200);
        for round in 0..3 {
            for key in 0..most {
                assert!(board.put(thing("a", &key.to_string(), false, large())).is_empty(), "{round} {key}");
            }
        }
        assert_eq!(keys(&board.put(thing("a", "more", false, large())), Why::OldestOfAll), ["0"]);
        let weights: usize = board.things().map(|thing| thing.event.weight()).sum();
        assert_eq!(board.bytes, weights);
    }
}
