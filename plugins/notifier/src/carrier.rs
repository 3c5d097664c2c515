//! The seam between what all notifiers share and the way out of one sort of them.
use std::collections::BTreeMap;
use std::time::Duration;

use broadcastd_plugin_api::Failure;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The way out of one sort of notifier: HTTP, mail, a broker.
///
/// ```
/// use std::time::Duration;
///
/// use broadcastd_notifier::{Carrier, Message, Refused};
/// use broadcastd_plugin_api::Failure;
///
/// struct Log;
///
/// /// Nothing to set.
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Settings {}
///
/// impl Carrier for Log {
///     type Settings = Settings;
///
///     fn open(_: Settings) -> Result<Self, Failure> {
///         Ok(Log)
///     }
///
///     fn deliver(&self, message: &Message, _: Duration) -> Result<(), Refused> {
///         tracing::info!(id = message.id, "{}", message.subject);
///         Ok(())
///     }
/// }
/// ```
pub trait Carrier: Send + Sync + Sized + 'static {
    /// Its own settings, which stand beside those of all notifiers in one table; no name may be in both. They deny
    /// unknown fields.
    type Settings: DeserializeOwned + JsonSchema;

    /// What a schema cannot say about its settings; pointers count from the whole table, `/url`. Opens and reads nothing.
    fn validate(settings: &Self::Settings) -> Result<(), Failure> {
        let _ = settings;
        Ok(())
    }

    /// Reads keys and secrets. It may stand beside the one that it will replace and must not wait, so connections are
    /// made when the first message is delivered.
    fn open(settings: Self::Settings) -> Result<Self, Failure>;

    /// Whom it delivers to, without secrets. A pause that one receiver asked for does not hold for another, to which a
    /// successor may deliver. Of no use where no receiver asks.
    fn receiver(&self) -> String {
        String::new()
    }

    /// One attempt, on a thread of a worker, two at the same time at most. It may wait for `timeout` in all.
    /// `message.id` is the same at every attempt, so that the receiver can drop a repeat.
    fn deliver(&self, message: &Message, timeout: Duration) -> Result<(), Refused>;
}

/// What is to be delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// `STREAM-EPOCH-SEQ` of the event that it tells, of letters, digits, `_` and `-` alone. The same at each attempt,
    /// and also when the event is handled again after a failure.
    pub id: String,
    /// What happened, `violation`.
    pub kind: String,
    /// Where, `alerts`.
    pub stream: String,
    /// The full topic, `alerts:7`.
    pub topic: String,
    /// When, nanoseconds since 1970 (UTC).
    pub unix_ns: i64,
    /// One line, from the template; no control characters.
    pub subject: String,
    /// From the template; may have several lines, divided by `\n`.
    pub body: String,
    /// Events of the same kind and group that the cool-down has held back since the message before.
    pub suppressed: u64,
    /// What templates can name: what stands above, and the payload's own fields (`characteristic_id`, `limits.ucl`).
    pub fields: BTreeMap<String, String>,
    /// The event's payload, a JSON object, byte for byte as it was published.
    pub payload: Box<RawValue>,
}

/// Why an attempt did not deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It may go well later: an unreachable server, a full mailbox.
    Later {
        /// What the operator reads, without secrets.
        why: String,
        /// The receiver named a pause: until then it gets nothing from this notifier.
        after: Option<Duration>,
    },
    /// It will never go well: a malformed address, a rejected body. The message becomes a dead letter.
    Never {
        /// What the operator reads, without secrets.
        why: String,
    },
}

impl Refused {
    /// It may go well later, and nobody said when.
    pub fn later(why: impl Into<String>) -> Self {
        Refused::Later { why: why.into(), after: None }
    }

    /// It will never go well.
    pub fn never(why: impl Into<String>) -> Self {
        Refused::Never { why: why.into() }
    }

    /// What the operator reads.
    pub fn why(&self) -> &str {
        let (Refused::Later { why, .. } | Refused::Never { why }) = self;
        why
    }
}
