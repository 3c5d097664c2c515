//! Every code of an error, provoked at every door that has it; and that there are no others.

use std::collections::BTreeSet;
use std::time::Instant;

use broadcastd::describe::native::schema;
use broadcastd::dialect::{Code, Dialect};
use broadcastd::event::{Draft, unix_now};
use broadcastd::hub::settings::Settings;
use broadcastd::hub::stream::MAX_AUDIENCES;
use broadcastd::identity;
use broadcastd::identity::keys::Key;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::dialogue;
use crate::events::Events;
use crate::house::{Client, House, hear_json, say, shard_config};
use crate::http::{self, get};
use crate::needs;
use crate::process::Daemon;
use crate::reads::{SECRET, token};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(every_code_is_told_at_every_door_that_has_it),
        needs::nothing(what_the_daemon_cannot_do_is_its_own_fault),
        needs::nothing(the_codes_are_those_of_code_documents_and_tests),
    ]
}

/// What has to be said to be refused with this code, in each way that there is to say it.
struct Row {
    code: &'static str,
    /// With whose token, if any.
    bearer: Option<&'static str>,
    /// To a WebSocket. The last answer is the refusal.
    said: &'static str,
    /// The query for server-sent events.
    streamed: Option<&'static str>,
    /// A request, its body and the answer's status.
    asked: Option<(&'static str, &'static str, u16)>,
}

const PUBLISH: &str = "POST /v1/streams/ticks/publish HTTP/1.1";
const FAIL: &str = "POST /v1/broadcasters/well/commands/fail HTTP/1.1";
/// What has no row below: only a daemon in a state that is hard to get it into says so.
const INTERNAL: &str = "internal";

