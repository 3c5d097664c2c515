//! What clients are told: the payload of each kind, and the record that a snapshot shows of an instance.

use broadcastd_plugin_api::Cause;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::machine::Reason;
use crate::time::Time;

/// An event that is to be published.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub kind: Kind,
    pub session: String,
    /// Empty: it leaves no record.
    pub key: String,
    /// JSON.
    pub payload: String,
    /// JSON; empty: the payload, or nothing where the record goes.
    pub record: String,
    pub origin: From,
}

/// What an event follows from.
#[derive(Clone, Debug, PartialEq)]
pub enum From {
    /// The input at hand, at this place among all that may follow from it.
    Input(u32),
    /// An earlier one, by the time that has gone by since; `None`: so long ago that nobody knows it any more.
    Earlier(Option<Cause>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    StateChange,
    InstanceAdded,
    InstanceRemoved,
    InstanceStale,
    InstanceRecovered,
    IllegalTransition,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::StateChange => "state_change",
            Self::InstanceAdded => "instance_added",
            Self::InstanceRemoved => "instance_removed",
            Self::InstanceStale => "instance_stale",
            Self::InstanceRecovered => "instance_recovered",
            Self::IllegalTransition => "illegal_transition",
        }
    }
}

/// Which instance it is about.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Who<'a> {
    pub machine: &'a str,
    pub instance_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
pub struct StateChange<'a> {
    #[serde(flatten)]
    pub who: Who<'a>,
    pub state: &'a str,
    pub previous_state: &'a str,
    /// When it came into the state.
    pub since: Time,
    /// What happened; `timeout` when it was in the state before for as long as it may be; null when the program named
    /// the state alone.
    pub event: Option<&'a str>,
    /// One more than before, or what the program says, if that is more.
    pub version: u64,
    /// How long it was in the state before.
    pub duration_ms: u64,
    /// Why it is remarkable: `max_time`, or why the transition is illegal and was taken all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// As the program gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub data: Option<&'a RawValue>,
}

#[derive(Serialize, JsonSchema)]
pub struct InstanceAdded<'a> {
    #[serde(flatten)]
    pub who: Who<'a>,
    pub state: &'a str,
    pub since: Time,
    pub version: u64,
}

#[derive(Serialize, JsonSchema)]
pub struct InstanceRemoved<'a> {
    #[serde(flatten)]
    pub who: Who<'a>,
    pub final_state: &'a str,
    pub reason: &'a str,
    pub lifetime_ms: u64,
}

#[derive(Serialize, JsonSchema)]
pub struct IllegalTransition<'a> {
    #[serde(flatten)]
    pub who: Who<'a>,
    /// The state it is in; nothing, if nobody knows the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<&'a str>,
    pub reason: Reason,
}

/// An instance of which nothing was heard for long, or again.
#[derive(Serialize, JsonSchema)]
pub struct Silence<'a> {
    #[serde(flatten)]
    pub who: Who<'a>,
    pub state: &'a str,
    pub since: Time,
    /// How long nothing was heard.
    pub idle_ms: u64,
}

/// An instance in a snapshot.
#[derive(Serialize, JsonSchema)]
pub struct Record<'a> {
    pub session_id: &'a str,
    #[serde(flatten)]
    pub who: Who<'a>,
    pub state: &'a str,
    /// Missing until its first change of state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_state: Option<&'a str>,
    pub since: Time,
    pub version: u64,
    /// Nothing was heard of it for long. Missing otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// The JSON of a payload or record.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers can be written as JSON")
}
