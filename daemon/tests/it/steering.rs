//! What operators do to single broadcasters of the running daemon: restart, disable, enable, swap, roll back. The plugin is
//! compiled here, in a version for each thing that can go wrong; a client listens all the while.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bad_input::golden;
use crate::house::{self, Client, hear_json};
use crate::needs;
use crate::process::{self, Daemon, Ended, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(one_that_is_restarted_goes_on_from_its_state),
        needs::nothing(one_that_is_disabled_keeps_its_stream_and_its_listeners),
        needs::nothing(another_file_takes_over_and_can_be_taken_back),
        needs::nothing(a_file_that_cannot_take_over_changes_nothing),
        needs::nothing(a_file_that_is_replaced_meanwhile_is_taken_whole),
        needs::nothing(a_file_that_is_only_planned_or_refused_leaves_nothing),
        needs::nothing(a_file_that_fails_on_probation_is_rolled_back_by_itself),
        needs::nothing(a_plan_and_a_reload_say_which_file_is_not_taken_and_which_goes_back),
        needs::nothing(what_cannot_be_done_is_refused_with_the_reason),
        needs::nothing(an_order_touches_nobody_else),
        needs::nothing(a_plan_a_check_and_a_reload_refuse_the_same),
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
        Self::on(folder, CONFIG)
    }

    fn on(folder: TempDir, config: &str) -> Self {
        let daemon = Daemon::start_in(folder, config, &[]);
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

    /// Its record in the stream `daemon`.
    fn told_to_operators(&self) -> Value {
        let mut operator = house::connect(&self.daemon.admin, &[]).unwrap();
        house::say(&mut operator, r#"{"type":"subscribe","topic":"daemon:broadcasters"}"#);
        assert_eq!(hear_json(&mut operator)["data"]["status"], "subscribed");
        let shown = hear_json(&mut operator)["data"]["broadcasters"].take();
        let all = shown.as_array().unwrap();
        all.iter().find(|one| one["name"] == "steady").unwrap().clone()
    }

    fn version(&self) -> Value {
        self.daemon.get("/v1/broadcasters/steady").json()["version"].clone()
    }
}

fn build(folder: &Path, version: &str, definitions: &[&str]) {
    build_as(folder, "steady", version, definitions);
}

/// Compiles the plugin into the daemon's folder of plugins, as one replaces a file.
pub fn build_as(folder: &Path, id: &str, version: &str, definitions: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (new, file) = (folder.join(format!("lib{id}.so.new")), folder.join(format!("plugins/lib{id}.so")));
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-shared", "-fPIC", "-pthread", "-DWITH_NOTE", "-o"]).arg(&new);
    cc.args([format!("-DID=\"{id}\""), format!("-DVERSION=\"{version}\"")]);
    cc.args(definitions.iter().map(|definition| format!("-D{definition}")));
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
    assert_eq!(place.version(), "1.0.0");
    place.count_to(4);
    let reason = place.reason();
    assert!(reason.starts_with("broadcaster steady was rolled back from its plugin's file "), "{reason}");
    assert!(reason.ends_with(" (version 2.0.0) to version 1.0.0: an operator wanted it"), "{reason}");
    assert_eq!(told, format!("{reason}\n"), "one sentence, wherever it is told");
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
        (&["PANICS_IN_CREATE"][..], "panicked at create"),
        (&["NOTE_ID=\"somebody\""][..], "its note says it is plugin \"somebody\""),
        (&["ABI_MAJOR=2"][..], "it was built for ABI 2, this daemon speaks 1"),
        (&["HANGS_IN_CREATE"][..], "the plugin did not return from create within 10s"),
    ];
    for (at, (definitions, why)) in wrong.into_iter().enumerate() {
        place.build(&format!("2.0.{at}"), definitions);
        let refusal = place.refused("swap", "steady", 78);
        assert!(refusal.contains(why) && refusal.ends_with("the running configuration stays active"), "{refusal}");
        assert_eq!(place.version(), "1.0.0");
        place.count_to(3 + at as u64);
    }
    let file = place.daemon.folder.path().join("plugins/libsteady.so");
    place.build("3.0.0", &[]);
    let whole = fs::read(&file).unwrap();
    for part in [0, 1, whole.len() / 4, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..part]).unwrap();
        place.refused("swap", "steady", 78);
    }
    place.done("restart"); // the file is not looked at for that
    assert_eq!(place.version(), "1.0.0");
    place.count_to(10);
    fs::write(&file, whole).unwrap();
    place.done("swap");
    assert_eq!(place.version(), "3.0.0");
    place.count_to(11);
}

