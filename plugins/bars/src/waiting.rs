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
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
