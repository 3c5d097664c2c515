//! Every way in which a broadcaster goes wrong, many at the same time on the real daemon: it lives, tells of each where
//! operators look, and the broadcaster that works goes on without a gap.

use std::fs;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house::{Client, hear_json, until};
use crate::inputs;
use crate::needs;
use crate::process::{self, Daemon, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(one_has_one_thread_however_often_it_is_started_and_stopped),
        needs::nothing(a_failure_in_any_call_is_contained_told_and_quarantined),
        needs::nothing(a_failure_before_anything_runs_refuses_the_reload),
        needs::nothing(a_call_that_never_returns_before_anything_runs_refuses_the_start),
        needs::nothing(a_failure_outside_of_any_call_is_told_and_the_broadcaster_goes_on),
        needs::nothing(a_failure_with_what_was_saved_is_told_and_the_rest_goes_on),
        needs::nothing(a_call_that_never_returns_is_told_and_the_daemon_ends_all_the_same),
        needs::nothing(too_much_of_anything_meets_its_bound),
    ]
}

/// Works all the time beside those that do not.
const WELL: &str = "[streams.in]\n[broadcasters.well]\nplugin = \"faulty\"\nsettings = { interval_ms = 20 }\n";

/// A broadcaster that goes wrong, named after how and when.
struct Bad {
    mode: &'static str,
    at: &'static str,
}

impl Bad {
    fn name(&self) -> String {
        format!("{}_{}", self.mode, self.at)
    }

    fn table(&self) -> String {
        let Self { mode, at } = self;
        format!(
            "[broadcasters.{}]\nplugin = \"faulty\"\nlisten = [\"in\"]\n\
             settings = {{ mode = \"{mode}\", at = \"{at}\", interval_ms = 50 }}\n\
             restart = {{ max = 3, backoff = \"10ms..20ms\" }}\n",
            self.name()
        )
    }

    /// The same with nothing wrong.
    fn corrected(&self) -> String {
        self.table().replace(&format!("mode = \"{}\"", self.mode), "mode = \"well\"")
    }

    /// What the plugin says when it goes wrong.
    fn says(&self) -> String {
        match self.mode {
            "error" => format!("{} fails on purpose", self.at),
            "panic" => format!("{} panics on purpose", self.at),
            _ => "for a reason that is no text".to_owned(),
        }
    }

    fn status(&self, daemon: &Daemon) -> Value {
        daemon.get(&format!("/v1/broadcasters/{}", self.name())).json()
    }

    fn errors(&self, daemon: &Daemon, reason: &str) -> Option<f64> {
        let name = self.name();
        daemon.metric(&format!("broadcastd_broadcaster_errors_total{{broadcaster=\"{name}\",reason=\"{reason}\"}}"))
    }
}

fn all(modes: &[&'static str], moments: &[&'static str]) -> Vec<Bad> {
    modes.iter().flat_map(|mode| moments.iter().map(|at| Bad { mode, at })).collect()
}

/// Whether a line of the log has all of these.
fn is_logged(daemon: &Daemon, texts: &[&str]) -> bool {
    daemon.log_text().lines().any(|line| texts.iter().all(|text| line.contains(text)))
}

fn tables(bad: &[Bad]) -> String {
    bad.iter().map(Bad::table).collect()
}

/// Hears the broadcaster that works until its newest event: no number is missing, none is doubled.
fn assert_undisturbed(daemon: &Daemon, well: &mut Client) {
    let number = |event: &Value| (event["seq"].as_u64().unwrap(), event["data"]["count"].as_u64().unwrap());
    let sent = daemon.get("/v1/broadcasters/well").json()["broadcasts_sent"].as_u64().unwrap();
    let mut before = number(&hear_json(well));
    while before.1 < sent {
        let event = hear_json(well);
        assert_eq!(number(&event), (before.0 + 1, before.1 + 1), "{event}");
        before = number(&event);
    }
    assert_eq!(daemon.get("/v1/broadcasters/well").json()["restarts"], 0);
}

fn one_has_one_thread_however_often_it_is_started_and_stopped() {
    let daemon = Daemon::start(WELL);
    let threads = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.filter(|name| name.starts_with("p:")).count()
    };
    for (enabled, expected) in [(true, 1), (false, 0), (true, 1)] {
        daemon.reload(|| daemon.configure(&format!("{WELL}enabled = {enabled}\n")));
        for _ in 0..2 {
            daemon.reload(|| daemon.signal("HUP"));
            // What a reload asks of a plugin before it runs is asked on a thread that ends by itself.
            until("it has its one thread, or none", || threads() == expected);
        }
        assert_eq!(daemon.get("/v1/broadcasters/well").json()["is_running"], enabled);
    }
    assert_eq!(daemon.metric("broadcastd_broadcaster_restarts_total{broadcaster=\"well\"}"), Some(0.0));
}

