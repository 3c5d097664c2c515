//! What a table of `[[server.endpoints]]` says is what its clients meet: generations, what a subscription begins with, the
//! listeners where a path is, and what becomes of mistakes.

use std::os::unix::net::UnixStream;
use std::path::Path;

use broadcastd::event::unix_now;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::dialogue;
use crate::house::{self, Client, hear, hear_close, hear_json, say};
use crate::http::{self, PATIENCE};
use crate::needs;
use crate::process::Daemon;
use crate::raw::UPGRADE;
use crate::reads::{SECRET, token};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(an_endpoint_speaks_to_the_generation_that_it_is_for),
        needs::nothing(a_subscription_begins_with_what_there_is_where_the_endpoint_says_so),
        needs::nothing(an_endpoint_of_one_listener_is_not_at_the_other),
        needs::nothing(a_mistake_ends_a_connection_of_routes),
        needs::nothing(a_mistake_of_one_who_only_listens_is_ignored),
    ]
}

/// A path for each thing that an endpoint can say, beside one where it says nothing.
const CONFIG: &str = r#"
[auth]
jwt = { secret = { env = "JWT" } }
[streams.bars]
visible = true
template = "{symbol}:{resolution=1}"
[streams.alerts]
visible = true
[streams.user]
visible = true
private = true

[[server.endpoints]]
path = "/v1/ws"
[[server.endpoints]]
path = "/native/bare"
snapshot = false
[[server.endpoints]]
path = "/fastws"
dialect = "fastws"
streams = ["bars"]
[[server.endpoints]]
path = "/fastws/a"
dialect = "fastws"
streams = ["bars"]
revision = "a"
[[server.endpoints]]
path = "/fastws/c"
dialect = "fastws"
streams = ["bars"]
revision = "c"
[[server.endpoints]]
path = "/fastws/snapshot"
dialect = "fastws"
streams = ["bars"]
snapshot = true
[[server.endpoints]]
path = "/spc"
dialect = "spc"
streams = ["alerts"]
[[server.endpoints]]
path = "/spc/snapshot"
dialect = "spc"
streams = ["alerts"]
snapshot = true
[[server.endpoints]]
path = "/user"
dialect = "user"
streams = ["user"]
auth = "required"
"#;
/// What a client of each generation says to hear of the same bars.
const SUBSCRIBE_A: &str = r#"{"type":"bars.subscribe","payload":{"symbol":"AAPL","params":{"resolution":"1"}}}"#;
const SUBSCRIBE_C: &str = r#"{"type":"bars.subscribe","payload":{"symbol":"AAPL","resolution":"1"}}"#;
const SUBSCRIBED_A: &str = r#"{"type":"bars.subscribe.response","payload":{"status":"ok","symbol":"AAPL","message":"Subscribed to AAPL","topic":"bars:AAPL:1"}}"#;
const SUBSCRIBED_C: &str = r#"{"type":"bars.subscribe.response","payload":{"status":"ok","message":"Subscribed","topic":"bars:{\"resolution\":\"1\",\"symbol\":\"AAPL\"}"}}"#;

fn daemon() -> Daemon {
    Daemon::start_with(CONFIG, &[("JWT", SECRET)])
}

fn publish(daemon: &Daemon, stream: &str, event: &Value) {
    let answer = daemon.publish(stream, event);
    assert_eq!(answer.status, 202, "{answer:?}");
}

