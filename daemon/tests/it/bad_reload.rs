//! A file that cannot become the configuration: nothing changes, everybody who looks is told, and a good one is taken.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use libtest_mimic::Trial;
use serde_json::json;

use crate::bad_input::golden;
use crate::house::hear_json;
use crate::needs;
use crate::process::{self, Daemon, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_bad_file_changes_nothing_and_is_seen_everywhere_until_a_good_one_comes),
        needs::nothing(a_broadcaster_that_cannot_be_made_leaves_no_trace_of_its_file),
        needs::nothing(an_address_that_is_taken_leaves_no_trace_of_its_file),
        needs::nothing(a_plugin_in_a_folder_that_waits_for_the_next_start_is_told),
        needs::nothing(a_file_that_is_gone_is_told_and_taken_when_it_is_back),
        needs::nothing(a_file_that_was_emptied_is_taken_only_when_that_is_ordered),
        needs::nothing(a_plan_and_a_check_warn_of_an_emptied_file_that_saving_it_refuses),
        needs::nothing(every_kind_of_save_is_seen),
    ]
}

const GOOD: &str =
    "[streams.ticks]\nvisible = true\n[broadcasters.hello]\nplugin = \"faulty\"\nsettings = { interval_ms = 10 }\n";
const SUCCESSFUL: &str = "broadcastd_config_last_reload_successful";

