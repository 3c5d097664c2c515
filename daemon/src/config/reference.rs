//! Writes the reference of config.toml in Markdown from its JSON Schema, so that the document cannot say anything else.

use std::fmt::Write as _;

use serde_json::Value;

use super::value::{Duration, Size};
use crate::json_schema::Schema;

const INTRODUCTION: &str = "\
# Configuration

This page is written by `cargo xtask docs` from the schema that the daemon checks `config.toml` with. How files,
environment and `--set` go together, and what a reload does, is in [operating.md](operating.md).

- A *duration* is a string like `\"500ms\"`, `\"2s\"` or `\"1m30s\"` (units ns, us, ms, s, m, h, d); a bare number is seconds.
- A *size* is a string like `\"512B\"`, `\"64KiB\"`, `\"1MiB\"` or `\"1GiB\"`; a bare number is bytes.
- An *interval* is two durations, the shorter first: `\"100ms..30s\"`.
- An *address* is `\"IP:PORT\"` or `\"unix:/path/to/socket\"`; port 0 lets the system choose.
- A *network* is an IP address, or the first one of a network and the bits that its addresses share: `\"10.0.0.0/8\"`.
- A *secret* never stands in the file: `\"credential:NAME\"` (systemd), `{ file = \"/path\" }` or `{ env = \"NAME\" }`.
- A relative path of a secret, a key or a certificate begins at the folder of `config.toml`.
- Names of streams and broadcasters are written with `a-z`, `0-9` and `_`; `system` and `daemon` are taken.
";

/// The whole page.
pub fn markdown(schema: &Value) -> String {
    let mut page = Page { text: INTRODUCTION.to_owned() };
    let root = Schema::new(schema);
    for (name, section) in properties(root) {
        page.section(&name, section);
    }
    page.text
}

struct Page {
    text: String,
}

impl Page {
    /// A heading and the keys below it; tables of tables follow as sections of their own.
    fn section(&mut self, name: &str, schema: Schema<'_>) {
        if let Some(each) = named(schema) {
            return self.table(&format!("[{name}.NAME]"), each, &description(schema));
        }
        self.table(&format!("[{name}]"), schema, &description(schema));
    }

    fn table(&mut self, heading: &str, schema: Schema<'_>, about: &str) {
        let path = heading.trim_matches(['[', ']']);
        self.write(&format!("\n## `{heading}`\n\n{about}\n\n"));
        self.write("| Key | Type | Range | Default | Meaning |\n|---|---|---|---|---|\n");
        let mut lists = Vec::new();
        self.rows("", schema, &mut lists);
        for (name, each, about) in lists {
            self.table(&format!("[[{path}.{name}]]"), each, &about);
        }
    }

    /// The keys of a table; those of a table in it as `table.key`. Lists of tables are left for the caller.
    fn rows<'a>(&mut self, prefix: &str, schema: Schema<'a>, lists: &mut Vec<(String, Schema<'a>, String)>) {
        for (name, below) in properties(schema) {
            let key = format!("{prefix}{name}");
            let each = below.certain().iter().find_map(Schema::items).filter(|each| !properties(*each).is_empty());
            if let Some(each) = each {
                lists.push((key, each, description(below)));
            } else if properties(below).is_empty() {
                let is_needed = required(schema).iter().any(|needed| *needed == name);
                let default = if is_needed { "required".to_owned() } else { default(below) };
                self.row(&key, below, default);
            } else {
                self.rows(&format!("{key}."), below, lists);
            }
        }
    }

    fn row(&mut self, key: &str, schema: Schema<'_>, default: String) {
        let cells = [format!("`{key}`"), kind(schema), range(schema), default, meaning(schema)];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        self.write(&format!("| {} |\n", cells.join(" | ")));
    }

