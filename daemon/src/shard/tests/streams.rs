//! What the dialect `streams` asks of a shard: to leave a stream by its name alone, and to overlook what it does not know.

use super::*;

fn endpoint() -> Endpoint {
    let aliases = [("session_update".to_owned(), "state_machines".to_owned())].into();
    Endpoint { aliases, ..Endpoint::open("/ws", Dialect::Streams) }
}

fn machines(house: &House) -> Arc<Stream> {
    let template = Template::parse("{session_id}").unwrap();
    house.hub.declare("state_machines", Settings { template, ..Settings::default() })
}

/// The answer to a subscription, whose records follow.
fn subscribed(client: &mut Client, stream: &str, params: Value) -> Value {
    let (answer, records) = answered(client, json!({"type": "subscribe", "stream": stream, "params": params}));
    assert_eq!((&answer["status"], &records["type"]), (&json!("subscribed"), &json!("full_update")));
    answer
}

fn answered(client: &mut Client, message: Value) -> (Value, Value) {
    client.say(&message);
    (client.next(), client.next())
}

fn greeted(house: &House) -> Client {
    let mut client = house.connect_at(endpoint());
    assert_eq!(client.next()["status"], "connected");
    client
}

#[test]
fn a_stream_is_left_by_its_name_with_all_its_sessions() {
    let house = House::new(CONFIG);
    let machines = machines(&house);
    let mut client = greeted(&house);
    subscribed(&mut client, "state_machines", json!({"session_id": "a"}));
    subscribed(&mut client, "state_machines", json!({"session_id": "b"}));
    subscribed(&mut client, "session_update", json!({"session_id": "a"}));
    client.say(&json!({"type": "unsubscribe", "stream": "state_machines"}));
    let left = client.next();
    assert_eq!((&left["status"], &left["stream"]), (&json!("unsubscribed"), &json!("state_machines")));
    publish(&machines, "b", Flags::default(), "{}");
    publish(&machines, "a", Flags::default(), "{}");
    assert_eq!(client.next()["stream"], "session_update", "the other name is another subscription");
    client.say(&json!({"type": "unsubscribe", "stream": "state_machines"}));
    let refused = client.next();
    assert_eq!(
        (&refused["error_code"], &refused["error_message"]),
        (&json!("unsubscription_failed"), &json!("not subscribed to state_machines"))
    );
}

#[test]
fn what_the_template_does_not_have_is_overlooked_and_repeated() {
    let house = House::new(CONFIG);
    let machines = machines(&house);
    let mut client = greeted(&house);
    let params = json!({"session_id": "a", "symbols": ["X"], "filter": {"deep": []}});
    let answer = subscribed(&mut client, "state_machines", params.clone());
    assert_eq!((&answer["params"], &answer["session_id"]), (&params, &json!("a")));
    publish(&machines, "b", Flags::default(), "{}");
    let seq = publish(&machines, "a", Flags::default(), r#"{"mine":true}"#);
    assert_eq!((client.next()["data"]["mine"].clone(), seq), (json!(true), 2));
    client.say(&json!({"type": "subscribe", "stream": "state_machines", "params": {"session_id": {}}}));
    assert_eq!(client.next()["error_code"], "validation_error", "it says which session, but not understandably");
}
