//! Clients on real sockets: what they say and hear, who gets in, and what reloads do to them.

use libtest_mimic::Trial;
use tungstenite::Message;

use crate::house::{self, House, hear, say};
use crate::needs;

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(a_client_subscribes_hears_events_and_unsubscribes)]
}

fn a_client_subscribes_hears_events_and_unsubscribes() {
    let house = House::start();
    let mut client = house.connect();
    say(&mut client, r#"{"type":"subscribe","topic":"ticks:AAPL","id":"1"}"#);
    assert_eq!(
        hear(&mut client),
        r#"{"type":"response","stream":"ticks","session_id":null,"data":{"status":"subscribed","topic":"ticks:AAPL","epoch":"e1","recovered":false},"timestamp":"…","seq":0,"id":"1"}"#
    );
    assert_eq!(
        hear(&mut client),
        r#"{"type":"full_update","stream":"ticks","session_id":null,"data":{},"timestamp":"…","seq":0,"epoch":"e1","topic":"ticks:AAPL"}"#
    );
    house.publish("ticks", "GOOGL", r#"{"price":1}"#);
    house.publish("ticks", "AAPL", r#"{"price":2}"#);
    house.publish("ticks", "AAPL", r#"{"price":3}"#);
    assert_eq!(
        hear(&mut client),
        r#"{"type":"tick","stream":"ticks","session_id":null,"data":{"price":2},"timestamp":"…","seq":2,"topic":"ticks:AAPL"}"#
    );
    assert_eq!(
        hear(&mut client),
        r#"{"type":"tick","stream":"ticks","session_id":null,"data":{"price":3},"timestamp":"…","seq":3,"prev":2,"topic":"ticks:AAPL"}"#
    );
    say(&mut client, r#"{"type":"unsubscribe","topic":"ticks:AAPL","id":"2"}"#);
    assert_eq!(
        hear(&mut client),
        r#"{"type":"response","stream":"ticks","session_id":null,"data":{"status":"unsubscribed","topic":"ticks:AAPL"},"timestamp":"…","id":"2"}"#
    );
    house.publish("ticks", "AAPL", r#"{"price":4}"#);
    say(&mut client, r#"{"type":"ping","id":"3"}"#);
    assert_eq!(
        hear(&mut client),
        r#"{"type":"status","stream":"system","session_id":null,"data":{"status":"pong"},"timestamp":"…","id":"3"}"#
    );
    client.send(Message::Close(None)).unwrap();
    house::until("the place is given back", || house.hub.stream("ticks").unwrap().figures().subscriptions == 0);
}
