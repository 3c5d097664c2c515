//! JSON Schemas: the way through one, by references and alternatives and to what stands below a key; `compiled`, which
//! judges values; and `part`, one of several in a file.

pub mod compiled;
pub mod part;

use serde_json::{Map, Value};

/// How many references lead from one schema to the next before they are taken for a circle.
const MAX_REFERENCES: usize = 32;

/// The keywords `check` enforces or may pass over because they say nothing about a value.
const KNOWN: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$ref",
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "default",
    "definitions",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "pattern",
    "properties",
    "readOnly",
    "required",
    "title",
    "type",
    "writeOnly",
    "x-listens",
    "x-rule",
];

/// A schema together with the document its references point into.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'a> {
    root: &'a Value,
    node: &'a Value,
}

impl<'a> Schema<'a> {
    pub fn new(root: &'a Value) -> Self {
        Self { root, node: root }
    }

    /// A keyword of this very schema, not of what it refers to.
    pub fn keyword(&self, name: &str) -> Option<&'a Value> {
        self.node.get(name)
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.keyword(name)?.as_str()
    }

    /// The schemas listed under `allOf`, `anyOf` or `oneOf`.
    pub fn list(&self, name: &str) -> Vec<Self> {
        let list = self.keyword(name).and_then(Value::as_array);
        list.into_iter().flatten().map(|node| self.at(node)).collect()
    }

    /// What `$ref` points to, if there is one and it points into this schema.
    pub fn referred(&self) -> Option<Self> {
        let pointer = self.text("$ref")?.strip_prefix('#')?;
        self.root.pointer(pointer).map(|node| self.at(node))
    }

    pub fn properties(&self) -> Option<&'a Map<String, Value>> {
        self.keyword("properties")?.as_object()
    }

    pub fn property(&self, key: &str) -> Option<Self> {
        self.properties()?.get(key).map(|node| self.at(node))
    }

    /// The schema of keys that `properties` does not name, when there is one.
    pub fn additional(&self) -> Option<Self> {
        self.keyword("additionalProperties").filter(|node| node.is_object()).map(|node| self.at(node))
    }

    pub fn items(&self) -> Option<Self> {
        self.keyword("items").filter(|node| node.is_object()).map(|node| self.at(node))
    }

    /// This schema and all it stands for: references followed, alternatives taken apart.
    pub fn variants(&self) -> Vec<Self> {
        let mut found = Vec::new();
        self.collect(&mut found, 0, &|_, _| true);
        found
    }

    /// Like `variants`, but of alternatives only the one that is left when null is taken away: what surely holds.
    pub fn certain(&self) -> Vec<Self> {
        let mut found = Vec::new();
        self.collect(&mut found, 0, &|list, branches| {
            let real = |branch: &&Self| branch.text("type") != Some("null");
            list == "allOf" || branches.iter().filter(real).count() == 1
        });
        found
    }

    /// The schema of the key or index `part` below this one, by the first variant that knows it.
    pub fn below(&self, part: &str) -> Option<Self> {
        let variants = self.variants();
        let named = variants.iter().find_map(|variant| variant.property(part));
        let item = || variants.iter().find_map(Self::items).filter(|_| part.parse::<usize>().is_ok());
        named.or_else(|| variants.iter().find_map(Self::additional)).or_else(item)
    }

    /// The JSON types a value may have; empty when the schema does not say.
    pub fn types(&self) -> Vec<&'a str> {
        let mut types: Vec<&str> = Vec::new();
        for variant in self.variants() {
            let words: Vec<&'a str> = match variant.keyword("type") {
                Some(Value::String(one)) => vec![one.as_str()],
                Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
                _ => variant.constants().into_iter().map(type_of).collect(),
            };
            types.extend(words);
        }
        types.sort_unstable();
        types.dedup();
        types
    }

    /// The values of `enum` and `const`.
    pub fn constants(&self) -> Vec<&'a Value> {
        let list = self.keyword("enum").and_then(Value::as_array).into_iter().flatten();
        list.chain(self.keyword("const")).collect()
    }

    /// Whether it marks a value that nobody is to be shown: by `writeOnly`, or by the format of passwords.
    pub fn is_secret(&self) -> bool {
        let marks =
            |one: &Self| one.keyword("writeOnly") == Some(&Value::Bool(true)) || one.text("format") == Some("password");
        self.variants().iter().any(marks)
    }

    /// The keywords anywhere in this schema that `check` leaves out, so that a plugin's author can be told.
    pub fn unsupported(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect_unsupported(self.node, &mut found);
        found.sort();
        found.dedup();
        found
    }

    fn at(&self, node: &'a Value) -> Self {
        Self { root: self.root, node }
    }

    fn collect(&self, found: &mut Vec<Self>, depth: usize, wanted: &dyn Fn(&str, &[Self]) -> bool) {
        if depth > MAX_REFERENCES {
            return;
        }
        found.push(*self);
        self.referred().into_iter().for_each(|next| next.collect(found, depth + 1, wanted));
        for name in ["allOf", "anyOf", "oneOf"] {
            let branches = self.list(name);
            if wanted(name, &branches) {
                branches.iter().for_each(|next| next.collect(found, depth + 1, wanted));
            }
        }
    }
}