fn publish_bar(daemon: &Daemon, time: u64) {
    let bar = json!({"symbol": "AAPL", "time": time, "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1});
    publish(daemon, "bars", &json!({"type": "bar", "topic": "bars:AAPL:1", "key": "current", "data": bar}));
}

fn bar(time: u64) -> String {
    format!(r#"{{"time":{time},"open":1,"high":1,"low":1,"close":1,"volume":1}}"#)
}

fn an_endpoint_speaks_to_the_generation_that_it_is_for() {
    let daemon = daemon();
    let of_a = (SUBSCRIBE_A, SUBSCRIBED_A, format!(r#"{{"type":"bars.update","payload":{}}}"#, bar(1)));
    let topic = r#""bars:{\"resolution\":\"1\",\"symbol\":\"AAPL\"}""#;
    let told = format!(r#"{{"type":"bars.update","payload":{{"topic":{topic},"payload":{}}}}}"#, bar(1));
    let of_c = (SUBSCRIBE_C, SUBSCRIBED_C, told);
    let rows = [("/fastws", &of_a), ("/fastws/a", &of_a), ("/fastws/c", &of_c)];
    let mut clients = rows.map(|(path, (asked, answer, update))| {
        let mut client = dialogue::open(&daemon.clients, path);
        say(&mut client, asked);
        assert_eq!(hear(&mut client), *answer, "{path}");
        (path, client, update)
    });
    publish_bar(&daemon, 1);
    for (path, client, update) in &mut clients {
        assert_eq!(hear(client), **update, "{path}");
    }
    // What one generation says is a mistake to the other.
    let mut stranger = dialogue::open(&daemon.clients, "/fastws/c");
    say(&mut stranger, SUBSCRIBE_A);
    assert_eq!(hear_close(&mut stranger), (1003, "Could not validate payload".to_owned()));
}

fn a_subscription_begins_with_what_there_is_where_the_endpoint_says_so() {
    let daemon = daemon();
    publish_bar(&daemon, 1);
    for (kind, data) in [("control_limits", json!({"ucl": 3.0})), ("violation", json!({"violation_id": 10}))] {
        publish(&daemon, "alerts", &json!({"type": kind, "topic": "alerts:1", "key": kind, "data": data}));
    }
    let time = |client: &mut Client| hear_json(client)["payload"]["time"].clone();
    let bars = |path: &str| {
        let mut client = dialogue::open(&daemon.clients, path);
        say(&mut client, SUBSCRIBE_A);
        assert_eq!(hear(&mut client), SUBSCRIBED_A, "{path}");
        client
    };
    let (mut with, mut without) = (bars("/fastws/snapshot"), bars("/fastws"));
    assert_eq!(time(&mut with), 1);
    publish_bar(&daemon, 2);
    assert_eq!([time(&mut with), time(&mut without)], [2, 2]);

    let types = |path: &str, subscribe: &str, ping: &str| {
        let mut client = dialogue::open(&daemon.clients, path);
        say(&mut client, subscribe);
        say(&mut client, ping);
        let mut types = Vec::new();
        loop {
            let heard = hear_json(&mut client);
            if heard["type"] == "pong" || heard["id"] == "ping" {
                return types;
            }
            types.push(heard["type"].as_str().unwrap().to_owned());
        }
    };
    let spc = |path: &str| types(path, r#"{"type":"subscribe","characteristic_ids":[1]}"#, r#"{"type":"ping"}"#);
    assert_eq!(spc("/spc"), ["subscribed"]);
    assert_eq!(spc("/spc/snapshot"), ["subscribed", "control_limits", "violation"]);
    let native = |path: &str| types(path, r#"{"type":"subscribe","stream":"bars"}"#, r#"{"type":"ping","id":"ping"}"#);
    assert_eq!(native("/v1/ws"), ["status", "response", "full_update"]);
    assert_eq!(native("/native/bare"), ["status", "response"]);
}

fn an_endpoint_of_one_listener_is_not_at_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients.sock");
    let (port, socket) = ("127.0.0.1:0", format!("unix:{}", file.display()));
    let at = |path: &str, listen: &str| format!("[[server.endpoints]]\npath = \"{path}\"\nlisten = \"{listen}\"\n");
    let everywhere = "[[server.endpoints]]\npath = \"/both\"\n";
    let config = format!("{everywhere}{}{}", at("/port", port), at("/socket", &socket));
    let daemon = Daemon::start_with(&config, &[("BROADCASTD_SERVER__LISTEN", &format!("{port},{socket}"))]);
    let by_port = |path: &str| status(house::open(http::connect(&daemon.clients), &uri(path), &[]));
    let by_socket = |path: &str| status(house::open(connect(&file), &uri(path), &[]));
    assert_eq!(["/both", "/port", "/socket"].map(by_port), [101, 101, 404]);
    assert_eq!(["/both", "/port", "/socket"].map(by_socket), [101, 404, 101]);
    let refused = http::ask(&daemon.clients, "GET /socket HTTP/1.1", &UPGRADE, b"");
    assert_eq!(refused.json()["error"]["code"], "unknown_path", "{refused:?}");
}

fn uri(path: &str) -> String {
    format!("ws://localhost{path}")
}

fn connect(file: &Path) -> UnixStream {
    let socket = UnixStream::connect(file).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// What a handshake is answered; whoever gets in has heard the greeting.
fn status<T>(answer: Result<T, http::Answer>) -> u16 {
    answer.map_or_else(|refused| refused.status, |_| 101)
}

fn a_mistake_ends_a_connection_of_routes() {
    let daemon = daemon();
    let bystander = &mut dialogue::open(&daemon.clients, "/fastws/a");
    say(bystander, SUBSCRIBE_A);
    assert_eq!(hear(bystander), SUBSCRIBED_A);
    let text = |text: &str| Message::text(text);
    let rows = [
        (text("hello"), "Could not decode message"),
        (text(r#"{"type":"bars.subscribe""#), "Could not decode message"),
        (Message::binary(SUBSCRIBE_A.as_bytes().to_vec()), "Could not decode message"),
        (text(r#"{"type":"ping"}"#), "No matching type"),
        (text(r#"{"type":"bars.jump","payload":{"symbol":"AAPL"}}"#), "No matching type"),
        (text(r#"{"type":"alerts.subscribe","payload":{"symbol":"AAPL"}}"#), "No matching type"),
        (text("[]"), "Could not validate payload"),
        (text("{}"), "Could not validate payload"),
        (text(r#"{"type":"bars.subscribe"}"#), "Could not validate payload"),
        (text(r#"{"type":"bars.subscribe","payload":{}}"#), "Could not validate payload"),
        (text(r#"{"type":"bars.subscribe","payload":{"symbol":7}}"#), "Could not validate payload"),
    ];
    for path in ["/fastws/a", "/fastws/c"] {
        for (said, reason) in &rows {
            let mut client = dialogue::open(&daemon.clients, path);
            client.send(said.clone()).unwrap();
            assert_eq!(hear_close(&mut client), (1003, (*reason).to_owned()), "{path}: {said:?}");
        }
    }
    publish_bar(&daemon, 1);
    assert_eq!(hear_json(bystander)["payload"]["time"], 1, "nobody else is disturbed");
}

fn a_mistake_of_one_who_only_listens_is_ignored() {
    let daemon = daemon();
    let bearer = token("user-1", unix_now(), &json!({}));
    let mut client = dialogue::open(&daemon.clients, &format!("/user?token={bearer}"));
    let json = |message: Message| -> Value { serde_json::from_str(message.to_text().unwrap()).unwrap() };
    assert_eq!(json(client.read().unwrap())["type"], "CONNECTED");
    for mistake in ["hello", "{", "[]", "{}", r#"{"type":"jump"}"#, r#"{"type":"subscribe"}"#, r#"{"type":"ping"}"#] {
        say(&mut client, mistake);
    }
    client.send(Message::binary(vec![0xff, 0xfe])).unwrap();
    // The answer to this comes behind whatever the mistakes would have been answered with.
    client.send(Message::Ping("done".into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("done".into()), "nothing is said to any of it");
    publish(&daemon, "user", &json!({"type": "PNL_UPDATE", "audience": "user-1", "data": {"totalPnL": 1}}));
    let told = json(client.read().unwrap());
    assert_eq!((&told["type"], &told["data"]), (&json!("PNL_UPDATE"), &json!({"pnl": {"totalPnL": 1}})));
}
