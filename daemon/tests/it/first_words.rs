//! Who somebody is has to be said where that is asked for, by an endpoint or by a stream alone; what is said behind it
//! waits for it; and what swells is measured before it is anything.

use std::time::{Duration, Instant};

use broadcastd::event::unix_now;
use broadcastd::websocket::deflate;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::dialogue;
use crate::events::Events;
use crate::house::{self, Client, hear_close, hear_json, say};
use crate::http::{self, ask};
use crate::needs;
use crate::process::Daemon;
use crate::raw::{self, Raw, UPGRADE};
use crate::reads::{SECRET, token};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(what_is_said_behind_a_token_is_done_in_its_order),
        needs::nothing(who_says_nothing_is_sent_away_after_five_seconds),
        needs::nothing(a_stream_asks_who_somebody_is_where_its_endpoint_does_not),
        needs::nothing(a_bomb_is_refused_for_its_size_and_disturbs_nobody),
    ]
}

const CONFIG: &str = r#"
[auth]
jwt = { secret = { env = "JWT" } }
[streams.open]
visible = true
[streams.known]
visible = true
auth = "required"
[broadcasters.secret]
plugin = "faulty"
settings = { interval_ms = 10 }
stream = { auth = "required" }
[[server.endpoints]]
path = "/v1/ws"
[[server.endpoints]]
path = "/v1/sse"
dialect = "sse"
[[server.endpoints]]
path = "/first"
auth = "required"
[[server.endpoints]]
path = "/first/streams"
dialect = "streams"
auth = "required"
[[server.endpoints]]
path = "/first/spc"
dialect = "spc"
streams = ["known"]
auth = "required"
"#;
/// Where who somebody is can be said behind the handshake, with the words that it is answered by.
const FIRST: [(&str, &str); 3] =
    [("/first", "authenticated"), ("/first/streams", "authenticated"), ("/first/spc", "auth_ok")];
/// How long a client may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);

fn daemon() -> Daemon {
    Daemon::start_with(CONFIG, &[("JWT", SECRET)])
}

fn token_of(user: &str) -> String {
    token(user, unix_now(), &json!({}))
}

fn subscribe(stream: &str) -> String {
    json!({"type": "subscribe", "stream": stream, "id": stream}).to_string()
}

/// What a client is answered to that, by its code where it is an error.
fn answer_to(client: &mut Client, id: &str) -> Value {
    loop {
        let message = hear_json(client);
        if message["id"] == id {
            let data = &message["data"];
            return if data["code"].is_null() { data["status"].clone() } else { data["code"].clone() };
        }
    }
}

fn what_is_said_behind_a_token_is_done_in_its_order() {
    let daemon = daemon();
    let mut client = dialogue::open(&daemon.clients, "/first");
    let auth = json!({"type": "auth", "token": token_of("user-1"), "id": "auth"}).to_string();
    let ping = json!({"type": "ping", "id": "ping"}).to_string();
    for text in [auth, subscribe("known"), subscribe("nope"), subscribe("secret"), ping] {
        say(&mut client, &text); // nothing is read meanwhile
    }
    let told =
        [("auth", "authenticated"), ("known", "subscribed"), ("nope", "unknown_stream"), ("secret", "subscribed")];
    let mut answers = Vec::new();
    while answers.last().is_none_or(|(id, _)| id != "ping") {
        let message = hear_json(&mut client);
        if let Some(id) = message["id"].as_str() {
            let data = &message["data"];
            let said = data["code"].as_str().or(data["status"].as_str()).unwrap_or_default().to_owned();
            answers.push((id.to_owned(), said));
        }
    }
    let told = told.into_iter().chain([("ping", "pong")]).map(|(id, said)| (id.to_owned(), said.to_owned()));
    assert_eq!(answers, told.collect::<Vec<_>>());
}

/// Hears until something is answered with this word, wherever a dialect has its words.
fn until_said(client: &mut Client, word: &str) {
    let is_it =
        |message: &Value| [&message["type"], &message["status"], &message["data"]["status"]].contains(&&json!(word));
    while !is_it(&hear_json(client)) {}
}

