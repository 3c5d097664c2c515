//! Commands to the running daemon by its control socket: the built binary on both ends, and `curl` for what no command says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::alerts::blocks;
use crate::http::ask;
use crate::needs;
use crate::process::{self, CONTROL, Daemon, Ended, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(without_a_daemon_commands_say_where_they_looked),
        needs::nothing(a_plan_counts_whom_it_concerns_and_changes_nothing),
        needs::nothing(a_reload_says_what_it_did_when_it_is_done),
        needs::nothing(a_refused_reload_is_shown_whole),
        needs::nothing(a_plan_never_shows_a_secret),
        needs::nothing(the_status_is_the_daemons_own),
        needs::nothing(only_who_has_proven_to_be_an_operator_changes_the_daemon),
        needs::program("curl", no_web_page_uses_the_control_socket),
        needs::nothing(what_is_asked_is_noted_with_who_and_what_came_of_it),
        needs::nothing(the_way_to_another_configuration_is_as_the_page_shows),
        needs::nothing(a_socket_left_by_a_killed_daemon_is_taken_over),
    ]
}

const BARS: &str =
    "[streams.ticks]\nvisible = true\n[broadcasters.bars]\nplugin = \"bars\"\nsettings.interval = \"60s\"\n";

fn run(daemon: &Daemon, arguments: &[&str]) -> Ended {
    process::run(daemon.folder.path(), arguments, &[])
}

/// What a command prints that succeeds.
fn printed(daemon: &Daemon, arguments: &[&str]) -> String {
    let ended = run(daemon, arguments);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}: {}", ended.stdout);
    ended.stdout
}

fn without_a_daemon_commands_say_where_they_looked() {
    let home = tempfile::tempdir().unwrap();
    for command in ["status", "plan", "reload"] {
        let ended = process::run(home.path(), &[command], &[]);
        assert_eq!(ended.code, Some(69), "{command}");
        let own = home.path().join(CONTROL).display().to_string();
        let expected = format!(
            "no daemon listens at {own} or /run/broadcastd/control.sock; start one: systemctl start broadcastd, or broadcastd run; or name its socket: --socket PATH (its log says which)\n"
        );
        assert_eq!(ended.stderr, expected);
    }
    let ended = process::run(home.path(), &["status", "--socket", "none"], &[]);
    assert_eq!(ended.code, Some(69));
    assert!(ended.stderr.starts_with("no daemon listens at none; "), "{}", ended.stderr);
    let ended = process::run(home.path(), &["reload", "--set", "hub.max_topics=1"], &[]);
    assert_eq!(ended.code, Some(64), "{}", ended.stderr);
}

const NEXT: &str = "[hub]
max_topics = 7
[streams.tocks]
[broadcasters.bars]
plugin = \"bars\"
settings.interval = \"90s\"
[broadcasters.more]
plugin = \"bars\"
";
const CHANGES: &str = "  ~ broadcaster bars: takes new settings; 2 subscriptions go on
      settings.interval: \"60s\" → \"90s\"
  + broadcaster more: starts
  - stream ticks: 1 subscription is told
  + stream tocks
  ~ hub.max_topics: 10000 → 7
0 broadcasters unchanged; connections stay open
";

fn a_plan_counts_whom_it_concerns_and_changes_nothing() {
    let daemon = Daemon::start(BARS);
    let nothing = "a reload of config.toml would change:\n  nothing\n1 broadcaster unchanged; connections stay open\n";
    assert_eq!(printed(&daemon, &["plan"]), nothing);
    let _listening = [daemon.subscriber("bars"), daemon.subscriber("bars"), daemon.subscriber("ticks")];
    let bars = || {
        ["source", "position", "history", "subscriptions"].map(|key| daemon.get("/v1/streams/bars").json()[key].clone())
    };
    let before = bars();
    let next = daemon.folder.path().join("next.toml");
    fs::write(&next, format!("{PORTS}{NEXT}")).unwrap();
    let planned = printed(&daemon, &["plan", "next.toml"]);
    assert_eq!(planned, format!("a reload of next.toml would change:\n{CHANGES}"));
    let report: Value = serde_json::from_str(&printed(&daemon, &["plan", "next.toml", "--format", "json"])).unwrap();
    let expected = json!({
        "change": "reconfigure", "broadcaster": "bars", "disabled": false, "file": null, "subscriptions": 2,
        "settings": [{"key": "settings.interval", "old": "60s", "new": "90s"}],
    });
    assert_eq!(report["plan"]["broadcasters"][0], expected, "{report:#}");
    assert_eq!(bars(), before);
    assert_eq!(daemon.get("/v1/broadcasters").json().as_array().unwrap().len(), 1);
    assert!(!daemon.log_text().contains("the configuration was reloaded"));
    fs::write(&next, format!("{PORTS}[hub]\nmax_topic = 7\n")).unwrap();
    let refused = run(&daemon, &["plan", "next.toml"]);
    assert_eq!(refused.code, Some(78));
    assert!(refused.stderr.contains("--> next.toml:6:1\n"), "{}", refused.stderr);
    assert_eq!(run(&daemon, &["plan", "none.toml"]).code, Some(78));
}

