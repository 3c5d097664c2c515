//! Reads the text of a configuration file and turns it into a `Document`, all syntax errors at once.

use std::{collections::BTreeMap, fs::File, io::Read, ops::Range, path::Path};

use serde_json::{Map, Number, Value};
use toml::de::{DeArray, DeTable, DeValue};

use super::{
    code,
    diagnostic::{Diagnostic, Diagnostics},
    document::{At, Document, Origin, Place, pointer_to},
};

/// The largest configuration read: a hundred times the shipped one, and small enough to read whole at every change.
pub const LARGEST_FILE: u64 = 1024 * 1024;

/// Reads the file whole. The error says what is wrong with the file itself.
pub fn read(path: &Path) -> Result<String, Diagnostics> {
    let name = path.display().to_string();
    let refuse = |diagnostic: Diagnostic| Diagnostics::new(&name, "", vec![diagnostic]);
    let unreadable = |message: String, help: &str| refuse(Diagnostic::new(code::UNREADABLE, message).help(help));
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => unreadable(
            format!("there is no file `{name}`"),
            "name one that is there with --config, or leave --config out to run with ./config.toml or the shipped one",
        ),
        std::io::ErrorKind::PermissionDenied => unreadable(
            format!("`{name}` may not be read by this user"),
            "give the user that runs the daemon read permission, for example with chgrp and chmod g+r",
        ),
        _ => unreadable(format!("`{name}` cannot be read: {error}"), "check the path and the file system"),
    };
    let kind = std::fs::metadata(path).map_err(failed)?;
    if kind.is_dir() {
        return Err(unreadable(format!("`{name}` is a directory"), "name the file in it, such as config.toml"));
    }
    if !kind.is_file() {
        return Err(unreadable(format!("`{name}` is not a regular file"), "name a regular file"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a full file from one that is too large, even if it grows meanwhile.
    File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > LARGEST_FILE {
        let message = format!("`{name}` is larger than {} KiB", LARGEST_FILE / 1024);
        return Err(refuse(Diagnostic::new(code::TOO_LARGE, message).help("check that it is the right file")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
        let message = format!("`{name}` is not UTF-8 text: byte {good}, on line {line}, belongs to no character");
        refuse(Diagnostic::new(code::NOT_UTF8, message).help("save the file as UTF-8"))
    })
}

/// Whether the text is TOML at all; a file caught half-written mostly is not.
pub fn parses(text: &str) -> bool {
    DeTable::parse(text).is_ok()
}

impl Document {
    /// Parses the text; `name` is what messages call the file. All syntax errors, and nothing else, when there are any.
    pub fn parse(name: &str, text: &str) -> Result<Self, Diagnostics> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let items = errors.iter().map(|error| syntax_error(text, error.message(), error.span())).collect();
            return Err(Diagnostics::new(name, text, items));
        }
        let mut walk = Walk { places: BTreeMap::new(), refused: Vec::new() };
        let tree = walk.table(table.get_ref(), "");
        if walk.refused.is_empty() {
            Ok(Self { name: name.to_owned(), text: text.to_owned(), tree, places: walk.places })
        } else {
            Err(Diagnostics::new(name, text, walk.refused))
        }
    }
}

impl Document {
    /// A tree that was not written as TOML, so that its values have pointers and no places.
    pub fn of_tree(name: &str, tree: Value) -> Self {
        Self { name: name.to_owned(), text: String::new(), tree, places: BTreeMap::new() }
    }
}

/// A value as `--set` and the environment give it: a TOML value, else the bare text.
pub fn literal(raw: &str) -> Value {
    let mut walk = Walk { places: BTreeMap::new(), refused: Vec::new() };
    let value = DeValue::parse(raw.trim()).map(|value| walk.value(value.get_ref(), ""));
    match value {
        Ok(value) if walk.refused.is_empty() => value,
        _ => Value::String(raw.to_owned()),
    }
}

/// The walk over the parsed file that builds the tree beside the places.
struct Walk {
    places: BTreeMap<String, Place>,
    refused: Vec<Diagnostic>,
}

impl Walk {
    fn table(&mut self, table: &DeTable<'_>, pointer: &str) -> Value {
        let mut object = Map::new();
        for (key, value) in table {
            let pointer = pointer_to(pointer, key.get_ref());
            let place = Place { key: Some(key.span()), value: Some(value.span()), ..Place::default() };
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
            self.places.insert(pointer.clone(), Place { value: Some(item.span()), ..Place::default() });
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
