//! One event from outside into its stream, or why not: by any door, this is how it is taken in.

pub mod read;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use self::read::{Fields, Incoming, Mistake};
use crate::event::{Position, unix_now};
use crate::hub::Hub;
use crate::hub::names::Names;
use crate::hub::payloads::Verdict;
use crate::hub::settings::Source;
use crate::hub::stream::Stream;
use crate::hub::{Accepted, Refused};
use crate::identity::Identity;
use crate::metrics;
use crate::metrics::labels::Declined;

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

/// An accepted event: its stream, and its number in it.
pub struct Taken {
    pub stream: Arc<Stream>,
    pub seq: u64,
}

impl Taken {
    /// Where the event is; in a private stream nowhere that could be told: it has a numbering per audience.
    pub fn position(&self) -> Option<Position> {
        (!self.stream.settings().private).then(|| Position { epoch: self.stream.epoch().clone(), seq: self.seq })
    }
}

/// Why a stream takes no events from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    Unknown,
    OfBroadcaster,
}

/// Publishes one event to the stream that it names, as its publisher calls it.
pub fn take(hub: &Hub, fields: &Fields<'_>, publisher: &Publisher, names: &Names) -> Result<Taken, Rejection> {
    let stream = named(hub, fields, publisher, names)?;
    let event = fields.event(stream.name(), names)?;
    let accepted = publish(&stream, &event, publisher)?;
    Ok(Taken { stream, seq: accepted.seq })
}

/// The stream of this name, if it takes events from outside.
pub fn declared(hub: &Hub, name: &str) -> Result<Arc<Stream>, Foreign> {
    let stream = hub.stream(name).ok_or(Foreign::Unknown)?;
    match stream.source() {
        Source::Declared => Ok(stream),
        Source::Removed => Err(Foreign::Unknown),
        Source::Running | Source::Absent(_) => Err(Foreign::OfBroadcaster),
    }
}

/// The streams that outside programs may publish to, in words.
pub fn known(hub: &Hub) -> String {
    let streams = hub.streams();
    let declared = streams.iter().filter(|stream| stream.source() == Source::Declared);
    let names: Vec<&str> = declared.map(|stream| &**stream.name()).collect();
    if names.is_empty() { "none is declared".to_owned() } else { names.join(", ") }
}

pub fn of_broadcaster(name: &str) -> String {
    format!(
        "stream \"{name}\" belongs to the broadcaster of that name, which alone publishes to it; declare a stream of your own as [streams.NAME]"
    )
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
        Refused::Full | Refused::NoMemory | Refused::Ended => {
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
        // A request of lines may last longer than the token that it began with.
        identity.holds(unix_now()).map_err(|why| Rejection::new(Code::Forbidden, why))?;
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
    pub fn reason(self) -> Declined {
        match self {
            Self::Full => Declined::Full,
            Self::RateLimited => Declined::RateLimited,
            Self::Forbidden => Declined::Forbidden,
            Self::UnknownStream => Declined::UnknownStream,
            Self::InvalidJson | Self::InvalidMessage | Self::TooLong | Self::MissingStream => Declined::Invalid,
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

/// The stream that an event names, if it takes events from outside. Who came with a token is not told which others there
/// are.
fn named(hub: &Hub, fields: &Fields<'_>, publisher: &Publisher, names: &Names) -> Result<Arc<Stream>, Rejection> {
    let called = match fields.stream()? {
        none if none.is_empty() => fields.stream_of_topic()?,
        name => name,
    };
    let at_stream = |code, message| Rejection { pointer: "/stream".into(), ..Rejection::new(code, message) };
    let others = match publisher {
        Publisher::Trusted => format!("; streams to publish to: {}", known(hub)),
        Publisher::Known(_) => String::new(),
    };
    if called.is_empty() {
        return Err(at_stream(Code::MissingStream, format!("\"stream\" is missing{others}")));
    }
    declared(hub, names.name_of(&called)).map_err(|foreign| match foreign {
        Foreign::Unknown => {
            at_stream(Code::UnknownStream, format!("unknown stream \"{}\"{others}", called.escape_debug()))
        }
        Foreign::OfBroadcaster => at_stream(Code::Forbidden, of_broadcaster(&called)),
    })
}

fn pointer(refused: &Refused) -> &'static str {
    match refused {
        Refused::BadKind(_) => "/type",
        Refused::BadTopic(_) | Refused::TooManyTopics(_) => "/topic",
        Refused::TooManyRecords(_) => "/key",
        Refused::TooManyAudiences(_) | Refused::NotPrivate => "/audience",
        Refused::Full
        | Refused::NoMemory
        | Refused::Removed
        | Refused::Ended
        | Refused::OldCause(_)
        | Refused::TooManyPatterns(_) => "",
    }
}
