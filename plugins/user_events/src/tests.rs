//! A broadcaster of user events in virtual time: what follows from each kind, what is kept, and what outlives it.

use std::collections::BTreeMap;

use broadcastd_plugin_api::testing::{Harness, Input, Published};
use broadcastd_plugin_api::{Broadcaster, Flags, Lag, abi};
use serde_json::{Value, json};

use crate::board::{DONE_AT_ONCE, MAX_OF_A_KIND};
use crate::broadcaster::SCHEMAS;
use crate::outlet::MAX_WAITING;
use crate::running::{MAX_NAMED, UserEvents};
use crate::settings::Settings;

type Users = Harness<UserEvents>;

const TIME: i64 = 1_768_644_000_123_456_789;

/// A payload of each kind that is known, with its key and whether a newer one may replace it.
fn kinds() -> [(&'static str, Value, &'static str, bool); 8] {
    [
        ("CHAIN_UPDATE", json!({"chainId": "c1", "orders": [], "status": "active"}), "c1", false),
        ("LIFECYCLE_EVENT", json!({"eventType": "TRADE_OPENED"}), "", false),
        (
            "GINIE_STATUS_UPDATE",
            json!({"isRunning": true, "currentMode": "scalp", "activePositions": 0, "lastSignal": null}),
            "current",
            true,
        ),
        (
            "CIRCUIT_BREAKER_UPDATE",
            json!({"isTriggered": true, "triggerReason": "loss", "resetTime": null}),
            "current",
            false,
        ),
        ("PNL_UPDATE", json!({"totalPnL": 1.5, "dailyPnL": -2, "positionPnL": null}), "current", true),
        ("MODE_STATUS_UPDATE", json!({"mode": "scalp", "enabled": true}), "scalp", true),
        ("SYSTEM_STATUS_UPDATE", json!({}), "current", true),
        ("SIGNAL_UPDATE", json!({"id": "s1", "symbol": "BTC", "direction": "LONG", "status": "pending"}), "s1", false),
    ]
}

fn users(settings: Value) -> Users {
    Users::new(settings).unwrap()
}

fn tell(users: &mut Users, user: &str, kind: &str, payload: &Value) {
    users.input(&Input { audience: user, unix_ns: Some(TIME), ..Input::new("user_events", kind, payload) }).unwrap();
}

fn chain(users: &mut Users, user: &str, id: usize, status: &str) {
    tell(users, user, "CHAIN_UPDATE", &json!({"chainId": format!("c{id}"), "orders": [], "status": status}));
}

fn counted(users: &Users, name: &str, labels: &Value) -> f64 {
    let series = users.metrics().into_iter().filter(|metric| metric.name == name && metric.labels == *labels);
    series.flat_map(|metric| metric.values).sum()
}

/// The records as the hub has them after all of this.
fn records(published: &[Published]) -> BTreeMap<(String, String, String), Value> {
    let mut records = BTreeMap::new();
    for event in published.iter().filter(|event| !event.key.is_empty()) {
        let place = (event.audience.clone(), event.topic.clone(), event.key.clone());
        if event.flags.has(Flags::DELETE) {
            records.remove(&place);
        } else {
            records.insert(place, event.payload.clone());
        }
    }
    records
}

#[test]
fn each_kind_has_its_topic_key_and_way() {
    let mut users = users(json!({}));
    for (kind, payload, key, latest) in kinds() {
        let input = Input {
            audience: "user-1",
            session_id: "exec_1",
            key: "of the service",
            unix_ns: Some(TIME),
            ..Input::new("user_events", kind, &payload)
        };
        users.input(&input).unwrap();
        let [event] = users.published().try_into().unwrap();
        assert_eq!((&*event.kind, &*event.topic, &*event.key), (kind, kind, key));
        assert_eq!((&*event.audience, &*event.session_id, event.unix_ns), ("user-1", "exec_1", TIME));
        assert_eq!(event.payload, payload);
        assert_eq!(event.flags, if latest { Flags::LATEST } else { Flags::NONE }, "{kind}");
        assert_eq!(event.cause.unwrap().ordinal, 0);
        assert_eq!(counted(&users, "user_events_total", &json!({"kind": kind})), 1.0);
    }
}

