//! What the admin listener shows of the whole: is it ready, and how are the broadcasters.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use super::Surroundings;
use crate::admin::{self, Readiness};
use crate::hub::Hub;
use crate::hub::stream::Stream;
use crate::metrics::totals::total;
use crate::plugin::Supervisor;
use crate::plugin::status::Status;
use crate::server::Server;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Ready,
    Draining,
}

pub struct House {
    supervisor: Arc<Supervisor>,
    hub: Arc<Hub>,
    server: Arc<Server>,
    metrics: PrometheusHandle,
    /// The configuration file, where there is one.
    file: Option<PathBuf>,
    since: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    phase: Phase,
    last_reload: Option<Reload>,
}

/// What came of a reload, and when.
#[derive(Clone, Debug)]
struct Reload {
    at: Instant,
    refused: Option<String>,
}

impl House {
    pub fn new(supervisor: Arc<Supervisor>, hub: Arc<Hub>, server: Arc<Server>, around: &Surroundings) -> Arc<Self> {
        let inner = Mutex::new(Inner { phase: Phase::Starting, last_reload: None });
        let (metrics, file) = (around.metrics.clone(), around.file.clone());
        Arc::new(Self { supervisor, hub, server, metrics, file, since: Instant::now(), inner })
    }

    pub fn set_phase(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    /// A reload was applied, or refused for this reason.
    pub fn set_last_reload(&self, refused: Option<String>) {
        self.lock().last_reload = Some(Reload { at: Instant::now(), refused });
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
        let refused = inner.last_reload.as_ref().and_then(|reload| reload.refused.clone());
        let phase = inner.phase;
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

    fn status(&self) -> Value {
        let Readiness { ready, reasons } = self.readiness();
        let last_reload = self.lock().last_reload.clone();
        let last_reload = last_reload.map(|Reload { at, refused }| {
            let outcome = if refused.is_some() { "refused" } else { "applied" };
            json!({"outcome": outcome, "message": refused, "seconds_ago": at.elapsed().as_secs_f64()})
        });
        let scrape = self.metrics.render();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_seconds": self.since.elapsed().as_secs_f64(),
            "config": self.file,
            "ready": ready,
            "reasons": reasons,
            "last_reload": last_reload,
            "listen": self.server.addresses(),
            "connections": total(scrape.lines(), "broadcastd_connections"),
            "broadcasters": self.broadcasters(),
            "streams": self.hub.streams().iter().map(|stream| figures(stream)).collect::<Vec<_>>(),
        })
    }

    fn extra_metrics(&self) -> String {
        self.supervisor.render_metrics()
    }
}

fn figures(stream: &Stream) -> Value {
    let figures = stream.figures();
    json!({
        "name": &**stream.name(),
        "seq": figures.seq,
        "subscriptions": figures.subscriptions,
        "records": figures.records,
        "history_events": figures.history_events,
    })
}

/// What is wrong with a broadcaster, if anything is.
fn trouble(status: &Status) -> Option<String> {
    let state = serde_json::to_value(status.state).ok()?;
    let state = state.as_str().unwrap_or("unknown");
    let last_error = status.last_error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    if !status.is_running {
        return Some(format!("broadcaster {} is {state}{last_error}", status.name));
    }
    status.degraded.as_ref().map(|why| format!("broadcaster {} is degraded: {why}", status.name))
}
