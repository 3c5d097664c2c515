//! A start with a file that is refused: the configuration that took effect last runs in its place, and everybody who looks
//! is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::needs;
use crate::process::{self, Daemon, Ended, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_broken_file_is_told_everywhere_and_the_last_good_one_runs),
        needs::nothing(the_folder_is_part_of_what_is_kept),
        needs::nothing(a_plugin_that_refuses_is_no_reason_not_to_start),
        needs::nothing(strict_ends_where_the_file_is_refused),
        needs::nothing(the_first_start_has_nothing_to_fall_back_on),
        needs::nothing(where_neither_can_be_used_both_reasons_are_told),
        needs::nothing(nothing_of_the_environment_is_kept),
    ]
}

const IN_USE: &str = "broadcastd_config_last_good_in_use";
const GOOD: &str = "[streams.good]\nvisible = true\n";

/// A folder in which a daemon ran with this configuration, and has ended.
fn after(config: &str, env: &[(&str, &str)]) -> TempDir {
    let (status, folder) = Daemon::start_with(config, env).stop();
    assert!(status.success());
    folder
}

fn has(daemon: &Daemon, stream: &str) -> bool {
    daemon.publish(stream, &json!({"type": "tick", "data": {}})).status == 202
}

fn kept(folder: &Path) -> PathBuf {
    let state = folder.join(".local/state/broadcastd");
    let mut all = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    all.find(|path| path.extension().is_some_and(|end| end == "json")).unwrap()
}

/// A start that ends by itself.
fn end(folder: &Path, config: &str, arguments: &[&str], env: &[(&str, &str)]) -> Ended {
    fs::write(folder.join("config.toml"), format!("{PORTS}{config}")).unwrap();
    process::run(folder, arguments, env)
}

fn a_broken_file_is_told_everywhere_and_the_last_good_one_runs() {
    let daemon = Daemon::start("[streams.first]\n");
    assert_eq!(daemon.metric(IN_USE), Some(0.0));
    daemon.reload(|| daemon.configure(GOOD)); // what a reload took is good, too
    let folder = daemon.stop().1;
    let daemon = Daemon::start_in(folder, "[streams.good]\nvisble = true\n[hub]\nmax_topics = 0\n", &[]);
    assert!(daemon.greeting().contains(" runs with the last good config.toml\n"), "{}", daemon.greeting());
    assert!(has(&daemon, "good") && !has(&daemon, "first"));
    let told: Value = serde_json::from_str(&daemon.wait_for_log("the configuration was refused")).unwrap();
    assert_eq!(told["level"], "ERROR");
    let text = told["message"].as_str().unwrap();
    for part in ["config.toml:6:1", "config.toml:8:14", "2 errors. the last good configuration runs\n"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let reason =
        "the last good configuration runs, for the file was refused at the start: unknown key `streams.good.visble`";
    assert_eq!(daemon.readiness(), (200, vec![reason.to_owned()]));
    let status = process::run(daemon.folder.path(), &["status"], &[]).stdout;
    assert!(status.contains(&format!("  state     ready; {reason}\n")), "{status}");
    assert_eq!(daemon.metric(IN_USE), Some(1.0));
    assert_eq!(daemon.metric("broadcastd_config_last_reload_successful"), Some(0.0));
    // The file is watched all the same: a worse one is refused, a good one is an ordinary reload.
    let refused = daemon.refuse(|| daemon.configure("[streams.good]\nvisible = 7\n"));
    assert!(refused.contains("config.toml:6:11"), "{refused}");
    assert_eq!((daemon.readiness().1.len(), daemon.metric(IN_USE)), (2, Some(1.0)));
    daemon.reload(|| daemon.configure("[streams.good]\nvisible = true\n[streams.new]\n"));
    assert!(has(&daemon, "new"));
    assert_eq!((daemon.readiness(), daemon.metric(IN_USE)), ((200, vec![]), Some(0.0)));
}

fn the_folder_is_part_of_what_is_kept() {
    let daemon = Daemon::start(GOOD);
    let above = daemon.folder.path().join("config.d");
    fs::create_dir(&above).unwrap();
    daemon.reload(|| fs::write(above.join("a.toml"), "[streams.above]\n").unwrap());
    let folder = daemon.stop().1;
    fs::write(above.join("a.toml"), "[streams.above").unwrap();
    let daemon = Daemon::start_in(folder, GOOD, &[]);
    assert!(has(&daemon, "good") && has(&daemon, "above"));
    let told = daemon.wait_for_log("the last good one runs in its place");
    assert!(told.contains("--> config.d/a.toml:1:15"), "{told}");
    daemon.reload(|| fs::remove_file(above.join("a.toml")).unwrap());
    assert!(has(&daemon, "good") && !has(&daemon, "above"));
    // A file that is gone is refused as any other.
    let folder = daemon.stop().1;
    fs::remove_file(folder.path().join("config.toml")).unwrap();
    let mut command = process::command(folder.path(), &[]);
    command.args(["--config", "config.toml"]);
    let daemon = Daemon::start_by(command, folder);
    assert!(has(&daemon, "good"));
    daemon.wait_for_log("there is no file `config.toml`");
    daemon.reload(|| daemon.configure("[streams.back]\n"));
    assert!(has(&daemon, "back"));
}

const FAULTY: &str = "[broadcasters.faulty]\nplugin = \"faulty\"\n";

fn a_plugin_that_refuses_is_no_reason_not_to_start() {
    let mut folder = after(&format!("{GOOD}{FAULTY}"), &[]);
    let settings = |mode: &str, at: &str| format!("{FAULTY}settings = {{ mode = \"{mode}\", at = \"{at}\" }}\n");
    for (config, reason) in [
        (settings("invalid_settings", "validate"), "this mode is refused on purpose"),
        (settings("error", "new"), "new fails on purpose"),
        (settings("nonsense", "new"), "cannot be \\\"nonsense\\\""),
        ("[broadcasters.gone]\nplugin = \"gone\"\n".to_owned(), "libgone.so"),
        ("[auth.jwt]\nkeys = \"gone.pem\"\n".to_owned(), "gone.pem"),
    ] {
        let daemon = Daemon::start_in(folder, &format!("[streams.bad]\n{config}"), &[]);
        let told = daemon.wait_for_log("the last good one runs in its place");
        assert!(told.contains(reason), "no {reason} in {told}");
        assert!(has(&daemon, "good") && !has(&daemon, "bad"));
        assert_eq!(daemon.get("/v1/broadcasters/faulty").json()["is_running"], true);
        folder = daemon.stop().1;
    }
}

fn strict_ends_where_the_file_is_refused() {
    let folder = after(GOOD, &[]);
    let ended = end(folder.path(), "[streams", &["run", "--strict"], &[]);
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.ends_with("config.toml: 1 error. nothing runs\n"), "{}", ended.stderr);
    let daemon = Daemon::start_in(folder, "[streams", &[]);
    assert!(has(&daemon, "good"), "without it, the same starts");
}

