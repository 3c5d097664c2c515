//! What the payloads of a declared stream must look like: a JSON Schema by kind, and what becomes of one that does not fit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::json_schema::compiled::{Compiled, Misfit, Unusable};
use crate::json_schema::part::part;

/// Stands in a fragment for the kind of an event.
const KIND: &str = "{kind}";
/// Stands among the modes for every kind that is not named.
const ANY: &str = "*";

/// What becomes of an event whose payload does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// It is accepted, counted, and told once of each kind.
    #[default]
    Warn,
    /// Nobody looks.
    Off,
}

/// The schemas of a stream's payloads, made ready once.
#[derive(Debug, Default)]
pub struct Payloads {
    by_kind: BTreeMap<String, Shape>,
    /// For every kind alike.
    any: Option<Shape>,
    modes: BTreeMap<String, Mode>,
}

#[derive(Debug)]
struct Shape {
    /// As it stands in the file, for whoever describes it.
    text: Value,
    schema: Compiled,
    is_told: AtomicBool,
}

/// What an event that was looked at is.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its payload fits, or nobody looks.
    Fits,
    /// It does not, and is accepted all the same; to be told when it is the first of its kind.
    Odd {
        misfit: Misfit,
        is_first: bool,
    },
    Refused(Misfit),
}

impl Payloads {
    /// From a schema file and the fragment that names the part of it that counts: `/$defs/tick` for all kinds, or
    /// `/$defs/{kind}_payload` for each kind its own; empty is the whole file. Kinds that the file does not name are not
    /// looked at.
    pub fn new(document: &Value, fragment: &str, modes: BTreeMap<String, Mode>) -> Result<Self, Unusable> {
        let shape = |pointer: &str| {
            let schema = Compiled::new(document, pointer)?;
            Ok(Shape { text: part(document, pointer), schema, is_told: AtomicBool::new(false) })
        };
        let Some((before, after)) = fragment.split_once(KIND) else {
            return Ok(Self { by_kind: BTreeMap::new(), any: Some(shape(fragment)?), modes });
        };
        let (parent, prefix) = before.rsplit_once('/').unwrap_or_default();
        let Some(Value::Object(named)) = document.pointer(parent).filter(|_| !after.contains('/')) else {
            let rule = format!("{KIND} stands in the last part, behind a place where the file names schemas");
            return Err(Unusable { pointer: fragment.to_owned(), rule });
        };
        let mut by_kind = BTreeMap::new();
        for name in named.keys() {
            let kind = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(after));
            if let Some(kind) = kind.filter(|kind| !kind.is_empty()) {
                let part = name.replace('~', "~0").replace('/', "~1");
                by_kind.insert(kind.to_owned(), shape(&format!("{parent}/{part}"))?);
            }
        }
        if by_kind.is_empty() {
            return Err(Unusable { pointer: fragment.to_owned(), rule: "the file names nothing like this".to_owned() });
        }
        Ok(Self { by_kind, any: None, modes })
    }

    /// The schema of each kind that has one.
    pub fn by_kind(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.by_kind.iter().map(|(kind, shape)| (kind.as_str(), &shape.text))
    }

    /// The schema of every kind alike.
    pub fn of_any_kind(&self) -> Option<&Value> {
        self.any.as_ref().map(|shape| &shape.text)
    }

    /// Looks at the payload of one event.
    pub fn judge(&self, kind: &str, payload: &[u8]) -> Verdict {
        let mode = self.modes.get(kind).or_else(|| self.modes.get(ANY)).copied().unwrap_or_default();
        let Some(shape) = self.by_kind.get(kind).or(self.any.as_ref()).filter(|_| mode != Mode::Off) else {
            return Verdict::Fits;
        };
        let misfit = match serde_json::from_slice::<Value>(payload) {
            Ok(value) => match shape.schema.check(&value) {
                Ok(()) => return Verdict::Fits,
                Err(misfit) => misfit,
            },
            Err(error) => Misfit::whole(format!("cannot be read: {error}")),
        };
        match mode {
            Mode::Enforce => Verdict::Refused(misfit),
            _ => Verdict::Odd { misfit, is_first: !shape.is_told.swap(true, Ordering::Relaxed) },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn payloads(fragment: &str, modes: &[(&str, Mode)]) -> Result<Payloads, String> {
        let document = json!({
            "$defs": {
                "tick_payload": {"required": ["price"]},
                "trade_payload": {"required": ["size"]},
                "other": {"uniqueItems": true},
            },
            "required": ["symbol"],
        });
        let modes = modes.iter().map(|(kind, mode)| ((*kind).to_owned(), *mode)).collect();
        Payloads::new(&document, fragment, modes).map_err(|unusable| unusable.to_string())
    }

    fn is_refused(payloads: &Payloads, kind: &str, payload: &str) -> bool {
        matches!(payloads.judge(kind, payload.as_bytes()), Verdict::Refused(_))
    }

    #[test]
    fn each_kind_has_its_own_schema_or_all_have_one() {
        let each = payloads("/$defs/{kind}_payload", &[("*", Mode::Enforce)]).unwrap();
        assert!(is_refused(&each, "tick", "{\"size\":1}") && !is_refused(&each, "tick", "{\"price\":1}"));
        assert!(is_refused(&each, "trade", "{\"price\":1}") && !is_refused(&each, "trade", "{\"size\":1}"));
        assert!(!is_refused(&each, "other", "{}"), "a kind that the file does not name");
        let one = payloads("", &[("*", Mode::Enforce)]).unwrap();
        assert!(is_refused(&one, "tick", "{\"price\":1}") && !is_refused(&one, "x", "{\"symbol\":\"\"}"));
    }

    #[test]
    fn a_mode_holds_for_a_kind_or_for_the_rest_and_warns_unless_said() {
        let modes = [("tick", Mode::Enforce), ("trade", Mode::Off)];
        let some = payloads("", &modes).unwrap();
        assert!(is_refused(&some, "tick", "{}"));
        assert_eq!(some.judge("trade", b"{}"), Verdict::Fits);
        for expected in [true, false] {
            let Verdict::Odd { misfit, is_first } = some.judge("other", b"{}") else { panic!("no warning") };
            assert_eq!((misfit.rule.as_str(), is_first), ("\"symbol\" is missing", expected));
        }
    }

    #[test]
    fn a_number_that_no_program_can_hold_does_not_fit() {
        let all = payloads("/$defs/tick_payload", &[("*", Mode::Enforce)]).unwrap();
        assert!(is_refused(&all, "x", "{\"price\":1e999}") && !is_refused(&all, "x", "{\"price\":1e99}"));
    }

    #[test]
    fn a_fragment_must_lead_to_schemas() {
        let rows = [
            (
                "/$defs/{kind}",
                "/$defs/other/uniqueItems: this keyword is not checked here; leave it out, or say it with others",
            ),
            ("/$defs/gone", "/$defs/gone: nothing is there"),
            (
                "/gone/{kind}",
                "/gone/{kind}: {kind} stands in the last part, behind a place where the file names schemas",
            ),
            ("/{kind}/a", "/{kind}/a: {kind} stands in the last part, behind a place where the file names schemas"),
            ("/$defs/{kind}_gone", "/$defs/{kind}_gone: the file names nothing like this"),
        ];
        for (fragment, error) in rows {
            assert_eq!(payloads(fragment, &[]).unwrap_err(), error);
        }
    }
}
