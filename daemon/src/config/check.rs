//! Checks a document against a JSON Schema, reports everything at once, and knows where each value was written.
//!
//! The subset: type, properties, required, additionalProperties, items, enum, const, minimum, maximum and their
//! exclusive forms, lengths of lists and texts, pattern (without look-around), allOf, anyOf, oneOf (taken as anyOf),
//! `$ref`, and our own formats (durations, sizes, intervals, addresses). `Schema::unsupported` names what a schema asks
//! beyond that.

use serde_json::{Map, Value};

use super::{
    code,
    diagnostic::Diagnostic,
    document::{Document, dotted, pointer_to},
    value::{follows_format, measure},
    words::{HIDDEN_VALUE, a_type, nearest, one_of, other_name, shown},
};
use crate::json_schema::{Schema, type_of};

/// How deep schemas may nest before checking stops: twice what TOML itself allows for values.
const MAX_DEPTH: usize = 160;

/// All that `schema` has against the value at `pointer`; nothing when no value is there.
pub fn check(document: &Document, pointer: &str, schema: Schema<'_>) -> Vec<Diagnostic> {
    let mut check = Check { document, found: Vec::new(), hides: false };
    if let Some(value) = document.value(pointer) {
        check.value(value, pointer, schema, 0);
    }
    check.found
}

/// One run of the checker; alternatives are tried in a run of their own.
struct Check<'a> {
    document: &'a Document,
    found: Vec<Diagnostic>,
    /// Whether it is inside a value that the schema calls secret.
    hides: bool,
}

