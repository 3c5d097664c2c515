//! Turns the texts of the configuration's files into one `Document`, all syntax errors of all files at once.

use std::{collections::BTreeMap, ops::Range};

use serde_json::{Map, Number, Value};
use toml::de::{DeArray, DeTable, DeValue};

use super::{
    code,
    diagnostic::{Diagnostic, Diagnostics},
    document::{At, Document, Origin, Place, pointer_to},
    layers::Layers,
};

/// Whether the text is TOML at all; a file caught half-written mostly is not.
pub fn parses(text: &str) -> bool {
    DeTable::parse(text).is_ok()
}

/// Whether the text is TOML without any setting or table.
pub fn says_nothing(text: &str) -> bool {
    DeTable::parse(text).is_ok_and(|table| table.get_ref().is_empty())
}

impl Document {
    /// Parses the text; `name` is what messages call the file. All syntax errors, and nothing else, when there are any.
    pub fn parse(name: &str, text: &str) -> Result<Self, Diagnostics> {
        Self::of_layers(Layers::of(name, text))
    }

    /// The same for several files, each laid over those before it.
    pub fn of_layers(layers: Layers) -> Result<Self, Diagnostics> {
        let mut document = Self { layers: Layers::default(), tree: Value::Object(Map::new()), places: BTreeMap::new() };
        let mut refused = Vec::new();
        for (start, layer) in layers.all() {
            let (table, errors) = DeTable::parse_recoverable(&layer.text);
            let errors = errors.iter().map(|error| syntax_error(&layer.text, error.message(), error.span()));
            refused.extend(errors.map(|error| error.moved(start)));
            let mut walk = Walk { start, places: BTreeMap::new(), refused: Vec::new() };
            let tree = walk.table(table.get_ref(), "");
            refused.extend(walk.refused);
            document.lay(tree, walk.places);
        }
        document.layers = layers;
        if refused.is_empty() { Ok(document) } else { Err(Diagnostics::new(document.layers, refused)) }
    }

    /// A tree that was not written as TOML, so that its values have pointers and no places.
    pub fn of_tree(name: &str, tree: Value) -> Self {
        Self { layers: Layers::of(name, ""), tree, places: BTreeMap::new() }
    }
}

/// A value as `--set` and the environment give it: a TOML value, else the bare text.
pub fn literal(raw: &str) -> Value {
    let mut walk = Walk { start: 0, places: BTreeMap::new(), refused: Vec::new() };
    let value = DeValue::parse(raw.trim()).map(|value| walk.value(value.get_ref(), ""));
    match value {
        Ok(value) if walk.refused.is_empty() => value,
        _ => Value::String(raw.to_owned()),
    }
}

/// The walk over a parsed file that builds the tree beside the places.
struct Walk {
    /// The number of the file's first byte.
    start: usize,
    places: BTreeMap<String, Place>,
    refused: Vec<Diagnostic>,
}

impl Walk {
    fn table(&mut self, table: &DeTable<'_>, pointer: &str) -> Value {
        let mut object = Map::new();
        for (key, value) in table {
            let pointer = pointer_to(pointer, key.get_ref());
            let (key_at, value_at) = (self.moved(key.span()), self.moved(value.span()));
            let place = Place { key: Some(key_at), value: Some(value_at), ..Place::default() };
            self.places.insert(pointer.clone(), place);
            let value = self.value(value.get_ref(), &pointer);
            object.insert(key.get_ref().to_string(), value);
        }
        Value::Object(object)
    }

    fn array(&mut self, array: &DeArray<'_>, pointer: &str) -> Value {
        let mut items = Vec::with_capacity(array.len());
        for (index, item) in array.iter().enumerate() {
            let pointer = pointer_to(pointer, &index.to_string());
            let place = Place { value: Some(self.moved(item.span())), ..Place::default() };
            self.places.insert(pointer.clone(), place);
            items.push(self.value(item.get_ref(), &pointer));
        }
        Value::Array(items)
    }

