//! The settings of a broadcaster of state machines, as they are written. What they come to is in `check`.

use broadcastd_plugin_api::duration::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine of instances that name none, where no machine is declared.
pub const USUAL_MACHINE: &str = "strategy";

/// Settings of a broadcaster of state machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Who reports: `sessions` are the programs behind the streams that are listened to; `mock` makes the session `mock`
    /// up as well.
    #[schemars(extend("x-listens" = ["sessions"]))]
    pub source: SourceName,
    /// How often something happens in the made-up session; at least 10ms.
    pub interval: Duration,
    /// The machines that instances follow; the first is that of instances which name none. Without any, every state is
    /// accepted.
    pub machines: Vec<MachineSettings>,
    /// The state that an instance begins in where no machine is declared.
    pub initial: String,
    /// How long nothing is heard of an instance until it counts as stale, unless its machine says otherwise; 0s is never.
    pub stale_after: Duration,
    /// The level at which each broadcast is logged.
    pub log_broadcasts: Level,
}

/// A machine: its states, and what leads from one to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineSettings {
    /// What instances call it.
    pub id: String,
    /// What tells its instances apart within a session: strategy_id, symbol, or both (default).
    #[serde(default = "both_keys")]
    pub key: Vec<Key>,
    /// The state that instances begin in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<String>,
    /// The states that are never left.
    #[serde(default, rename = "final")]
    pub final_states: Vec<String>,
    /// How long nothing is heard of an instance until it counts as stale; 0s is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_after: Option<Duration>,
    /// Every state that there is.
    #[serde(default)]
    pub states: Vec<StateSettings>,
    /// What leads from state to state: of those that fit, the first whose guard holds is taken.
    #[serde(default)]
    pub transitions: Vec<TransitionSettings>,
    /// What happens to a transition that is not declared.
    #[serde(default)]
    pub on_illegal: OnIllegal,
}

/// A state, and how long an instance may stay in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateSettings {
    /// What it is called.
    pub id: String,
    /// After so long in it, an instance goes on to `on_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Duration>,
    /// The state that follows after `max_time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<String>,
}

/// What leads from one state to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransitionSettings {
    /// The state it leads from; `*` is every state that is not final.
    pub from: String,
    /// The state it leads to.
    pub to: String,
    /// What has to happen. Without it the program has to name the state it wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// What has to be true, such as `data.quantity > 0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    /// Whether an instance that stays where it is enters anew, so that `since` begins again.
    #[serde(default)]
    pub reenter: bool,
}

/// A field that identifies an instance within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    StrategyId,
    Symbol,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceName {
    #[default]
    Sessions,
    Mock,
}

/// What happens to a transition that is not declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnIllegal {
    /// The instance stays where it is, and clients are told.
    #[default]
    Reject,
    /// The instance goes where it should, and clients are told.
    AcceptAndReport,
    /// The instance goes where it should, and the log and the metrics tell the operator.
    ReportOnly,
}

/// A level of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
    /// Not at all.
    Off,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            source: SourceName::Sessions,
            interval: Duration::from_ms(2_000),
            machines: Vec::new(),
            initial: "MONITORING".into(),
            stale_after: Duration::from_ms(300_000),
            log_broadcasts: Level::Info,
        }
    }
}

fn both_keys() -> Vec<Key> {
    vec![Key::StrategyId, Key::Symbol]
}