impl Check<'_> {
    fn value(&mut self, value: &Value, pointer: &str, schema: Schema<'_>, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        let (outside, known) = (self.hides, self.found.len());
        self.hides |= schema.is_secret();
        self.parts(value, pointer, schema, depth);
        let hides = std::mem::replace(&mut self.hides, outside);
        self.found[known..].iter_mut().for_each(|one| one.hides |= hides);
    }

    fn parts(&mut self, value: &Value, pointer: &str, schema: Schema<'_>, depth: usize) {
        if let Some(referred) = schema.referred() {
            self.value(value, pointer, referred, depth + 1);
        }
        for part in schema.list("allOf") {
            self.value(value, pointer, part, depth + 1);
        }
        for name in ["anyOf", "oneOf"] {
            let branches = schema.list(name);
            if !branches.is_empty() {
                self.alternatives(value, pointer, &branches, depth);
            }
        }
        if !self.has_type(value, pointer, schema) || !self.is_constant(value, pointer, &schema.constants()) {
            return;
        }
        match value {
            Value::Object(object) => self.object(object, pointer, schema, depth),
            Value::Array(items) => self.array(items, pointer, schema, depth),
            Value::String(text) => self.text(text, pointer, schema),
            Value::Number(number) => self.range(number.as_f64().unwrap_or(f64::NAN), pointer, schema),
            Value::Bool(_) | Value::Null => {}
        }
    }

    /// Reports the errors of the branch that was most likely meant.
    fn alternatives(&mut self, value: &Value, pointer: &str, branches: &[Schema<'_>], depth: usize) {
        let mut tries: Vec<Vec<Diagnostic>> = Vec::new();
        for branch in branches {
            let mut attempt = self.attempt();
            attempt.value(value, pointer, *branch, depth + 1);
            if attempt.found.is_empty() {
                return;
            }
            tries.push(attempt.found);
        }
        let constants: Vec<&Value> = branches.iter().flat_map(Schema::constants).collect();
        if constants.len() >= branches.len() {
            self.is_constant(value, pointer, &constants);
            return;
        }
        // An error at the value itself says that the branch was not meant, one below it that it was.
        let missed = |found: &Vec<Diagnostic>| {
            let shape = [code::WRONG_TYPE, code::NOT_ONE_OF];
            found.iter().filter(|one| one.pointer == pointer && shape.contains(&one.code)).count()
        };
        let meant: Vec<Vec<Diagnostic>> = tries.into_iter().filter(|found| missed(found) == 0).collect();
        let tag = |found: &Vec<Diagnostic>| found.iter().filter(|one| one.code == code::NOT_ONE_OF).count();
        match meant.into_iter().min_by_key(|found| (tag(found), found.len())) {
            Some(best) => self.found.extend(best),
            None => {
                let types: Vec<&str> = branches.iter().flat_map(Schema::types).filter(|one| *one != "null").collect();
                self.wrong_type(value, pointer, &types);
            }
        }
    }

    fn has_type(&mut self, value: &Value, pointer: &str, schema: Schema<'_>) -> bool {
        let types: Vec<&str> = match schema.keyword("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => return true,
        };
        let is = type_of(value);
        if types.contains(&is) || (is == "integer" && types.contains(&"number")) {
            return true;
        }
        let rewritten =
            rewritten(value, &types).filter(|_| !self.hides).filter(|other| self.accepts(other, pointer, schema));
        let wrong = self.wrong_type(value, pointer, &types);
        if let Some(other) = rewritten {
            *wrong = wrong.clone().suggest("write it as", other.to_string());
        }
        false
    }

    fn wrong_type(&mut self, value: &Value, pointer: &str, types: &[&str]) -> &mut Diagnostic {
        let mut wanted: Vec<&str> = types.iter().filter(|one| **one != "null").map(|one| a_type(one)).collect();
        wanted.dedup();
        let wanted = wanted.join(" or ");
        let short = value.is_number() || value.is_boolean() || self.document.raw(pointer).is_some();
        let found = if short { self.shown(pointer, value) } else { a_type(type_of(value)).to_owned() };
        let message = format!("`{}` must be {wanted}, not {found}", dotted(pointer));
        let wrong = Diagnostic::of_value(code::WRONG_TYPE, self.document, pointer, message);
        self.found.push(wrong.label(format!("expected {wanted}")));
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// Whether `schema` has nothing against a value that might stand here instead.
    fn accepts(&self, value: &Value, pointer: &str, schema: Schema<'_>) -> bool {
        let mut attempt = self.attempt();
        attempt.value(value, pointer, schema, 0);
        attempt.found.is_empty()
    }

    fn attempt(&self) -> Self {
        Check { document: self.document, found: Vec::new(), hides: self.hides }
    }

    /// A value in a message.
    fn shown(&self, pointer: &str, value: &Value) -> String {
        if self.hides { HIDDEN_VALUE.to_owned() } else { shown(pointer, value) }
    }

    fn is_constant(&mut self, value: &Value, pointer: &str, constants: &[&Value]) -> bool {
        if constants.is_empty() || constants.contains(&value) {
            return true;
        }
        let words: Vec<String> = constants.iter().filter(|one| !one.is_null()).map(|one| one.to_string()).collect();
        let message = format!("`{}` cannot be {}", dotted(pointer), self.shown(pointer, value));
        let mut diagnostic = Diagnostic::of_value(code::NOT_ONE_OF, self.document, pointer, message)
            .label(format!("expected {}", one_of(&words)));
        let known = constants.iter().filter_map(|one| one.as_str());
        let near = value.as_str().and_then(|text| nearest(text, known));
        if let Some(near) = near {
            diagnostic = diagnostic.suggest("did you mean this?", format!("\"{near}\""));
        }
        self.found.push(diagnostic);
        false
    }

    fn object(&mut self, object: &Map<String, Value>, pointer: &str, schema: Schema<'_>, depth: usize) {
        for (key, value) in object {
            let below = pointer_to(pointer, key);
            if let Some(property) = schema.property(key).or_else(|| schema.additional()) {
                self.value(value, &below, property, depth + 1);
            } else if schema.keyword("additionalProperties") == Some(&Value::Bool(false)) {
                let known = schema.properties().into_iter().flat_map(Map::keys).map(String::as_str);
                self.unknown_key(&below, key, known.collect());
            }
        }
        let required = schema.keyword("required").and_then(Value::as_array).into_iter().flatten();
        for key in required.filter_map(Value::as_str).filter(|key| !object.contains_key(*key)) {
            let place =
                if pointer.is_empty() { "the configuration".to_owned() } else { format!("`{}`", dotted(pointer)) };
            let missing =
                Diagnostic::of_value(code::MISSING_KEY, self.document, pointer, format!("{place} needs `{key}`"));
            let about = schema.property(key).and_then(|property| property.text("description"));
            let missing = missing.label(format!("`{key}` is missing"));
            self.found.push(about.into_iter().fold(missing, |missing, text| missing.help(format!("`{key}`: {text}"))));
        }
    }

    fn unknown_key(&mut self, pointer: &str, key: &str, known: Vec<&str>) {
        let message = format!("unknown key `{}`", dotted(pointer));
        let unknown = Diagnostic::of_key(code::UNKNOWN_KEY, self.document, pointer, message).label("no such setting");
        if let Some(here) = other_name(&dotted(pointer)) {
            return self.found.push(unknown.help(format!("it is called `{here}` here; `docs/config.md` has its type")));
        }
        self.found.push(match nearest(key, known.iter().copied()) {
            Some(near) => unknown.suggest("did you mean this?", near),
            None if known.is_empty() => unknown.help("nothing can be set here"),
            None => unknown.help(format!("known here: {}", known.join(", "))),
        });
    }

    fn array(&mut self, items: &[Value], pointer: &str, schema: Schema<'_>, depth: usize) {
        self.length(items.len(), pointer, schema, ["minItems", "maxItems", "entries", "entry"]);
        if let Some(each) = schema.items() {
            for (index, item) in items.iter().enumerate() {
                self.value(item, &pointer_to(pointer, &index.to_string()), each, depth + 1);
            }
        }
    }

    fn text(&mut self, text: &str, pointer: &str, schema: Schema<'_>) {
        self.length(text.chars().count(), pointer, schema, ["minLength", "maxLength", "characters", "character"]);
        let format = schema.text("format").unwrap_or_default();
        if let Err(rule) = follows_format(format, text) {
            self.wrong_format(text, pointer, rule);
        } else if let Some(Ok(amount)) = measure(format, text) {
            self.range(amount, pointer, schema);
        }
        let Some(pattern) = schema.text("pattern") else { return };
        // A pattern that our engine cannot read is left out; `Schema::unsupported` says so.
        if regex_lite::Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text)) {
            let rule = format!("it must match the pattern {pattern}");
            self.wrong_format(text, pointer, schema.text("x-rule").unwrap_or(&rule));
        }
    }

    fn wrong_format(&mut self, text: &str, pointer: &str, rule: &str) {
        let message = format!("`{}` cannot be {}", dotted(pointer), self.shown(pointer, &Value::from(text)));
        let diagnostic = Diagnostic::of_value(code::WRONG_FORMAT, self.document, pointer, message);
        self.found.push(diagnostic.label("not understood").help(rule));
    }

    fn length(&mut self, length: usize, pointer: &str, schema: Schema<'_>, words: [&str; 4]) {
        let [least, most, many, one] = words;
        let bound = |name: &str| schema.keyword(name).and_then(Value::as_u64);
        let counted = |n: u64| format!("{n} {}", if n == 1 { one } else { many });
        let length = length as u64;
        let rule = match (bound(least), bound(most)) {
            (Some(least), _) if length < least => format!("at least {}", counted(least)),
            (_, Some(most)) if length > most => format!("at most {}", counted(most)),
            _ => return,
        };
        let message = format!("`{}` has {}, but needs {rule}", dotted(pointer), counted(length));
        let diagnostic = Diagnostic::of_value(code::WRONG_LENGTH, self.document, pointer, message);
        self.found.push(diagnostic.label(format!("expected {rule}")));
    }

    /// The bounds of a number; of a duration in seconds, of a size in bytes.
    fn range(&mut self, amount: f64, pointer: &str, schema: Schema<'_>) {
        let format = schema.text("format").unwrap_or_default();
        let bound = |name: &str| schema.keyword(name).and_then(Value::as_f64);
        let implied = match format {
            "uint32" => (0.0, f64::from(u32::MAX)),
            "uint64" | "uint" => (0.0, f64::INFINITY),
            "int32" => (f64::from(i32::MIN), f64::from(i32::MAX)),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        let unit = |n: f64| super::words::amount(format, n);
        let bare = matches!(format, "duration" | "size") && amount < 0.0;
        let least = bound("minimum").unwrap_or(if bare { 0.0 } else { implied.0 });
        let most = bound("maximum").unwrap_or(implied.1);
        let rule = if amount < least {
            format!("at least {}", unit(least))
        } else if amount > most {
            format!("at most {}", unit(most))
        } else if let Some(floor) = bound("exclusiveMinimum").filter(|floor| amount <= *floor) {
            format!("more than {}", unit(floor))
        } else if let Some(roof) = bound("exclusiveMaximum").filter(|roof| amount >= *roof) {
            format!("less than {}", unit(roof))
        } else {
            return;
        };
        let message = format!("`{}` must be {rule}", dotted(pointer));
        let diagnostic = Diagnostic::of_value(code::OUT_OF_RANGE, self.document, pointer, message);
        let found = if self.hides { HIDDEN_VALUE.to_owned() } else { unit(amount) };
        self.found.push(diagnostic.label(format!("{found} is out of range")));
    }
}

/// The value as one of the types asked for, when it was only written as another.
fn rewritten(value: &Value, types: &[&str]) -> Option<Value> {
    let wants = |name: &str| types.contains(&name);
    let text = value.as_str().unwrap_or_default();
    let digits = text.replace('_', "");
    match value {
        Value::String(_) if wants("boolean") && ["true", "yes", "on"].contains(&text) => Some(Value::Bool(true)),
        Value::String(_) if wants("boolean") && ["false", "no", "off"].contains(&text) => Some(Value::Bool(false)),
        Value::String(_) if wants("integer") => digits.parse::<i64>().ok().map(Value::from),
        Value::String(_) if wants("number") => digits.parse::<f64>().ok().map(Value::from),
        Value::Number(number) if wants("integer") => {
            number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15).map(|n| Value::from(n as i64))
        }
        Value::Number(_) | Value::Bool(_) if wants("string") => Some(Value::String(value.to_string())),
        Value::String(_) | Value::Number(_) if wants("array") => Some(Value::Array(vec![value.clone()])),
        _ => None,
    }
}
