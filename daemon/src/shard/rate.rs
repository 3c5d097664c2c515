//! How fast a client may give commands: so many a second, some at once, refused beyond, and closed if it does not care.

use std::time::{Duration, Instant};

use crate::rate::{Bucket, Rate};

/// How many bursts of refused commands a client may have before it is closed. They are forgotten at the rate of its
/// commands, so that a client of less than twice its rate is refused for ever, and a much faster one goes soon.
const PATIENCE: u32 = 10;

/// What one client has used of its rate.
#[derive(Debug)]
pub struct Pace {
    commands: Bucket,
    refusals: Bucket,
}

/// Why a command is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// There will be room for one command after this time.
    Later(Duration),
    /// The client goes on although it has been refused all the time.
    Abuse,
}

impl Pace {
    /// A client that may give a whole burst of commands at once.
    pub fn new(now: Instant) -> Self {
        Self { commands: Bucket::full(now), refusals: Bucket::full(now) }
    }

    /// Counts one command, or one refusal if it came too early.
    pub fn admit(&mut self, rate: Rate, now: Instant) -> Result<(), Excess> {
        let Err(wait) = take_one(&mut self.commands, rate, now) else { return Ok(()) };
        let patience = Rate { burst: rate.burst.saturating_mul(PATIENCE), ..rate };
        match take_one(&mut self.refusals, patience, now) {
            Ok(()) => Err(Excess::Later(wait)),
            Err(_) => Err(Excess::Abuse),
        }
    }
}

/// The rate may have been a slower one a moment ago, which nobody has to serve out.
fn take_one(bucket: &mut Bucket, rate: Rate, now: Instant) -> Result<(), Duration> {
    bucket.forgive(rate, now);
    bucket.take(rate, 1, now)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const RATE: Rate = Rate { per_second: NonZeroU32::new(50).unwrap(), burst: 100 };
    const EACH: Duration = Duration::from_millis(20);

    /// How many commands are carried out at this moment; one more is refused.
    fn admitted(pace: &mut Pace, rate: Rate, now: Instant) -> usize {
        (0..100_000).take_while(|_| pace.admit(rate, now) == Ok(())).count()
    }

    #[test]
    fn a_burst_passes_at_once_and_one_more_is_told_when() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(admitted(&mut pace, RATE, start), 100);
        assert_eq!(pace.admit(RATE, start), Err(Excess::Later(EACH)));
        let early = start + EACH - Duration::from_nanos(1);
        assert_eq!(pace.admit(RATE, early), Err(Excess::Later(Duration::from_nanos(1))));
        assert_eq!(admitted(&mut pace, RATE, start + EACH), 1, "who waits as told is heard");
        assert_eq!(admitted(&mut pace, RATE, start + 11 * EACH), 10);
        assert_eq!(
            admitted(&mut pace, RATE, start + Duration::from_secs(3600)),
            100,
            "no pause saves more than a burst"
        );
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_refused() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let rate = Rate { burst: 1, ..RATE };
        assert!((0..10_000).all(|command| pace.admit(rate, start + command * EACH).is_ok()));
    }

    #[test]
    fn who_does_not_care_is_closed_after_ten_bursts_of_refusals() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!((0..100).all(|_| pace.admit(RATE, start).is_ok()));
        assert!((0..1000).all(|_| pace.admit(RATE, start) == Err(Excess::Later(EACH))));
        assert_eq!(pace.admit(RATE, start), Err(Excess::Abuse));
    }

    #[test]
    fn who_is_less_than_twice_too_fast_is_refused_but_stays() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let excess: Vec<Excess> =
            (0..100_000).filter_map(|command| pace.admit(RATE, start + command * EACH * 6 / 10).err()).collect();
        assert!(excess.len() > 39_000 && !excess.contains(&Excess::Abuse), "{}", excess.len());
    }

    #[test]
    fn another_rate_counts_from_the_next_command_on() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(admitted(&mut pace, RATE, start), 100);
        assert_eq!(admitted(&mut pace, Rate { burst: 150, ..RATE }, start), 50);
        assert!(pace.admit(Rate { burst: 10, ..RATE }, start).is_err());
        let fast = Rate { per_second: NonZeroU32::new(1000).unwrap(), burst: 10 };
        let soon = Duration::from_millis(1);
        assert_eq!(pace.admit(fast, start), Err(Excess::Later(soon)), "nobody serves out the time of a slower rate");
        assert_eq!(admitted(&mut pace, fast, start + soon), 1);
    }
}