fn a_failure_in_any_call_is_contained_told_and_quarantined() {
    let moments = ["start", "records", "timer", "demand", "message", "wake", "writable", "save"];
    let bad = all(&["panic", "panic_twice", "error"], &moments);
    let listened: Vec<String> =
        bad.iter().filter(|one| one.at == "writable").map(|one| format!("\"{}\"", one.name())).collect();
    // Who listens to those, and makes room from time to time only.
    let ear = format!("[broadcasters.ear]\nplugin = \"faulty\"\nlisten = [{}]\n", listened.join(", "));
    let daemon = Daemon::start(&format!("[hub]\nlisten_buffer = \"4KiB\"\n{WELL}{}{ear}", tables(&bad)));
    let mut well = daemon.subscriber("well");
    let _demand: Vec<Client> = bad
        .iter()
        .filter(|one| one.at == "demand")
        .map(|one| {
            let mut client = daemon.connect();
            crate::house::say(&mut client, &format!(r#"{{"type":"subscribe","stream":"{}"}}"#, one.name()));
            client
        })
        .collect();
    assert_eq!(daemon.publish("in", &json!({"type": "any", "data": {}})).status, 202);
    for one in &bad {
        let name = one.name();
        until(&format!("{name} is quarantined"), || one.status(&daemon)["state"] == "quarantined");
        let status = one.status(&daemon);
        assert_eq!(
            (&status["errors"], &status["restarts"], &status["is_running"]),
            (&json!(3), &json!(2), &json!(false))
        );
        assert!(status["last_error"].as_str().unwrap().contains(&one.says()), "{name}: {status}");
        let reason = if one.mode == "error" { "failed" } else { "panic" };
        assert_eq!(one.errors(&daemon, reason), Some(3.0), "{name}");
        let (ready, reasons) = daemon.readiness();
        assert!(
            ready == 200 && reasons.iter().any(|why| why.starts_with(&format!("broadcaster {name} is quarantined: ")))
        );
    }
    assert_undisturbed(&daemon, &mut well);
    let log = daemon.log_text();
    for one in &bad {
        let told = |line: &&str| line.contains(&format!("\"{}\"", one.name())) && line.contains(&one.says());
        assert!(log.lines().filter(told).count() >= 3, "each failure of {} is in the log", one.name());
    }
    assert_eq!(daemon.stop().0.code(), Some(0));
}

fn a_failure_before_anything_runs_refuses_the_reload() {
    let daemon = Daemon::start(WELL);
    let mut well = daemon.subscriber("well");
    for one in all(&["panic", "panic_twice", "error"], &["validate", "new"]) {
        let refusal = daemon.refuse(|| daemon.configure(&format!("{WELL}{}", one.table())));
        assert!(refusal.contains(&one.says()), "{}: {refusal}", one.name());
        assert_eq!(daemon.get(&format!("/v1/broadcasters/{}", one.name())).status, 404);
    }
    for one in all(&["panic", "panic_twice", "error"], &["reconfigure"]) {
        daemon.reload(|| daemon.configure(&format!("{WELL}{}", one.table())));
        let refusal = daemon.refuse(|| daemon.configure(&format!("{WELL}{}", one.corrected())));
        assert!(refusal.contains(&one.says()), "{}: {refusal}", one.name());
        until("it runs with the settings that it had", || one.status(&daemon)["state"] == "running");
        assert_eq!(one.status(&daemon)["mode"], one.mode);
    }
    assert_undisturbed(&daemon, &mut well);
}

fn a_call_that_never_returns_before_anything_runs_refuses_the_start() {
    std::thread::scope(|scope| {
        for (at, call) in [("validate", "validate"), ("new", "create")] {
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let text = format!("{PORTS}{WELL}{}", Bad { mode: "hang", at }.table());
                fs::write(folder.path().join("config.toml"), text).unwrap();
                let ended = process::run(folder.path(), &[], &[]);
                assert_eq!(ended.code, Some(78), "{}", ended.stderr);
                let told = format!("the plugin did not return from {call} within 10s; it must not wait in a call");
                assert!(ended.stderr.contains(&told), "{}", ended.stderr);
            });
        }
    });
}

