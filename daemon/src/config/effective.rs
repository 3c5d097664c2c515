//! The configuration in force, value by value with who said it: as TOML that could take the place of the file, or as data.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::document::{Document, Origin, dotted, pointer_to};
use super::layers::Position;
use super::words::is_secret;
use crate::json_schema::Schema;

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";
/// How deep values may nest: what TOML itself allows.
const MAX_DEPTH: usize = 80;

/// Whether each line of the TOML says where its value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origins {
    Hidden,
    Shown,
}

/// Every setting with its value, those that nobody gave with their default.
pub struct Effective<'a> {
    document: &'a Document,
    tree: Value,
}

impl<'a> Effective<'a> {
    /// `tree` is the whole configuration as its types write it; `settings` is what plugins declare of theirs, by
    /// broadcaster. A value that a plugin calls secret is not shown; where it lies, is.
    pub fn new(document: &'a Document, tree: Value, settings: &BTreeMap<String, Value>) -> Self {
        let mut tree = without_nothing(tree);
        for (broadcaster, declared) in settings {
            let pointer = pointer_to(&pointer_to("/broadcasters", broadcaster), "settings");
            if let Some(value) = tree.pointer_mut(&pointer) {
                hide(value, Schema::new(declared), 0);
            }
        }
        Self { document, tree }
    }

    /// The same without any value that never appears in a report.
    pub fn without_secrets(self) -> Self {
        Self { tree: masked("", self.tree), ..self }
    }

    /// A file that means the same wherever it is read.
    pub fn toml(&self, origins: Origins) -> String {
        let mut text = String::new();
        self.table("", &self.tree, origins, &mut text);
        text
    }

    /// A list of `{key, value, origin}`, with `file` and `line`, or `variable`, where there are any.
    pub fn json(&self) -> Value {
        let mut all = Vec::new();
        self.leaves("", &self.tree, &mut all);
        all.into()
    }

    fn table(&self, pointer: &str, value: &Value, origins: Origins, out: &mut String) {
        let Value::Object(table) = value else { return };
        let (below, own): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_object());
        if !pointer.is_empty() && (!own.is_empty() || below.is_empty()) {
            let gap = if out.is_empty() { "" } else { "\n" };
            self.write(out, &format!("{gap}[{}]", dotted(pointer)));
        }
        for (key, value) in own {
            let place = pointer_to(pointer, key);
            let line = format!("{} = {}", dotted(&pointer_to("", key)), written(value));
            match origins {
                Origins::Hidden => self.write(out, &line),
                Origins::Shown => self.write(out, &format!("{line:<40} # {}", self.source(&place))),
            }
        }
        for (key, value) in below {
            self.table(&pointer_to(pointer, key), value, origins, out);
        }
    }

    fn write(&self, out: &mut String, line: &str) {
        writeln!(out, "{line}").expect("writing into a string cannot fail");
    }

    fn leaves(&self, pointer: &str, value: &Value, all: &mut Vec<Value>) {
        if let Value::Object(table) = value {
            table.iter().for_each(|(key, value)| self.leaves(&pointer_to(pointer, key), value, all));
            return;
        }
        let mut leaf = json!({ "key": dotted(pointer), "value": value });
        match self.document.origin(pointer) {
            None => leaf["origin"] = "default".into(),
            Some(Origin::File) => {
                leaf["origin"] = "file".into();
                leaf["file"] = self.position(pointer).map_or(self.document.layers().name(), |at| at.file).into();
                leaf["line"] = self.position(pointer).map(|at| at.line).into();
            }
            Some(Origin::Environment(variable)) => {
                leaf["origin"] = "environment".into();
                leaf["variable"] = variable.as_str().into();
            }
            Some(Origin::Set(_)) => leaf["origin"] = "set".into(),
        }
        all.push(leaf);
    }

    fn source(&self, pointer: &str) -> String {
        match self.document.origin(pointer) {
            None => "default".to_owned(),
            Some(Origin::Environment(variable)) => variable.clone(),
            Some(Origin::Set(key)) => format!("--set {key}"),
            Some(Origin::File) => match self.position(pointer) {
                Some(Position { file, line, .. }) => format!("{file}:{line}"),
                None => self.document.layers().name().to_owned(),
            },
        }
    }

    fn position(&self, pointer: &str) -> Option<Position<'_>> {
        Some(self.document.layers().position(self.document.at_value(pointer).span?.start))
    }
}

