//! The whole broadcaster under a virtual clock.

use std::time::Duration;

use broadcastd_plugin_api::Flags;
use broadcastd_plugin_api::testing::{Harness, Published};
use serde_json::{Value, json};

use crate::running::Bars;

/// 2026-01-01T00:00:00Z, where the harness starts; it opens a minute.
const START: i64 = 1_767_225_600_000;
const SECOND: Duration = Duration::from_secs(1);

fn start(settings: Value) -> Harness<Bars> {
    Harness::new(settings).unwrap()
}

fn ticks(settings: Value) -> Harness<Bars> {
    let mut all = json!({"source": "ticks", "symbols": ["A", "B"], "close_grace": "0s"});
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    start(all)
}

fn tick(bars: &mut Harness<Bars>, symbol: &str, after: i64, price: f64) {
    let data = json!({"symbol": symbol, "time": START + after, "price": price, "size": 1});
    bars.message(&format!("ticks:{symbol}"), "tick", &data).unwrap();
}

/// `topic key price`, with `~` before a record that nobody is told and `-` before one that is removed.
fn brief(bars: &mut Harness<Bars>) -> Vec<String> {
    bars.published().iter().map(line).collect()
}

fn line(event: &Published) -> String {
    let mark = match event.flags {
        flags if flags.has(Flags::DELETE) => return format!("-{} {}", event.topic, event.key),
        flags if flags.has(Flags::RECORD_ONLY) => "~",
        _ => "",
    };
    format!("{mark}{} {} {}", event.topic, event.key, event.payload["close"])
}

fn counted(bars: &Harness<Bars>, name: &str) -> f64 {
    bars.metrics().iter().filter(|metric| metric.name == name).flat_map(|metric| metric.values.clone()).sum()
}

#[test]
fn the_mock_updates_every_topic_once_an_interval() {
    let mut bars = start(json!({"interval": "2s", "symbols": ["A", "B"], "resolutions": ["1", "D"]}));
    bars.subscribe("").unwrap();
    bars.advance(7 * SECOND).unwrap();
    let published = bars.published();
    assert_eq!(published.len(), 4 * 4, "at 0, 2, 4 and 6 seconds");
    for round in published.chunks(4) {
        let topics: Vec<&str> = round.iter().map(|event| event.topic.as_str()).collect();
        assert_eq!(topics, ["A:1", "A:1D", "B:1", "B:1D"]);
        assert!(round.iter().all(|event| (event.kind.as_str(), event.key.as_str()) == ("bar", "current")));
        assert!(round.iter().all(|event| event.flags == Flags::LATEST && event.payload["final"] == false));
    }
}

#[test]
fn mock_bars_close_at_their_boundary() {
    let mut bars = start(json!({"interval": "7s", "symbols": ["A"]}));
    bars.subscribe("A:1").unwrap();
    bars.advance(59 * SECOND).unwrap();
    bars.published();
    bars.advance(SECOND).unwrap();
    let published = bars.published();
    assert_eq!((published[0].key.as_str(), published[0].flags), ("closed", Flags::NONE));
    assert_eq!((&published[0].payload["final"], &published[0].payload["time"]), (&json!(true), &json!(START)));
    assert_eq!(line(&published[1]), "-A:1 current", "a snapshot must not show the closed bar as open");
    assert_eq!(published.len(), 2);
}
