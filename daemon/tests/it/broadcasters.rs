//! Broadcasters that misbehave, one in C, and variables of their own, on the real daemon: everybody else is undisturbed.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house::{self, Client, hear_json};
use crate::needs;
use crate::process::{self, Daemon, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(one_that_panics_is_restarted_then_quarantined_and_nobody_else_notices),
        needs::nothing(one_that_fails_is_restarted_then_quarantined_and_nobody_else_notices),
        needs::nothing(a_quarantined_one_comes_back_when_it_is_corrected),
        needs::nothing(one_that_hangs_is_told_and_left_behind_by_a_reload),
        needs::nothing(one_that_floods_or_publishes_garbage_is_counted_and_nobody_else_notices),
        needs::nothing(one_that_says_it_is_degraded_is_a_reason_and_the_daemon_is_ready),
        needs::nothing(one_in_c_reaches_a_client_and_may_take_the_place_of_another),
        needs::nothing(variables_of_its_own_win_over_the_file),
        needs::nothing(a_wrong_variable_is_refused_by_its_name),
    ]
}

/// Works all the time beside the one that does not.
const WELL: &str = "[broadcasters.well]\nplugin = \"faulty\"\nsettings = { interval_ms = 10 }\n";

fn bad(mode: &str) -> String {
    format!(
        "{WELL}[broadcasters.bad]\nplugin = \"faulty\"\nsettings = {{ mode = \"{mode}\", interval_ms = 10 }}\nrestart = {{ max = 3, backoff = \"10ms..20ms\" }}\n"
    )
}

fn one_that_panics_is_restarted_then_quarantined_and_nobody_else_notices() {
    ends_in_quarantine("panic", "panic", "timer panics on purpose");
}

fn one_that_fails_is_restarted_then_quarantined_and_nobody_else_notices() {
    ends_in_quarantine("error", "failed", "timer fails on purpose");
}

fn ends_in_quarantine(mode: &str, reason: &str, message: &str) {
    let daemon = Daemon::start(&bad(mode));
    let mut well = daemon.subscriber("well");
    let mut client = daemon.subscriber("bad");
    let why = loop {
        let status = hear_json(&mut client);
        assert!(["status", "count"].contains(&status["type"].as_str().unwrap()), "{status}");
        let why = status["data"]["reason"].as_str().unwrap_or_default().to_owned();
        if why.starts_with("quarantined") {
            break why;
        }
    };
    assert_eq!(why, "quarantined after 3 failures in 60s", "what went wrong is for operators");
    let status = daemon.get("/v1/broadcasters/bad").json();
    assert!(status["last_error"].as_str().unwrap().contains(message), "{status}");
    assert_eq!(
        (&status["state"], &status["restarts"], &status["errors"]),
        (&json!("quarantined"), &json!(2), &json!(3))
    );
    assert_eq!(status["is_running"], false);
    let version = status["version"].as_str().unwrap();
    let next = format!("version {version} failed 3 times in 60s: it stays away until it is corrected and reloaded");
    assert_eq!(status["next"], next);
    let series = |name: &str, labels: &str| {
        daemon.metric(&format!("broadcastd_broadcaster_{name}{{broadcaster=\"bad\"{labels}}}"))
    };
    assert_eq!(series("restarts_total", ""), Some(2.0));
    assert_eq!(series("errors_total", &format!(",reason=\"{reason}\"")), Some(3.0));
    assert_eq!(series("up", ""), Some(0.0));
    let (ready, reasons) = daemon.readiness();
    assert_eq!((ready, reasons.len()), (200, 1), "{reasons:?}");
    assert!(reasons[0].starts_with("broadcaster bad is quarantined: ") && reasons[0].contains(message), "{reasons:?}");
    assert!(reasons[0].ends_with(&format!("; {next}")), "{reasons:?}");
    hears_all(&mut well, 20);
    assert_eq!(daemon.stop().0.code(), Some(0));
}

fn a_quarantined_one_comes_back_when_it_is_corrected() {
    let daemon = Daemon::start(&bad("panic"));
    daemon.wait_for_log("quarantined; correct it and reload");
    let mut client = daemon.subscriber("bad");
    assert_eq!(hear_json(&mut client)["data"]["status"], "no_source");
    let skip = daemon.log_lines();
    daemon.reload(|| daemon.signal("HUP"));
    daemon.wait_for_log_after(skip, "quarantined; correct it and reload"); // it was let try again
    assert_eq!(hear_json(&mut client)["data"]["status"], "source");
    daemon.reload(|| daemon.configure(&bad("well")));
    while hear_json(&mut client)["type"] != "count" {} // it came and went with each try
    assert_eq!(daemon.readiness(), (200, vec![]));
}

