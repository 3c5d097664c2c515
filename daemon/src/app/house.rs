//! What the admin listener shows of the whole: is it ready, and how are the broadcasters.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value, json};

use super::Surroundings;
use crate::admin::levels::Unknown;
use crate::admin::{self, Readiness};
use crate::config::document::Document;
use crate::config::effective::Effective;
use crate::config::{LEVELS, Loaded, OWN_STREAM, schema};
use crate::hub::Hub;
use crate::hub::stream::Stream;
use crate::log::Levels;
use crate::metrics::{self, totals::total};
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
    levels: Levels,
    /// The configuration file, where there is one.
    file: Option<PathBuf>,
    since: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    phase: Phase,
    last_reload: Option<Reload>,
    /// Why the last good configuration runs in the place of the file.
    stand_in: Option<String>,
    in_force: Option<Arc<InForce>>,
}

/// The configuration as it was taken last, with who said what.
struct InForce {
    config: schema::Config,
    document: Document,
}

/// What came of a reload, and when.
#[derive(Clone, Debug)]
struct Reload {
    at: Instant,
    refused: Option<String>,
}

impl House {
    pub fn new(supervisor: Arc<Supervisor>, hub: Arc<Hub>, server: Arc<Server>, around: &Surroundings) -> Arc<Self> {
        let inner = Mutex::new(Inner { phase: Phase::Starting, last_reload: None, stand_in: None, in_force: None });
        let (metrics, levels, file) = (around.metrics.clone(), around.levels.clone(), around.file.clone());
        Arc::new(Self { supervisor, hub, server, metrics, levels, file, since: Instant::now(), inner })
    }

    pub fn set_phase(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    /// A reload was applied, or refused for this reason.
    pub fn set_last_reload(&self, refused: Option<String>) {
        let mut inner = self.lock();
        inner.stand_in = inner.stand_in.take().filter(|_| refused.is_some());
        inner.last_reload = Some(Reload { at: Instant::now(), refused });
    }

    /// The last good configuration runs, because the file was refused for this reason.
    pub fn set_stand_in(&self, refused: String) {
        self.lock().stand_in = Some(refused);
    }

    pub fn is_stand_in(&self) -> bool {
        self.lock().stand_in.is_some()
    }

    /// The configuration that holds from now on.
    pub fn set_configuration(&self, loaded: &Loaded) {
        let (config, document) = (loaded.config.clone(), loaded.document.clone());
        self.lock().in_force = Some(Arc::new(InForce { config, document }));
    }

    fn broadcaster_names(&self) -> Vec<String> {
        self.supervisor.status().into_iter().map(|status| status.name).collect()
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
        let stand_in = inner.stand_in.clone();
        let phase = inner.phase;
        drop(inner);
        let mut reasons: Vec<String> = match phase {
            Phase::Starting => vec!["starting".to_owned()],
            Phase::Draining => vec!["draining".to_owned()],
            Phase::Ready => Vec::new(),
        };
        let explained = |why| format!("the last good configuration runs, for the file was refused at the start: {why}");
        reasons.extend(stand_in.map(explained));
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

    fn configuration(&self) -> Value {
        let Some(in_force) = self.lock().in_force.clone() else { return json!([]) };
        let mut config = in_force.config.clone();
        for status in self.supervisor.status() {
            if let (Some(one), Value::Object(settings)) = (config.broadcasters.get_mut(&status.name), status.settings) {
                one.settings = settings; // with what the plugin fills in
            }
        }
        let tree = serde_json::to_value(&config).unwrap_or_default();
        Effective::new(&in_force.document, tree, &self.supervisor.settings_schemas()).without_secrets().json()
    }

    fn log_levels(&self) -> Value {
        let names = self.broadcaster_names();
        let levels: Map<String, Value> =
            names.into_iter().map(|name| (name.clone(), self.levels.of(Some(&name)).into())).collect();
        json!({"daemon": self.levels.of(None), "broadcasters": levels, "configured": self.levels.configured()})
    }

    fn set_log_level(&self, name: &str, level: &str) -> Result<Value, Unknown> {
        if !LEVELS.contains(&level) {
            return Err(Unknown::Level(format!(
                "\"{}\" is no level; levels: {}",
                level.escape_debug(),
                LEVELS.join(", ")
            )));
        }
        let names = self.broadcaster_names();
        let target = if name == OWN_STREAM { None } else { Some(name) };
        if target.is_some_and(|name| !names.iter().any(|known| known == name)) {
            let names = names.iter().map(|known| format!(", {known}")).collect::<String>();
            let name = name.escape_debug();
            return Err(Unknown::Name(format!("no broadcaster is called \"{name}\"; names: {OWN_STREAM}{names}")));
        }
        let before = self.levels.of(target);
        self.levels.change(target, level, &names);
        Ok(json!({"name": name, "level": self.levels.of(target), "before": before}))
    }

    fn extra_metrics(&self) -> String {
        let all = self.supervisor.status();
        let states = all.iter().map(|one| (&*one.name, one.state.label(), one.degraded.is_some()));
        metrics::states(states) + &self.supervisor.render_metrics()
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
    let state = status.state.label().text();
    let last_error = status.last_error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    let next = status.next.as_ref().map_or_else(String::new, |next| format!("; {next}"));
    if !status.is_running {
        return Some(format!("broadcaster {} is {state}{last_error}{next}", status.name));
    }
    if let Some(rolled_back) = &status.rolled_back {
        return Some(format!("broadcaster {} was {rolled_back}", status.name));
    }
    status.degraded.as_ref().map(|why| format!("broadcaster {} is degraded: {why}", status.name))
}
