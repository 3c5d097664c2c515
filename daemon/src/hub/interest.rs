//! How often each pattern is subscribed: whether a topic reaches anybody, and how many.

use std::collections::HashMap;
use std::sync::Arc;

use super::pattern::Pattern;

/// The most different patterns with `*` in them that a stream's subscribers may use together: every event is tried against
/// each while publishers wait for the stream, which is some microseconds for a hundred.
pub const MAX_PATTERNS: usize = 1000;

#[derive(Debug, Default)]
pub struct Interest {
    exact: HashMap<Arc<str>, u64>,
    others: Vec<(Pattern, u64)>,
    total: u64,
}

impl Interest {
    /// Whether these patterns, each once, may be added; those that somebody uses already always may.
    pub fn has_room_for(&self, patterns: &[Pattern]) -> bool {
        let new = patterns.iter().filter(|pattern| pattern.is_wild() && self.of(pattern) == 0).count();
        new == 0 || self.others.iter().filter(|(known, _)| known.is_wild()).count() + new <= MAX_PATTERNS
    }

    /// Counts one more subscription and returns how many the pattern has now.
    pub fn add(&mut self, pattern: &Pattern) -> u64 {
        self.total += 1;
        let count = match pattern.exact() {
            Some(topic) => self.exact.entry(topic.clone()).or_default(),
            None => match self.others.iter().position(|(known, _)| known == pattern) {
                Some(index) => &mut self.others[index].1,
                None => &mut self.others.push_mut((pattern.clone(), 0)).1,
            },
        };
        *count += 1;
        *count
    }

    /// Counts one subscription less and returns how many the pattern has left.
    pub fn remove(&mut self, pattern: &Pattern) -> u64 {
        let left = match pattern.exact() {
            Some(topic) => match self.exact.get_mut(topic) {
                None => return 0,
                Some(count) => {
                    *count -= 1;
                    let left = *count;
                    if left == 0 {
                        self.exact.remove(topic);
                    }
                    left
                }
            },
            None => match self.others.iter().position(|(known, _)| known == pattern) {
                None => return 0,
                Some(index) => {
                    self.others[index].1 -= 1;
                    let left = self.others[index].1;
                    if left == 0 {
                        self.others.swap_remove(index);
                    }
                    left
                }
            },
        };
        self.total -= 1;
        left
    }

    /// Subscriptions of exactly this pattern.
    pub fn of(&self, pattern: &Pattern) -> u64 {
        match pattern.exact() {
            Some(topic) => self.exact.get(topic).copied().unwrap_or(0),
            None => self.others.iter().find(|(known, _)| known == pattern).map_or(0, |(_, count)| *count),
        }
    }

    /// Subscriptions that an event of this topic reaches.
    pub fn reaching(&self, topic: &str) -> u64 {
        if !topic.contains(':') {
            return self.total;
        }
        let wild = self.others.iter().filter(|(pattern, _)| pattern.matches(topic)).map(|(_, count)| count);
        self.exact.get(topic).copied().unwrap_or(0) + wild.sum::<u64>()
    }

    pub fn reaches(&self, topic: &str) -> bool {
        self.total > 0
            && (!topic.contains(':')
                || self.exact.contains_key(topic)
                || self.others.iter().any(|(pattern, _)| pattern.matches(topic)))
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn patterns(&self) -> impl Iterator<Item = Pattern> {
        let exact = self.exact.keys().filter_map(|topic| Pattern::parse(topic).ok());
        exact.chain(self.others.iter().map(|(pattern, _)| pattern.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_patterns_with_a_star_are_bounded() {
        let pattern = |number: usize| Pattern::parse(&format!("bars:*:{number}")).unwrap();
        let mut interest = Interest::default();
        interest.add(&Pattern::whole("bars"));
        for number in 1..MAX_PATTERNS {
            interest.add(&pattern(number));
        }
        assert!(interest.has_room_for(&[pattern(0)]) && !interest.has_room_for(&[pattern(0), pattern(MAX_PATTERNS)]));
        interest.add(&pattern(0));
        assert!(!interest.has_room_for(&[pattern(MAX_PATTERNS)]));
        let others = [pattern(7), Pattern::whole("bars"), Pattern::parse("bars:A:1").unwrap()];
        assert!(interest.has_room_for(&others), "what is used already, topics, and the whole stream");
        interest.remove(&pattern(7));
        assert!(interest.has_room_for(&[pattern(MAX_PATTERNS)]));
    }

    #[test]
    fn counts_follow_subscriptions() {
        let pattern = |text| Pattern::parse(text).unwrap();
        let mut interest = Interest::default();
        assert!(!interest.reaches("bars") && !interest.reaches("bars:A:1"));
        assert_eq!((interest.add(&pattern("bars:A:1")), interest.add(&pattern("bars:A:1"))), (1, 2));
        assert_eq!((interest.add(&pattern("bars:*:1")), interest.add(&pattern("bars"))), (1, 1));
        assert_eq!(
            (interest.reaching("bars:A:1"), interest.reaching("bars:B:1"), interest.reaching("bars:B:5")),
            (4, 2, 1)
        );
        assert_eq!(interest.reaching("bars"), 4);
        assert_eq!((interest.remove(&pattern("bars")), interest.remove(&pattern("bars:A:1"))), (0, 1));
        assert!(!interest.reaches("bars:B:5") && interest.reaches("bars:A:1"));
        assert_eq!((interest.remove(&pattern("bars:Z:1")), interest.total()), (0, 2));
    }
}
