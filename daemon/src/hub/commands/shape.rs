//! What a command's payload must look like.

use std::sync::Arc;

use serde_json::Value;

use super::{Failure, Reason};
use crate::json_schema::compiled::{Compiled, Unusable};

/// Formats that tell the width of a number of Rust's or C's, which `minimum` and `maximum` tell, too, where it matters.
const WIDTHS: [&str; 14] = [
    "int", "int8", "int16", "int32", "int64", "int128", "uint", "uint8", "uint16", "uint32", "uint64", "uint128",
    "float", "double",
];

/// A JSON Schema that payloads are held to.
#[derive(Clone, Debug)]
pub struct Shape {
    schema: Value,
    compiled: Arc<Compiled>,
}

impl Shape {
    pub fn new(schema: &Value) -> Result<Self, Unusable> {
        Ok(Self { schema: schema.clone(), compiled: Arc::new(Compiled::new(&without_widths(schema), "")?) })
    }

    /// As the plugin declares it.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Whether a command may come without a payload.
    pub fn takes_nothing(&self) -> bool {
        self.check(b"").is_ok()
    }

    /// Whether a payload is as it must be; an empty one stands for `null`.
    pub fn check(&self, payload: &[u8]) -> Result<(), Failure> {
        let text = if payload.is_empty() { b"null".as_slice() } else { payload };
        let value = serde_json::from_slice(text)
            .map_err(|error| Failure::new(Reason::Invalid, format!("the payload is not JSON: {error}")))?;
        self.compiled.check(&value).map_err(|misfit| Failure {
            reason: Reason::Invalid,
            pointer: misfit.pointer,
            message: misfit.rule,
        })
    }
}

/// Schemas that are made from types of Rust have such formats; they say nothing that could be checked.
fn without_widths(schema: &Value) -> Value {
    match schema {
        Value::Object(object) => {
            let says =
                |key: &str, value: &Value| key != "format" || !value.as_str().is_some_and(|it| WIDTHS.contains(&it));
            let kept = object.iter().filter(|(key, value)| says(key, value));
            Value::Object(kept.map(|(key, value)| (key.clone(), without_widths(value))).collect())
        }
        Value::Array(items) => items.iter().map(without_widths).collect(),
        other => other.clone(),
    }
}

/// Shapes of the same schema are the same.
impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_widths_of_numbers_are_no_reason_to_refuse_a_schema_and_other_formats_are() {
        let shape = |format: &str| {
            Shape::new(&json!({"properties": {"n": {"type": "integer", "format": format, "minimum": 0}}}))
        };
        for width in WIDTHS {
            let shape = shape(width).unwrap();
            assert_eq!(shape.check(b"{\"n\":7}"), Ok(()));
            let failure = shape.check(b"{\"n\":-7}").unwrap_err();
            assert_eq!((failure.reason, &*failure.pointer), (Reason::Invalid, "/n"));
        }
        assert!(shape("uuid").unwrap_err().pointer.ends_with("/n/format"));
    }

    #[test]
    fn nothing_stands_for_null() {
        let shape = Shape::new(&json!({"type": "null"})).unwrap();
        assert_eq!((shape.check(b""), shape.check(b"null")), (Ok(()), Ok(())));
        assert_eq!(shape.check(b"{}").unwrap_err().reason, Reason::Invalid);
    }
}