fn a_failure_outside_of_any_call_is_told_and_the_broadcaster_goes_on() {
    // An own thread of a plugin that panics with what panics once more ends the process, in any language's threads.
    let mut bad = all(&["panic", "panic_twice"], &["job", "quiesce", "stop", "drop"]);
    bad.push(Bad { mode: "panic", at: "thread" });
    let daemon = Daemon::start(&format!("{WELL}{}", tables(&bad)));
    let mut well = daemon.subscriber("well");
    for one in &bad {
        until("it publishes all the same", || one.status(&daemon)["broadcasts_sent"].as_u64() > Some(3));
        let status = one.status(&daemon);
        assert_eq!((&status["is_running"], &status["errors"]), (&json!(true), &json!(0)), "{status}");
    }
    let jobs = daemon.wait_for_log("a job ended on purpose");
    assert!(jobs.contains("job panics on purpose") || jobs.contains("for a reason that is no text"), "{jobs}");
    daemon.wait_for_log("thread panics on purpose");
    assert_undisturbed(&daemon, &mut well);
    daemon.reload(|| daemon.configure(WELL));
    for one in bad.iter().filter(|one| !["job", "thread"].contains(&one.at)) {
        assert!(is_logged(&daemon, &["failed: ", &one.name(), &one.says()]), "{} is told in the log", one.name());
        assert_eq!(one.errors(&daemon, "panic"), Some(1.0), "{}", one.name());
    }
    assert_undisturbed(&daemon, &mut well);
    assert_eq!(daemon.stop().0.code(), Some(0));
}

fn a_failure_with_what_was_saved_is_told_and_the_rest_goes_on() {
    let bad = all(&["panic", "panic_twice", "error"], &["restore", "gap"]);
    let daemon = Daemon::start(&format!("{WELL}{}", bad.iter().map(Bad::corrected).collect::<String>()));
    assert_eq!(daemon.publish("in", &json!({"type": "any", "data": {}})).status, 202);
    let (ended, folder) = daemon.stop();
    assert_eq!(ended.code(), Some(0));
    fs::remove_file(inputs::find(folder.path(), "streams.ended").unwrap()).unwrap(); // as if it had been killed
    let daemon = Daemon::start_in(folder, &format!("{WELL}{}", tables(&bad)), &[]);
    let mut well = daemon.subscriber("well");
    for one in &bad {
        let name = one.name();
        until(&format!("{name} failed"), || one.status(&daemon)["errors"].as_u64() > Some(0));
        let status = one.status(&daemon);
        let last_error = status["last_error"].as_str().unwrap();
        assert!(last_error.contains(&one.says()), "{name}: {status}");
        if one.at == "restore" {
            assert!(last_error.starts_with("saved state is of no use and it starts empty: the plugin refused it: "));
            assert!(last_error.ends_with(&format!("{name}.state.bad")), "{status}");
            assert_eq!((one.errors(&daemon, "state_set_aside"), &status["errors"]), (Some(1.0), &json!(1)));
            assert!(is_logged(&daemon, &[&name, "saved state is of no use and it starts empty"]));
        }
    }
    assert_undisturbed(&daemon, &mut well);
}

fn a_call_that_never_returns_is_told_and_the_daemon_ends_all_the_same() {
    let stuck = all(&["hang"], &["start", "records", "timer", "message", "save"]);
    let ending = all(&["hang"], &["quiesce", "stop", "drop"]);
    let daemon = Daemon::start(&format!("{WELL}{}{}", tables(&stuck), tables(&ending)));
    let mut well = daemon.subscriber("well");
    assert_eq!(daemon.publish("in", &json!({"type": "any", "data": {}})).status, 202);
    for one in &stuck {
        until("it is stuck", || one.status(&daemon)["state"] == "stuck");
        until("it is counted", || one.errors(&daemon, "stuck") == Some(1.0));
        let (_, reasons) = daemon.readiness();
        assert!(reasons.contains(&format!("broadcaster {} is stuck", one.name())), "{reasons:?}");
    }
    assert_eq!(daemon.readiness().1.len(), stuck.len(), "those that hang at their end are well until then");
    assert_undisturbed(&daemon, &mut well);
    let one = Bad { mode: "hang", at: "timer" };
    let skip = daemon.log_lines();
    let others = tables(&stuck).replace(&one.table(), &one.corrected());
    daemon.reload(|| daemon.configure(&format!("{WELL}{others}{}", tables(&ending))));
    daemon.wait_for_log_after(skip, "its thread is left behind");
    until("the new one publishes", || one.status(&daemon)["broadcasts_sent"].as_u64() > Some(3));
    assert_eq!(one.status(&daemon)["threads_abandoned"], 1);
    let abandoned = "broadcastd_plugin_threads_abandoned_total{broadcaster=\"hang_timer\"}";
    assert_eq!(daemon.metric(abandoned), Some(1.0));
    let skip = daemon.log_lines();
    daemon.signal("TERM");
    for one in stuck.iter().filter(|one| one.at != "timer").chain(&ending) {
        let name = format!("\"{}\"", one.name());
        until("it is told that its thread is left behind", || {
            let log = daemon.log_text();
            log.lines().skip(skip).any(|line| line.contains(&name) && line.contains("its thread is left behind"))
        });
    }
    assert_eq!(daemon.wait().0.code(), Some(0));
}