#[test]
fn the_stream_is_private_and_declares_each_kind_as_ingest_checks_it() {
    let spec = UserEvents::stream().unwrap();
    assert!(spec.private && spec.lag == Lag::Disconnect);
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap();
    let names: Vec<&str> = kinds().iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(spec.kinds.len(), names.len());
    for kind in names {
        assert_eq!(spec.kinds[kind].schema, schemas["$defs"][kind]);
        assert!(spec.kinds[kind].schema["type"] == "object", "{kind}");
        assert_eq!(spec.kinds[kind].collection.is_none(), kind == "LIFECYCLE_EVENT");
        assert_eq!(spec.kinds[kind].of_records().is_none(), kind == "LIFECYCLE_EVENT");
    }
}

#[test]
fn the_stream_declares_the_kinds_that_the_settings_add() {
    let schema = json!({"type": "object", "required": ["orderId"]});
    let settings = json!({"kinds": {
        "ORDER_UPDATE": {"key": "orderId", "schema": schema}, "BALANCE_UPDATE": {"current": true}, "TRADE_UPDATE": {},
    }});
    let spec = UserEvents::stream_with(&serde_json::from_value(settings).unwrap()).unwrap();
    assert_eq!(spec.kinds.len(), kinds().len() + 3);
    let any = json!({"type": "object"});
    for (kind, events, records) in
        [("ORDER_UPDATE", &schema, Some(&schema)), ("BALANCE_UPDATE", &any, Some(&any)), ("TRADE_UPDATE", &any, None)]
    {
        let kind = &spec.kinds[kind];
        assert_eq!((kind.of_events(), kind.of_records(), &kind.collection), (Some(events), records, &None));
    }
    let plain = UserEvents::stream_with(&Settings::default());
    assert_eq!(plain, UserEvents::stream());
}

#[test]
fn a_known_kind_is_declared_as_the_settings_describe_it_and_kept_as_ever() {
    let schema = json!({"type": "object", "required": ["fees"]});
    let described = json!({"kinds": {"PNL_UPDATE": {"schema": schema}, "LIFECYCLE_EVENT": {"schema": schema}}});
    let spec = UserEvents::stream_with(&serde_json::from_value(described.clone()).unwrap()).unwrap();
    assert_eq!(spec.kinds.len(), kinds().len());
    let (profit, step) = (&spec.kinds["PNL_UPDATE"], &spec.kinds["LIFECYCLE_EVENT"]);
    assert_eq!((profit.of_events(), profit.of_records()), (Some(&schema), Some(&schema)));
    assert_eq!(
        (step.of_events(), step.of_records()),
        (Some(&schema), None),
        "it leaves no record, whatever it looks like"
    );
    assert_eq!(profit.collection.as_deref(), Some("pnl"));
    let mut users = users(described);
    tell(&mut users, "a", "PNL_UPDATE", &json!({"totalPnL": 1}));
    let [event] = users.published().try_into().unwrap();
    assert_eq!((&*event.key, event.flags), ("current", Flags::LATEST), "what holds for it is as ever");
}

