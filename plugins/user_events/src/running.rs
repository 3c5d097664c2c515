//! A running broadcaster of user events: from inputs by the rules of their kinds to the stream and the board.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use broadcastd_plugin_api::{Context, Failure, Message};
use serde::{Deserialize, Serialize};

use crate::board::{Board, Thing};
use crate::counters::Counters;
use crate::event::{Event, Way};
use crate::outlet::{Outlet, Waiting};
use crate::payload::Payload;
use crate::rules::{Key, Rule, Rules};

pub const STATE_VERSION: u32 = 1;

/// Unknown kinds that the log names; further ones are only counted, because their names come from outside.
pub const MAX_NAMED: usize = 100;

/// The key of a thing of which a user has one.
const CURRENT: &str = "current";

pub struct UserEvents {
    pub counters: Counters,
    pub outlet: Outlet,
    rules: Rules,
    board: Board,
    unknown: HashSet<String>,
    /// Makes users tell-apart in the log of one run, and says nothing about them elsewhere: its key is random.
    hasher: RandomState,
}

#[derive(Serialize, Deserialize)]
struct Saved<'a> {
    things: Vec<Cow<'a, Thing>>,
    waiting: Cow<'a, VecDeque<Waiting>>,
}

impl UserEvents {
    pub fn new(rules: Rules) -> Self {
        Self {
            counters: Counters::new(),
            outlet: Outlet::default(),
            rules,
            board: Board::default(),
            unknown: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    pub fn take(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Message { kind, audience, session_id, unix_ns, .. } = *message;
        let Some(rule) = self.rules.of(kind) else {
            self.count_unknown(kind);
            return Ok(());
        };
        let Some(payload) = Payload::read(message.payload, &rule.renames) else {
            self.counters.malformed.increment(1);
            tracing::warn!(kind, "a payload that is no JSON object goes to nobody");
            return Ok(());
        };
        let key = key(rule, &payload);
        if key.is_none() {
            self.counters.keyless.increment(1);
        }
        let event = Event {
            way: if rule.latest && key.as_deref().is_some_and(|key| !key.is_empty()) {
                Way::Latest
            } else {
                Way::Ordered
            },
            kind: kind.into(),
            user: audience.into(),
            key: key.unwrap_or_default(),
            session_id: session_id.into(),
            unix_ns,
            payload: Cow::Borrowed(payload.json()),
        };
        tracing::debug!(kind, user = %self.alias(audience), "published");
        rule.told.increment(1);
        let kept = (!event.key.is_empty()).then(|| {
            let is_done = payload.name("status").is_some_and(|status| rule.is_finished(&status));
            Thing { event: event.clone().into_owned(), is_done }
        });
        self.outlet.send(event, &self.counters, cx)?;
        kept.map_or(Ok(()), |thing| self.keep(thing, cx))
    }

    /// Publishes everything that is kept, in the order in which it changed: of what was told to a user and to everybody
    /// the newer one stays.
    pub fn tell_records(&mut self, cx: &mut Context<'_>) {
        for thing in self.board.things() {
            self.outlet.refresh(&thing.event, &self.counters, cx);
        }
    }

    pub fn state(&self) -> Result<Vec<u8>, Failure> {
        let things = self.board.things().map(Cow::Borrowed).collect();
        Ok(serde_json::to_vec(&Saved { things, waiting: Cow::Borrowed(self.outlet.waiting()) })?)
    }

    /// Kinds that are kept no longer, because the settings are others now, are left behind.
    pub fn resume(&mut self, state: &[u8]) -> Result<(), Failure> {
        let saved: Saved<'_> = serde_json::from_slice(state)?;
        for thing in saved.things.into_iter().map(Cow::into_owned) {
            if self.rules.of(&thing.event.kind).is_some_and(|rule| rule.key != Key::None) {
                self.board.put(thing);
            }
        }
        self.outlet.resume(saved.waiting.into_owned());
        Ok(())
    }

    fn keep(&mut self, thing: Thing, cx: &mut Context<'_>) -> Result<(), Failure> {
        for gone in self.board.put(thing) {
            self.counters.gone(gone.why);
            let again = self.board.beneath(&gone.event);
            self.outlet.send(gone.event.gone(), &self.counters, cx)?;
            for event in again {
                self.outlet.send(event, &self.counters, cx)?;
            }
        }
        Ok(())
    }

    fn count_unknown(&mut self, kind: &str) {
        self.counters.unknown.increment(1);
        if self.unknown.len() < MAX_NAMED && self.unknown.insert(kind.to_owned()) {
            tracing::warn!(kind, "events of this kind go to nobody; add it to the setting `kinds`");
        }
    }

    /// Whom a line of the log is about, without saying who that is.
    fn alias(&self, user: &str) -> String {
        if user.is_empty() { "everybody".to_owned() } else { format!("{:016x}", self.hasher.hash_one(user)) }
    }
}

/// What an event is about; empty for a kind that is not kept, `None` when its payload does not say.
fn key<'a>(rule: &Rule, payload: &Payload<'a>) -> Option<Cow<'a, str>> {
    match &rule.key {
        Key::None => Some(Cow::Borrowed("")),
        Key::Current => Some(Cow::Borrowed(CURRENT)),
        Key::Member(member) => payload.name(member),
    }
}
