//! `[streams.NAME]` and `[broadcasters.NAME]`: where events come from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::hub::Flush;
use super::server::Auth;
use crate::config::value::{Duration, Interval, Size};

/// A stream that outside programs publish to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeclaredStream {
    /// Whether clients may subscribe, too: a plain relay. Default false.
    pub visible: bool,
    /// Whether a subscription needs an identity, which "required" says; default "optional".
    pub auth: Auth,
    /// How params become a topic, such as "{symbol}:{resolution=1}". Default: none.
    pub template: String,
    /// What is kept; what is not said here is as in `hub.history`.
    pub history: HistoryOverride,
    /// One log per audience; default false.
    pub private: bool,
    /// Of a private stream, the kinds that may go to everybody. Default: none.
    pub broadcast: Vec<String>,
    /// What happens to a connection that cannot take everything; default "resync".
    pub lag: Lag,
    /// How long its deliveries may be gathered, 0ms to 1s, or "auto"; default as in `hub.flush`.
    pub flush: Option<Flush>,
    /// Topics, 1 to 10 000 000; default as in `hub.max_topics`.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_topics: Option<u32>,
    /// Records, 1 to 10 000 000; default as in `hub.max_records`.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_records: Option<u32>,
    /// How long the `id` of a published event is remembered, so that a retry does no harm, up to 1d; default 5m.
    #[schemars(range(max = 86400))]
    pub dedup: Duration,
    /// A JSON Schema file for the payloads (`data`), by a path from this file's folder; behind # a part of it, and in that
    /// {kind} for the kind of the event: "events.json#/$defs/{kind}". Default: none.
    pub schema: Option<String>,
    /// What becomes of an event that does not fit, by kind, "*" for all others; default "warn".
    pub schema_modes: BTreeMap<String, SchemaMode>,
}

/// What becomes of an event that does not fit the schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SchemaMode {
    /// It is refused, with the place in it.
    Enforce,
    /// It is accepted and counted, and the first of its kind is told in the log.
    #[default]
    Warn,
    /// Nobody looks.
    Off,
}

/// What happens to a connection that cannot take everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lag {
    /// What waits is dropped, and a fresh snapshot sent.
    #[default]
    Resync,
    /// The connection is closed; the client resumes.
    Disconnect,
}

/// What a stream keeps where it differs from `hub.history`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryOverride {
    /// Events, 0 to 10 000 000; default as in `hub.history`.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub events: Option<u32>,
    /// Bytes, up to 64GiB; default as in `hub.history`.
    #[schemars(range(max = 68_719_476_736u64))]
    pub bytes: Option<Size>,
    /// Age, up to 365d; default as in `hub.history`.
    #[schemars(range(max = 31_536_000))]
    pub age: Option<Duration>,
}

/// One running instance of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["plugin"]))]
pub struct Broadcaster {
    /// The plugin's name: "spc" is the file libspc.so.
    // The schema asks for it; the type does without, so that one error does not hide others of the same table.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend(
        "pattern" = "^[a-z][a-z0-9_]*$",
        "x-rule" = "a plugin is named without folder, lib and .so, in small letters: \"spc\" is the file libspc.so"
    ))]
    pub plugin: String,
    /// Whether it runs; default true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Prefix of environment variables that win over `settings`: with "BAR", BAR_INTERVAL is the setting `interval`.
    #[serde(default)]
    #[schemars(extend(
        "pattern" = "^[A-Z][A-Z0-9_]*[A-Z0-9]$",
        "x-rule" = "a prefix is written in capitals, like \"BAR_BROADCASTER\", without the last underscore"
    ))]
    pub env: Option<String>,
    /// The streams it listens to, by name. Default: none.
    #[serde(default)]
    pub listen: Vec<String>,
    /// Whether it may listen to private streams; default false.
    #[serde(default)]
    pub allow_private: bool,
    /// What the plugin's own schema says. Default: the plugin's defaults.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// Where its stream differs from what the plugin declares and `hub` says.
    #[serde(default)]
    pub stream: StreamOverride,
    /// When it is started again after a failure.
    #[serde(default)]
    pub restart: Restart,
    /// The only file accepted as its plugin, by SHA-256 in hex. Default: any.
    #[serde(default)]
    #[schemars(extend("pattern" = "^[0-9a-fA-F]{64}$", "x-rule" = "a SHA-256 is 64 hex digits, as sha256sum prints it"))]
    pub sha256: Option<String>,
}

/// Where a broadcaster's stream differs from what the plugin declares and `hub` says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamOverride {
    /// What is kept; what is not said here is as in `hub.history`.
    pub history: HistoryOverride,
    /// Whether clients may subscribe; default true.
    pub visible: Option<bool>,
    /// Whether a subscription needs an identity, which "required" says; default "optional".
    pub auth: Option<Auth>,
    /// What happens to a connection that cannot take everything; default as the plugin declares.
    pub lag: Option<Lag>,
    /// How long its deliveries may be gathered, 0ms to 1s, or "auto"; default as in `hub.flush`.
    pub flush: Option<Flush>,
    /// Where the plugin declares it private, the kinds that may go to everybody. Default: none.
    pub broadcast: Vec<String>,
    /// Topics, 1 to 10 000 000; default as in `hub.max_topics`.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_topics: Option<u32>,
    /// Records, 1 to 10 000 000; default as in `hub.max_records`.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_records: Option<u32>,
}

/// When a broadcaster is started again after a failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Restart {
    /// Failures within `within` before it is quarantined, 0 to 1000; default 5.
    #[schemars(range(min = 0, max = 1000))]
    pub max: u32,
    /// The time in which failures are counted, 1s to 1d; default 1m.
    #[schemars(range(min = 1, max = 86400))]
    pub within: Duration,
    /// The wait before a start, from the first to the longest; default "100ms..30s".
    pub backoff: Interval,
}

impl Default for DeclaredStream {
    fn default() -> Self {
        Self {
            visible: false,
            auth: Auth::default(),
            template: String::new(),
            history: HistoryOverride::default(),
            private: false,
            broadcast: Vec::new(),
            lag: Lag::default(),
            flush: None,
            max_topics: None,
            max_records: None,
            dedup: Duration::from_secs(300),
            schema: None,
            schema_modes: BTreeMap::new(),
        }
    }
}

impl Default for Restart {
    fn default() -> Self {
        let backoff = Interval { from: Duration::from_millis(100), to: Duration::from_secs(30) };
        Self { max: 5, within: Duration::from_secs(60), backoff }
    }
}

fn yes() -> bool {
    true
}
