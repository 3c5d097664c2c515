//! Who calls a stream by two of its names: what it hears by each, and what only once.

use super::*;

/// An endpoint where `candles` is another name of `bars`.
fn endpoint(path: &'static str, dialect: Dialect) -> Endpoint {
    Endpoint { aliases: [("candles".to_owned(), "bars".to_owned())].into(), ..Endpoint::open(path, dialect) }
}

#[test]
fn where_the_name_is_said_each_name_has_its_own_newest() {
    let house = House::new(CONFIG);
    let bars = house.hub.declare("bars", Settings::default());
    let mut client = house.connect_at(endpoint("/ws", Dialect::Streams));
    client.next();
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
    let house = House::new(CONFIG);
    let bars = house.hub.declare("bars", Settings::default());
    let mut client = house.connect_at(endpoint("/v1/ws", Dialect::Native));
    client.next();
    for topic in ["bars:A", "candles:A"] {
        client.subscribe(json!({"type": "subscribe", "topic": topic}));
    }
    for number in 1..=3 {
        publish(&bars, "A", Flags::default(), "{}");
        assert_eq!(client.next()["seq"], number);
    }
}
