//! A plugin that does next to nothing, to measure the border itself.
#![forbid(unsafe_code)]

mod work;

use broadcastd_plugin_api::{Broadcaster, Context, Failure, Message, Outgoing, StreamSpec, TimerId, export_plugin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// What is published at every timer and wake-up, as text.
    payload: String,
}

#[derive(Serialize, JsonSchema)]
struct Anything {}

struct Border {
    payload: Vec<u8>,
    sum: u64,
}

impl Broadcaster for Border {
    type Config = Config;

    fn stream() -> Option<StreamSpec> {
        Some(StreamSpec::new("").kind::<Anything>("tick"))
    }

    fn new(config: Config, _: &mut Context<'_>) -> Result<Self, Failure> {
        Ok(Border { payload: config.payload.into_bytes(), sum: 0 })
    }

    fn on_message(&mut self, message: &Message<'_>, _: &mut Context<'_>) -> Result<(), Failure> {
        self.sum = self.sum.wrapping_add(work::work(message.payload));
        Ok(())
    }

    /// Publishes as many events as the timer's number says, one by one.
    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        for _ in 0..timer.0 {
            cx.publish(&self.event()).map_err(|error| Failure::new(error.to_string()))?;
        }
        Ok(())
    }

    /// Publishes 256 events together.
    fn on_wake(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let events = [self.event(); 256];
        cx.publish_all(&events).map_err(|partly| Failure::new(partly.why.to_string()))
    }
}

impl Border {
    fn event(&self) -> Outgoing<'_> {
        Outgoing { kind: "tick", topic: "A", payload: &self.payload, ..Outgoing::default() }
    }
}

export_plugin!(Border);
