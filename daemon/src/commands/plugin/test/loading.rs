//! Checks of what a plugin is before it runs: its file, its table, its schemas, and how it meets an older daemon.

use std::sync::Arc;

use broadcastd_plugin_api::{StreamSpec, abi};
use serde_json::{Map, Value};

use super::checks::{Checked, Flaw, Subject, failed, is_panic};
use crate::commands::plugin::given;
use crate::config::document::Document;
use crate::hub::commands::Shape;
use crate::json_schema::Schema;
use crate::plugin::host::{self, Table};
use crate::plugin::inspect::Inspection;
use crate::plugin::library::{Library, Opened};
use crate::plugin::note::Note;
use crate::plugin::stream::declaration;

/// The file is whole and carries a note that this daemon reads.
pub fn file(subject: &Subject) -> Checked {
    let note = Inspection::of(&subject.image()?).verdict.map_err(|why| Flaw::Wrong(why.to_string()))?;
    Ok(format!("{} {} for ABI {}.{}", note.id, note.version, abi::ABI_MAJOR, note.abi_minor))
}

/// Its entry answers a whole table.
pub fn load(subject: &Subject) -> Checked {
    let library = subject.library()?;
    let or = |what: &'static str, is_there| if is_there { what } else { "" };
    let offers = [
        or(", a stream", !library.facts.stream.is_empty()),
        or(", state", library.facts.state_version > 0),
        or(", reconfigure", library.facts.can_reconfigure),
    ];
    Ok(format!("its entry answers a whole table{}", offers.concat()))
}

/// It works with a shorter table of the host, or says that it does not, and never calls what is not there.
pub fn older_host(subject: &Subject) -> Checked {
    let image = subject.image()?;
    let note = Note::read(&image.bytes).map_err(|why| Flaw::Wrong(why.to_string()))?;
    let settings = subject.plugin().map(|plugin| plugin.settings.to_string());
    let mut refused = 0;
    let sizes = host::sizes();
    for (size, before) in sizes {
        subject.report.under(&format!("with a host whose table ends before {before}"));
        subject.report.doing("its entry");
        // Each copy is loaded anew, as into a process of its own: a plugin may keep the first table that it is given.
        let copy = image.private_copy(&subject.scratch.join(before), &note.id);
        let opened = copy.and_then(|path| Opened::open(&path)).map_err(|why| Flaw::Wrong(why.to_string()))?;
        match opened.start_with(Table::shortened(size), note.clone(), image.sha256.clone()) {
            Err(_) => refused += 1,
            Ok(library) => {
                let Ok(settings) = &settings else { continue };
                begin(subject, library, settings)
                    .map_err(|why| Flaw::Wrong(format!("with a host whose table ends before {before}, {why}")))?;
            }
        }
    }
    Ok(format!("of {} shorter tables it refuses {refused} and lives with the others", sizes.len()))
}

/// A short life. That it fails is well, since what it wants is not there; a panic is not.
fn begin(subject: &Subject, library: Library, settings: &str) -> Result<(), String> {
    let spec = declaration(&library.facts.stream).map_err(|why| why.to_string())?;
    let plugin = super::checks::Plugin { library: Arc::new(library), spec, schema: Value::Null, settings: Value::Null };
    let (mut alone, clock) = subject.alone(&plugin);
    let lived =
        alone.create(settings).and_then(|()| alone.begin()).and_then(|()| super::life::turns(&mut alone, &clock));
    let lived = lived.and_then(|()| alone.stop().map(drop));
    match lived {
        Err(fault) if is_panic(&fault) => match failed(alone.last_call(), &fault) {
            Flaw::Wrong(why) | Flaw::NotApplicable(why) => Err(why),
        },
        _ => Ok(()),
    }
}

/// The schema of its settings is one that the daemon checks whole, and its defaults fit.
pub fn settings_schema(subject: &Subject) -> Checked {
    let library = subject.library()?;
    let schema: Value =
        serde_json::from_str(&library.facts.config_schema).map_err(|error| Flaw::Wrong(error.to_string()))?;
    let about = Schema::new(&schema);
    if !schema.is_boolean() && !schema.is_object() {
        return Err(Flaw::Wrong("it is no JSON Schema, which is an object, or true or false".to_owned()));
    }
    let unsupported = about.unsupported();
    if !unsupported.is_empty() {
        let rule = "the daemon does not check this; say it with other keywords, or in validate";
        return Err(Flaw::Wrong(format!("{}: {rule}", unsupported.join(", "))));
    }
    let types = about.types();
    if !types.is_empty() && !types.contains(&"object") {
        return Err(Flaw::Wrong(format!(
            "settings are a table, but it asks for {}; say \"type\": \"object\"",
            types.join(" or ")
        )));
    }
    let defaults = about.properties().into_iter().flatten().filter_map(|(name, below)| {
        let default = below.get("default")?.clone();
        Some((name.clone(), default))
    });
    let defaults = Map::from_iter(defaults);
    let count = about.properties().map_or(0, Map::len);
    // What is missing is for whoever gives settings; here the defaults are judged.
    let mut without_required = schema.clone();
    without_required.as_object_mut().map(|keywords| keywords.remove("required"));
    let document = Document::of_tree("its defaults", Value::Object(defaults));
    given::checked(&document, &without_required).map_err(|wrong| {
        Flaw::Wrong(format!("a default does not fit: {}", given::place(&wrong.pointer, &wrong.message)))
    })?;
    Ok(format!("{count} settings, all checked, and their defaults fit"))
}

/// The declaration of its stream can be read, and so can the schemas in it.
pub fn stream(subject: &Subject) -> Checked {
    let library = subject.library()?;
    let Some(spec) = judge_stream(&library.facts.stream)? else {
        return Err(Flaw::NotApplicable("it declares no stream: it only listens".to_owned()));
    };
    Ok(format!("kinds: {}; commands: {}", names(spec.kinds.keys()), names(spec.commands.keys())))
}

/// A declaration that can be read, with schemas that can be checked.
pub fn judge_stream(declared: &str) -> Result<Option<StreamSpec>, Flaw> {
    let spec = declaration(declared).map_err(|why| Flaw::Wrong(why.to_string()))?;
    for (kind, declared) in spec.iter().flat_map(|spec| &spec.kinds) {
        for (what, schema) in [("kind", Some(&declared.schema)), ("the records of kind", declared.record.as_ref())] {
            let Some(Err(unusable)) = schema.map(Shape::new) else { continue };
            return Err(Flaw::Wrong(format!("the schema of {what} \"{kind}\" cannot be checked: {unusable}")));
        }
    }
    Ok(spec)
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
