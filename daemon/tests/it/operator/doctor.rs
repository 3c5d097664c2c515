//! `broadcastd doctor`: one line for each thing, and what to do about those that are not well.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::printed;
use crate::needs;
use crate::process::{self, Daemon};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(what_is_well_is_said_to_be),
        needs::nothing(a_door_that_is_open_to_other_machines_is_told_wherever_one_looks),
        needs::nothing(what_is_wrong_is_named_with_a_next_step),
    ]
}

/// The lines about one thing.
fn about<'a>(told: &'a str, check: &str) -> Vec<&'a str> {
    told.lines().filter(|line| line.split_whitespace().nth(1) == Some(check)).collect()
}

fn what_is_well_is_said_to_be() {
    let daemon = Daemon::start("[hub]\nmax_connections = 10\n");
    let told = printed(&daemon, &["doctor"]);
    let runs =
        format!("ok       daemon         {}, process {} runs and is ready", env!("CARGO_PKG_VERSION"), daemon.pid());
    assert_eq!(about(&told, "daemon"), [runs]);
    assert_eq!(about(&told, "configuration"), ["ok       configuration  config.toml: no mistakes"]);
    assert!(about(&told, "descriptors")[0].starts_with("ok       descriptors    the daemon may open "), "{told}");
    assert!(told.lines().all(|line| line.starts_with("ok ")), "{told}");
    // The address as it was bound, which a configuration may name.
    let named = format!("server.listen=[\"{}\"]", daemon.clients);
    let told = printed(&daemon, &["doctor", "--set", &named]);
    assert_eq!(
        about(&told, "port")[0],
        format!("ok       port           server.listen {} is the daemon's", daemon.clients)
    );
    let told: Value = serde_json::from_str(&printed(&daemon, &["doctor", "--format", "json"])).unwrap();
    assert_eq!((&told["healthy"], &told["checks"][0]["verdict"]), (&json!(true), &json!("ok")), "{told:#}");
}

fn a_door_that_is_open_to_other_machines_is_told_wherever_one_looks() {
    let open = [("BROADCASTD_SERVER__LISTEN", "0.0.0.0:0")];
    let daemon = Daemon::start_with("[streams.ticks]\nvisible = true\n", &open);
    let said = "other machines reach 0.0.0.0:0 in clear, and `/v1/ws` asks nobody who they are";
    let line = daemon.wait_for_log("warning[C047]");
    assert!(line.contains(said) && line.contains("\"WARN\""), "{line}");
    let run = |arguments: &[&str]| process::run(daemon.folder.path(), arguments, &open);
    let checked = run(&["check"]);
    assert_eq!((checked.code, &*checked.stderr), (Some(0), ""));
    for part in [&*format!("warning[C047]: {said}"), "set server.tls, and auth = \"required\""] {
        assert!(checked.stdout.contains(part), "no {part} in\n{}", checked.stdout);
    }
    let told = run(&["doctor"]).stdout;
    let expected = format!("warning  configuration  {said}; all of it: broadcastd check");
    assert_eq!(about(&told, "configuration"), [&*expected]);

    // What a file that says nothing may mean is less than that.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("config.d")).unwrap();
    fs::write(elsewhere.path().join("config.toml"), "# nothing\n").unwrap();
    let doctor = || process::run(elsewhere.path(), &["doctor"], &open).stdout;
    let silent = "warning  configuration  `config.toml` has no setting; all of it: broadcastd check";
    assert_eq!(about(&doctor(), "configuration"), [silent]);
    fs::write(elsewhere.path().join("config.d/10.toml"), "[streams.ticks]\nvisible = true\n").unwrap();
    assert_eq!(about(&doctor(), "configuration"), [expected]);
}

fn what_is_wrong_is_named_with_a_next_step() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let state = home.path().join(".local/state/broadcastd");
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    let config = format!(
        "[server]\nlisten = [\"{address}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[hub]\nmax_connections = 1_000_000\n"
    );
    fs::write(home.path().join("config.toml"), config).unwrap();
    let ended = process::run(home.path(), &["doctor"], &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(69), ""));
    let told = ended.stdout;
    let port = format!(
        "fault    port           server.listen {address} is taken by another program; stop it or choose another port; to see by whom: ss -ltnp 'sport = {}'",
        address.port()
    );
    assert_eq!(about(&told, "port")[0], port);
    assert!(about(&told, "state")[0].contains("(mode 777), and what lies there is trusted; chmod o-w "), "{told}");
    let descriptors = about(&told, "descriptors")[0];
    assert!(descriptors.starts_with("warning  descriptors    this shell may open "), "{told}");
    assert!(
        descriptors.contains("; ulimit -n 1000256, or for the service LimitNOFILE=1000256 by systemctl edit"),
        "{told}"
    );
    assert!(about(&told, "daemon")[0].starts_with("warning  daemon         no daemon listens at "), "{told}");
    assert!(
        about(&told, "daemon")[0].contains("; start one: systemctl start broadcastd, or broadcastd run; "),
        "{told}"
    );
    assert_eq!(about(&told, "clock"), ["ok       clock          plausible"]);
    let none = home.path().join("none").display().to_string();
    let told = process::run(home.path(), &["doctor"], &[("BROADCASTD_PLUGIN_PATH", &none)]).stdout;
    let advice = format!("; mkdir -p {none}, or take it out of BROADCASTD_PLUGIN_PATH; then broadcastd plugin list");
    assert!(about(&told, "plugins")[0].ends_with(&advice), "{told}");
    fs::write(home.path().join("config.toml"), "[hub]\nmax_topic = 7\nx = 1\n").unwrap();
    let ended = process::run(home.path(), &["doctor"], &[]);
    assert_eq!(ended.code, Some(69));
    let expected =
        "fault    configuration  unknown key `hub.max_topic`, and 1 more mistakes; `broadcastd check` shows all";
    assert_eq!(about(&ended.stdout, "configuration"), [expected]);
}
