//! What clients are told: the payload of each kind of event.

use broadcastd_plugin_api::topic_part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::capability::Indices;
use crate::chart::Chart;
use crate::id::Id;
use crate::point::Zone;
use crate::stamp::Stamp;

/// An event that is to be published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub kind: Kind,
    /// Empty: every connection hears it.
    pub topic: String,
    /// Empty: it leaves no record.
    pub key: String,
    /// JSON.
    pub payload: String,
    pub how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Sample,
    Violation,
    ControlLimits,
    Capability,
    AckUpdate,
}

/// What becomes of an event: it is delivered, only its record is refreshed, or its record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    Deliver,
    Record,
    Remove,
}

/// A sample was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    pub sample_id: Id,
    pub characteristic_id: Id,
    pub timestamp: Stamp,
    /// What is plotted: a mean, value, share or count, the moving average, or the larger of the two sums.
    pub value: f64,
    /// Where it lies; null while there are no limits yet.
    pub zone: Option<Zone>,
    /// No rule holds anything against it.
    pub in_control: bool,
    /// The limits of this sample; null while there are none.
    pub center_line: Option<f64>,
    pub ucl: Option<f64>,
    pub lcl: Option<f64>,
}

/// A sample completes a pattern that is unlikely for a process in control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// What it is acknowledged by.
    pub violation_id: u64,
    pub sample_id: Id,
    pub characteristic_id: Id,
    /// The characteristic's name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The rule, by the numbers of Nelson; 1 of an EWMA or CUSUM signal.
    pub rule_id: u8,
    pub rule_name: String,
    pub severity: Severity,
    pub timestamp: Stamp,
    /// What is plotted of the sample.
    pub value: f64,
    /// CUSUM: where the mean seems to have gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// Of rule 1.
    Critical,
    Warning,
}

/// Limits came into force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ControlLimits {
    pub characteristic_id: Id,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub chart: Chart,
    pub center_line: f64,
    pub ucl: f64,
    pub lcl: f64,
    /// What the standard deviation was computed of, or `standard` or `fixed`.
    pub method: Method,
    /// How many samples they were computed of; 0 where they were set.
    pub sample_count: usize,
    /// The standard deviation of one value; null where limits are fixed.
    pub sigma: Option<f64>,
    /// The size of the samples that these limits are of; samples of other sizes have limits of their own.
    pub subgroup_size: f64,
    /// The limits of ranges, standard deviations or moving ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispersion: Option<Dispersion>,
    pub timestamp: Stamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dispersion {
    pub center_line: f64,
    pub ucl: f64,
    pub lcl: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    Range,
    StandardDeviation,
    MovingRange,
    Binomial,
    Poisson,
    Standard,
    Fixed,
}

/// What the process is capable of; a record that changes with each sample and is not delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Capability {
    pub characteristic_id: Id,
    #[serde(flatten)]
    pub indices: Indices,
}

/// A violation was acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AckUpdate {
    pub violation_id: u64,
    pub characteristic_id: Id,
    pub acknowledged: bool,
    pub user: String,
    pub reason: Reason,
    pub timestamp: Stamp,
}

/// The payload of the command `acknowledge`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    pub violation_id: u64,
    pub reason: Reason,
}

/// What was found to be behind a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    #[serde(rename = "Tool Change")]
    ToolChange,
    #[serde(rename = "Raw Material Change")]
    RawMaterialChange,
    #[serde(rename = "Setup Adjustment")]
    SetupAdjustment,
    #[serde(rename = "Measurement Error")]
    MeasurementError,
    #[serde(rename = "Process Adjustment")]
    ProcessAdjustment,
    #[serde(rename = "Environmental Factor")]
    EnvironmentalFactor,
    #[serde(rename = "Operator Error")]
    OperatorError,
    #[serde(rename = "Equipment Malfunction")]
    EquipmentMalfunction,
    #[serde(rename = "False Alarm")]
    FalseAlarm,
    #[serde(rename = "Under Investigation")]
    UnderInvestigation,
    Other,
}

impl Told {
    /// Whether it tells of this characteristic. An acknowledgement does so in its payload only.
    pub fn is_about(&self, id: &str) -> bool {
        let acknowledged = || serde_json::from_str::<AckUpdate>(&self.payload).ok();
        match self.kind {
            Kind::AckUpdate => acknowledged().is_some_and(|update| update.characteristic_id.text() == id),
            _ => self.topic == topic_part(id),
        }
    }
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Sample => "sample",
            Kind::Violation => "violation",
            Kind::ControlLimits => "control_limits",
            Kind::Capability => "capability",
            Kind::AckUpdate => "ack_update",
        }
    }

    /// An event about a characteristic.
    pub fn of(self, id: &Id, key: String, payload: &impl Serialize) -> Told {
        let topic = topic_part(&id.text()).into_owned();
        let how = if self == Kind::Capability { How::Record } else { How::Deliver };
        Told { kind: self, topic, key, payload: json(payload), how }
    }

    /// The record of a characteristic goes, and nobody is told.
    pub fn removed(self, id: &Id, key: String) -> Told {
        let topic = topic_part(&id.text()).into_owned();
        Told { kind: self, topic, key, payload: "{}".into(), how: How::Remove }
    }
}

impl AckUpdate {
    /// It goes to every connection, whatever that is subscribed to.
    pub fn told(&self) -> Told {
        Told { kind: Kind::AckUpdate, topic: String::new(), key: String::new(), payload: json(self), how: How::Deliver }
    }
}

impl Severity {
    pub fn of(rule: u8) -> Self {
        if rule == 1 { Severity::Critical } else { Severity::Warning }
    }
}

fn json(payload: &impl Serialize) -> String {
    serde_json::to_string(payload).expect("a payload has texts for keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reasons_and_severities_are_those_that_clients_know() {
        let known = [
            "Tool Change",
            "Raw Material Change",
            "Setup Adjustment",
            "Measurement Error",
            "Process Adjustment",
            "Environmental Factor",
            "Operator Error",
            "Equipment Malfunction",
            "False Alarm",
            "Under Investigation",
            "Other",
        ];
        for reason in known {
            assert_eq!(json!(serde_json::from_value::<Reason>(json!(reason)).unwrap()), reason);
        }
        let schema = schemars::schema_for!(Reason).to_value();
        assert_eq!(schema["enum"], json!(known));
        assert_eq!((json!(Severity::of(1)), json!(Severity::of(2))), (json!("CRITICAL"), json!("WARNING")));
    }

    #[test]
    fn a_topic_is_one_part_whatever_the_id_says() {
        let told = Kind::Sample.of(&Id::Text("bore:7*".into()), "0".into(), &json!({}));
        assert_eq!((told.topic.as_str(), told.how), ("bore%3A7%2A", How::Deliver));
    }
}
