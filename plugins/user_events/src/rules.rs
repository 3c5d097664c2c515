//! What holds for the events of each kind: the table of the kinds that are known, and those that the settings add.

use std::collections::BTreeMap;

use broadcastd_plugin_api::{Failure, KindSpec};
use metrics::Counter;
use serde_json::{Value, json};

use crate::counters;
use crate::payload::Renames;
use crate::settings::{KindSettings, Settings};

/// Kinds that the settings may add: each is a series of the metrics, and the daemon shows 200 of a broadcaster.
pub const MAX_KINDS: usize = 100;

/// The longest kind that the daemon takes, in bytes.
const MAX_KIND_BYTES: usize = 64;

/// A kind that is known, with what is the same for everybody who uses it.
pub struct Known {
    pub name: &'static str,
    /// The collection that its records are shown in; empty = it has none.
    pub collection: &'static str,
    key: Key<&'static str>,
    latest: bool,
    finished: &'static [&'static str],
}

/// How an event names the thing that it describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key<S> {
    /// It describes none, and is not kept.
    None,
    /// There is one for a user, called `current`.
    Current,
    /// By this member of the payload.
    Member(S),
}

const fn known(name: &'static str, collection: &'static str, key: Key<&'static str>) -> Known {
    Known { name, collection, key, latest: false, finished: &[] }
}

const fn status(name: &'static str, collection: &'static str, key: Key<&'static str>) -> Known {
    Known { latest: true, ..known(name, collection, key) }
}

/// A circuit breaker is kept like a status, but each of its edges arrives. What happens in a life cycle is not kept and
/// not replaced by anything.
pub const KNOWN: [Known; 8] = [
    Known { finished: &["completed", "cancelled"], ..known("CHAIN_UPDATE", "chains", Key::Member("chainId")) },
    known("LIFECYCLE_EVENT", "", Key::None),
    status("GINIE_STATUS_UPDATE", "ginie", Key::Current),
    known("CIRCUIT_BREAKER_UPDATE", "circuit_breakers", Key::Current),
    status("PNL_UPDATE", "pnl", Key::Current),
    status("MODE_STATUS_UPDATE", "modes", Key::Member("mode")),
    status("SYSTEM_STATUS_UPDATE", "system", Key::Current),
    Known { finished: &["executed", "expired", "cancelled"], ..known("SIGNAL_UPDATE", "signals", Key::Member("id")) },
];

impl Known {
    /// What is declared of it.
    pub fn spec(&self, schema: Value) -> KindSpec {
        let collection = (!self.collection.is_empty()).then(|| self.collection.to_owned());
        KindSpec { schema, collection, record: self.key.record() }
    }
}

impl<S> Key<S> {
    /// What is declared of the records: they are the payloads, or there are none.
    fn record(&self) -> Option<Value> {
        matches!(self, Key::None).then_some(Value::Bool(false))
    }
}

/// What holds for one kind.
pub struct Rule {
    pub key: Key<String>,
    /// A newer event of the same thing may replace one that waits for a client.
    pub latest: bool,
    pub renames: Renames,
    pub told: Counter,
    finished: Vec<String>,
}

impl Rule {
    /// Whether this `status` says that the thing is done.
    pub fn is_finished(&self, status: &str) -> bool {
        self.finished.iter().any(|finished| finished == status)
    }
}

/// The rule of every kind that is taken.
pub struct Rules(BTreeMap<String, Rule>);

impl Rules {
    /// The known kinds and those of the settings. The failure points at the setting at fault.
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        if settings.kinds.len() > MAX_KINDS {
            return Err(Failure::at("/kinds", format!("at most {MAX_KINDS} further kinds are taken; leave some out")));
        }
        let mut rules: BTreeMap<String, Rule> =
            KNOWN.iter().map(|known| (known.name.to_owned(), known.into())).collect();
        for (name, kind) in settings.kinds.iter().filter(|(name, kind)| !is_described(name, kind)) {
            let rule = further(name, kind).map_err(|why| Failure::at(format!("/kinds/{}", escaped(name)), why))?;
            rules.insert(name.clone(), rule);
        }
        for (name, renames) in &settings.rename {
            let place = |more: &str| format!("/rename/{}{more}", escaped(name));
            let Some(rule) = rules.get_mut(name) else {
                return Err(Failure::at(place(""), "no such kind is known; add it to `kinds`"));
            };
            rule.renames = Renames::new(renames).map_err(|(from, why)| {
                let from = format!("/{}", escaped(&from));
                Failure::at(place(&from), why)
            })?;
        }
        Ok(Rules(rules))
    }

    pub fn of(&self, kind: &str) -> Option<&Rule> {
        self.0.get(kind)
    }
}

