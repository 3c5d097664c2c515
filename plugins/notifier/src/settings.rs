//! The settings of every notifier, and how those of one sort stand beside them in one table.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use broadcastd_plugin_api::{Failure, duration};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::rate::Rate;
use crate::retry::Retry;
use crate::rules::Rules;
use crate::template::Texts;

/// Attempts of one message between two limits: shorter ones would only fail, longer ones hold a thread for too long.
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(120));

/// The most messages that a queue may be set to hold: it is saved whole, once a second while things happen.
pub const MAX_QUEUE: usize = 10_000;

/// The most dead letters that may be kept: all of them fit into one answer to a command.
const MAX_DEAD_LETTERS: usize = 400;

/// The most fields that make a group; each is looked up for every event.
const MAX_GROUP_FIELDS: usize = 8;

/// The settings that every notifier has.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// Which events become messages.
    #[serde(rename = "match")]
    pub rules: Rules,
    /// Fields that make a group: messages of one group keep their order, and `cooldown` holds for each group by itself.
    pub group_by: Vec<String>,
    /// How long after a message others of the same kind and group are held back; they are counted, and the next message
    /// says how many. 0s: all are sent.
    pub cooldown: duration::Duration,
    /// How many messages may go out; more of them wait. Default: as many as there are.
    pub rate: Option<Rate>,
    /// Subject and body by kind of event, with `{field}` for what the event says; `*` is for all other kinds.
    pub text: Texts,
    /// How long one attempt may take, from 100ms to 2m.
    pub timeout: duration::Duration,
    /// When and how often a message is tried again.
    pub retry: Retry,
    /// Where messages wait: `disk` keeps them in the broadcaster's saved state, `memory` forgets them at a restart.
    pub queue: QueuePlace,
    /// How many messages may wait, from 1 to 10000; beyond, the oldest one becomes a dead letter.
    #[schemars(range(min = 1, max = 10_000))]
    pub queue_size: usize,
    /// How many dead letters are kept, from 1 to 400; beyond, the oldest one is dropped, counted and logged.
    #[schemars(range(min = 1, max = 400))]
    pub dead_letters: usize,
}

/// Where messages wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueuePlace {
    /// In the saved state, together with the position of the input.
    #[default]
    Disk,
    /// Nowhere else.
    Memory,
}

/// What `settings` of a notifier may say: what all have, and what `S` adds.
pub struct Settings<S> {
    /// What all have.
    pub common: Common,
    /// What this sort adds.
    pub own: S,
}

impl Default for Common {
    fn default() -> Self {
        Common {
            rules: Rules::default(),
            group_by: vec!["characteristic_id".to_owned(), "rule_id".to_owned()],
            cooldown: duration::Duration::default(),
            rate: None,
            text: Texts::default(),
            timeout: duration::Duration::from_ms(10_000),
            retry: Retry::default(),
            queue: QueuePlace::default(),
            queue_size: 1_000,
            dead_letters: 100,
        }
    }
}

impl Common {
    /// What a schema cannot say.
    pub fn validate(&self) -> Result<(), Failure> {
        self.rules.validate()?;
        self.text.validate()?;
        self.retry.validate()?;
        if let Some(rate) = &self.rate {
            rate.validate()?;
        }
        if !(TIMEOUTS.0..=TIMEOUTS.1).contains(&self.timeout.to_std()) {
            return Err(Failure::at("/timeout", "an attempt may take from 100ms to 2m"));
        }
        within("/queue_size", self.queue_size, MAX_QUEUE)?;
        within("/dead_letters", self.dead_letters, MAX_DEAD_LETTERS)?;
        if self.group_by.len() > MAX_GROUP_FIELDS {
            return Err(Failure::at("/group_by", format!("at most {MAX_GROUP_FIELDS} fields make a group")));
        }
        Ok(())
    }
}

fn within(pointer: &str, value: usize, max: usize) -> Result<(), Failure> {
    if (1..=max).contains(&value) { Ok(()) } else { Err(Failure::at(pointer, format!("from 1 to {max}"))) }
}

/// One table is read as two, so that each can refuse what it does not know.
impl<'de, S: DeserializeOwned> Deserialize<'de> for Settings<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Map::deserialize(deserializer)?;
        let names = common_names();
        let (common, own) = all.into_iter().partition::<Map<_, _>, _>(|(name, _)| names.contains_key(name));
        Ok(Settings { common: read(common).map_err(D::Error::custom)?, own: read(own).map_err(D::Error::custom)? })
    }
}

fn common_names() -> BTreeMap<String, Value> {
    let names = serde_json::to_value(Common::default()).and_then(serde_json::from_value);
    names.expect("the default settings are JSON")
}

fn read<T: DeserializeOwned>(table: Map<String, Value>) -> Result<T, serde_json::Error> {
    serde_json::from_value(Value::Object(table))
}

/// One table has the properties of both, and no others.
impl<S: JsonSchema> JsonSchema for Settings<S> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Settings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut all = S::json_schema(generator);
        let mut common = Common::json_schema(generator);
        let properties = common.ensure_object().remove("properties");
        let table = all.ensure_object();
        table.insert("additionalProperties".to_owned(), Value::Bool(false));
        let own = table.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        if let (Value::Object(own), Some(Value::Object(common))) = (own, properties) {
            own.extend(common);
        }
        all
    }
}
