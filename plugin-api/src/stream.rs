//! The declaration of a broadcaster's stream, in the JSON form that plugin and daemon share.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The schema that nothing fits.
const NOTHING: Value = Value::Bool(false);

/// What a broadcaster says about the stream it publishes to. The operator may override most of it in config.toml.
///
/// ```
/// # use broadcastd_plugin_api::{Lag, StreamSpec};
/// # #[derive(schemars::JsonSchema)] struct Bar { close: f64 }
/// # #[derive(schemars::JsonSchema)] struct Acknowledge { id: u64 }
/// let stream = StreamSpec::new("{symbol}:{resolution=1}")
///     .lag(Lag::Resync)
///     .view("candles")
///     .kind::<Bar>("bar")
///     .collected("bars")
///     .command::<Acknowledge>("acknowledge", "alerts.acknowledge");
/// assert_eq!(stream.kinds["bar"].collection.as_deref(), Some("bars"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// How a subscription's params become a topic, `{symbol}:{resolution=1}`: `{x=1}` has a default, a missing `{x}`
    /// is a wildcard. Empty: subscriptions name topics only.
    #[serde(default)]
    pub template: String,
    /// Other spellings of the template's parameters: parameter → spelling → what it stands for in a topic.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, BTreeMap<String, String>>,
    /// What happens to a connection that cannot take everything.
    #[serde(default)]
    pub lag: Lag,
    /// One log per audience: every event is for one user.
    #[serde(default)]
    pub private: bool,
    /// How the dashboard shows it: `candles`, `control_chart`, `state_machine`, `status_cards` or `log`; a view that
    /// a dashboard does not know is shown as `log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    /// What it publishes, by kind.
    #[serde(default)]
    pub kinds: BTreeMap<String, KindSpec>,
    /// What clients and operators may ask of it, by name.
    #[serde(default)]
    pub commands: BTreeMap<String, CommandSpec>,
    /// The kind that [`StreamSpec::collected`] speaks of.
    #[serde(skip)]
    newest: Option<String>,
}

/// What happens to a connection that lags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lag {
    /// Drop what waits and send a fresh snapshot: right where the newest state is what counts.
    #[default]
    Resync,
    /// Close; the client resumes by position: right where every event counts.
    Disconnect,
}

/// One kind of event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindSpec {
    /// JSON Schema 2020-12 of the payload. `false`, which nothing fits: no event of it is told, it is in snapshots only.
    pub schema: Value,
    /// The collection its records are in, `bars`; none: they are in `records`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// JSON Schema 2020-12 of its records, where they are not the payload. `false`, which nothing fits: it leaves none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Value>,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// JSON Schema 2020-12 of the payload.
    pub schema: Value,
    /// The permission that whoever asks must have, `alerts.acknowledge`.
    pub permission: String,
}

impl KindSpec {
    /// What its events look like; `None`: there are none, it is in snapshots only.
    pub fn of_events(&self) -> Option<&Value> {
        Some(&self.schema).filter(|schema| **schema != NOTHING)
    }

    /// What its records look like; `None`: it leaves none.
    pub fn of_records(&self) -> Option<&Value> {
        Some(self.record.as_ref().unwrap_or(&self.schema)).filter(|schema| **schema != NOTHING)
    }
}

impl StreamSpec {
    /// A stream with a template and nothing else; see [`StreamSpec::template`].
    pub fn new(template: &str) -> Self {
        StreamSpec { template: template.to_owned(), ..StreamSpec::default() }
    }

    /// Lets subscriptions write `spelling` for the value `means` of a parameter of the template:
    /// `.alias("resolution", "D", "1D")`.
    pub fn alias(mut self, parameter: &str, spelling: &str, means: &str) -> Self {
        self.aliases.entry(parameter.to_owned()).or_default().insert(spelling.to_owned(), means.to_owned());
        self
    }

    /// Sets what happens to a connection that lags; [`Lag::Resync`] unless set.
    pub fn lag(self, lag: Lag) -> Self {
        StreamSpec { lag, ..self }
    }

    /// Makes it one log per audience; then every event names its audience.
    pub fn private(self) -> Self {
        StreamSpec { private: true, ..self }
    }

    /// Sets how the dashboard shows it.
    pub fn view(self, view: &str) -> Self {
        StreamSpec { view: Some(view.to_owned()), ..self }
    }

    /// Adds a kind whose payload is `T`.
    pub fn kind<T: JsonSchema>(mut self, name: &str) -> Self {
        let spec = KindSpec { schema: payload_schema::<T>(), collection: None, record: None };
        self.kinds.insert(name.to_owned(), spec);
        self.newest = Some(name.to_owned());
        self
    }

