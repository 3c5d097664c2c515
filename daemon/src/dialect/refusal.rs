//! Why a request was not carried out, in the codes of the native protocol, which every dialect maps to its own words.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::RequestId;

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
        Self { code, message: message.into(), stream: None, valid: Vec::new(), retry: None, id: None }
    }

    /// No dialect has a word for a binary message.
    pub fn binary() -> Self {
        Self::new(Code::InvalidMessage, "binary messages are not understood; send JSON as text")
    }

    /// The same, about a stream.
    pub fn about(self, stream: &str) -> Self {
        Self { stream: Some(stream.to_owned()), ..self }
    }
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
