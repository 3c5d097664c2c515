//! One JSON Schema as a TypeScript type. What only checks values (`minimum`, `pattern`) has no type and is left out; what
//! changes the type and is not understood becomes `unknown` with a comment that says so.

use serde_json::{Map, Value};

use super::objects;
use super::text::{Type, doc, indented, literal};
use super::types::{Given, pointer};

/// Keywords that change what a value may be and have no type here.
const NOT_UNDERSTOOD: [&str; 9] =
    ["$dynamicRef", "$recursiveRef", "contains", "dependencies", "dependentSchemas", "else", "if", "not", "then"];

/// The schema that is being declared.
pub struct Place<'p> {
    pub declared: &'p str,
    pub given: Given<'p>,
}

/// Gives the name of the type that a reference leads to.
pub type Refer<'r> = dyn FnMut(&str) -> Option<String> + 'r;

/// Writes one declaration.
pub struct Writer<'w> {
    root: &'w Value,
    declared: &'w str,
    refer: &'w mut Refer<'w>,
    around: Around,
}

/// What is around the part of a type that is being written. A compiler looks into some of it only when the type is used:
/// there a type may name itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    Nothing,
    /// An object or an array.
    Inside,
    /// A tuple that may end before it. What it is waits until it is used, unless it is an array.
    Element,
    /// An array that is such an element: the compiler wants to know at once what is in there.
    AtOnce,
}

impl Around {
    fn may_name_itself(self) -> bool {
        matches!(self, Self::Inside | Self::Element)
    }

    fn in_array(self) -> Self {
        match self {
            Self::Nothing | Self::Inside => Self::Inside,
            Self::Element | Self::AtOnce => Self::AtOnce,
        }
    }

    fn in_end_of_tuple(self) -> Self {
        match self {
            Self::Nothing | Self::Inside => Self::Element,
            Self::Element | Self::AtOnce => Self::AtOnce,
        }
    }
}

impl<'p> Place<'p> {
    pub fn top(declared: &'p str, given: Given<'p>) -> Self {
        Self { declared, given }
    }
}

/// `export interface …` where it can be one, else `export type … = …;`.
pub fn declaration<'w>(header: &str, root: &'w Value, place: &Place<'w>, refer: &'w mut Refer<'w>) -> String {
    let schema = root.pointer(place.declared).unwrap_or(&Value::Null);
    let mut writer = Writer { root, declared: place.declared, refer, around: Around::Nothing };
    let description = writer.description(schema);
    if let Some(map) = schema.as_object().filter(|map| objects::is_plain(map)) {
        let fields = writer.fields(map, place.given);
        return format!("{description}export interface {header} {{\n  {}\n}}\n", indented(&fields.join("\n")));
    }
    format!("{description}export type {header} ={};\n", writer.of(schema).behind())
}

