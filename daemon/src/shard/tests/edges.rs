//! Bounds of what a client may ask, at their edges, and what it is told before it has said who it is and from the end of its
//! token on.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::{CONFIG, Client, House, newcomer_at, standing};
use crate::dialect::{Code, Command, Dialect, Refusal, Target};
use crate::event::{Draft, unix_now};
use crate::hub::Hub;
use crate::hub::settings::Settings;
use crate::identity::keys::Key;
use crate::identity::{self, Auth, Identity, Verifier};
use crate::rate::Rate;
use crate::shard::connection::{MAX_HEARD_BYTES, MAX_WAITING};
use crate::shard::inbox::{Endpoint, Inbound, Inbox, MAX_QUEUED_BYTES, Newcomer};
use crate::shard::poll::Epoll;
use crate::shard::requests::MAX_ANSWERED_PER_TURN;
use crate::shard::{Config, Shard};

const SECRET: &[u8] = b"a secret of tests with forty letters ....";

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

#[test]
fn so_many_bytes_of_requests_wait_and_one_more_ends_the_connection() {
    let (mut shard, ..) = standing();
    let now = shard.now;
    // Masked with zeros: a frame of 16 KiB, of which 16,376 are its text.
    let frame = [&[0x81, 0xfe, 0x3f, 0xf8, 0, 0, 0, 0][..], &[b' '; 0x3ff8]].concat();
    let fitting = MAX_HEARD_BYTES / 0x3ff8 + 1; // the last may be as long as a message may be
    let connection = &mut shard.connections[0];
    connection.hear(&mut frame.repeat(fitting), now);
    assert!(connection.is_open() && connection.waiting.len() == fitting);
    connection.waiting.clear();
    connection.hear(&mut frame.repeat(fitting + 1), now);
    assert!(!connection.is_open());
}

#[test]
fn what_was_asked_before_a_close_is_answered_before_it() {
    let (mut shard, _, mut client) = standing();
    let (close, now) = ([0x88, 0x82, 0, 0, 0, 0, 0x0b, 0xb9], shard.now); // 3001
    let requests = 2 * MAX_ANSWERED_PER_TURN;
    shard.connections[0].hear(&mut [&EMPTY.repeat(requests)[..], &close, &EMPTY].concat(), now);
    assert_eq!(shard.connections[0].waiting.len(), requests, "and nothing behind it");
    shard.dirty.mark(&mut shard.connections[0], 0);
    for _ in 0..3 {
        shard.answer_waiting(); // the first time nobody is known to wait: `hear` alone says it to nobody
        shard.flush();
    }
    let (said, closed) = client.rest();
    assert_eq!((said.matches("\"type\":\"error\"").count(), u16::from(closed.code)), (requests, 3001));
}

#[test]
fn who_has_said_goodbye_and_is_closed_goes_at_once() {
    let (mut shard, _, _client) = standing();
    let now = shard.now;
    let connection = &mut shard.connections[0];
    connection.hear(&mut [&EMPTY[..], &[0x88, 0x80, 0, 0, 0, 0]].concat(), now);
    assert!(connection.is_open(), "it has not been answered");
    connection.close(1008, "", now);
    shard.dirty.mark(&mut shard.connections[0], 0);
    shard.flush();
    assert!(shard.connections.is_empty(), "both have said it");
}

