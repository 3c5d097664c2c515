//! User events through the real daemon as it is shipped: what each kind becomes, who hears it, what a page that opens is
//! shown, and what outlives the broadcaster.

mod absence;
mod isolation;
mod life;
mod own_token;
pub mod page;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tungstenite::Message;

use broadcastd::event::unix_now;

use crate::house::Client;
use crate::http;
use crate::needs;
use crate::process::Daemon;
use crate::reads::{SECRET, token};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(every_kind_reaches_its_user_in_its_wrapper),
        needs::nothing(a_payload_is_checked_before_it_is_renamed),
        needs::nothing(every_edge_of_a_circuit_breaker_arrives),
        needs::nothing(absence::a_source_that_goes_and_comes_again_is_counted_and_told_in_no_words),
        needs::nothing(absence::a_page_stays_while_its_broadcaster_is_quarantined_and_goes_on_behind_that),
        needs::nothing(isolation::users_hear_their_own_in_order_on_every_connection),
        needs::nothing(isolation::nobody_reaches_what_is_anothers),
        needs::nothing(isolation::an_event_for_nobody_is_counted_and_heard_by_nobody),
        needs::nothing(isolation::only_named_kinds_go_to_everybody),
        needs::nothing(isolation::each_user_has_a_history_of_their_own),
        needs::nothing(isolation::a_slow_user_delays_nobody),
        needs::nothing(life::the_shipped_daemon_is_closed_to_users_and_says_nothing_of_it),
        needs::nothing(life::records_outlive_panics_a_reload_and_a_restart),
        needs::nothing(life::whoever_publishes_while_it_reloads_or_drains_is_answered),
        needs::nothing(own_token::an_operator_is_shown_what_the_token_shows_its_user_and_no_more),
        needs::nothing(own_token::what_is_no_users_token_shows_nothing),
        needs::nothing(own_token::where_it_means_nothing_it_is_refused),
        needs::nothing(own_token::where_nobody_has_tokens_that_is_said),
        needs::nothing(own_token::only_an_operator_has_one_looked_at),
        needs::nothing(own_token::what_is_shown_ends_with_either_token),
        needs::programs(&["node-ws", "curl", "openssl"], page::what_the_page_shows_works),
        needs::nothing(page::what_the_page_adds_is_taken),
    ]
}

const SHIPPED: &str = include_str!("../../../config.toml");
const TRUST: &str = "jwt = { secret = { env = \"SIGNED_WITH\" } }";
/// What no log and no metric may say: a part of every user's name, and one of payloads.
const UNSAID: [&str; 2] = ["zaphod", "8675309"];

/// The shipped configuration behind ports of the kernel's choice, with this in `[auth]`.
pub fn shipped(auth: &str) -> String {
    let (_, endpoints) = SHIPPED.split_once("[[server.endpoints]]").unwrap();
    let (endpoints, rest) = endpoints.split_once("\n[admin]").unwrap();
    let (_, rest) = rest.split_once("\n[auth]").unwrap();
    format!("[[server.endpoints]]{endpoints}\n[auth]\n{auth} {rest}")
}

