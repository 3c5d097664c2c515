//! The settings of a broadcaster of user events.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Settings of a broadcaster of user events.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Kinds beside the eight that are known: `ORDER_UPDATE = { key = "orderId" }`; of those that are known, `schema`
    /// alone is a setting. Events of other kinds are counted and go to nobody.
    pub kinds: BTreeMap<String, KindSettings>,
    /// Members of payloads that services call by another name, by kind: `GINIE_STATUS_UPDATE = { running =
    /// "isRunning" }`. A member keeps its name where the payload has the other one, too.
    pub rename: BTreeMap<String, BTreeMap<String, String>>,
}

/// How events of a further kind are kept and told, and what they look like.
#[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KindSettings {
    /// The member of the payload that names the thing: the newest event of each is shown to a page that opens.
    pub key: Option<String>,
    /// There is one such thing for a user: the newest event is shown to a page that opens.
    pub current: bool,
    /// Only the newest counts: a client that is behind is told the newest of each thing and not the ones between.
    pub latest: bool,
    /// What its payload looks like, as JSON Schema, for the descriptions that programs read; default: any
    /// object, and for a kind that is known what clients of it expect.
    pub schema: Option<Map<String, Value>>,
    /// What the member `status` says of things that are done; those go first when there are too many.
    pub finished: Vec<String>,
}
