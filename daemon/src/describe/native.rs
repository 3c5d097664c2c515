//! What is said in the native protocol, as types from which its schemas are made. The codec does not use them; tests read
//! all that it writes as these types, and hold what it takes against what these allow.

pub mod commands;
pub mod messages;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

pub use self::commands::Command;
pub use self::messages::{Batch, Envelope, Error, FIVE, Response, Status};

/// JSON Schema 2020-12 of one of these types.
pub fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// The same of what the daemon says: what it leaves out is missing, and never null.
pub fn schema_of_said<T: JsonSchema>() -> Value {
    let mut schema = schema::<T>();
    without_nulls(&mut schema);
    schema
}

/// Properties that need not be there are no longer allowed to be null.
fn without_nulls(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let required = map.get("required").cloned().unwrap_or_default();
            let is_required = |name: &str| required.as_array().is_some_and(|names| names.iter().any(|one| one == name));
            if let Some(Value::Object(properties)) = map.get_mut("properties") {
                let optional = properties.iter_mut().filter(|(name, _)| !is_required(name));
                optional.filter_map(|(_, property)| property.as_object_mut()).for_each(present);
            }
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(several) => several.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// The schema of what is there, in place of one that says null or that.
fn present(property: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            property.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(mut choices)) = property.remove("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        match &mut choices[..] {
            [Value::Object(only)] => property.append(only),
            _ => _ = property.insert("anyOf".to_owned(), choices.into()),
        }
    }
}

#[cfg(test)]
mod tests;
