//! What can be said of a configuration without running anything: whether all fits together, what it declares, and what
//! plugins add to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::steering::Steering;
use super::{StartError, parts, reload, supervisor_config, trust};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::document::dotted;
use crate::config::schema::Secret;
use crate::config::watch::warn_of_silence;
use crate::config::{Loaded, Source, code, schema};
use crate::describe::{Catalogue, Declarations, Door};
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
    Ok(look(loaded).and(odd))
}

/// What is odd about the text alone.
pub fn look(loaded: &Loaded) -> Diagnostics {
    loaded.warnings.clone().and(warn_of_silence(loaded.document.layers()))
}

/// A configuration without the secrets that the service manager gives to the daemon alone, and a note for each, where this
/// process was not started by it.
fn without_credentials(source: &Source, loaded: &Loaded) -> (Loaded, Vec<Diagnostic>) {
    let (mut known, mut notes) = (loaded.clone(), Vec::new());
    if source.env.contains_key(parts::CREDENTIALS) {
        return (known, notes);
    }
    let mut is_given = |secret: &Secret, pointer: &str| {
        let Secret::Credential(named) = secret else { return false };
        let (setting, name) = (dotted(pointer), named.trim_start_matches("credential:"));
        let message =
            format!("`{setting}` cannot be checked here: it is given by the unit (LoadCredential={name}:/path)");
        notes.push(Diagnostic::of_value(code::UNCHECKED, &loaded.document, pointer, message));
        true
    };
    let config = &mut known.config;
    config.admin.token.take_if(|token| is_given(token, "/admin/token"));
    config.auth.jwt.secret.take_if(|secret| is_given(secret, "/auth/jwt/secret"));
    config.server.tls.take_if(|tls| is_given(&tls.key, "/server/tls/key"));
    (known, notes)
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
    let (known, notes) = without_credentials(source, loaded);
    trust::prepare(&known, &source.env).map_err(StartError::Config)?;
    reload::admin(&known, &source.env).map_err(StartError::Config)?;
    reload::error_log(loaded, Opened::look).map_err(StartError::Config)?;
    for (name, settings) in broadcasters.streams(&idle.supervisor) {
        idle.hub.declare(&name, settings);
    }
    let certificate = reload::certificate(&known, &source.env).map_err(StartError::Config)?;
    let server = server::Config { certificate, ..parts::server(&loaded.config, 0, &idle.folders.state) };
    let catalogue = Catalogue::new(idle.hub);
    let is_encrypted = loaded.config.server.tls.is_some(); // also where its key could not be looked at
    let doors = server.doors(|listener| listener.to_owned()).into_iter().map(|door| Door { is_encrypted, ..door });
    catalogue.set_doors(doors.collect());
    Ok((catalogue.for_operators(), [broadcasters.odd, notes].concat()))
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
