//! The shipped configuration before every judge: each of its broadcasters, a notifier, and users whom a token names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{ASYNCAPI, OPENAPI, compile, document, judge};
use crate::house::{self, hear_json};
use crate::process::{self, Daemon};
use crate::reads::{SECRET, token};
use crate::user_events::shipped;

const TRUST: &str = "jwt = { secret = { env = \"SIGNED_WITH\" } }";
/// A notifier beside what is shipped; nobody is told anything there.
const OPS: &str = "[broadcasters.ops]\nplugin = \"webhook\"\nlisten = [\"alerts\"]\n\
    settings = { url = \"http://127.0.0.1:9/alerts\", match = { severity = [\"none\"] } }\n";
const USES: &str = include_str!("shipped.ts");

fn start() -> Daemon {
    Daemon::start_with(&format!("{}{OPS}", shipped(TRUST)), &[("SIGNED_WITH", SECRET)])
}

/// The channels of a document that its judge takes, each with its messages.
fn channels(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let listed = judge("node", &["-e", ASYNCAPI], document).unwrap();
    let channel = |line: &str| {
        let (name, messages) = line.split_once(' ').unwrap();
        (name.to_owned(), messages.split(',').map(str::to_owned).collect())
    };
    listed.lines().map(channel).collect()
}

pub fn what_is_shipped_is_described_as_asyncapi_and_openapi_ask() {
    let daemon = start();
    let told = [&daemon.clients, &daemon.admin].map(|address| {
        judge("python3", &["-c", OPENAPI], &document(address, "openapi")).unwrap();
        channels(&document(address, "asyncapi"))
    });
    let [client, operator] = told;
    for seen in [&client, &operator] {
        for (stream, kinds) in [
            ("alerts", &["ack_update", "capability", "control_limits", "full_update", "sample", "violation"][..]),
            ("bars", &["bar", "full_update"]),
            (
                "state_machines",
                &[
                    "full_update",
                    "illegal_transition",
                    "instance_added",
                    "instance_recovered",
                    "instance_removed",
                    "instance_stale",
                    "state_change",
                ],
            ),
            ("ops", &["event", "full_update"]),
        ] {
            assert!(seen[stream].iter().eq(kinds), "{stream}: {seen:?}");
        }
    }
    assert!(!client.contains_key("user"), "what is each user's own is described to operators only");
    assert!(operator["user"].contains("CIRCUIT_BREAKER_UPDATE") && operator["user"].len() == 9, "{operator:?}");
    for command in ["alerts.acknowledge", "ops.list_dead_letters", "ops.retry_dead_letters"] {
        assert!(operator["broadcastd.v1"].contains(&format!("command.{command}")), "{operator:?}");
    }
}

/// The types allow what a page may write, refuse what is wrong, and every event that is heard is one of them.
pub fn the_compiler_takes_the_types_of_what_is_shipped_and_what_is_heard() {
    let daemon = start();
    let types = process::run(daemon.folder.path(), &["schema", "ts"], &[("SIGNED_WITH", SECRET)]);
    assert_eq!(types.code, Some(0), "{}", types.stderr);
    let with = |uses: &str| {
        let files = [("types.ts", types.stdout.as_str()), ("uses.ts", uses)];
        compile(&files.map(|(name, text)| (name.to_owned(), text.to_owned())).into())
    };
    assert_eq!(with(USES), Ok(()));
    let wrong = USES.matches("// @ts-expect-error").count();
    let unexpected = with(&USES.replace("// @ts-expect-error", "//")).unwrap_err();
    assert_eq!(unexpected.matches("error TS").count(), wrong, "{unexpected}");

    let events = heard(&daemon);
    let kinds: BTreeSet<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    for kind in ["instance_added", "state_change", "illegal_transition", "instance_removed", "sample", "violation"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    let head = "import type { ServerMessage } from \"./types\";\nexport const heard: ServerMessage[] =";
    assert_eq!(with(&format!("{head} {};\n", json!(events))), Ok(()));
    let mut odd = events[0].clone();
    odd["data"]["surprise"] = json!(1);
    assert!(with(&format!("{head} {};\n", json!([odd]))).is_err(), "a field that no type has is seen");
}

/// Some of everything that the shipped streams tell, as a client in the native protocol hears it.
fn heard(daemon: &Daemon) -> Vec<Value> {
    let bearer = format!("Bearer {}", token("zaphod", broadcastd::event::unix_now(), &json!({})));
    let mut client = house::connect(&daemon.clients, &[("Authorization", &bearer)]).unwrap();
    let about = |kind: &str, more: Value| {
        let mut data = json!({"session_id": "exec_1", "strategy_id": "grid", "symbol": "BTC"});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"type": kind, "data": data})
    };
    let sessions = json!([
        about("instance.transition", json!({"to": "S1"})),
        about("instance.started", json!({})),
        about("instance.transition", json!({"to": "S1", "event": "signal", "data": {"price": 1.5}})),
        about("instance.stopped", json!({})),
    ]);
    // Within the limits, but for the last one.
    let measured = |n: u64| if n == 25 { 150 } else { 100 + n % 5 };
    let sample = |n: u64| json!({"type": "sample", "data": {"characteristic_id": 7, "value": measured(n)}});
    let samples: Value = (0..26).map(sample).collect();
    let signal = json!({"id": "s1", "symbol": "BTC", "direction": "LONG", "status": "pending"});
    let told = [
        ("state_machines", "sessions", sessions, "instance_removed"),
        ("alerts", "samples", samples, "violation"),
        (
            "user",
            "user_events",
            json!({"type": "SIGNAL_UPDATE", "audience": "zaphod", "data": signal}),
            "SIGNAL_UPDATE",
        ),
    ];
    let mut events = Vec::new();
    for (stream, input, told, last) in told {
        house::subscribe(&mut client, stream);
        assert_eq!(daemon.publish(input, &told).status, 202);
        loop {
            events.push(hear_json(&mut client));
            if events.last().unwrap()["type"] == last {
                break;
            }
        }
    }
    events
}
