//! The stream of a broadcaster: what its plugin declares, and what the configuration says instead.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broadcastd_plugin_api as api;

use super::note::Unusable;
use crate::hub::commands;
use crate::hub::settings::{Flush, Lag, Settings};
use crate::hub::template::Template;

/// What the configuration says about a broadcaster's stream; `None` leaves the declaration or the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    pub visible: Option<bool>,
    pub needs_identity: Option<bool>,
    pub lag: Option<Lag>,
    pub flush: Option<Flush>,
    pub history_events: Option<usize>,
    pub history_bytes: Option<usize>,
    pub history_age: Option<Duration>,
    pub max_topics: Option<usize>,
    pub max_records: Option<usize>,
    pub listen_buffer: Option<usize>,
    pub dedup: Option<Duration>,
    pub broadcast: Option<BTreeSet<String>>,
}

/// A plugin's declaration of its stream; `None` for a notifier. Refused if this daemon cannot read it.
pub fn declaration(json: &str) -> Result<Option<api::StreamSpec>, Unusable> {
    if json.is_empty() {
        return Ok(None);
    }
    let wrong = |reason: String| {
        Unusable::new(format!("its declaration of a stream is wrong: {reason}; correct it and rebuild it"))
    };
    let spec: api::StreamSpec = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
    Template::parse(&spec.template).map_err(|error| wrong(error.to_string()))?;
    for (name, command) in &spec.commands {
        let shape = commands::Shape::new(&command.schema);
        shape.map_err(|unusable| wrong(format!("the schema of command \"{name}\" cannot be checked: {unusable}")))?;
    }
    Ok(Some(spec))
}

/// The settings of the stream: the declaration over the defaults, the configuration over both.
pub fn settings(spec: &api::StreamSpec, defaults: &Settings, overrides: &Overrides) -> Settings {
    let declared = match spec.lag {
        api::Lag::Resync => Lag::Resync,
        api::Lag::Disconnect => Lag::Disconnect,
    };
    let mut limits = defaults.limits;
    let history = &mut limits.history;
    history.events = overrides.history_events.unwrap_or(history.events);
    history.bytes = overrides.history_bytes.unwrap_or(history.bytes);
    history.age = overrides.history_age.unwrap_or(history.age);
    limits.max_topics = overrides.max_topics.unwrap_or(limits.max_topics);
    limits.max_records = overrides.max_records.unwrap_or(limits.max_records);
    // The template was checked when the declaration was read.
    let template = Template::parse(&spec.template).unwrap_or_default().with_aliases(spec.aliases.clone());
    // So were the schemas of its commands.
    let command = |spec: &api::CommandSpec| {
        let shape = commands::Shape::new(&spec.schema).ok()?;
        Some(commands::Spec { shape, permission: spec.permission.clone() })
    };
    let commands = spec.commands.iter().filter_map(|(name, spec)| Some((name.clone(), command(spec)?))).collect();
    Settings {
        visible: overrides.visible.unwrap_or(true),
        needs_identity: overrides.needs_identity.unwrap_or(defaults.needs_identity),
        private: spec.private,
        template,
        lag: overrides.lag.unwrap_or(declared),
        flush: overrides.flush,
        limits,
        listen_buffer: overrides.listen_buffer.unwrap_or(defaults.listen_buffer),
        kinds: spec.kinds.clone(),
        view: spec.view.clone(),
        commands: Arc::new(commands),
        broadcast: overrides.broadcast.clone().unwrap_or_default(),
        dedup: overrides.dedup.unwrap_or(defaults.dedup),
        payloads: defaults.payloads.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_wins_over_the_declaration() {
        let json = r#"{"template":"{symbol}","lag":"disconnect","private":true,
            "kinds":{"bar":{"schema":{},"collection":"bars"},"tick":{"schema":{}}},"later":1}"#;
        let spec = declaration(json).unwrap().unwrap();
        let declared = settings(&spec, &Settings::default(), &Overrides::default());
        assert_eq!((declared.lag, declared.private, declared.visible), (Lag::Disconnect, true, true));
        assert_eq!(declared.kinds, spec.kinds);
        let overrides =
            Overrides { lag: Some(Lag::Resync), max_topics: Some(7), visible: Some(false), ..Overrides::default() };
        let configured = settings(&spec, &Settings::default(), &overrides);
        assert!(!declared.needs_identity && !configured.needs_identity);
        let closed = Overrides { needs_identity: Some(true), ..Overrides::default() };
        assert!(settings(&spec, &Settings::default(), &closed).needs_identity);
        assert_eq!((configured.lag, configured.limits.max_topics, configured.visible), (Lag::Resync, 7, false));
        assert_eq!(configured.limits.max_records, Settings::default().limits.max_records);
    }

    #[test]
    fn a_wrong_declaration_is_refused_with_its_reason() {
        let error = |json: &str| declaration(json).unwrap_err().to_string();
        assert!(error("{").starts_with("its declaration of a stream is wrong: EOF"));
        assert!(error("{\"lag\":\"wait\"}").contains("unknown variant `wait`"));
        let unusable = error(r#"{"commands":{"list":{"schema":{"type":"nothing"},"permission":"p"}}}"#);
        assert!(unusable.contains("the schema of command \"list\" cannot be checked: "), "{unusable}");
        assert!(error("{\"template\":\"{a b}\"}").contains("is no part of a template"));
        assert_eq!(declaration("").unwrap(), None);
    }
}
