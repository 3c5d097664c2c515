//! JSON Schema 2020-12 as the older dialect that AsyncAPI documents are written in, ready to stand inside of such a document.

use serde_json::{Map, Value, json};

/// Keywords whose value is a schema, or a list of schemas.
const ONE: [&str; 10] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedProperties",
];
/// Keywords whose value is a list of schemas.
const LIST: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose value is an object of schemas.
const NAMED: [&str; 5] = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];
/// Keywords that name a schema for references from elsewhere, which there are none to.
const IDENTITY: [&str; 6] = ["$anchor", "$dynamicAnchor", "$id", "$recursiveAnchor", "$schema", "$vocabulary"];

/// The schema as it stands at `place`, a JSON pointer with `#`: its references lead there.
pub fn draft07(schema: &Value, place: &str) -> Value {
    match schema {
        Value::Object(map) => of_map(map, place),
        Value::Array(several) => several.iter().map(|one| draft07(one, place)).collect(), // `items` of older schemas
        other => other.clone(),
    }
}

fn of_map(map: &Map<String, Value>, place: &str) -> Value {
    let mut out = Map::new();
    for (keyword, value) in map {
        let word = keyword.as_str();
        let value = match value {
            _ if IDENTITY.contains(&word) || word == "$ref" => continue,
            _ if ONE.contains(&word) => draft07(value, place),
            Value::Array(several) if LIST.contains(&word) => several.iter().map(|one| draft07(one, place)).collect(),
            Value::Object(named) if NAMED.contains(&word) => {
                named.iter().map(|(name, one)| (name.clone(), draft07(one, place))).collect::<Map<_, _>>().into()
            }
            other => other.clone(),
        };
        out.insert(keyword.clone(), value);
    }
    if let Some(Value::Array(first)) = out.remove("prefixItems") {
        if let Some(rest) = out.remove("items") {
            out.insert("additionalItems".to_owned(), rest);
        }
        let first = first.iter().map(|one| draft07(one, place)).collect();
        out.insert("items".to_owned(), first);
    }
    match map.get("$ref").and_then(Value::as_str) {
        None => out.into(),
        Some(reference) => with_reference(out, reference, place),
    }
}

/// What stands beside a reference does not count in the older dialect, so it moves away.
fn with_reference(mut beside: Map<String, Value>, reference: &str, place: &str) -> Value {
    let Some(inside) = reference.strip_prefix('#') else {
        // A document that refers to others cannot be read without them.
        beside.insert("$comment".to_owned(), format!("{reference} is not in this document").into());
        return beside.into();
    };
    let reference = json!({"$ref": format!("{place}{inside}")});
    if beside.is_empty() {
        return reference;
    }
    match beside.get_mut("allOf") {
        Some(Value::Array(all)) => all.push(reference),
        _ => _ = beside.insert("allOf".to_owned(), json!([reference])),
    }
    beside.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_where_the_schema_stands_and_data_is_left_alone() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$ref": "#/$defs/a",
            "properties": {"$ref": {"$ref": "#"}, "b": {"$ref": "#/$defs/a", "description": "b"}},
            "const": {"$ref": "#/data"},
            "$defs": {"a": {"prefixItems": [{"$ref": "#/$defs/a"}, true], "items": false}},
        });
        let expected = json!({
            "allOf": [{"$ref": "#/x/$defs/a"}],
            "properties": {"$ref": {"$ref": "#/x"}, "b": {"description": "b", "allOf": [{"$ref": "#/x/$defs/a"}]}},
            "const": {"$ref": "#/data"},
            "$defs": {"a": {"items": [{"$ref": "#/x/$defs/a"}, true], "additionalItems": false}},
        });
        assert_eq!(draft07(&schema, "#/x"), expected);
        assert_eq!(
            draft07(&json!({"$ref": "http://x"}), "#/x"),
            json!({"$comment": "http://x is not in this document"})
        );
        assert_eq!(draft07(&json!(true), "#/x"), json!(true));
    }
}
