//! What can be said of a configuration without running anything: whether all fits together, what it declares, and what
//! plugins add to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::steering::Steering;
use super::{StartError, parts, reload, supervisor_config, trust};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::{Loaded, Source, schema};
use crate::describe::{Catalogue, Declarations};
use crate::folders::Folders;
use crate::hub::Hub;
use crate::log::errors::Opened;
use crate::plugin::Supervisor;
use crate::plugin::files::Files;
use crate::plugin::find::Places;
use crate::plugin::reload::Aim;
use crate::server;

/// Loads every plugin and checks every setting; what is odd is no mistake.
pub fn check(source: &Source, loaded: &Loaded) -> Result<Diagnostics, StartError> {
    let (_, odd) = found(source, loaded)?;
    Ok(loaded.warnings.clone().and(odd))
}

/// What the configured streams and endpoints are.
pub fn declarations(source: &Source, loaded: &Loaded) -> Result<Declarations, StartError> {
    found(source, loaded).map(|(declarations, _)| declarations)
}

/// The configuration with the defaults that plugins declare for their settings.
pub fn filled_in(source: &Source, loaded: &Loaded) -> Result<schema::Config, StartError> {
    let idle = Idle::new(source, loaded)?;
    let (mut config, mut wrong) = (loaded.config.clone(), Vec::new());
    for (name, broadcaster) in &mut config.broadcasters {
        match reload::settings(&idle.supervisor, &loaded.document, (name, broadcaster), Files::All) {
            Ok(Value::Object(settings)) => broadcaster.settings = settings,
            Ok(_) => {} // not even an object: its plugin declares no settings
            Err(mistakes) => wrong.extend(mistakes),
        }
    }
    if wrong.is_empty() { Ok(config) } else { Err(StartError::Config(Diagnostics::about(&loaded.document, wrong))) }
}

/// What plugins declare of their settings, by broadcaster. One whose plugin cannot be loaded has none.
pub fn settings_schemas(source: &Source, loaded: &Loaded) -> Result<BTreeMap<String, Value>, StartError> {
    let idle = Idle::new(source, loaded)?;
    let declared = |(name, broadcaster): (&String, &schema::Broadcaster)| {
        let library = idle.supervisor.library(&broadcaster.plugin, broadcaster.sha256.as_deref()).ok()?;
        Some((name.clone(), serde_json::from_str(&library.facts.config_schema).ok()?))
    };
    Ok(loaded.config.broadcasters.iter().filter_map(declared).collect())
}

/// Where plugins are looked for.
pub fn places(source: &Source, loaded: &Loaded) -> Places {
    parts::places(&loaded.config.plugins, &source.env)
}

fn found(source: &Source, loaded: &Loaded) -> Result<(Declarations, Vec<Diagnostic>), StartError> {
    let idle = Idle::new(source, loaded)?;
    let broadcasters =
        reload::prepare(&idle.supervisor, loaded, &Steering::default(), Aim::Exchange).map_err(StartError::Config)?;
    trust::prepare(loaded, &source.env).map_err(StartError::Config)?;
    reload::admin(loaded, &source.env).map_err(StartError::Config)?;
    reload::error_log(loaded, Opened::look).map_err(StartError::Config)?;
    for (name, settings) in broadcasters.streams(&idle.supervisor) {
        idle.hub.declare(&name, settings);
    }
    let certificate = reload::certificate(loaded, &source.env).map_err(StartError::Config)?;
    let server = server::Config { certificate, ..parts::server(&loaded.config, 0, &idle.folders.state) };
    let catalogue = Catalogue::new(idle.hub);
    catalogue.set_doors(server.doors(|listener| listener.to_owned()));
    Ok((catalogue.for_operators(), broadcasters.odd))
}

/// A hub and a supervisor in which nothing runs.
struct Idle {
    folders: Folders,
    hub: Arc<Hub>,
    supervisor: Supervisor,
}

impl Idle {
    fn new(source: &Source, loaded: &Loaded) -> Result<Self, StartError> {
        let folders = Folders::shared(&source.env).map_err(StartError::Folder)?;
        let hub = Hub::new("check");
        let supervisor = Supervisor::new(hub.clone(), supervisor_config(&loaded.config, &source.env, &folders));
        Ok(Self { folders, hub, supervisor })
    }
}
