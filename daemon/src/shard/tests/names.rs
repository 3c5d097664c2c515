//! Who calls a stream by two of its names: what it hears by each, and what only once.

use super::*;

/// A client that has been greeted where `candles` is another name of `bars`.
fn come(path: &'static str, dialect: Dialect) -> (House, Arc<Stream>, Client) {
    let house = House::new(CONFIG);
    let bars = house.hub.declare("bars", Settings::default());
    let aliases = [("candles".to_owned(), "bars".to_owned())].into();
    let mut client = house.connect_at(Endpoint { aliases, ..Endpoint::open(path, dialect) });
    client.next();
    (house, bars, client)
}

#[test]
fn where_the_name_is_said_each_name_has_its_own_newest() {
    let (_house, bars, mut client) = come("/ws", Dialect::Streams);
    for stream in ["bars", "candles"] {
        client.say(&json!({"type": "subscribe", "stream": stream}));
        assert_eq!(
            (client.next()["status"].clone(), client.next()["type"].clone()),
            (json!("subscribed"), json!("full_update"))
        );
    }
    for number in 1..=3 {
        publish(&bars, "A", Flags::LATEST, &json!({"n": number}).to_string());
        let mut said =
            [client.next(), client.next()].map(|event| format!("{} {}", event["stream"], event["data"]["n"]));
        said.sort();
        assert_eq!(said, [format!("\"bars\" {number}"), format!("\"candles\" {number}")]);
    }
}

#[test]
fn where_it_is_not_an_event_comes_once() {
    let (_house, bars, mut client) = come("/v1/ws", Dialect::Native);
    for topic in ["bars:A", "candles:A"] {
        client.subscribe(json!({"type": "subscribe", "topic": topic}));
    }
    for number in 1..=3 {
        publish(&bars, "A", Flags::default(), "{}");
        assert_eq!(client.next()["seq"], number);
    }
}
