//! What the daemon calls, each passed on to whoever knows about it.

use broadcastd_plugin_api::{Broadcaster, Context, Failure, FailureKind, Gap, Lag, Message, StreamSpec};
use serde_json::Value;

use crate::rules::{self, KNOWN, Rules};
use crate::running::{STATE_VERSION, UserEvents};
use crate::settings::Settings;

/// What payloads look like, by kind: the file that ingest checks them with.
pub const SCHEMAS: &str = include_str!("../../../docs/user-events.schema.json");

impl Broadcaster for UserEvents {
    type Config = Settings;
    const STATE_VERSION: u32 = STATE_VERSION;

    fn stream() -> Option<StreamSpec> {
        let schemas: Value = serde_json::from_str(SCHEMAS).expect("a test reads the file");
        let mut spec = StreamSpec::new("{kind}").lag(Lag::Disconnect).view("status_cards").private();
        for known in &KNOWN {
            let schema = schemas["$defs"][known.name].clone();
            spec.kinds.insert(known.name.to_owned(), known.spec(schema));
        }
        Some(spec)
    }

    fn stream_with(settings: &Settings) -> Option<StreamSpec> {
        let mut spec = Self::stream()?;
        spec.kinds.extend(settings.kinds.iter().map(|(name, kind)| (name.clone(), rules::spec(name, kind))));
        Some(spec)
    }

    fn validate(settings: &Settings) -> Result<(), Failure> {
        Rules::new(settings).map(drop)
    }

    fn new(settings: Settings, _: &mut Context<'_>) -> Result<Self, Failure> {
        Ok(UserEvents::new(Rules::new(&settings)?))
    }

    fn on_message(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.take(message, cx)
    }

    fn on_gap(&mut self, gap: &Gap<'_>, _: &mut Context<'_>) -> Result<(), Failure> {
        self.counters.gaps.increment(1);
        let Gap { stream, from, to } = *gap;
        tracing::warn!(stream, from, to, "user events are gone before they were read; no user was told of them");
        Ok(())
    }

    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.tell_records(cx);
        Ok(())
    }

    fn on_writable(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.outlet.go_on(&self.counters, cx);
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        self.state()
    }

    fn restore(&mut self, from_version: u32, state: &[u8], _: &mut Context<'_>) -> Result<(), Failure> {
        if from_version != STATE_VERSION {
            let why = format!("the saved state is of version {from_version}, this plugin reads {STATE_VERSION}");
            return Err(Failure::of(FailureKind::Unsupported, why));
        }
        self.resume(state)
    }
}
