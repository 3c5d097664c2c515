//! An event of one user: as it is published, as it waits, as it is kept, and as it is saved.

use std::borrow::Cow;

use broadcastd_plugin_api::{Cause, Flags, Outgoing};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It is told, and nothing takes its place.
    Ordered,
    /// It is told, unless a newer one of the same thing comes before a slow client has taken it.
    Latest,
    /// It is told to nobody and takes the thing out of the records.
    Gone,
    /// It is told to nobody and is the record once more, in the place of one that went.
    Again,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event<'a> {
    pub way: Way,
    pub kind: Cow<'a, str>,
    /// Whom it is for; empty = everybody, if the configuration allows that for the kind.
    pub user: Cow<'a, str>,
    /// What it describes; empty = nothing, and it is not kept.
    pub key: Cow<'a, str>,
    pub session_id: Cow<'a, str>,
    pub unix_ns: i64,
    pub payload: Cow<'a, RawValue>,
}

impl Event<'_> {
    /// As the daemon takes it, but for the topic.
    pub fn outgoing<'e>(&'e self, topic: &'e str, cause: Option<&'e Cause>) -> Outgoing<'e> {
        let way = match self.way {
            Way::Ordered => Flags::NONE,
            Way::Latest => Flags::LATEST,
            Way::Gone => Flags::DELETE | Flags::RECORD_ONLY,
            Way::Again => Flags::RECORD_ONLY,
        };
        Outgoing {
            kind: &self.kind,
            topic,
            key: &self.key,
            audience: &self.user,
            session_id: &self.session_id,
            unix_ns: self.unix_ns,
            payload: self.payload.get().as_bytes(),
            flags: if self.user.is_empty() { way | Flags::BROADCAST } else { way },
            cause,
            ..Outgoing::default()
        }
    }

    /// The event that takes this one out of the records.
    pub fn gone(self) -> Self {
        let nothing = RawValue::from_string("{}".to_owned()).expect("this is JSON");
        Event { way: Way::Gone, payload: Cow::Owned(nothing), ..self }
    }

    pub fn into_owned(self) -> Event<'static> {
        Event {
            way: self.way,
            kind: Cow::Owned(self.kind.into_owned()),
            user: Cow::Owned(self.user.into_owned()),
            key: Cow::Owned(self.key.into_owned()),
            session_id: Cow::Owned(self.session_id.into_owned()),
            unix_ns: self.unix_ns,
            payload: Cow::Owned(self.payload.into_owned()),
        }
    }

    /// What it takes in saved state, in bytes: enough also for names of which every letter is escaped.
    pub fn weight(&self) -> usize {
        const REST: usize = 160; // the names of the members, the way and the time
        const ESCAPED: usize = 6; // `\u0001`
        let names = self.kind.len() + self.user.len() + self.key.len() + self.session_id.len();
        REST + ESCAPED * names + self.payload.get().len()
    }
}
