//! From one configuration to the next while everything runs: check all, make ready what is new, exchange, let go.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::plan::Plan;
use super::steering::Steering;
use super::waiting::{waiting, with_what_waits};
use super::{App, parts, trust};
use crate::admin;
use crate::admin::orders::{Candidate, Outcome};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::document::Document;
use crate::config::layers::{Layer, Layers};
use crate::config::watch::{unless_emptied, warn_of_emptied};
use crate::config::{self, Loaded, OWN_STREAM, Paint, code, schema};
use crate::event::unix_now;
use crate::folders::Env;
use crate::hub::Hub;
use crate::hub::settings::{Settings, Source};
use crate::log::errors::Opened;
use crate::metrics;
use crate::plugin::files::Files;
use crate::plugin::plan::Change;
use crate::plugin::reload::{Aim, Prepared};
use crate::plugin::{Problem, Supervisor};
use crate::server::listen::ListenError;
use crate::server::{self, tls::Certificate};

/// For so long an operator who asks for a reload is told of the one that saving the file has caused.
const JUST_NOW: Duration = Duration::from_secs(60);
/// What a refusal ends with.
const STAYS_ACTIVE: &str = "the running configuration stays active";

/// Streams and broadcasters that are ready to take the place of the present ones.
pub struct Broadcasters {
    declared: Vec<(String, Settings)>,
    /// All names that have a stream from now on.
    names: Vec<String>,
    prepared: Prepared,
    /// What plugins find odd about their settings.
    pub odd: Vec<Diagnostic>,
}

impl Broadcasters {
    /// All streams that there would be, with their settings.
    pub fn streams(&self, supervisor: &Supervisor) -> Vec<(String, Settings)> {
        self.declared.iter().cloned().chain(supervisor.streams(&self.prepared)).collect()
    }
}

/// What a reload did.
pub struct Done {
    pub changes: Vec<Change>,
    /// Settings that take effect at the next start only.
    pub waiting: Vec<&'static str>,
    pub plan: Plan,
}

/// A whole configuration whose every part is ready. Dropping it lets go of all that is new.
struct Next {
    loaded: Loaded,
    /// As it is to be in force: with what operators want beside it.
    config: schema::Config,
    broadcasters: Broadcasters,
    trust: trust::Prepared,
    server: server::Prepared,
    admin: admin::Prepared,
    errors: Option<Opened>,
    plan: Plan,
    warnings: Diagnostics,
}

impl App {
    /// Takes the configuration's files anew, if they could be read. A mistake anywhere changes nothing.
    pub fn reload(&mut self, read: Result<Layers, Diagnostics>) -> Outcome {
        self.around.systemd.reloading();
        let outcome = match read.and_then(|layers| self.try_reload(layers)) {
            Ok(done) => {
                let outcome = self.applied(&done);
                self.tell_who_waits();
                if !done.plan.is_nothing() {
                    self.last_done = Some((Instant::now(), done.plan));
                } else if self.last_done.as_ref().is_some_and(|(_, last)| !last.holds_back_what(&done.plan)) {
                    self.last_done = None; // a file went back since: what it did is not so any more
                }
                outcome
            }
            Err(report) => self.refused(&report),
        };
        self.around.systemd.ready();
        outcome
    }

    /// The same for files that were seen to change, which nobody has ordered to be taken.
    pub fn reload_seen(&mut self, read: Result<Layers, Diagnostics>) -> Outcome {
        self.reload(read.and_then(|layers| unless_emptied(self.taken.document.layers(), layers)))
    }

    /// The same for an operator who waits for it. The file may have been taken already when it was saved.
    pub fn reload_asked(&mut self, read: Result<Layers, Diagnostics>) -> Outcome {
        let asked_at = Instant::now();
        let outcome = self.reload(read);
        match &self.last_done {
            Some((at, plan)) if outcome.is_done && *at < asked_at && is_just_now(*at, asked_at) => {
                let ago = at.elapsed().as_secs();
                let title = format!("{} was reloaded {ago} s ago, and nothing has changed since", self.file_name());
                done("applied", &title, plan)
            }
            _ => outcome,
        }
    }

    /// What a reload of the file would do, or of another text in its place. Everything new is made ready for it and let go of
    /// again.
    pub fn plan(&self, candidate: Option<Candidate>) -> Outcome {
        let (read, name) = match (candidate, &self.around.file) {
            (None, _) => (self.read_files(None), self.file_name()),
            (Some(Candidate { config: text, name }), None) => (Ok(Layers::of(&name, &text)), name),
            (Some(Candidate { config: text, name }), Some(file)) => {
                (config::files::read_around(file, Layer { name: name.clone(), text }), name)
            }
        };
        match read.and_then(|layers| self.prepare(layers, Aim::Plan)) {
            Ok(next) => done("planned", &format!("a reload of {name} would change"), &next.plan),
            Err(report) => mistaken(&report),
        }
    }

