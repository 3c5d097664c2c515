//! The ledger, told by hand what a right daemon says, and what a wrong one would.

use super::*;
use crate::truth::Pattern;

const STREAM: &str = "ticks";
const ALL: Pattern = Pattern { symbol: None, venue: None };

/// A client that is subscribed to a whole stream, from a snapshot at 10 on.
fn subscribed(want: Want) -> Ledger {
    let mut ledger = Ledger::new(Arc::default());
    ledger.subscribe(STREAM, want).unwrap();
    ledger.hear(&reply("subscribed", 10, 1)).unwrap();
    ledger.hear(&snapshot(10, json!(null))).unwrap();
    ledger
}

fn relay() -> Ledger {
    subscribed(Want::Relay(ALL))
}

fn reply(status: &str, seq: u64, id: u64) -> Value {
    let data = json!({"status": status, "topic": STREAM, "epoch": "e1", "recovered": false});
    json!({"type": "response", "stream": STREAM, "data": data, "seq": seq, "id": id})
}

fn snapshot(seq: u64, resync: Value) -> Value {
    let records: Vec<Value> = ALL.shown_at(seq).into_iter().map(|n| json!({"n": n})).collect();
    let data = json!({"records": records});
    json!({"type": "full_update", "stream": STREAM, "topic": STREAM, "epoch": "e1", "seq": seq, "resync": resync, "data": data})
}

fn event(seq: u64) -> Value {
    let truth = Truth::of(seq);
    let data = json!({"n": seq, "pad": "x".repeat(truth.pad)});
    json!({"type": "tick", "stream": STREAM, "topic": truth.topic(STREAM), "seq": seq, "data": data})
}

/// One of a broadcaster, all of one topic.
fn linked(seq: u64, prev: u64) -> Value {
    json!({"type": "count", "stream": STREAM, "topic": STREAM, "seq": seq, "prev": prev, "data": {}})
}

fn lagged(policy: &str, from: u64, to: u64) -> Value {
    json!({"type": "status", "stream": STREAM, "data": {"status": "lagged", "policy": policy, "from": from, "to": to}})
}

/// What the ledger says against the last of these messages, when it takes all before.
fn said(ledger: &mut Ledger, messages: &[Value]) -> String {
    let (last, before) = messages.split_last().unwrap();
    before.iter().for_each(|message| ledger.hear(message).unwrap());
    ledger.hear(last).unwrap_err()
}

#[test]
fn all_in_order_is_fine() {
    let mut ledger = relay();
    (11..=50).for_each(|seq| ledger.hear(&event(seq)).unwrap());
    assert!(ledger.is_settled() && ledger.has_all_of(STREAM, 50) && !ledger.has_all_of(STREAM, 51));
}

#[test]
fn a_missing_a_double_and_a_foreign_event_are_found() {
    assert!(said(&mut relay(), &[event(12)]).contains("one before it is missing"));
    assert!(said(&mut relay(), &[event(11), event(11)]).contains("comes twice"));
    assert!(said(&mut relay(), &[event(10)]).contains("comes twice"));
    let mut other = event(11);
    other["stream"] = "quotes".into();
    assert!(said(&mut relay(), &[other]).contains("foreign"));
}

#[test]
fn another_payload_or_topic_than_was_published_is_found() {
    for (field, value) in [("n", json!(12)), ("pad", json!("short"))] {
        let mut changed = event(11);
        changed["data"][field] = value;
        assert!(said(&mut relay(), &[changed]).contains("under this number"), "{field}");
    }
    let mut changed = event(11);
    changed["topic"] = STREAM.into();
    assert!(said(&mut relay(), &[changed]).contains("under this number"));
}

#[test]
fn what_is_told_as_lost_must_begin_where_the_client_stands() {
    let mut ledger = relay();
    for message in [event(11), lagged("resync", 12, 20), snapshot(20, json!(true)), event(21)] {
        ledger.hear(&message).unwrap();
    }
    assert!(ledger.is_settled() && ledger.has_all_of(STREAM, 21));
    assert!(said(&mut relay(), &[event(11), lagged("resync", 13, 20)]).contains("12 was lost and is not told"));
    assert!(
        said(&mut relay(), &[lagged("resync", 11, 20), snapshot(21, json!(true))]).contains("nothing has announced")
    );
    assert!(said(&mut relay(), &[snapshot(20, json!(true))]).contains("nothing has announced"));
    assert!(said(&mut relay(), &[lagged("resync", 11, 20), event(21)]).contains("nobody wants"), "before the snapshot");
}