fn too_much_of_anything_meets_its_bound() {
    let modes = ["flood", "talk", "huge", "garbage", "timers", "metrics", "allocate", "slow", "degraded"];
    let bad = all(&modes, &["timer"]);
    let daemon = Daemon::start(&format!("{WELL}{}", tables(&bad)));
    let mut well = daemon.subscriber("well");
    let of = |mode: &str| bad.iter().find(|one| one.mode == mode).unwrap();
    let number = |mode: &str, key: &str| of(mode).status(&daemon)[key].as_u64().unwrap();
    until("the flood is taken", || number("flood", "broadcasts_sent") > 20_000);
    for (name, told) in [
        ("talk_timer", "were left out; at most 100 of a level are logged in a second"),
        ("huge_timer", "payload has 1048577 bytes; at most 1048576 are taken"),
        ("garbage_timer", "payload is no JSON object; wrap the value"),
        ("slow_timer", "on_events took 20"),
    ] {
        until(&format!("{name} is told"), || is_logged(&daemon, &[name, told]));
    }
    until("what is huge is taken up to the bound", || {
        number("huge", "broadcasts_sent") >= 4 && number("huge", "refused") >= 2
    });
    until("garbage is refused", || number("garbage", "refused") > 60);
    assert_eq!(number("garbage", "broadcasts_sent"), 0, "none of it is good");
    // 1,024 timers are taken, and one was set before.
    until("timers are bounded", || is_logged(&daemon, &["timers_timer", "not taken on purpose refused=1977"]));
    until("metrics are bounded", || {
        let page = daemon.get("/metrics").body;
        let own = page.lines().filter(|line| line.contains("broadcaster=\"metrics_timer\"") && line.contains("_many_"));
        let series = own.count();
        assert!(series <= 201, "{series} series");
        page.contains("n=\"__overflow__\"")
    });
    until("series beyond are told, and counted", || {
        let counted = daemon.metric("broadcastd_plugin_series_folded_total{broadcaster=\"metrics_timer\"}");
        is_logged(&daemon, &["metrics_timer", "more than 200 series"]) && counted > Some(0.0)
    });
    let flood = "broadcastd_plugin_log_lines_left_out_total{broadcaster=\"talk_timer\"";
    assert!(daemon.get("/metrics").body.contains(flood), "lines that are left out are counted");
    until("memory is taken and given back", || {
        is_logged(&daemon, &["allocate_timer", "not taken on purpose refused=0"])
    });
    let slow = "broadcastd_plugin_slow_calls_total{broadcaster=\"slow_timer\",call=\"on_events\"}";
    until("slow calls are counted", || daemon.metric(slow) > Some(1.0));
    let calls = "broadcastd_plugin_call_duration_seconds_count{broadcaster=\"slow_timer\",call=\"on_events\"}";
    let counted = daemon.metric(slow);
    assert!(daemon.metric(calls) >= counted, "every call is timed");
    let (ready, reasons) = daemon.readiness();
    let degraded = "broadcaster degraded_timer is degraded: degraded on purpose".to_owned();
    assert!(ready == 200 && reasons.contains(&degraded), "{reasons:?}");
    for one in &bad {
        let status = one.status(&daemon);
        assert_eq!((&status["errors"], &status["restarts"]), (&json!(0), &json!(0)), "{status}");
    }
    assert_undisturbed(&daemon, &mut well);
    assert_eq!(daemon.stop().0.code(), Some(0));
}
