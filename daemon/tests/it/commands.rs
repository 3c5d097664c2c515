//! Commands on the operator's listener of the real daemon: every answer has its status, and the log says who asked.

use std::time::{Duration, Instant};

use broadcastd::hub::commands::{AGAIN, MAX_OPEN, MAX_OPEN_OF_ONE};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::house::{self, Client, hear_json, until};
use crate::http::{self, Answer};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(every_outcome_has_its_status),
        needs::nothing(what_is_no_command_is_told_what_would_be_one),
        needs::nothing(one_that_is_in_flight_when_the_broadcaster_ends_is_unavailable),
        needs::nothing(so_many_of_one_wait_and_the_next_is_sent_away_at_once),
        needs::nothing(so_many_of_all_wait_and_the_next_is_told_when_to_try_again),
        needs::nothing(a_command_that_nobody_answers_is_answered_at_its_deadline),
        needs::nothing(a_listener_passes_on_to_whom_it_serves),
        needs::nothing(who_acted_is_told_apart_by_name),
        needs::nothing(the_log_has_a_line_for_each_and_nothing_of_what_was_said),
    ]
}

const FAULTY: &str = "[broadcasters.a]\nplugin = \"faulty\"\nrestart = { backoff = \"10ms..20ms\" }\n";
const JSON: &str = "application/json";

fn path(command: &str) -> String {
    format!("/v1/broadcasters/a/commands/{command}")
}

fn command(daemon: &Daemon, command: &str, payload: &Value) -> Answer {
    http::post(&daemon.admin, &path(command), JSON, payload.to_string().as_bytes())
}

fn outcomes(daemon: &Daemon, outcome: &str) -> Option<f64> {
    daemon.metric(&format!("broadcastd_commands_total{{kind=\"command\",outcome=\"{outcome}\"}}"))
}

fn refused_replies(daemon: &Daemon, reason: &str) -> Option<f64> {
    daemon.metric(&format!("broadcastd_replies_refused_total{{broadcaster=\"a\",reason=\"{reason}\"}}"))
}

fn every_outcome_has_its_status() {
    let daemon = Daemon::start(FAULTY);
    let payload = json!({"any": ["thing", 7]});
    let echoed = command(&daemon, "echo", &payload);
    assert_eq!((echoed.status, echoed.header("content-type")), (200, Some(JSON)));
    assert_eq!(echoed.json(), json!({"result": {"principal": "operator:admin", "payload": payload}}));
    for (name, result) in [("from_worker", json!("late")), ("twice", json!("first"))] {
        let answer = command(&daemon, name, &Value::Null);
        assert_eq!((answer.status, answer.json()), (200, json!({"result": result})), "{name}");
    }
    let nothing = http::post(&daemon.admin, &path("echo"), JSON, b"");
    assert_eq!(nothing.json()["result"]["payload"], Value::Null, "no body is null: {nothing:?}");
    for (kind, status, code) in [
        ("failed", 500, "command_failed"),
        ("invalid", 422, "invalid_params"),
        ("unsupported", 404, "unknown_command"),
        ("limit", 503, "rate_limited"),
        ("closed", 503, "unavailable"),
        ("not_found", 404, "not_found"),
        ("conflict", 409, "conflict"),
        ("forbidden", 403, "forbidden"),
    ] {
        let answer = command(&daemon, "fail", &json!({"kind": kind}));
        assert_eq!(answer.status, status, "{kind}");
        assert_eq!(answer.json(), json!({"error": {"code": code, "message": "fails on purpose"}}));
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{kind}");
        assert_eq!(outcomes(&daemon, code), Some(1.0), "{kind}");
    }
    assert_eq!(command(&daemon, "huge", &Value::Null).status, 500);
    assert_eq!(outcomes(&daemon, "ok"), Some(4.0));
    until("both answers that were not taken are counted", || {
        (refused_replies(&daemon, "double"), refused_replies(&daemon, "too_large")) == (Some(1.0), Some(1.0))
    });
}