    fn refused(&self, report: &Diagnostics) -> Outcome {
        metrics::reload_refused();
        // Who reads the line finds it at every other place.
        self.house.set_last_reload(Some(first_message(report)));
        let text = report.render(Paint::Plain, STAYS_ACTIVE);
        tracing::error!("the configuration was refused, and nothing was changed\n{text}");
        self.diary.reload_refused(report);
        self.around.systemd.status("the last reload was refused; the running configuration stays active");
        mistaken(report)
    }

    /// Makes ready what is new. Nothing that runs is touched.
    fn prepare(&self, layers: Layers, aim: Aim) -> Result<Next, Diagnostics> {
        let loaded = config::Config::from_layers(&self.around.source, layers)?;
        let config = self.steering.applied(&loaded.config);
        let document = &loaded.document;
        let at_address = |error: ListenError| {
            let pointer = format!("/{}", error.key().replace('.', "/"));
            let unusable = Diagnostic::of_value(code::UNUSABLE_ADDRESS, document, &pointer, error.to_string());
            Diagnostics::about(document, vec![unusable])
        };
        let at_admin = |message: String| {
            Diagnostics::about(
                document,
                vec![Diagnostic::of_value(code::UNUSABLE_ADDRESS, document, "/admin", message)],
            )
        };
        let trust = trust::prepare(&loaded, &self.around.source.env)?;
        let limit = parts::max_connections(&loaded.config.hub);
        let certificate = certificate(&loaded, &self.around.source.env)?;
        let served = parts::server(&loaded.config, limit, &self.folders.state);
        let server = self.server.prepare(server::Config { certificate, ..served }).map_err(at_address)?;
        let admin = admin(&loaded, &self.around.source.env)?;
        let admin = self.admin.prepare(admin).map_err(|error| at_admin(error.to_string()))?;
        let errors = error_log(&loaded, Opened::at)?;
        // Last, since a library that is loaded stays for good.
        let broadcasters = prepare(&self.supervisor, &loaded, &self.steering, aim);
        let dirs = (self.supervisor.plugin_dirs(), &*config.plugins.dirs);
        let mut broadcasters = broadcasters.map_err(|report| with_what_waits(report, dirs))?;
        let emptied = match aim {
            Aim::Plan => warn_of_emptied(self.taken.document.layers(), document.layers()),
            Aim::Exchange => Vec::new(), // seen, it is refused; ordered, it is meant
        };
        let warnings = loaded.warnings.clone().and(emptied).and(std::mem::take(&mut broadcasters.odd));
        let waiting = waiting(&self.config, &config);
        let plan = Plan::new(&self.hub, (&self.config, &config), &broadcasters.prepared, waiting);
        let plan = plan.with_warnings(&warnings);
        Ok(Next { loaded, config, broadcasters, trust, server, admin, errors, plan, warnings })
    }

    fn try_reload(&mut self, layers: Layers) -> Result<Done, Diagnostics> {
        let Next { loaded, config, broadcasters, trust, server, admin, errors, plan, warnings } =
            self.prepare(layers, Aim::Exchange)?;
        let document = &loaded.document;
        let changes = commit(&self.supervisor, &self.hub, broadcasters)
            .map_err(|problems| Diagnostics::about(document, diagnostics(document, problems)))?;
        self.trust.commit(trust);
        self.server.commit(server);
        self.admin.commit(admin);
        self.diary.configure(parts::own_stream(&loaded.config.hub));
        self.hub.memory().set_bound(parts::memory(&loaded.config.hub));
        for shard in &self.shards {
            shard.configure(parts::shard(&loaded.config.hub));
        }
        self.around.levels.configure(&loaded.config.log.level);
        self.around.errors.set(errors);
        warn(&warnings, "the configuration is taken all the same");
        plan.tell_what_is_held_back();
        let waiting = waiting(&self.config, &config);
        self.house.set_configuration(&loaded);
        self.config = config;
        self.taken = loaded;
        Ok(Done { changes, waiting, plan })
    }

    fn applied(&self, done: &Done) -> Outcome {
        metrics::reload_succeeded(unix_now() as f64 / 1e9);
        self.keep();
        self.house.set_last_reload(None);
        self.diary.reload_applied(done);
        tracing::info!(changes = done.plan.in_short(), "the configuration was reloaded");
        for setting in &done.waiting {
            tracing::warn!(setting, "this change takes effect at the next start only");
        }
        self.around.systemd.status("running; the last reload was applied");
        self::done("applied", &format!("{} was reloaded", self.file_name()), &done.plan)
    }

