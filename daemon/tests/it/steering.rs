//! What operators do to single broadcasters of the running daemon: restart, disable, enable, swap, roll back. The plugin is
//! compiled here, in a version for each thing that can go wrong; a client listens all the while.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house::{Client, hear_json};
use crate::needs;
use crate::process::{self, Daemon, Ended};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(one_that_is_restarted_goes_on_from_its_state),
        needs::nothing(one_that_is_disabled_keeps_its_stream_and_its_listeners),
        needs::nothing(another_file_takes_over_and_can_be_taken_back),
        needs::nothing(a_file_that_cannot_take_over_changes_nothing),
        needs::nothing(a_file_that_fails_on_probation_is_rolled_back_by_itself),
        needs::nothing(what_cannot_be_done_is_refused_with_the_reason),
    ]
}

const CONFIG: &str = "[streams.in]\n[plugins]\ndirs = [\"plugins\"]\n\
[broadcasters.steady]\nplugin = \"steady\"\nlisten = [\"in\"]\n[broadcasters.off]\nplugin = \"steady\"\nenabled = false\n\
[broadcasters.behind]\nplugin = \"steady\"\nlisten = [\"steady\"]\n";

/// A daemon whose broadcaster counts what is published to `in`, and a client that hears the counts.
struct Place {
    daemon: Daemon,
    client: Client,
    last_seq: u64,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("plugins")).unwrap();
        build(folder.path(), "1.0.0", &[]);
        let daemon = Daemon::start_in(folder, CONFIG, &[]);
        let client = daemon.subscriber("steady");
        let mut place = Self { daemon, client, last_seq: 0 };
        place.count_to(1);
        place.count_to(2);
        place
    }

    /// Publishes something to count, and hears the count as the next event.
    fn count_to(&mut self, n: u64) {
        self.input("x");
        self.hear_count(n);
    }

    fn input(&self, what: &str) {
        assert_eq!(self.daemon.publish("in", &json!({"type": "do", "data": {"do": what}})).status, 202);
    }

    fn hear_count(&mut self, n: u64) {
        let heard = loop {
            let heard = hear_json(&mut self.client);
            if heard["type"] == "n" {
                break heard;
            }
            let is_of_an_exchange = ["full_update", "status"].contains(&heard["type"].as_str().unwrap());
            assert!(is_of_an_exchange, "{heard}");
        };
        assert_eq!(heard["data"]["n"], n, "{heard}");
        let seq = heard["seq"].as_u64().unwrap();
        assert!(seq > self.last_seq, "{heard}");
        self.last_seq = seq;
    }

    fn build(&self, version: &str, definitions: &[&str]) {
        build(self.daemon.folder.path(), version, definitions);
    }

    fn ask(&self, deed: &str, name: &str) -> Ended {
        process::run(self.daemon.folder.path(), &["broadcaster", deed, name], &[])
    }

    /// What the command prints that succeeds.
    fn done(&self, deed: &str) -> String {
        let ended = self.ask(deed, "steady");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{deed}: {}", ended.stdout);
        ended.stdout
    }

    /// What it says against it.
    fn refused(&self, deed: &str, name: &str, code: i32) -> String {
        let ended = self.ask(deed, name);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{deed}: {}", ended.stderr);
        ended.stderr.trim_end().to_owned()
    }

    /// What `/readyz` says of it.
    fn reason(&self) -> String {
        let reasons = self.daemon.readiness().1;
        reasons.into_iter().find(|reason| reason.contains("steady")).unwrap_or_default()
    }

    fn version(&self) -> Value {
        self.daemon.get("/v1/broadcasters/steady").json()["version"].clone()
    }
}

/// Compiles the plugin into the daemon's folder of plugins, as one replaces a file.
fn build(folder: &Path, version: &str, definitions: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (new, file) = (folder.join("libsteady.so.new"), folder.join("plugins/libsteady.so"));
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-shared", "-fPIC", "-pthread", "-DWITH_NOTE", "-DID=\"steady\"", "-o"]).arg(&new);
    cc.arg(format!("-DVERSION=\"{version}\"")).args(definitions.iter().map(|definition| format!("-D{definition}")));
    cc.arg("-I").arg(root.join("plugin-api/include")).arg(root.join("daemon/src/plugin/testing.c"));
    assert!(cc.status().unwrap().success());
    fs::rename(new, file).unwrap();
}

fn one_that_is_restarted_goes_on_from_its_state() {
    let mut place = Place::new();
    let told = place.done("restart");
    let expected = "restart of broadcaster steady:\n  ~ broadcaster steady: a new instance takes over the state; 1 subscription goes on\n";
    assert!(told.starts_with(expected), "{told}");
    place.count_to(3);
    place.done("restart");
    place.count_to(4);
    let log = place.daemon.log_text();
    assert_eq!(log.matches("\"act\":\"restart broadcaster steady\"").count(), 2, "{log}");
}