/// Each is another file to the daemon.
const NEW_FILES: usize = 20;

fn a_file_that_is_only_planned_or_refused_leaves_nothing() {
    let mut place = Place::new();
    let file = place.daemon.folder.path().join("plugins/libsteady.so");
    let series = |place: &Place| {
        let page = place.daemon.get("/metrics").body;
        let named = |line: &&str| line.contains("broadcaster=") || line.starts_with("broadcastd_plugin_generations");
        let of_time = |line: &&str| line.contains("call_duration_seconds") || line.contains("slow_calls");
        let lines = page.lines().filter(named).filter(|line| !of_time(line));
        let mut series: Vec<String> = lines.map(str::to_owned).collect();
        series.sort(); // a scrape has no order
        series
    };
    place.build("2.0.0", &[]);
    let whole = fs::read(&file).unwrap();
    let (more, before) = ("[broadcasters.more]\nplugin = \"steady\"\n", series(&place));
    let next = place.daemon.folder.path().join("next.toml");
    for n in 0..NEW_FILES {
        fs::write(&next, format!("{PORTS}{CONFIG}{more}")).unwrap();
        fs::write(&file, [&whole[..], &vec![b'x'; n]].concat()).unwrap();
        let planned = process::run(place.daemon.folder.path(), &["plan", "next.toml"], &[]);
        assert_eq!(planned.code, Some(0), "{}", planned.stderr);
        assert!(planned.stdout.contains("  ~ broadcaster steady: a new instance takes over"), "{}", planned.stdout);
        assert!(planned.stdout.contains("  + broadcaster more: starts"), "{}", planned.stdout);
    }
    for (definition, why) in [
        ("REFUSE_LOAD", "not today"),
        ("PANICS_IN_CREATE", "panicked at create"),
        ("ABORTS_IN_CREATE", "it ended the process that tried it by signal 6, as it would have ended the daemon"),
    ] {
        place.build("2.0.1", &[definition]);
        let refusal = place.refused("swap", "steady", 78);
        assert!(refusal.contains(why), "{refusal}");
        assert_eq!(process::run(place.daemon.folder.path(), &["reload"], &[]).code, Some(78));
    }
    assert_eq!(series(&place), before);
    place.count_to(3);
    fs::write(&file, whole).unwrap();
    place.done("swap");
    assert_eq!(place.version(), "2.0.0");
    let resident = |series: &[String]| {
        let line = series.iter().find(|line| line.starts_with("broadcastd_plugin_generations_resident ")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
    };
    assert_eq!(resident(&series(&place)), resident(&before) + 1);
    place.count_to(4);
}

fn a_file_that_is_replaced_meanwhile_is_taken_whole() {
    let mut place = Place::new();
    let file = place.daemon.folder.path().join("plugins/libsteady.so");
    let versions = ["2.0.0", "3.0.0"];
    let files = versions.map(|version| {
        place.build(version, &[]);
        fs::read(&file).unwrap()
    });
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let replaced = scope.spawn(|| {
            let new = file.with_extension("new");
            let each = files.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed));
            each.map(|bytes| fs::write(&new, bytes).and_then(|()| fs::rename(&new, &file)).unwrap()).count()
        });
        for n in 3..15 {
            let ended = place.ask("swap", "steady");
            let is_the_same = ended.stderr.starts_with("broadcaster steady runs the file of its plugin as it is");
            assert!(ended.code == Some(0) || is_the_same, "{}", ended.stderr);
            assert!(versions.iter().any(|version| place.version() == *version));
            place.count_to(n);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(replaced.join().unwrap() > 12);
    });
}