fn a_reload_says_what_it_did_when_it_is_done() {
    let daemon = Daemon::start(BARS);
    let _listening = [daemon.subscriber("bars"), daemon.subscriber("bars"), daemon.subscriber("ticks")];
    daemon.configure(NEXT);
    // Saving it is enough to have it taken; who of the two comes first does not matter to what is told.
    let told = printed(&daemon, &["reload"]);
    let (title, changes) = told.split_once(":\n").unwrap();
    let is_already = title.ends_with(" s ago, and nothing has changed since");
    assert!(title == "config.toml was reloaded" || is_already, "{title}");
    assert_eq!(changes, CHANGES);
    assert!(daemon.get("/v1/broadcasters/more").json()["is_running"] == true);
    let again = printed(&daemon, &["reload"]);
    let (title, changes) = again.split_once(":\n").unwrap();
    assert!(title.ends_with(" s ago, and nothing has changed since"), "{title}");
    assert_eq!(changes, CHANGES);
}

fn a_refused_reload_is_shown_whole() {
    let daemon = Daemon::start(BARS);
    let refusal = daemon.refuse(|| daemon.configure("[hub]\nmax_topic = 7\n[broadcasters.bars]\nplugin = \"cars\"\n"));
    let refused = run(&daemon, &["reload"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(78), ""));
    assert_eq!(refusal.split_once('\n').unwrap().1.trim_end(), refused.stderr.trim_end());
    let told = run(&daemon, &["reload", "--format", "json"]);
    assert_eq!(told.code, Some(78));
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&told["outcome"], &told["diagnostics"][0]["code"]), (&json!("refused"), &json!("C002")));
    let status = printed(&daemon, &["status"]);
    assert!(
        status.contains("  state     ready; the last reload was refused: unknown key `hub.max_topic`\n"),
        "{status}"
    );
}

fn a_plan_never_shows_a_secret() {
    let daemon = Daemon::start(BARS);
    let next = daemon.folder.path().join("next.toml");
    fs::write(&next, format!("{PORTS}token = {{ env = \"TOKEN_OF_TOMORROW\" }}\n{BARS}")).unwrap();
    fs::write(daemon.folder.path().join("secret"), "s").unwrap();
    let text = fs::read_to_string(&next).unwrap().replace("env = \"TOKEN_OF_TOMORROW\"", "file = \"secret\"");
    fs::write(&next, text).unwrap();
    let planned = printed(&daemon, &["plan", "next.toml"]);
    assert!(planned.contains("  ~ admin.token: not set → \"…\"\n"), "{planned}");
}

fn the_status_is_the_daemons_own() {
    let daemon = Daemon::start(BARS);
    let _listening = daemon.subscriber("bars");
    let told: Value = serde_json::from_str(&printed(&daemon, &["status", "--format", "json"])).unwrap();
    assert_eq!((&told["pid"], &told["ready"]), (&json!(daemon.pid()), &json!(true)), "{told:#}");
    assert_eq!((&told["listen"], &told["connections"]), (&json!([daemon.clients]), &json!(1)), "{told:#}");
    assert_eq!(told["broadcasters"][0]["name"], "bars");
    let status = printed(&daemon, &["status"]);
    assert!(status.contains(&format!("  process   {}, up ", daemon.pid())), "{status}");
    assert!(status.contains(&format!("  clients   1 connection at {}\n", daemon.clients)), "{status}");
    assert!(status.contains("\nBROADCASTER  STATE    PLUGIN      "), "{status}");
    assert!(status.contains("\nSTREAM  SEQ  SUBSCRIPTIONS  RECORDS  HISTORY\n"), "{status}");
}

