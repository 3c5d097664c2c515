//! What names a characteristic or a sample: a number or a text, repeated as it was written.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longer ones would not fit the topic once they are percent-encoded, and are kept many times over; a UUID has 36.
pub const MAX_BYTES: usize = 40;

/// 7 and "7" are the same.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Id {
    Number(i64),
    Text(String),
}

impl Id {
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Id::Number(number) => Cow::Owned(number.to_string()),
            Id::Text(text) => Cow::Borrowed(text),
        }
    }

    /// The rule that it breaks.
    pub fn broken_rule(&self) -> Option<String> {
        let length = self.text().len();
        if !(1..=MAX_BYTES).contains(&length) {
            return Some(format!("an id has 1 to {MAX_BYTES} bytes, this one has {length}"));
        }
        self.text().chars().any(char::is_control).then(|| "an id has no control characters".to_owned())
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_its_text_and_a_long_text_is_refused() {
        let id = |json: &str| serde_json::from_str::<Id>(json).unwrap();
        assert_eq!((id("7"), id("-7").to_string()), (id("\"7\""), "-7".to_owned()));
        assert_eq!(serde_json::to_string(&[id("7"), id("\"7\"")]).unwrap(), r#"[7,"7"]"#);
        let text = |bytes: usize| Id::Text("x".repeat(bytes)).broken_rule();
        assert_eq!((text(1), text(MAX_BYTES)), (None, None));
        assert!(text(0).is_some() && text(MAX_BYTES + 1).unwrap().contains("this one has 41"));
        assert!(id("\"a\\n\"").broken_rule().is_some());
        assert!(["1.5", "null", "[]"].iter().all(|bad| serde_json::from_str::<Id>(bad).is_err()));
    }
}
