//! How much a shard takes in at once: all that was there at a moment and nothing that comes meanwhile.

use std::cell::Cell;

use super::super::MAX_INBOUND_PER_TURN;
use super::super::intake::MAX_COPIED_PER_TURN;
use super::*;
use crate::dialect::{Command, Target};

#[test]
fn what_comes_meanwhile_waits_for_its_turn() {
    let (mut shard, ..) = standing();
    let inbox = shard.inbox.clone();
    let looks = Cell::new(0);
    let hand = || inbox.hand(Inbound::LogOut("nobody".into()));
    (0..2).for_each(|_| hand());
    shard.take_in_until_now(|_| {
        looks.set(looks.get() + 1);
        assert!(looks.get() < 100, "it does not end");
        hand();
        false
    });
    assert_eq!(looks.get(), 3, "what was there, and its end");
    assert_eq!(MAX_INBOUND_PER_TURN - shard.take_all_in(MAX_INBOUND_PER_TURN), 3);
}

#[test]
fn what_is_told_of_the_source_behind_an_answer_is_told_behind_it() {
    let (mut shard, bars, _client) = standing();
    shard.flush();
    let patterns = [Pattern::whole("bars")];
    let wish = Wish { patterns: &patterns, audience: "", reader: Reader::Client, since: None };
    let answered = bars.subscribe(&wish, &shard.outlet).unwrap();
    // As where events in between found no room in the inbox.
    shard.inbox.source_changed(answered.log, answered.position.seq + 1, &Source::Absent("it failed".into()));
    shard.catch_up_to(0, &answered);
    assert!(shard.connections[0].outbox.is_empty(), "the subscription has no seat yet, and would not hear of it");
    shard.take_all_in(MAX_INBOUND_PER_TURN);
    shard.distribute();
    assert!(!shard.connections[0].outbox.is_empty());
}

#[test]
fn what_would_be_copied_too_often_waits_for_the_next_turn() {
    const CLIENTS: usize = 2;
    let (mut shard, bars, _native) = standing();
    let _pages: Vec<UnixStream> = (0..CLIENTS)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let wish = Command::Subscribe { target: Target::Topic("bars".to_owned()), since: None, batch: None };
            let endpoint = Endpoint::open("/v1/sse", Dialect::Sse);
            let newcomer = Newcomer { wishes: vec![wish], ..Newcomer::over(ours, endpoint.into()) };
            shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
            theirs
        })
        .collect();
    shard.take_all_in(MAX_INBOUND_PER_TURN);
    shard.answer_waiting();
    let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(1 << 20));
    let draft = Draft { kind: "bar", topic: "A", payload: payload.as_bytes(), ..Draft::default() };
    let weight = (0..40).fold(0, |_, _| bars.publish(&draft, None).map(|_| payload.len()).unwrap());
    let most = MAX_COPIED_PER_TURN / (CLIENTS * weight);
    let taken = |shard: &mut super::super::Shard<_>| MAX_INBOUND_PER_TURN - shard.take_all_in(MAX_INBOUND_PER_TURN);
    let first = taken(&mut shard);
    assert!((most..=most + 1).contains(&first) && first < 40, "{first} of 40 at once");
    assert_eq!(taken(&mut shard), 0, "nothing has gone yet");
    shard.distribute();
    assert_eq!(taken(&mut shard), 40 - first);
}
