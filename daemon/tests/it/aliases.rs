//! Streams by the other names that an endpoint has for them: one rule for whatever a client says, at every door.

use libtest_mimic::Trial;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::events::Events;
use crate::house::{self, Client, hear_json, say};
use crate::http::{self, Answer};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_stream_is_called_by_its_other_name_at_every_door),
        needs::nothing(another_name_tells_nothing_of_what_is_hidden),
    ]
}

const NAMES: &str = "aliases = { candles = \"ticks\", helper = \"well\", secret = \"hidden\" }";
const BEARER: (&str, &str) = ("Authorization", "Bearer opener");

fn daemon() -> Daemon {
    let hash: String = Sha256::digest("opener").iter().map(|byte| format!("{byte:02x}")).collect();
    Daemon::start(&format!(
        "[[auth.tokens]]\nname = \"feed\"\nsha256 = \"{hash}\"\npublish = [\"ticks:*\"]\ncommands = [\"echo\"]\n\
         [streams.ticks]\nvisible = true\ntemplate = \"{{symbol}}\"\n[streams.hidden]\nvisible = false\n\
         [broadcasters.well]\nplugin = \"faulty\"\nsettings = {{ interval_ms = 3600000 }}\n\
         [[server.endpoints]]\npath = \"/v1/ws\"\n{NAMES}\n[[server.endpoints]]\npath = \"/v1/sse\"\ndialect = \"sse\"\n{NAMES}\n"
    ))
}

fn ask(address: &str, line: &str, body: &Value) -> Answer {
    let headers = [BEARER, ("Content-Type", "application/json")];
    http::ask(address, &format!("{line} HTTP/1.1"), &headers, body.to_string().as_bytes())
}

/// What a client is told to that.
fn answer(client: &mut Client, message: &Value) -> Value {
    say(client, &message.to_string());
    hear_json(client)
}

fn a_stream_is_called_by_its_other_name_at_every_door() {
    let daemon = daemon();
    let mut client = house::connect(&daemon.clients, &[BEARER]).unwrap();
    let event = |topic: &str| json!({"type": "publish", "topic": topic, "kind": "tick", "id": topic});
    for message in [
        event("candles:A"),
        json!({"type": "publish", "stream": "candles", "topic": "ticks:A", "kind": "tick", "id": 1}),
        json!({"type": "publish", "stream": "ticks", "topic": "candles:A", "kind": "tick", "id": 2}),
    ] {
        let accepted = answer(&mut client, &message);
        assert_eq!(
            (&accepted["data"]["status"], &accepted["stream"]),
            (&json!("accepted"), &json!("ticks")),
            "{message}"
        );
    }
    assert_eq!(answer(&mut client, &event("helper:A"))["data"]["code"], "forbidden", "it is a broadcaster's");
    assert_eq!(answer(&mut client, &event("nope:A"))["data"]["code"], "unknown_stream");
    let done = answer(&mut client, &json!({"type": "command", "stream": "helper", "command": "echo", "data": 7}));
    assert_eq!((&done["data"]["status"], &done["stream"]), (&json!("ok"), &json!("helper")));
    for topic in ["candles:A", "ticks:A"] {
        let subscribed = answer(&mut client, &json!({"type": "subscribe", "topic": topic}));
        assert_eq!(subscribed["data"]["topic"], "ticks:A", "{subscribed}");
        assert_eq!(hear_json(&mut client)["type"], "full_update");
    }
    let mut events = Events::open(&daemon.clients, "topic=candles:A", &[]);
    let subscribed = std::iter::repeat_with(|| events.next()).find(|block| block.event != "status").unwrap();
    assert_eq!(subscribed.data["data"]["topic"], "ticks:A", "{subscribed:?}");
    let place = std::iter::repeat_with(|| events.next()).find_map(|block| block.id).unwrap();
    drop(events);
    for query in ["topic=candles:A", "topic=candles:A&topic=ticks:B", "topic=ticks:B&topic=candles:A"] {
        let mut back = Events::open(&daemon.clients, query, &[("Last-Event-ID", &place)]);
        let again = std::iter::repeat_with(|| back.next()).find(|block| block.event != "status").unwrap();
        assert_eq!(again.data["data"]["recovered"], true, "{query}: {again:?}");
    }
    let events =
        json!([{"type": "tick", "topic": "candles:A"}, {"type": "tick", "topic": "ticks:A", "stream": "candles"}]);
    for (line, body, status, pointer, value) in [
        ("POST /v1/streams/candles/publish", events, 202, "/accepted", json!(2)),
        ("POST /v1/broadcasters/helper/commands/echo", json!(7), 200, "/result/payload", json!(7)),
        ("GET /v1/streams/candles", json!(null), 200, "/name", json!("ticks")),
        ("GET /v1/streams/candles/snapshot?topic=candles:A", json!(null), 200, "/topic", json!("ticks:A")),
        ("GET /v1/streams/candles/history?topic=ticks:A&topic=candles:B", json!(null), 200, "/events/4/seq", json!(5)),
        ("GET /v1/streams/candles/history?topic=helper:A", json!(null), 400, "/error/code", json!("invalid_params")),
    ] {
        let answer = ask(&daemon.clients, line, &body);
        assert_eq!((answer.status, answer.json().pointer(pointer)), (status, Some(&value)), "{line}: {}", answer.body);
    }
    let operators = ask(&daemon.admin, "GET /v1/streams/candles", &json!(null));
    assert_eq!(operators.status, 404, "operators call streams by their own names");
}

fn another_name_tells_nothing_of_what_is_hidden() {
    let daemon = daemon();
    let told = |line: &str, called: &str| {
        let answer = ask(&daemon.clients, &line.replace("CALLED", called), &json!({"type": "tick"}));
        (answer.status, answer.body.replace(called, "it"))
    };
    for line in [
        "GET /v1/streams/CALLED",
        "GET /v1/streams/CALLED/snapshot?topic=CALLED:A",
        "POST /v1/broadcasters/CALLED/commands/echo",
        "GET /v1/streams/ticks/history?topic=CALLED:A",
    ] {
        assert_eq!(told(line, "secret"), told(line, "nobody"), "{line}");
    }
    let mut client = daemon.connect();
    let mut refused = |called: &str| {
        let refused = answer(&mut client, &json!({"type": "subscribe", "stream": called}));
        refused["data"].to_string().replace(called, "it")
    };
    assert_eq!(refused("secret"), refused("nobody"));
}