/// The JSON Schema name of a value's type.
pub fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn collect_unsupported(node: &Value, found: &mut Vec<String>) {
    let Some(object) = node.as_object() else { return };
    for (keyword, value) in object {
        match keyword.as_str() {
            "properties" | "$defs" | "definitions" => {
                let schemas = value.as_object().into_iter().flat_map(Map::values);
                schemas.for_each(|schema| collect_unsupported(schema, found));
            }
            "allOf" | "anyOf" | "oneOf" => {
                let schemas = value.as_array().into_iter().flatten();
                schemas.for_each(|schema| collect_unsupported(schema, found));
            }
            "items" | "additionalProperties" => collect_unsupported(value, found),
            "pattern" => {
                let text = value.as_str().unwrap_or_default();
                if regex_lite::Regex::new(text).is_err() {
                    found.push(format!("pattern {text}"));
                }
            }
            "$ref" if !value.as_str().is_some_and(|to| to.starts_with('#')) => found.push(format!("$ref {value}")),
            known if KNOWN.contains(&known) => {}
            other => found.push(other.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_way_leads_through_references_and_alternatives() {
        let root = json!({
            "properties": { "a": { "anyOf": [{ "$ref": "#/$defs/list" }, { "type": "null" }] } },
            "$defs": { "list": { "type": "array", "items": { "type": "string" } } }
        });
        let a = Schema::new(&root).below("a").unwrap();
        assert_eq!(a.types(), ["array", "null"]);
        assert_eq!(a.below("0").unwrap().types(), ["string"]);
        assert!(a.below("x").is_none());
    }

    #[test]
    fn a_circle_of_references_ends() {
        let root = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/a" } } });
        assert!(Schema::new(&root).types().is_empty());
    }

    #[test]
    fn a_secret_is_marked_at_its_place_or_behind_a_reference() {
        let root = json!({
            "properties": {
                "a": { "type": "string", "writeOnly": true }, "b": { "anyOf": [{ "$ref": "#/$defs/word" }, { "type": "null" }] },
                "c": { "type": "string", "writeOnly": false, "format": "duration" }
            },
            "$defs": { "word": { "type": "string", "format": "password" } }
        });
        let is_secret = |key: &str| Schema::new(&root).below(key).unwrap().is_secret();
        assert_eq!(["a", "b", "c"].map(is_secret), [true, true, false]);
    }

    #[test]
    fn what_is_left_out_is_named() {
        let root = json!({
            "properties": { "a": { "not": {} }, "b": { "pattern": "(?=x)" }, "not": { "pattern": "^[a-z]+$" } }
        });
        assert_eq!(Schema::new(&root).unsupported(), ["not", "pattern (?=x)"]);
    }
}
