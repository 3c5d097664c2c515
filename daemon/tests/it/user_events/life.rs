//! The broadcaster's life in the daemon: as it is shipped, through failures, reloads and restarts, and while the daemon
//! leaves.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use serde_json::{Value, json};

use super::{TRUST, heard, life_cycle, page_of, shipped, start, tell};
use crate::house::{self, open};
use crate::http::{self, PATIENCE};
use crate::process::Daemon;
use crate::reads::SECRET;

pub fn the_shipped_daemon_is_closed_to_users_and_says_nothing_of_it() {
    let daemon = Daemon::start(&shipped(""));
    assert_eq!(daemon.readiness(), (200, vec![]));
    let body = r#"{"error":"UNAUTHORIZED","message":"authentication required for WebSocket connection"}"#;
    let token = super::token_of("zaphod-1");
    for (query, header) in [("", None), (&*format!("?token={token}"), None), ("", Some(format!("Bearer {token}")))] {
        let headers: Vec<(&str, &str)> = header.iter().map(|bearer| ("Authorization", &**bearer)).collect();
        let uri = format!("ws://{}/ws/user{query}", daemon.clients);
        let Err(answer) = open(http::connect(&daemon.clients), &uri, &headers) else { panic!("{uri}") };
        assert_eq!((answer.status, &*answer.body), (401, body));
    }
    let odd = daemon.publish("user_events", &json!({"type": "CHAIN_UPDATE", "audience": "zaphod-1", "data": {}}));
    assert_eq!(odd.status, 422, "payloads are checked without any file beside the configuration");
    tell(&daemon, "zaphod-1", "SYSTEM_STATUS_UPDATE", &json!({}));
    let mut client = daemon.subscriber("bars");
    assert_eq!(house::hear_json(&mut client)["stream"], "bars");
    drop(client);
    daemon.signal("TERM");
    daemon.wait_for_log_after(0, "\"stopped\"");
    let log = daemon.log_text();
    for line in log.lines() {
        let told: Value = serde_json::from_str(line).unwrap();
        let of_a_busy_machine = ["hub.max_connections is capped", " took "];
        let is_calm = told["level"] == "INFO" || of_a_busy_machine.iter().any(|calm| line.contains(calm));
        assert!(is_calm && !line.to_lowercase().contains("websocket"), "{line}");
    }
    assert_eq!(daemon.wait().0.code(), Some(0));
}

/// How often it panics, where the work of an input may be lost or done twice.
const PANICS: u32 = 12;

/// The shipped configuration, whose broadcaster of user events panics in the middle of its work.
fn faltering() -> String {
    let config = shipped(TRUST).replace(
        "plugin   = \"user_events\"",
        "plugin = \"faltering\"\nrestart = { max = 1000, backoff = \"1ms..10ms\" }",
    );
    let settings = "[broadcasters.user.settings";
    config.replace(settings, &format!("{settings}]\npanics = {PANICS}\nevery = 3\n{settings}.settings"))
}

pub fn records_outlive_panics_a_reload_and_a_restart() {
    let config = faltering();
    let daemon = start(&config);
    for user in ["zaphod-1", "zaphod-10"] {
        tell(&daemon, user, "CHAIN_UPDATE", &json!({"chainId": "c1", "orders": [], "status": "active", "of": user}));
        tell(
            &daemon,
            user,
            "SIGNAL_UPDATE",
            &json!({"id": user, "symbol": "B", "direction": "LONG", "status": "pending"}),
        );
    }
    let told = until_it_has_panicked_enough(&daemon);
    shows(&daemon, "panics");
    daemon.reload(|| daemon.configure(&format!("{config}\n[broadcasters.user.settings.settings.kinds.NEW_KIND]\n")));
    shows(&daemon, "other settings");
    tell(&daemon, "zaphod-1", "NEW_KIND", &json!({}));

    let (status, folder) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    let daemon = Daemon::start_in(folder, &config, &[("SIGNED_WITH", SECRET)]);
    shows(&daemon, "a restart");
    let mut page = page_of(&daemon, "zaphod-3");
    tell(&daemon, "zaphod-3", "LIFECYCLE_EVENT", &life_cycle("zaphod-3", told));
    assert_eq!(heard(&mut page)["data"]["n"], told);
}

/// Tells somebody else something until there were all panics; all of it is heard, each once and in order.
fn until_it_has_panicked_enough(daemon: &Daemon) -> usize {
    let mut page = page_of(daemon, "zaphod-2");
    let restarts = "broadcastd_broadcaster_restarts_total{broadcaster=\"user\"}";
    let mut told = 0;
    house::until("it has panicked as often as it should", || {
        tell(daemon, "zaphod-2", "LIFECYCLE_EVENT", &life_cycle("zaphod-2", told));
        let event = heard(&mut page)["data"].take();
        assert_eq!(event["n"], told, "each once, in order, on the same connection");
        told += 1;
        daemon.metric(restarts) >= Some(f64::from(PANICS))
    });
    told
}

