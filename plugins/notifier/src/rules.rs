//! Which events become messages.
use std::collections::BTreeMap;

use broadcastd_plugin_api::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::violations::{ACKNOWLEDGEMENT, VIOLATION};

/// Patterns of one list, and fields that are asked for; each is compared for every event.
const MAX_PATTERNS: usize = 1_000;

/// The longest pattern; a longer one fits no name that is in use.
const MAX_PATTERN_BYTES: usize = 256;

/// Which events become messages: those that fit every list. A list fits when one of its patterns does; `*` in a pattern
/// stands for any text. An event that does not have a field fits no list about it. Empty lists fit everything.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Kinds of events.
    #[serde(rename = "type")]
    pub kind: Vec<String>,
    /// What the field `severity` says.
    pub severity: Vec<String>,
    /// What the field `characteristic_id` says.
    pub characteristic: Vec<String>,
    /// Other fields of the payload, by name; `a.b` is the field `b` inside `a`.
    pub fields: BTreeMap<String, Vec<String>>,
}

impl Default for Rules {
    fn default() -> Self {
        let kind = vec![VIOLATION.to_owned(), ACKNOWLEDGEMENT.to_owned()];
        Rules { kind, severity: Vec::new(), characteristic: Vec::new(), fields: BTreeMap::new() }
    }
}

impl Rules {
    /// What a schema cannot say.
    pub fn validate(&self) -> Result<(), Failure> {
        let named = [("type", &self.kind), ("severity", &self.severity), ("characteristic", &self.characteristic)];
        let named = named.into_iter().map(|(name, list)| (format!("/match/{name}"), list));
        let own = self
            .fields
            .iter()
            .map(|(name, list)| (format!("/match/fields/{}", name.replace('~', "~0").replace('/', "~1")), list));
        if self.fields.len() > MAX_PATTERNS {
            return Err(Failure::at("/match/fields", format!("at most {MAX_PATTERNS} fields")));
        }
        for (pointer, list) in named.chain(own) {
            if list.len() > MAX_PATTERNS {
                return Err(Failure::at(pointer, format!("a list has at most {MAX_PATTERNS} patterns")));
            }
            if let Some(at) = list.iter().position(|pattern| pattern.len() > MAX_PATTERN_BYTES) {
                return Err(Failure::at(format!("{pointer}/{at}"), format!("at most {MAX_PATTERN_BYTES} bytes")));
            }
        }
        Ok(())
    }

    /// Whether the payload of an event of a kind is read at all: it may fit, or its acknowledgement may, which takes over
    /// what it says.
    pub fn concern(&self, kind: &str) -> bool {
        self.fit_kind(kind) || kind == VIOLATION && self.fit_kind(ACKNOWLEDGEMENT)
    }

    /// Whether an event becomes a message.
    pub fn fits(&self, kind: &str, fields: &BTreeMap<String, String>) -> bool {
        let field = |name: &str| fields.get(name).map(String::as_str);
        self.fit_kind(kind)
            && fits(&self.severity, field("severity"))
            && fits(&self.characteristic, field("characteristic_id"))
            && self.fields.iter().all(|(name, list)| fits(list, field(name)))
    }

    fn fit_kind(&self, kind: &str) -> bool {
        fits(&self.kind, Some(kind))
    }
}

fn fits(list: &[String], text: Option<&str>) -> bool {
    list.is_empty() || text.is_some_and(|text| list.iter().any(|pattern| fits_pattern(pattern, text)))
}

/// `*` stands for any text, also for none. Without going back further than to the last star it takes at most pattern ×
/// text steps.
fn fits_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(letter) if *letter == text[read] => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((star_at, from)) = star else { return false };
                star = Some((star_at, from + 1));
                (at, read) = (star_at + 1, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn every_list_must_fit_and_an_absent_field_fits_none() {
        let rules: Rules = serde_json::from_str(
            r#"{"type":["violation"],"severity":["CRITICAL"],"characteristic":["1","2*"],"fields":{"plant.id":["7"]}}"#,
        )
        .unwrap();
        let whole = [("severity", "CRITICAL"), ("characteristic_id", "21"), ("plant.id", "7")];
        assert!(rules.fits("violation", &fields(&whole)));
        assert!(!rules.fits("sample", &fields(&whole)));
        for (at, other) in [(0, "WARNING"), (1, "11"), (2, "8")] {
            let mut changed = whole;
            changed[at].1 = other;
            assert!(!rules.fits("violation", &fields(&changed)), "{changed:?}");
            let absent: Vec<_> = whole.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, pair)| *pair).collect();
            assert!(!rules.fits("violation", &fields(&absent)), "{absent:?}");
        }
    }

    #[test]
    fn alerts_are_told_unless_something_else_is_said() {
        let usual = Rules::default();
        assert!(usual.fits("violation", &fields(&[])) && usual.fits("ack_update", &fields(&[])));
        assert!(!usual.fits("sample", &fields(&[])) && !usual.fits("control_limits", &fields(&[])));
    }

    #[test]
    fn bounds_are_told_with_their_place() {
        let list = |count: usize| Rules { kind: vec!["a".to_owned(); count], ..Rules::default() };
        assert!(list(MAX_PATTERNS).validate().is_ok());
        assert_eq!(list(MAX_PATTERNS + 1).validate().unwrap_err().pointer(), "/match/type");
        let fields = |count: usize| {
            let fields = (0..count).map(|name| (name.to_string(), Vec::new())).collect();
            Rules { fields, ..Rules::default() }
        };
        assert!(fields(MAX_PATTERNS).validate().is_ok());
        assert_eq!(fields(MAX_PATTERNS + 1).validate().unwrap_err().pointer(), "/match/fields");
        let long = |bytes: usize| {
            let patterns = vec!["a".to_owned(), "x".repeat(bytes)];
            Rules { fields: BTreeMap::from([("a/b".to_owned(), patterns)]), ..Rules::default() }
        };
        assert!(long(MAX_PATTERN_BYTES).validate().is_ok());
        assert_eq!(long(MAX_PATTERN_BYTES + 1).validate().unwrap_err().pointer(), "/match/fields/a~1b/1");
    }

    fn fits_slowly(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skipped| fits_slowly(rest, &text[skipped..])),
            Some((letter, rest)) => text.first() == Some(letter) && fits_slowly(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn stars_stand_for_any_text(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            let slowly = fits_slowly(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>());
            prop_assert_eq!(fits_pattern(&pattern, &text), slowly);
        }
    }
}
