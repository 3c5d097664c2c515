//! An event that waits for room in the stream, in a form that outlives the instance of the broadcaster.

use broadcastd_plugin_api::{Cause, Flags, Outgoing, topic_part};
use serde::{Deserialize, Serialize};

use crate::told::{Kind, Told, json};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    kind: Kind,
    session: String,
    topic: String,
    key: String,
    payload: String,
    record: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

impl Waiting {
    pub fn new(told: Told, cause: Option<Cause>) -> Self {
        let Told { kind, session, key, payload, record, origin: _ } = told;
        let topic = topic_part(&session).into_owned();
        Self { kind, session, topic, key, payload, record, cause }
    }

    /// What it takes in saved state, in bytes.
    pub fn weight(&self) -> usize {
        json(self).len() + ",".len()
    }

    pub fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            kind: self.kind.name(),
            topic: &self.topic,
            key: &self.key,
            record: self.record.as_bytes(),
            session_id: &self.session,
            payload: self.payload.as_bytes(),
            flags: if self.kind == Kind::InstanceRemoved { Flags::DELETE } else { Flags::NONE },
            cause: self.cause.as_ref(),
            ..Outgoing::default()
        }
    }
}
