//! What a command's payload must look like.

use serde_json::Value;

use super::{Failure, Reason};

/// A JSON Schema that payloads are held to: types, required and further properties, items, and constants.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    schema: Value,
}

impl Shape {
    pub fn new(schema: &Value) -> Self {
        Self { schema: schema.clone() }
    }

    /// Whether a payload is as it must be; an empty one stands for `null`.
    pub fn check(&self, payload: &[u8]) -> Result<(), Failure> {
        let text = if payload.is_empty() { b"null".as_slice() } else { payload };
        let value = serde_json::from_slice(text)
            .map_err(|error| Failure::new(Reason::Invalid, format!("the payload is not JSON: {error}")))?;
        judge(&self.schema, &value, "").map_err(|(pointer, message)| Failure {
            pointer,
            message,
            reason: Reason::Invalid,
        })
    }
}

/// A pointer to what is wrong, and the rule.
type Misfit = (String, String);

fn judge(schema: &Value, value: &Value, pointer: &str) -> Result<(), Misfit> {
    let misfit = |rule: String| Err((pointer.to_owned(), rule));
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|wanted| is_a(value, wanted)) {
        return misfit(format!("must be {}", types.join(" or ")));
    }
    let constants = schema["enum"]
        .as_array()
        .map_or_else(|| schema.get("const").into_iter().collect(), |all| all.iter().collect::<Vec<_>>());
    if !constants.is_empty() && !constants.contains(&value) {
        let known: Vec<String> = constants.iter().map(ToString::to_string).collect();
        return misfit(format!("must be {}", known.join(" or ")));
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required {
        if value.is_object() && value.get(name).is_none() {
            return misfit(format!("\"{name}\" is missing"));
        }
    }
    for (name, below) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(schema) => judge(schema, below, &format!("{pointer}/{name}"))?,
            None if schema["additionalProperties"] == false => {
                return misfit(format!("\"{}\" is unknown", name.escape_debug()));
            }
            None => {}
        }
    }
    let items = value.as_array().into_iter().flatten().enumerate();
    items
        .filter(|_| schema["items"].is_object())
        .try_for_each(|(index, item)| judge(&schema["items"], item, &format!("{pointer}/{index}")))
}

fn is_a(value: &Value, wanted: &str) -> bool {
    match wanted {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}
