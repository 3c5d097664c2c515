//! When events go out that may be gathered: never sooner after the last delivery than is asked for.

use std::time::{Duration, Instant};

use crate::hub::settings::Flush;

/// With `Flush::Auto` the shard rests this many times as long as its last delivery took, so that deliveries take a quarter
/// of its time at most, as long as the bound below allows that.
const REST: u32 = 3;
/// And no longer than this: on average, an event waits for half of it.
const MAX_REST: Duration = Duration::from_millis(6);

#[derive(Debug, Default)]
pub struct Cadence {
    /// When gathered events last went out, and how long that took.
    last: Option<(Instant, Duration)>,
}

impl Cadence {
    /// When what comes now is due; `None` is at once.
    pub fn due(&self, flush: Flush, now: Instant) -> Option<Instant> {
        let (began, took) = self.last?;
        let due = match flush {
            Flush::Every(pause) => began + pause,
            Flush::Auto => began + took + (took * REST).min(MAX_REST),
        };
        Some(due).filter(|due| *due > now)
    }

    pub fn delivered(&mut self, began: Instant, took: Duration) {
        self.last = Some((began, took));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn after_a_pause_an_event_goes_at_once_and_within_it_at_its_end() {
        let (mut cadence, begin) = (Cadence::default(), Instant::now());
        let every = Flush::Every(10 * MILLI);
        assert_eq!(cadence.due(every, begin), None, "nothing has gone yet");
        cadence.delivered(begin, MILLI);
        assert_eq!(cadence.due(every, begin + MILLI), Some(begin + 10 * MILLI));
        assert_eq!(cadence.due(every, begin + 10 * MILLI), None);
        assert_eq!(cadence.due(Flush::Every(Duration::ZERO), begin), None);
    }

    #[test]
    fn by_itself_it_rests_as_the_work_demands_and_no_longer_than_its_bound() {
        let (mut cadence, begin) = (Cadence::default(), Instant::now());
        cadence.delivered(begin, 2 * MILLI);
        assert_eq!(cadence.due(Flush::Auto, begin + 2 * MILLI), Some(begin + 8 * MILLI));
        cadence.delivered(begin, MILLI / 1000);
        assert_eq!(cadence.due(Flush::Auto, begin + MILLI), None, "a small delivery holds nothing up");
        cadence.delivered(begin, 1000 * MILLI);
        assert_eq!(cadence.due(Flush::Auto, begin), Some(begin + 1000 * MILLI + MAX_REST));
    }
}