    fn file_name(&self) -> String {
        let file = self.around.file.as_deref();
        file.map_or_else(|| "the shipped configuration".to_owned(), |file| file.display().to_string())
    }
}

fn is_just_now(done: Instant, now: Instant) -> bool {
    now.duration_since(done) < JUST_NOW
}

/// What is said of a report where there is room for one line.
pub fn first_message(report: &Diagnostics) -> String {
    report.items.first().map_or_else(String::new, |item| item.message.clone())
}

pub fn done(outcome: &str, title: &str, plan: &Plan) -> Outcome {
    let text = format!("{title}:\n{}", plan.text());
    Outcome { is_done: true, report: json!({"outcome": outcome, "text": text, "plan": plan}) }
}

pub fn mistaken(report: &Diagnostics) -> Outcome {
    let mut told = report.to_json();
    told["outcome"] = "refused".into();
    told["text"] = report.render(Paint::Plain, STAYS_ACTIVE).into();
    Outcome { is_done: false, report: told }
}

/// Says in the log what of a configuration is odd or has no effect, as `check` shows it.
pub fn warn(warnings: &Diagnostics, active: &str) {
    if !warnings.is_empty() {
        tracing::warn!("{}", warnings.render(Paint::Plain, active));
    }
}

/// Checks everything about streams and broadcasters and makes ready what is new. All mistakes are found at once.
pub fn prepare(
    supervisor: &Supervisor,
    loaded: &Loaded,
    steering: &Steering,
    aim: Aim,
) -> Result<Broadcasters, Diagnostics> {
    let (config, document) = (&steering.applied(&loaded.config), &loaded.document);
    let mut found = Vec::new();
    let mut declared = Vec::new();
    for (name, stream) in &config.streams {
        match super::declared::settings(&config.hub, stream, &loaded.folder) {
            Ok(settings) => declared.push((name.clone(), settings)),
            Err(wrong) => {
                let pointer = format!("/streams/{name}/{}", wrong.key);
                found.push(Diagnostic::of_value(wrong.code, document, &pointer, wrong.message));
            }
        }
    }
    let mut wanted = Vec::new();
    for (name, broadcaster) in &config.broadcasters {
        match settings(supervisor, document, (name, broadcaster), Files::All) {
            Ok(settings) => wanted.push(steering.steered(parts::wanted(&config.hub, name, broadcaster, settings))),
            Err(mistakes) => found.extend(mistakes),
        }
    }
    if !found.is_empty() {
        return Err(Diagnostics::about(document, found));
    }
    let named = declared.iter().map(|(name, _)| name).chain(config.broadcasters.keys());
    let names = named.cloned().chain([OWN_STREAM.to_owned()]).collect();
    let prepared = supervisor.prepare(wanted, aim);
    let prepared = prepared.map_err(|problems| Diagnostics::about(document, diagnostics(document, problems)))?;
    Ok(Broadcasters { declared, names, odd: odd(document, &prepared), prepared })
}

/// What plugins find odd, at its places in the file.
pub fn odd(document: &Document, prepared: &Prepared) -> Vec<Diagnostic> {
    let at_its_place = |said: &Problem| {
        let relative = said.pointer.strip_prefix("/settings").unwrap_or_default();
        Diagnostic::odd(document, &said.broadcaster, relative, &said.message)
    };
    prepared.warnings.iter().map(at_its_place).collect()
}

/// Exchanges the old for the new; what is gone tells its subscribers.
pub fn commit(supervisor: &Supervisor, hub: &Hub, new: Broadcasters) -> Result<Vec<Change>, Vec<Problem>> {
    // Streams that are new can be listened to: they are there before broadcasters begin, unless these refuse.
    let fresh = declare_new(hub, &new.declared);
    let committed = supervisor.commit(new.prepared);
    let changes = committed.inspect_err(|_| fresh.iter().for_each(|name| hub.remove(name)))?;
    for (name, settings) in new.declared {
        hub.declare(&name, settings).set_source(Source::Declared);
    }
    for stream in hub.streams() {
        if !new.names.iter().any(|name| **name == **stream.name()) {
            hub.remove(stream.name());
        }
    }
    Ok(changes)
}

/// The supervisor's findings at their places in the file.
pub fn diagnostics(document: &Document, problems: Vec<Problem>) -> Vec<Diagnostic> {
    let place = |problem: Problem| match problem.pointer.strip_prefix("/settings") {
        Some(relative) => Diagnostic::of_plugin(document, &problem.broadcaster, relative, &problem.message),
        None => {
            let pointer = format!("/broadcasters/{}{}", problem.broadcaster, problem.pointer);
            Diagnostic::of_value(code::UNUSABLE_PLUGIN, document, &pointer, problem.message)
        }
    };
    problems.into_iter().map(place).collect()
}