#[test]
fn who_has_said_goodbye_keeps_nobody_busy() {
    let (mut shard, bars, _client) = standing();
    let payload = format!("{{\"pad\":\"{}\"}}", "x".repeat(4 << 20));
    let draft = Draft { kind: "bar", topic: "A", payload: payload.as_bytes(), ..Draft::default() };
    bars.publish(&draft, None).unwrap();
    bars.publish(&draft, None).unwrap();
    shard.take_all_in(8);
    shard.distribute();
    let now = shard.now;
    shard.connections[0].hear(&mut [0x88, 0x80, 0, 0, 0, 0], now);
    shard.config.outbox = 1;
    shard.flush();
    assert_eq!(shard.connections[0].lagged, 0, "what waits is its last");
    assert!(shard.dirty.0.is_empty(), "nothing can be done before it takes some, or its time is over");
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

/// Trusts tokens that are signed with the secret.
fn trust() -> Arc<Verifier> {
    let verifier = Arc::<Verifier>::default();
    let keys = vec![Key::secret(SECRET).unwrap()];
    verifier.set(identity::Config { keys, ..identity::Config::default() }, Instant::now());
    verifier
}

/// A token of `user-1` that lasts for a minute from this moment.
fn token_for_a_minute(unix_ns: i64) -> String {
    let claims = json!({"sub": "user-1", "exp": unix_ns / 1_000_000_000 + 60});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// A user who showed such a token at the door of an endpoint where it hears what is its own.
fn user_since(unix_ns: i64, dialect: Dialect) -> (Newcomer, Client) {
    let wish = Command::Subscribe { target: Target::Topic("mail".to_owned()), since: None, batch: None };
    let wishes = if dialect == Dialect::User { vec![] } else { vec![wish] };
    let streams = vec!["mail".to_owned()];
    let (newcomer, client) = newcomer_at(Endpoint { streams, ..Endpoint::open("/", dialect) });
    let identity = trust().verify(&token_for_a_minute(unix_ns), unix_ns).unwrap();
    (Newcomer { identity: Some(identity), wishes, ..newcomer }, client)
}

#[test]
fn whoever_comes_as_the_token_ends_is_told_so_and_nothing_else() {
    for dialect in [Dialect::Native, Dialect::User] {
        let house = House::new(CONFIG);
        let mail = house.hub.declare("mail", Settings { private: true, ..Settings::default() });
        let letter = Draft { audience: "user-1", kind: "letter", key: "k", payload: b"{}", ..Draft::default() };
        mail.publish(&letter, None).unwrap();
        let (newcomer, mut client) = user_since(unix_now() - 61_000_000_000, dialect);
        house.shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        let (said, close) = client.rest();
        assert!(!said.contains("letter") && !said.to_lowercase().contains("connected"), "{said}");
        assert!(u16::from(close.code) == 4001 && close.reason.contains("expired"), "{close}");
    }
}

#[test]
fn the_end_of_a_token_is_remembered_once_for_each_connection() {
    let queue = Inbox::new(0, MAX_QUEUED_BYTES).unwrap();
    let mut shard = Shard::<Epoll>::new(0, CONFIG, (Hub::new("epoch"), trust()), queue).unwrap();
    let (newcomer, _client) = user_since(unix_now(), Dialect::Native);
    shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
    shard.turn(&mut Vec::new(), Instant::now());
    for _ in 0..3 {
        shard.authenticate(0, &token_for_a_minute(unix_now()), &None).unwrap();
        assert_eq!(shard.endings.len(), 1);
    }
    shard.let_go(0);
    assert_eq!(shard.endings.len(), 0);
}

#[test]
fn what_was_gathered_comes_before_a_token_with_which_it_may_not_be_read() {
    let hub = Hub::new("epoch");
    let bars = hub.declare("bars", Settings::default());
    let queue = Inbox::new(0, MAX_QUEUED_BYTES).unwrap();
    let mut shard = Shard::<Epoll>::new(0, CONFIG, (hub, trust()), queue).unwrap();
    let (mut newcomer, mut client) = newcomer_at(Endpoint::open("/v1/ws", Dialect::Native));
    let (target, batch) = (Target::Topic("bars".to_owned()), Some(Duration::from_secs(1)));
    newcomer.wishes = vec![Command::Subscribe { target, since: None, batch }];
    shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
    let now = Instant::now();
    shard.turn(&mut Vec::new(), now);
    bars.publish(&Draft { kind: "bar", topic: "A", payload: b"{}", ..Draft::default() }, None).unwrap();
    shard.turn(&mut Vec::new(), now);
    let claims = json!({"sub": "user-1", "exp": unix_now() / 1_000_000_000 + 60, "streams": []});
    let reads_nothing = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap();
    shard.authenticate(0, &reads_nothing, &None).unwrap();
    bars.publish(&Draft { kind: "bar", topic: "A", payload: b"{}", ..Draft::default() }, None).unwrap();
    shard.turn(&mut Vec::new(), now + Duration::from_secs(2));
    let said: Vec<String> = (0..6).map(|_| client.next()["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(said, ["status", "response", "full_update", "batch", "response", "error"]);
    client.0.get_ref().set_nonblocking(true).unwrap();
    assert!(client.0.read().is_err(), "and nothing follows");
}

#[test]
fn a_flood_from_its_address_takes_nothing_from_who_is_somebody() {
    let queue = Inbox::new(0, MAX_QUEUED_BYTES).unwrap();
    let mut shard = Shard::<Epoll>::new(0, CONFIG, (Hub::new("epoch"), trust()), queue).unwrap();
    let (newcomer, _client) = user_since(unix_now(), Dialect::Native);
    let peer = Some("192.0.2.1".parse().unwrap());
    shard.inbox.hand(Inbound::Adopt(Box::new(Newcomer { peer, ..newcomer })));
    shard.turn(&mut Vec::new(), Instant::now());
    let refused = |shard: &mut Shard<Epoll>| shard.authenticate(0, "guess", &None).unwrap_err();
    let refusal =
        std::iter::repeat_with(|| refused(&mut shard)).find(|refusal| refusal.code == Code::RateLimited).unwrap();
    assert_eq!(refusal.retry, Some(Duration::from_secs(1)));
    shard.disbelieve(0, &refusal);
    assert!(shard.connections[0].is_open());
    shard.disbelieve(0, &Refusal::new(Code::AuthenticationRequired, "it proves nothing"));
    assert!(!shard.connections[0].is_open());
}

#[test]
fn what_is_private_is_delivered_up_to_the_end_of_the_token_and_not_at_it() {
    for dialect in [Dialect::Native, Dialect::User] {
        let hub = Hub::new("epoch");
        let mail = hub.declare("mail", Settings { private: true, ..Settings::default() });
        let queue = Inbox::new(0, MAX_QUEUED_BYTES).unwrap();
        let mut shard = Shard::<Epoll>::new(0, CONFIG, (hub, Arc::default()), queue).unwrap();
        let (newcomer, mut client) = user_since(unix_now(), dialect);
        shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        let mut deliver_at = |letter: &str, now: Instant| {
            let payload = json!(letter).to_string();
            let draft = Draft { audience: "user-1", kind: "letter", payload: payload.as_bytes(), ..Draft::default() };
            mail.publish(&draft, None).unwrap();
            shard.turn(&mut Vec::new(), now);
            shard.connections[0].standing.until().expect("the token ends")
        };
        let end = deliver_at("first", Instant::now());
        deliver_at("last", end - Duration::from_nanos(1));
        while !client.next_text().contains("last") {}
        deliver_at("late", end);
        let (late, close) = client.rest();
        assert!(!late.contains("late") && u16::from(close.code) == 4001, "{late} {close}");
    }
}
