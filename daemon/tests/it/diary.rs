//! The daemon's own stream, as operators see it on the admin listener of the real daemon, and as nobody else does.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use broadcastd::server::upgrade::MAX_OPERATORS;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::house::{self, Client, hear, hear_json, say, subscribe};
use crate::http::{self, Answer};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(every_change_of_a_broadcaster_is_told_in_order),
        needs::nothing(a_record_shows_each_broadcaster_as_it_is_until_it_is_gone),
        needs::nothing(reloads_are_told_and_the_stream_outlives_them),
        needs::nothing(it_keeps_as_much_history_as_the_hub_says),
        needs::nothing(figures_come_once_a_second_and_are_true),
        needs::nothing(server_sent_events_show_the_same),
        needs::nothing(draining_is_told_before_connections_end),
        needs::nothing(clients_know_of_no_such_stream),
        needs::nothing(operators_see_invisible_streams_and_nobodys_private_events),
        needs::nothing(only_who_may_see_the_pages_gets_in),
        needs::nothing(operators_get_in_when_clients_have_every_place),
        needs::nothing(there_are_so_many_places_for_operators_and_no_more),
        needs::nothing(who_has_not_said_that_he_is_an_operator_takes_no_place_of_one),
    ]
}

const WELL: &str = "[streams.ticks]\nvisible = true\n[broadcasters.well]\nplugin = \"faulty\"\n";
const BAD: &str = "[broadcasters.bad]\nplugin = \"faulty\"\n\
    settings = { mode = \"panic\", at = \"timer\", interval_ms = 20 }\nrestart = { max = 3, backoff = \"10ms..20ms\" }\n";

fn operator(daemon: &Daemon) -> Client {
    house::connect(&daemon.admin, &[]).unwrap()
}

/// Subscribes to a topic of the daemon's stream and returns its records.
fn watch(client: &mut Client, topic: &str) -> Value {
    say(client, &json!({"type": "subscribe", "topic": topic}).to_string());
    let answer = hear_json(client);
    assert_eq!(answer["data"]["status"], "subscribed", "{answer}");
    hear_json(client)["data"].take()
}

/// An operator who has been told that the broadcasters are like this.
fn settled(daemon: &Daemon, expected: &[(&str, &str)]) -> Client {
    let mut client = operator(daemon);
    let shown = watch(&mut client, "daemon:broadcasters")["broadcasters"].take();
    let state = |told: &Value| ["name", "state"].map(|key| told[key].as_str().unwrap().to_owned());
    let mut states: BTreeMap<String, String> = shown.as_array().unwrap().iter().map(|one| state(one).into()).collect();
    while !states.iter().map(|(name, state)| (name.as_str(), state.as_str())).eq(expected.iter().copied()) {
        let [name, state] = state(&hear_json(&mut client)["data"]);
        states.insert(name, state);
    }
    client
}

fn error(client: &mut Client) -> (Value, Value) {
    let mut error = hear_json(client);
    assert_eq!(error["type"], "error", "{error}");
    (error["data"]["code"].take(), error["data"]["message"].take())
}

fn get(address: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    http::ask(address, &format!("GET {path} HTTP/1.1"), headers, b"")
}

/// The lines of server-sent events.
fn events(address: &str, topics: &str) -> impl Iterator<Item = String> {
    let mut socket = http::connect(address);
    let path = format!("GET /v1/sse?topic={topics} HTTP/1.1");
    socket.write_all(&http::request(address, &path, &[], b"")).unwrap();
    let mut lines = BufReader::new(socket).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK");
    lines
}

/// The text with `…` for what differs from run to run; figures take numbers between the others.
fn without_chance(text: &str) -> String {
    let spans = [
        ("\"timestamp\":\"", "\""),
        ("\"epoch\":\"", "\""),
        ("\"seq\":", ","),
        ("\"prev\":", ","),
        ("panicked at ", ": "),
    ];
    // Plugins here have the daemon's own version, and a release is no other story.
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    spans.iter().fold(text, |text, (before, behind)| match text.split_once(before) {
        Some((start, rest)) => {
            let end = rest.find(behind).unwrap_or_else(|| panic!("{text}"));
            format!("{start}{before}…{}", &rest[end..])
        }
        None => text,
    })
}