fn who_says_nothing_is_sent_away_after_five_seconds() {
    let daemon = daemon();
    let began = Instant::now();
    let pairs = FIRST.map(|(path, answer)| {
        let silent = dialogue::open(&daemon.clients, path);
        let mut known = dialogue::open(&daemon.clients, path);
        say(&mut known, &json!({"type": "auth", "token": token_of("user-1"), "id": "auth"}).to_string());
        until_said(&mut known, answer);
        (path, silent, known)
    });
    for (path, mut silent, mut known) in pairs {
        let (code, reason) = hear_close(&mut silent);
        assert_eq!((code, &*reason), (4001, "nobody has said who this is within 5 seconds"), "{path}");
        assert!(began.elapsed() >= PATIENCE);
        let wish = json!({"type": "subscribe", "stream": "known", "characteristic_ids": [1], "id": "known"});
        say(&mut known, &wish.to_string());
        until_said(&mut known, "subscribed"); // whoever has said it stays
    }
}

fn a_stream_asks_who_somebody_is_where_its_endpoint_does_not() {
    let daemon = daemon();
    let bearer = token_of("user-1");
    let mut nobody = daemon.connect();
    let mut somebody = dialogue::open(&daemon.clients, &format!("/v1/ws?token={bearer}"));
    for (stream, answer) in
        [("open", "subscribed"), ("known", "authentication_required"), ("secret", "authentication_required")]
    {
        say(&mut nobody, &subscribe(stream));
        assert_eq!(answer_to(&mut nobody, stream), answer, "{stream}");
        say(&mut somebody, &subscribe(stream));
        assert_eq!(answer_to(&mut somebody, stream), "subscribed", "{stream}");
        let headers = [("Authorization", &*format!("Bearer {bearer}"))];
        let line = format!("GET /v1/streams/{stream}/snapshot HTTP/1.1");
        let statuses = [&[][..], &headers].map(|headers| ask(&daemon.clients, &line, headers, b"").status);
        assert_eq!(statuses, [if stream == "open" { 200 } else { 401 }, 200], "{stream}");
    }
    let answer = |query: &str| {
        let mut events = Events::open(&daemon.clients, query, &[]);
        std::iter::repeat_with(|| events.next()).find(|block| block.event != "status").unwrap()
    };
    let refused = answer("topic=known");
    assert_eq!(refused.data["data"]["code"], "authentication_required", "{refused:?}");
    let told = answer(&format!("topic=known&token={bearer}"));
    assert_eq!(told.data["data"]["status"], "subscribed", "{told:?}");
    daemon.publish("known", &json!({"type": "tick", "data": {}}));
    while hear_json(&mut somebody)["stream"] != "known" {}
    say(&mut nobody, &json!({"type": "ping", "id": "ping"}).to_string());
    loop {
        let message = hear_json(&mut nobody);
        assert_ne!(message["stream"], "secret", "{message}");
        if message["id"] == "ping" {
            break;
        }
    }
}

/// A text of 4 MiB that arrives as 4 KiB.
fn a_bomb_is_refused_for_its_size_and_disturbs_nobody() {
    const RSV1: u8 = 0x40;
    let daemon = daemon();
    let mut bystander = daemon.subscriber("open");
    let bomb = deflate::compress(&vec![b' '; 4 << 20], 9);
    assert!(bomb.len() < 8 << 10, "{}", bomb.len());
    let mut raw = Raw::on(http::connect(&daemon.clients));
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")];
    let headers: Vec<(&str, &str)> = UPGRADE.into_iter().chain(offer).collect();
    raw.send(&http::request(&daemon.clients, "GET /v1/ws HTTP/1.1", &headers, b""));
    assert!(raw.head().contains("permessage-deflate"));
    raw.send(&raw::frame(raw::TEXT | RSV1, &bomb));
    let (code, reason) = raw.close();
    assert_eq!(code, 1009, "{reason}");
    daemon.publish("open", &json!({"type": "tick", "data": {}}));
    assert_eq!(house::hear_json(&mut bystander)["type"], "tick");
}