#[test]
fn further_kinds_have_the_rule_of_the_settings_and_others_go_to_nobody() {
    let mut users = users(json!({"kinds": {
        "ORDER_UPDATE": {"key": "orderId"}, "BALANCE_UPDATE": {"current": true, "latest": true}, "TRADE_UPDATE": {},
    }}));
    tell(&mut users, "a", "ORDER_UPDATE", &json!({"orderId": 7}));
    tell(&mut users, "a", "BALANCE_UPDATE", &json!({"free": 1}));
    tell(&mut users, "a", "TRADE_UPDATE", &json!({"profit": 1}));
    for n in 0..=MAX_NAMED {
        for _ in 0..2 {
            tell(&mut users, "a", &format!("PRICE_{n}"), &json!({}));
        }
    }
    let published = users.published();
    let seen: Vec<_> = published.iter().map(|event| (&*event.topic, &*event.key, event.flags)).collect();
    assert_eq!(
        seen,
        [
            ("ORDER_UPDATE", "7", Flags::NONE),
            ("BALANCE_UPDATE", "current", Flags::LATEST),
            ("TRADE_UPDATE", "", Flags::NONE)
        ]
    );
    let ignored = counted(&users, "user_inputs_ignored_total", &json!({"reason": "unknown_kind"}));
    assert_eq!(ignored, 2.0 * (MAX_NAMED + 1) as f64);
    let told = users.logs().iter().filter(|line| line.message.contains("go to nobody")).count();
    assert_eq!(told, MAX_NAMED, "each once, and not without end");
}

#[test]
fn renamed_members_reach_clients_and_keys() {
    let mut users = users(json!({"rename": {
        "GINIE_STATUS_UPDATE": {"running": "isRunning"},
        "CHAIN_UPDATE": {"baseId": "chainId"},
        "CIRCUIT_BREAKER_UPDATE": {"cooldownEnds": "resetTime"},
    }}));
    tell(&mut users, "a", "GINIE_STATUS_UPDATE", &json!({"running": true, "extra": 1}));
    tell(&mut users, "a", "CHAIN_UPDATE", &json!({"baseId": "c9", "status": "active"}));
    tell(&mut users, "a", "CIRCUIT_BREAKER_UPDATE", &json!({"cooldownEnds": "soon"}));
    tell(&mut users, "a", "PNL_UPDATE", &json!({"running": true}));
    let published = users.published();
    let payloads: Vec<&Value> = published.iter().map(|event| &event.payload).collect();
    assert_eq!(payloads[0], &json!({"isRunning": true, "extra": 1}));
    assert_eq!((payloads[1], &*published[1].key), (&json!({"chainId": "c9", "status": "active"}), "c9"));
    assert_eq!(payloads[2], &json!({"resetTime": "soon"}));
    assert_eq!(payloads[3], &json!({"running": true}), "of the kind that was named only");
}

#[test]
fn an_event_that_names_nothing_is_told_and_not_kept() {
    let mut users = users(json!({}));
    for odd in [json!({}), json!({"chainId": null}), json!({"chainId": ""}), json!({"chainId": "x".repeat(257)})] {
        tell(&mut users, "a", "CHAIN_UPDATE", &odd);
        let [event] = users.published().try_into().unwrap();
        assert_eq!((&*event.key, event.payload), ("", odd));
    }
    tell(&mut users, "a", "MODE_STATUS_UPDATE", &json!({"enabled": true}));
    assert!(!users.published()[0].flags.has(Flags::LATEST), "another that names nothing may be about something else");
    assert_eq!(counted(&users, "user_events_keyless_total", &json!({})), 5.0);
    assert!(users.records().unwrap().is_empty());
    let broken = Input { payload: b"[1]".to_vec(), ..Input::new("user_events", "PNL_UPDATE", &json!({})) };
    users.input(&broken).unwrap();
    assert!(users.published().is_empty());
    assert_eq!(counted(&users, "user_inputs_ignored_total", &json!({"reason": "malformed"})), 1.0);
}

#[test]
fn records_are_the_newest_of_each_thing_of_each_user() {
    let mut users = users(json!({}));
    for (user, n) in [("user-1", 1), ("user-10", 2), ("user-1 ", 3), ("User-1", 4), ("user-1", 5)] {
        for (kind, mut payload, ..) in kinds() {
            payload["n"] = json!(n);
            tell(&mut users, user, kind, &payload);
        }
    }
    let told = records(&users.published());
    let records_now = users.records().unwrap();
    assert!(records_now.iter().all(|event| event.flags.has(Flags::RECORD_ONLY) && event.unix_ns == TIME));
    assert_eq!(records(&records_now), told);
    assert_eq!(told.len(), 4 * 7, "of a life cycle nothing is kept");
    for (user, n) in [("user-1", 5), ("user-10", 2), ("user-1 ", 3), ("User-1", 4)] {
        let own = told.iter().filter(|((audience, ..), _)| audience == user);
        assert!(own.map(|(_, payload)| &payload["n"]).all(|found| *found == json!(n)), "{user}");
    }
}

