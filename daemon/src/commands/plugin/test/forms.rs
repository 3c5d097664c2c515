//! Whether what a plugin publishes looks as its declaration says: each kind by its schema.

use std::collections::{BTreeMap, BTreeSet};

use broadcastd_plugin_api::{KindSpec, StreamSpec};
use bytes::Bytes;
use serde_json::Value;

use super::checks::Flaw;
use crate::commands::plugin::given;
use crate::hub::commands::Shape;

/// The schemas of all kinds that a stream has, made ready once.
pub struct Forms<'a> {
    /// What it is that they are the schemas of.
    what: &'static str,
    by_kind: BTreeMap<&'a str, Shape>,
}

impl<'a> Forms<'a> {
    pub fn new(
        spec: &'a StreamSpec,
        what: &'static str,
        schema: impl Fn(&'a KindSpec) -> &'a Value,
    ) -> Result<Self, Flaw> {
        let shapes = spec.kinds.iter().map(|(kind, declared)| {
            let shape = Shape::new(schema(declared)).map_err(|unusable| Flaw::Wrong(unusable.to_string()))?;
            Ok((kind.as_str(), shape))
        });
        Ok(Self { what, by_kind: shapes.collect::<Result<_, Flaw>>()? })
    }

    /// All of these are of kinds that are declared, and fit. The answer names the kinds.
    pub fn fit<'t>(&self, all: impl IntoIterator<Item = (&'t str, &'t Bytes)>) -> Result<String, Flaw> {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (kind, json) in all {
            let Some((kind, shape)) = self.by_kind.get_key_value(kind) else {
                let known: Vec<&str> = self.by_kind.keys().copied().collect();
                let rule = format!("declare it beside {}", known.join(", "));
                return Err(Flaw::Wrong(format!(
                    "it publishes kind \"{kind}\", which its stream does not declare; {rule}"
                )));
            };
            shape.check(json).map_err(|misfit| {
                let what =
                    format!("a {} of kind \"{kind}\" does not fit the schema that is declared for it", self.what);
                Flaw::Wrong(given::place(&misfit.pointer, &format!("{what}: it {}", misfit.message)))
            })?;
            seen.insert(kind);
        }
        Ok(seen.into_iter().collect::<Vec<_>>().join(", "))
    }
}
