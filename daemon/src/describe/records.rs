//! What snapshots of a stream show: its collections, and what their records look like.

use std::collections::BTreeMap;

use broadcastd_plugin_api::KindSpec;
use serde_json::Value;

use crate::hub::kinds::DEFAULT_COLLECTION;

/// What some records of a collection look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form<'a> {
    /// As the payload of this kind.
    Payload(&'a str),
    /// As this schema says, which is no payload's.
    Own(&'a Value),
}

/// The collections that these kinds have, each with the forms of its records, and each form once. A collection that is
/// named is shown though it may have none.
pub fn collections(kinds: &BTreeMap<String, KindSpec>) -> BTreeMap<&str, Vec<Form<'_>>> {
    let mut collections: BTreeMap<&str, Vec<Form<'_>>> = BTreeMap::new();
    for (kind, spec) in kinds {
        let form = match (&spec.record, spec.of_records()) {
            (_, None) => None,
            (None, Some(_)) => Some(Form::Payload(kind)),
            (Some(_), Some(schema)) => Some(Form::Own(schema)),
        };
        if form.is_none() && spec.collection.is_none() {
            continue;
        }
        let forms = collections.entry(spec.collection.as_deref().unwrap_or(DEFAULT_COLLECTION)).or_default();
        forms.extend(form.filter(|form| !forms.contains(form)));
    }
    collections
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_collection_has_the_forms_of_its_records_once() {
        let kind = |schema: Value, collection: Option<&str>, record: Option<Value>| KindSpec {
            schema,
            collection: collection.map(str::to_owned),
            record,
        };
        let line = || Some(json!({"required": ["label"]}));
        let kinds: BTreeMap<String, KindSpec> = [
            ("added", kind(json!({}), Some("lines"), line())),
            ("changed", kind(json!({}), Some("lines"), line())),
            ("gone", kind(json!({}), Some("lines"), Some(json!(false)))),
            ("loose", kind(json!({}), None, None)),
            ("nothing", kind(json!(false), None, None)),
            ("shown", kind(json!(false), Some("lines"), Some(json!(true)))),
            ("told", kind(json!({}), None, Some(json!(false)))),
            ("void", kind(json!({}), Some("voids"), Some(json!(false)))),
        ]
        .map(|(name, kind)| (name.to_owned(), kind))
        .into();
        let line = line().unwrap();
        let expected = [
            ("lines", vec![Form::Own(&line), Form::Own(&Value::Bool(true))]),
            ("records", vec![Form::Payload("loose")]),
            ("voids", vec![]),
        ];
        assert_eq!(collections(&kinds), expected.into());
    }
}