#[test]
fn what_is_for_everybody_is_marked_and_its_order_among_the_records_is_kept() {
    let mut users = users(json!({}));
    for (user, uptime) in [("a", 1), ("", 2), ("b", 3)] {
        tell(&mut users, user, "SYSTEM_STATUS_UPDATE", &json!({"uptime": uptime}));
    }
    let for_everybody: Vec<bool> = users.published().iter().map(|event| event.flags.has(Flags::BROADCAST)).collect();
    assert_eq!(for_everybody, [false, true, false]);
    users.restart().unwrap();
    let order: Vec<Value> = users.records().unwrap().into_iter().map(|event| event.payload["uptime"].clone()).collect();
    assert_eq!(order, [1, 2, 3]);
}

/// The chains that a connected user is shown, by their statuses.
fn chains_of(user: &str, published: &[Published]) -> BTreeMap<String, Value> {
    let reach = |event: &&Published| event.audience == user || event.flags.has(Flags::BROADCAST);
    let own = published.iter().filter(reach).map(|event| Published { audience: user.into(), ..event.clone() });
    let shown = records(&own.collect::<Vec<_>>()).into_iter();
    shown.map(|((_, _, key), payload)| (key, payload["status"].clone())).collect()
}

#[test]
fn what_goes_takes_nothing_with_it_that_another_has_under_its_key() {
    let fill = |users: &mut Users, user: &str| (1..=MAX_OF_A_KIND).for_each(|id| chain(users, user, id, "active"));
    let mut users = users(json!({}));
    chain(&mut users, "", 0, "of everybody");
    for user in ["a", "z", "b"] {
        chain(&mut users, user, 0, user);
    }
    fill(&mut users, "");
    let mut published = users.published();
    let gone = published.iter().filter(|event| event.flags.has(Flags::DELETE)).count();
    assert_eq!(gone, 1, "the one for everybody, which was the oldest");
    for user in ["a", "z", "b"] {
        assert_eq!(chains_of(user, &published)["c0"], user);
    }
    assert_eq!(chains_of("c", &published).get("c0"), None);
    let again: Vec<_> = published.iter().filter(|event| event.flags == Flags::RECORD_ONLY).collect();
    let order: Vec<_> = again.iter().map(|event| (&*event.audience, event.cause.as_ref().unwrap().ordinal)).collect();
    assert_eq!(order, [("a", 2), ("z", 3), ("b", 4)], "the same whenever the input is handled again");

    chain(&mut users, "", 0, "of everybody");
    fill(&mut users, "a");
    published.extend(users.published());
    assert_eq!(chains_of("a", &published)["c0"], "of everybody", "when its own was the oldest");
    assert_eq!(chains_of("a", &published).len(), MAX_OF_A_KIND + 1);
}