fn the_first_start_has_nothing_to_fall_back_on() {
    let folder = after(GOOD, &[]);
    let other = folder.path().join("other.toml");
    fs::write(&other, "[streams").unwrap();
    let ended = process::run(folder.path(), &["--config", "other.toml"], &[]);
    assert_eq!(ended.code, Some(78), "what is good belongs to its file");
    assert!(ended.stderr.ends_with("other.toml: 1 error. nothing runs\n"), "{}", ended.stderr);
}

fn where_neither_can_be_used_both_reasons_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "a secret that is as long as one has to be").unwrap();
    let with_key = format!("{GOOD}[auth.jwt]\nsecret = {{ file = \"key\" }}\n");
    let folder = Daemon::start_in(folder, &with_key, &[]).stop().1;
    fs::remove_file(&key).unwrap();
    let ended = end(folder.path(), "[streams", &[], &[]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    let (file, last_good) = ended.stderr.split_once("\nthe last good configuration cannot take its place:\n").unwrap();
    assert!(file.contains("error[C001]: unclosed table\n --> config.toml:5:9\n"), "{file}");
    assert!(last_good.contains("error[C037]") && last_good.contains("--> config.toml (last good):8:"), "{last_good}");
    let ended = end(folder.path(), "", &[], &[("BROADCASTD_HUB__MAX_TOPICS", "many")]);
    assert_eq!((ended.code, ended.stderr.matches("BROADCASTD_HUB__MAX_TOPICS").count()), (Some(78), 2));
    fs::write(kept(folder.path()), "{").unwrap();
    let ended = end(folder.path(), "[streams", &[], &[]);
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains(" is damaged: "), "{}", ended.stderr);
    let daemon = Daemon::start_in(folder, GOOD, &[]); // and a good file mends it
    drop(fs::remove_file(daemon.folder.path().join("config.toml")));
    let folder = daemon.stop().1;
    assert!(has(&Daemon::start_in(folder, "[streams", &[]), "good"));
}

fn nothing_of_the_environment_is_kept() {
    let env = [("BROADCASTD_LOG__LEVEL", "info,hunter2=debug"), ("KEY", "a secret that is as long as one has to be")];
    let folder = after("[streams.good]\n[auth.jwt]\nsecret = { env = \"KEY\" }\n", &env);
    let path = kept(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("[streams.good]") && !text.contains("hunter2") && !text.contains("a secret that"), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ended = end(folder.path(), "[streams", &[], &[]);
    assert_eq!(ended.code, Some(78), "without the variable neither can be used");
    assert!(ended.stderr.contains("error[C037]") && ended.stderr.contains("(last good)"), "{}", ended.stderr);
}