fn one_that_hangs_is_told_and_left_behind_by_a_reload() {
    let daemon = Daemon::start(&bad("hang"));
    let mut well = daemon.subscriber("well");
    daemon.subscriber("bad");
    daemon.wait_for_log("a call into the plugin does not return");
    let (ready, reasons) = daemon.readiness();
    assert_eq!((ready, reasons), (200, vec!["broadcaster bad is stuck".to_owned()]));
    daemon.reload(|| daemon.configure(&bad("well")));
    let mut client = daemon.subscriber("bad");
    assert_eq!(hear_json(&mut client)["type"], "count");
    assert_eq!(daemon.metric(r#"broadcastd_plugin_threads_abandoned_total{broadcaster="bad"}"#), Some(1.0));
    assert_eq!(daemon.get("/v1/broadcasters/bad").json()["threads_abandoned"], 1);
    assert_eq!(daemon.readiness(), (200, vec![]));
    hears_all(&mut well, 20);
    assert_eq!(daemon.stop().0.code(), Some(0));
}

fn one_that_floods_or_publishes_garbage_is_counted_and_nobody_else_notices() {
    let daemon = Daemon::start(&bad("garbage"));
    let mut well = daemon.subscriber("well");
    let mut client = daemon.subscriber("bad");
    house::until("garbage is refused", || daemon.get("/v1/broadcasters/bad").json()["refused"].as_u64() > Some(20));
    daemon.reload(|| daemon.configure(&bad("flood")));
    let flooded = |more: u64| {
        house::until("the flood is taken", || {
            daemon.get("/v1/broadcasters/bad").json()["broadcasts_sent"].as_u64() > Some(more)
        });
    };
    flooded(10_000);
    hears_all(&mut well, 20);
    assert_eq!(daemon.readiness(), (200, vec![]));
    daemon.reload(|| daemon.configure(&bad("well")));
    // Whoever could not follow was told so, and hears what is new.
    let mut seq = 0;
    for _ in 0..100 {
        let message = hear_json(&mut client);
        if message["type"] == "count" {
            assert!(message["seq"].as_u64().unwrap() > seq, "{message}");
            seq = message["seq"].as_u64().unwrap();
        }
    }
    hears_all(&mut well, 20);
}

fn one_that_says_it_is_degraded_is_a_reason_and_the_daemon_is_ready() {
    let daemon = Daemon::start(&bad("degraded"));
    assert_eq!(daemon.readiness(), (200, vec!["broadcaster bad is degraded: degraded on purpose".to_owned()]));
    assert_eq!(hear_json(&mut daemon.subscriber("bad"))["type"], "count");
}

fn one_in_c_reaches_a_client_and_may_take_the_place_of_another() {
    let folder = tempfile::tempdir().unwrap();
    compile("plugins/hello-c/hello.c", &folder.path().join("libhello.so"));
    let config = |what: &str| {
        format!("{WELL}[plugins]\ndirs = [\"{}\"]\n[broadcasters.greetings]\n{what}\n", folder.path().display())
    };
    let hello = "plugin = \"hello\"\nsettings = { greeting = \"good morning\" }";
    let daemon = Daemon::start(&config("plugin = \"faulty\""));
    let mut client = daemon.subscriber("greetings");
    let mut well = daemon.subscriber("well");
    assert_eq!(hear_json(&mut client)["type"], "count");
    daemon.reload(|| daemon.configure(&config(hello)));
    let mut later = std::iter::repeat_with(|| hear_json(&mut client)).skip_while(|event| event["type"] == "count");
    let (shown, event) = (later.next().unwrap(), later.next().unwrap());
    assert_eq!(
        (&shown["resync"], &shown["data"]),
        (&json!(true), &json!({"greetings": []})),
        "the other one has no records yet"
    );
    assert_eq!((&event["type"], &event["data"]), (&json!("hello"), &json!({"greeting": "good morning", "count": 1})));
    let status = daemon.get("/v1/broadcasters/greetings").json();
    assert_eq!((&status["plugin"], &status["version"]), (&json!("hello"), &json!("1.0.0")));
    hears_all(&mut well, 20);
}

const OWN: &str = "[broadcasters.hello]\nplugin = \"faulty\"\nenv = \"HELLO\"\nsettings = { interval_ms = 60000 }\n";

fn variables_of_its_own_win_over_the_file() {
    for no in ["false", "0", "no"] {
        let daemon = Daemon::start_with(OWN, &[("HELLO_ENABLED", no)]);
        let status = daemon.get("/v1/broadcasters/hello").json();
        assert_eq!((&status["state"], &status["is_running"]), (&json!("stopped"), &json!(false)), "{no}");
    }
    for yes in ["true", "1", "yes"] {
        let disabled = format!("{OWN}enabled = false\n");
        let daemon = Daemon::start_with(&disabled, &[("HELLO_ENABLED", yes), ("HELLO_INTERVAL_MS", "10")]);
        assert_eq!(daemon.get("/v1/broadcasters/hello").json()["interval_ms"], 10, "{yes}");
        hears_all(&mut daemon.subscriber("hello"), 3);
        daemon.reload(|| daemon.configure(&format!("{disabled}[streams.news]\n")));
        assert_eq!(daemon.get("/v1/broadcasters/hello").json()["interval_ms"], 10, "{yes}: also after a reload");
    }
}

fn a_wrong_variable_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), format!("{PORTS}{OWN}")).unwrap();
    for (variable, value) in [("HELLO_ENABLED", "maybe"), ("HELLO_INTERVAL_MS", "soon"), ("HELLO_MOOD", "1")] {
        let ended = process::run(folder.path(), &[], &[(variable, value)]);
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        assert!(ended.stderr.contains(variable) && ended.stdout.is_empty(), "{}", ended.stderr);
    }
}

/// Hears so many counts, none missing, none twice.
fn hears_all(client: &mut Client, events: usize) {
    let count = |message: &Value| {
        assert_eq!(message["type"], "count", "{message}");
        message["data"]["count"].as_u64().unwrap()
    };
    let first = count(&hear_json(client));
    let rest: Vec<u64> = (1..events).map(|_| count(&hear_json(client))).collect();
    assert!(rest.iter().zip(first + 1..).all(|(heard, expected)| *heard == expected), "{first}, then {rest:?}");
}

fn compile(source: &str, library: &Path) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-shared", "-fPIC", "-pthread", "-o"]).arg(library);
    cc.arg("-I").arg(workspace.join("plugin-api/include")).arg(workspace.join(source));
    assert!(cc.status().expect("the tests need a C compiler called cc").success());
}
