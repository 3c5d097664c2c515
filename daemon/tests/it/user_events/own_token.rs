//! A user's own token at the operators' listener: it shows what it would show that user, as long as it would, and no more.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;

use serde_json::{Value, json};
use sha2::Digest as _;

use broadcastd::event::unix_now;

use super::{TRUST, heard, life_cycle, shipped, start, tell, token_of};
use crate::events::{Block, Events};
use crate::house;
use crate::http::{Answer, ask};
use crate::process::Daemon;
use crate::reads::{SECRET, token};

const HEADER: &str = "X-User-Token";
const ADMIN: &str = "an-admin-token";
const SERVICE: &str = "token-of-a-program";
const LOG: &str = "/v1/streams/user/history";

/// The error that a page answers.
fn refusal(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json()["error"].take())
}

fn read(address: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1"), headers, b"")
}

/// The next event that a user is sent, past what is said about the subscription.
fn next(events: &mut Events) -> Block {
    loop {
        let block = events.next();
        if !["status", "response", "full_update"].contains(&&*block.event) {
            return block;
        }
    }
}

/// The daemon as it is shipped, with an admin token in a file of its folder.
fn guarded() -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("admin"), ADMIN).unwrap();
    let config = format!("token = {{ file = \"admin\" }}\n{}", shipped(TRUST));
    Daemon::start_in(folder, &config, &[("SIGNED_WITH", SECRET), ("BROADCASTD_LOG__LEVEL", "debug")])
}

pub fn an_operator_is_shown_what_the_token_shows_its_user_and_no_more() {
    let daemon = start(&shipped(TRUST));
    let users = ["zaphod-1", "zaphod-10"];
    let tokens = users.map(token_of);
    let mut shown = tokens.each_ref().map(|own| Events::open(&daemon.admin, "topic=user", &[(HEADER, own)]));
    for n in 0..3 {
        for user in ["zaphod-", "zaphod-10", "zaphod-1"] {
            tell(&daemon, user, "LIFECYCLE_EVENT", &life_cycle(user, n));
            tell(&daemon, user, "SYSTEM_STATUS_UPDATE", &life_cycle(user, n));
        }
        for (user, events) in users.iter().zip(&mut shown) {
            for _ in 0..2 {
                assert_eq!(next(events).data["data"], life_cycle(user, n), "{user}");
            }
        }
    }
    for (user, own) in users.iter().zip(&tokens) {
        let bearer = format!("Bearer {own}");
        for part in ["", "/snapshot", "/history", "/history?topic=user:LIFECYCLE_EVENT"] {
            let path = format!("/v1/streams/user{part}");
            let (here, there) = (
                read(&daemon.admin, &path, &[(HEADER, own)]),
                read(&daemon.clients, &path, &[("Authorization", &bearer)]),
            );
            assert_eq!(
                (here.status, house::without_time(&here.body)),
                (200, house::without_time(&there.body)),
                "{path}"
            );
            let names = here.body.matches("\"of\":").count();
            assert_eq!(names, here.body.matches(&format!("\"of\":\"{user}\"")).count(), "{path} of {user}");
        }
        let hidden = read(&daemon.admin, "/v1/streams/user_events/history", &[(HEADER, own)]);
        assert_eq!(hidden.status, 404, "what clients are not told of");
    }
    let counted = daemon.get("/v1/users").json()["users"].take();
    assert_eq!(counted, json!(users.map(|user| json!({"user": user, "connections": 1}))));
    let json = [("Content-Type", "application/json")];
    let ended = ask(&daemon.admin, "DELETE /v1/users/zaphod-1/connections HTTP/1.1", &json, b"");
    assert_eq!(ended.json()["closed"], 1);
    shown[0].socket().read_to_end(&mut Vec::new()).expect("it ends");
    tell(&daemon, "zaphod-10", "LIFECYCLE_EVENT", &life_cycle("zaphod-10", 9));
    assert_eq!(next(&mut shown[1]).data["data"]["n"], 9, "the other goes on");
    let log = daemon.log_text();
    assert!(tokens.iter().all(|own| !log.contains(&**own)), "a token is in the log");
}

