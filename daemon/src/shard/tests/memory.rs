//! What waiting costs: shared bytes count once, and when memory is short whoever has most waiting lets go first.

use super::*;
use crate::hub::history::Bounds;

/// No client lags for its own bound.
const ROOMY: Config = Config { outbox: 64 << 20, ..CONFIG };

/// A stream that keeps nothing: what it has published weighs only as long as it waits for somebody.
fn forgetful(house: &House) -> Arc<Stream> {
    let history = Bounds { events: 0, ..Bounds::default() };
    house.hub.declare("bars", Settings { limits: Limits { history, ..Limits::default() }, ..Settings::default() })
}

/// A client that reads nothing more after its snapshot.
fn stuck(house: &House, topic: &str) -> Client {
    let mut client = house.greeted();
    client.subscribe(json!({"type": "subscribe", "topic": topic}));
    client
}

/// Publishes, and returns when the shard has put everything before everybody.
fn flood_through(house: &House, bars: &Stream, count: usize, topic: &str) {
    let mut fast = house.greeted();
    fast.subscribe(json!({"type": "subscribe", "topic": "bars:END:1"}));
    flood(bars, count, Flags::default(), &[topic]);
    let draft = Draft { kind: "end", topic: "END:1", payload: b"{}", ..Draft::default() };
    bars.publish(&draft, None).unwrap();
    assert_eq!(fast.next()["type"], "end");
}

#[test]
fn a_hundred_who_wait_for_the_same_cost_little_more_than_one() {
    let cost = |clients: usize| {
        let house = House::new(ROOMY);
        let bars = forgetful(&house);
        let waiting: Vec<Client> = (0..clients).map(|_| stuck(&house, "bars:A:1")).collect();
        flood_through(&house, &bars, 3000, "A:1");
        let used = house.hub.memory().used();
        drop(waiting);
        used
    };
    let (one, hundred) = (cost(1), cost(100));
    assert!(one > 3_000_000, "3,000 events of a kilobyte wait: {one}");
    assert!(hundred < one + one / 2, "{hundred} for a hundred, {one} for one");
}

#[test]
fn replaced_records_are_encoded_once_for_all_who_ask_for_the_same() {
    let house = House::new(ROOMY);
    let bars = forgetful(&house);
    let waiting: Vec<Client> = (0..20).map(|_| stuck(&house, "bars:A:1")).collect();
    let record = format!("{{\"pad\":\"{}\"}}", "x".repeat(1 << 20));
    bars.begin_records();
    publish(&bars, "A:1", Flags::RECORD_ONLY, &record);
    bars.end_records();
    let_it_turn(&house, 4);
    let used = house.hub.memory().used();
    assert!((2 << 20..4 << 20).contains(&used), "{used} for the record and one frame that shows it to twenty");
    drop(waiting);
}

#[test]
fn what_is_joined_for_all_counts_until_the_last_has_taken_it() {
    let house = House::new(ROOMY);
    let bars = forgetful(&house);
    let client = stuck(&house, "bars:A:1");
    house.shard.configure(Config { flush: Flush::Every(Duration::from_millis(200)), ..ROOMY });
    publish(&bars, "A:1", Flags::default(), "{}"); // its turn begins the pause
    flood_through(&house, &bars, 3000, "A:1"); // all of this is one turn, and forgotten when it is joined
    let used = house.hub.memory().used();
    assert!(used > 2_500_000, "{used} of 3,000 events of a kilobyte");
    drop(client);
}

#[test]
fn what_nobody_has_any_more_weighs_nothing() {
    let house = House::new(ROOMY);
    let bars = forgetful(&house);
    let client = stuck(&house, "bars:A:1");
    flood_through(&house, &bars, 300, "A:1");
    assert!(house.hub.memory().used() > 0);
    drop(client);
    house.hub.remove("bars");
    drop(bars);
    let House { hub, shard } = house;
    shard.drain(Instant::now());
    shard.wait();
    assert_eq!(hub.memory().used(), 0);
}

#[test]
fn the_largest_laggard_lets_go_first() {
    let house = House::new(ROOMY);
    let bars = forgetful(&house);
    let (mut small, mut large) = (stuck(&house, "bars:A:1"), stuck(&house, "bars:B:1"));
    flood_through(&house, &bars, 600, "A:1");
    let little = house.hub.memory().used();
    flood_through(&house, &bars, 3000, "B:1");
    house.hub.memory().set_bound(little * 2);
    let_it_turn(&house, 4);
    assert!(!house.hub.memory().is_short(), "{} of {}", house.hub.memory().used(), little * 2);
    let numbers = |count: usize, client: &mut Client| -> Vec<u64> {
        (0..count).map(|_| client.next()["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(600, &mut small), (1..=600).collect::<Vec<u64>>(), "the smaller one lost nothing");
    let told = std::iter::repeat_with(|| large.next()).find(|message| message["type"] == "status").unwrap();
    assert_eq!((&told["data"]["status"], &told["data"]["policy"]), (&json!("lagged"), &json!("resync")));
    let shown = large.next();
    assert_eq!(
        (&shown["type"], &shown["resync"], &shown["seq"]),
        (&json!("full_update"), &json!(true), &told["data"]["to"])
    );
}

#[test]
fn what_is_on_its_way_cannot_go_and_keeps_nobody_busy() {
    let (mut shard, bars, _client) = standing();
    publish(&bars, "A:1", Flags::default(), &format!("{{\"pad\":\"{}\"}}", "x".repeat(4 << 20)));
    shard.take_all_in(super::super::MAX_INBOUND_PER_TURN);
    shard.distribute();
    shard.hub.memory().set_bound(1 << 20);
    for _ in 0..2 {
        shard.flush(); // begins it, and the socket takes no more
        shard.relieve_memory();
        assert!(shard.connections[0].is_open() && shard.dirty.0.is_empty());
    }
    assert!(shard.hub.memory().is_short());
}

#[test]
fn a_snapshot_that_had_to_go_is_sent_anew() {
    let house = House::new(ROOMY);
    let bars = forgetful(&house);
    let mut client = stuck(&house, "bars:A:1");
    publish(&bars, "BIG:1", Flags::RECORD_ONLY, &format!("{{\"pad\":\"{}\"}}", "x".repeat(4 << 20)));
    for topic in ["bars:BIG:*", "bars:*:1"] {
        client.say(&json!({"type": "snapshot", "topic": topic})); // each in bytes of its own
    }
    client.say(&json!({"type": "subscribe", "topic": "bars:BIG:1"}));
    while house.hub.memory().used() < 14 << 20 {
        let_it_turn(&house, 1); // one record and three answers that show it
    }
    house.hub.memory().set_bound(12 << 20);
    let_it_turn(&house, 4);
    let messages: Vec<Value> = std::iter::repeat_with(|| client.next()).take(6).collect();
    let kinds: Vec<&str> = messages.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["response", "full_update", "response", "response", "status", "full_update"]);
    assert_eq!(messages[4]["data"], json!({"status": "lagged", "dropped": 0, "from": 1, "to": 1, "policy": "resync"}));
    assert_eq!(messages[5]["resync"], true);
}
