//! The timers of one instance, in the order in which they are due.

use std::collections::{BTreeMap, BTreeSet};

/// The most timers of one instance: a leak of timers should be seen, not served.
pub const MAX_TIMERS: usize = 1024;

#[derive(Debug, Default)]
pub struct Timers {
    by_id: BTreeMap<u64, Timer>,
    by_due: BTreeSet<(i64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    due: i64,
    /// 0: once.
    interval: i64,
}

/// There are `MAX_TIMERS` already.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

impl Timers {
    /// Sets a timer, or sets it anew. Times are nanoseconds of the monotonic clock.
    pub fn set(&mut self, id: u64, due: i64, interval: i64) -> Result<(), TooMany> {
        self.clear(id);
        if self.by_id.len() >= MAX_TIMERS {
            return Err(TooMany);
        }
        self.insert(id, Timer { due, interval });
        Ok(())
    }

    pub fn clear(&mut self, id: u64) {
        if let Some(timer) = self.by_id.remove(&id) {
            self.by_due.remove(&(timer.due, id));
        }
    }

    /// The timer that is due first, if it is due by `now`. One that repeats is set again behind `now`: what was slept
    /// through is told once.
    pub fn take_due(&mut self, now: i64) -> Option<u64> {
        let (due, id) = *self.by_due.first()?;
        if due > now {
            return None;
        }
        let timer = self.by_id[&id];
        self.clear(id);
        if timer.interval > 0 {
            let missed = (now - due) / timer.interval;
            let next = due.saturating_add(timer.interval.saturating_mul(missed + 1));
            self.insert(id, Timer { due: next, ..timer });
        }
        Some(id)
    }

    pub fn next_due(&self) -> Option<i64> {
        self.by_due.first().map(|(due, _)| *due)
    }

    fn insert(&mut self, id: u64, timer: Timer) {
        self.by_due.insert((timer.due, id));
        self.by_id.insert(id, timer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(timers: &mut Timers, now: i64) -> Vec<u64> {
        std::iter::from_fn(|| timers.take_due(now)).collect()
    }

    #[test]
    fn timers_come_in_order_and_repeat() {
        let mut timers = Timers::default();
        timers.set(1, 10, 0).unwrap();
        timers.set(2, 5, 10).unwrap();
        assert!(due(&mut timers, 4).is_empty());
        assert_eq!(due(&mut timers, 10), [2, 1]);
        assert_eq!(timers.next_due(), Some(15));
        assert_eq!(due(&mut timers, 47), [2], "what was slept through is told once");
        assert_eq!(timers.next_due(), Some(55), "and the beat is kept");
    }

    #[test]
    fn setting_again_replaces() {
        let mut timers = Timers::default();
        timers.set(1, 10, 10).unwrap();
        timers.set(1, 20, 0).unwrap();
        assert!(due(&mut timers, 10).is_empty());
        timers.clear(1);
        timers.clear(2);
        assert_eq!((due(&mut timers, 99), timers.next_due()), (vec![], None));
    }

    #[test]
    fn their_number_is_bounded() {
        let mut timers = Timers::default();
        for id in 0..MAX_TIMERS as u64 {
            timers.set(id, 0, 0).unwrap();
        }
        assert_eq!(timers.set(u64::MAX, 0, 0), Err(TooMany));
        assert_eq!(timers.set(7, 1, 1), Ok(()), "setting a known one again is no new one");
    }

    #[test]
    fn extreme_intervals_do_not_overflow() {
        let mut timers = Timers::default();
        timers.set(1, 0, i64::MAX).unwrap();
        assert_eq!(due(&mut timers, i64::MAX - 1), [1]);
        assert_eq!(timers.next_due(), Some(i64::MAX));
    }
}
