//! What the admin listener shows of the whole: is it ready, and how are the broadcasters.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::admin::{self, Readiness};
use crate::metrics;
use crate::plugin::Supervisor;
use crate::plugin::status::Status;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Ready,
    Draining,
}

pub struct House {
    supervisor: Arc<Supervisor>,
    inner: Mutex<Inner>,
}

struct Inner {
    phase: Phase,
    /// Why the last reload was refused, until one succeeds.
    refused_reload: Option<String>,
}

impl House {
    pub fn new(supervisor: Arc<Supervisor>) -> Arc<Self> {
        let inner = Mutex::new(Inner { phase: Phase::Starting, refused_reload: None });
        Arc::new(Self { supervisor, inner })
    }

    pub fn set_phase(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    pub fn set_refused_reload(&self, why: Option<String>) {
        self.lock().refused_reload = why;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl admin::House for House {
    fn broadcasters(&self) -> Value {
        self.supervisor.status().iter().map(Status::json).collect()
    }

    fn broadcaster(&self, name: &str) -> Option<Value> {
        self.supervisor.status_of(name).map(|status| status.json())
    }

    fn readiness(&self) -> Readiness {
        let inner = self.lock();
        let (phase, refused) = (inner.phase, inner.refused_reload.clone());
        drop(inner);
        let mut reasons: Vec<String> = match phase {
            Phase::Starting => vec!["starting".to_owned()],
            Phase::Draining => vec!["draining".to_owned()],
            Phase::Ready => Vec::new(),
        };
        reasons.extend(refused.map(|why| format!("the last reload was refused: {why}")));
        reasons.extend(self.supervisor.status().iter().filter_map(trouble));
        Readiness { ready: phase == Phase::Ready, reasons }
    }

    fn extra_metrics(&self) -> String {
        let all = self.supervisor.status();
        let states = all.iter().map(|one| (&*one.name, state(one), one.degraded.is_some()));
        metrics::states(states) + &self.supervisor.render_metrics()
    }
}

/// What is wrong with a broadcaster, if anything is.
fn trouble(status: &Status) -> Option<String> {
    let state = state(status);
    let last_error = status.last_error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    if !status.is_running {
        return Some(format!("broadcaster {} is {state}{last_error}", status.name));
    }
    status.degraded.as_ref().map(|why| format!("broadcaster {} is degraded: {why}", status.name))
}

/// Its state as every page has it.
fn state(status: &Status) -> String {
    let state = serde_json::to_value(status.state).ok();
    state.as_ref().and_then(Value::as_str).unwrap_or("unknown").to_owned()
}
