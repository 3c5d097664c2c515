//! An event that waits for room in the stream, in a form that outlives the instance of the broadcaster.

use broadcastd_plugin_api::{Cause, Flags, Outgoing};
use serde::{Deserialize, Serialize};

use crate::told::{How, Told};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub told: Told,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

impl Waiting {
    pub fn outgoing(&self) -> Outgoing<'_> {
        let Told { kind, topic, key, payload, how } = &self.told;
        let flags = match how {
            How::Deliver => Flags::NONE,
            How::Record => Flags::RECORD_ONLY,
            How::Remove => Flags::DELETE | Flags::RECORD_ONLY,
        };
        let (payload, cause) = (payload.as_bytes(), self.cause.as_ref());
        Outgoing { kind: kind.name(), topic, key, payload, flags, cause, ..Outgoing::default() }
    }
}
