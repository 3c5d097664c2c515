//! The pause that a receiver asked for.
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest pause that a receiver may ask for; a mistaken `Retry-After` of years must not silence a notifier.
pub const LONGEST: Duration = Duration::from_secs(3_600);

/// Until when the receiver asked to be left alone: on the monotonic clock, and for a successor, whose clock is another, by
/// the time of day.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pause {
    #[serde(skip)]
    until: Duration,
    until_ns: i64,
}

impl Pause {
    /// It asks to be left alone for so long; what it asked before holds, too.
    pub fn ask(&mut self, asked: Duration, now: Duration, now_ns: i64) {
        let asked = asked.min(LONGEST);
        if now + asked > self.until {
            self.until = now + asked;
            self.until_ns = now_ns.saturating_add(asked.as_nanos() as i64);
        }
    }

    /// When it is over, on the monotonic clock.
    pub fn until(&self) -> Duration {
        self.until
    }

    /// How much of it a successor has to wait.
    pub fn left(&self, now_ns: i64) -> Duration {
        u64::try_from(self.until_ns.saturating_sub(now_ns)).map_or(Duration::ZERO, Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_longest_that_was_asked_holds() {
        let mut pause = Pause::default();
        pause.ask(30 * SECOND, 100 * SECOND, 0);
        pause.ask(10 * SECOND, 105 * SECOND, 5_000_000_000);
        assert_eq!((pause.until(), pause.left(5_000_000_000)), (130 * SECOND, 25 * SECOND));
        assert_eq!(pause.left(30_000_000_000), Duration::ZERO);
        assert_eq!(pause.left(i64::MAX), Duration::ZERO);
    }

    #[test]
    fn no_clock_makes_it_longer_than_the_longest() {
        let mut asked = Pause::default();
        asked.ask(Duration::MAX, SECOND, i64::MAX);
        assert_eq!(asked.until(), SECOND + LONGEST);
        let mut successor = Pause::default();
        successor.ask(asked.left(i64::MIN), SECOND, i64::MIN);
        assert_eq!(successor.until(), SECOND + LONGEST);
    }
}