impl Writer<'_> {
    pub fn of(&mut self, schema: &Value) -> Type {
        match schema {
            Value::Bool(true) => Type::unknown(),
            Value::Bool(false) => Type::atom("never"),
            Value::Object(map) => self.of_map(map),
            _ => Type::not_understood("a schema is an object or a boolean"),
        }
    }

    /// The type of a property.
    pub fn property(&mut self, schema: &Value) -> Type {
        self.within(Around::Inside, schema)
    }

    /// The type of an element that is always there, or of all elements of an array.
    pub fn element(&mut self, schema: &Value) -> Type {
        self.within(self.around.in_array(), schema)
    }

    /// The type of an element that a tuple may end before.
    pub fn late_element(&mut self, schema: &Value) -> Type {
        self.within(self.around.in_end_of_tuple(), schema)
    }

    fn within(&mut self, around: Around, schema: &Value) -> Type {
        let outer = std::mem::replace(&mut self.around, around);
        let inner = self.of(schema);
        self.around = outer;
        inner
    }

    fn of_map(&mut self, map: &Map<String, Value>) -> Type {
        let mut parts = Vec::new();
        if let Some(reference) = map.get("$ref") {
            parts.push(self.reference(reference));
        }
        match (map.get("const"), map.get("enum")) {
            (Some(value), _) => parts.push(literal(value)),
            (None, Some(Value::Array(values))) => parts.push(Type::union(values.iter().map(literal))),
            (None, Some(_)) => parts.push(Type::not_understood("\"enum\" is no list")),
            (None, None) => parts.extend(self.by_type(map)),
        }
        for keyword in ["oneOf", "anyOf"] {
            parts.extend(map.get(keyword).map(|choices| self.choices(keyword, choices)));
        }
        match map.get("allOf") {
            Some(Value::Array(schemas)) => {
                parts.extend(schemas.iter().map(|schema| self.of(schema)).collect::<Vec<_>>())
            }
            Some(_) => parts.push(Type::not_understood("\"allOf\" is no list")),
            None => {}
        }
        if parts.is_empty()
            && let Some(keyword) = NOT_UNDERSTOOD.iter().find(|keyword| map.contains_key(**keyword))
        {
            return Type::not_understood(&format!("\"{keyword}\" has no type"));
        }
        Type::intersection(parts)
    }

    fn reference(&mut self, reference: &Value) -> Type {
        let Some(reference) = reference.as_str() else { return Type::not_understood("\"$ref\" is no text") };
        if !self.around.may_name_itself() && pointer(reference).is_some_and(|target| self.leads_back(&target)) {
            return Type::not_understood(&format!("{reference} refers to itself"));
        }
        match (self.refer)(reference) {
            Some(name) => Type::atom(name),
            None => Type::not_understood(&format!("{reference} is not in this schema")),
        }
    }

    /// Whether a type is nothing but what is being declared, or a choice that has it: no compiler takes such a circle.
    fn leads_back(&self, target: &str) -> bool {
        let mut seen = vec![target.to_owned()];
        let mut at = 0;
        while let Some(pointer) = seen.get(at).cloned() {
            if pointer == self.declared {
                return true;
            }
            at += 1;
            let mut found = Vec::new();
            if let Some(schema) = self.root.pointer(&pointer) {
                bare_references(schema, &mut found);
            }
            found.retain(|one| !seen.contains(one));
            seen.extend(found);
        }
        false
    }

    fn is_declared(&self, schema: &Value) -> bool {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(pointer);
        target.is_some_and(|target| target == self.declared)
    }

    fn choices(&mut self, keyword: &str, choices: &Value) -> Type {
        let Some(choices) = choices.as_array().filter(|choices| !choices.is_empty()) else {
            return Type::not_understood(&format!("\"{keyword}\" is no list"));
        };
        // What is itself or something else is something else.
        let is_itself = |choice: &&Value| self.around == Around::Nothing && self.is_declared(choice);
        let choices: Vec<&Value> = choices.iter().filter(|choice| !is_itself(choice)).collect();
        let types = choices.into_iter().map(|choice| {
            let one = self.of(choice);
            let text = choice.get("description").and_then(Value::as_str).unwrap_or_default();
            if text.is_empty() { one } else { one.with_doc(text) }
        });
        Type::union(types.collect::<Vec<_>>())
    }

    fn by_type(&mut self, map: &Map<String, Value>) -> Option<Type> {
        match map.get("type") {
            Some(Value::String(name)) => Some(self.named(name, map)),
            Some(Value::Array(names)) => {
                let types: Vec<Type> =
                    names.iter().map(|name| self.named(name.as_str().unwrap_or("no text"), map)).collect();
                Some(Type::union(types))
            }
            Some(_) => Some(Type::not_understood("\"type\" is neither a name nor a list of names")),
            None if objects::describes_object(map) => Some(self.object(map)),
            None if objects::describes_array(map) => Some(self.array(map)),
            None => None,
        }
    }

    fn named(&mut self, name: &str, map: &Map<String, Value>) -> Type {
        match name {
            "string" | "boolean" | "null" => Type::atom(name),
            "number" | "integer" => Type::atom("number"),
            "object" => self.object(map),
            "array" => self.array(map),
            unknown => Type::not_understood(&format!("there is no type \"{unknown}\"")),
        }
    }

    /// A comment from what the schema says about itself.
    pub fn description(&self, schema: &Value) -> String {
        let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        match schema.get("deprecated") {
            Some(Value::Bool(true)) => doc(&format!("{text}\n@deprecated")),
            _ => doc(text),
        }
    }
}

/// References that stand for the schema itself, or for what a compiler wants to know of it at once.
fn bare_references(schema: &Value, found: &mut Vec<String>) {
    found.extend(schema.get("$ref").and_then(Value::as_str).and_then(pointer));
    choices(schema).for_each(|choice| bare_references(choice, found));
    objects::elements(schema).for_each(|element| element_references(element, found));
}

/// Those in arrays that are elements themselves.
fn element_references(element: &Value, found: &mut Vec<String>) {
    choices(element).for_each(|choice| element_references(choice, found));
    for inner in objects::elements(element) {
        bare_references(inner, found);
        element_references(inner, found);
    }
}

fn choices(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten()
}
