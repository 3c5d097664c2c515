//! Bounds of what a client may ask, at their edges, and what it is told before it has said who it is.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde_json::json;

use super::{CONFIG, Client, House, newcomer_at, standing};
use crate::dialect::Dialect;
use crate::hub::settings::Settings;
use crate::identity::{Auth, Identity};
use crate::rate::Rate;
use crate::shard::Config;
use crate::shard::connection::MAX_WAITING;
use crate::shard::inbox::{Endpoint, Inbound};

/// The smallest message, masked with zeros. It is no request, and is answered so.
const EMPTY: [u8; 6] = [0x81, 0x80, 0, 0, 0, 0];

#[test]
fn so_many_requests_wait_and_one_more_ends_the_connection() {
    let (mut shard, _, mut client) = standing();
    let now = shard.now;
    let connection = &mut shard.connections[0];
    assert!(connection.waiting.is_empty());
    connection.hear(&mut EMPTY.repeat(MAX_WAITING), now); // compressed, one read may bring as many
    assert!(connection.is_open() && connection.waiting.len() == MAX_WAITING);
    connection.hear(&mut EMPTY.to_vec(), now);
    assert!(!connection.is_open());
    shard.dirty.mark(&mut shard.connections[0], 0);
    shard.flush();
    assert_eq!(u16::from(client.next_close().code), 1008);
}

/// What is answered to five events that somebody publishes at once where three commands may be given.
fn answers(identity: Option<Identity>) -> Vec<String> {
    let rate = Rate { per_second: NonZeroU32::MIN, burst: 3 };
    let house = House::new(Config { rate, ..CONFIG });
    house.hub.declare("ticks", Settings::default());
    let (mut newcomer, mut client) = newcomer_at(Endpoint::open("/v1/ws", Dialect::Native));
    newcomer.identity = identity.map(Arc::new);
    house.shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
    assert_eq!(client.next()["data"]["status"], "connected");
    let answer = |client: &mut Client, n: u32| {
        client.say(&json!({"type": "publish", "topic": "ticks", "kind": "tick", "data": {}, "id": n}));
        let data = client.next()["data"].take();
        data["code"].as_str().or(data["status"].as_str()).unwrap().to_owned()
    };
    (0..5).map(|n| answer(&mut client, n)).collect()
}

#[test]
fn only_who_may_publish_is_exempt_from_the_pace_of_commands() {
    let paced = |code| [code, code, code, "rate_limited", "rate_limited"];
    assert_eq!(answers(None), paced("authentication_required"));
    assert_eq!(answers(Some(Identity::of_user("u"))), paced("forbidden"));
    assert_eq!(answers(Some(Identity::of_operator("admin"))), ["accepted"; 5]);
}

#[test]
fn no_stream_is_named_before_who_must_say_who_it_is_has_said_so() {
    let told = |auth, identity: Option<Identity>| {
        let house = House::new(CONFIG);
        house.hub.declare("secret_plans", Settings::default());
        let (mut newcomer, mut client) = newcomer_at(Endpoint { auth, ..Endpoint::open("/v1/ws", Dialect::Native) });
        newcomer.identity = identity.map(Arc::new);
        house.shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        let greeting = client.next_text();
        client.say(&json!({"type": "subscribe", "stream": "nope"}));
        [greeting, client.next_text()].map(|said| said.contains("secret_plans"))
    };
    assert_eq!(told(Auth::Required, None), [false, false]);
    assert_eq!(told(Auth::Required, Some(Identity::of_user("u"))), [true, true]);
    assert_eq!(told(Auth::Optional, None), [true, true]);
}
