//! The words for a subscription's events.

use std::sync::Arc;

use super::{Dialect, fastws, native, spc, sse, streams, user};
use crate::event::{Event, Format};

/// How the events of a subscription are put into words: what their text depends on beside themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Voice {
    pub dialect: Dialect,
    /// What the client calls the stream, where that is not its name.
    pub alias: Option<Arc<str>>,
    /// The client's own spelling of its topic, in dialects that repeat it with each event.
    pub topic: Option<Arc<str>>,
}

impl Voice {
    /// A dialect without any peculiarity of the client.
    pub fn of(dialect: Dialect) -> Self {
        Self { dialect, alias: None, topic: None }
    }

    /// What the text of an event depends on: not every dialect says the stream's name as the client calls it.
    pub fn wording(&self) -> (Dialect, Option<&Arc<str>>, Option<&Arc<str>>) {
        let says_name = matches!(self.dialect, Dialect::Streams | Dialect::Fastws(_));
        (self.dialect, self.alias.as_ref().filter(|_| says_name), self.topic.as_ref())
    }

    /// Where an event keeps its text, if that is the same for all clients of the dialect.
    pub fn format(&self) -> Option<Format> {
        let is_common = matches!(self.wording(), (_, None, None));
        is_common.then_some(Format(match self.dialect {
            Dialect::Native => 0,
            Dialect::Sse => 1,
            Dialect::Streams => 2,
            Dialect::Spc => 3,
            Dialect::Fastws(_) => 4,
            Dialect::User => 5,
        }))
    }

    /// The event's text on the wire.
    pub fn event(&self, event: &Event) -> Vec<u8> {
        match self.dialect {
            Dialect::Native => native::event(event),
            Dialect::Sse => sse::event(event),
            Dialect::Streams => streams::event(event, self.alias.as_deref()),
            Dialect::Spc => spc::event(event),
            Dialect::Fastws(_) => fastws::event(event, self),
            Dialect::User => user::event(event),
        }
    }

    /// Several events as one message; `messages` are their native texts. Only who reads native messages can ask for it.
    pub fn batch(&self, newest: &Event, messages: &[&[u8]]) -> Vec<u8> {
        match self.dialect {
            Dialect::Sse => sse::batch(newest, messages),
            _ => native::batch(newest, messages),
        }
    }
}
