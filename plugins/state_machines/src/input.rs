//! What programs report of their sessions: the kinds of the stream that is listened to, read from their payloads.

use std::borrow::Cow;

use broadcastd_plugin_api::Message;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::time::Time;

/// Bytes of a name, which bounds what an instance takes of the state that is saved: of a session, a strategy, a symbol, a machine, a state or an event.
pub const MAX_NAME: usize = 128;
/// What a name is, for whoever has to correct one.
pub const NAMES: &str = "a name has 1 to 128 bytes and no control characters";
/// Strategies times symbols of one session: each is an event of the same input.
pub const MAX_STARTED: usize = 10_000;
/// Versions go through programs that count in double precision.
const MAX_VERSION: u64 = (1 << 53) - 1;

/// What a program reports.
#[derive(Debug)]
pub enum Input {
    SessionStarted { session: String, machine: Option<String>, strategies: Vec<String>, symbols: Vec<String> },
    SessionStopped { session: String, reason: Option<String> },
    Started(About),
    Transition(About, Transition),
    Heartbeat(About),
    Stopped { about: About, reason: Option<String> },
}

/// Which instance it is about, as the program names it.
#[derive(Debug)]
pub struct About {
    pub session: String,
    pub machine: Option<String>,
    pub strategy_id: Option<String>,
    pub symbol: Option<String>,
}

#[derive(Debug)]
pub struct Transition {
    pub event: Option<String>,
    pub to: Option<String>,
    pub version: Option<u64>,
    pub reenter: bool,
    pub data: Option<Box<RawValue>>,
}

/// What was read of a message: nothing, if it is of no kind that is known.
pub struct Read {
    pub input: Option<Input>,
    /// When it happened, as the program says.
    pub at: Option<Time>,
}

/// Every field that some kind has.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    session_id: Option<Cow<'a, str>>,
    machine: Option<String>,
    strategy_id: Option<String>,
    symbol: Option<String>,
    #[serde(default)]
    strategies: Vec<String>,
    #[serde(default)]
    symbols: Vec<String>,
    event: Option<String>,
    to: Option<String>,
    version: Option<u64>,
    #[serde(default)]
    reenter: bool,
    at: Option<String>,
    reason: Option<String>,
    data: Option<Box<RawValue>>,
}

/// The failure says what is wrong with the payload.
pub fn read(message: &Message<'_>) -> Result<Read, String> {
    if !KINDS.contains(&message.kind) {
        return Ok(Read { input: None, at: None });
    }
    let fields: Fields<'_> = serde_json::from_slice(message.payload).map_err(|error| error.to_string())?;
    let at = fields.at.as_deref().map(Time::parse).transpose()?;
    let input = fields.input(message.kind, message.session_id)?;
    Ok(Read { input: Some(input), at })
}

const KINDS: [&str; 6] = [
    "session.started",
    "session.stopped",
    "instance.started",
    "instance.transition",
    "instance.heartbeat",
    "instance.stopped",
];

impl Fields<'_> {
    /// The session is in the payload, or beside it.
    fn input(self, kind: &str, session_beside: &str) -> Result<Input, String> {
        let session = self.session_id.as_deref().unwrap_or(session_beside);
        let session = name("session_id", Some(session.to_owned()).filter(|text| !text.is_empty()))?;
        let session = session.ok_or("session_id is missing")?;
        let machine = name("machine", self.machine)?;
        match kind {
            "session.started" => {
                let strategies = names("strategies", self.strategies)?;
                let symbols = names("symbols", self.symbols)?;
                return Ok(Input::SessionStarted { session, machine, strategies, symbols });
            }
            "session.stopped" => return Ok(Input::SessionStopped { session, reason: reason(self.reason) }),
            _ => {}
        }
        let (strategy_id, symbol) = (name("strategy_id", self.strategy_id)?, name("symbol", self.symbol)?);
        let about = About { session, machine, strategy_id, symbol };
        Ok(match kind {
            "instance.started" => Input::Started(about),
            "instance.heartbeat" => Input::Heartbeat(about),
            "instance.stopped" => Input::Stopped { about, reason: reason(self.reason) },
            _ => {
                let (event, to) = (name("event", self.event)?, name("to", self.to)?);
                if event.is_none() && to.is_none() {
                    return Err("a transition says its event, or with `to` the state it leads to".into());
                }
                if self.version.is_some_and(|version| version == 0 || version > MAX_VERSION) {
                    return Err(format!("a version is a number from 1 to {MAX_VERSION}"));
                }
                let transition =
                    Transition { event, to, version: self.version, reenter: self.reenter, data: self.data };
                Input::Transition(about, transition)
            }
        })
    }
}

pub fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A reason is free text, for people: what is not fit for a line of it is no reason not to stop.
fn reason(text: Option<String>) -> Option<String> {
    let mut text = text?.replace(char::is_control, " ");
    text.truncate(text.floor_char_boundary(MAX_NAME));
    Some(text).filter(|text| !text.trim().is_empty())
}

fn names(field: &str, names: Vec<String>) -> Result<Vec<String>, String> {
    names.into_iter().map(|one| name(field, Some(one)).map(Option::unwrap_or_default)).collect()
}

fn name(field: &str, name: Option<String>) -> Result<Option<String>, String> {
    match name {
        Some(name) if !is_name(&name) => Err(format!("{field}: {NAMES}")),
        name => Ok(name),
    }
}
