//! Named types from JSON Schema: each declared once, with what it refers to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::expression::{Place, declaration};
use super::text::pascal;

/// The declarations so far.
pub struct Types {
    taken: BTreeSet<String>,
    /// Names by what they stand for, so that two schemas that have the same part have one type for it.
    known: BTreeMap<Content, String>,
    out: String,
}

/// The part of a name behind its group, and the schema with everything that it refers to.
type Content = (String, String);

/// A schema that is being declared: where its references lead, and which of them have no declaration yet.
pub struct Scope<'s> {
    pub root: &'s Value,
    group: &'s str,
    name: String,
    names: BTreeMap<String, String>,
    waiting: VecDeque<String>,
}

/// What stands in place of the types that the schema gives to properties of its own: the parameters of a generic type.
pub type Given<'g> = &'g [(&'g str, &'g str)];

impl Types {
    /// With names that are in use already.
    pub fn new<'n>(taken: impl IntoIterator<Item = &'n str>) -> Self {
        let taken = taken.into_iter().map(str::to_owned).collect();
        Self { taken, known: BTreeMap::new(), out: String::new() }
    }

    /// Declares the schema's type, and returns its name: `group` and `name` in one word, numbered if that is taken.
    pub fn declare(&mut self, group: &str, name: &str, schema: &Value) -> String {
        let own = self.name(&[group, name]);
        self.declare_as(group, &own, schema, &[]);
        own
    }

    /// Declares it by a name that was given to `new`, with parameters: `Envelope<Data>`.
    pub fn declare_as(&mut self, group: &str, header: &str, schema: &Value, given: Given<'_>) {
        let name = header.split([' ', '<']).next().unwrap_or(header).to_owned();
        let names = BTreeMap::from([(String::new(), name.clone())]);
        let mut scope = Scope { root: schema, group, name, names, waiting: VecDeque::new() };
        self.write(header, &Place::top("", given), &mut scope);
        while let Some(pointer) = scope.waiting.pop_front() {
            let name = scope.names.get(&pointer).cloned().unwrap_or_default();
            self.write(&name, &Place::top(&pointer, &[]), &mut scope);
        }
    }

    /// A name for what is declared by `push`: these words in one, numbered if that is taken.
    pub fn name(&mut self, words: &[&str]) -> String {
        self.take(&[pascal(words)])
    }

    /// Text between the declarations.
    pub fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    pub fn into_text(self) -> String {
        self.out
    }

    /// The name of the type that a reference leads to, if it leads anywhere in its schema.
    pub fn referred(&mut self, reference: &str, scope: &mut Scope<'_>) -> Option<String> {
        let pointer = pointer(reference)?;
        if let Some(name) = scope.names.get(&pointer) {
            return Some(name.clone());
        }
        scope.root.pointer(&pointer)?;
        let last = pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
        let content = (pascal(&[scope.group, &last]), content(scope.root, &pointer));
        let name = match self.known.get(&content) {
            Some(name) => name.clone(),
            None => {
                let name = self.take(&[content.0.clone(), pascal(&[&scope.name, &last])]);
                self.known.insert(content, name.clone());
                scope.waiting.push_back(pointer.clone());
                name
            }
        };
        scope.names.insert(pointer, name.clone());
        Some(name)
    }

    fn write(&mut self, header: &str, place: &Place<'_>, scope: &mut Scope<'_>) {
        let root = scope.root;
        let text = declaration(header, root, place, &mut |reference| self.referred(reference, scope));
        self.out.push_str(&text);
        self.out.push('\n');
    }

    /// The first name that is free, numbered if none is.
    fn take(&mut self, names: &[String]) -> String {
        let last = names.last().cloned().unwrap_or_default();
        let numbered = (2..).map(|number| format!("{last}{number}"));
        let free = names.iter().cloned().chain(numbered).find(|name| !self.taken.contains(name));
        let name = free.expect("numbers do not end");
        self.taken.insert(name.clone());
        name
    }
}

/// The JSON pointer of a reference inside its own schema.
pub fn pointer(reference: &str) -> Option<String> {
    let pointer = reference.strip_prefix('#')?;
    (pointer.is_empty() || pointer.starts_with('/')).then(|| decoded(pointer))
}

/// A pointer in a URL may be percent-encoded; one that is not decodes to itself.
fn decoded(pointer: &str) -> String {
    let mut bytes = Vec::with_capacity(pointer.len());
    let mut rest = pointer.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| pointer.to_owned())
}

/// The schema at a pointer and everything it refers to, as one text.
fn content(root: &Value, start: &str) -> String {
    let mut seen = BTreeSet::from([start.to_owned()]);
    let mut waiting = vec![start.to_owned()];
    let mut out = String::new();
    while let Some(pointer) = waiting.pop() {
        let Some(schema) = root.pointer(&pointer) else { continue };
        out.push_str(&format!("{pointer} {schema}\n"));
        let mut found = Vec::new();
        references(schema, &mut found);
        waiting.extend(found.into_iter().filter(|one| seen.insert(one.clone())));
    }
    out
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).and_then(pointer));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}