fn what_is_no_command_is_told_what_would_be_one() {
    let daemon = Daemon::start(&format!("{FAULTY}[broadcasters.off]\nplugin = \"faulty\"\nenabled = false\n"));
    let known = "echo, fail, from_worker, huge, later, never, panic, poke, twice, unknown_after_all";
    let large = json!("x".repeat(64 << 10)).to_string();
    for (path, content_type, body, status, code, text) in [
        (
            path("nope"),
            JSON,
            "{}",
            404,
            "unknown_command",
            format!("a has no command \"nope\"; you may give it {known}"),
        ),
        (path("poke"), JSON, "{}", 422, "invalid_params", String::new()),
        (path("fail"), JSON, "{\"kind\":7}", 422, "invalid_params", "/kind: ".to_owned()),
        (path("poke"), JSON, "{", 422, "invalid_params", "the payload is not JSON".to_owned()),
        (
            path("echo"),
            JSON,
            &large,
            413,
            "message_too_large",
            "the payload of a command has at most 65536 bytes".to_owned(),
        ),
        (
            path("poke"),
            "text/plain",
            "null",
            415,
            "unsupported_media_type",
            "send Content-Type: application/json".to_owned(),
        ),
        (
            "/v1/broadcasters/off/commands/poke".to_owned(),
            JSON,
            "null",
            404,
            "unknown_broadcaster",
            "no broadcaster \"off\" takes commands; you may ask a".to_owned(),
        ),
    ] {
        let answer = http::post(&daemon.admin, &path, content_type, body.as_bytes());
        let error = &answer.json()["error"];
        assert_eq!((answer.status, error["code"].as_str()), (status, Some(code)), "{path}: {error}");
        assert!(error["message"].as_str().unwrap().starts_with(&text), "{path}: {error}");
    }
    let got = daemon.get(&path("poke"));
    assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
    let foreign = [("Content-Type", JSON), ("Origin", "http://example.com")];
    let line = format!("POST {} HTTP/1.1", path("poke"));
    assert_eq!(http::ask(&daemon.admin, &line, &foreign, b"null").status, 403, "a web page gives no commands");
    let elsewhere = http::post(&daemon.clients, &path("poke"), JSON, b"null");
    assert_eq!(elsewhere.status, 401, "nor does anybody on the clients' listeners without a token");
}

fn one_that_is_in_flight_when_the_broadcaster_ends_is_unavailable() {
    let daemon = Daemon::start(FAULTY);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| command(&daemon, "never", &Value::Null));
        // A command that comes after has been told after.
        until("it was told", || {
            command(&daemon, "poke", &Value::Null);
            !waits.is_finished()
        });
        let panics = command(&daemon, "panic", &Value::Null);
        assert_eq!((panics.status, &panics.json()["error"]["code"]), (503, &json!("unavailable")));
        let waits = waits.join().unwrap();
        assert_eq!((waits.status, &waits.json()["error"]["code"]), (503, &json!("unavailable")));
    });
    until("it takes commands again", || command(&daemon, "poke", &Value::Null).status == 200);
    daemon.reload(|| daemon.configure("[broadcasters.a]\nplugin = \"faulty\"\nenabled = false\n"));
    let absent = command(&daemon, "poke", &Value::Null);
    assert_eq!((absent.status, absent.header("retry-after").is_some()), (503, true));
}

fn so_many_of_one_wait_and_the_next_is_sent_away_at_once() {
    let daemon = Daemon::start(FAULTY);
    let line = format!("POST {} HTTP/1.1", path("never"));
    let request = http::request(&daemon.admin, &line, &[("Content-Type", JSON)], b"null");
    let _waiting: Vec<_> = (0..MAX_OPEN_OF_ONE)
        .map(|_| {
            let mut socket = http::connect(&daemon.admin);
            std::io::Write::write_all(&mut socket, &request).unwrap();
            socket
        })
        .collect();
    let began = Instant::now();
    until("all wait", || command(&daemon, "poke", &Value::Null).status == 503);
    assert!(began.elapsed() < Duration::from_secs(10), "no deadline was needed");
    let sent_away = command(&daemon, "poke", &Value::Null);
    assert_eq!(sent_away.json()["error"]["code"], "rate_limited");
    assert_eq!(sent_away.header("retry-after"), Some("5"));
}

fn so_many_of_all_wait_and_the_next_is_told_when_to_try_again() {
    const ALL: usize = MAX_OPEN / MAX_OPEN_OF_ONE;
    let services: Vec<String> = (0..=ALL).map(|nth| format!("service-{nth}")).collect();
    let tokens = services.iter().map(|name| {
        let hash: String = sha2::Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[auth.tokens]]\nname = \"{name}\"\nsha256 = \"{hash}\"\ncommands = [\"later\", \"echo\"]\n")
    });
    let endpoint = "[[server.endpoints]]\npath = \"/v1/ws\"\nstreams = [\"*\"]\n";
    let daemon = Daemon::start(&format!("{endpoint}{}{FAULTY}", tokens.collect::<String>()));
    let connect = |name: &String| {
        let authorization = format!("Bearer {name}");
        house::connect(&daemon.clients, &[("Authorization", &authorization)]).unwrap()
    };
    let mut clients: Vec<Client> = services.iter().map(connect).collect();
    let mut last = clients.pop().unwrap();
    let give = |client: &mut Client, command: &str| {
        house::say(client, &json!({"type": "command", "stream": "a", "command": command, "id": command}).to_string());
    };
    // Each is answered in its order: what was refused would be heard before the pong.
    let is_quiet = |client: &mut Client| {
        house::say(client, r#"{"type":"ping"}"#);
        assert_eq!(hear_json(client)["data"]["status"], "pong");
    };
    for client in &mut clients {
        (1..MAX_OPEN_OF_ONE).for_each(|_| give(client, "never"));
        is_quiet(client);
    }
    for client in &mut clients {
        give(&mut last, "echo");
        let done = hear_json(&mut last);
        assert_eq!(done["data"]["status"], "ok", "there is room for one more: {done}");
        give(client, "never");
        is_quiet(client);
    }
    give(&mut last, "echo");
    let refused = hear_json(&mut last);
    let expected = json!({
        "code": "rate_limited",
        "message": format!("{MAX_OPEN} commands wait for the broadcaster already; try again later"),
        "retry_ms": AGAIN.as_millis() as u64,
    });
    assert_eq!((&refused["type"], &refused["data"], &refused["id"]), (&json!("error"), &expected, &json!("echo")));
    give(&mut clients[0], "never");
    assert_eq!(hear_json(&mut clients[0])["data"]["retry_ms"], AGAIN.as_millis() as u64);
    let sent_away = command(&daemon, "echo", &Value::Null);
    assert_eq!((sent_away.status, &sent_away.json()["error"]["code"]), (503, &json!("rate_limited")));
    assert_eq!(sent_away.header("retry-after"), Some(&*AGAIN.as_secs().to_string()));
}