    /// Adds a kind of records `T` that are never told as an event: clients see them in snapshots only.
    pub fn record_kind<T: JsonSchema>(self, name: &str) -> Self {
        self.kind::<T>(name).recorded_as::<T>().change(|kind| kind.schema = NOTHING)
    }

    /// Names the collection that the records of the kind added last are in. Without a kind it does nothing.
    pub fn collected(self, collection: &str) -> Self {
        self.change(|kind| kind.collection = Some(collection.to_owned()))
    }

    /// The records of the kind added last are `T`, and not its payload. Without a kind it does nothing.
    pub fn recorded_as<T: JsonSchema>(self) -> Self {
        self.change(|kind| kind.record = Some(payload_schema::<T>()))
    }

    /// The kind added last leaves no record. Without a kind it does nothing.
    pub fn unrecorded(self) -> Self {
        self.change(|kind| kind.record = Some(NOTHING))
    }

    /// Adds a command whose payload is `T`, for those who have `permission`.
    pub fn command<T: JsonSchema>(mut self, name: &str, permission: &str) -> Self {
        let schema = settings_schema::<T>();
        self.commands.insert(name.to_owned(), CommandSpec { schema, permission: permission.to_owned() });
        self
    }

    fn change(mut self, change: impl FnOnce(&mut KindSpec)) -> Self {
        if let Some(kind) = self.newest.as_ref().and_then(|newest| self.kinds.get_mut(newest)) {
            change(kind);
        }
        self
    }
}

/// JSON Schema 2020-12 of what is written as `T`.
fn payload_schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// JSON Schema 2020-12 of what is read as `T`.
pub(crate) fn settings_schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Bar {
        close: f64,
    }

    #[test]
    fn the_declaration_reads_back_as_itself() {
        let spec =
            StreamSpec::new("{symbol}").lag(Lag::Disconnect).view("candles").kind::<Bar>("bar").collected("bars");
        let spec = spec.command::<Bar>("acknowledge", "alerts.acknowledge").alias("symbol", "APPLE", "AAPL");
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(json["lag"], "disconnect");
        assert_eq!(json["aliases"]["symbol"]["APPLE"], "AAPL");
        assert_eq!(json["kinds"]["bar"]["collection"], "bars");
        assert_eq!(json["kinds"]["bar"]["schema"]["properties"]["close"]["type"], "number");
        assert_eq!(json["commands"]["acknowledge"]["permission"], "alerts.acknowledge");
        let read: StreamSpec = serde_json::from_value(json).unwrap();
        assert_eq!(StreamSpec { newest: None, ..spec }, read);
    }

    #[test]
    fn a_kind_says_what_its_events_and_its_records_look_like() {
        #[derive(JsonSchema)]
        #[expect(dead_code, reason = "only its schema is used")]
        struct Line {
            label: String,
        }
        let spec = StreamSpec::new("").unrecorded().kind::<Bar>("bar").kind::<Bar>("told").unrecorded();
        let spec = spec.kind::<Bar>("both").recorded_as::<Line>().record_kind::<Line>("shown").collected("lines");
        let read: StreamSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        let member = |schema: Option<&Value>| Some(schema?["properties"].as_object()?.keys().next()?.clone());
        let of = |kind: &str| {
            let kind = &read.kinds[kind];
            (member(kind.of_events()), member(kind.of_records()))
        };
        let (close, label) = (|| Some("close".to_owned()), || Some("label".to_owned()));
        assert_eq!(of("bar"), (close(), close()));
        assert_eq!(of("told"), (close(), None));
        assert_eq!(of("both"), (close(), label()));
        assert_eq!(of("shown"), (None, label()));
        assert_eq!(read.kinds["shown"].collection.as_deref(), Some("lines"));
        let json = serde_json::to_value(&spec).unwrap();
        assert!(json["kinds"]["bar"].get("record").is_none(), "what is as usual need not be said");
        assert_eq!((&json["kinds"]["told"]["record"], &json["kinds"]["shown"]["schema"]), (&NOTHING, &NOTHING));
    }

    #[test]
    fn everything_but_the_parts_of_a_kind_has_a_default() {
        let read: StreamSpec = serde_json::from_str(r#"{"kinds":{"hello":{"schema":true}},"later":1}"#).unwrap();
        assert_eq!((read.lag, read.private, read.view, read.template.as_str()), (Lag::Resync, false, None, ""));
    }
}
