//! Why a request was not carried out, in the codes of the native protocol, which every dialect maps to its own words.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::RequestId;

/// The bytes of a sentence, and of a name that is repeated in one: a client is not told more than it can look through, and
/// no more than a fraction of a large message that it sent.
const MAX_MESSAGE: usize = 1024;
const MAX_ECHO: usize = 100;

/// Why a request was not carried out: a code for programs, a sentence for people.
#[derive(Debug)]
pub struct Refusal {
    pub code: Code,
    pub message: String,
    pub stream: Option<String>,
    /// What would have done, where that can be listed.
    pub valid: Vec<Arc<str>>,
    /// After what time the same request may be carried out, where it is only a matter of time.
    pub retry: Option<Duration>,
    pub id: RequestId,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: cut(message.into(), MAX_MESSAGE), stream: None, valid: Vec::new(), retry: None, id: None }
    }

    /// No dialect has a word for a binary message.
    pub fn binary() -> Self {
        Self::new(Code::InvalidMessage, "binary messages are not understood; send JSON as text")
    }

    /// The same, about a stream.
    pub fn about(self, stream: &str) -> Self {
        Self { stream: Some(cut(stream.to_owned(), MAX_ECHO)), ..self }
    }
}

/// What a client wrote, as an answer repeats it.
pub fn echo(text: &str) -> String {
    cut(text.to_owned(), MAX_ECHO).escape_debug().to_string()
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.push('…');
    }
    text
}

/// The error codes of the native protocol, which every dialect maps to its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ErrorCode")]
pub enum Code {
    InvalidJson,
    InvalidMessage,
    UnknownType,
    MissingStream,
    UnknownStream,
    InvalidParams,
    AuthenticationRequired,
    Forbidden,
    NotSubscribed,
    RateLimited,
    TooManySubscriptions,
    CommandFailed,
    Internal,
}

impl Code {
    pub fn text(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidMessage => "invalid_message",
            Self::UnknownType => "unknown_type",
            Self::MissingStream => "missing_stream",
            Self::UnknownStream => "unknown_stream",
            Self::InvalidParams => "invalid_params",
            Self::AuthenticationRequired => "authentication_required",
            Self::Forbidden => "forbidden",
            Self::NotSubscribed => "not_subscribed",
            Self::RateLimited => "rate_limited",
            Self::TooManySubscriptions => "too_many_subscriptions",
            Self::CommandFailed => "command_failed",
            Self::Internal => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_short_and_harmless() {
        assert_eq!(echo("a\0\nb"), "a\\0\\nb");
        let long = echo(&"é".repeat(5000));
        assert!(long.len() <= MAX_ECHO + "…".len() && long.ends_with('…'), "{long}");
    }

    #[test]
    fn a_refusal_is_short_whatever_it_is_about() {
        let long = "é".repeat(5000);
        let refusal = Refusal::new(Code::InvalidParams, long.as_str()).about(&long);
        assert_eq!(
            (refusal.message.len(), refusal.stream.map(|name| name.len())),
            (MAX_MESSAGE + 3, Some(MAX_ECHO + 3))
        );
        let whole = Refusal::new(Code::InvalidParams, "x".repeat(MAX_MESSAGE)).about("bars");
        assert_eq!((whole.message.len(), whole.stream.as_deref()), (MAX_MESSAGE, Some("bars")));
    }
}
