//! When a failed broadcaster is started again, and when no more.

use std::collections::VecDeque;
use std::time::Duration;

use super::timing::nanos;

/// How often a broadcaster may fail, and how long it rests between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// This many failures within the window quarantine it.
    pub max: usize,
    pub within: Duration,
    /// The first pause; each further failure within the window doubles it …
    pub backoff: Duration,
    /// … up to this.
    pub backoff_max: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            max: 5,
            within: Duration::from_secs(60),
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
        }
    }
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    AgainAt(i64),
    Quarantine,
}

/// The failures of one broadcaster that still count.
#[derive(Debug, Default)]
pub struct Failures(VecDeque<i64>);

impl Failures {
    /// Counts a failure. `jitter` in 0 … 1 shortens the pause by up to half, so that broadcasters that failed together
    /// do not come back together.
    pub fn count(&mut self, policy: &Restart, now: i64, jitter: f64) -> Verdict {
        let window = nanos(policy.within);
        self.0.retain(|at| now - at < window);
        self.0.push_back(now);
        if self.0.len() >= policy.max.max(1) {
            return Verdict::Quarantine;
        }
        let doublings = u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX).min(20);
        let pause = policy.backoff.saturating_mul(1 << doublings).min(policy.backoff_max);
        Verdict::AgainAt(now.saturating_add(nanos(pause.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0))))
    }

    /// What is told of them to operators.
    pub fn told(&self, policy: &Restart, verdict: Verdict, version: &str) -> String {
        let (max, within) = (policy.max.max(1), policy.within);
        let often = if self.0.len() == 1 { "once".to_owned() } else { format!("{} times", self.0.len()) };
        match verdict {
            Verdict::AgainAt(_) => {
                format!("version {version} failed {often} in {within:?}: it starts again, and is quarantined at {max}")
            }
            Verdict::Quarantine => {
                format!(
                    "version {version} failed {often} in {within:?}: it stays away until it is corrected and reloaded"
                )
            }
        }
    }

    /// Somebody corrected the cause: start counting anew.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn pauses_double_until_the_limit_and_then_it_is_quarantined() {
        let policy = Restart { max: 5, backoff_max: Duration::from_millis(300), ..Restart::default() };
        let mut failures = Failures::default();
        let verdicts: Vec<Verdict> = (0..5).map(|n| failures.count(&policy, n, 0.0)).collect();
        let pauses = [100, 200, 300, 300];
        for (n, (verdict, pause)) in verdicts.iter().zip(pauses).enumerate() {
            assert_eq!(*verdict, Verdict::AgainAt(n as i64 + pause * MS));
        }
        assert_eq!(verdicts[4], Verdict::Quarantine);
    }

    #[test]
    fn only_failures_within_the_window_count() {
        let policy = Restart { max: 2, ..Restart::default() };
        let mut failures = Failures::default();
        assert_eq!(failures.count(&policy, 0, 0.0), Verdict::AgainAt(100 * MS));
        let window = nanos(policy.within);
        assert_eq!(failures.count(&policy, window, 0.0), Verdict::AgainAt(window + 100 * MS), "just outside");
        assert_eq!(failures.count(&policy, 2 * window - 1, 0.0), Verdict::Quarantine, "just inside");
    }

    #[test]
    fn the_fifth_failure_within_a_minute_quarantines_and_a_nanosecond_later_it_does_not() {
        let policy = Restart::default();
        let minute = nanos(Duration::from_secs(60));
        for (fifth, verdict) in [
            (minute - 1, Verdict::Quarantine),
            (minute, Verdict::AgainAt(minute + 800 * MS)), // the first no longer counts, three others do
        ] {
            let mut failures = Failures::default();
            for at in 0..4 {
                assert!(matches!(failures.count(&policy, at, 0.0), Verdict::AgainAt(_)));
            }
            assert_eq!(failures.count(&policy, fifth, 0.0), verdict);
        }
    }

    #[test]
    fn one_failure_a_minute_goes_on_for_ever() {
        let (policy, mut failures) = (Restart::default(), Failures::default());
        for minutes in 1..10_000 {
            let now = nanos(policy.within) * minutes;
            assert_eq!(failures.count(&policy, now, 0.0), Verdict::AgainAt(now + 100 * MS));
        }
    }

    #[test]
    fn how_often_it_failed_and_what_follows_is_told() {
        let (policy, mut failures) = (Restart { max: 2, ..Restart::default() }, Failures::default());
        let told = [0, 1].map(|now| {
            let verdict = failures.count(&policy, now, 0.0);
            failures.told(&policy, verdict, "2.0.0")
        });
        assert_eq!(told[0], "version 2.0.0 failed once in 60s: it starts again, and is quarantined at 2");
        assert_eq!(told[1], "version 2.0.0 failed 2 times in 60s: it stays away until it is corrected and reloaded");
    }

    #[test]
    fn jitter_shortens_by_at_most_half() {
        let policy = Restart::default();
        assert_eq!(Failures::default().count(&policy, 0, 1.0), Verdict::AgainAt(50 * MS));
    }
}