/// Puts a word in the place of every secret.
fn hide(value: &mut Value, schema: Schema<'_>, depth: usize) {
    let names_its_place = match &*value {
        Value::Object(table) => table.len() == 1 && (table.contains_key("file") || table.contains_key("env")),
        Value::String(text) => text.starts_with("credential:"),
        _ => false,
    };
    if schema.is_secret() && !names_its_place {
        *value = HIDDEN.into();
    }
    let below: Vec<(String, &mut Value)> = match value {
        Value::Object(table) => table.iter_mut().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => items.iter_mut().enumerate().map(|(at, item)| (at.to_string(), item)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in below {
        if let Some(schema) = schema.below(&key).filter(|_| depth < MAX_DEPTH) {
            hide(value, schema, depth + 1);
        }
    }
}

/// Without what is not set and has no default: TOML has no word for nothing.
fn without_nothing(value: Value) -> Value {
    match value {
        Value::Object(table) => {
            let said = table.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(said.map(|(key, value)| (key, without_nothing(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(without_nothing).collect(),
        other => other,
    }
}

fn masked(pointer: &str, value: Value) -> Value {
    match value {
        Value::Object(table) => {
            let each = |(key, value): (String, Value)| (key.clone(), masked(&pointer_to(pointer, &key), value));
            table.into_iter().map(each).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(|item| masked(pointer, item)).collect(),
        _ if is_secret(pointer) => HIDDEN.into(),
        plain => plain,
    }
}

/// A value as it stands behind `key =`.
fn written(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Object(table) if table.is_empty() => "{}".to_owned(),
        Value::Object(table) => {
            let pair =
                |(key, value): (&String, &Value)| format!("{} = {}", dotted(&pointer_to("", key)), written(value));
            format!("{{ {} }}", table.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => toml::Value::from(text.as_str()).to_string(),
        plain => plain.to_string(), // numbers and truth are written alike in JSON
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Config, SHIPPED, Source};
    use super::*;

    fn source(env: &[(&str, &str)], sets: &[&str]) -> Source {
        let env: BTreeMap<String, String> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Source { path: "config.toml".into(), env, sets: sets.iter().map(|set| (*set).to_owned()).collect() }
    }

    fn shown(text: &str, source: &Source, origins: Origins) -> String {
        let loaded = Config::from_text(source, text).unwrap();
        Effective::new(&loaded.document, serde_json::to_value(&loaded.config).unwrap(), &BTreeMap::new()).toml(origins)
    }

    #[test]
    fn what_is_shown_means_the_same_as_the_file() {
        for text in [SHIPPED, "", "[streams.\"a\"]\n[auth.tokens.x]\nsha256 = \"ab\"\n"] {
            let Ok(loaded) = Config::from_text(&source(&[], &[]), text) else { continue };
            let again = shown(text, &source(&[], &[]), Origins::Shown);
            let read =
                Config::from_text(&source(&[], &[]), &again).unwrap_or_else(|wrong| panic!("{wrong:?}\n{again}"));
            assert_eq!(read.config, loaded.config, "{again}");
        }
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let text = "[admin]\ntoken = { env = \"A\" }\n[broadcasters.b]\nplugin = \"p\"\nsettings = { to = [{ password = \"x1\" }], url = \"u\" }\n";
        let loaded = Config::from_text(&source(&[], &[]), text).unwrap();
        let effective =
            Effective::new(&loaded.document, serde_json::to_value(&loaded.config).unwrap(), &BTreeMap::new());
        let shown = effective.without_secrets().json();
        let of = |key: &str| shown.as_array().unwrap().iter().find(|one| one["key"] == key).unwrap()["value"].clone();
        assert_eq!(of("broadcasters.b.settings.to"), json!([{ "password": HIDDEN }]));
        assert_eq!(of("broadcasters.b.settings.url"), "u");
        assert_eq!(of("admin.token.env"), HIDDEN);
    }

    #[test]
    fn each_value_says_who_gave_it() {
        let text = "[hub]\nmax_topics = 7\nmax_records = 8\n";
        let source = source(&[("BROADCASTD_HUB__MAX_RECORDS", "9")], &["hub.max_per_ip=3"]);
        let lines = shown(text, &source, Origins::Shown);
        let of = |key: &str| {
            let line = lines.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("max_topics"), "max_topics = 7 # config.toml:2");
        assert_eq!(of("max_records"), "max_records = 9 # BROADCASTD_HUB__MAX_RECORDS");
        assert_eq!(of("max_per_ip"), "max_per_ip = 3 # --set hub.max_per_ip");
        assert_eq!(of("max_connections").split_once(" # ").unwrap().1, "default");
        let loaded = Config::from_text(&source, text).unwrap();
        let all =
            Effective::new(&loaded.document, serde_json::to_value(&loaded.config).unwrap(), &BTreeMap::new()).json();
        let found = all.as_array().unwrap().iter().find(|one| one["key"] == "hub.max_topics");
        assert_eq!(
            found,
            Some(&json!({ "key": "hub.max_topics", "value": 7, "origin": "file", "file": "config.toml", "line": 2 }))
        );
    }

    #[test]
    fn what_a_plugin_calls_secret_is_hidden_wherever_it_stands() {
        let declared = json!({ "properties": {
            "pin": { "type": ["string", "integer"], "writeOnly": true },
            "plain": { "type": "string" },
            "servers": { "items": { "properties": { "word": { "anyOf": [{ "$ref": "#/$defs/word" }, { "type": "null" }] } } } },
        }, "$defs": { "word": { "format": "password" } } });
        let text = "[broadcasters.x]\nplugin = \"x\"\n[broadcasters.x.settings]\npin = 4711\nplain = \"seen\"\n\
                    servers = [{ word = \"hunter2\", name = \"a\" }, { word = \"credential:b\" }, { word = { file = \"/c\" } }]\n";
        let source = source(&[], &[]);
        let loaded = Config::from_text(&source, text).unwrap();
        let tree = serde_json::to_value(&loaded.config).unwrap();
        let shown = Effective::new(&loaded.document, tree, &[("x".to_owned(), declared)].into()).toml(Origins::Hidden);
        let settings = shown.split_once("[broadcasters.x.settings]\n").unwrap().1;
        let servers =
            r#"servers = [{ name = "a", word = "(hidden)" }, { word = "credential:b" }, { word = { file = "/c" } }]"#;
        let expected = ["pin = \"(hidden)\"", "plain = \"seen\"", servers];
        assert_eq!(settings.lines().take(3).collect::<Vec<_>>(), expected, "{shown}");
    }
}
