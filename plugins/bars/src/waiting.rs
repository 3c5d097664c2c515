//! A final bar that waits for room in the stream, in a form that outlives the feed it came from.

use broadcastd_plugin_api::{Cause, Outgoing};
use serde::{Deserialize, Serialize};

use crate::update::Place;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    topic: String,
    key: String,
    /// The JSON of the bar.
    payload: String,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "cause")]
    cause: Option<Cause>,
}

impl Waiting {
    pub fn new(topic: String, place: Place, payload: String, cause: Option<Cause>) -> Self {
        Self { topic, key: place.key().to_owned(), payload, cause }
    }

    /// The event without its kind.
    pub fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            topic: &self.topic,
            key: &self.key,
            payload: self.payload.as_bytes(),
            cause: self.cause.as_ref(),
            ..Outgoing::default()
        }
    }
}

/// A cause as `[stream, seq, ordinal]`.
mod cause {
    use broadcastd_plugin_api::Cause;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(cause: &Option<Cause>, serializer: S) -> Result<S::Ok, S::Error> {
        cause.as_ref().map(|cause| (&*cause.stream, cause.seq, cause.ordinal)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cause>, D::Error> {
        let saved = Option::<(String, u64, u32)>::deserialize(deserializer)?;
        Ok(saved.map(|(stream, seq, ordinal)| Cause { stream: stream.into(), seq, ordinal }))
    }
}
