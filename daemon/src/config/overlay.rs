//! Lays the environment and `--set` over a document: --set > environment > file.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    code,
    diagnostic::Diagnostic,
    document::{At, Document, Origin, Place, pointer_to},
    source::literal,
};
use crate::json_schema::{Schema, type_of};

/// What every general override in the environment begins with.
pub const PREFIX: &str = "BROADCASTD_";

/// Joins the parts of a path in the name of a variable, because the parts themselves contain single underscores.
const JOINT: &str = "__";

/// Lays all `BROADCASTD_A__B__C=value` over the document, then all `key=value` of `--set`.
pub fn apply(document: &mut Document, env: &BTreeMap<String, String>, sets: &[String]) -> Vec<Diagnostic> {
    let mut refused = Vec::new();
    for (variable, raw) in env {
        let Some(path) = variable.strip_prefix(PREFIX).filter(|path| path.contains(JOINT)) else { continue };
        let parts: Vec<String> = path.split(JOINT).map(str::to_lowercase).collect();
        let origin = Origin::Environment(variable.clone());
        refused.extend(document.overlay(&parts, raw, origin).err().map(|wrong| *wrong));
    }
    refused.extend(apply_sets(document, sets));
    refused
}

/// Lays the variables of every broadcaster that names a prefix of its own (`env = "BAR_BROADCASTER"`) over the document:
/// `PREFIX_ENABLED` says whether it runs, any other `PREFIX_NAME` is the setting `name`. `--set` still wins.
pub fn apply_prefixed_env(document: &mut Document, env: &BTreeMap<String, String>, sets: &[String]) -> Vec<Diagnostic> {
    let prefixes = prefixes(document);
    let mut refused = Vec::new();
    for (variable, raw) in env {
        // `BAR` and `BAR_BROADCASTER` may both be prefixes: the longest one owns the variable.
        let owned = |prefix: &str| variable.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
        let longest =
            prefixes.iter().filter(|(_, prefix)| owned(prefix).is_some()).map(|(_, prefix)| prefix.len()).max();
        for (broadcaster, prefix) in prefixes.iter().filter(|(_, prefix)| Some(prefix.len()) == longest) {
            let Some(name) = owned(prefix).filter(|name| !name.is_empty()) else { continue };
            let origin = Origin::Environment(variable.clone());
            let outcome = if name == "ENABLED" {
                enable(document, broadcaster, raw, origin)
            } else {
                let start = ["broadcasters", broadcaster, "settings"].map(str::to_owned);
                let parts: Vec<String> = start.into_iter().chain(name.split(JOINT).map(str::to_lowercase)).collect();
                document.overlay(&parts, raw, origin)
            };
            refused.extend(outcome.err().map(|wrong| *wrong));
        }
    }
    // What is wrong with them was said when they were laid over the file.
    drop(apply_sets(document, sets));
    refused
}

/// Variables that look like overrides but are none, because the joint is missing.
pub fn ignored(env: &BTreeMap<String, String>, sections: &[&str]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for variable in env.keys() {
        let Some(path) = variable.strip_prefix(PREFIX).filter(|path| !path.contains(JOINT)) else { continue };
        let path = path.to_lowercase();
        let section =
            sections.iter().find(|section| path.strip_prefix(**section).is_some_and(|rest| rest.starts_with('_')));
        if let Some(section) = section {
            let meant =
                format!("{PREFIX}{}{JOINT}{}", section.to_uppercase(), path[section.len() + 1..].to_uppercase());
            let at = At { origin: Origin::Environment(variable.clone()), span: None };
            let message = format!("`{variable}` has no effect: the parts of a path are joined with two underscores");
            found.push(Diagnostic::new(code::IGNORED, message).at(at).help(format!("did you mean `{meant}`?")));
        }
    }
    found
}

impl Document {
    /// Puts an override at a path; tables on the way are made, keys are matched whatever their case.
    pub fn overlay(&mut self, path: &[String], raw: &str, origin: Origin) -> Result<(), Box<Diagnostic>> {
        let refuse = |why: String| {
            let at = At { origin: origin.clone(), span: None };
            Box::new(
                Diagnostic::new(code::OVERRIDE, why)
                    .at(at)
                    .help("the shipped config.toml shows every setting and its place"),
            )
        };
        if path.iter().any(String::is_empty) {
            return Err(refuse("the path of this override has an empty part".to_owned()));
        }
        let mut pointer = String::new();
        let mut node = &mut self.tree;
        for part in path {
            let part = match &*node {
                Value::Object(object) => matching_key(object, part),
                Value::Array(items) if part.parse().is_ok_and(|index: usize| index <= items.len()) => part.clone(),
                Value::Array(items) => {
                    return Err(refuse(format!("there is no `{part}` in a list of {}", items.len())));
                }
                _ => {
                    return Err(refuse(format!(
                        "`{}` is a value, it has no `{part}`",
                        super::document::dotted(&pointer)
                    )));
                }
            };
            pointer = pointer_to(&pointer, &part);
            let place = || Place { origin: origin.clone(), ..Place::default() };
            self.places.entry(pointer.clone()).or_insert_with(place);
            node = entry(node, &part);
        }
        *node = literal(raw);
        let below = format!("{pointer}/");
        self.places.retain(|key, _| !key.starts_with(&below));
        let place = self.places.entry(pointer).or_default();
        *place = Place { origin, raw: Some(raw.to_owned()), ..place.clone() };
        Ok(())
    }