fn a_file_that_fails_on_probation_is_rolled_back_by_itself() {
    let mut place = Place::new();
    place.build("2.0.0", &["BREAKS_AT=\"break\""]);
    place.done("swap");
    place.count_to(3);
    let told = place.told_to_operators();
    assert!(told["probation_until"].as_str().is_some_and(|until| until.ends_with('Z')), "{told}");
    assert_eq!(place.daemon.get("/v1/broadcasters/steady").json()["probation_until"], told["probation_until"]);
    for command in [&["status"][..], &["top", "--once"]] {
        let shown = process::run(place.daemon.folder.path(), command, &[]).stdout;
        let line = shown.lines().find(|line| line.starts_with("steady")).unwrap();
        assert!(line.contains("  running, on probation  "), "{command:?}: {line}");
    }
    place.input("break");
    let logged = place.daemon.wait_for_log("failed: it was rolled back from its plugin's file ");
    place.hear_count(4); // the old file counts what broke the new one
    assert_eq!(place.version(), "1.0.0");
    place.count_to(5);
    let reason = place.reason();
    assert!(reason.starts_with("broadcaster steady was rolled back from its plugin's file "), "{reason}");
    assert!(reason.contains(" (version 2.0.0) to version 1.0.0: "), "{reason}");
    let why = reason.trim_start_matches("broadcaster steady was ");
    let logged: Value = serde_json::from_str(&logged).unwrap();
    assert_eq!(logged["message"], format!("failed: it was {why}"));
    let told = place.told_to_operators();
    assert_eq!((&told["state"], &told["rolled_back"]), (&json!("running"), &json!(why)), "{told}");
    assert_eq!((&told["version"], &told["next"]), (&json!("1.0.0"), &Value::Null), "{told}");
    assert_eq!(told["probation_until"], Value::Null, "{told}");
    for command in [&["status"][..], &["top", "--once"]] {
        let shown = process::run(place.daemon.folder.path(), command, &[]).stdout;
        assert!(shown.contains(why), "{command:?} says it in other words:\n{shown}");
    }
    let rollbacks = "broadcastd_broadcaster_errors_total{broadcaster=\"steady\",reason=\"rolled_back\"}";
    assert_eq!(place.daemon.metric(rollbacks), Some(1.0));
    place.daemon.reload(|| place.daemon.signal("HUP"));
    assert_eq!(place.version(), "1.0.0", "a reload does not try it again");
    place.done("restart");
    assert_eq!(place.told_to_operators()["rolled_back"], why, "it is still the file before");
    place.build("1.0.0", &[]);
    place.refused("swap", "steady", 69);
    house::until("nothing is said of it any more", || place.told_to_operators()["rolled_back"].is_null());
    assert_eq!(place.reason(), "");
    place.build("3.0.0", &["BREAKS_AT=\"other\""]);
    place.daemon.reload(|| place.daemon.signal("HUP"));
    assert_eq!((place.version(), place.reason()), (json!("3.0.0"), String::new()));
    assert_eq!(place.told_to_operators()["rolled_back"], Value::Null);
    place.count_to(6);
}

fn a_plan_and_a_reload_say_which_file_is_not_taken_and_which_goes_back() {
    let mut place = Place::new();
    let said = |place: &Place, command: &str| {
        let ended = process::run(place.daemon.folder.path(), &[command], &[]);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{command}");
        format!("$ {command}\n{}", without_hashes(&ended.stdout))
    };
    let file = place.daemon.folder.path().join("plugins/libsteady.so");
    let first = fs::read(&file).unwrap();
    let mut transcript = "version 2.0.0 is in the place of version 1.0.0\n".to_owned();
    place.build("2.0.0", &["BREAKS_AT=\"break\""]);
    transcript += &(said(&place, "plan") + &said(&place, "reload"));
    place.count_to(3);
    place.input("break");
    place.daemon.wait_for_log("failed: it was rolled back from its plugin's file ");
    place.hear_count(4);
    transcript += "\nit failed on probation\n";
    let lines = |place: &Place| place.daemon.log_text().matches("the file is not taken").count();
    transcript += &said(&place, "plan");
    assert_eq!(lines(&place), 0, "a plan is not in the log");
    transcript += &said(&place, "reload");
    place.daemon.wait_for_log("the file is not taken");
    assert_eq!(lines(&place), 1, "once is enough for one reload");
    place.daemon.configure(&format!("[ingest]\nsocket = \"\"\n{CONFIG}"));
    let reloads = || place.daemon.log_text().matches("the configuration was reloaded").count();
    house::until("the file is taken, behind two orders", || reloads() == 3);
    let saved = said(&place, "reload");
    let (title, changes) = saved.split_once(" s ago").unwrap();
    let title = title.trim_end_matches(|sign: char| sign.is_ascii_digit());
    transcript += &format!("\na setting was saved meanwhile\n{title}N s ago{changes}");
    let told = lines(&place);
    place.build("3.0.0", &[]);
    transcript += &format!("\nversion 3.0.0 is in its place\n{}", said(&place, "plan") + &said(&place, "reload"));
    place.count_to(5);
    fs::write(file.with_extension("new"), &first).unwrap();
    fs::rename(file.with_extension("new"), &file).unwrap();
    transcript += &format!("\nversion 1.0.0 is there again\n{}", said(&place, "plan") + &said(&place, "reload"));
    assert_eq!((place.version(), lines(&place)), (json!("1.0.0"), told));
    place.count_to(6);
    fs::write(file.with_extension("new"), [&first[..], b"x"].concat()).unwrap();
    fs::rename(file.with_extension("new"), &file).unwrap();
    transcript += &format!("\nanother build of version 1.0.0\n{}", said(&place, "plan"));
    golden("plan-rolled-back", &transcript);
}

