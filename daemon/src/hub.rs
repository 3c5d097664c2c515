//! The hub: streams by name. Publishing is synchronous and never waits for a subscriber; nothing here knows a socket, a
//! library or a config file.

pub mod commands;
pub mod history;
pub mod inputs;
pub mod interest;
pub mod kinds;
pub mod log;
pub mod names;
pub mod pattern;
pub mod payloads;
pub mod records;
pub mod repeats;
pub mod settings;
pub mod signal;
pub mod stream;
pub mod targets;
pub mod template;
#[cfg(test)]
mod tests;
pub mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use self::log::Answer;
use self::pattern::Pattern;
use self::settings::{Settings, Source};
use self::signal::Signal;
use self::stream::Stream;
pub use self::stream::reads::Reader;
use crate::event::{LogId, Position};
use crate::memory::Memory;
use crate::metrics;
use crate::metrics::labels::Relief;

/// A smaller history is none of those that memory is short for: clients may still resume by it.
const WORTH_CUTTING: usize = 256 << 10;

/// All streams of the process.
pub struct Hub {
    epoch: Arc<str>,
    common: Arc<Common>,
    /// How many streams are gone: a later one of the same name begins to count anew, in an epoch of its own.
    removed: AtomicU64,
    streams: RwLock<BTreeMap<Arc<str>, Arc<Stream>>>,
}

impl Hub {
    /// A hub without streams. The epoch names the life of its numberings; it is new at every start, because the logs are
    /// in memory.
    pub fn new(epoch: &str) -> Arc<Self> {
        Arc::new(Self {
            epoch: epoch.into(),
            common: Arc::default(),
            removed: AtomicU64::new(0),
            streams: RwLock::default(),
        })
    }

    pub fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// The stream of this name with these settings. A stream that exists keeps its numbers, history, records and
    /// subscribers; one that clients may no longer read sends them away.
    pub fn declare(&self, name: &str, settings: Settings) -> Arc<Stream> {
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        let known = streams.get(name).cloned();
        let stream = known.unwrap_or_else(|| {
            let stream = Stream::new(name, &self.next_epoch(), self.common.clone());
            streams.insert(name.into(), stream.clone());
            stream
        });
        drop(streams); // a stream's own lock is never taken under this one
        stream.apply(settings);
        stream
    }

    /// Forgets a stream and tells its subscribers.
    pub fn remove(&self, name: &str) {
        let removed = self.streams.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(stream) = removed {
            self.removed.fetch_add(1, Ordering::Relaxed);
            stream.set_source(Source::Removed);
            stream.commands().remove();
        }
    }

    pub fn stream(&self, name: &str) -> Option<Arc<Stream>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All streams, in order of their names.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What everything unsent and kept weighs, and what it may.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.common.memory
    }

    /// For when memory stays short although nobody has much unsent: histories let go, the largest first.
    pub fn cut_histories(&self) {
        while self.memory().is_short() {
            let sized = self.streams().into_iter().map(|stream| (stream.figures().history_bytes, stream));
            let largest = sized.max_by_key(|(bytes, _)| *bytes);
            let Some((bytes, stream)) = largest.filter(|(bytes, _)| *bytes >= WORTH_CUTTING) else {
                break;
            };
            tracing::warn!(stream = &**stream.name(), bytes, "hub.memory is short: half of the history has to go");
            metrics::memory_relieved(Relief::History);
            stream.halve_history();
        }
    }

    /// Tells publishers that were refused for want of memory when there is room again.
    pub fn tell_relief(&self) {
        if self.memory().take_relief() {
            self.streams().iter().for_each(|stream| stream.tell_writable());
        }
    }

    fn next_epoch(&self) -> Arc<str> {
        match self.removed.load(Ordering::Relaxed) {
            0 => self.epoch.clone(),
            gone => format!("{}-{gone}", self.epoch).into(),
        }
    }
}

/// What all streams of a hub have in common.
#[derive(Debug, Default)]
pub struct Common {
    log_ids: AtomicU64,
    broadcasters: AtomicU64,
    pub memory: Arc<Memory>,
    /// Raised when a command begins to wait and none did.
    deadlines: Arc<Signal>,
}

impl Common {
    fn next_log_id(&self) -> LogId {
        LogId(self.log_ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Another number for each stream that may have a broadcaster; never 0.
    fn next_broadcaster(&self) -> u64 {
        self.broadcasters.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// An accepted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub seq: u64,
    /// The same event had been accepted before, and this time nothing was added.
    pub repeated: bool,
}

/// What a subscriber asks for: `since` continues behind a remembered position.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    pub patterns: &'a [Pattern],
    pub audience: &'a str,
    pub reader: Reader,
    pub since: Option<&'a Position>,
}

/// What a subscription begins with; everything after `position` is offered to the outlet.
#[derive(Debug)]
pub struct Subscribed {
    pub stream: Arc<str>,
    pub log: LogId,
    pub position: Position,
    pub answer: Answer,
    pub source: Source,
}

/// Why an event or a subscription was not accepted. The text says the rule and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Listeners have not taken enough of what waits for them; there will be room again.
    Full,
    /// Everything unsent and kept weighs as much as it may; there will be room again.
    NoMemory,
    BadTopic(String),
    /// A kind without a name, or one that is the daemon's own type of message.
    BadKind(String),
    TooManyTopics(usize),
    TooManyRecords(usize),
    TooManyAudiences(usize),
    /// Different patterns with `*` among the stream's subscriptions.
    TooManyPatterns(usize),
    /// An event for one user in a stream that everybody may read.
    NotPrivate,
    /// The event follows from an input of which it is forgotten whether the event was published for it before.
    OldCause(usize),
    /// The stream was removed by a reload.
    Removed,
    /// The daemon ends, and nobody would hear it.
    Ended,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => out.write_str("the stream's listeners are behind by all of listen_buffer; try again later"),
            Self::NoMemory => out.write_str("all of hub.memory is in use; try again later, or raise it"),
            Self::BadTopic(reason) => out.write_str(reason),
            Self::BadKind(kind) => {
                write!(
                    out,
                    "an event cannot be of the kind \"{}\": these are the daemon's own: {}",
                    kind.escape_debug(),
                    kinds::RESERVED.join(", ")
                )
            }
            Self::TooManyTopics(max) => {
                write!(
                    out,
                    "the stream has {max} topics with records or recent events; raise max_topics, or use fewer topics"
                )
            }
            Self::TooManyRecords(max) => {
                write!(out, "the stream has {max} records already; raise max_records, or delete records")
            }
            Self::TooManyAudiences(max) => write!(out, "the stream has {max} audiences already, the most it may have"),
            Self::TooManyPatterns(max) => write!(
                out,
                "the stream's subscribers use {max} different patterns with * already; subscribe to topics, or to the whole stream"
            ),
            Self::NotPrivate => out.write_str(
                "the event has an audience, but the stream is not private; set private = true, or leave it out",
            ),
            Self::OldCause(max) => write!(
                out,
                "whether its cause led to it before is forgotten: {max} later inputs led to events; publish it earlier, or without a cause"
            ),
            Self::Removed => out.write_str("the stream was removed from the configuration"),
            Self::Ended => out.write_str("the daemon ends; try again when it is back"),
        }
    }
}