pub fn admin(loaded: &Loaded, env: &Env) -> Result<admin::Config, Diagnostics> {
    let config = &loaded.config;
    let token = config.admin.token.as_ref().map(|token| parts::secret(token, env)).transpose();
    let token = token.map_err(|message| {
        let unusable = Diagnostic::of_value(code::UNUSABLE_KEYS, &loaded.document, "/admin/token", message);
        Diagnostics::about(&loaded.document, vec![unusable.help("docs/operating.md shows how the token is given")])
    })?;
    Ok(admin::Config { listen: config.admin.listen.to_string(), token: token.map(|text| admin::Token::new(&text)) })
}

/// Opens the file that warnings and errors shall go to, or looks whether it could be.
pub fn error_log<T>(loaded: &Loaded, open: fn(&Path) -> io::Result<T>) -> Result<Option<T>, Diagnostics> {
    let Some(path) = parts::error_log(&loaded.config.log) else { return Ok(None) };
    open(path).map(Some).map_err(|error| {
        let message = format!("cannot write to {}: {error}", path.display());
        let unusable = Diagnostic::of_value(code::UNUSABLE_FILE, &loaded.document, "/log/errors", message);
        let help = "the folder must exist, and the user who runs the daemon may write there";
        Diagnostics::about(&loaded.document, vec![unusable.help(help)])
    })
}

/// The certificate that clients shall see, from its files.
pub fn certificate(loaded: &Loaded, env: &Env) -> Result<Option<Arc<Certificate>>, Diagnostics> {
    let Some(tls) = &loaded.config.server.tls else { return Ok(None) };
    let read = |files: server::tls::Config| Certificate::read(&files).map_err(|error| error.to_string());
    let certificate = parts::tls(tls, env).and_then(read).map_err(|message| {
        let unusable = Diagnostic::of_value(code::UNUSABLE_ADDRESS, &loaded.document, "/server/tls", message);
        Diagnostics::about(&loaded.document, vec![unusable])
    })?;
    Ok(Some(certificate))
}

/// A broadcaster's settings, checked by its plugin's schema, with the schema's defaults.
pub fn settings(
    supervisor: &Supervisor,
    document: &Document,
    (name, broadcaster): (&str, &schema::Broadcaster),
    files: Files<'_>,
) -> Result<Value, Vec<Diagnostic>> {
    if !broadcaster.enabled {
        return Ok(Value::Object(broadcaster.settings.clone())); // its plugin need not even be there
    }
    let (plugin, pin) = (&broadcaster.plugin, broadcaster.sha256.as_deref());
    let chosen = supervisor.library_for(name, plugin, pin, files).map_err(|unusable| {
        let pointer = format!("/broadcasters/{name}/plugin");
        vec![Diagnostic::of_value(code::UNUSABLE_PLUGIN, document, &pointer, unusable.to_string())]
    })?;
    let schema: Value = serde_json::from_str(&chosen.library.facts.config_schema).unwrap_or(Value::Bool(true));
    config::check_settings(document, name, &schema).map_err(|mistakes| mistakes.items)
}

/// Declares the streams that are not there yet, and returns their names.
fn declare_new(hub: &Hub, declared: &[(String, Settings)]) -> Vec<String> {
    let fresh = declared.iter().filter(|(name, _)| hub.stream(name).is_none());
    fresh.map(|(name, settings)| hub.declare(name, settings.clone()).name().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folders::Folders;

    #[test]
    fn a_reload_is_the_last_one_for_a_minute() {
        let done = Instant::now();
        assert!(is_just_now(done, done + JUST_NOW - Duration::from_nanos(1)));
        assert!(!is_just_now(done, done + JUST_NOW));
    }

    #[test]
    fn what_was_only_prepared_has_changed_nothing() {
        let home = tempfile::tempdir().unwrap();
        let env = Env::from([("HOME".to_owned(), home.path().display().to_string())]);
        let folders = Folders::shared(&env).unwrap();
        let source = config::Source { path: "config.toml".into(), env, sets: Vec::new() };
        let loaded = config::Config::from_text(&source, "[streams.ticks]\nvisible = true\n").ok().unwrap();
        let hub = Hub::new("epoch");
        let parts = super::super::supervisor_config(&loaded.config, &source.env, &folders);
        let supervisor = Supervisor::new(hub.clone(), parts);
        let prepared = prepare(&supervisor, &loaded, &Steering::default(), Aim::Exchange).ok().unwrap();
        assert!(hub.stream("ticks").is_none());
        assert_eq!(commit(&supervisor, &hub, prepared).unwrap(), []);
        assert!(hub.stream("ticks").is_some());
    }
}
