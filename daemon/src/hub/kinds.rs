//! The kinds of a stream's events: their names, shared between events, and the collections of their records.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use broadcastd_plugin_api::KindSpec;

use super::Refused;

/// The most kinds whose names a stream shares between events; further ones still work and cost a copy each.
const MAX_KINDS: usize = 1024;
/// The collection of records whose kind names none.
pub const DEFAULT_COLLECTION: &str = "records";
/// The types of messages that are the daemon's own: an event of such a kind would be taken for one of these.
pub const RESERVED: &[&str] = &["batch", "error", "full_update", "response", "status"];

/// The names of a kind: its own, and the collection that its records belong to.
#[derive(Clone, Debug)]
pub struct Kind {
    pub name: Arc<str>,
    pub collection: Arc<str>,
}

#[derive(Debug, Default)]
pub struct Kinds {
    known: HashMap<Box<str>, Kind>,
    collections: BTreeMap<String, String>,
}

impl Kinds {
    /// With the collections that a declaration names.
    pub fn new(declared: &BTreeMap<String, KindSpec>) -> Self {
        let collections = declared.iter().filter_map(|(kind, spec)| Some((kind.clone(), spec.collection.clone()?)));
        Self { known: HashMap::new(), collections: collections.collect() }
    }

    /// The collections that the stream's declaration names, each once.
    pub fn collections(&self) -> Vec<Arc<str>> {
        let names: BTreeSet<&str> = self.collections.values().map(String::as_str).collect();
        names.into_iter().map(Arc::from).collect()
    }

    pub fn get(&mut self, name: &str) -> Result<Kind, Refused> {
        if let Some(kind) = self.known.get(name) {
            return Ok(kind.clone());
        }
        if name.is_empty() || RESERVED.contains(&name) {
            return Err(Refused::BadKind(name.to_owned()));
        }
        let collection = self.collections.get(name).map_or(DEFAULT_COLLECTION, String::as_str);
        let kind = Kind { name: name.into(), collection: collection.into() };
        if self.known.len() < MAX_KINDS {
            self.known.insert(name.into(), kind.clone());
        }
        Ok(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_types_are_no_kinds() {
        let bar = KindSpec { schema: true.into(), collection: Some("bars".to_owned()), record: None };
        let mut kinds = Kinds::new(&[("bar".to_owned(), bar)].into());
        for reserved in ["", "error", "status", "full_update", "response", "batch"] {
            assert_eq!(kinds.get(reserved).unwrap_err(), Refused::BadKind(reserved.to_owned()));
        }
        let collection = |kind: Kind| kind.collection.to_string();
        assert_eq!(kinds.get("bar").map(collection).unwrap(), "bars");
        assert_eq!(kinds.get("tick").map(collection).unwrap(), "records");
    }

    #[test]
    fn beyond_the_bound_kinds_still_work() {
        let mut kinds = Kinds::default();
        for number in 0..=MAX_KINDS {
            assert_eq!(&*kinds.get(&number.to_string()).unwrap().name, number.to_string());
        }
        assert_eq!(kinds.known.len(), MAX_KINDS);
    }
}