fn one_that_is_disabled_keeps_its_stream_and_its_listeners() {
    let mut place = Place::new();
    let told = place.done("disable");
    let expected = "  - broadcaster steady: stops; its stream stays, and 1 subscription is told\n";
    assert!(told.contains(expected), "{told}");
    let heard = hear_json(&mut place.client);
    assert_eq!(
        (&heard["data"]["status"], &heard["data"]["reason"]),
        (&json!("no_source"), &json!("the broadcaster is disabled")),
        "{heard}"
    );
    // A reload is no reason to start it again.
    place.daemon.reload(|| place.daemon.signal("HUP"));
    assert_eq!(place.daemon.get("/v1/broadcasters/steady").json()["is_running"], false);
    let told = place.done("enable");
    assert!(told.contains("  + broadcaster steady: starts\n"), "{told}");
    while place.daemon.get("/v1/broadcasters/steady").json()["is_running"] != true {}
    place.input("x");
    loop {
        let heard = hear_json(&mut place.client);
        if heard["type"] == "n" {
            assert_eq!(heard["data"]["n"], 3, "{heard}");
            break;
        }
    }
}

fn another_file_takes_over_and_can_be_taken_back() {
    let mut place = Place::new();
    place.build("2.0.0", &[]);
    let told = place.done("swap");
    assert!(told.contains("a new instance takes over the state; 1 subscription goes on"), "{told}");
    assert_eq!(place.version(), "2.0.0");
    place.count_to(3);
    let told = place.done("rollback");
    assert_eq!(told, "broadcaster steady runs the file of its plugin that it had before\n");
    assert_eq!(place.version(), "1.0.0");
    place.count_to(4);
    let reason = place.reason();
    assert!(reason.starts_with("broadcaster steady was rolled back from its plugin's file "), "{reason}");
    assert!(reason.ends_with(": an operator wanted it"), "{reason}");
    place.done("swap");
    assert_eq!((place.version(), place.reason()), (json!("2.0.0"), String::new()));
    place.count_to(5);
}

fn a_file_that_cannot_take_over_changes_nothing() {
    let mut place = Place::new();
    let wrong = [
        (&["REFUSE_STATE"][..], "it does not take over the state: state of version 1 is too old"),
        (&["HANGS_IN_RESTORE"][..], "the plugin did not return from restore_state within 2s"),
        (&["REFUSE_LOAD"][..], "not today"),
    ];
    for (at, (definitions, why)) in wrong.into_iter().enumerate() {
        place.build(&format!("2.0.{at}"), definitions);
        let refusal = place.refused("swap", "steady", 78);
        assert!(refusal.contains(why) && refusal.ends_with("the running configuration stays active"), "{refusal}");
        assert_eq!(place.version(), "1.0.0");
        place.count_to(3 + at as u64);
    }
    fs::write(place.daemon.folder.path().join("plugins/libsteady.so"), "no library").unwrap();
    place.refused("swap", "steady", 78);
    place.done("restart"); // the file is not looked at for that
    place.count_to(6);
}

fn a_file_that_fails_on_probation_is_rolled_back_by_itself() {
    let mut place = Place::new();
    place.build("2.0.0", &["BREAKS_AT=\"break\""]);
    place.done("swap");
    place.count_to(3);
    place.input("break");
    place.daemon.wait_for_log("it was rolled back to the file before: ");
    place.hear_count(4); // the old file counts what broke the new one
    assert_eq!(place.version(), "1.0.0");
    place.count_to(5);
    let reason = place.reason();
    assert!(reason.starts_with("broadcaster steady was rolled back from its plugin's file "), "{reason}");
    place.daemon.reload(|| place.daemon.signal("HUP"));
    assert_eq!(place.version(), "1.0.0", "a reload does not try it again");
    place.build("3.0.0", &["BREAKS_AT=\"other\""]);
    place.daemon.reload(|| place.daemon.signal("HUP"));
    assert_eq!((place.version(), place.reason()), (json!("3.0.0"), String::new()));
    place.count_to(6);
}

fn what_cannot_be_done_is_refused_with_the_reason() {
    let place = Place::new();
    let refused = |deed: &str, name: &str| place.refused(deed, name, 69);
    assert_eq!(
        refused("swap", "steady"),
        "broadcaster steady runs the file of its plugin as it is; put another one in its place first"
    );
    assert_eq!(
        refused("rollback", "steady"),
        "broadcaster steady stays as it is: no other file of its plugin ran before, since the daemon started"
    );
    assert_eq!(refused("enable", "steady"), "broadcaster steady is not disabled");
    assert_eq!(refused("enable", "off"), "broadcaster off is disabled in the configuration; set enabled = true there");
    assert_eq!(
        refused("restart", "off"),
        "broadcaster off is disabled; nothing else can be done to it than to enable it"
    );
    assert_eq!(refused("restart", "nobody"), "no broadcaster is called \"nobody\"; /v1/broadcasters lists them");
    assert_eq!(place.ask("restart", "../x").code, Some(64));
    assert_eq!(place.ask("burn", "steady").code, Some(64));
    let post = |path: &str| crate::http::ask(&place.daemon.admin, &format!("POST {path} HTTP/1.1"), &[], b"").status;
    assert_eq!(post("/v1/broadcasters/steady/restart"), 403);
}