    fn write(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

fn properties(schema: Schema<'_>) -> Vec<(String, Schema<'_>)> {
    let tables = schema.certain();
    let found = tables.iter().filter_map(|one| Some((one, one.properties()?)));
    found.flat_map(|(one, names)| names.keys().filter_map(|name| Some((name.clone(), one.property(name)?)))).collect()
}

/// What every key of a table is like whose keys the operator names.
fn named(schema: Schema<'_>) -> Option<Schema<'_>> {
    schema.certain().iter().find_map(Schema::additional)
}

fn keyword<'a>(schema: Schema<'a>, name: &str) -> Option<&'a Value> {
    schema.certain().iter().find_map(|one| one.keyword(name))
}

fn required(schema: Schema<'_>) -> Vec<&str> {
    let names = keyword(schema, "required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn description(schema: Schema<'_>) -> String {
    keyword(schema, "description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn meaning(schema: Schema<'_>) -> String {
    let rule = keyword(schema, "x-rule").or_else(|| schema.certain().iter().find_map(Schema::items)?.keyword("x-rule"));
    match rule.and_then(Value::as_str) {
        Some(rule) => format!("{} Rule: {rule}.", description(schema)),
        None => description(schema),
    }
}

fn format_of(schema: Schema<'_>) -> &str {
    keyword(schema, "format").and_then(Value::as_str).unwrap_or_default()
}

fn kind(schema: Schema<'_>) -> String {
    match format_of(schema) {
        "socket-address" => return "address".to_owned(),
        known @ ("duration" | "size" | "interval" | "network") => return known.to_owned(),
        _ => {}
    }
    let variants = schema.variants();
    let words: Vec<String> =
        variants.iter().flat_map(Schema::constants).filter(|one| !one.is_null()).map(toml).collect();
    if !words.is_empty() {
        let formats = variants.iter().filter_map(|one| one.text("format")).map(str::to_owned);
        return formats.chain(words).collect::<Vec<_>>().join(", ");
    }
    if let Some(each) = schema.certain().iter().find_map(Schema::items) {
        return format!("list of {}", kind(each));
    }
    let types: Vec<&str> = schema.types().into_iter().filter(|one| *one != "null").collect();
    match types[..] {
        ["object", "string"] => "secret".to_owned(),
        ["object"] => "table".to_owned(),
        _ => types.join(" or "),
    }
}

fn range(schema: Schema<'_>) -> String {
    let unit = format_of(schema);
    let bound = |name: &str| keyword(schema, name).and_then(Value::as_f64).map(|number| measure(unit, number));
    match (bound("minimum"), bound("maximum")) {
        (None, None) => String::new(),
        (Some(min), None) => format!("from {min}"),
        (None, Some(max)) => format!("up to {max}"),
        (Some(min), Some(max)) => format!("{min} to {max}"),
    }
}

fn measure(unit: &str, number: f64) -> String {
    match unit {
        "duration" => Duration::from_number(number).map_or_else(|_| number.to_string(), |length| length.to_string()),
        "size" => Size::from_number(number).map_or_else(|_| number.to_string(), |size| size.to_string()),
        _ => number.to_string(),
    }
}

fn default(schema: Schema<'_>) -> String {
    match keyword(schema, "default") {
        None | Some(Value::Null) => String::new(),
        Some(value) => toml(value),
    }
}

/// A value as it is written in the file.
fn toml(value: &Value) -> String {
    let mut text = String::from("`");
    match value {
        Value::Object(table) if table.is_empty() => text.push_str("{}"),
        other => write!(text, "{other}").expect("writing into a string cannot fail"),
    }
    text.push('`');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_sort_of_key_has_its_row() {
        let schema = json!({ "properties": {
            "hub": { "description": "Limits.", "properties": {
                "ping": { "properties": { "every": { "format": "duration", "minimum": 0.1, "maximum": 3600, "default": "30s", "description": "How often." } } },
                "mode": { "oneOf": [{ "const": "a" }, { "const": "b" }], "default": "a" },
                "paths": { "items": { "required": ["path"], "properties": { "path": { "type": "string", "description": "A | B." } } } } } },
            "streams": { "additionalProperties": { "properties": { "size": { "anyOf": [{ "type": "integer" }, { "type": "null" }], "maximum": 9 } } } },
        }});
        let page = markdown(&schema);
        for line in [
            "## `[hub]`",
            "| `mode` | `\"a\"`, `\"b\"` |  | `\"a\"` |  |",
            "| `ping.every` | duration | 100ms to 1h | `\"30s\"` | How often. |",
            "## `[[hub.paths]]`",
            "| `path` | string |  | required | A \\| B. |",
            "## `[streams.NAME]`",
            "| `size` | integer | up to 9 |  |  |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }
}
