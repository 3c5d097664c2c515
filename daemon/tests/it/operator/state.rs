//! `broadcastd state`: what broadcasters have saved, and one that begins anew.

use std::fs;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{printed, run};
use crate::needs;
use crate::process::{self, Daemon};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(what_was_saved_is_listed_and_moved_aside),
        needs::nothing(of_one_that_runs_nothing_is_taken_away),
    ]
}

const BARS: &str = "[broadcasters.bars]\nplugin = \"bars\"\n";
const STATE: &str = ".local/state/broadcastd";

fn what_was_saved_is_listed_and_moved_aside() {
    let (_, folder) = Daemon::start(BARS).stop();
    let run = |arguments: &[&str]| process::run(folder.path(), arguments, &[]);
    let saved = folder.path().join(STATE).join("bars.state");
    let bytes = fs::metadata(&saved).unwrap().len();
    let listed = run(&["state", "list"]);
    let lines: Vec<Vec<&str>> = listed.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], [folder.path().join(STATE).display().to_string()]);
    assert_eq!(lines[1], ["BROADCASTER", "PLUGIN", "VERSION", "BYTES", "AGE"]);
    assert_eq!((lines[2][..2].to_vec(), lines[2][3]), (vec!["bars", "bars"], bytes.to_string().as_str()));
    let told: Value = serde_json::from_str(&run(&["state", "list", "--format", "json"]).stdout).unwrap();
    assert_eq!((&told["states"][0]["broadcaster"], &told["states"][0]["bytes"]), (&json!("bars"), &json!(bytes)));
    let reset = run(&["state", "reset", "bars"]);
    let aside = folder.path().join(STATE).join("bars.state.reset-1");
    let expected = format!("bars begins anew when it starts; what it had saved is kept as {}\n", aside.display());
    assert_eq!((reset.code, reset.stdout.as_str(), reset.stderr.as_str()), (Some(0), expected.as_str(), ""));
    assert_eq!((saved.exists(), fs::metadata(aside).unwrap().len()), (false, bytes));
    let again = run(&["state", "reset", "bars"]);
    assert_eq!(again.code, Some(65));
    assert!(again.stderr.starts_with("broadcaster \"bars\" has saved nothing in "), "{}", again.stderr);
    let nothing = run(&["state", "list"]).stdout;
    assert!(nothing.starts_with("no broadcaster has saved anything in "), "{nothing}");
    assert_eq!(run(&["state", "list", "--state", "none"]).code, Some(69));
    assert_eq!(run(&["state", "reset", "../bars"]).code, Some(64));
}

fn of_one_that_runs_nothing_is_taken_away() {
    let (_, folder) = Daemon::start(BARS).stop();
    let daemon = Daemon::start_in(folder, BARS, &[]);
    let saved = daemon.folder.path().join(STATE).join("bars.state");
    let whole = fs::read(&saved).unwrap();
    let refused = run(&daemon, &["state", "reset", "bars"]);
    let expected = "broadcaster \"bars\" is running in a daemon, which would save its state again; set enabled = false in [broadcasters.bars], or stop the daemon, and then reset it\n";
    assert_eq!((refused.code, refused.stdout.as_str(), refused.stderr.as_str()), (Some(69), "", expected));
    assert_eq!(fs::read(&saved).unwrap(), whole);
    daemon.reload(|| daemon.configure(&format!("{BARS}enabled = false\n")));
    let folder = daemon.folder.path().join(STATE);
    let folder = folder.to_str().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let reset = process::run(elsewhere.path(), &["state", "reset", "bars", "--state", folder], &[]);
    assert_eq!((reset.code, reset.stderr.as_str()), (Some(0), ""));
    assert!(!saved.exists());
    printed(&daemon, &["state", "list"]);
}
