//! The topics that a log knows, with their numbers: one that nothing is kept of makes room for another.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use slab::Slab;

/// Where a topic stands as long as it is known: the way to it without its name.
pub type Place = usize;

/// The topics of one log.
pub struct Topics {
    /// It reaches every subscription: were it given back, none could go on from before. So it stays once it is known.
    root: Arc<str>,
    places: HashMap<Arc<str>, Place>,
    known: Slab<Topic>,
    /// Topics of which nothing may be kept any more, the longest quiet first; each is in it once at most.
    quiet: VecDeque<Place>,
    /// The highest number of all topics that were given back: no older position of theirs can be told from a gap.
    given_back: u64,
}

struct Topic {
    name: Arc<str>,
    /// The number of the newest event that was delivered.
    last: u64,
    /// The highest number that left the history, or was never in it.
    evicted: u64,
    is_quiet: bool,
}

impl Topics {
    pub fn new(root: Arc<str>) -> Self {
        Self { root, places: HashMap::new(), known: Slab::new(), quiet: VecDeque::new(), given_back: 0 }
    }

    pub fn count(&self) -> usize {
        self.known.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.places.keys()
    }

    pub fn find(&self, topic: &str) -> Option<Place> {
        self.places.get(topic).copied()
    }

    /// Gets to know a topic that may have been known before.
    pub fn insert(&mut self, topic: Arc<str>) -> Place {
        let evicted = self.given_back_of(&topic);
        let place = self.known.insert(Topic { name: topic.clone(), last: 0, evicted, is_quiet: true });
        self.places.insert(topic, place);
        self.quiet.push_back(place);
        place
    }

    pub fn name(&self, place: Place) -> &Arc<str> {
        &self.known[place].name
    }

    /// The number of the topic's newest event, 0 when it has none.
    pub fn last(&self, place: Place) -> u64 {
        self.known[place].last
    }

    /// An event of the topic is in the history and was delivered.
    pub fn told(&mut self, place: Place, seq: u64) {
        self.known[place].last = seq;
    }

    /// What had this number is not in the history: it left, or was never there.
    pub fn evicted(&mut self, place: Place, seq: u64) {
        let known = &mut self.known[place];
        known.evicted = known.evicted.max(seq);
        if known.last <= known.evicted && !known.is_quiet {
            known.is_quiet = true;
            self.quiet.push_back(place);
        }
    }

    /// What kept a topic may be gone for any of them: all are looked at again when room is needed.
    pub fn all_may_be_quiet(&mut self) {
        for (place, known) in &mut self.known {
            if !known.is_quiet {
                known.is_quiet = true;
                self.quiet.push_back(place);
            }
        }
    }

    /// Gives back topics until there is room for one more. `is_kept` says of a topic, and of the number of its newest
    /// event, whether something is kept of it. Each topic is looked at once for each time that it became quiet.
    pub fn make_room(&mut self, max: usize, is_kept: impl Fn(&Arc<str>, u64) -> bool) -> bool {
        while self.known.len() >= max {
            let Some(place) = self.quiet.pop_front() else { return false };
            let known = &mut self.known[place];
            known.is_quiet = false;
            if known.name != self.root && !is_kept(&known.name, known.last) {
                self.given_back = self.given_back.max(known.evicted).max(known.last);
                self.places.remove(&known.name);
                self.known.remove(place);
            }
        }
        true
    }

    /// Whether nothing of this topic has left the history behind `since`, as far as is known.
    pub fn is_whole_since(&self, topic: &str, since: u64) -> bool {
        self.find(topic).map_or_else(|| self.given_back_of(topic), |place| self.known[place].evicted) <= since
    }

    /// The same of every topic that is meant.
    pub fn are_whole_since(&self, since: u64, is_meant: impl Fn(&str) -> bool) -> bool {
        self.given_back <= since && self.known.iter().all(|(_, known)| known.evicted <= since || !is_meant(&known.name))
    }

    /// The highest number that a topic may have had before it was given back.
    fn given_back_of(&self, topic: &str) -> u64 {
        if *topic == *self.root { 0 } else { self.given_back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING_KEPT: fn(&Arc<str>, u64) -> bool = |_, _| false;

    fn topics(names: &[&str]) -> Topics {
        let mut topics = Topics::new("root".into());
        names.iter().for_each(|name| _ = topics.insert((*name).into()));
        topics
    }

    fn told(topics: &mut Topics, name: &str, seq: u64) {
        topics.told(topics.find(name).unwrap(), seq);
    }

    fn evicted(topics: &mut Topics, name: &str, seq: u64) {
        topics.evicted(topics.find(name).unwrap(), seq);
    }

    fn names(topics: &Topics) -> Vec<&str> {
        let mut names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn room_is_made_by_the_longest_quiet_that_nothing_is_kept_of() {
        let mut topics = topics(&["a", "b", "c"]);
        ["c", "b", "a"].iter().zip(1..).for_each(|(name, seq)| told(&mut topics, name, seq));
        assert!(!topics.make_room(3, |_, last| last > 0), "all have an event in the history");
        ["c", "b", "a"].iter().zip(1..).for_each(|(name, seq)| evicted(&mut topics, name, seq));
        assert!(topics.make_room(3, |topic, _| &**topic == "c"));
        assert_eq!(names(&topics), ["a", "c"], "b was quiet before a");
        assert!(topics.make_room(3, NOTHING_KEPT), "there is room already");
        assert_eq!(topics.count(), 2);
    }

    #[test]
    fn of_a_topic_that_was_given_back_nothing_older_is_whole() {
        let mut topics = topics(&["a", "b"]);
        told(&mut topics, "a", 4);
        told(&mut topics, "b", 7);
        evicted(&mut topics, "a", 4);
        assert!(topics.is_whole_since("new", 0) && topics.are_whole_since(0, |topic| topic == "b"));
        assert!(topics.make_room(2, |topic, _| &**topic == "b"));
        for topic in ["a", "new"] {
            assert!(topics.is_whole_since(topic, 4) && !topics.is_whole_since(topic, 3), "{topic}");
        }
        assert!(topics.is_whole_since("b", 0));
        assert!(topics.are_whole_since(4, |_| true) && !topics.are_whole_since(3, |_| true));
        let again = topics.insert("a".into());
        assert_eq!((topics.last(again), &**topics.name(again)), (0, "a"));
        assert!(topics.is_whole_since("a", 4) && !topics.is_whole_since("a", 3), "it is not new");
    }

    #[test]
    fn the_root_stays_and_was_never_given_back() {
        let mut topics = topics(&["a"]);
        told(&mut topics, "a", 1);
        evicted(&mut topics, "a", 1);
        assert!(topics.make_room(1, NOTHING_KEPT));
        assert!(topics.is_whole_since("root", 0) && !topics.is_whole_since("a", 0));
        topics.insert("root".into());
        assert!(topics.is_whole_since("root", 0));
        assert!(!topics.make_room(1, NOTHING_KEPT));
    }

    #[test]
    fn what_was_kept_is_looked_at_again_when_it_may_be_quiet() {
        let mut topics = topics(&["a"]);
        assert!(!topics.make_room(1, |_, _| true));
        assert!(!topics.make_room(1, NOTHING_KEPT), "nothing happened since");
        topics.all_may_be_quiet();
        topics.all_may_be_quiet();
        assert_eq!(topics.quiet.len(), 1);
        assert!(topics.make_room(1, NOTHING_KEPT));
    }
}