fn every_change_of_a_broadcaster_is_told_in_order() {
    let daemon = Daemon::start(WELL);
    drop(settled(&daemon, &[("well", "running")]));
    let mut transcript = String::new();
    let mut step = |client: &mut Client, said: &str, heard: usize| {
        if !said.is_empty() {
            say(client, said);
            transcript += &format!("> {said}\n");
        }
        for _ in 0..heard {
            transcript += &format!("< {}\n", without_chance(&hear(client)));
        }
    };
    let mut client = operator(&daemon);
    step(&mut client, r#"{"type":"streams","id":"1"}"#, 1);
    step(&mut client, r#"{"type":"subscribe","topic":"daemon:broadcasters","id":"2"}"#, 2);
    daemon.reload(|| daemon.configure(&format!("{WELL}{BAD}")));
    step(&mut client, "", 9);
    let mut later = operator(&daemon);
    step(&mut later, r#"{"type":"subscribe","topic":"daemon:reloads","id":"3"}"#, 2);
    daemon.refuse(|| daemon.configure(&format!("{WELL}visble = true\n")));
    step(&mut later, "", 1);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/daemon-stream.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &transcript).unwrap();
    }
    assert_eq!(transcript, fs::read_to_string(&path).unwrap_or_default());
}

fn a_record_shows_each_broadcaster_as_it_is_until_it_is_gone() {
    let rests = "[broadcasters.rests]\nplugin = \"faulty\"\nenabled = false\n";
    let daemon = Daemon::start(&format!("{WELL}{rests}"));
    let mut client = settled(&daemon, &[("rests", "stopped"), ("well", "running")]);
    daemon.reload(|| daemon.configure("[streams.ticks]\nvisible = true\n"));
    let mut told: Vec<(Value, Value)> = Vec::new();
    for _ in 0..3 {
        let mut event = hear_json(&mut client);
        told.push((event["data"]["name"].take(), event["data"]["state"].take()));
    }
    let told: Vec<_> = told.iter().map(|(name, state)| (name.as_str().unwrap(), state.as_str().unwrap())).collect();
    assert_eq!(told, [("well", "stopped"), ("rests", "removed"), ("well", "removed")]);
    assert_eq!(watch(&mut operator(&daemon), "daemon:broadcasters")["broadcasters"], json!([]));
}

fn reloads_are_told_and_the_stream_outlives_them() {
    let daemon = Daemon::start(WELL);
    let mut client = operator(&daemon);
    assert_eq!(watch(&mut client, "daemon:reloads")["reloads"], json!([]));
    daemon.reload(|| daemon.configure(&format!("{WELL}settings = {{ interval_ms = 50 }}\n[broadcasters.more]\nplugin = \"faulty\"\n[plugins]\ndirs = [\"elsewhere\"]\n")));
    let mut applied = hear_json(&mut client);
    let text = applied["data"].as_object_mut().unwrap().remove("text").unwrap();
    assert!(text.as_str().unwrap().contains("+ broadcaster more: starts"), "{text}");
    assert_eq!((&applied["type"], &applied["stream"]), (&json!("reload"), &json!("daemon")));
    let changes = json!([{"change": "start", "broadcaster": "more"}, {"change": "reconfigure", "broadcaster": "well"}]);
    assert_eq!(applied["data"], json!({"outcome": "applied", "changes": changes, "waiting": ["plugins.dirs"]}));
    let mistakes = (0..7).map(|number| format!("nonsense{number} = 1\n")).collect::<String>();
    daemon.refuse(|| daemon.configure(&format!("{WELL}{mistakes}")));
    let refused = hear_json(&mut client);
    assert_eq!((&refused["data"]["outcome"], &refused["data"]["mistakes"]), (&json!("refused"), &json!(7)));
    let messages = refused["data"]["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 5, "{refused}");
    assert!(messages[0].as_str().unwrap().contains("nonsense0"), "{refused}");
    daemon.refuse(|| fs::remove_file(daemon.folder.path().join("config.toml")).unwrap());
    assert_eq!(hear_json(&mut client)["data"]["mistakes"], 1);
    assert_eq!(watch(&mut operator(&daemon), "daemon:reloads")["reloads"][0]["outcome"], "refused");
}

fn it_keeps_as_much_history_as_the_hub_says() {
    let daemon = Daemon::start(WELL);
    let kept = || {
        let answer = get(&daemon.admin, "/v1/streams/daemon/history", &[]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str::<Value>(&answer.body).unwrap()["events"].as_array().unwrap().len()
    };
    drop(settled(&daemon, &[("well", "running")]));
    assert!(kept() > 0);
    daemon.reload(|| daemon.configure(&format!("[hub]\nhistory = {{ events = 0 }}\n{WELL}")));
    assert_eq!(kept(), 0);
}

fn figures_come_once_a_second_and_are_true() {
    let daemon = Daemon::start("[streams.ticks]\nvisible = true\n");
    let _client = daemon.subscriber("ticks");
    let mut client = operator(&daemon);
    watch(&mut client, "daemon:figures");
    let mut before = hear_json(&mut client);
    for _ in 0..2 {
        let next = hear_json(&mut client);
        assert_eq!((&next["type"], &next["prev"]), (&json!("figures"), &before["seq"]), "none is missing");
        before = next;
    }
    let quiet = &before["data"];
    let counts = ["connections", "subscriptions", "lagged"].map(|name| quiet[name].as_u64());
    assert_eq!(counts, [Some(2), Some(1), Some(0)], "{quiet}");
    let rates = ["published_per_s", "delivered_per_s"].map(|name| quiet[name].as_f64());
    assert_eq!(rates, [Some(0.0), Some(0.0)], "what the daemon tells of itself does not count: {quiet}");
    assert!(quiet["memory_bytes"].as_u64() > Some(0), "{quiet}");
    assert_eq!(quiet["streams"], json!({"ticks": {"published_per_s": 0.0, "subscriptions": 1}}), "{quiet}");
    let waits = ["p50", "p99"].map(|part| quiet["publish_to_write_ms"][part].as_f64());
    assert!(waits[0] > Some(0.0) && waits[0] <= waits[1], "the figures before were written: {quiet}");
    assert_eq!(daemon.publish("ticks", &json!([{"type": "tick"}, {"type": "tick"}])).status, 202);
    let mut published = 0.0;
    while published == 0.0 {
        let next = hear_json(&mut client);
        published = next["data"]["published_per_s"].as_f64().unwrap();
    }
    assert!(published <= 2.0, "{published}");
}

fn server_sent_events_show_the_same() {
    let daemon = Daemon::start(WELL);
    drop(settled(&daemon, &[("well", "running")]));
    let mut lines = events(&daemon.admin, "daemon:broadcasters&topic=daemon:figures");
    let records = lines.find(|line| line.contains("\"broadcasters\"")).unwrap();
    assert!(records.contains("\"state\":\"running\""), "{records}");
    assert!(lines.any(|line| line == "event: figures"));
}

fn draining_is_told_before_connections_end() {
    let daemon = Daemon::start(WELL);
    let mut client = operator(&daemon);
    watch(&mut client, "daemon:reloads");
    daemon.signal("TERM");
    let told = hear_json(&mut client);
    assert_eq!((&told["type"], &told["data"]), (&json!("draining"), &json!({"deadline_s": 10.0})));
    assert_eq!(house::hear_close(&mut client).0, 1001);
    assert_eq!(daemon.wait().0.code(), Some(0));
}

fn clients_know_of_no_such_stream() {
    let endpoint = "[[server.endpoints]]\npath = \"/v1/ws\"\nstreams = [\"daemon\", \"ticks\"]\n";
    for config in [WELL.to_owned(), format!("{WELL}{endpoint}")] {
        let daemon = Daemon::start(&config);
        let mut client = daemon.connect();
        for topic in ["daemon", "daemon:figures", "nobody"] {
            say(&mut client, &json!({"type": "subscribe", "topic": topic}).to_string());
            let (code, message) = error(&mut client);
            let name = topic.split(':').next().unwrap();
            assert_eq!(code, "unknown_stream");
            let message = message.as_str().unwrap();
            let (unknown, valid) = message.split_once("; ").unwrap();
            assert_eq!(unknown, format!("unknown stream \"{name}\""));
            assert!(valid.contains("ticks") && !valid.contains("daemon"), "{message}");
        }
        for path in ["/v1/streams/daemon", "/v1/streams/daemon/history"] {
            assert_eq!(get(&daemon.clients, path, &[]).status, 404, "{path}");
        }
        assert!(!get(&daemon.clients, "/v1/streams", &[]).body.contains("daemon"));
        assert_eq!(daemon.publish("daemon", &json!({"type": "figures"})).status, 403, "nobody else publishes there");
        assert!(!daemon.greeting().contains("daemon,"), "{}", daemon.greeting());
    }
    let daemon = Daemon::start(&format!("{WELL}[[server.endpoints]]\npath = \"/v1/sse\"\ndialect = \"sse\"\n"));
    let mut lines = events(&daemon.clients, "daemon:figures");
    let refused = lines.find(|line| line.contains("unknown")).unwrap();
    assert!(refused.contains("unknown stream") && refused.contains("valid streams: ticks, well"), "{refused}");
}

fn operators_see_invisible_streams_and_nobodys_private_events() {
    let config = "[streams.inner]\n[streams.mail]\nvisible = true\nprivate = true\n";
    let daemon = Daemon::start(config);
    let mut client = operator(&daemon);
    subscribe(&mut client, "inner");
    say(&mut client, r#"{"type":"subscribe","stream":"mail"}"#);
    assert_eq!(error(&mut client).0, "authentication_required");
    assert_eq!(daemon.publish("mail", &json!({"type": "a", "audience": "admin"})).status, 202);
    daemon.reload(|| daemon.configure(&format!("{config}[streams.other]\n")));
    assert_eq!(daemon.publish("inner", &json!({"type": "b"})).status, 202);
    assert_eq!(hear_json(&mut client)["type"], "b", "a reload that leaves it as it was sends nobody away");
}

fn only_who_may_see_the_pages_gets_in() {
    let daemon =
        Daemon::start_with(&format!("token = {{ env = \"ADMIN_TOKEN\" }}\n{WELL}"), &[("ADMIN_TOKEN", "s3cret")]);
    let admin = daemon.admin.as_str();
    let upgrade = |path: &str, headers: &[(&str, &str)]| {
        let uri = format!("ws://{admin}{path}");
        house::open(http::connect(admin), &uri, headers).map(drop).map_err(|refused| refused.status)
    };
    let bearer = ("Authorization", "Bearer s3cret");
    assert_eq!(upgrade("/v1/ws", &[bearer]), Ok(()));
    assert_eq!(upgrade("/v1/ws?token=s3cret", &[]), Ok(()));
    assert_eq!(upgrade("/v1/ws?token=s3cret", &[("Origin", &format!("http://{admin}"))]), Ok(()));
    assert_eq!(upgrade("/v1/ws", &[]), Ok(()), "its first message has to say who it is");
    assert_eq!(upgrade("/v1/ws?token=guess", &[]), Err(401));
    assert_eq!(upgrade("/v1/ws", &[("Authorization", "Bearer guess")]), Err(401));
    assert_eq!(upgrade("/v1/ws?token=guess", &[bearer]), Err(400), "of two tokens none counts");
    for (path, unknown) in [("/v1/ws", 426), ("/v1/sse?topic=daemon", 401)] {
        assert_eq!(get(admin, path, &[]).status, unknown, "{path}");
        let foreign = get(admin, path, &[bearer, ("Origin", "https://elsewhere.example")]);
        assert_eq!((foreign.status, &foreign.json()["error"]["code"]), (403, &json!("origin_refused")), "{path}");
        assert_eq!(get(admin, path, &[bearer, ("Host", "elsewhere.example")]).status, 421, "{path}");
    }
    assert_eq!(get(admin, "/v1/broadcasters?token=s3cret", &[]).status, 401, "elsewhere addresses bear no token");
}

fn operators_get_in_when_clients_have_every_place() {
    let daemon = Daemon::start(&format!("[hub]\nmax_connections = 1\n{WELL}"));
    let _only = daemon.connect();
    assert_eq!(house::connect(&daemon.clients, &[]).unwrap_err().status, 503);
    let mut client = operator(&daemon);
    subscribe(&mut client, "daemon");
    let count =
        |path: &str| daemon.metric(&format!("broadcastd_connections{{endpoint=\"{path}\",dialect=\"native\"}}"));
    assert_eq!((count("admin/v1/ws"), count("/v1/ws")), (Some(1.0), Some(1.0)));
}

fn there_are_so_many_places_for_operators_and_no_more() {
    let daemon = Daemon::start(WELL);
    let mut all: Vec<Client> = (0..MAX_OPERATORS).map(|_| operator(&daemon)).collect();
    let refused = house::connect(&daemon.admin, &[]).unwrap_err();
    let message = format!("operators have {MAX_OPERATORS} connections already, the most there may be; close one");
    assert_eq!((refused.status, &refused.json()["error"]["message"]), (503, &json!(message)));
    assert_eq!(daemon.metric("broadcastd_connections_refused_total{reason=\"max_operators\"}"), Some(1.0));
    let mut last = all.pop().unwrap();
    last.close(None).unwrap();
    while last.read().is_ok() {}
    house::until("the place is free", || house::connect(&daemon.admin, &[]).is_ok());
    all[0].send(Message::text(r#"{"type":"ping"}"#)).unwrap();
    assert_eq!(hear_json(&mut all[0])["data"]["status"], "pong", "who was in stays in");
}

fn who_has_not_said_that_he_is_an_operator_takes_no_place_of_one() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "opener").unwrap();
    let daemon = Daemon::start(&format!("token = {{ file = {:?} }}\n{WELL}", secret.path()));
    let _strangers: Vec<Client> = (0..MAX_OPERATORS).map(|_| operator(&daemon)).collect();
    let mut client = house::connect(&daemon.admin, &[("Authorization", "Bearer opener")]).unwrap();
    subscribe(&mut client, "daemon");
}
