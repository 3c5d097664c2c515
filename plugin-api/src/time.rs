//! Nanoseconds of the border ⇄ durations.
use std::time::Duration;

/// Nanoseconds of a duration; what does not fit (292 years) is the largest that does.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A duration of nanoseconds; a negative number is no time at all.
pub(crate) fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_saturate() {
        assert_eq!(nanos(Duration::MAX), i64::MAX);
        assert_eq!(duration(-1), Duration::ZERO);
        assert_eq!(duration(nanos(Duration::from_millis(1_500))), Duration::from_millis(1_500));
    }
}
