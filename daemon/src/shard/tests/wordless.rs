//! Clients of dialects without a word for a loss: newer events take the place of older ones, or the client comes back and
//! begins anew.

use super::*;
use crate::dialect::fastws::Revision;
use crate::identity::{Auth, Identity};

/// A client at an endpoint of its own, as whoever it is.
fn enter(house: &House, dialect: Dialect, user: Option<&str>) -> Client {
    let (newcomer, client) = newcomer();
    let endpoint = match dialect {
        Dialect::User => {
            Endpoint { streams: vec!["user".to_owned()], auth: Auth::Required, ..Endpoint::open("/ws/user", dialect) }
        }
        _ => Endpoint { snapshot: false, ..Endpoint::open("/api/v1/ws", dialect) },
    };
    let identity = user.map(|user| Arc::new(Identity::of_user(user)));
    let newcomer = Newcomer { endpoint: endpoint.into(), identity, ..newcomer };
    house.shard.inbox.hand(Inbound::Adopt(Box::new(newcomer)));
    client
}

fn bars_client(house: &House) -> Client {
    let mut client = enter(house, Dialect::Fastws(Revision::A), None);
    client.say(&json!({"type": "bars.subscribe", "payload": {"symbol": "A"}}));
    assert_eq!(client.next()["type"], "bars.subscribe.response");
    client
}

#[test]
fn who_has_no_word_for_a_loss_is_closed_whatever_the_policy() {
    let house = House::new(CONFIG);
    let bars = house.bars(Lag::Resync);
    let mut slow = bars_client(&house);
    let payload = json!({"pad": "x".repeat(1000)}).to_string(); // of a kind that is shown whole
    for _ in 0..3000 {
        let draft = Draft { kind: "note", topic: "A:1", payload: payload.as_bytes(), ..Draft::default() };
        bars.publish(&draft, None).unwrap();
    }
    let close = slow.next_close();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1013, "too far behind; resume by position"));
}

#[test]
fn newer_bars_take_the_place_of_those_that_wait_and_nothing_is_said() {
    let house = House::new(Config { outbox: 8 << 20, ..CONFIG });
    let bars = house.bars(Lag::Disconnect);
    let mut slow = bars_client(&house);
    let mut fast = bars_client(&house);
    let payload = |number: u64| format!("{{\"time\":{number}}}");
    for number in 1..=20_000 {
        publish(&bars, "A:1", Flags::LATEST, &payload(number));
        if number % 1000 == 0 {
            while fast.next()["payload"]["time"] != number {} // so that the shard has turned
        }
    }
    let (mut newest, mut events) = (0, 0);
    while newest < 20_000 {
        let update = slow.next();
        assert_eq!(update["type"], "bars.update", "{update}");
        let time = update["payload"]["time"].as_u64().unwrap();
        assert!(time > newest, "{time} after {newest}");
        (newest, events) = (time, events + 1);
    }
    assert!(events < 20_000, "nothing was replaced");
}

#[test]
fn a_user_who_lags_comes_back_to_the_newest_of_everything_and_holds_up_nobody() {
    let house = House::new(CONFIG);
    let user = house.hub.declare("user", Settings { private: true, ..Settings::default() });
    let tell = |audience: &str, number: u32, pad: usize| {
        let payload = json!({"totalPnL": number, "pad": "x".repeat(pad)}).to_string();
        let draft = Draft { kind: "PNL_UPDATE", key: "pnl", audience, payload: payload.as_bytes(), ..Draft::default() };
        user.publish(&draft, None).unwrap();
    };
    let mut slow = enter(&house, Dialect::User, Some("user-1"));
    let mut other = enter(&house, Dialect::User, Some("user-10"));
    assert_eq!((&slow.next()["user_id"], &other.next()["user_id"]), (&json!("user-1"), &json!("user-10")));
    for number in 1..=3000 {
        tell("user-1", number, 1000);
    }
    tell("user-10", 7, 0);
    assert_eq!(other.next()["data"]["pnl"]["totalPnL"], 7);
    assert_eq!(u16::from(slow.next_close().code), 1013);
    let mut back = enter(&house, Dialect::User, Some("user-1"));
    assert_eq!(back.next()["type"], "CONNECTED");
    assert_eq!(back.next()["data"]["pnl"]["totalPnL"], 3000);
    tell("user-1", 3001, 0);
    assert_eq!(back.next()["data"]["pnl"]["totalPnL"], 3001);
}
