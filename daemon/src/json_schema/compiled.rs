//! A JSON Schema made ready to judge values: read once, and refused where it asks for what would not be checked.

mod judge;
mod numbers;

use std::collections::BTreeMap;
use std::fmt;

use regex_lite::Regex;
use serde_json::{Map, Value};

pub use self::judge::Misfit;
use self::numbers::Bounds;

/// How deep a schema may nest, references counted: twice what JSON texts that we read may have.
const MAX_DEPTH: usize = 160;
/// How many schemas may stand for one value, one behind the other, by references and alternatives. Together with the 128
/// levels of a payload it bounds the stack that judging takes.
const MAX_CHAIN: usize = 16;

/// Keywords that say nothing about a value, and definitions, which count where something refers to them.
const SAY_NOTHING: &[&str] = &[
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];
const KNOWN_TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// A schema that every part of is checked.
#[derive(Debug)]
pub struct Compiled {
    nodes: Vec<Node>,
    root: usize,
}

/// Why a schema cannot be used: the place in it, as a JSON pointer, and the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    pub pointer: String,
    pub rule: String,
}

/// One schema; the others that it stands on are named by their index.
#[derive(Debug, Default)]
struct Node {
    is_never: bool,
    types: Option<Vec<&'static str>>,
    /// `enum`, or the one value of `const`.
    constants: Option<Vec<Value>>,
    all: Vec<usize>,
    any: Vec<usize>,
    one: Vec<usize>,
    not: Option<usize>,
    properties: BTreeMap<String, usize>,
    required: Vec<String>,
    additional: Option<usize>,
    items: Option<usize>,
    members: Bounds,
    entries: Bounds,
    characters: Bounds,
    amount: Bounds,
    pattern: Option<Regex>,
    is_time: bool,
}

impl Compiled {
    /// The schema at a JSON pointer of a document, which references point into; empty is the document itself.
    pub fn new(document: &Value, pointer: &str) -> Result<Self, Unusable> {
        let mut compiler = Compiler { document, nodes: Vec::new(), known: BTreeMap::new() };
        let root = compiler.schema(pointer, 0)?;
        compiler.check_chains()?;
        Ok(Self { nodes: compiler.nodes, root })
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "at its top" } else { &self.pointer };
        write!(out, "{place}: {}", self.rule)
    }
}

struct Compiler<'a> {
    document: &'a Value,
    nodes: Vec<Node>,
    /// By pointer; a schema is here before what it stands on, so that it may refer to itself.
    known: BTreeMap<String, usize>,
}

