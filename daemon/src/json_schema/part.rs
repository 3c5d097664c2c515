//! One part of a schema file as a schema of its own, with what it refers to.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Keywords whose values are no schemas: what looks like a reference there is a value.
const VALUES: &[&str] = &["const", "default", "enum", "examples"];
/// Where what is referred to stands in a schema, by either name.
const DEFINITIONS: &[&str] = &["$defs", "definitions"];

/// The part at a pointer into the file. What it refers to in the file comes along, under `$defs`.
pub fn part(file: &Value, pointer: &str) -> Value {
    let mut along = Along { file, names: BTreeMap::new(), waiting: Vec::new() };
    let mut own = along.taken(file.pointer(pointer).unwrap_or(&Value::Null));
    let mut definitions = Map::new();
    while let Some(pointer) = along.waiting.pop() {
        let referred = along.taken(file.pointer(&pointer).unwrap_or(&Value::Null));
        definitions.insert(along.names[&pointer].clone(), referred);
    }
    if let (Value::Object(own), false) = (&mut own, definitions.is_empty()) {
        own.insert(DEFINITIONS[0].to_owned(), definitions.into());
    }
    own
}

/// What comes along, by its pointer in the file, and what of it was not taken yet.
struct Along<'f> {
    file: &'f Value,
    names: BTreeMap<String, String>,
    waiting: Vec<String>,
}

impl Along<'_> {
    /// A schema without its definitions, its references to what comes along.
    fn taken(&mut self, schema: &Value) -> Value {
        match schema {
            Value::Object(keywords) => {
                let kept = keywords.iter().filter(|(name, _)| !DEFINITIONS.contains(&name.as_str()));
                let kept: Vec<(&String, &Value)> = kept.collect();
                kept.into_iter().map(|(name, value)| (name.clone(), self.keyword(name, value))).collect()
            }
            Value::Array(schemas) => schemas.iter().map(|schema| self.taken(schema)).collect(),
            other => other.clone(),
        }
    }

    fn keyword(&mut self, name: &str, value: &Value) -> Value {
        match value.as_str().and_then(|text| text.strip_prefix('#')).filter(|_| name == "$ref") {
            Some(pointer) if self.file.pointer(pointer).is_some() => format!("#/$defs/{}", self.name(pointer)).into(),
            _ if VALUES.contains(&name) => value.clone(),
            // Its keys are names of properties, which may be called like keywords.
            _ if name == "properties" => match value {
                Value::Object(properties) => {
                    properties.iter().map(|(name, schema)| (name.clone(), self.taken(schema))).collect()
                }
                other => other.clone(),
            },
            _ => self.taken(value),
        }
    }

    /// The name of what a pointer points at: its last part, and a number where that is taken.
    fn name(&mut self, pointer: &str) -> String {
        if let Some(name) = self.names.get(pointer) {
            return name.clone();
        }
        let last = pointer.rsplit('/').next().filter(|last| !last.is_empty()).unwrap_or("whole");
        let plain: String = last.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '_' }).collect();
        let is_free = |name: &String| !self.names.values().any(|taken| taken == name);
        let numbered = (2..).map(|number| format!("{plain}_{number}"));
        let name = std::iter::once(plain.clone()).chain(numbered).find(is_free).unwrap_or(plain);
        self.names.insert(pointer.to_owned(), name.clone());
        self.waiting.push(pointer.to_owned());
        name
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_brings_what_it_refers_to_and_nothing_else() {
        let file = json!({
            "title": "whole",
            "$defs": {
                "chain": {"properties": {"orders": {"items": {"$ref": "#/$defs/order"}}, "$ref": {"type": "string"}}},
                "order": {"properties": {"side": {"$ref": "#/definitions/order"}, "of": {"$ref": "#/$defs/chain"}}},
                "other": {"type": "null"},
            },
            "definitions": {"order": {"enum": ["BUY", {"$ref": "#/$defs/other"}]}},
        });
        assert_eq!(
            part(&file, "/$defs/chain"),
            json!({
                "properties": {"orders": {"items": {"$ref": "#/$defs/order"}}, "$ref": {"type": "string"}},
                "$defs": {
                    "order": {"properties": {"side": {"$ref": "#/$defs/order_2"}, "of": {"$ref": "#/$defs/chain"}}},
                    "order_2": {"enum": ["BUY", {"$ref": "#/$defs/other"}]},
                    "chain": {"properties": {"orders": {"items": {"$ref": "#/$defs/order"}}, "$ref": {"type": "string"}}},
                },
            })
        );
        assert_eq!(part(&file, "/$defs/other"), json!({"type": "null"}));
        assert_eq!(part(&file, ""), json!({"title": "whole"}));
        let circle = json!({"items": {"$ref": "#"}});
        let whole = json!({"items": {"$ref": "#/$defs/whole"}});
        assert_eq!(part(&circle, ""), json!({"items": {"$ref": "#/$defs/whole"}, "$defs": {"whole": whole}}));
        assert_eq!(part(&json!(true), ""), json!(true));
    }
}