/// The shipped configuration where charts and state machines hear nothing but what is published.
pub fn unmocked(shipped: &str) -> String {
    let mocks = [
        (r#"source = "mock", interval = "1s", auto"#, "auto"),
        (r#"source = "mock", interval = "2s", initial"#, "initial"),
    ];
    mocks.iter().fold(shipped.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// The shipped daemon, with its log as loud as it can be, for users whom tests sign tokens for.
fn start(config: &str) -> Daemon {
    Daemon::start_with(config, &[("SIGNED_WITH", SECRET), ("BROADCASTD_LOG__LEVEL", "debug")])
}

fn token_of(user: &str) -> String {
    token(user, unix_now(), &json!({}))
}

/// A page of this user that has heard the greeting and nothing else.
fn page_of(daemon: &Daemon, user: &str) -> Client {
    let uri = format!("ws://{}/ws/user?token={}", daemon.clients, token_of(user));
    let request = tungstenite::ClientRequestBuilder::new(uri.parse().unwrap());
    let (mut page, _) = tungstenite::client(request, http::connect(&daemon.clients)).unwrap();
    let greeting = heard(&mut page);
    assert_eq!((&greeting["type"], &greeting["user_id"]), (&json!("CONNECTED"), &json!(user)));
    page
}

/// What the client is sent next, to the last digit.
fn heard(client: &mut Client) -> Value {
    loop {
        match client.read().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn tell(daemon: &Daemon, user: &str, kind: &str, payload: &Value) {
    let answer = daemon.publish("user_events", &json!({"type": kind, "audience": user, "data": payload}));
    assert_eq!(answer.status, 202, "{kind}: {answer:?}");
}

/// Something that nobody can take for anything else.
fn life_cycle(of: &str, n: usize) -> Value {
    json!({"eventType": "STEP", "of": of, "n": n, "secret": 8_675_309})
}

/// What is told in the log and in the metrics names no user and shows nothing of a payload.
fn says_nothing_of_users(daemon: &Daemon) {
    let (log, metrics) = (daemon.log_text(), daemon.get("/metrics").body);
    assert!(log.contains("\"DEBUG\"") && log.contains("LIFECYCLE_EVENT"), "the log is not loud enough:\n{log}");
    for word in UNSAID {
        // Who gave a command is noted: that is what an audit is for.
        for line in log.lines().filter(|line| !line.contains("\"target\":\"audit\"")).chain(metrics.lines()) {
            assert!(!line.contains(word), "{line}");
        }
    }
}

/// A payload of every kind that clients know, where it stands in `data`, and whether it is kept.
fn kinds() -> Vec<(&'static str, Value, &'static str, bool)> {
    vec![
        ("CHAIN_UPDATE", json!({"chainId": "c1", "orders": [], "status": "active", "more": 1}), "chain", true),
        ("LIFECYCLE_EVENT", json!({"eventType": "TRADE_OPENED", "tradeId": "t1"}), "event", false),
        (
            "GINIE_STATUS_UPDATE",
            json!({"isRunning": true, "currentMode": "scalp", "activePositions": 2, "lastSignal": null}),
            "status",
            true,
        ),
        (
            "CIRCUIT_BREAKER_UPDATE",
            json!({"isTriggered": true, "triggerReason": "loss", "resetTime": null}),
            "state",
            true,
        ),
        ("PNL_UPDATE", json!({"totalPnL": 1.5, "dailyPnL": -2, "positionPnL": null}), "pnl", true),
        ("MODE_STATUS_UPDATE", json!({"mode": "scalp", "enabled": true}), "status", true),
        ("SYSTEM_STATUS_UPDATE", json!({"uptime": 86400}), "status", true),
        (
            "SIGNAL_UPDATE",
            json!({"id": "s1", "symbol": "BTCUSDT", "direction": "LONG", "status": "pending"}),
            "signal",
            true,
        ),
        ("POSITION_UPDATE", json!({"positions": []}), "", true),
        ("ORDER_UPDATE", json!({"orderId": 7, "status": "NEW"}), "", true),
        ("BALANCE_UPDATE", json!({"asset": "USDT", "free": 1000}), "", true),
        ("TRADE_UPDATE", json!({"tradeId": "t1", "profit": 12.5}), "", true),
        ("SIGNAL_GENERATED", json!({"symbol": "BTCUSDT"}), "", false),
    ]
}

/// What a page reads of a payload: the life cycle both wrapped and flat.
fn wrapped(kind: &str, payload: &Value, key: &str) -> Value {
    if key.is_empty() {
        return payload.clone();
    }
    let mut data = json!({ key: payload });
    if kind == "LIFECYCLE_EVENT" {
        data.as_object_mut().unwrap().extend(payload.as_object().unwrap().clone());
    }
    data
}

fn every_kind_reaches_its_user_in_its_wrapper() {
    let daemon = start(&shipped(TRUST));
    let mut page = page_of(&daemon, "zaphod-1");
    let bearer = format!("Bearer {}", token_of("zaphod-1"));
    let mut native = crate::house::connect(&daemon.clients, &[("Authorization", &bearer)]).unwrap();
    crate::house::subscribe(&mut native, "user");
    for (kind, payload, key, _) in kinds() {
        tell(&daemon, "zaphod-1", kind, &payload);
        let event = heard(&mut page);
        assert_eq!((&event["type"], &event["data"]), (&json!(kind), &wrapped(kind, &payload, key)));
        let bare = heard(&mut native);
        assert_eq!((&bare["type"], &bare["data"]), (&json!(kind), &payload));
        assert_eq!(bare["topic"], format!("user:{kind}"));
    }
    let mut fresh = page_of(&daemon, "zaphod-1");
    let mut kept: Vec<_> = kinds().into_iter().filter(|(.., is_kept)| *is_kept).collect();
    while !kept.is_empty() {
        let event = heard(&mut fresh);
        let at = kept.iter().position(|(kind, ..)| event["type"] == *kind).unwrap_or_else(|| panic!("{event}"));
        let (kind, payload, key, _) = kept.remove(at);
        assert_eq!(event["data"], wrapped(kind, &payload, key), "a page that opens is shown the present");
    }
    tell(&daemon, "zaphod-1", "PRICE_UPDATE", &json!({"price": 8_675_309}));
    tell(&daemon, "zaphod-1", "LIFECYCLE_EVENT", &life_cycle("zaphod-1", 0));
    assert_eq!(heard(&mut fresh)["type"], "LIFECYCLE_EVENT", "what no setting names goes to nobody");
    let ignored = "broadcastd_plugin_user_inputs_ignored_total{broadcaster=\"user\",reason=\"unknown_kind\"}";
    assert_eq!(daemon.metric(ignored), Some(1.0));
    says_nothing_of_users(&daemon);
}

fn a_payload_is_checked_before_it_is_renamed() {
    let config = shipped(TRUST).replace(
        "schema_modes = { \"*\" = \"enforce\" }",
        "schema_modes = { \"*\" = \"enforce\", CHAIN_UPDATE = \"warn\" }",
    );
    let rename = "[broadcasters.user.settings.rename]\nCHAIN_UPDATE = { baseId = \"chainId\" }\n\
                  GINIE_STATUS_UPDATE = { running = \"isRunning\" }\n";
    let daemon = start(&format!("{config}{rename}"));
    let mut page = page_of(&daemon, "zaphod-1");
    let status = json!({"running": true, "currentMode": "8675309", "activePositions": 0, "lastSignal": null});
    let event = json!({"type": "GINIE_STATUS_UPDATE", "audience": "zaphod-1", "data": status});
    let refused = daemon.publish("user_events", &event);
    assert_eq!(refused.status, 422);
    assert_eq!(
        refused.json()["rejected"],
        json!([{"index": 0, "pointer": "/data", "error": "\"isRunning\" is missing"}]),
    );
    tell(&daemon, "zaphod-1", "CHAIN_UPDATE", &json!({"baseId": "c9", "orders": [], "status": "active", "more": [1]}));
    let chain = heard(&mut page);
    assert_eq!(chain["data"], json!({"chain": {"chainId": "c9", "orders": [], "status": "active", "more": [1]}}));
    assert_eq!(daemon.metric("broadcastd_ingest_odd_total{stream=\"user_events\"}"), Some(1.0));
    let mut fresh = page_of(&daemon, "zaphod-1");
    assert_eq!(heard(&mut fresh)["data"], chain["data"], "it is kept by the name that clients know");
}

/// Events of either kind; what a socket and the kernel take of them is a small part.
const EDGES: usize = 500;

/// A page that does not read is told the newest result when it reads on, and every trigger and reset.
fn every_edge_of_a_circuit_breaker_arrives() {
    let config = shipped(TRUST).replace("= \"1MiB\"", "= \"64MiB\"");
    assert!(config.contains("outbox            = \"64MiB\""));
    let daemon = start(&config);
    let mut page = page_of(&daemon, "zaphod-1");
    let pad = "x".repeat(16 << 10);
    for n in 0..EDGES {
        let result = json!({"totalPnL": n, "dailyPnL": 0, "positionPnL": null, "pad": pad});
        let edge = json!({"isTriggered": n % 2 == 0, "triggerReason": null, "resetTime": null, "n": n});
        let both = json!([
            {"type": "PNL_UPDATE", "audience": "zaphod-1", "data": result},
            {"type": "CIRCUIT_BREAKER_UPDATE", "audience": "zaphod-1", "data": edge},
        ]);
        assert_eq!(daemon.publish("user_events", &both).status, 202);
    }
    tell(&daemon, "zaphod-1", "LIFECYCLE_EVENT", &life_cycle("zaphod-1", 0));
    let (mut edges, mut results) = (Vec::new(), Vec::new());
    loop {
        let event = heard(&mut page);
        match event["type"].as_str().unwrap() {
            "CIRCUIT_BREAKER_UPDATE" => edges.push(event["data"]["state"]["n"].as_u64().unwrap()),
            "PNL_UPDATE" => results.push(event["data"]["pnl"]["totalPnL"].as_u64().unwrap()),
            _ => break,
        }
    }
    assert_eq!(edges, (0..EDGES as u64).collect::<Vec<_>>());
    assert!(results.len() < EDGES, "nothing waited, so that nothing is shown here");
    assert!(results.is_sorted() && results.last() == Some(&(EDGES as u64 - 1)), "{results:?}");
}