pub fn what_is_no_users_token_shows_nothing() {
    let sha256: String = sha2::Sha256::digest(SERVICE).iter().map(|byte| format!("{byte:02x}")).collect();
    let services = format!("tokens = [{{ name = \"zaphod-1\", sha256 = \"{sha256}\" }}]");
    let daemon = start(&shipped(&format!("{TRUST}\n{services}\n")));
    tell(&daemon, "zaphod-1", "LIFECYCLE_EVENT", &life_cycle("zaphod-1", 0));
    let good = token_of("zaphod-1");
    let expired = token("zaphod-1", unix_now(), &json!({"exp": unix_now() / 1_000_000_000 - 1}));
    for bad in ["zaphod-1", &expired, &good[1..], &format!("{good}A"), "Bearer"] {
        let bearer = format!("Bearer {bad}");
        let elsewhere = refusal(&read(&daemon.clients, LOG, &[("Authorization", &bearer)]));
        assert_eq!((elsewhere.0, &elsewhere.1["code"]), (401, &json!("authentication_required")));
        for path in [LOG, "/v1/streams/user", "/v1/streams/user/snapshot", "/v1/sse?topic=user"] {
            assert_eq!(refusal(&read(&daemon.admin, path, &[(HEADER, bad)])), elsewhere, "{path} for {bad}");
        }
    }
    let doubtful = [
        (LOG, &[(HEADER, "")][..], "X-User-Token is empty; leave it out, or send a token"),
        (LOG, &[(HEADER, &good), (HEADER, &good)], "X-User-Token is given twice; send one"),
        ("/v1/sse?topic=user&audience=zaphod-10", &[(HEADER, &good)], "; send one of them"),
        ("/v1/streams/user?audience=zaphod-1", &[(HEADER, &good)], "; send one of them"),
    ];
    for (path, headers, rule) in doubtful {
        let (status, error) = refusal(&read(&daemon.admin, path, headers));
        assert!(status == 400 && error["message"].as_str().unwrap().ends_with(rule), "{path}: {error}");
    }
    let mut client = house::connect(&daemon.admin, &[(HEADER, &good)]).unwrap();
    for act in [
        json!({"type": "publish", "stream": "user_events", "kind": "LIFECYCLE_EVENT", "data": {}, "id": "1"}),
        json!({"type": "command", "stream": "alerts", "command": "acknowledge", "data": {}, "id": "1"}),
    ] {
        house::say(&mut client, &act.to_string());
        let answer = std::iter::repeat_with(|| house::hear_json(&mut client)).find(|heard| heard["id"] == "1").unwrap();
        let told = answer["data"]["message"].as_str().unwrap_or_default();
        assert!(answer["data"]["code"] == "forbidden" && told.starts_with("X-User-Token is for reading"), "{answer}");
    }
    let service = refusal(&read(&daemon.admin, LOG, &[(HEADER, SERVICE)]));
    assert!(
        service.0 == 400 && service.1["message"].as_str().unwrap().contains("the token of a service"),
        "{service:?}"
    );
    let event = json!({"type": "LIFECYCLE_EVENT", "audience": "zaphod-1", "data": {}}).to_string();
    let headers = [(HEADER, &*good), ("Content-Type", "application/json")];
    let line = "POST /v1/streams/user_events/publish HTTP/1.1";
    let (status, error) = refusal(&ask(&daemon.admin, line, &headers, event.as_bytes()));
    assert_eq!((status, &error["code"]), (400, &json!("invalid_token")), "it is for reading");
    let kept = daemon.get_proven(&format!("{LOG}?audience=zaphod-1")).json();
    assert_eq!(kept["events"].as_array().map(Vec::len), Some(1), "{kept}");
}

/// What is no list of anything that a user might take for the user's own.
fn is_same_for_all(path: &str) -> bool {
    let descriptions = ["/v1/asyncapi.json", "/v1/openapi.json"];
    !path.starts_with("/v1/") && path != "/metrics" || descriptions.contains(&path)
}

