//! Greets again and again, and counts: a plugin to begin with.
#![forbid(unsafe_code)]

use std::time::Duration;

use broadcastd_plugin_api::{Broadcaster, Context, Failure, StreamSpec, TimerId, export_plugin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const GREET: TimerId = TimerId(1);

/// What `settings` in config.toml may say; the comments become the documentation of the settings.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The words.
    greeting: String,
    /// Seconds between two greetings, from 0.01 to 3600.
    #[schemars(range(min = 0.01, max = 3600))]
    every: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { greeting: "hello".to_owned(), every: 1.0 }
    }
}

/// The payload of the kind `greeting`.
#[derive(Serialize, JsonSchema)]
struct Greeting<'a> {
    text: &'a str,
    count: u64,
}

struct MyPlugin {
    greeting: String,
    every: Duration,
    count: u64,
}

impl Broadcaster for MyPlugin {
    type Config = Config;
    const STATE_VERSION: u32 = 1;

    fn stream() -> Option<StreamSpec> {
        Some(StreamSpec::new("").view("log").kind::<Greeting<'_>>("greeting").collected("greetings"))
    }

    fn new(config: Config, _: &mut Context<'_>) -> Result<Self, Failure> {
        let every = Duration::try_from_secs_f64(config.every)
            .map_err(|error| Failure::at("/every", error.to_string()))?;
        Ok(MyPlugin { greeting: config.greeting, every, count: 0 })
    }

    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.timer_every(GREET, self.every, self.every)
    }

    fn on_timer(&mut self, _: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.count += 1;
        self.tell(cx);
        Ok(())
    }

    /// What a client that comes later is shown first.
    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.tell(cx);
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        Ok(serde_json::to_vec(&self.count)?)
    }

    fn restore(&mut self, _: u32, state: &[u8], _: &mut Context<'_>) -> Result<(), Failure> {
        self.count = serde_json::from_slice(state)?;
        Ok(())
    }
}

impl MyPlugin {
    fn tell(&self, cx: &mut Context<'_>) {
        let greeting = Greeting { text: &self.greeting, count: self.count };
        if let Err(error) = cx.event("greeting").key("current").latest().publish(&greeting) {
            tracing::warn!(%error, "not told; the next greeting is newer anyway");
        }
    }
}

export_plugin!(MyPlugin);

#[cfg(test)]
mod tests {
    use broadcastd_plugin_api::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn it_greets_at_its_pace_and_goes_on_counting_after_a_restart() {
        let mut plugin = Harness::<MyPlugin>::new(json!({ "greeting": "hi", "every": 2.0 })).unwrap();
        plugin.advance(Duration::from_secs(5)).unwrap();
        plugin.restart().unwrap();
        plugin.advance(Duration::from_secs(2)).unwrap();
        let counts: Vec<_> = plugin.published().into_iter().map(|event| event.payload["count"].clone()).collect();
        assert_eq!(counts, [1, 2, 3]);
        assert_eq!(plugin.records().unwrap()[0].payload, json!({ "text": "hi", "count": 3 }));
    }

    #[test]
    fn a_setting_that_it_does_not_know_is_refused() {
        assert!(Harness::<MyPlugin>::new(json!({ "greting": "hi" })).is_err());
    }
}
