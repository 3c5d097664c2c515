//! What the daemon has done in the last second, from two looks at what it has counted.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::config::OWN_STREAM;
use crate::metrics::totals::{buckets, buckets_by, by_label, quantile, total};

const PUBLISHED: &str = "broadcastd_events_published_total";
const SUBSCRIPTIONS: &str = "broadcastd_subscriptions";

/// What was counted up to one moment. What the daemon tells of itself is left out, so that looking changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    pub connections: u64,
    pub subscriptions: u64,
    pub published: u64,
    pub delivered: u64,
    pub lagged: u64,
    pub memory_bytes: usize,
    /// Of each stream what was published and how many subscribe to it.
    pub streams: BTreeMap<String, (u64, u64)>,
    /// How long events waited for their first write; those of the daemon itself are among them.
    pub waits: Vec<(f64, u64)>,
    /// Of each broadcaster how long calls into its plugin took.
    pub calls: BTreeMap<String, Vec<(f64, u64)>>,
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
        let (mut published, subscribed) =
            (by_label(text.lines(), PUBLISHED, "stream"), by_label(text.lines(), SUBSCRIPTIONS, "stream"));
        published.remove(OWN_STREAM);
        let of_stream = |(name, count): (String, u64)| {
            let subscriptions = subscribed.get(&name).copied().unwrap_or_default();
            (name, (count, subscriptions))
        };
        Self {
            connections: sum("broadcastd_connections"),
            subscriptions: sum(SUBSCRIPTIONS),
            published: sum(PUBLISHED),
            delivered: sum("broadcastd_deliveries_total"),
            lagged: sum("broadcastd_lagged_total"),
            memory_bytes,
            streams: published.into_iter().map(of_stream).collect(),
            waits: buckets(text.lines(), "broadcastd_publish_to_write_seconds"),
            calls: buckets_by(text.lines(), "broadcastd_plugin_call_duration_seconds", "broadcaster"),
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
        let streams = counted.streams.iter().map(|(name, (published, subscriptions))| {
            let before = self.before.streams.get(name).map_or(0, |(published, _)| *published);
            (name.clone(), json!({"published_per_s": rate(before, *published), "subscriptions": subscriptions}))
        });
        let streams: Map<String, Value> = streams.collect();
        let calls = counted.calls.iter().filter_map(|(name, after)| {
            let before = self.before.calls.get(name).map_or(&[][..], Vec::as_slice);
            let all = |counts: &[(f64, u64)]| counts.last().map_or(0, |(_, count)| *count);
            // Series outlive their broadcasters: only of who was called there is something to tell.
            (all(after) > all(before)).then(|| {
                (name.clone(), json!({"calls_per_s": rate(all(before), all(after)), "call_ms": spread(before, after)}))
            })
        });
        let broadcasters: Map<String, Value> = calls.collect();
        let figures = json!({
            "connections": counted.connections,
            "subscriptions": counted.subscriptions,
            "published_per_s": rate(self.before.published, counted.published),
            "delivered_per_s": rate(self.before.delivered, counted.delivered),
            "lagged": counted.lagged,
            "memory_bytes": counted.memory_bytes,
            "publish_to_write_ms": spread(&self.before.waits, &counted.waits),
            "streams": streams,
            "broadcasters": broadcasters,
        });
        *self = Self::new(now, counted);
        figures
    }
}

/// How long half, and nearly all, of what happened between two looks took at most, in milliseconds.
fn spread(before: &[(f64, u64)], after: &[(f64, u64)]) -> Value {
    let within = |part: f64| quantile(before, after, part).map(|seconds| (seconds * 1e6).round() / 1e3);
    json!({"p50": within(0.5), "p99": within(0.99)})
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
            streams: BTreeMap::from([("ticks".to_owned(), (4, 3))]),
            waits: vec![(0.001, 0), (0.002, 10)],
            calls: BTreeMap::from([("bars".to_owned(), vec![(0.001, 4), (f64::INFINITY, 4)])]),
        };
        let told = figures.next(start + Duration::from_secs(2), counted.clone());
        let expected = json!({
            "connections": 3, "subscriptions": 4, "published_per_s": 2.5, "delivered_per_s": 5.0, "lagged": 7,
            "memory_bytes": 4096, "publish_to_write_ms": {"p50": 1.5, "p99": 1.99},
            "streams": {"ticks": {"published_per_s": 2.0, "subscriptions": 3}},
            "broadcasters": {"bars": {"calls_per_s": 2.0, "call_ms": {"p50": 0.5, "p99": 0.99}}},
        });
        assert_eq!(told, expected);
        let told = figures.next(start + Duration::from_secs(3), Counted { published: 106, ..counted.clone() });
        assert_eq!((&told["published_per_s"], &told["delivered_per_s"]), (&json!(1.0), &json!(0.0)));
        assert_eq!(told["publish_to_write_ms"], json!({"p50": null, "p99": null}), "nothing was written since");
        assert_eq!(told["broadcasters"], json!({}), "nobody was called since");
        let told = figures.next(start + Duration::from_secs(3), Counted { published: 200, ..counted });
        assert_eq!(told["published_per_s"], 0.0, "no time has passed");
    }

    #[test]
    fn everything_is_counted_but_what_the_daemon_tells_of_itself() {
        let own = format!("stream=\"{OWN_STREAM}\"");
        let names = ["connections", "subscriptions", "events_published_total", "deliveries_total", "lagged_total"]
            .map(|name| format!("broadcastd_{name}"));
        assert!(names.iter().all(|name| COUNTERS.iter().chain(GAUGES).any(|(known, _)| known == name)));
        let lines = names.iter().zip(1..).flat_map(|(name, value)| {
            let of = |stream: &str, value: u64| format!("{name}{{stream=\"{stream}\",x=\"y\"}} {value}\n");
            [of("ticks", value), of("daemon", 1000), of("daemons", 10)]
        });
        let counted = Counted::read(&lines.collect::<String>(), 5);
        let totals = [counted.connections, counted.subscriptions, counted.published, counted.delivered, counted.lagged];
        assert_eq!((totals, counted.memory_bytes), ([11, 12, 13, 14, 15], 5));
        let text = [PUBLISHED, SUBSCRIPTIONS].map(|name| format!("{name}{{stream=\"ticks\"}} 7\n{name}{{{own}}} 9\n"));
        let streams = Counted::read(&text.concat(), 0).streams;
        assert_eq!(streams, BTreeMap::from([("ticks".to_owned(), (7, 7))]));
    }
}