#[test]
fn finished_chains_and_signals_do_not_pile_up() {
    let mut users = users(json!({}));
    let mut hub = Vec::new();
    for id in 0..3 * MAX_OF_A_KIND {
        chain(&mut users, "a", id, "active");
        chain(&mut users, "a", id, if id % 2 == 0 { "completed" } else { "cancelled" });
        let status = ["executed", "expired", "cancelled"][id % 3];
        let signal = json!({"id": id, "symbol": "BTC", "direction": "LONG", "status": status});
        tell(&mut users, "a", "SIGNAL_UPDATE", &signal);
        if id == 5 {
            chain(&mut users, "a", 1_000_000, "partial");
        }
        hub.extend(users.published());
        let kept = records(&hub);
        let of = |topic: &str| kept.keys().filter(|(_, of, _)| of == topic).count();
        assert!(of("CHAIN_UPDATE") <= MAX_OF_A_KIND && of("SIGNAL_UPDATE") <= MAX_OF_A_KIND, "{id}");
    }
    let kept = records(&hub);
    assert_eq!(records(&users.records().unwrap()), kept, "the hub has what the broadcaster would tell");
    let chains: Vec<usize> = kept
        .keys()
        .filter(|(_, topic, _)| topic == "CHAIN_UPDATE")
        .map(|(.., key)| key[1..].parse().unwrap())
        .collect();
    assert!(chains.contains(&1_000_000), "what is not done stays while others are");
    assert!(chains.contains(&(3 * MAX_OF_A_KIND - 1)) && chains.len() > MAX_OF_A_KIND - DONE_AT_ONCE);
    let done = counted(&users, "user_records_gone_total", &json!({"reason": "done"}));
    assert!(done > 0.0 && done % DONE_AT_ONCE as f64 == 0.0);
}

#[test]
fn what_is_not_done_goes_only_where_nothing_is() {
    let mut users = users(json!({}));
    (0..=MAX_OF_A_KIND).for_each(|id| chain(&mut users, "a", id, "active"));
    let gone: Vec<Published> = users.published().into_iter().filter(|event| event.flags.has(Flags::DELETE)).collect();
    let [gone] = gone.try_into().unwrap();
    assert_eq!((&*gone.key, &*gone.audience, gone.payload), ("c0", "a", json!({})));
    assert!(gone.flags.has(Flags::RECORD_ONLY), "no client is told something that did not happen");
    assert_eq!(gone.cause.unwrap().ordinal, 1);
    assert_eq!(counted(&users, "user_records_gone_total", &json!({"reason": "oldest"})), 1.0);
}

#[test]
fn state_survives_a_crash_a_restart_and_other_settings() {
    let mut users = users(json!({"kinds": {"ORDER_UPDATE": {"key": "orderId"}}}));
    for (kind, payload, ..) in kinds() {
        tell(&mut users, "a", kind, &payload);
        tell(&mut users, "", kind, &payload);
    }
    tell(&mut users, "a", "ORDER_UPDATE", &json!({"orderId": 1, "price": 1.50}));
    let before = users.records().unwrap();
    assert_eq!(before.len(), 15);
    users.restart().unwrap();
    assert_eq!(users.records().unwrap(), before);
    let saved = users.save().unwrap();
    tell(&mut users, "b", "PNL_UPDATE", &json!({}));
    users.restart_from(Some(saved.clone())).unwrap();
    assert_eq!(users.records().unwrap(), before, "what was not saved is told again by the daemon");
    assert!(!users.reconfigure(&json!({})).unwrap(), "the daemon makes a successor, and hands the state over");
    let mut fewer = Users::set_up(broadcastd_plugin_api::testing::Setup {
        state: Some((1, saved.clone())),
        ..broadcastd_plugin_api::testing::Setup::new(json!({}))
    })
    .unwrap();
    assert_eq!(fewer.records().unwrap(), before[..14], "without the kind that is none any more");
    let other = broadcastd_plugin_api::testing::Setup {
        state: Some((2, saved)),
        ..broadcastd_plugin_api::testing::Setup::new(json!({}))
    };
    assert!(Users::set_up(other).unwrap_err().message.contains("of version 2, this plugin reads 1"));
}

#[test]
fn the_same_inputs_again_have_the_same_causes() {
    let run = |users: &mut Users| {
        for id in 0..=MAX_OF_A_KIND {
            let payload = json!({"chainId": id, "status": "completed"});
            let seq = Some(id as u64 + 1);
            let input = Input {
                audience: "a",
                seq,
                unix_ns: Some(TIME),
                ..Input::new("user_events", "CHAIN_UPDATE", &payload)
            };
            users.input(&input).unwrap();
        }
        users.published()
    };
    let mut users = users(json!({}));
    let empty = users.save().unwrap();
    let first = run(&mut users);
    assert_eq!(first.len(), MAX_OF_A_KIND + 1 + DONE_AT_ONCE);
    users.restart_from(Some(empty)).unwrap();
    assert_eq!(run(&mut users), first);
}

