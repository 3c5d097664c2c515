//! What the daemon has done in the last second, from two looks at what it has counted.

use std::time::Instant;

use serde_json::{Value, json};

use crate::config::OWN_STREAM;
use crate::metrics::totals::total;

/// What was counted up to one moment. What the daemon tells of itself is left out, so that looking changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub connections: u64,
    pub subscriptions: u64,
    pub published: u64,
    pub delivered: u64,
    pub lagged: u64,
    pub memory_bytes: usize,
}

/// Remembers the last look.
pub struct Figures {
    before: Counted,
    at: Instant,
}

impl Counted {
    /// From the text of a scrape.
    pub fn read(text: &str, memory_bytes: usize) -> Self {
        let own = format!("stream=\"{OWN_STREAM}\"");
        let sum = |metric: &str| total(text.lines().filter(|line| !line.contains(&own)), metric);
        Self {
            connections: sum("broadcastd_connections"),
            subscriptions: sum("broadcastd_subscriptions"),
            published: sum("broadcastd_events_published_total"),
            delivered: sum("broadcastd_deliveries_total"),
            lagged: sum("broadcastd_lagged_total"),
            memory_bytes,
        }
    }
}

impl Figures {
    pub fn new(now: Instant, counted: Counted) -> Self {
        Self { before: counted, at: now }
    }

    /// The figures of now, with the rates since the last look.
    pub fn next(&mut self, now: Instant, counted: Counted) -> Value {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        let rate = |before: u64, after: u64| match seconds > 0.0 {
            true => (after.saturating_sub(before) as f64 / seconds * 10.0).round() / 10.0,
            false => 0.0,
        };
        let figures = json!({
            "connections": counted.connections,
            "subscriptions": counted.subscriptions,
            "published_per_s": rate(self.before.published, counted.published),
            "delivered_per_s": rate(self.before.delivered, counted.delivered),
            "lagged": counted.lagged,
            "memory_bytes": counted.memory_bytes,
        });
        *self = Self::new(now, counted);
        figures
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{COUNTERS, GAUGES};

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let start = Instant::now();
        let mut figures = Figures::new(start, Counted { published: 100, delivered: 1000, ..Counted::default() });
        let counted = Counted {
            connections: 3,
            subscriptions: 4,
            published: 105,
            delivered: 1010,
            lagged: 7,
            memory_bytes: 4096,
        };
        let told = figures.next(start + Duration::from_secs(2), counted.clone());
        let expected = json!({
            "connections": 3, "subscriptions": 4, "published_per_s": 2.5, "delivered_per_s": 5.0, "lagged": 7,
            "memory_bytes": 4096,
        });
        assert_eq!(told, expected);
        let told = figures.next(start + Duration::from_secs(3), Counted { published: 106, ..counted.clone() });
        assert_eq!((&told["published_per_s"], &told["delivered_per_s"]), (&json!(1.0), &json!(0.0)));
        let told = figures.next(start + Duration::from_secs(3), Counted { published: 200, ..counted });
        assert_eq!(told["published_per_s"], 0.0, "no time has passed");
    }

    #[test]
    fn everything_is_counted_but_what_the_daemon_tells_of_itself() {
        let names = ["connections", "subscriptions", "events_published_total", "deliveries_total", "lagged_total"]
            .map(|name| format!("broadcastd_{name}"));
        assert!(names.iter().all(|name| COUNTERS.iter().chain(GAUGES).any(|(known, _)| known == name)));
        let lines = names.iter().zip(1..).flat_map(|(name, value)| {
            let of = |stream: &str, value: u64| format!("{name}{{stream=\"{stream}\",x=\"y\"}} {value}\n");
            [of("ticks", value), of("daemon", 1000), of("daemons", 10)]
        });
        let counted = Counted::read(&lines.collect::<String>(), 5);
        let expected =
            Counted { connections: 11, subscriptions: 12, published: 13, delivered: 14, lagged: 15, memory_bytes: 5 };
        assert_eq!(counted, expected);
    }
}