/// With `HASH` for what files hash to, which is the compiler's matter.
fn without_hashes(text: &str) -> String {
    let is_hash = |word: &str| word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = text.split_inclusive(|sign: char| !sign.is_alphanumeric());
    let shown = |part: &str| match part.char_indices().next_back() {
        Some((at, sign)) if !sign.is_alphanumeric() && is_hash(&part[..at]) => format!("HASH{sign}"),
        _ => part.to_owned(),
    };
    words.map(shown).collect()
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
    assert_eq!(
        place.refused("restart", "nobody", 65),
        "no broadcaster is called \"nobody\"; names: behind, off, steady"
    );
    assert_eq!(place.ask("restart", "../x").code, Some(64));
    assert_eq!(place.ask("burn", "steady").code, Some(64));
    let post = |path: &str| crate::http::ask(&place.daemon.admin, &format!("POST {path} HTTP/1.1"), &[], b"").status;
    assert_eq!(post("/v1/broadcasters/steady/restart"), 403);
}

const ILL: &str = "[streams.sick]\nschema = \"sick.json\"\n\
[broadcasters.ill]\nplugin = \"steady\"\nlisten = [\"sick\"]\nrestart = { max = 1 }\n";

fn an_order_touches_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("plugins")).unwrap();
    build(folder.path(), "1.0.0", &[]);
    let schema = folder.path().join("sick.json");
    fs::write(&schema, "{}").unwrap();
    let mut place = Place::on(folder, &format!("{CONFIG}{ILL}"));
    let ill = |place: &Place| place.daemon.get("/v1/broadcasters/ill").json();
    assert_eq!(place.daemon.publish("sick", &json!({"type": "do", "data": {"do": "poison"}})).status, 202);
    house::until("it is quarantined", || ill(&place)["state"] == "quarantined");
    let before = ill(&place);
    // None of this concerns the one that something is done to.
    fs::remove_file(schema).unwrap();
    for deed in ["restart", "disable", "enable", "restart"] {
        let told = place.done(deed);
        assert!(told.starts_with(&format!("{deed} of broadcaster steady:\n")), "{told}");
        assert!(told.contains("\n2 broadcasters unchanged; ") && !told.contains("ill"), "{told}");
        assert_eq!(ill(&place), before, "{deed}");
        assert_eq!(place.daemon.get("/v1/broadcasters/off").json()["state"], "stopped");
    }
    place.count_to(3);
    place.build("2.0.0", &[]);
    place.done("swap");
    assert_eq!(place.version(), "2.0.0");
    let version = |name: &str| place.daemon.get(&format!("/v1/broadcasters/{name}")).json()["version"].clone();
    assert_eq!((version("behind"), ill(&place)), (json!("1.0.0"), before));
    place.count_to(4);
}

fn a_plan_a_check_and_a_reload_refuse_the_same() {
    let place = Place::new();
    let private = "STREAM=\"{\\\"private\\\":true,\\\"template\\\":\\\"{what}\\\"}\"";
    build_as(place.daemon.folder.path(), "secret", "1.0.0", &[private]);
    let next = format!(
        "{CONFIG}[broadcasters.log]\nplugin = \"secret\"\n[broadcasters.reads]\nplugin = \"steady\"\nlisten = [\"log\"]\n"
    );
    let rule = "stream \"log\" is private; set allow_private = true to listen to it";
    place.daemon.refuse(|| place.daemon.configure(&next));
    let said = |arguments: &[&str]| {
        let ended = process::run(place.daemon.folder.path(), arguments, &[]);
        assert_eq!((ended.code, ended.stderr.contains(rule)), (Some(78), true), "{arguments:?}: {}", ended.stderr);
        ended.stderr.rsplit_once("\n\n").map_or(ended.stderr.clone(), |(mistakes, _)| mistakes.to_owned())
    };
    let [plan, check, reload] = [["plan"], ["check"], ["reload"]].map(|arguments| said(&arguments));
    assert_eq!((&plan, &check), (&reload, &reload));
    place.daemon.reload(|| {
        place.daemon.configure(&next.replace("listen = [\"log\"]", "listen = [\"log\"]\nallow_private = true"));
    });
}