#[test]
fn a_snapshot_shows_the_newest_records_and_no_others() {
    let mut ledger = relay();
    ledger.snapshot(0).unwrap();
    let mut stale = snapshot(10, json!(null));
    stale["data"]["records"].as_array_mut().unwrap().pop();
    assert!(said(&mut ledger, &[reply("snapshot", 10, 2), stale]).contains("the snapshot shows"));
}

#[test]
fn a_reply_comes_behind_everything_up_to_its_number() {
    let mut ledger = relay();
    ledger.snapshot(0).unwrap();
    ledger.hear(&reply("snapshot", 12, 2)).unwrap();
    ledger.hear(&snapshot(12, json!(null))).unwrap();
    assert!(!ledger.is_settled(), "11 and 12 should have come");
    ledger.hear(&lagged("resync", 11, 12)).unwrap();
    ledger.hear(&snapshot(12, json!(true))).unwrap();
    assert!(ledger.is_settled(), "they are told as lost");
}

#[test]
fn a_snapshot_that_was_dropped_must_be_told() {
    let mut ledger = relay();
    ledger.snapshot(0).unwrap();
    ledger.hear(&reply("snapshot", 10, 2)).unwrap();
    assert!(!ledger.is_settled());
    ledger.hear(&lagged("resync", 10, 10)).unwrap();
    ledger.hear(&snapshot(10, json!(true))).unwrap();
    assert!(ledger.is_settled());
}

#[test]
fn a_position_is_resumed_exactly_or_by_a_snapshot() {
    let mut ledger = relay();
    ledger.hear(&event(11)).unwrap();
    let asked = ledger.resume();
    assert_eq!(asked, [r#"{"id":2,"since":{"epoch":"e1","seq":11},"topic":"ticks","type":"subscribe"}"#]);
    let mut exactly = reply("subscribed", 13, 2);
    exactly["data"]["recovered"] = true.into();
    for message in [exactly.clone(), event(12), event(13)] {
        ledger.hear(&message).unwrap();
    }
    assert!(ledger.is_settled());

    ledger.resume();
    exactly["id"] = 3.into();
    exactly["data"]["epoch"] = "e2".into();
    assert!(said(&mut ledger, &[exactly]).contains("another life"));
}

#[test]
fn an_event_that_only_prev_misses_is_found_or_told() {
    assert!(said(&mut subscribed(Want::Plain), &[linked(11, 5), linked(13, 12)]).contains("12 was lost"));
    let mut ledger = subscribed(Want::Replaceable);
    ledger.hear(&linked(13, 12)).unwrap();
    assert!(!ledger.is_settled(), "12 must be told");
    ledger.hear(&lagged("latest", 12, 12)).unwrap();
    assert!(ledger.is_settled());
    ledger.hear(&lagged("latest", 14, 15)).unwrap();
    ledger.hear(&linked(16, 15)).unwrap();
    assert!(ledger.is_settled(), "told beforehand");
}

#[test]
fn overlapping_subscriptions_hear_an_event_once() {
    let mut ledger = relay();
    let part = Pattern { symbol: Some(Truth::of(11).symbol), venue: None };
    ledger.subscribe(STREAM, Want::Relay(part)).unwrap();
    let mut begins = reply("subscribed", 10, 2);
    begins["data"]["topic"] = part.topic(STREAM).into();
    ledger.hear(&begins).unwrap();
    let mut shown = snapshot(10, json!(null));
    shown["topic"] = part.topic(STREAM).into();
    let records: Vec<Value> = part.shown_at(10).into_iter().map(|n| json!({"n": n})).collect();
    shown["data"]["records"] = records.into();
    ledger.hear(&shown).unwrap();
    assert!(said(&mut ledger, &[event(11), event(11)]).contains("comes twice"));
}

#[test]
fn nothing_comes_behind_the_end_of_a_subscription() {
    let mut ledger = relay();
    ledger.unsubscribe(0).unwrap();
    ledger.hear(&event(11)).unwrap();
    assert!(said(&mut ledger, &[reply("unsubscribed", 0, 2), event(12)]).contains("foreign"));
}

#[test]
fn a_removed_stream_takes_its_subscriptions_along() {
    let mut ledger = relay();
    let removed = json!({"type": "status", "stream": STREAM, "data": {"status": "no_source", "reason": REMOVED}});
    assert!(said(&mut ledger, &[removed, event(11)]).contains("foreign"));
    assert!(!ledger.has_memory());
}