/// Whether a kind that is known has a schema of the operator's own, and nothing else.
fn is_described(name: &str, kind: &KindSettings) -> bool {
    let nothing_else = KindSettings { schema: kind.schema.clone(), ..KindSettings::default() };
    KNOWN.iter().any(|known| known.name == name) && kind.schema.is_some() && *kind == nothing_else
}

/// What is declared of a kind that the settings speak of, which they are right about: one that is known is kept as ever, of
/// another what they do not say is any object.
pub fn spec(name: &str, kind: &KindSettings) -> KindSpec {
    let schema = kind.schema.clone().map_or_else(|| json!({"type": "object"}), Value::Object);
    if let Some(known) = KNOWN.iter().find(|known| known.name == name) {
        return known.spec(schema);
    }
    let key = if kind.key.is_some() || kind.current { Key::Current } else { Key::<&str>::None };
    KindSpec { schema, collection: None, record: key.record() }
}

impl From<&Known> for Rule {
    fn from(known: &Known) -> Self {
        let key = match known.key {
            Key::None => Key::None,
            Key::Current => Key::Current,
            Key::Member(name) => Key::Member(name.to_owned()),
        };
        let finished = known.finished.iter().copied().map(str::to_owned).collect();
        Rule { key, latest: known.latest, renames: Renames::default(), told: counters::told(known.name), finished }
    }
}

fn further(name: &str, kind: &KindSettings) -> Result<Rule, &'static str> {
    if KNOWN.iter().any(|known| known.name == name) {
        return Err("this kind is known, and of it `schema` alone is a setting; leave the rest out");
    }
    if name.is_empty() || name.len() > MAX_KIND_BYTES || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a kind is a word of up to 64 letters, digits and signs, like ORDER_UPDATE");
    }
    let key = match (&kind.key, kind.current) {
        (Some(_), true) => return Err("its things have a key each or there is one; leave `key` or `current` out"),
        (Some(member), _) if member.is_empty() => return Err("`key` is a member of the payload, like orderId"),
        (Some(member), _) => Key::Member(member.clone()),
        (None, true) => Key::Current,
        (None, false) => Key::None,
    };
    if key == Key::None && kind.latest {
        return Err("`latest` needs `key` or `current`, which say of what it is the newest");
    }
    let (latest, finished) = (kind.latest, kind.finished.clone());
    Ok(Rule { key, latest, renames: Renames::default(), told: counters::told(name), finished })
}

/// A name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(settings: Value) -> (String, String) {
        let refused = Rules::new(&serde_json::from_value(settings).unwrap()).err().unwrap();
        (refused.pointer().to_owned(), refused.message().to_owned())
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place() {
        let rows = [
            (json!({"kinds": {"PNL_UPDATE": {}}}), "/kinds/PNL_UPDATE", "this kind is known"),
            (json!({"kinds": {"PNL_UPDATE": {"schema": {}, "key": "id"}}}), "/kinds/PNL_UPDATE", "this kind is known"),
            (json!({"kinds": {"A B": {}}}), "/kinds/A B", "a kind is a word"),
            (json!({"kinds": {"A/B": {"key": ""}}}), "/kinds/A~1B", "`key` is a member"),
            (json!({"kinds": {"A": {"key": "id", "current": true}}}), "/kinds/A", "its things have a key each"),
            (json!({"kinds": {"A": {"latest": true}}}), "/kinds/A", "`latest` needs"),
            (json!({"rename": {"A": {}}}), "/rename/A", "no such kind is known"),
            (json!({"rename": {"PNL_UPDATE": {"a": ""}}}), "/rename/PNL_UPDATE/a", "a name has at least one letter"),
            (
                json!({"rename": {"PNL_UPDATE": {"a": "b", "b": "c"}}}),
                "/rename/PNL_UPDATE/a",
                "its new name is renamed",
            ),
            (json!({"rename": {"PNL_UPDATE": {"a~": "a~"}}}), "/rename/PNL_UPDATE/a~0", "that is its name"),
        ];
        for (settings, pointer, why) in rows {
            let (at, said) = refusal(settings.clone());
            assert_eq!(at, pointer, "{settings}");
            assert!(said.starts_with(why), "{said}");
        }
    }

    #[test]
    fn further_kinds_are_bounded() {
        let kinds = |count: usize| (0..count).map(|n| (format!("K{n}"), KindSettings::default())).collect();
        let most = Settings { kinds: kinds(MAX_KINDS), ..Settings::default() };
        assert!(Rules::new(&most).is_ok_and(|rules| rules.of("K99").is_some()));
        let more = Settings { kinds: kinds(MAX_KINDS + 1), ..Settings::default() };
        assert!(Rules::new(&more).err().unwrap().message().starts_with("at most 100 further kinds"));
    }
}
