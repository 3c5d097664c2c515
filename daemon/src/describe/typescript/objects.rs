//! Objects, maps, arrays and tuples of a JSON Schema as TypeScript types.

use serde_json::{Map, Value};

use super::expression::Writer;
use super::text::{Type, indented, key};
use super::types::Given;

/// The longest object that is written on one line.
const MAX_LINE: usize = 80;

/// Keywords beside which an object is more than its properties.
const BESIDE: [&str; 6] = ["$ref", "const", "enum", "oneOf", "anyOf", "allOf"];

/// Whether the schema is an object with named properties and nothing else, so that it can be an interface.
pub fn is_plain(map: &Map<String, Value>) -> bool {
    let is_object = map.get("type").map_or_else(|| describes_object(map), |name| name == "object");
    is_object && !names(map).is_empty() && BESIDE.iter().all(|keyword| !map.contains_key(*keyword))
}

/// Whether the schema speaks of objects although it does not say so.
pub fn describes_object(map: &Map<String, Value>) -> bool {
    ["properties", "additionalProperties", "patternProperties", "required"].iter().any(|word| map.contains_key(*word))
}

pub fn describes_array(map: &Map<String, Value>) -> bool {
    ["items", "prefixItems"].iter().any(|word| map.contains_key(*word))
}

impl Writer<'_> {
    pub fn object(&mut self, map: &Map<String, Value>) -> Type {
        let fields = self.fields(map, &[]);
        let line = fields.join(" ");
        if line.len() <= MAX_LINE && !line.contains('\n') {
            return Type::atom(format!("{{ {} }}", line.trim_end_matches(';')));
        }
        Type::atom(format!("{{\n  {}\n}}", indented(&fields.join("\n"))))
    }

    /// `name?: Type;` for each property, with its comment, and one line for those that have no name of their own.
    pub fn fields(&mut self, map: &Map<String, Value>, given: Given<'_>) -> Vec<String> {
        let mut fields = Vec::new();
        let mut types = Vec::new();
        for (name, schema) in names(map) {
            let is_required = is_required(map, name);
            let given = given.iter().find(|(property, _)| *property == name);
            let one = match given {
                Some((_, parameter)) => Type::atom(*parameter),
                None => self.property(schema),
            };
            let mark = if is_required { "" } else { "?" };
            let description = self.description(schema);
            fields.push(format!("{description}{}{mark}:{};", key(name), one.behind()));
            types.push(one);
            if !is_required {
                types.push(Type::atom("undefined"));
            }
        }
        if let Some(others) = self.others(map) {
            // An index speaks of the named properties, too.
            types.insert(0, others);
            fields.push(format!("[key: string]:{};", Type::union(types).behind()));
        }
        fields
    }

    /// The type of properties that have no name, where the schema says one.
    fn others(&mut self, map: &Map<String, Value>) -> Option<Type> {
        let mut types = Vec::new();
        if let Some(patterns) = map.get("patternProperties").and_then(Value::as_object) {
            types.extend(patterns.values().map(|schema| self.property(schema)).collect::<Vec<_>>());
        }
        match map.get("additionalProperties") {
            Some(Value::Bool(false)) => {}
            None | Some(Value::Bool(true)) if !names(map).is_empty() || !types.is_empty() => {}
            Some(schema) => types.push(self.property(schema)),
            None => types.push(Type::unknown()),
        }
        match types.is_empty() {
            true if names(map).is_empty() => Some(Type::atom("never")),
            true => None,
            false => Some(Type::union(types)),
        }
    }

    pub fn array(&mut self, map: &Map<String, Value>) -> Type {
        let items = map.get("items");
        let first = map.get("prefixItems").or(items.filter(|items| items.is_array())); // the latter before 2020
        let Some(first) = first.and_then(Value::as_array) else {
            return items.map_or_else(Type::unknown, |items| self.element(items)).array();
        };
        let least = bound(map, "minItems").unwrap_or(0);
        let mut elements: Vec<String> = Vec::new();
        for (index, schema) in first.iter().enumerate() {
            elements.push(match index < least {
                true => self.element(schema).text().to_owned(),
                false => self.late_element(schema).optional(),
            });
        }
        let rest = if map.contains_key("prefixItems") { items } else { map.get("additionalItems") };
        let has_rest =
            bound(map, "maxItems").is_none_or(|most| most > first.len()) && rest != Some(&Value::Bool(false));
        if has_rest {
            let rest = rest.map_or_else(Type::unknown, |schema| self.late_element(schema));
            elements.push(format!("...{}", rest.array().text()));
        }
        Type::atom(format!("[{}]", elements.join(", ")))
    }
}

/// The schemas of an array's elements.
pub fn elements(schema: &Value) -> impl Iterator<Item = &Value> {
    let all = ["prefixItems", "items", "additionalItems"].into_iter().filter_map(|keyword| schema.get(keyword));
    all.flat_map(|one| one.as_array().map_or(std::slice::from_ref(one), Vec::as_slice))
}

/// All properties that have a name, those that tell an object from others first: what is described, what is only required.
fn names(map: &Map<String, Value>) -> Vec<(&str, &Value)> {
    const ANYTHING: &Value = &Value::Bool(true);
    let described = map.get("properties").and_then(Value::as_object);
    let mut names: Vec<(&str, &Value)> =
        described.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema)).collect();
    for name in required(map) {
        if names.iter().all(|(known, _)| *known != name) {
            names.push((name, ANYTHING));
        }
    }
    names.sort_by_key(|(_, schema)| schema.get("const").is_none());
    names
}

fn is_required(map: &Map<String, Value>, name: &str) -> bool {
    required(map).any(|required| required == name)
}

fn required(map: &Map<String, Value>) -> impl Iterator<Item = &str> {
    map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn bound(map: &Map<String, Value>, keyword: &str) -> Option<usize> {
    map.get(keyword).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok())
}