fn a_bad_file_changes_nothing_and_is_seen_everywhere_until_a_good_one_comes() {
    let daemon = Daemon::start(GOOD);
    let mut client = daemon.subscriber("hello");
    assert_eq!(daemon.metric(SUCCESSFUL), Some(1.0));
    let bad = "[streams.news]\nvisble = true\n[broadcasters.hello]\nplugin = \"faulty\"\nlisten = [\"nobody\"]\nsettings = { interval_ms = \"soon\" }\n[hub]\noutbox = \"1 elephant\"\n";
    let told = daemon.refuse(|| daemon.configure(bad));
    for mistake in [
        "config.toml:6:1",
        "config.toml:9:11",
        "config.toml:12:10",
        "unknown key `streams.news.visble`",
        "nobody declares",
    ] {
        assert!(told.contains(mistake), "no {mistake} in\n{told}");
    }
    assert!(told.ends_with("3 errors. the running configuration stays active\n"), "{told}");
    // What a plugin's own schema says can be checked only when the file itself is sound.
    let told = daemon.refuse(|| daemon.configure(&GOOD.replace("10 }", "\"soon\", mood = 1 }")));
    assert!(told.contains("config.toml:9:28") && told.contains("config.toml:9:36"), "{told}");
    let (status, reasons) = daemon.readiness();
    assert_eq!((status, reasons.len()), (200, 1));
    assert!(reasons[0].starts_with("the last reload was refused: "), "{reasons:?}");
    assert_eq!(daemon.metric(SUCCESSFUL), Some(0.0));
    assert_eq!(daemon.metric(r#"broadcastd_config_reloads_total{outcome="refused"}"#), Some(2.0));
    let streams = daemon.get("/v1/streams").body;
    assert!(!streams.contains("news") && streams.contains("ticks"), "{streams}");
    let mut count = hear_json(&mut client)["data"]["count"].as_u64().unwrap();
    for _ in 0..20 {
        let event = hear_json(&mut client);
        count += 1;
        assert_eq!(event["data"]["count"], count, "{event}");
    }
    daemon.reload(|| daemon.configure(&format!("{GOOD}# good again\n")));
    assert_eq!(daemon.readiness(), (200, vec![]));
    assert_eq!(daemon.metric(SUCCESSFUL), Some(1.0));
}

fn a_broadcaster_that_cannot_be_made_leaves_no_trace_of_its_file() {
    let daemon = Daemon::start(GOOD);
    let news = "[streams.news]\nvisible = true\n[broadcasters.other]\nplugin = \"faulty\"\nlisten = [\"news\"]\n";
    for (mode, at, told) in [
        ("error", "new", "new fails on purpose"),
        ("panic", "new", "new panics on purpose"),
        ("invalid_settings", "validate", "this mode is refused on purpose; choose another"),
        ("panic", "validate", "validate panics on purpose"),
    ] {
        let settings = format!("settings = {{ mode = \"{mode}\", at = \"{at}\" }}");
        let refusal = daemon.refuse(|| daemon.configure(&format!("{GOOD}{news}{settings}\n")));
        assert!(refusal.contains(told) && refusal.contains("config.toml:1"), "{told}: {refusal}");
        assert_eq!(daemon.publish("news", &json!({"type": "headline", "data": {}})).status, 404, "{told}");
    }
    daemon.reload(|| daemon.configure(&format!("{GOOD}{news}")));
    assert_eq!(daemon.publish("news", &json!({"type": "headline", "data": {}})).status, 202);
}

fn an_address_that_is_taken_leaves_no_trace_of_its_file() {
    let daemon = Daemon::start(GOOD);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ports = PORTS.replacen("127.0.0.1:0\"", &format!("127.0.0.1:0\", \"{address}\""), 1);
    let told = daemon.refuse(|| {
        daemon.configure_whole(&format!("{ports}{GOOD}[broadcasters.other]\nplugin = \"faulty\"\n[streams.news]\n"));
    });
    let expected = format!(
        "cannot listen on {address}: it is taken already; stop the program that listens there, or change server.listen in the configuration"
    );
    assert!(told.contains(&expected) && told.contains("config.toml:2:"), "{told}");
    assert_eq!(daemon.get("/v1/broadcasters/other").status, 404);
    assert_eq!(daemon.publish("news", &json!({"type": "headline", "data": {}})).status, 404);
}

fn a_plugin_in_a_folder_that_waits_for_the_next_start_is_told() {
    let daemon = Daemon::start(GOOD);
    let other = "[broadcasters.other]\nplugin = \"elsewhere\"\n";
    let told = daemon.refuse(|| daemon.configure(&format!("{GOOD}[plugins]\ndirs = [\"mine\"]\n{other}")));
    assert!(told.contains("error[C014]") && told.contains("no libelsewhere.so in "), "{told}");
    let note = "note: `plugins.dirs` is another one than at the start, and holds from the next one on";
    assert!(told.contains(note) && told.contains("help: restart the daemon"), "{told}");
    daemon.reload(|| daemon.configure(&format!("{GOOD}[plugins]\ndirs = [\"mine\"]\n")));
    let told = daemon.refuse(|| daemon.configure(&format!("{GOOD}[plugins]\ndirs = [\"mine\"]\n{other}")));
    assert!(told.contains(note), "the folder was taken before, and waits still: {told}");
    daemon.reload(|| daemon.configure(GOOD));
    let told = daemon.refuse(|| daemon.configure(&format!("{GOOD}{other}")));
    assert!(told.contains("no libelsewhere.so in ") && !told.contains("restart the daemon"), "{told}");
}

fn a_file_that_is_gone_is_told_and_taken_when_it_is_back() {
    let daemon = Daemon::start(GOOD);
    let file = daemon.folder.path().join("config.toml");
    let told = daemon.refuse(|| fs::remove_file(&file).unwrap());
    assert!(told.contains("there is no file `config.toml`"), "{told}");
    let told = daemon.refuse(|| daemon.signal("HUP"));
    assert!(told.contains("there is no file `config.toml`"), "{told}");
    daemon.reload(|| daemon.configure(&format!("{GOOD}[streams.news]\n")));
    assert_eq!(daemon.publish("news", &json!({"type": "headline", "data": {}})).status, 202);
}

fn a_file_that_was_emptied_is_taken_only_when_that_is_ordered() {
    // Without the file the ports are nobody's but the kernel's choice.
    let ports = [("BROADCASTD_SERVER__LISTEN", "127.0.0.1:0"), ("BROADCASTD_ADMIN__LISTEN", "127.0.0.1:0")];
    let daemon = Daemon::start_with(GOOD, &ports);
    let mut client = daemon.subscriber("hello");
    let file = daemon.folder.path().join("config.toml");
    let told = daemon.refuse(|| fs::write(&file, "").unwrap());
    golden("reload-emptied", &told);
    for nothing in [" \n\n", "# [streams.ticks]\n"] {
        let told = daemon.refuse(|| daemon.configure_whole(nothing));
        assert!(told.contains("error[C045]") && told.contains("config.toml"), "{told}");
    }
    assert!(daemon.readiness().1[0].contains("saved without any setting"));
    assert_eq!(hear_json(&mut client)["type"], "count", "it runs on");
    daemon.reload(|| daemon.configure(GOOD));
    assert_eq!(daemon.readiness(), (200, vec![]), "what runs was saved again");

    // One of the folder alone.
    let layer = daemon.folder.path().join("config.d/10.toml");
    fs::create_dir(layer.parent().unwrap()).unwrap();
    daemon.reload(|| fs::write(&layer, "[streams.news]\n").unwrap());
    let told = daemon.refuse(|| fs::write(&layer, "# nothing\n").unwrap());
    assert!(told.contains("`config.d/10.toml` was saved without any setting"), "{told}");
    assert_eq!(daemon.publish("news", &json!({"type": "headline", "data": {}})).status, 202);
    daemon.reload(|| fs::remove_file(&layer).unwrap());

    daemon.refuse(|| fs::write(&file, "").unwrap());
    let ordered = process::run(daemon.folder.path(), &["reload"], &[]);
    assert_eq!((ordered.code, &*ordered.stderr), (Some(0), ""), "{}", ordered.stdout);
    assert!(ordered.stdout.contains("  - broadcaster hello: stops"), "{}", ordered.stdout);
    daemon.reload(|| daemon.configure(GOOD));
    daemon.refuse(|| fs::write(&file, "").unwrap());
    daemon.reload(|| daemon.signal("HUP"));
    let (status, folder) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    let ended = process::run(folder.path(), &["check"], &ports);
    assert!(ended.code == Some(0) && ended.stdout.ends_with("config.toml: no mistakes\n"), "it is a configuration");
}

fn a_plan_and_a_check_warn_of_an_emptied_file_that_saving_it_refuses() {
    let ports = [("BROADCASTD_SERVER__LISTEN", "127.0.0.1:0"), ("BROADCASTD_ADMIN__LISTEN", "127.0.0.1:0")];
    let daemon = Daemon::start_with(GOOD, &ports);
    let folder = daemon.folder.path();
    let run = |arguments: &[&str]| process::run(folder, arguments, &ports);
    for nothing in ["", " \n\n"] {
        daemon.refuse(|| daemon.configure_whole(nothing));
        fs::write(folder.join("next.toml"), nothing).unwrap();
        for (asked, name) in [(&["plan"][..], "config.toml"), (&["plan", "next.toml"], "next.toml")] {
            let plan = run(asked);
            assert_eq!((plan.code, &*plan.stderr), (Some(0), ""), "{asked:?}");
            for part in [&*format!("warning[C048]: `{name}` has no setting\n"), "(C045)", "hello"] {
                assert!(plan.stdout.contains(part), "no {part:?} in {asked:?}: {}", plan.stdout);
            }
        }
        for depth in [&["check"][..], &["check", "--offline"]] {
            let check = run(depth);
            assert_eq!((check.code, &*check.stderr), (Some(0), ""), "{depth:?}");
            for part in ["warning[C048]: `config.toml` has no setting\n", "(C045)", "config.toml: no mistakes\n"] {
                assert!(check.stdout.contains(part), "no {part:?} in {depth:?}: {}", check.stdout);
            }
        }
        daemon.reload(|| daemon.configure(GOOD));
        assert!(!run(&["plan"]).stdout.contains("C048") && !run(&["check"]).stdout.contains("C048"));
    }
    daemon.refuse(|| daemon.configure_whole(""));
    daemon.reload(|| daemon.signal("HUP"));
    let plan = run(&["plan"]);
    assert_eq!((plan.code, plan.stdout.contains("C048")), (Some(0), false), "what was ordered runs, and loses nothing");
}

fn every_kind_of_save_is_seen() {
    let daemon = Daemon::start(GOOD);
    let file = daemon.folder.path().join("config.toml");
    let text = |stream: &str| format!("{PORTS}{GOOD}[streams.{stream}]\n");
    let has = |stream: &str| daemon.publish(stream, &json!({"type": "tick", "data": {}})).status == 202;
    daemon.reload(|| fs::write(&file, text("in_place")).unwrap());
    assert!(has("in_place"));
    daemon.reload(|| daemon.configure_whole(&text("renamed")));
    assert!(has("renamed") && !has("in_place"));
    // As a file is mounted into a container: two hops, and the first is swapped.
    let (folder, link) = (daemon.folder.path(), daemon.folder.path().join("data"));
    for version in ["one", "two"] {
        fs::create_dir(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("config.toml"), text(version)).unwrap();
    }
    symlink("one", &link).unwrap();
    daemon.reload(|| {
        symlink("data/config.toml", folder.join("new")).unwrap();
        fs::rename(folder.join("new"), &file).unwrap();
    });
    assert!(has("one"));
    daemon.reload(|| {
        symlink("two", folder.join("new")).unwrap();
        fs::rename(folder.join("new"), &link).unwrap();
    });
    assert!(has("two") && !has("one"));
}
