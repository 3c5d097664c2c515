//! What the dialect `spc` asks of a shard: a subscription by being there, and silence about what it has no words for.

use super::*;
use crate::identity::{Auth, Identity};
use crate::shard::poll::{Backend as _, Epoll};

type Standing = crate::shard::Shard<Epoll>;

fn endpoint() -> Endpoint {
    Endpoint { streams: vec!["alerts".to_owned()], snapshot: false, ..Endpoint::open("/ws/samples", Dialect::Spc) }
}

fn alerts(hub: &Hub) -> Arc<Stream> {
    hub.declare("alerts", Settings::default())
}

/// A client that is known to be there.
fn present(house: &House) -> Client {
    let mut client = house.connect_at(endpoint());
    asked(&mut client, json!({"type": "ping"}), json!({"type": "pong"}));
    client
}

fn asked(client: &mut Client, message: Value, answer: Value) {
    client.say(&message);
    assert_eq!(client.next(), answer);
}

fn subscribe(client: &mut Client, ids: Value) {
    let answer = json!({"type": "subscribed", "characteristic_ids": ids});
    asked(client, json!({"type": "subscribe", "characteristic_ids": ids}), answer);
}

/// A shard that turns only when it is told to, with one connection.
fn standing(endpoint: Endpoint, identity: Option<Arc<Identity>>) -> (Standing, Client) {
    let hub = Hub::new("epoch");
    alerts(&hub);
    let queue = crate::shard::inbox::Inbox::new(0, crate::shard::inbox::MAX_QUEUED_BYTES).unwrap();
    let mut shard = Standing::new(0, CONFIG, (hub, Arc::default()), queue).unwrap();
    let (newcomer, client) = newcomer_at(endpoint);
    shard.inbox.hand(Inbound::Adopt(Box::new(Newcomer { identity, ..newcomer })));
    shard.take_all_in(super::super::MAX_INBOUND_PER_TURN);
    shard.answer_waiting();
    (shard, client)
}

/// What came over the sockets is dealt with at this time.
fn turn(shard: &mut Standing, now: Instant) {
    let mut ready = Vec::new();
    shard.backend.wait(Duration::ZERO, &mut ready).unwrap();
    shard.turn(&mut ready, now);
}

#[test]
fn an_acknowledgement_reaches_every_connection_once_whatever_it_is_subscribed_to() {
    let house = House::new(CONFIG);
    let alerts = alerts(&house.hub);
    let (mut bare, mut one, mut several) = (present(&house), present(&house), present(&house));
    subscribe(&mut one, json!([1]));
    subscribe(&mut several, json!([1, "2"]));
    subscribe(&mut several, json!([2, 3]));
    publish(&alerts, "", Flags::default(), r#"{"violation_id":10}"#);
    for client in [&mut bare, &mut one, &mut several] {
        assert_eq!(client.next(), json!({"type": "bar", "payload": {"violation_id": 10}}));
        asked(client, json!({"type": "ping"}), json!({"type": "pong"}));
    }
    publish(&alerts, "2", Flags::default(), r#"{"sample_id":1}"#);
    assert_eq!(several.next()["payload"]["sample_id"], 1);
    let left = json!({"type": "unsubscribed", "characteristic_ids": [2]});
    asked(&mut several, json!({"action": "unsubscribe", "characteristic_id": 2}), left.clone());
    publish(&alerts, "2", Flags::default(), r#"{"sample_id":2}"#);
    asked(&mut several, json!({"action": "unsubscribe", "characteristic_id": 2}), left);
    publish(&alerts, "", Flags::default(), r#"{"violation_id":11}"#);
    for client in [&mut bare, &mut one, &mut several] {
        assert_eq!(client.next()["payload"]["violation_id"], 11);
    }
}

#[test]
fn pings_of_the_application_keep_a_connection_and_silence_ends_it() {
    let (mut shard, mut client) = standing(endpoint(), None);
    let mut now = Instant::now();
    for _ in 0..20 {
        now += Duration::from_secs(30);
        client.say(&json!({"type": "ping"}));
        turn(&mut shard, now);
        assert_eq!(client.next(), json!({"type": "pong"}));
    }
    turn(&mut shard, now + Duration::from_secs(89));
    assert!(shard.connections[0].is_open());
    turn(&mut shard, now + Duration::from_secs(90));
    assert!(!shard.connections[0].is_open());
}

#[test]
fn who_lags_is_closed_because_no_snapshot_could_take_the_place_of_what_it_lost() {
    let house = House::new(Config { outbox: 16 << 10, ..CONFIG });
    let alerts = alerts(&house.hub);
    let mut client = present(&house);
    subscribe(&mut client, json!([1]));
    flood(&alerts, 10_000, Flags::default(), &["1"]);
    let close = client.next_close();
    assert_eq!((u16::from(close.code), &*close.reason), (1013, "too far behind; resume by position"));
}

#[test]
fn a_stream_without_source_is_nothing_on_the_wire() {
    let house = House::new(CONFIG);
    let alerts = alerts(&house.hub);
    alerts.set_source(Source::Absent("stopped".into()));
    let mut client = present(&house);
    subscribe(&mut client, json!([1]));
    alerts.set_source(Source::Running);
    alerts.set_source(Source::Absent("stopped".into()));
    publish(&alerts, "1", Flags::default(), "{}");
    assert_eq!(client.next(), json!({"type": "bar", "payload": {}}));
}

#[test]
fn a_snapshot_comes_message_by_message_where_the_endpoint_has_one() {
    let house = House::new(CONFIG);
    let alerts = alerts(&house.hub);
    let record = |kind: &str, key: &str, payload: &str| {
        let draft = Draft { kind, topic: "1", key, payload: payload.as_bytes(), ..Draft::default() };
        alerts.publish(&draft, None).unwrap();
    };
    record("control_limits", "limits", r#"{"ucl":3.0}"#);
    record("sample", "last", r#"{"sample_id":42}"#);
    record("violation", "v10", r#"{"violation_id":10}"#);
    let mut client = house.connect_at(Endpoint { snapshot: true, ..endpoint() });
    subscribe(&mut client, json!([1]));
    assert_eq!(client.next(), json!({"type": "control_limits", "payload": {"ucl": 3.0}}));
    assert_eq!(client.next(), json!({"type": "violation", "payload": {"violation_id": 10}}));
    asked(&mut client, json!({"type": "ping"}), json!({"type": "pong"}));
}

#[test]
fn being_there_is_a_subscription_only_when_it_is_known_who_that_is() {
    let required = || Endpoint { auth: Auth::Required, ..endpoint() };
    let (mut shard, mut client) = standing(required(), None);
    turn(&mut shard, Instant::now());
    assert!(shard.connections[0].is_open() && shard.connections[0].subscriptions.is_empty());
    client.say(&json!({"type": "subscribe", "characteristic_ids": [1]}));
    turn(&mut shard, Instant::now());
    let refused = json!({"type": "auth_error", "message": "the first message has to be \"auth\", with a token"});
    assert_eq!(client.next(), refused);
    assert_eq!(u16::from(client.next_close().code), 4001);
    let (shard, _client) = standing(required(), Some(Identity::of_user("ann").into()));
    assert_eq!(shard.connections[0].subscriptions.len(), 1);
    let (shard, _client) = standing(endpoint(), None);
    assert_eq!(shard.connections[0].subscriptions.len(), 1);
}