pub fn where_it_means_nothing_it_is_refused() {
    let daemon = start(&shipped(TRUST));
    let own = token_of("zaphod-1");
    let routes = daemon.get("/v1/openapi.json").json()["paths"].take();
    let (mut with, mut without, mut same) = (BTreeSet::new(), 0, BTreeSet::new());
    for (path, methods) in routes.as_object().unwrap() {
        let takes_user = |route: &Value| {
            route["parameters"].as_array().into_iter().flatten().any(|parameter| parameter["name"] == "audience")
        };
        for (method, route) in methods.as_object().unwrap() {
            let line = format!("{} {} HTTP/1.1", method.to_uppercase(), path.replace("{stream}", "user"));
            if takes_user(route) {
                with.insert(path.clone());
                continue;
            }
            if is_same_for_all(path) && path.contains('{') {
                continue; // one file of several: the page itself is another path
            }
            if is_same_for_all(path) {
                let status = ask(&daemon.admin, &line, &[(HEADER, "garbled")], b"").status;
                assert!(method != "get" || status == 200, "{line}: {status}");
                same.insert(path.clone());
                continue;
            }
            without += 1;
            for token in [&*own, "garbled"] {
                let (status, error) = refusal(&ask(&daemon.admin, &line, &[(HEADER, token)], b""));
                assert_eq!((status, &error["code"]), (400, &json!("invalid_token")), "{line}: {error}");
                let told = error["message"].as_str().unwrap();
                for place in ["/v1/streams/{stream}/history, ", "/v1/sse, /v1/ws; leave it out here"] {
                    assert!(told.contains(place), "{line}: {told}");
                }
            }
        }
    }
    let logs = ["", "/history", "/snapshot"].map(|part| format!("/v1/streams/{{stream}}{part}"));
    assert_eq!(with, ["/v1/sse".to_owned()].into_iter().chain(logs).collect());
    assert!(without > 20, "only {without} routes");
    assert!(same.is_superset(&["/", "/healthz", "/readyz", "/v1/asyncapi.json"].map(str::to_owned).into()), "{same:?}");
    assert_eq!(read(&daemon.admin, "/v1/stream", &[(HEADER, &own)]).status, 404, "there is nothing to mean anything");
}

pub fn where_nobody_has_tokens_that_is_said() {
    let daemon = Daemon::start("[streams.mine]\nvisible = true\nprivate = true\n");
    let asked = read(&daemon.admin, "/v1/streams/mine", &[(HEADER, &token_of("zaphod-1"))]);
    let (status, error) = refusal(&asked);
    assert_eq!(
        (status, &error["message"]),
        (401, &json!("no keys are configured ([auth]), so no token can be checked"))
    );
}

pub fn only_an_operator_has_one_looked_at() {
    let daemon = guarded();
    let (own, bearer) = (token_of("zaphod-1"), format!("Bearer {ADMIN}"));
    let both = [("Authorization", &*bearer), (HEADER, &*own)];
    for token in [&*own, "garbled"] {
        for path in [LOG, "/v1/streams/user", "/v1/sse?topic=user"] {
            let (status, error) = refusal(&read(&daemon.admin, path, &[(HEADER, token)]));
            assert!(status == 401 && error["message"].as_str().unwrap().contains("the admin token"), "{path}: {error}");
        }
        // Who says only in a message that he is an operator is none yet.
        let refused = house::connect(&daemon.admin, &[(HEADER, token)]).unwrap_err();
        assert!(refused.status == 401 && refused.body.contains("the admin token"), "{refused:?}");
    }
    let refused = read(&daemon.admin, LOG, &[("Authorization", &format!("Bearer {own}"))]);
    assert_eq!(refused.status, 401, "a user's token is no operator's");
    let mut client = house::connect(&daemon.admin, &both).unwrap();
    house::subscribe(&mut client, "user");
    for user in ["zaphod-10", "zaphod-1"] {
        let event = json!({"type": "LIFECYCLE_EVENT", "audience": user, "data": life_cycle(user, 0)}).to_string();
        let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
        let line = "POST /v1/streams/user_events/publish HTTP/1.1";
        assert_eq!(ask(&daemon.admin, line, &headers, event.as_bytes()).status, 202);
    }
    assert_eq!(heard(&mut client)["data"]["of"], "zaphod-1");
    assert_eq!(read(&daemon.admin, LOG, &both).json()["events"].as_array().map(Vec::len), Some(1));
}

pub fn what_is_shown_ends_with_either_token() {
    let daemon = guarded();
    let bearer = format!("Bearer {ADMIN}");
    let open = |own: &str| Events::open(&daemon.admin, "topic=user", &[("Authorization", &bearer), (HEADER, own)]);
    let why = |block: Block| (block.event, block.data["data"]["message"].as_str().unwrap_or_default().to_owned());
    let brief = token("zaphod-1", unix_now(), &json!({"exp": unix_now() / 1_000_000_000 + 2}));
    let (mut ends, mut stays) = (open(&brief), open(&token_of("zaphod-1")));
    assert_eq!(why(next(&mut ends)), ("refused".to_owned(), "the token has expired".to_owned()));
    fs::write(daemon.folder.path().join("admin"), "another").unwrap();
    daemon.reload(|| daemon.signal("HUP"));
    let taken_back = "your token has been taken back or changed";
    assert_eq!(why(next(&mut stays)), ("refused".to_owned(), taken_back.to_owned()));
}