#[test]
fn what_there_is_no_room_for_waits_in_order_and_outlives_a_restart() {
    let mut users = users(json!({}));
    users.room(Some(1));
    for n in 0..5 {
        tell(&mut users, "a", "LIFECYCLE_EVENT", &json!({"eventType": "E", "n": n}));
    }
    assert_eq!(users.published().len(), 1);
    users.restart().unwrap();
    tell(&mut users, "b", "PNL_UPDATE", &json!({"n": 5}));
    assert!(users.published().is_empty(), "nothing overtakes what waits");
    users.writable().unwrap();
    let published = users.published();
    let told: Vec<&Value> = published.iter().map(|event| &event.payload["n"]).collect();
    assert_eq!(told, [1, 2, 3, 4, 5]);
    let causes: Vec<u64> = published.iter().map(|event| event.cause.as_ref().unwrap().seq).collect();
    assert_eq!(causes, [2, 3, 4, 5, 6], "each with the input that it follows from");
    assert!(users.logs().iter().any(|line| line.message.contains("the stream is full")));
}

#[test]
fn waiting_is_bounded() {
    let mut users = users(json!({}));
    users.room(Some(0));
    let large = json!({"eventType": "E", "a": "x".repeat(1 << 20)});
    let fit = MAX_WAITING / ((1 << 20) + 2_000);
    for _ in 0..fit {
        tell(&mut users, "a", "LIFECYCLE_EVENT", &large);
    }
    let one_more = Input { audience: "a", ..Input::new("user_events", "LIFECYCLE_EVENT", &large) };
    let failed = users.input(&one_more).unwrap_err();
    assert_eq!(failed.status, abi::E_LIMIT);
    assert!(failed.message.starts_with("16 MiB of events wait because a listener"), "{}", failed.message);
}

#[test]
fn the_log_tells_kinds_and_neither_users_nor_payloads() {
    let mut users = users(json!({}));
    for user in ["user-1", "user-10", "user-1"] {
        tell(&mut users, user, "PNL_UPDATE", &json!({"totalPnL": 123_456_789}));
    }
    tell(&mut users, "user-1", "NOT_KNOWN", &json!({"totalPnL": 123_456_789}));
    tell(&mut users, "user-1", "CHAIN_UPDATE", &json!({"chainId": null, "totalPnL": 123_456_789}));
    let lines: Vec<(u32, String)> = users.logs().into_iter().map(|line| (line.level, line.message)).collect();
    let debug: Vec<&String> =
        lines.iter().filter(|(level, _)| *level == abi::LOG_DEBUG).map(|(_, line)| line).collect();
    assert_eq!(debug.len(), 4);
    assert!(debug[0] == debug[2] && debug[0] != debug[1], "a user has one alias: {debug:?}");
    assert!(debug[0].contains("PNL_UPDATE"));
    for (_, line) in &lines {
        assert!(!line.contains("user-1") && !line.contains("123456789"), "{line}");
    }
    let another = {
        let mut other = Users::new(json!({})).unwrap();
        tell(&mut other, "user-1", "PNL_UPDATE", &json!({}));
        other.logs().into_iter().map(|line| line.message).next().unwrap()
    };
    assert_ne!(debug[0], &another, "nobody can make a list of aliases");
}

#[test]
fn a_gap_is_counted_and_told() {
    let mut users = users(json!({}));
    users.gap("user_events", 3, 5).unwrap();
    assert_eq!(counted(&users, "user_input_gaps_total", &json!({})), 1.0);
    assert!(users.logs()[0].message.contains("are gone"));
}
