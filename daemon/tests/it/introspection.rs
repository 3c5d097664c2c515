//! What operators see of those who are connected and of what waits, and how they end it.

use std::collections::BTreeSet;

use broadcastd::event::unix_now;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house::{self, Client, hear_json};
use crate::http::{Answer, ask};
use crate::needs;
use crate::process::Daemon;
use crate::reads;
use crate::vigil::Stopped;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_connection_is_shown_as_it_is_and_closed),
        needs::nothing(a_thousand_connections_come_page_by_page_each_once),
        needs::nothing(connections_are_found_by_stream_topic_and_user),
        needs::nothing(users_are_counted_across_shards_and_logged_out),
        needs::nothing(a_user_who_is_logged_out_hears_it),
        needs::programs(&["python3", "ptrace"], a_shard_that_does_not_answer_is_told),
        needs::nothing(who_is_slow_is_seen),
        needs::nothing(queues_listeners_and_counters_are_shown),
        needs::nothing(bounds_of_pages_hold_at_their_edges),
    ]
}

fn get(address: &str, path: &str) -> Value {
    let answer = crate::http::get(address, path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

fn delete(address: &str, path: &str) -> Answer {
    ask(address, &format!("DELETE {path} HTTP/1.1"), &[], b"")
}

fn ids(page: &Value) -> Vec<String> {
    page["connections"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

fn a_connection_is_shown_as_it_is_and_closed() {
    let daemon = Daemon::start("[streams.ticks]\nvisible = true\n");
    let mut client = daemon.subscriber("ticks");
    let mut shown = get(&daemon.admin, "/v1/connections");
    let id = ids(&shown)[0].clone();
    let age = shown["connections"][0]["age_s"].take();
    assert!((0.0..60.0).contains(&age.as_f64().unwrap()), "{age}");
    assert_eq!(
        shown,
        json!({"more": false, "next": null, "connections": [{
            "id": id, "peer": "127.0.0.1", "user": null, "age_s": null, "endpoint": "/v1/ws", "dialect": "native",
            "subscriptions": 1, "topics": ["ticks"], "outbox_bytes": 0, "lagged": 0, "replaced": 0,
        }]})
    );
    assert_eq!(get(&daemon.admin, &format!("/v1/connections/{id}"))["topics"], json!(["ticks"]));
    let closed = delete(&daemon.admin, &format!("/v1/connections/{id}"));
    assert_eq!((closed.status, closed.json()), (200, json!({"closed": 1})));
    assert_eq!(house::hear_close(&mut client), (1008, "closed by the operator".to_owned()));
    let line: Value = serde_json::from_str(&daemon.wait_for_log("\"target\":\"audit\"")).unwrap();
    assert_eq!((&line["act"], &line["whom"]), (&json!("close a connection"), &json!(id)));
    for unknown in [id.as_str(), "nobody", "", "a-b-c", "e1-0-99999999999999999999", "-0-0", "%00"] {
        let path = format!("/v1/connections/{unknown}");
        assert_eq!(delete(&daemon.admin, &path).status, 404, "{unknown}");
        assert_eq!(crate::http::get(&daemon.admin, &path).status, 404, "{unknown}");
    }
    assert_eq!(crate::http::get(&daemon.clients, "/v1/connections").status, 404, "clients see nothing of this");
}

fn a_thousand_connections_come_page_by_page_each_once() {
    const CONNECTIONS: usize = 1000;
    let daemon = Daemon::start("[streams.ticks]\nvisible = true\n");
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| daemon.connect()).collect();
    let whole = get(&daemon.admin, "/v1/connections?limit=1000");
    assert_eq!((ids(&whole).len(), &whole["more"], &whole["next"]), (CONNECTIONS, &json!(false), &Value::Null));
    let (mut found, mut pages, mut after) = (Vec::new(), 0, String::new());
    loop {
        let page = get(&daemon.admin, &format!("/v1/connections?limit=333{after}"));
        found.extend(ids(&page));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!((pages, found.len()), (4, CONNECTIONS));
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), CONNECTIONS);
    assert_eq!(found, ids(&whole), "in the same order");
    drop(clients);
}

/// Two shards, and tokens that name users.
fn daemon_with_users() -> Daemon {
    let streams = "[streams.ticks]\nvisible = true\n[broadcasters.bars]\nplugin = \"faulty\"\nenabled = false\n";
    let auth = "[auth]\njwt = { secret = { env = \"SIGNED_WITH\" } }\n";
    let env = [("SIGNED_WITH", reads::SECRET), ("BROADCASTD_SERVER__SHARDS", "2")];
    Daemon::start_with(&format!("{streams}{auth}"), &env)
}

/// A client that is this user, with these subscriptions.
fn come(daemon: &Daemon, user: Option<&str>, topics: &[&str]) -> Client {
    let bearer = user.map(|user| format!("Bearer {}", reads::token(user, unix_now(), &json!({}))));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", &**bearer)).collect();
    let mut client = house::connect(&daemon.clients, &headers).unwrap();
    for topic in topics {
        house::say(&mut client, &json!({"type": "subscribe", "topic": topic}).to_string());
        house::until("it is subscribed", || hear_json(&mut client)["data"]["status"] == "subscribed");
    }
    client
}

fn connections_are_found_by_stream_topic_and_user() {
    let daemon = daemon_with_users();
    let _clients = [
        come(&daemon, Some("a"), &["ticks:A:1"]),
        come(&daemon, Some("b"), &["ticks:*:1", "bars"]),
        come(&daemon, None, &["ticks"]),
        come(&daemon, Some("a"), &[]),
    ];
    let found = |query: &str| ids(&get(&daemon.admin, &format!("/v1/connections{query}"))).len();
    for (query, count) in [
        ("?stream=ticks", 3),
        ("?stream=bars", 1),
        ("?topic=ticks:A:1", 3),
        ("?topic=ticks:B:1", 2),
        ("?topic=ticks:B:2", 1),
        ("?topic=ticks:*:1", 3),
        ("?stream=ticks&topic=ticks:A:1&user=a", 1),
        ("?user=a", 2),
        ("?user=A", 0),
    ] {
        assert_eq!(found(query), count, "{query}");
    }
    for wrong in [
        "?stream=nobody",
        "?stream=ticks:A",
        "?stream=bars&topic=ticks:A",
        "?topic=%00",
        "?user=",
        "?after=nobody",
        "?x=1",
    ] {
        let refused = crate::http::get(&daemon.admin, &format!("/v1/connections{wrong}"));
        assert!(matches!(refused.status, 400 | 404), "{wrong}: {refused:?}");
    }
    let subscribers = get(&daemon.admin, "/v1/streams/ticks/subscribers");
    assert_eq!(
        subscribers,
        json!({"stream": "ticks", "subscriptions": 3, "patterns": 3, "more": false, "next": null, "topics": [
            {"topic": "ticks", "subscriptions": 1},
            {"topic": "ticks:*:1", "subscriptions": 1},
            {"topic": "ticks:A:1", "subscriptions": 1},
        ]})
    );
    let page = get(&daemon.admin, "/v1/streams/ticks/subscribers?limit=1&after=ticks");
    assert_eq!((&page["topics"][0]["topic"], &page["next"]), (&json!("ticks:*:1"), &json!("ticks:*:1")));
}

fn users_are_counted_across_shards_and_logged_out() {
    let daemon = daemon_with_users();
    let users = ["user-1", "user-1", "user-10", "zoe", "über/ä"];
    let _clients: Vec<Client> =
        users.map(Some).into_iter().chain([None]).map(|user| come(&daemon, user, &[])).collect();
    let users = |query: &str| get(&daemon.admin, &format!("/v1/users{query}"));
    assert_eq!(ids(&get(&daemon.admin, "/v1/connections")).len(), 6);
    assert_eq!(
        users(""),
        json!({"more": false, "next": null, "users": [
            {"user": "user-1", "connections": 2}, {"user": "user-10", "connections": 1},
            {"user": "zoe", "connections": 1}, {"user": "über/ä", "connections": 1},
        ]})
    );
    let page = users("?limit=2");
    assert_eq!((page["users"].as_array().unwrap().len(), &page["next"]), (2, &json!("user-10")));
    assert_eq!(users("?limit=2&after=user-10")["users"][0]["user"], "zoe");
    assert_eq!(users("/user-1"), json!({"user": "user-1", "connections": 2}));
    assert_eq!(users("/%C3%BCber%2F%C3%A4")["connections"], 1);
    assert_eq!(users("/user")["connections"], 0);
    let gone = delete(&daemon.admin, "/v1/users/user-1/connections");
    assert_eq!((gone.status, gone.json()), (200, json!({"closed": 2})));
    assert_eq!(delete(&daemon.admin, "/v1/users/user-1/connections").json(), json!({"closed": 0}));
    assert_eq!(users("/user-1")["connections"], 0);
    assert_eq!(users("/user-10")["connections"], 1, "another user's stay");
}

fn a_user_who_is_logged_out_hears_it() {
    let config = "[streams.ticks]\nvisible = true\n[auth]\njwt = { secret = { env = \"SIGNED_WITH\" } }\n";
    let daemon = Daemon::start_with(config, &[("SIGNED_WITH", reads::SECRET)]);
    let connect = |user: &str| {
        let bearer = format!("Bearer {}", reads::token(user, unix_now(), &json!({})));
        house::connect(&daemon.clients, &[("Authorization", &bearer)]).unwrap()
    };
    let (mut first, mut second, mut other) = (connect("user-1"), connect("user-1"), connect("user-10"));
    assert_eq!(get(&daemon.admin, "/v1/users/user-1")["connections"], 2);
    assert_eq!(get(&daemon.admin, "/v1/connections?user=user-10")["connections"][0]["user"], "user-10");
    assert_eq!(delete(&daemon.admin, "/v1/users/user-1/connections").json(), json!({"closed": 2}));
    for client in [&mut first, &mut second] {
        assert_eq!(house::hear_close(client), (4001, "logged out".to_owned()));
    }
    house::say(&mut other, r#"{"type":"ping"}"#);
    assert!(house::hear(&mut other).contains("pong"));
    let line: Value = serde_json::from_str(&daemon.wait_for_log("\"target\":\"audit\"")).unwrap();
    assert_eq!((&line["act"], &line["whom"]), (&json!("log a user out"), &json!("user-1")));
}

fn a_shard_that_does_not_answer_is_told() {
    let daemon = daemon_with_users();
    let _clients = [daemon.connect(), daemon.connect()];
    let here = || ids(&get(&daemon.admin, "/v1/connections"));
    let both = here();
    let on = |shard: &str| both.iter().find(|id| id.split('-').nth(1) == Some(shard)).unwrap();
    let deaf = on("1");
    let stopped = Stopped::threads(daemon.pid(), "shard-1", 1);
    for line in [
        "GET /v1/connections",
        "GET /v1/users",
        &format!("GET /v1/connections/{deaf}"),
        &format!("DELETE /v1/connections/{deaf}"),
    ] {
        let told = ask(&daemon.admin, &format!("{line} HTTP/1.1"), &[], b"");
        assert_eq!((told.status, told.header("retry-after")), (503, Some("5")), "{line}");
        assert_eq!(
            told.json()["error"],
            json!({"code": "shard_silent", "message": "shard 1 gave no answer within 2 s; ask again"})
        );
    }
    assert_eq!(crate::http::get(&daemon.admin, &format!("/v1/connections/{}", on("0"))).status, 200, "others answer");
    for path in ["/v1/queues", "/v1/counters", "/v1/streams/ticks/subscribers"] {
        assert_eq!(crate::http::get(&daemon.admin, path).status, 200, "{path}: nobody is asked for that");
    }
    drop(stopped);
    house::until("it does what was asked of it meanwhile", || {
        crate::http::get(&daemon.admin, &format!("/v1/connections/{deaf}")).status == 404
    });
    assert_eq!(here(), [on("0").clone()]);
}

fn who_is_slow_is_seen() {
    let daemon = Daemon::start("[streams.ticks]\nvisible = true\n[hub]\noutbox = \"64KiB\"\n");
    let slow = daemon.subscriber("ticks");
    let mut quick = daemon.connect();
    house::say(&mut quick, r#"{"type":"subscribe","topic":"ticks:quiet"}"#);
    let event = json!({"type": "tick", "topic": "ticks:A", "data": {"x": "x".repeat(500_000)}});
    let shown = || get(&daemon.admin, "/v1/connections?topic=ticks:A")["connections"][0].take();
    house::until("it lags", || {
        assert_eq!(daemon.publish("ticks", &event).status, 202);
        shown()["lagged"].as_u64() > Some(0)
    });
    assert!(shown()["outbox_bytes"].as_u64() > Some(0), "{}", shown());
    let all = get(&daemon.admin, "/v1/connections");
    let lagged: Vec<&Value> = all["connections"].as_array().unwrap().iter().filter(|one| one["lagged"] != 0).collect();
    assert_eq!((lagged.len(), &lagged[0]["id"]), (1, &shown()["id"]), "and nobody else: {all}");
    drop(slow);
}

fn queues_listeners_and_counters_are_shown() {
    let daemon = Daemon::start(
        "[streams.ticks]\nvisible = true\n[broadcasters.counter]\nplugin = \"faulty\"\nlisten = [\"ticks\"]\n\
         settings = { interval_ms = 3600000 }\n",
    );
    let _client = daemon.subscriber("ticks");
    assert_eq!(daemon.publish("ticks", &json!({"type": "tick"})).status, 202);
    house::until("the listener has handled it", || {
        let told = get(&daemon.admin, "/v1/streams/ticks/listeners");
        told == json!({"stream": "ticks", "listeners": [{"broadcaster": "counter", "waiting": 0, "unsaved": 0}]})
            || told["listeners"][0]["waiting"] == json!(0)
    });
    let queues = get(&daemon.admin, "/v1/queues");
    assert_eq!(queues["inputs"][0]["listeners"][0]["broadcaster"], "counter");
    assert!(
        queues["shards"][0]["turns"].as_u64() > Some(0) && queues["memory"]["bytes"].as_u64() > Some(0),
        "{queues}"
    );
    house::until("the event was delivered", || get(&daemon.admin, "/v1/counters")["messages_sent"] == json!(1));
    let counters = get(&daemon.admin, "/v1/counters");
    let figures = ["connections", "subscriptions", "broadcasts_refused", "broadcaster_errors"]
        .map(|name| counters[name].as_u64());
    assert_eq!(figures, [Some(1), Some(1), Some(0), Some(0)], "{counters}");
    assert_eq!(counters["success_rate"], json!(1.0));
}

fn bounds_of_pages_hold_at_their_edges() {
    let daemon = Daemon::start("[streams.ticks]\nvisible = true\n");
    for path in ["/v1/connections", "/v1/users", "/v1/streams/ticks/subscribers"] {
        for (limit, status) in [("1", 200), ("1000", 200), ("0", 400), ("1001", 400), ("-1", 400), ("x", 400)] {
            let answer = crate::http::get(&daemon.admin, &format!("{path}?limit={limit}"));
            assert_eq!(answer.status, status, "{path} {limit}");
        }
    }
    let topics: Vec<String> = (0..25).map(|number| format!("ticks:{number}")).collect();
    let _client = come(&daemon, None, &topics.iter().map(String::as_str).collect::<Vec<_>>());
    let page = get(&daemon.admin, "/v1/connections");
    let shown = &page["connections"][0];
    assert_eq!((&shown["subscriptions"], shown["topics"].as_array().unwrap().len()), (&json!(25), 20));
    let one = get(&daemon.admin, &format!("/v1/connections/{}", ids(&page)[0]));
    assert_eq!(one["topics"].as_array().unwrap().len(), 25);
    for (method, path, allowed) in
        [("POST", "/v1/connections/e1-0-0", "GET, HEAD, DELETE"), ("GET", "/v1/users/u/connections", "DELETE")]
    {
        let wrong = ask(&daemon.admin, &format!("{method} {path} HTTP/1.1"), &[], b"");
        assert_eq!((wrong.status, wrong.header("allow")), (405, Some(allowed)));
    }
}
