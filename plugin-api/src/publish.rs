//! What a broadcaster publishes, and the parts of a topic.
use std::borrow::Cow;
use std::fmt;
use std::ops::BitOr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::abi;

/// What is special about an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub(crate) u32);

impl Flags {
    /// Nothing.
    pub const NONE: Flags = Flags(0);
    /// A newer one of the same topic, kind and key may replace it in a waiting outbox.
    pub const LATEST: Flags = Flags(abi::MSG_LATEST);
    /// Removes the key's record.
    pub const DELETE: Flags = Flags(abi::MSG_DELETE);
    /// Refreshes the record: takes a number, is neither delivered nor kept.
    pub const RECORD_ONLY: Flags = Flags(abi::MSG_RECORD_ONLY);
    /// Private streams: to every audience, for kinds that config.toml lists.
    pub const BROADCAST: Flags = Flags(abi::MSG_BROADCAST);

    /// Whether all of `other` is in it.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// An event to publish. [`crate::Context::event`] builds one in place; this form is for events that wait somewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    /// What happened, `bar`; required.
    pub kind: &'a str,
    /// The part after the stream, `AAPL:1`; empty is the root topic. Parts that come from outside: [`topic_part`].
    pub topic: &'a str,
    /// Identity inside the topic; empty leaves no record.
    pub key: &'a str,
    /// JSON that a snapshot shows for the key; empty = the payload.
    pub record: &'a [u8],
    /// Private streams: the user it is for.
    pub audience: &'a str,
    /// The clients' own trading session; empty = none.
    pub session_id: &'a str,
    /// JSON object; required.
    pub payload: &'a [u8],
    /// When it happened, nanoseconds since 1970 (UTC); 0 = stamped by the host.
    pub unix_ns: i64,
    /// What is special about it.
    pub flags: Flags,
    /// What it follows from; `None` while an input is handled = that input.
    pub cause: Option<&'a Cause>,
}

/// The input that an event follows from. The hub drops an event whose cause it has already seen, so that an input
/// that is handled again after a restart is not published twice. Set by itself while an input is handled; an event
/// that has to wait takes its cause along, in saved state, too: [`crate::Context::take_cause`]. A cause older than the
/// newest 32,768 inputs that led to events is refused as [`PublishError::Invalid`]; fewer inputs are remembered when the
/// ordinals of their events leave more than 131,072 holes. Saved as `[stream, epoch, seq, ordinal]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SavedCause", into = "SavedCause")]
pub struct Cause {
    /// The stream of the input.
    pub stream: Arc<str>,
    /// The life of the stream's numbering.
    pub epoch: Arc<str>,
    /// The number of the input.
    pub seq: u64,
    /// 0, 1, 2 … among what is published for that input.
    pub ordinal: u32,
}

type SavedCause = (String, String, u64, u32);

impl From<SavedCause> for Cause {
    fn from((stream, epoch, seq, ordinal): SavedCause) -> Self {
        Self { stream: stream.into(), epoch: epoch.into(), seq, ordinal }
    }
}

impl From<Cause> for SavedCause {
    fn from(cause: Cause) -> Self {
        (cause.stream.to_string(), cause.epoch.to_string(), cause.seq, cause.ordinal)
    }
}

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// Full now; `on_writable` follows when there is room.
    Again,
    /// The event breaks a rule (no kind, payload no JSON object, audience missing …); the host's log says which.
    Invalid,
    /// A bound of the stream was reached (topics, records); the host's log says which.
    Limit,
    /// The broadcaster is being replaced or stopped.
    Closed,
}

impl PublishError {
    pub(crate) fn of(status: i64) -> Self {
        match i32::try_from(status) {
            Ok(abi::E_AGAIN | 0..) => PublishError::Again,
            Ok(abi::E_LIMIT) => PublishError::Limit,
            Ok(abi::E_CLOSED | abi::E_UNSUPPORTED) => PublishError::Closed,
            _ => PublishError::Invalid,
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PublishError::Again => "the host is full now; publish again when writable",
            PublishError::Invalid => "the event breaks a rule; the host's log says which",
            PublishError::Limit => "a bound of the stream was reached; the host's log says which",
            PublishError::Closed => "the broadcaster is being replaced or stopped",
        })
    }
}

impl std::error::Error for PublishError {}

/// Of a batch, the first `accepted` were taken and the next one was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartlyPublished {
    /// How many were taken, from the first on.
    pub accepted: usize,
    /// Why the next one was not.
    pub why: PublishError,
}

impl fmt::Display for PartlyPublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} events: {}", self.accepted, self.why)
    }
}

impl std::error::Error for PartlyPublished {}

/// One part of a topic, with what would end it or match too much (`:`, `*`, `%`) percent-encoded. Nothing is
/// allocated where nothing needs it.
///
/// ```
/// use broadcastd_plugin_api::topic_part;
/// assert_eq!(topic_part("AAPL"), "AAPL");
/// assert_eq!(topic_part("BINANCE:BTC*%"), "BINANCE%3ABTC%2A%25");
/// ```
pub fn topic_part(text: &str) -> Cow<'_, str> {
    if !text.contains([':', '*', '%']) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            ':' => encoded.push_str("%3A"),
            '*' => encoded.push_str("%2A"),
            '%' => encoded.push_str("%25"),
            other => encoded.push(other),
        }
    }
    Cow::Owned(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_saved_as_it_always_was() {
        let cause = Cause { stream: "ticks".into(), epoch: "e".into(), seq: 7, ordinal: 2 };
        let saved = serde_json::to_string(&cause).unwrap();
        assert_eq!(saved, r#"["ticks","e",7,2]"#);
        assert_eq!(serde_json::from_str::<Cause>(&saved).unwrap(), cause);
    }

    #[test]
    fn every_refusal_of_the_host_has_its_name() {
        assert_eq!(PublishError::of(0), PublishError::Again);
        assert_eq!(PublishError::of(i64::from(abi::E_AGAIN)), PublishError::Again);
        assert_eq!(PublishError::of(i64::from(abi::E_INVALID)), PublishError::Invalid);
        assert_eq!(PublishError::of(i64::from(abi::E_LIMIT)), PublishError::Limit);
        assert_eq!(PublishError::of(i64::from(abi::E_CLOSED)), PublishError::Closed);
        assert_eq!(PublishError::of(i64::MIN), PublishError::Invalid);
    }

    #[test]
    fn parts_are_encoded_only_where_needed() {
        assert!(matches!(topic_part("Ωmega 1"), Cow::Borrowed("Ωmega 1")));
        assert_eq!(topic_part("*"), "%2A");
        assert_eq!(topic_part("%3A"), "%253A");
        assert_eq!(topic_part(""), "");
    }
}