    /// Reads the overrides at and below `pointer` again as the schema of `pointer` wants them: `1,5` as a list, `1` as
    /// a text where only texts are allowed.
    pub fn read_overrides(&mut self, pointer: &str, schema: Schema<'_>) {
        let below = format!("{pointer}/");
        let ours = |(key, place): (&String, &Place)| {
            let raw = place.raw.clone().filter(|_| key.starts_with(&below))?;
            Some((key.clone(), raw))
        };
        let overrides: Vec<(String, String)> = self.places.iter().filter_map(ours).collect();
        for (key, raw) in overrides {
            let parts = super::document::parts(&key[pointer.len()..]);
            let mut here = pointer.to_owned();
            let wanted = parts.into_iter().try_fold(schema, |schema, part| {
                self.begin_list(&here, schema);
                here = pointer_to(&here, &part);
                schema.below(&part)
            });
            if let (Some(wanted), Some(value)) = (wanted, self.tree.pointer_mut(&key)) {
                let read = as_wanted(&raw, wanted);
                // A table or list that is one already may hold overrides of its own by now.
                if type_of(&read) != type_of(value) {
                    *value = read;
                }
            }
        }
    }
}

impl Document {
    /// What overrides have made of a list that nobody had begun is a table whose keys count from nothing.
    fn begin_list(&mut self, pointer: &str, schema: Schema<'_>) {
        let types = schema.types();
        let Some(Value::Object(table)) = self.tree.pointer_mut(pointer) else { return };
        let is_counted = !table.is_empty() && (0..table.len()).all(|index| table.contains_key(&index.to_string()));
        if is_counted && types.contains(&"array") && !types.contains(&"object") {
            let items = (0..table.len()).filter_map(|index| table.remove(&index.to_string())).collect();
            if let Some(value) = self.tree.pointer_mut(pointer) {
                *value = Value::Array(items);
            }
        }
    }
}

fn apply_sets(document: &mut Document, sets: &[String]) -> Vec<Diagnostic> {
    let mut refused = Vec::new();
    for set in sets {
        let outcome = match set.split_once('=') {
            Some((key, raw)) => {
                let parts: Vec<String> = key.trim().split('.').map(|part| part.trim().to_owned()).collect();
                document.overlay(&parts, raw, Origin::Set(key.trim().to_owned()))
            }
            None => {
                let at = At { origin: Origin::Set(set.clone()), span: None };
                let wrong = Diagnostic::new(code::OVERRIDE, format!("`--set {set}` says no value")).at(at);
                Err(Box::new(wrong.help("write key=value, for example --set server.drain=30s")))
            }
        };
        refused.extend(outcome.err().map(|wrong| *wrong));
    }
    refused
}

/// The prefix of every broadcaster that names one.
fn prefixes(document: &Document) -> Vec<(String, String)> {
    let broadcasters = document.value("/broadcasters").and_then(Value::as_object).into_iter().flatten();
    let prefix = |(name, table): (&String, &Value)| {
        let prefix = table.get("env")?.as_str().filter(|prefix| !prefix.is_empty())?;
        Some((name.clone(), prefix.to_owned()))
    };
    broadcasters.filter_map(prefix).collect()
}

/// `PREFIX_ENABLED` takes the words people write into environment files.
fn enable(document: &mut Document, broadcaster: &str, raw: &str, origin: Origin) -> Result<(), Box<Diagnostic>> {
    let path = ["broadcasters", broadcaster, "enabled"].map(str::to_owned);
    match raw.trim().to_lowercase().as_str() {
        "true" | "1" | "yes" => document.overlay(&path, "true", origin),
        "false" | "0" | "no" => document.overlay(&path, "false", origin),
        _ => {
            let message = format!("`broadcasters.{broadcaster}.enabled` cannot be {raw:?}");
            let pointer = pointer_to(&pointer_to("/broadcasters", broadcaster), "enabled");
            let span = document.value(&pointer).and_then(|_| document.at_value(&pointer).span);
            let wrong = Diagnostic { pointer, ..Diagnostic::new(code::YES_OR_NO, message) };
            Err(Box::new(wrong.at(At { origin, span }).help("write true, 1 or yes; or false, 0 or no")))
        }
    }
}

/// The value at a key of a table or an index of a list, made when it is not there yet.
fn entry<'a>(node: &'a mut Value, part: &str) -> &'a mut Value {
    if let Value::Array(items) = node {
        let index = part.parse().unwrap_or(items.len());
        if index >= items.len() {
            items.push(Value::Object(Map::new()));
        }
        let last = items.len() - 1;
        return &mut items[index.min(last)];
    }
    let below = &mut node[part];
    if below.is_null() {
        *below = Value::Object(Map::new());
    }
    below
}

/// The key of the table that `part` means: itself, or the one that differs only in case.
fn matching_key(object: &Map<String, Value>, part: &str) -> String {
    let same = |key: &&String| key.eq_ignore_ascii_case(part);
    let exact = object.contains_key(part).then(|| part.to_owned());
    exact.or_else(|| object.keys().find(same).cloned()).unwrap_or_else(|| part.to_owned())
}

/// The raw text as the schema wants it; without a wish of the schema, as TOML would read it.
fn as_wanted(raw: &str, schema: Schema<'_>) -> Value {
    let types = schema.types();
    let wants = |name: &str| types.contains(&name);
    let read = literal(raw);
    if wants("array") && !wants("string") && !read.is_array() {
        let items = raw.split(',').map(str::trim).filter(|item| !item.is_empty());
        return items
            .map(|item| schema.below("0").map_or_else(|| literal(item), |each| as_wanted(item, each)))
            .collect();
    }
    let only_text = wants("string") && !["integer", "number", "boolean", "array", "object"].into_iter().any(wants);
    if only_text && !read.is_string() {
        return Value::String(raw.to_owned());
    }
    read
}
