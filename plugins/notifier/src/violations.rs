//! What was told of violations, for their acknowledgements: those name the violation and nothing else of it.
use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Violations that are remembered; who acknowledges after so many others hears of it in fewer words.
const MAX_VIOLATIONS: usize = 1_000;

/// Characters that are remembered of each value, all of which are saved; names and numbers are shorter.
const MAX_VALUE: usize = 200;

/// The kinds of events between which something is taken over.
pub const VIOLATION: &str = "violation";
pub const ACKNOWLEDGEMENT: &str = "ack_update";

/// What an acknowledgement takes over.
const TAKEN_OVER: &[&str] = &["characteristic_id", "rule_id", "rule_name", "severity", "sample_id"];

/// The newest violations, whether they became messages or not: stream, id, and what was said. Each stream numbers its own.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Violations(VecDeque<(String, String, BTreeMap<String, String>)>);

impl Violations {
    /// Gives an acknowledgement what its violation said, where it does not say so itself.
    pub fn complete(&self, (stream, kind): (&str, &str), fields: &mut BTreeMap<String, String>) {
        let id = fields.get("violation_id").filter(|_| kind == ACKNOWLEDGEMENT);
        let is_it = |id: &String| self.0.iter().rfind(|(of, known, _)| of == stream && known == id);
        let Some((.., said)) = id.and_then(is_it) else { return };
        for (name, value) in said {
            fields.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }

    /// Remembers a violation. That it fits no rule itself says nothing about its acknowledgement.
    pub fn remember(&mut self, (stream, kind): (&str, &str), fields: &BTreeMap<String, String>) {
        let Some(id) = fields.get("violation_id").filter(|_| kind == VIOLATION) else { return };
        let cut = |text: &String| text.chars().take(MAX_VALUE).collect::<String>();
        let said = TAKEN_OVER.iter().filter_map(|name| Some(((*name).to_owned(), cut(fields.get(*name)?))));
        self.0.push_back((stream.to_owned(), id.clone(), said.collect()));
        if self.0.len() > MAX_VIOLATIONS {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(id: usize) -> BTreeMap<String, String> {
        BTreeMap::from([("violation_id".into(), id.to_string()), ("severity".into(), "CRITICAL".into())])
    }

    fn severity(violations: &Violations, id: usize) -> Option<String> {
        let mut fields = BTreeMap::from([("violation_id".to_owned(), id.to_string())]);
        violations.complete(("alerts", "ack_update"), &mut fields);
        fields.remove("severity")
    }

    #[test]
    fn an_acknowledgement_says_what_its_violation_said() {
        let mut violations = Violations::default();
        violations.remember(("alerts", "sample"), &violation(1));
        violations.remember(("others", "violation"), &violation(1));
        assert_eq!(severity(&violations, 1), None);
        violations.remember(("alerts", "violation"), &violation(1));
        assert_eq!(severity(&violations, 1).as_deref(), Some("CRITICAL"));
        let mut own =
            BTreeMap::from([("violation_id".to_owned(), "1".to_owned()), ("severity".to_owned(), "LOW".to_owned())]);
        violations.complete(("alerts", "ack_update"), &mut own);
        assert_eq!(own["severity"], "LOW");
    }

    #[test]
    fn of_each_value_so_much_is_remembered() {
        let mut violations = Violations::default();
        for (id, length) in [(1, MAX_VALUE), (2, MAX_VALUE + 1)] {
            let mut violation = violation(id);
            violation.insert("severity".into(), "é".repeat(length));
            violations.remember(("alerts", "violation"), &violation);
            assert_eq!(severity(&violations, id), Some("é".repeat(MAX_VALUE)));
        }
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut violations = Violations::default();
        (0..=MAX_VIOLATIONS).for_each(|id| violations.remember(("alerts", "violation"), &violation(id)));
        assert_eq!((severity(&violations, 0), severity(&violations, 1).is_some()), (None, true));
    }
}