/// A page that opens is shown a chain and a signal of its user's.
fn shows(daemon: &Daemon, after: &str) {
    for user in ["zaphod-1", "zaphod-10"] {
        house::until("the records are told", || {
            let shown = daemon.get_proven(&format!("/v1/streams/user/snapshot?audience={user}")).json();
            shown["data"]["signals"].as_array().is_some_and(|signals| !signals.is_empty())
        });
        let mut page = page_of(daemon, user);
        let mut shown = [heard(&mut page), heard(&mut page)];
        shown.sort_by_key(|event| event["type"].to_string());
        assert_eq!(shown[0]["data"]["chain"]["of"], user, "{after}");
        assert_eq!(shown[1]["data"]["signal"]["id"], user, "{after}");
    }
}

const RELOADS: usize = 10;
const TOLD: &str = "broadcastd_plugin_user_events_total{broadcaster=\"user\",kind=\"LIFECYCLE_EVENT\"}";
const PUBLISHERS: usize = 4;

pub fn whoever_publishes_while_it_reloads_or_drains_is_answered() {
    let config = shipped(TRUST);
    let daemon = start(&config);
    let mut page = page_of(&daemon, "zaphod-1");
    let is_over = AtomicBool::new(false);
    let (published, told) = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut n = 0;
            while !is_over.load(Relaxed) {
                tell(&daemon, "zaphod-1", "LIFECYCLE_EVENT", &life_cycle("zaphod-1", n));
                n += 1;
            }
            tell(&daemon, "zaphod-1", "LIFECYCLE_EVENT", &life_cycle("the end", n));
            n
        });
        let reader = scope.spawn(|| {
            for n in 0.. {
                let event = heard(&mut page)["data"].take();
                assert_eq!(event["n"], n, "each once, in order, on the same connection");
                if event["of"] == "the end" {
                    return n;
                }
            }
            unreachable!("numbers do not end")
        });
        for n in 0..RELOADS {
            let other = format!("{config}\n[broadcasters.user.settings.kinds.KIND_{n}]\n");
            daemon.reload(|| daemon.configure(&other));
        }
        is_over.store(true, Relaxed);
        (publisher.join().unwrap(), reader.join().unwrap())
    });
    assert_eq!(told, published);
    let said: Vec<Said> = thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS).map(|_| scope.spawn(|| publish_to_the_end(&daemon.admin))).collect();
        let began = daemon.metric(TOLD);
        house::until("they publish", || daemon.metric(TOLD) > began);
        daemon.signal("TERM");
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
    });
    println!("{said:?}");
    for said in &said {
        assert!(!said.answers.is_empty(), "{said:?}");
        // Who has asked is answered; only a connection that nobody had taken yet ends with the last listener, and whoever
        // comes after that finds nobody.
        assert!(said.cut <= 1, "{said:?}");
        assert_eq!(said.answered_after_a_cut, 0, "{said:?}");
        assert!(said.answers.keys().all(|status| [202, 429, 503].contains(status)), "{said:?}");
    }
    assert!(!daemon.log_text().contains("panicked"), "{}", daemon.log_text());
    assert_eq!(daemon.wait().0.code(), Some(0));
}

/// What a publisher was told until nobody was there any more.
#[derive(Debug, Default)]
struct Said {
    /// How many answers had which status.
    answers: BTreeMap<u16, usize>,
    /// Connections that ended without an answer.
    cut: usize,
    answered_after_a_cut: usize,
}

fn publish_to_the_end(address: &str) -> Said {
    let mut said = Said::default();
    let event = json!({"type": "LIFECYCLE_EVENT", "audience": "zaphod-1", "data": life_cycle("zaphod-1", 0)});
    let headers = [("Content-Type", "application/json")];
    let line = "POST /v1/streams/user_events/publish HTTP/1.1";
    let request = http::request(address, line, &headers, event.to_string().as_bytes());
    while let Ok(mut socket) = TcpStream::connect(address) {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let done = socket.write_all(&request).and_then(|()| socket.read_to_end(&mut answer));
        let text = String::from_utf8_lossy(&answer);
        match text.split(' ').nth(1).and_then(|status| status.parse().ok()).filter(|_| done.is_ok()) {
            Some(status) => {
                *said.answers.entry(status).or_default() += 1;
                said.answered_after_a_cut += usize::from(said.cut > 0);
            }
            None => said.cut += 1,
        }
    }
    said
}
