//! How many messages may go out in a time.
use std::time::Duration;

use broadcastd_plugin_api::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many messages may go out; each attempt counts.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// On average, from 1 to 60000.
    #[schemars(range(min = 1, max = 60_000))]
    pub per_minute: u32,
    /// At once after a pause, from 1 to 10000.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000))]
    pub burst: u32,
}

fn one() -> u32 {
    1
}

impl Rate {
    /// What a schema says, for those who do not ask it.
    pub fn validate(&self) -> Result<(), Failure> {
        match self {
            Rate { per_minute: 1..=60_000, burst: 1..=10_000 } => Ok(()),
            Rate { per_minute: 1..=60_000, .. } => Err(Failure::at("/rate/burst", "from 1 to 10000")),
            _ => Err(Failure::at("/rate/per_minute", "from 1 to 60000")),
        }
    }
}

/// Keeps to a rate: the one number is when a message could go out if there had never been a burst.
#[derive(Debug, Default)]
pub struct Pace {
    next: Duration,
}

impl Pace {
    /// Whether one may go out now, which then counts, or how long until it may.
    pub fn go(&mut self, rate: Option<Rate>, now: Duration) -> Result<(), Duration> {
        let Some(Rate { per_minute, burst }) = rate else { return Ok(()) };
        let step = Duration::from_secs(60) / per_minute.max(1);
        let next = self.next.max(now);
        let ahead = next - now;
        let allowed = step * (burst.max(1) - 1);
        if ahead > allowed {
            return Err(ahead - allowed);
        }
        self.next = next + step;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_by_one() {
        let rate = Some(Rate { per_minute: 60, burst: 3 });
        let mut pace = Pace::default();
        let start = Duration::from_secs(100);
        assert_eq!([pace.go(rate, start), pace.go(rate, start), pace.go(rate, start)], [Ok(()); 3]);
        assert_eq!(pace.go(rate, start), Err(Duration::from_secs(1)));
        assert_eq!(pace.go(rate, start + Duration::from_millis(999)), Err(Duration::from_millis(1)));
        assert_eq!(pace.go(rate, start + Duration::from_secs(1)), Ok(()));
        assert_eq!(pace.go(rate, start + Duration::from_secs(1)), Err(Duration::from_secs(1)));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..9).filter(|_| pace.go(rate, later).is_ok()).count(), 3, "a long pause is one burst");
    }

    #[test]
    fn without_a_rate_all_go() {
        assert!((0..1_000).all(|_| Pace::default().go(None, Duration::ZERO).is_ok()));
    }
}
