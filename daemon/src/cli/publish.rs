//! What `broadcastd publish` is told.

use clap::Args;
use serde_json::value::RawValue;

use super::Reach;

/// Where events go, and one of them where it is given here.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Publish {
    /// A stream that config.toml declares in `[streams]`
    #[arg(value_name = "STREAM")]
    pub stream: String,
    #[command(flatten)]
    pub event: Event,
    #[command(flatten)]
    pub reach: Reach,
}

/// One event from arguments; lines are read when there is no kind.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Event {
    /// The kind of one event; without it, standard input has an event on each line: {"type": KIND, "data": {…}, …}
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Its topic, such as ticks:AAPL [default: the stream itself]
    #[arg(long, value_name = "TOPIC", requires = "kind")]
    pub topic: Option<String>,
    /// What it is about: the newest event of a key stays as a record, which snapshots show
    #[arg(long, value_name = "KEY", requires = "kind")]
    pub key: Option<String>,
    /// The user whom an event of a private stream is for
    #[arg(long, value_name = "USER", requires = "kind")]
    pub audience: Option<String>,
    /// Its payload, a JSON object [default: {}]
    #[arg(long, value_name = "JSON", requires = "kind", value_parser = object)]
    pub data: Option<Payload>,
}

/// A JSON object, as it was written.
#[derive(Clone, Debug)]
pub struct Payload(pub Box<RawValue>);

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for Payload {}

fn object(text: &str) -> Result<Payload, String> {
    match serde_json::from_str::<Box<RawValue>>(text) {
        Ok(data) if data.get().starts_with('{') => Ok(Payload(data)),
        Ok(_) => Err("a payload is a JSON object, such as {\"price\": 1.5}".to_owned()),
        Err(error) => Err(format!("this is not JSON: {error}; a payload is an object, such as {{\"price\": 1.5}}")),
    }
}