fn a_command_that_nobody_answers_is_answered_at_its_deadline() {
    let daemon = Daemon::start(FAULTY);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let late = scope.spawn(|| command(&daemon, "later", &json!({"after_ms": 10_200})));
        let never = command(&daemon, "never", &Value::Null);
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(10), "{took:?}");
        let expected =
            json!({"code": "deadline", "message": "the broadcaster did not answer within 10 s; it may still do it"});
        assert_eq!((never.status, &never.json()["error"]), (504, &expected));
        assert_eq!(late.join().unwrap().status, 504);
    });
    until("the answer that came too late is counted", || refused_replies(&daemon, "late") == Some(1.0));
    assert_eq!(command(&daemon, "poke", &Value::Null).status, 200);
}

/// Clients know the service `alice` by the token `opener`, and come by an endpoint that serves these streams.
fn serving(streams: &str) -> String {
    let hash = "ac053ed0ba41c1f47afcf77abc05cc11369701825017404a6f79d5aabf01e5c3";
    let token = format!("[[auth.tokens]]\nname = \"alice\"\nsha256 = \"{hash}\"\ncommands = [\"echo\"]\n");
    let endpoint = format!("[[server.endpoints]]\npath = \"/v1/ws\"\nstreams = {streams}\n");
    format!("{endpoint}{token}[streams.ticks]\nvisible = true\n{FAULTY}")
}

fn by_client(daemon: &Daemon, broadcaster: &str) -> Answer {
    let headers = [("Content-Type", JSON), ("Authorization", "Bearer opener")];
    let line = format!("POST /v1/broadcasters/{broadcaster}/commands/echo HTTP/1.1");
    http::ask(&daemon.clients, &line, &headers, b"7")
}

fn a_listener_passes_on_to_whom_it_serves() {
    let daemon = Daemon::start(&serving("[\"ticks\"]"));
    let refused = |broadcaster: &str| {
        let answer = by_client(&daemon, broadcaster);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("unknown_broadcaster")));
        answer.body.replace(&format!("\\\"{broadcaster}\\\""), "it")
    };
    assert_eq!(refused("a"), refused("nobody"), "what is not served is told like what is not there");
    daemon.reload(|| daemon.configure(&serving("[\"ticks\", \"a\"]")));
    assert_eq!(by_client(&daemon, "a").status, 200);
    daemon.reload(|| daemon.configure(&serving("[\"*\"]")));
    assert_eq!(by_client(&daemon, "a").status, 200);
}

fn who_acted_is_told_apart_by_name() {
    let daemon = Daemon::start(&serving("[\"*\"]"));
    assert_eq!(by_client(&daemon, "a").json()["result"]["principal"], "service:alice");
    daemon.wait_for_log("\"principal\":\"service:alice\"");
    let _client = crate::house::connect(&daemon.clients, &[("Authorization", "Bearer opener")]).unwrap();
    let connected = |user: &str| {
        let page = daemon.get(&format!("/v1/connections?user={user}")).json();
        page["connections"].as_array().unwrap().iter().map(|one| one["user"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((connected("service:alice"), connected("alice")), (vec![json!("service:alice")], vec![]));
}

fn the_log_has_a_line_for_each_and_nothing_of_what_was_said() {
    let daemon = Daemon::start(FAULTY);
    command(&daemon, "echo", &json!("se-cret"));
    command(&daemon, "fail", &json!({"kind": "se-cret"}));
    command(&daemon, "fail", &json!({"secret": "se-cret"}));
    command(&daemon, "nope", &json!("se-cret"));
    daemon.wait_for_log("\"unknown_command\"");
    let log = daemon.log_text();
    assert!(!log.contains("se-cret"), "{log}");
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let audit: Vec<_> = lines.iter().filter(|line| line["target"] == "audit").collect();
    let told = |line: &Value| ["principal", "broadcaster", "command", "outcome"].map(|field| line[field].clone());
    let told: Vec<_> = audit.into_iter().map(told).collect();
    let expected =
        [("echo", "ok"), ("fail", "command_failed"), ("fail", "invalid_params"), ("nope", "unknown_command")];
    assert_eq!(
        told,
        expected.map(|(command, outcome)| ["operator:admin", "a", command, outcome].map(Value::from)),
        "{log}"
    );
}
