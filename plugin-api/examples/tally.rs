//! Counts the events of the streams it listens to, by kind, and tells the counts.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use broadcastd_plugin_api::{Broadcaster, Context, Failure, Message, StreamSpec, TimerId, export_plugin, topic_part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const TELL: TimerId = TimerId(1);

/// What `settings` in config.toml may say; the comments become the documentation of the settings.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Seconds between two tellings, from 0.1 to 3600.
    #[schemars(range(min = 0.1, max = 3600))]
    every: f64,
}

/// The payload of the kind `count`.
#[derive(Serialize, JsonSchema)]
struct Count<'a> {
    kind: &'a str,
    events: u64,
}

struct Tally {
    every: Duration,
    counts: BTreeMap<String, u64>,
}

impl Default for Config {
    fn default() -> Self {
        Config { every: 1.0 }
    }
}

impl Broadcaster for Tally {
    type Config = Config;
    const STATE_VERSION: u32 = 1;

    fn stream() -> Option<StreamSpec> {
        Some(StreamSpec::new("{kind}").kind::<Count<'_>>("count").collected("counts"))
    }

    fn new(config: Config, _: &mut Context<'_>) -> Result<Self, Failure> {
        Ok(Tally { every: Duration::from_secs_f64(config.every), counts: BTreeMap::new() })
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.timer_every(TELL, self.every, self.every)
    }

    fn on_message(&mut self, message: &Message<'_>, _: &mut Context<'_>) -> Result<(), Failure> {
        *self.counts.entry(message.kind.to_owned()).or_default() += 1;
        Ok(())
    }

    fn on_timer(&mut self, _: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.tell(cx);
        Ok(())
    }

    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.tell(cx); // the same events; here they only refresh the snapshot
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        Ok(serde_json::to_vec(&self.counts)?)
    }

    fn restore(&mut self, _: u32, state: &[u8], _: &mut Context<'_>) -> Result<(), Failure> {
        self.counts = serde_json::from_slice(state)?;
        Ok(())
    }
}

impl Tally {
    fn tell(&self, cx: &mut Context<'_>) {
        for (kind, &events) in &self.counts {
            let event = cx.event("count").key("current").latest();
            if let Err(error) = event.topic(&topic_part(kind)).publish(&Count { kind, events }) {
                tracing::warn!(%error, kind, "not told; the next count is newer anyway");
            }
        }
    }
}

export_plugin!(Tally);

#[cfg(test)]
mod tests {
    use broadcastd_plugin_api::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_survive_a_restart() {
        let mut tally = Harness::<Tally>::new(json!({ "every": 2.0 })).unwrap();
        tally.message("ticks:AAPL", "tick", &json!({ "price": 1.5 })).unwrap();
        tally.message("ticks:MSFT", "tick", &json!({ "price": 2.5 })).unwrap();
        tally.restart().unwrap();
        tally.advance(Duration::from_secs(2)).unwrap();
        let published = tally.published();
        assert_eq!((&*published[0].topic, &published[0].payload), ("tick", &json!({ "kind": "tick", "events": 2 })));
        assert_eq!(tally.records().unwrap().len(), 1);
    }
}
