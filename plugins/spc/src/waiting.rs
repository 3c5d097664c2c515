//! An event that waits for room in the stream, in a form that outlives the instance of the broadcaster.

use broadcastd_plugin_api::{Cause, Flags, Outgoing};
use serde::{Deserialize, Serialize};

use crate::told::{How, Told};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub told: Told,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "cause")]
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

/// A cause as `[stream, epoch, seq, ordinal]`.
mod cause {
    use broadcastd_plugin_api::Cause;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(cause: &Option<Cause>, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = cause.as_ref().map(|cause| (&*cause.stream, &*cause.epoch, cause.seq, cause.ordinal));
        parts.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cause>, D::Error> {
        let saved = Option::<(String, String, u64, u32)>::deserialize(deserializer)?;
        let cause = |(stream, epoch, seq, ordinal): (String, String, u64, u32)| Cause {
            stream: stream.into(),
            epoch: epoch.into(),
            seq,
            ordinal,
        };
        Ok(saved.map(cause))
    }
}