impl Compiler<'_> {
    fn schema(&mut self, pointer: &str, depth: usize) -> Result<usize, Unusable> {
        if let Some(known) = self.known.get(pointer) {
            return Ok(*known);
        }
        if depth > MAX_DEPTH {
            return Err(unusable(pointer, format!("a schema nests at most {MAX_DEPTH} deep")));
        }
        let index = self.nodes.len();
        self.nodes.push(Node::default());
        self.known.insert(pointer.to_owned(), index);
        let node = match self.document.pointer(pointer) {
            Some(Value::Bool(fits)) => Node { is_never: !fits, ..Node::default() },
            Some(Value::Object(keywords)) => self.object(keywords, pointer, depth)?,
            Some(_) => return Err(unusable(pointer, "a schema is an object, or true or false")),
            None => return Err(unusable(pointer, "nothing is there")),
        };
        self.nodes[index] = node;
        Ok(index)
    }

    fn object(&mut self, keywords: &Map<String, Value>, pointer: &str, depth: usize) -> Result<Node, Unusable> {
        let mut node = Node::default();
        for (keyword, value) in keywords {
            let at = format!("{pointer}/{}", escaped(keyword));
            let is_about_others = self.others(&mut node, keyword, value, (&at, depth))?;
            if !is_about_others && !SAY_NOTHING.contains(&keyword.as_str()) {
                node.read(keyword, value).map_err(|rule| unusable(&at, rule))?;
            }
        }
        Ok(node)
    }

    /// Reads a keyword that holds or names other schemas; any other is left for `Node::read`.
    fn others(
        &mut self,
        node: &mut Node,
        keyword: &str,
        value: &Value,
        (at, depth): (&str, usize),
    ) -> Result<bool, Unusable> {
        match keyword {
            "$ref" => {
                let target = value.as_str().and_then(|target| target.strip_prefix('#'));
                let target = target.filter(|target| self.document.pointer(target).is_some());
                let rule = "a reference points into this file, like \"#/$defs/name\", where something must be";
                node.all.push(self.schema(target.ok_or_else(|| unusable(at, rule))?, depth + 1)?);
            }
            "allOf" => node.all.extend(self.list(value, at, depth)?),
            "anyOf" => node.any = self.list(value, at, depth)?,
            "oneOf" => node.one = self.list(value, at, depth)?,
            "not" => node.not = Some(self.schema(at, depth + 1)?),
            "items" => node.items = Some(self.schema(at, depth + 1)?),
            "additionalProperties" => node.additional = Some(self.schema(at, depth + 1)?),
            "properties" => {
                let named = value.as_object().ok_or_else(|| unusable(at, "names and their schemas are needed"))?;
                for name in named.keys() {
                    let property = self.schema(&format!("{at}/{}", escaped(name)), depth + 1)?;
                    node.properties.insert(name.clone(), property);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn list(&mut self, value: &Value, at: &str, depth: usize) -> Result<Vec<usize>, Unusable> {
        let count = value.as_array().map_or(0, Vec::len);
        if count == 0 {
            return Err(unusable(at, "a list of schemas is needed"));
        }
        (0..count).map(|index| self.schema(&format!("{at}/{index}"), depth + 1)).collect()
    }

    /// A schema that stands on itself without a step into the value would never be through.
    fn check_chains(&self) -> Result<(), Unusable> {
        let mut lengths = vec![Chain::Unknown; self.nodes.len()];
        for (pointer, index) in &self.known {
            let rule = || {
                format!(
                    "at most {MAX_CHAIN} schemas may stand for one value, one behind the other, and none for itself"
                )
            };
            if self.chain(*index, 1, &mut lengths).is_none_or(|length| length > MAX_CHAIN) {
                return Err(unusable(pointer, rule()));
            }
        }
        Ok(())
    }

    /// How many schemas stand behind each other from here, the `place`th of those seen; `None` is a circle, or too many.
    fn chain(&self, index: usize, place: usize, lengths: &mut [Chain]) -> Option<usize> {
        match lengths[index] {
            Chain::Known(length) => return Some(length),
            Chain::Open => return None,
            Chain::Unknown if place > MAX_CHAIN => return None,
            Chain::Unknown => lengths[index] = Chain::Open,
        }
        let node = &self.nodes[index];
        let mut longest = 0;
        for next in node.all.iter().chain(&node.any).chain(&node.one).chain(&node.not) {
            longest = longest.max(self.chain(*next, place + 1, lengths)?);
        }
        lengths[index] = Chain::Known(longest + 1);
        Some(longest + 1)
    }
}

#[derive(Clone, Copy)]
enum Chain {
    Unknown,
    Open,
    Known(usize),
}

impl Node {
    /// Reads a keyword that is about the value alone; the error is the rule that it breaks.
    fn read(&mut self, keyword: &str, value: &Value) -> Result<(), String> {
        match keyword {
            "type" => self.types = Some(types(value)?),
            "const" => self.constants = Some(vec![value.clone()]),
            "enum" => self.constants = Some(value.as_array().ok_or("a list of values is needed")?.clone()),
            "required" => {
                let names = value.as_array().ok_or("a list of names is needed")?.iter();
                let names = names.map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>();
                self.required = names.ok_or("a list of names is needed")?;
            }
            "pattern" => {
                let text = value.as_str().ok_or("a pattern is a string")?;
                self.pattern = Some(Regex::new(text).map_err(|error| format!("the pattern cannot be read: {error}"))?);
            }
            "format" if value == "date-time" => self.is_time = true,
            "format" => {
                return Err(format!("of the formats only \"date-time\" is checked, not {value}; use pattern"));
            }
            "minProperties" | "maxProperties" => self.members.read(keyword, value)?,
            "minItems" | "maxItems" => self.entries.read(keyword, value)?,
            "minLength" | "maxLength" => self.characters.read(keyword, value)?,
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => self.amount.read(keyword, value)?,
            _ => return Err("this keyword is not checked here; leave it out, or say it with others".to_owned()),
        }
        Ok(())
    }
}

fn types(value: &Value) -> Result<Vec<&'static str>, String> {
    let names: Vec<&Value> = match value {
        Value::Array(names) => names.iter().collect(),
        one => vec![one],
    };
    let known = |name: &Value| KNOWN_TYPES.into_iter().find(|known| name == known);
    let types: Option<Vec<_>> = names.into_iter().map(known).collect();
    types.filter(|types| !types.is_empty()).ok_or_else(|| format!("a type is one of {}", KNOWN_TYPES.join(", ")))
}

fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

fn unusable(pointer: &str, rule: impl Into<String>) -> Unusable {
    Unusable { pointer: pointer.to_owned(), rule: rule.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(schema: &Value) -> (String, String) {
        let Unusable { pointer, rule } = Compiled::new(schema, "").unwrap_err();
        (pointer, rule)
    }

    #[test]
    fn what_would_not_be_checked_is_refused_with_its_place() {
        let rows = [
            (json!({"properties": {"a/b": {"uniqueItems": true}}}), "/properties/a~1b/uniqueItems", "this keyword"),
            (json!({"items": {"format": "uuid"}}), "/items/format", "of the formats only"),
            (json!({"pattern": "(?=x)"}), "/pattern", "the pattern cannot be read"),
            (json!({"type": "float"}), "/type", "a type is one of array, boolean"),
            (json!({"type": []}), "/type", "a type is one of"),
            (json!({"anyOf": []}), "/anyOf", "a list of schemas"),
            (json!({"oneOf": [7]}), "/oneOf/0", "a schema is an object"),
            (json!({"required": [1]}), "/required", "a list of names"),
            (json!({"properties": []}), "/properties", "names and their schemas"),
            (json!({"enum": 1}), "/enum", "a list of values"),
            (json!({"minItems": -1}), "/minItems", "a whole number"),
            (json!({"minimum": "1"}), "/minimum", "a number"),
            (json!({"$ref": "other.json#/a"}), "/$ref", "a reference points into this file"),
            (json!({"$ref": "#/$defs/gone"}), "/$ref", "a reference points into this file"),
        ];
        for (schema, pointer, rule) in rows {
            let (at, told) = refused(&schema);
            assert!(at == pointer && told.starts_with(rule), "{schema}: {at}: {told}");
        }
        let missing = Compiled::new(&json!({}), "/$defs/x").unwrap_err();
        assert_eq!(missing.to_string(), "/$defs/x: nothing is there");
    }

    #[test]
    fn definitions_count_where_they_are_referred_to() {
        let schema = json!({"$defs": {"a": {"uniqueItems": true}, "b": {"type": "string"}}, "$ref": "#/$defs/b"});
        assert!(Compiled::new(&schema, "").is_ok());
        assert!(Compiled::new(&schema, "/$defs/a").is_err());
    }

    #[test]
    fn a_schema_may_refer_to_itself_below_but_not_in_place() {
        let tree = json!({"properties": {"next": {"$ref": "#"}}});
        assert!(Compiled::new(&tree, "").is_ok());
        let circle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}});
        assert!(refused(&circle).1.contains("none for itself"));
    }

    #[test]
    fn depth_and_chains_are_bounded() {
        let chain = |length: usize| {
            let defs: Map<String, Value> =
                (1..length).map(|n| (n.to_string(), json!({"$ref": format!("#/$defs/{}", n + 1)}))).collect();
            let mut schema = json!({"$defs": defs, "$ref": "#/$defs/1"});
            schema["$defs"][length.to_string()] = json!({});
            schema
        };
        assert!(Compiled::new(&chain(MAX_CHAIN - 1), "").is_ok());
        assert!(refused(&chain(MAX_CHAIN)).1.starts_with("at most 16 schemas"));
        assert!(refused(&chain(100_000)).1.starts_with("a schema nests at most 160"));
        let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({"items": inner}));
        assert!(Compiled::new(&nested(MAX_DEPTH), "").is_ok());
        assert!(refused(&nested(MAX_DEPTH + 1)).1.starts_with("a schema nests at most 160"));
    }
}
