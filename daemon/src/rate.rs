//! How fast somebody may do something: so many a second, some at once after a pause.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// What is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: u32,
}

/// What was used of a rate. It remembers when it would be full again, and so needs no timer.
#[derive(Clone, Debug)]
pub struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes so many at once, or says after which time there is room. More than a burst is room enough for when the
    /// bucket is full; what it lacks is then owed, so that in the long run nobody is faster than the rate.
    pub fn take(&mut self, rate: Rate, count: u32, now: Instant) -> Result<(), Duration> {
        self.full_at = self.full_at.max(now);
        let missing = (self.full_at + rate.time(count.min(rate.burst)) - now).saturating_sub(rate.time(rate.burst));
        if !missing.is_zero() {
            return Err(missing);
        }
        self.full_at += rate.time(count);
        Ok(())
    }

    /// Counts so many that were taken all the same.
    pub fn owe(&mut self, rate: Rate, count: u32) {
        self.full_at += rate.time(count);
    }

    /// Whether nothing is used up.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// Forgives what is owed beyond one burst: who never takes more than that at once owes it to a slower rate.
    pub fn forgive(&mut self, rate: Rate, now: Instant) {
        self.full_at = self.full_at.min(now + rate.time(rate.burst));
    }
}

impl Rate {
    /// How long it takes until there is room for so many.
    fn time(self, count: u32) -> Duration {
        Duration::from_secs(1) / self.per_second.get() * count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: NonZeroU32::new(10).unwrap(), burst: 20 };
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_may_be_taken_in_parts_or_at_once() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        assert_eq!(bucket.take(RATE, 15, start), Ok(()));
        assert_eq!(bucket.take(RATE, 6, start), Err(SECOND / 10));
        assert_eq!(bucket.take(RATE, 5, start), Ok(()));
        assert_eq!(bucket.take(RATE, 20, start), Err(2 * SECOND));
        assert_eq!(bucket.take(RATE, 20, start + 2 * SECOND), Ok(()));
    }

    #[test]
    fn more_than_a_burst_waits_for_a_full_bucket_and_is_paid_afterwards() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        assert_eq!(bucket.take(RATE, 100, start), Ok(()));
        assert_eq!(bucket.take(RATE, 1, start), Err(8 * SECOND + SECOND / 10));
        assert_eq!(bucket.take(RATE, 100, start + 9 * SECOND), Err(SECOND));
        assert_eq!(bucket.take(RATE, 100, start + 10 * SECOND), Ok(()));
    }

    #[test]
    fn the_largest_count_is_a_wait_and_no_overflow() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        let slowest = Rate { per_second: NonZeroU32::MIN, burst: u32::MAX };
        assert_eq!(bucket.take(slowest, u32::MAX, start), Ok(()));
        assert_eq!(bucket.take(slowest, u32::MAX, start), Err(u32::MAX * SECOND));
    }
}
