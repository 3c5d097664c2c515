//! The EventSource of a browser: on a page of another origin, and through ends of its connection.

use std::process::Command;

use serde_json::{Value, json};

use super::{Clerk, run};
use crate::house::until;
use crate::http::{self, PATIENCE};
use crate::process::Daemon;

/// Tells each event, where it left the page, and how each connection began.
const PAGE: &str = r#"
let telling = Promise.resolve();
const tell = line => (telling = telling.then(() => fetch(TOLD, { method: "POST", body: line })));
const source = new EventSource(URL);
source.addEventListener("tick", event => tell(`${JSON.parse(event.data).data.n} ${event.lastEventId}`));
source.addEventListener("response", ({ data }) => tell(`recovered ${JSON.parse(data).data.recovered}`));
source.addEventListener("full_update", () => tell("records"));
"#;
/// How often the connection is ended.
const ENDS: u64 = 2;
const EVENTS: u64 = 5;

pub fn an_event_source_comes_back_by_itself_and_misses_nothing() {
    let daemon = Daemon::start("[streams.ticks]\nvisible = true\n");
    let clerk = Clerk::start(|told| {
        let url = format!("http://{}/v1/sse?topic=ticks", daemon.clients);
        let page = PAGE.replace("TOLD", &format!("{told:?}")).replace("URL", &format!("{url:?}"));
        format!("<!doctype html><script>{page}</script>")
    });
    let profile = tempfile::tempdir().unwrap();
    let _browser = run(Command::new("chromium-headless-shell")
        .args(["--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(&clerk.address));
    let hear = || clerk.lines.recv_timeout(PATIENCE).unwrap();
    assert_eq!((hear().as_str(), hear().as_str()), ("recovered false", "records"));
    let epoch = http::get(&daemon.clients, "/v1/streams/ticks").json()["position"]["epoch"].take();
    let epoch = epoch.as_str().unwrap();
    let mut next = 1;
    let publish = |first: u64| {
        for n in first..first + EVENTS {
            assert_eq!(daemon.publish("ticks", &json!({"type": "tick", "data": {"n": n}})).status, 202);
        }
    };
    let hears = |first: u64| {
        for n in first..first + EVENTS {
            assert_eq!(hear(), format!("{n} ticks={epoch}:{n}"));
        }
    };
    for _ in 0..ENDS {
        publish(next);
        hears(next);
        next += EVENTS;
        let ended = end(&daemon);
        publish(next); // while nobody listens
        until("it has come back", || ids(&daemon).iter().any(|id| *id != ended));
        assert_eq!(hear(), "recovered true");
        hears(next);
        next += EVENTS;
    }
}

fn ids(daemon: &Daemon) -> Vec<String> {
    let page = daemon.get("/v1/connections").json();
    let ids = page["connections"].as_array().unwrap().iter().map(|one: &Value| one["id"].as_str().unwrap().to_owned());
    ids.collect()
}

/// Ends the only connection, and says which it was.
fn end(daemon: &Daemon) -> String {
    let id = ids(daemon).remove(0);
    let line = format!("DELETE /v1/connections/{id} HTTP/1.1");
    assert_eq!(http::ask(&daemon.admin, &line, &[], b"").json(), json!({"closed": 1}));
    until("it has ended", || ids(daemon).is_empty());
    id
}