fn only_who_has_proven_to_be_an_operator_changes_the_daemon() {
    let daemon = Daemon::start(BARS);
    let mode = fs::metadata(daemon.folder.path().join(CONTROL)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let asked =
        |headers: &[(&str, &str)], path: &str| ask(&daemon.admin, &format!("POST {path} HTTP/1.1"), headers, b"");
    for path in ["/v1/reload", "/v1/plan"] {
        let refused = asked(&[], path);
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("forbidden")), "{path}");
        assert!(refused.body.contains("control socket"), "{}", refused.body);
    }
    fs::write(daemon.folder.path().join("secret"), "s3cret").unwrap();
    let token = "token = { file = \"secret\" }\n";
    daemon.reload(|| daemon.configure_whole(&format!("{PORTS}{token}{BARS}")));
    for path in ["/v1/reload", "/v1/plan"] {
        assert_eq!(asked(&[("Authorization", "Bearer s3cret")], path).status, 200, "{path}");
        assert_eq!(asked(&[], path).status, 401, "{path}");
    }
    printed(&daemon, &["plan"]); // the socket's file is proof enough
}

fn no_web_page_uses_the_control_socket() {
    let daemon = Daemon::start(BARS);
    let status = |more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", CONTROL, "-X", "POST"]);
        let asked = curl.args(more).arg("http://localhost/v1/plan").current_dir(daemon.folder.path()).output().unwrap();
        String::from_utf8(asked.stdout).unwrap()
    };
    assert_eq!(status(&[]), "200");
    assert_eq!(status(&["-H", "Origin: https://example.org"]), "403");
    assert_eq!(status(&["-d", "{\"config\": \"[hub]\"}"]), "200");
    assert_eq!(status(&["-d", "{\"konfig\": \"[hub]\"}"]), "400");
    fs::write(daemon.folder.path().join("large"), format!("{{\"config\": \"{}\"}}", "#".repeat(2 << 20))).unwrap();
    assert_eq!(status(&["-d", "@large"]), "413");
}

fn what_is_asked_is_noted_with_who_and_what_came_of_it() {
    let daemon = Daemon::start(BARS);
    printed(&daemon, &["reload"]);
    daemon.refuse(|| daemon.configure("[hub]\nmax_topic = 7\n"));
    run(&daemon, &["reload"]);
    daemon.wait_for_log("\"outcome\":\"refused\"");
    let log = daemon.log_text();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let audit: Vec<Value> = lines.filter(|line| line["target"] == "audit").collect();
    let told = |line: &Value| ["principal", "act", "outcome"].map(|key| line[key].as_str().unwrap().to_owned());
    let expected = ["done", "refused"].map(|outcome| ["operator:admin", "reload the configuration", outcome]);
    assert_eq!(audit.iter().map(told).collect::<Vec<_>>(), expected, "{log}");
    let uid = fs::metadata(daemon.folder.path()).map(|folder| std::os::unix::fs::MetadataExt::uid(&folder)).unwrap();
    assert!(audit[0]["peer"].as_str().unwrap().starts_with(&format!("uid {uid}, process ")), "{}", audit[0]);
}

fn the_way_to_another_configuration_is_as_the_page_shows() {
    let blocks = blocks("docs/operating.md", "\n## Reload");
    let [(_, lines)] = blocks.try_into().expect("one block to paste");
    let daemon = Daemon::start(BARS);
    let change = "sed -i s/60s/90s/ next.toml";
    let script = lines.replace("# and change it", &format!("\n{change}"));
    assert_ne!(script, lines);
    let (folder, path) =
        (Path::new(env!("CARGO_BIN_EXE_broadcastd")).parent().unwrap(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-ec", &script]).current_dir(daemon.folder.path()).env("HOME", daemon.folder.path());
    shell
        .env("PATH", format!("{}:{path}", folder.display()))
        .env_remove("STATE_DIRECTORY")
        .env_remove("RUNTIME_DIRECTORY");
    let said = shell.output().unwrap();
    let told = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{told}{}", String::from_utf8_lossy(&said.stderr));
    let change =
        "  ~ broadcaster bars: takes new settings; 0 subscriptions go on\n      settings.interval: \"60s\" → \"90s\"\n";
    assert!(told.starts_with(&format!("a reload of next.toml would change:\n{change}")), "{told}");
    assert_eq!(told.matches(change).count(), 2, "{told}");
}

fn a_socket_left_by_a_killed_daemon_is_taken_over() {
    let daemon = Daemon::start(BARS);
    daemon.signal("KILL");
    let (_, folder) = daemon.wait();
    assert!(folder.path().join(CONTROL).exists());
    assert_eq!(process::run(folder.path(), &["status"], &[]).code, Some(69));
    let daemon = Daemon::start_in(folder, BARS, &[]);
    printed(&daemon, &["status"]);
    let (_, folder) = daemon.stop();
    assert!(!folder.path().join(CONTROL).exists());
}