    fn value(&mut self, value: &DeValue<'_>, pointer: &str) -> Value {
        match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(yes) => Value::Bool(*yes),
            // JSON has no dates: they go on as their RFC 3339 text.
            DeValue::Datetime(date) => Value::String(date.to_string()),
            DeValue::Array(array) => self.array(array, pointer),
            DeValue::Table(table) => self.table(table, pointer),
            DeValue::Integer(number) => {
                let kept = i64::from_str_radix(number.as_str(), number.radix()).map(Number::from);
                self.number(kept.ok(), pointer, "whole numbers lie between -2^63 and 2^63 - 1")
            }
            DeValue::Float(number) => {
                let kept = number.as_str().parse().ok().and_then(Number::from_f64);
                self.number(kept, pointer, "`inf` and `nan` are no settings")
            }
        }
    }

    fn number(&mut self, kept: Option<Number>, pointer: &str, rule: &str) -> Value {
        if let Some(number) = kept {
            return Value::Number(number);
        }
        let span = self.places.get(pointer).and_then(|place| place.value.clone());
        let message = format!("`{}` is not a number that can be kept", super::document::dotted(pointer));
        let diagnostic = Diagnostic::new(code::NUMBER, message).at(At { origin: Origin::File, span }).label(rule);
        self.refused.push(Diagnostic { pointer: pointer.to_owned(), ..diagnostic });
        Value::Null
    }

    fn moved(&self, span: Range<usize>) -> Range<usize> {
        self.start + span.start..self.start + span.end
    }
}

/// The parser's finding in our words, with the fix where it can be seen.
fn syntax_error(text: &str, message: &str, span: Option<Range<usize>>) -> Diagnostic {
    let span = span.unwrap_or(text.len()..text.len());
    let (what, rule) = message.split_once(", ").unwrap_or((message, ""));
    let at = |span: Range<usize>| At { origin: Origin::File, span: Some(span) };
    let say = |what: &str| Diagnostic::new(code::SYNTAX, what).at(at(span.clone())).label(rule);
    if let Some(word) = bare_word(text, &span) {
        let value = &text[word.clone()];
        return Diagnostic::new(code::SYNTAX, format!("the value `{value}` needs quotes"))
            .at(at(word))
            .label("only numbers, dates, true and false stand without")
            .suggest("write it as a string", format!("\"{value}\""));
    }
    let rest_of_line = text[span.start..].lines().next().unwrap_or_default();
    match what {
        "missing comma between array elements" | "missing comma between key-value pairs" => {
            say(what).suggest_at("separate them", text[..span.start].trim_end().len(), ",")
        }
        "duplicate key" => say(&format!("`{}` is given twice", text[span.clone()].trim()))
            .label("given before")
            .help("keep one of them; a table may be opened only once"),
        "string values must be quoted" if rest_of_line.trim().is_empty() => {
            say("a value is missing").label("nothing here")
        }
        "invalid basic string" if rule == "expected `\"`" => say("the string has no end").label("expected `\"`"),
        _ => say(what),
    }
}

/// The whole unquoted word that stands as a value around `span`, such as `2s` or `auto`.
fn bare_word(text: &str, span: &Range<usize>) -> Option<Range<usize>> {
    let ends = |c: char| c.is_whitespace() || ",[]{}=#\"'".contains(c);
    let line = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let start = text[..span.start].rfind(ends).map_or(0, |at| at + 1).max(line);
    let end = text[start..].find(ends).map_or(text.len(), |at| start + at);
    let before = text[line..start].trim_end();
    let after = text[end..].trim_start_matches([' ', '\t']);
    let is_value = before.ends_with('=') || (before.contains('=') && before.ends_with([',', '[']));
    let is_key = after.starts_with('=');
    let is_word = text[start..end].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '.');
    (is_value && !is_key && is_word && span.end <= end.max(span.start)).then_some(start..end)
}
