//! Which demand a broadcaster knows of: a first subscription is told at once, a last one only after a while.

use std::collections::BTreeMap;

use super::told::Told;
use crate::hub::pattern::Pattern;

/// The patterns that the broadcaster was told of, with the time at which their end is to be told.
#[derive(Debug, Default)]
pub struct Demand(BTreeMap<Pattern, Option<i64>>);

impl Demand {
    /// The number of a pattern's subscriptions went from or to zero; it is `now` this. What is to be told at once.
    pub fn changed(&mut self, pattern: Pattern, subscriptions: u64, linger_until: i64) -> Option<Told> {
        match self.0.get_mut(&pattern) {
            None if subscriptions == 0 => None,
            None => {
                self.0.insert(pattern.clone(), None);
                Some(Told::Demand { pattern, subscriptions })
            }
            Some(ends) => {
                *ends = if subscriptions == 0 { Some(ends.unwrap_or(linger_until)) } else { None };
                None
            }
        }
    }

    /// Patterns whose last subscription went long enough ago; they are forgotten.
    pub fn take_ended(&mut self, now: i64) -> Vec<Told> {
        let ended: Vec<Pattern> = self
            .0
            .iter()
            .filter(|(_, ends)| ends.is_some_and(|at| at <= now))
            .map(|(pattern, _)| pattern.clone())
            .collect();
        for pattern in &ended {
            self.0.remove(pattern);
        }
        ended.into_iter().map(|pattern| Told::Demand { pattern, subscriptions: 0 }).collect()
    }

    pub fn next_end(&self) -> Option<i64> {
        self.0.values().copied().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern() -> Pattern {
        Pattern::parse("bars:AAPL:1").unwrap()
    }

    #[test]
    fn an_end_is_told_after_the_linger_and_not_when_somebody_came_back() {
        let mut demand = Demand::default();
        assert!(matches!(demand.changed(pattern(), 2, 50), Some(Told::Demand { subscriptions: 2, .. })));
        assert!(demand.changed(pattern(), 0, 100).is_none());
        assert_eq!((demand.take_ended(99).len(), demand.next_end()), (0, Some(100)));
        assert!(demand.changed(pattern(), 1, 150).is_none(), "somebody came back: no news");
        assert_eq!((demand.take_ended(200).len(), demand.next_end()), (0, None));
        demand.changed(pattern(), 0, 300);
        demand.changed(pattern(), 0, 400);
        assert_eq!(demand.take_ended(300).len(), 1, "a repeated end does not put it off");
        assert!(demand.changed(pattern(), 1, 500).is_some());
    }

    #[test]
    fn a_subscription_that_came_and_went_unseen_is_no_news() {
        let mut demand = Demand::default();
        assert!(demand.changed(pattern(), 0, 100).is_none());
        assert_eq!(demand.next_end(), None);
    }
}
