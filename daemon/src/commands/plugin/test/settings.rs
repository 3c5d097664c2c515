//! Checks of settings: right ones are taken, wrong ones refused where they are wrong.

use serde_json::{Value, json};

use super::checks::{Checked, Flaw, Plugin, Subject, failed, is_panic};
use super::life::live;
use super::loading::judge_stream;
use crate::commands::plugin::given;
use crate::config::document::Document;
use crate::json_schema::{Schema, type_of};
use crate::plugin::port::Fault;
use crate::plugin::timing::Timing;

/// A setting that no plugin has.
const UNKNOWN: &str = "no_such_setting";

/// The settings that are given fit the schema, and the plugin takes them.
pub fn right(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    validate(subject, &plugin, &plugin.settings).map_err(|fault| failed("validate", &fault))?;
    declare(subject, &plugin)?;
    let (mut alone, _) = subject.alone(&plugin);
    alone.create(&plugin.settings.to_string()).map_err(|fault| failed("create", &fault))?;
    let given = if subject.asked.settings.is_some() { "those that are given" } else { "its defaults" };
    Ok(format!("it takes {given}"))
}

/// What is wrong is refused where it is wrong, and whatever it is: nothing panics.
pub fn wrong(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    let schema = Schema::new(&plugin.schema);
    let certain = schema.certain();
    let names: Vec<&String> = certain.iter().filter_map(Schema::properties).flat_map(|all| all.keys()).collect();
    let mut tried = Vec::new();
    for name in &names {
        let types = certain.iter().find_map(|one| one.property(name)).map(|below| below.types()).unwrap_or_default();
        let Some(other) = of_another_type(&types) else { continue };
        let wrong = with(&plugin.settings, name, other);
        must_refuse(subject, &plugin, &wrong, name)?;
        tried.push(wrong);
    }
    let is_open =
        certain.iter().any(|one| one.keyword("additionalProperties").is_some_and(|said| *said != json!(false)));
    if !is_open {
        let wrong = with(&plugin.settings, UNKNOWN, json!(true));
        must_refuse(subject, &plugin, &wrong, UNKNOWN)?;
        tried.push(wrong);
    }
    let refused = tried.len();
    tried.extend([json!({}), json!([]), json!(null), json!(-1), json!("{"), json!({ "": [[[{}]]] })]);
    for settings in &tried {
        subject.report.under(&format!("with settings {}", shortened(&settings.to_string())));
        no_panic(validate(subject, &plugin, settings), "validate", settings)?;
        let (mut alone, _) = subject.alone(&plugin);
        no_panic(alone.create(&settings.to_string()), "create", settings)?;
    }
    Ok(format!("{refused} mistakes are refused at their place, and nothing panics"))
}

/// It takes its own settings while it runs, or asks to be replaced.
pub fn reconfigure(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    if !plugin.library.facts.can_reconfigure {
        return Err(Flaw::NotApplicable("it has no reconfigure: it is replaced".to_owned()));
    }
    let (mut alone, clock) = subject.alone(&plugin);
    live(subject, &plugin, &mut alone, &clock)?;
    match alone.reconfigure(&plugin.settings.to_string()) {
        Ok(()) => {
            super::life::turns(&mut alone, &clock).map_err(|fault| failed(alone.last_call(), &fault))?;
            Ok("it takes its own settings while it runs".to_owned())
        }
        Err(fault) if fault.status == broadcastd_plugin_api::abi::E_UNSUPPORTED => {
            Ok("it asks to be replaced".to_owned())
        }
        Err(fault) => Err(failed("reconfigure", &fault)),
    }
}

/// What it declares of its stream with its settings is as whole as what its table says.
fn declare(subject: &Subject, plugin: &Plugin) -> Result<(), Flaw> {
    subject.report.doing("stream_with");
    let (id, settings) = (&plugin.library.note.id, plugin.settings.to_string());
    let declared = plugin.library.stream_with(id, settings, Timing::default().create);
    let declared = declared.map_err(|fault| failed("stream_with", &fault))?;
    judge_stream(&declared).map(drop)
}

fn validate(subject: &Subject, plugin: &Plugin, settings: &Value) -> Result<(), Fault> {
    subject.report.doing("validate");
    let validated = plugin.library.validate(&plugin.library.note.id, settings.to_string(), Timing::default().create);
    validated.map(drop).map_err(|mut faults| faults.swap_remove(0))
}

/// Its schema or the plugin itself refuses it, and says where.
fn must_refuse(subject: &Subject, plugin: &Plugin, settings: &Value, name: &str) -> Result<(), Flaw> {
    let place = format!("/{name}");
    let is_there = |pointer: &str| pointer.starts_with(&place);
    let shown = shortened(&settings[name].to_string());
    let document = Document::of_tree("settings", settings.clone());
    let refused = match given::checked(&document, &plugin.schema) {
        Err(wrong) => Some(wrong.pointer),
        Ok(filled_in) => validate(subject, plugin, &filled_in).err().map(|fault| fault.pointer),
    };
    match refused {
        Some(pointer) if is_there(&pointer) => Ok(()),
        Some(pointer) => Err(Flaw::Wrong(format!(
            "{name} = {shown} is refused at \"{pointer}\", where nobody looks for it; name {place} in fail()"
        ))),
        None if name == UNKNOWN => Err(Flaw::Wrong(format!(
            "a setting that it does not know, {name}, is taken without a word; say \"additionalProperties\": false in the \
             schema (in Rust: deny_unknown_fields)"
        ))),
        None => Err(Flaw::Wrong(format!("{name} = {shown} is taken; say in the schema what it may be"))),
    }
}

fn no_panic(done: Result<(), Fault>, call: &str, settings: &Value) -> Result<(), Flaw> {
    match done {
        Err(fault) if is_panic(&fault) => {
            Err(failed(&format!("{call} with {}", shortened(&settings.to_string())), &fault))
        }
        _ => Ok(()),
    }
}

/// A value of a type that is not one of these, if there is one.
fn of_another_type(types: &[&str]) -> Option<Value> {
    let fits =
        |value: &Value| types.contains(&type_of(value)) || type_of(value) == "integer" && types.contains(&"number");
    let candidates = [json!([["no"]]), json!({ "no": {} }), json!(true), json!("\u{1}"), json!(-7)];
    if types.is_empty() { None } else { candidates.into_iter().find(|value| !fits(value)) }
}

fn with(settings: &Value, name: &str, value: Value) -> Value {
    let mut settings = settings.clone();
    if let Some(table) = settings.as_object_mut() {
        table.insert(name.to_owned(), value);
    }
    settings
}

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    if text.len() <= MOST { text.to_owned() } else { format!("{}…", &text[..text.floor_char_boundary(MOST)]) }
}
