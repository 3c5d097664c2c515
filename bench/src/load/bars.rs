//! How old a bar is when it comes: the time of its publishing stands in the message, cut to milliseconds.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use super::crowd::{Crowd, SILENCE};
use crate::histogram::Histogram;

const DAY_MICROS: u64 = 86_400_000_000;
const BEFORE: &[u8] = b"\"timestamp\":\"";

/// How long a turn waits at most.
const NAP: Duration = Duration::from_millis(50);

pub struct Watch {
    pub warm_up: Duration,
    pub measure: Duration,
}

/// Ages are rounded up: the message says its time in milliseconds, so that up to one is added to each.
pub fn run(mut crowd: Crowd, watch: Watch) -> Result<String> {
    let mut micros = Histogram::default();
    let (began, mut heard) = (Instant::now(), Instant::now());
    while began.elapsed() < watch.warm_up + watch.measure {
        crowd.turn(NAP, |_, text, now| {
            // The wall clock of the read: what it has moved on since then is taken off again.
            let late = u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX);
            let published = time_of_day(text).context("a message without a time")?;
            let age = (wall_micros() + DAY_MICROS - late.min(DAY_MICROS) - published) % DAY_MICROS;
            heard = now;
            if now.duration_since(began) >= watch.warm_up {
                micros.record(age);
            }
            Ok(())
        })?;
        ensure!(heard.elapsed() < SILENCE, "no bar came for {SILENCE:?}");
    }
    let quantile = |part| micros.quantile(part);
    let (p50, p99, max) = (quantile(0.5), quantile(0.99), quantile(1.0));
    Ok(format!("bars={} p50_us={p50} p99_us={p99} max_us={max}", micros.total()))
}

fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0) % DAY_MICROS
}

/// Microseconds since midnight of the last `"timestamp":"2026-01-01T12:34:56.789Z"`.
fn time_of_day(text: &[u8]) -> Option<u64> {
    let at = text.windows(BEFORE.len()).rposition(|window| window == BEFORE)? + BEFORE.len();
    let field = |from: usize, to: usize| -> Option<u64> {
        std::str::from_utf8(text.get(at + from..at + to)?).ok()?.parse().ok()
    };
    let seconds = field(11, 13)? * 3600 + field(14, 16)? * 60 + field(17, 19)?;
    Some(seconds * 1_000_000 + field(20, 23)? * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_read_to_the_millisecond() {
        let text = br#"{"data":{"timestamp":"x"},"timestamp":"2026-11-21T01:02:03.004Z","seq":1}"#;
        assert_eq!(time_of_day(text), Some(3_723_004_000));
        assert_eq!(time_of_day(b"{}"), None);
    }
}
