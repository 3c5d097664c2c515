//! A configuration as a JSON tree that remembers, for every value, where it was written.

use std::{collections::BTreeMap, ops::Range};

use serde_json::Value;

use super::layers::Layers;

/// Who said a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A file of the configuration; which one, the span says.
    #[default]
    File,
    /// An environment variable, by name.
    Environment(String),
    /// `--set`, by its key.
    Set(String),
}

/// Where a value was said. With an origin other than a file, the spans are those of what it overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub key: Option<Range<usize>>,
    pub value: Option<Range<usize>>,
    pub origin: Origin,
    /// The text of an override as it was given: its type is decided by whoever knows the schema.
    pub raw: Option<String>,
}

/// Where an error points: into a file, or at an override and at what it overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At {
    pub origin: Origin,
    pub span: Option<Range<usize>>,
}

/// The tree, the files it was read from, and the place of every JSON pointer in it.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) layers: Layers,
    pub(super) tree: Value,
    pub(super) places: BTreeMap<String, Place>,
}

impl Document {
    /// The files, whole.
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    pub fn tree(&self) -> &Value {
        &self.tree
    }

    pub fn value(&self, pointer: &str) -> Option<&Value> {
        self.tree.pointer(pointer)
    }

    /// Who said the value at `pointer`; `None` when nobody did and the default holds.
    pub fn origin(&self, pointer: &str) -> Option<&Origin> {
        self.value(pointer)?;
        Some(&self.place(pointer).0.origin)
    }

    /// Where the value at `pointer` stands; of a table, its name; of what is not there, the name of what it would be in;
    /// and of an override, what it overrides.
    pub fn at_value(&self, pointer: &str) -> At {
        let (place, exact) = self.place(pointer);
        let on_one_line =
            place.value.clone().filter(|span| !self.layers.text(span).is_some_and(|text| text.contains('\n')));
        let is_table = exact && self.value(pointer).is_some_and(Value::is_object);
        let by_name = place.origin == Origin::File && (is_table || !exact);
        let span = if by_name { place.key.clone().or(on_one_line) } else { on_one_line.or(place.key.clone()) };
        At { origin: place.origin.clone(), span }
    }

    /// Where the key at `pointer` stands.
    pub fn at_key(&self, pointer: &str) -> At {
        let (place, _) = self.place(pointer);
        At { origin: place.origin.clone(), span: place.key.clone().or(place.value.clone()) }
    }

    /// The value of an override as it was given, when the value at `pointer` comes from one.
    pub fn raw(&self, pointer: &str) -> Option<&str> {
        self.place(pointer).0.raw.as_deref()
    }

    /// Lays another file over what is there: tables go together, anything else takes the place of what it meets.
    pub(super) fn lay(&mut self, tree: Value, places: BTreeMap<String, Place>) {
        let mut replaced = Vec::new();
        merge("", &mut self.tree, tree, &mut replaced);
        for pointer in replaced {
            let below = format!("{pointer}/")..format!("{pointer}0"); // what follows the slash in the order of bytes
            let old: Vec<String> = self.places.range(below.clone()).map(|(key, _)| key.clone()).collect();
            old.iter().for_each(|key| drop(self.places.remove(key)));
            let new = places.range(below).chain(places.get_key_value(&pointer));
            self.places.extend(new.map(|(key, place)| (key.clone(), place.clone())));
        }
    }

    /// The place of `pointer` or of the nearest one above it, and whether it is its own.
    fn place(&self, pointer: &str) -> (&Place, bool) {
        static NOWHERE: Place = Place { key: None, value: None, origin: Origin::File, raw: None };
        let mut here = pointer;
        loop {
            if let Some(place) = self.places.get(here) {
                return (place, here == pointer);
            }
            match here.rfind('/') {
                Some(cut) => here = &here[..cut],
                None => return (&NOWHERE, false),
            }
        }
    }
}

/// Puts what is said above into what is said below, and notes which values it took as they are.
fn merge(pointer: &str, below: &mut Value, above: Value, replaced: &mut Vec<String>) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                let pointer = pointer_to(pointer, &key);
                match below.get_mut(&key) {
                    Some(known) => merge(&pointer, known, value, replaced),
                    None => {
                        below.insert(key, value);
                        replaced.push(pointer);
                    }
                }
            }
        }
        (below, above) => {
            *below = above;
            replaced.push(pointer.to_owned());
        }
    }
}

/// One part of a path as a JSON pointer writes it.
pub fn pointer_to(parent: &str, part: &str) -> String {
    format!("{parent}/{}", part.replace('~', "~0").replace('/', "~1"))
}

/// The parts of a JSON pointer.
pub fn parts(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
}

/// A JSON pointer as an operator names the setting: `hub.ping.every`.
pub fn dotted(pointer: &str) -> String {
    let plain = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let quoted = |part: String| if plain(&part) && !part.is_empty() { part } else { format!("{part:?}") };
    parts(pointer).map(quoted).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_escape_and_read_back() {
        let pointer = pointer_to(&pointer_to("", "a/b"), "c~d");
        assert_eq!(pointer, "/a~1b/c~0d");
        assert_eq!(parts(&pointer).collect::<Vec<_>>(), ["a/b", "c~d"]);
        assert_eq!(dotted("/hub/ping/every"), "hub.ping.every");
        assert_eq!(dotted("/a b/2"), "\"a b\".2");
    }
}