const ROWS: [Row; 12] = [
    Row { code: "invalid_json", bearer: Some("opener"), said: "{", streamed: None, asked: Some((PUBLISH, "{", 422)) },
    Row { code: "invalid_message", bearer: None, said: "[]", streamed: None, asked: None },
    Row { code: "unknown_type", bearer: None, said: r#"{"type":"jump"}"#, streamed: None, asked: None },
    Row { code: "missing_stream", bearer: None, said: r#"{"type":"subscribe"}"#, streamed: None, asked: None },
    Row {
        code: "unknown_stream",
        bearer: None,
        said: r#"{"type":"subscribe","stream":"nope"}"#,
        streamed: Some("topic=nope"),
        asked: Some(("GET /v1/streams/nope HTTP/1.1", "", 404)),
    },
    Row {
        code: "invalid_params",
        bearer: None,
        said: r#"{"type":"subscribe","topic":"ticks:A*"}"#,
        streamed: Some("topic=ticks:A*"),
        asked: Some(("GET /v1/streams/ticks/snapshot?topic=ticks:A* HTTP/1.1", "", 400)),
    },
    Row {
        code: "authentication_required",
        bearer: None,
        said: r#"{"type":"subscribe","stream":"known"}"#,
        streamed: Some("topic=known"),
        asked: Some(("GET /v1/streams/known/snapshot HTTP/1.1", "", 401)),
    },
    Row {
        code: "forbidden",
        bearer: Some("opener"),
        said: r#"{"type":"subscribe","stream":"known"}"#,
        streamed: Some("topic=known"),
        asked: Some(("GET /v1/streams/known/snapshot HTTP/1.1", "", 403)),
    },
    Row {
        code: "not_subscribed",
        bearer: None,
        said: r#"{"type":"unsubscribe","stream":"ticks"}"#,
        streamed: None,
        asked: None,
    },
    Row {
        code: "rate_limited",
        bearer: Some("slow"),
        said: r#"{"type":"publish","topic":"ticks","kind":"a","id":1} {"type":"publish","topic":"ticks","kind":"a","id":2}"#,
        streamed: None,
        asked: Some((PUBLISH, r#"[{"type":"a"},{"type":"a"}]"#, 429)),
    },
    Row {
        code: "too_many_subscriptions",
        bearer: None,
        said: r#"{"type":"subscribe","stream":"ticks","params":{"symbol":["A","B","C"]}}"#,
        streamed: Some("topic=ticks:A&topic=ticks:B&topic=ticks:C"),
        asked: None,
    },
    Row {
        code: "command_failed",
        bearer: Some("opener"),
        said: r#"{"type":"command","stream":"well","command":"fail","data":{"kind":"failed"}}"#,
        streamed: None,
        asked: Some((FAIL, r#"{"kind":"failed"}"#, 500)),
    },
];

fn config() -> String {
    let token = |name: &str, more: &str| {
        let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[auth.tokens]]\nname = \"{name}\"\nsha256 = \"{hash}\"\npublish = [\"ticks\"]\n{more}\n")
    };
    [
        "[hub]\nmax_subscriptions = 2\n[streams.ticks]\nvisible = true\ntemplate = \"{symbol}\"\n",
        "[streams.known]\nvisible = true\nauth = \"required\"\n",
        "[broadcasters.well]\nplugin = \"faulty\"\nsettings = { interval_ms = 3600000 }\n",
        &token("opener", "streams = [\"ticks\", \"well\"]\ncommands = [\"fail\"]"),
        // One event, and the next a second later.
        &token("slow", "rate = { events = 1, burst = 1 }"),
    ]
    .concat()
}

/// The code of the last message that is heard before the answer to a ping.
fn refusal(client: &mut Client) -> Value {
    let mut last = Value::Null;
    loop {
        let message = hear_json(client);
        match message["type"].as_str() {
            Some("error") => last = message["data"]["code"].clone(),
            Some("status") if message["data"]["status"] == "pong" => return last,
            _ => {}
        }
    }
}

/// The code of the first block that refuses something.
fn refused_block(address: &str, query: &str, headers: &[(&str, &str)]) -> Value {
    let mut events = Events::open(address, query, headers);
    let mut blocks = std::iter::repeat_with(|| events.next());
    blocks.find(|block| block.event == "refused").map(|block| block.data["data"]["code"].clone()).unwrap()
}

fn every_code_is_told_at_every_door_that_has_it() {
    let daemon = Daemon::start(&config());
    for Row { code, bearer, said, streamed, asked } in ROWS {
        let bearer = bearer.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", &**bearer)).collect();
        let mut client = crate::house::connect(&daemon.clients, &headers).unwrap();
        say(&mut client, said);
        if code == "command_failed" {
            assert_eq!(hear_json(&mut client)["data"]["code"], code, "{said}"); // it may come behind later answers
        } else {
            say(&mut client, r#"{"type":"ping"}"#);
            assert_eq!(refusal(&mut client), code, "{said}");
        }
        if let Some(query) = streamed {
            assert_eq!(refused_block(&daemon.clients, query, &headers), code, "{query}");
        }
        if let Some((line, body, status)) = asked {
            let headers = [&headers[..], &[("Content-Type", "application/json")]].concat();
            let answer = http::ask(&daemon.clients, line, &headers, body.as_bytes());
            // Of two events that come together, the second finds no room even where the first does again.
            let is_partly = code == "rate_limited" && answer.status == 207;
            assert!(is_partly || answer.status == status, "{code}: {line}: {} {}", answer.status, answer.body);
            assert!(answer.body.contains(&format!("\"{code}\"")), "{code}: {line}: {}", answer.body);
        }
    }
}

/// A private stream that has as many logs as it may have has none for one more user.
fn what_the_daemon_cannot_do_is_its_own_fault() {
    let doors =
        [dialogue::endpoint("/v1/ws", Dialect::Native, &["*"]), dialogue::endpoint("/v1/sse", Dialect::Sse, &["*"])];
    let house = House::with(dialogue::serving(doors), shard_config());
    let keys = vec![Key::secret(SECRET.as_bytes()).unwrap()];
    house.verifier.set(identity::Config { keys, ..identity::Config::default() }, Instant::now());
    let mail = house.hub.declare("mail", Settings { private: true, ..Settings::default() });
    for user in 0..MAX_AUDIENCES {
        let (audience, payload) = (format!("u{user}"), b"{}");
        mail.publish(&Draft { kind: "mail", audience: &audience, payload, ..Draft::default() }, None).unwrap();
    }
    let bearer = format!("Bearer {}", token("one-more", unix_now(), &json!({})));
    let headers = [("Authorization", &*bearer)];
    let mut client = house.try_connect(&headers).unwrap();
    say(&mut client, r#"{"type":"subscribe","stream":"mail"}"#);
    assert_eq!(hear_json(&mut client)["data"]["code"], INTERNAL);
    say(&mut client, r#"{"type":"ping"}"#);
    assert_eq!(hear_json(&mut client)["data"]["status"], "pong", "the connection stays");
    assert_eq!(refused_block(&house.address(), "topic=mail", &headers), INTERNAL);
}

fn the_codes_are_those_of_code_documents_and_tests() {
    let set = |codes: Vec<&str>| codes.into_iter().map(str::to_owned).collect::<BTreeSet<String>>();
    let listed = |schema: &Value| set(schema["enum"].as_array().unwrap().iter().filter_map(Value::as_str).collect());
    let code = listed(&schema::<Code>());
    let tested = ROWS.iter().map(|row| row.code).chain([INTERNAL]).collect();
    assert_eq!(set(tested), code);
    let page = include_str!("../../../docs/protocol.md");
    let table = page.split("| `code` | When |\n|---|---|\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let rows = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    assert_eq!(set(rows.collect()), code);
    let daemon = Daemon::start("");
    let served = get(&daemon.clients, "/v1/asyncapi.json").json();
    assert_eq!(listed(&served["components"]["schemas"]["error"]["$defs"]["ErrorCode"]), code);
}
