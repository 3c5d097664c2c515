//! What a broadcaster under test said to its host.
use std::fmt;

use serde_json::Value;

use crate::abi::Status;
use crate::input::RequestId;
use crate::publish::{Cause, Flags};

/// Why a call failed, as the daemon would be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// `abi::E_…`
    pub status: Status,
    /// JSON pointer into the settings; empty when the failure has no place there.
    pub pointer: String,
    /// What was said about it; for a panic, what it said and where.
    pub message: String,
    /// What else was said to be wrong with the settings, and where.
    pub others: Vec<(String, String)>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {} at `{}`: {}", self.status, self.pointer, self.message)
    }
}

impl std::error::Error for Failed {}

/// An event that was published.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// What happened.
    pub kind: String,
    /// The part after the stream.
    pub topic: String,
    /// Identity inside the topic; may be empty.
    pub key: String,
    /// What a snapshot shows; `None` = the payload.
    pub record: Option<Value>,
    /// Private streams: the user it is for.
    pub audience: String,
    /// The clients' own trading session; empty = none.
    pub session_id: String,
    /// JSON object.
    pub payload: Value,
    /// Nanoseconds since 1970; 0 = stamped by the host.
    pub unix_ns: i64,
    /// What is special about it; a RECORDS answer always has `RECORD_ONLY`.
    pub flags: Flags,
    /// The input it follows from.
    pub cause: Option<Cause>,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The command it answers.
    pub request: RequestId,
    /// `abi::OK` or `abi::E_…`
    pub status: Status,
    /// The result, or `{"message", "pointer"}` of a refusal.
    pub payload: Value,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// `abi::LOG_…`
    pub level: u32,
    /// Where it comes from: a module path, or `panic`.
    pub target: String,
    /// The line, spans and fields included.
    pub message: String,
}

/// A series of a metric and everything recorded for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// `abi::METRIC_…`
    pub kind: u32,
    /// As the plugin calls it; the daemon adds its prefix.
    pub name: String,
    /// What `describe_…!` said; may be empty.
    pub help: String,
    /// A JSON object of strings.
    pub labels: Value,
    /// Histograms: the upper bounds that were wanted; empty = the usual ones.
    pub bounds: Vec<f64>,
    /// Counters: what was added; gauges: what was set; histograms: what was observed.
    pub values: Vec<f64>,
}
