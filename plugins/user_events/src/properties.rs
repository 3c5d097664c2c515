//! Property tests: whatever a payload and the renames are, values stay as written and no name is doubled; whatever comes,
//! the hub's records are what the broadcaster would tell.

use std::collections::{BTreeMap, HashSet};

use broadcastd_plugin_api::Flags;
use broadcastd_plugin_api::testing::{Harness, Input};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::board::MAX_OF_A_KIND;
use crate::payload::{Payload, Renames};
use crate::running::UserEvents;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["running", "isRunning", "baseId", "chainId", "a\"b", "ü", "status"])
            .prop_map(str::to_owned),
        "[a-c]{1,2}",
    ]
}

fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["true", "null", "1.50", "1e2", "\"a\\u0062\"", "{\"running\": [1, 2]}", "[]", "-0"])
}

fn renames() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(name(), name(), 0..6).prop_map(|pairs| {
        let sources: HashSet<String> = pairs.keys().cloned().collect();
        pairs.into_iter().filter(|(_, to)| !sources.contains(to)).collect()
    })
}

/// What a payload says, by its names, in order.
fn members(json: &str) -> Vec<(String, String)> {
    struct Pairs(Vec<(String, String)>);
    impl<'de> serde::Deserialize<'de> for Pairs {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visit;
            impl<'de> serde::de::Visitor<'de> for Visit {
                type Value = Pairs;
                fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    out.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                    let mut pairs = Vec::new();
                    while let Some((name, value)) = map.next_entry::<String, Box<serde_json::value::RawValue>>()? {
                        pairs.push((name, value.get().to_owned()));
                    }
                    Ok(Pairs(pairs))
                }
            }
            deserializer.deserialize_map(Visit)
        }
    }
    serde_json::from_str::<Pairs>(json).unwrap().0
}

proptest! {
    #[test]
    fn renaming_changes_names_only_and_doubles_none(
        pairs in prop::collection::vec((name(), value()), 0..8), renames in renames(),
    ) {
        let mut seen = HashSet::new();
        let pairs: Vec<_> = pairs.into_iter().filter(|(name, _)| seen.insert(name.clone())).collect();
        let text = pairs.iter().map(|(name, value)| format!("{} : {value}", json!(name))).collect::<Vec<_>>().join(" ,");
        let text = format!("{{{text}}}");
        let payload = Payload::read(text.as_bytes(), &Renames::new(&renames).unwrap()).unwrap();
        let after = members(payload.json().get());
        prop_assert_eq!(after.len(), pairs.len());
        for ((name, value), (was, written)) in after.iter().zip(&pairs) {
            prop_assert_eq!(value, written);
            prop_assert!(name == was || renames.get(was) == Some(name), "{} became {}", was, name);
        }
        let names: HashSet<&String> = after.iter().map(|(name, _)| name).collect();
        prop_assert_eq!(names.len(), after.len());
        for (was, _) in &pairs {
            // Whoever has another name and could have had it has it.
            if let Some(other) = renames.get(was) {
                prop_assert!(names.contains(other), "nobody is called {}", other);
            }
        }
        if names.iter().all(|name| seen.contains(*name)) {
            prop_assert_eq!(payload.json().get(), &text, "nothing was renamed, and not a byte is another");
        }
        for (member, value) in &after {
            let expected = match serde_json::from_str(value).unwrap() {
                Value::String(text) if !text.is_empty() => Some(text),
                Value::Number(_) => Some(value.clone()),
                _ => None,
            };
            prop_assert_eq!(payload.name(member).map(|name| name.into_owned()), expected);
        }
    }

    #[test]
    fn the_records_are_what_the_broadcaster_would_tell(
        steps in prop::collection::vec((0..3_usize, 0..4_usize, 0..160_usize, any::<bool>(), 0..40_u8), 1..600),
    ) {
        let mut users = Harness::<UserEvents>::new(json!({})).unwrap();
        let mut hub = BTreeMap::new();
        let mut newest = BTreeMap::new();
        for (at, (user, kind, key, is_done, chance)) in steps.into_iter().enumerate() {
            let user = ["user-1", "user-10", "user-"][user];
            let (kind, payload, key) = match kind {
                0 => ("CHAIN_UPDATE", json!({"chainId": key, "status": if is_done { "completed" } else { "active" }, "at": at}), key.to_string()),
                1 => ("SIGNAL_UPDATE", json!({"id": key.to_string(), "status": if is_done { "expired" } else { "pending" }, "at": at}), key.to_string()),
                2 => ("PNL_UPDATE", json!({"at": at}), "current".to_owned()),
                _ => ("LIFECYCLE_EVENT", json!({"at": at}), String::new()),
            };
            users.input(&Input { audience: user, ..Input::new("user_events", kind, &payload) }).unwrap();
            match chance {
                0 => users.restart().unwrap(),
                1 => { let saved = users.save().unwrap(); users.restart_from(Some(saved)).unwrap() }
                _ => {}
            }
            newest.insert((user.to_owned(), kind.to_owned(), key.clone()), payload.clone());
            let published = users.published();
            prop_assert_eq!((&published[0].audience, &published[0].kind, &published[0].key), (&user.to_owned(), &kind.to_owned(), &key));
            prop_assert!(published[1..].iter().all(|event| event.flags.has(Flags::DELETE) && event.audience == user));
            for event in published.into_iter().filter(|event| !event.key.is_empty()) {
                let place = (event.audience, event.topic, event.key);
                if event.flags.has(Flags::DELETE) { hub.remove(&place); } else { hub.insert(place, event.payload); }
            }
            let of_this = hub.keys().filter(|(of, topic, _)| of == user && topic == kind).count();
            prop_assert!(of_this <= MAX_OF_A_KIND);
        }
        let told: BTreeMap<_, _> = users.records().unwrap().into_iter()
            .map(|event| ((event.audience, event.topic, event.key), event.payload)).collect();
        prop_assert_eq!(&told, &hub);
        for (place, payload) in &hub {
            prop_assert_eq!(Some(payload), newest.get(place), "the newest of its user and no other");
        }
    }
}
