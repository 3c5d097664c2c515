//! One event into its stream, or why not: by any door, this is how an event from outside is taken in.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::read::{Fields, Incoming, Mistake};
use crate::hub::payloads::Verdict;
use crate::hub::stream::Stream;
use crate::hub::{Accepted, Refused};
use crate::identity::Identity;
use crate::metrics;

/// When a full stream may have room again: its listeners work through hundreds of events meanwhile.
const FULL_FOR: Duration = Duration::from_millis(100);

/// Whose events these are.
#[derive(Clone, Debug)]
pub enum Publisher {
    /// Somebody whom the door itself lets publish everywhere.
    Trusted,
    /// Somebody who showed a token.
    Known(Arc<Identity>),
}

/// Why an event was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub code: Code,
    /// Where in the event, as a JSON pointer; empty is the event itself.
    pub pointer: Cow<'static, str>,
    pub message: String,
    /// When there may be room for it.
    pub again: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidJson,
    InvalidMessage,
    TooLong,
    MissingStream,
    UnknownStream,
    Forbidden,
    /// It was in order and found no room: sent again later it may be accepted.
    Full,
    /// Its publisher was too fast: sent again later it may be accepted.
    RateLimited,
}

/// Publishes one event to a stream that takes events from outside.
pub fn publish(stream: &Stream, event: &Incoming<'_>, publisher: &Publisher) -> Result<Accepted, Rejection> {
    publisher.check(stream, event)?;
    match stream.settings().payloads.judge(event.kind(), event.payload()) {
        Verdict::Fits => {}
        Verdict::Odd { misfit, is_first } => {
            metrics::ingest_odd(stream.name());
            if is_first {
                let (kind, pointer) = (event.kind(), &misfit.pointer);
                tracing::warn!(stream = %stream.name(), kind, pointer, "a payload does not fit the stream's schema and is accepted all the same; later ones of its kind are only counted: it {}", misfit.rule);
            }
        }
        Verdict::Refused(misfit) => {
            let pointer = format!("/data{}", misfit.pointer).into();
            return Err(Rejection { pointer, ..Rejection::new(Code::InvalidMessage, misfit.rule) });
        }
    }
    stream.publish(&event.draft(), None).map_err(|refused| match refused {
        Refused::Full | Refused::NoMemory => {
            Rejection { again: Some(FULL_FOR), ..Rejection::new(Code::Full, refused.to_string()) }
        }
        refused => {
            let pointer = pointer(&refused).into();
            Rejection { pointer, ..Rejection::new(Code::InvalidMessage, refused.to_string()) }
        }
    })
}

/// One event's text to its fields.
pub fn fields(text: &[u8]) -> Result<Fields<'_>, Rejection> {
    let text: &RawValue = serde_json::from_slice(text)
        .map_err(|error| Rejection { code: Code::InvalidJson, ..Mistake::not_json(&error).into() })?;
    Ok(Fields::read(text)?)
}

impl Publisher {
    /// Whether the event may be published. The one place for a token's rights, and for its rate.
    fn check(&self, stream: &Stream, event: &Incoming<'_>) -> Result<(), Rejection> {
        let Self::Known(identity) = self else { return Ok(()) };
        let is_allowed = match event.topic() {
            "" => identity.may_publish(stream.name()),
            part => identity.may_publish(&format!("{}:{part}", stream.name())),
        };
        if !is_allowed {
            let forbidden = Rejection::new(Code::Forbidden, "your token may not publish to this topic");
            return Err(Rejection { pointer: "/topic".into(), ..forbidden });
        }
        identity.admit(1, Instant::now()).map_err(|again| {
            let limited = Rejection::new(Code::RateLimited, "your token may not publish as fast as this");
            Rejection { again: Some(again), ..limited }
        })
    }
}

impl Rejection {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, pointer: Cow::Borrowed(""), message: message.into(), again: None }
    }
}

impl From<Mistake> for Rejection {
    fn from(mistake: Mistake) -> Self {
        Self { pointer: mistake.pointer, ..Self::new(Code::InvalidMessage, mistake.error) }
    }
}

impl Code {
    /// As the metric counts it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Full | Self::RateLimited | Self::Forbidden | Self::UnknownStream => self.name(),
            _ => "invalid",
        }
    }

    /// As programs read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidMessage => "invalid_message",
            Self::TooLong => "message_too_large",
            Self::MissingStream => "missing_stream",
            Self::UnknownStream => "unknown_stream",
            Self::Forbidden => "forbidden",
            Self::Full => "full",
            Self::RateLimited => "rate_limited",
        }
    }
}

fn pointer(refused: &Refused) -> &'static str {
    match refused {
        Refused::BadKind(_) => "/type",
        Refused::BadTopic(_) | Refused::TooManyTopics(_) => "/topic",
        Refused::TooManyRecords(_) => "/key",
        Refused::TooManyAudiences(_) | Refused::NotPrivate => "/audience",
        Refused::Full | Refused::NoMemory | Refused::Removed | Refused::OldCause(_) | Refused::TooManyPatterns(_) => "",
    }
}
