//! How a broadcaster is, for operators: the same for every plugin.

use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Shown;
use super::broadcaster::Phase;
use super::declared::Declared;
use super::plan::Wanted;
use super::port::Health;
use crate::event::timestamp_of;

/// What is known of one broadcaster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    pub name: String,
    pub plugin: String,
    pub version: String,
    pub sha256: String,
    pub state: Phase,
    pub is_running: bool,
    pub restarts: u64,
    /// Failures that the daemon saw, and those that the plugin counts itself as `errors_total`.
    pub errors: u64,
    pub last_error: Option<String>,
    /// While it does not run because it failed: how often that was, and what follows.
    pub next: Option<String>,
    /// Why the plugin says that something is wrong, although it works.
    pub degraded: Option<String>,
    /// The file that it was rolled back from, and why.
    pub rolled_back: Option<String>,
    /// Until when the new file of its plugin is on probation: if it fails before, the file before comes back.
    pub probation_until: Option<String>,
    pub uptime_seconds: f64,
    /// Events accepted to be delivered; the plugin's own `broadcasts_sent_total`, if it counts that.
    pub broadcasts_sent: u64,
    /// Deliveries spared because nobody listened; the plugin's own `broadcasts_skipped_total`, if it counts that.
    pub broadcasts_skipped: u64,
    /// Events that were not accepted because they were wrong.
    pub refused: u64,
    /// Threads that did not stop in time and were left behind.
    pub threads_abandoned: u64,
    pub settings: Value,
    /// What the plugin declared, by name.
    pub metrics: Value,
}

impl Status {
    /// As JSON for the admin listener: the fields, and beside them each setting under its own name, so that a dashboard
    /// finds `interval` and `symbols` where it finds `is_running`. A field wins over a setting of the same name.
    pub fn json(&self) -> Value {
        let mut all: Map<String, Value> = self.settings.as_object().cloned().unwrap_or_default();
        if let Value::Object(fields) = json!(self) {
            all.extend(fields);
        }
        Value::Object(all)
    }
}

impl Shown {
    pub(super) fn status(&self, declared: &Declared) -> Status {
        let wanted = &self.wanted;
        let Some(shared) = &self.shared else { return disabled(wanted) };
        let name = &wanted.name;
        let own = |metric: &str| declared.total(name, metric).map(|total| total as u64);
        let state = shared.phase();
        let counts = &shared.desk.counts;
        let now = shared.desk.clock.mono_ns();
        let health = shared.health();
        let metrics = declared.json(name);
        let errors_of_its_own = own("errors_total").unwrap_or(0);
        let (sent, skipped) = (own("broadcasts_sent_total"), own("broadcasts_skipped_total"));
        let inner = shared.lock();
        Status {
            plugin: shared.library.note.id.clone(),
            version: shared.library.note.version.clone(),
            sha256: shared.library.sha256.clone(),
            state,
            is_running: matches!(state, Phase::Running | Phase::Quiet),
            restarts: inner.restarts,
            errors: inner.errors + errors_of_its_own,
            last_error: inner.last_error.clone(),
            next: inner.next.clone(),
            degraded: match health {
                Health::Ok => None,
                Health::Degraded(reason) => Some(reason),
            },
            probation_until: inner.probation_until.map(timestamp_of),
            uptime_seconds: inner.since.map_or(0.0, |since| (now - since) as f64 / 1e9),
            broadcasts_sent: sent.unwrap_or_else(|| counts.published.load(Ordering::Relaxed)),
            broadcasts_skipped: skipped.unwrap_or_else(|| counts.skipped.load(Ordering::Relaxed)),
            refused: counts.refused.load(Ordering::Relaxed),
            threads_abandoned: counts.abandoned.load(Ordering::Relaxed),
            metrics,
            ..disabled(wanted)
        }
    }
}

/// What is known of a broadcaster that has no instance.
fn disabled(wanted: &Wanted) -> Status {
    Status {
        name: wanted.name.clone(),
        plugin: wanted.plugin.clone(),
        version: String::new(),
        sha256: String::new(),
        state: Phase::Stopped,
        is_running: false,
        restarts: 0,
        errors: 0,
        last_error: None,
        next: None,
        degraded: None,
        rolled_back: None,
        probation_until: None,
        uptime_seconds: 0.0,
        broadcasts_sent: 0,
        broadcasts_skipped: 0,
        refused: 0,
        threads_abandoned: 0,
        settings: wanted.settings.clone(),
        metrics: Value::Object(Map::new()),
    }
}
