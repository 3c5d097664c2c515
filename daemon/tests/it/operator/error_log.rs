//! `log.errors`: a file for warnings and errors alone, which a reload opens, exchanges and lets go of.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{printed, run};
use crate::http::post;
use crate::needs;
use crate::process::{self, Daemon, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(it_has_what_warns_and_nothing_else_whatever_the_level),
        needs::nothing(a_file_that_cannot_be_opened_refuses_the_configuration),
        needs::nothing(neither_check_nor_plan_leaves_a_file),
    ]
}

fn config(level: &str, errors: &Path) -> String {
    format!("[log]\nlevel = \"{level}\"\nerrors = \"{}\"\n[streams.ticks]\n", errors.display())
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn it_has_what_warns_and_nothing_else_whatever_the_level() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.log"), folder.path().join("second.log"));
    let daemon = Daemon::start(&config("debug", &first));
    let complain = |level: &str, message: &str| {
        let body = json!([{"level": level, "message": message}]).to_string();
        let answer = post(&daemon.clients, "/v1/log", "application/json", body.as_bytes());
        assert!(answer.status < 300, "{}", answer.body);
    };
    complain("warn", "a chart stays empty");
    daemon.wait_for_log("a chart stays empty");
    daemon.refuse(|| daemon.configure("nonsense"));
    crate::house::until("both are there", || lines(&first).len() >= 2);
    let levels: Vec<Value> = lines(&first).iter().map(|line| line["level"].clone()).collect();
    assert_eq!(levels, ["WARN", "ERROR"], "much more was logged elsewhere");
    assert!(daemon.log_text().contains(r#""level":"INFO""#));

    printed(&daemon, &["log-level", "daemon", "error"]);
    complain("warn", "another stays empty");
    let told = || fs::read_to_string(&first).unwrap().contains("another stays empty");
    crate::house::until("the error log has it, whatever the log has", told);

    let before = fs::read_to_string(&first).unwrap();
    daemon.reload(|| daemon.configure(&config("info", &second)));
    complain("error", "they all stay empty");
    crate::house::until("the other file has it", || !fs::read_to_string(&second).unwrap().is_empty());
    assert_eq!(fs::read_to_string(&first).unwrap(), before);
}

fn a_file_that_cannot_be_opened_refuses_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("no/errors.log");
    let daemon = Daemon::start("[streams.ticks]\n");
    let refusal = daemon.refuse(|| daemon.configure(&config("info", &nowhere)));
    assert!(refusal.contains("error[C039]") && refusal.contains("no/errors.log"), "{refusal}");
    fs::write(folder.path().join("config.toml"), format!("{PORTS}{}", config("info", &nowhere))).unwrap();
    for command in ["run", "check"] {
        let ended = process::run(folder.path(), &[command], &[]);
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        assert!(ended.stderr.contains("error[C039]"), "{}", ended.stderr);
    }
}

fn neither_check_nor_plan_leaves_a_file() {
    let daemon = Daemon::start("[streams.ticks]\n");
    let errors = daemon.folder.path().join("errors.log");
    let candidate = daemon.folder.path().join("candidate.toml");
    fs::write(&candidate, format!("{PORTS}{}", config("info", &errors))).unwrap();
    printed(&daemon, &["plan", candidate.to_str().unwrap()]);
    assert_eq!(run(&daemon, &["check", "--config", candidate.to_str().unwrap()]).code, Some(0));
    assert!(!errors.exists());
}
