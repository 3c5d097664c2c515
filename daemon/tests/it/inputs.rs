//! What a listening broadcaster saved, through stops and kills of the daemon: state and position always belong together.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::house;
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_listener_goes_on_after_a_restart_and_is_told_of_the_other_epoch),
        needs::nothing(a_kill_at_any_moment_leaves_state_and_position_of_one_moment),
    ]
}

/// Counts its inputs, and keeps the count as its state.
const COUNTER: &str = "[streams.ticks]\n[broadcasters.counter]\nplugin = \"faulty\"\nlisten = [\"ticks\"]\n\
                       settings = { interval_ms = 3600000 }\n";
/// Lives of the daemon that end by a kill.
const KILLS: u64 = 12;
/// A stop takes about so long until everything is written; each kill comes at another moment of it.
const STOP: Duration = Duration::from_millis(12);

/// A state file, as far as it matters here.
#[derive(Debug, PartialEq)]
struct Saved {
    epoch: String,
    seq: u64,
    count: u64,
}

fn a_listener_goes_on_after_a_restart_and_is_told_of_the_other_epoch() {
    let daemon = Daemon::start(COUNTER);
    send(&daemon, 5);
    handled(&daemon, 5);
    let (status, folder) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    let first = saved(folder.path()).unwrap();
    assert_eq!((first.seq, first.count), (5, 5));
    let daemon = Daemon::start_in(folder, COUNTER, &[]);
    let mut client = daemon.subscriber("counter");
    send(&daemon, 1);
    assert_eq!(house::hear_json(&mut client)["data"], json!({"count": 6}));
    assert!(!daemon.log_text().contains("inputs are gone"), "it ended in order, and nothing was lost");
    let folder = daemon.stop().1;
    let second = saved(folder.path()).unwrap();
    assert_eq!((second.seq, second.count), (1, 6));
    assert_ne!(second.epoch, first.epoch);
    let daemon = Daemon::start_in(folder, COUNTER, &[]);
    daemon.signal("KILL");
    let daemon = Daemon::start_in(daemon.wait().1, COUNTER, &[]);
    daemon.wait_for_log("inputs are gone"); // nobody can say whether there were any
}

fn a_kill_at_any_moment_leaves_state_and_position_of_one_moment() {
    let mut folder = tempfile::tempdir().unwrap();
    let mut before: Option<Saved> = None;
    let mut written = 0;
    for kill in 0..KILLS {
        let daemon = Daemon::start_in(folder, COUNTER, &[]);
        let inputs = 1 + kill % 3;
        send(&daemon, inputs);
        handled(&daemon, inputs);
        daemon.signal("TERM");
        thread::sleep(STOP * kill as u32 / KILLS as u32); // this is the moment, not a hope
        daemon.signal("KILL");
        folder = daemon.wait().1;
        assert!(!state(folder.path()).with_extension("state.bad").exists(), "kill {kill}");
        let after = saved(folder.path());
        if after == before {
            continue;
        }
        let base = before.as_ref().map_or(0, |saved| saved.count);
        let after = after.expect("what was written before does not go");
        assert_eq!(after.count, base + after.seq, "kill {kill}: {before:?} before, {after:?} after");
        before = Some(after);
        written += 1;
    }
    println!("{written} of {KILLS} lives had saved before they were killed");
    let daemon = Daemon::start_in(folder, COUNTER, &[]);
    assert_eq!(daemon.readiness(), (200, vec![]));
    assert_eq!(daemon.stop().0.code(), Some(0));
}

fn send(daemon: &Daemon, inputs: u64) {
    let events: Vec<Value> = (0..inputs).map(|_| json!({"type": "tick", "data": {}})).collect();
    assert_eq!(daemon.publish("ticks", &Value::Array(events)).status, 202);
}

fn handled(daemon: &Daemon, inputs: u64) {
    let sent = || daemon.get("/v1/broadcasters/counter").json()["broadcasts_sent"].as_u64();
    house::until("all inputs are handled", || sent() == Some(inputs));
}

fn state(folder: &Path) -> std::path::PathBuf {
    let found = find(folder, "counter.state");
    found.unwrap_or_else(|| folder.join("counter.state"))
}

/// A file somewhere in the folder.
pub fn find(folder: &Path, name: &str) -> Option<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .into_iter()
        .find_map(|path| if path.is_dir() { find(&path, name) } else { path.file_name()?.eq(name).then_some(path) })
}

/// What the file says: a line of the format, one of positions, and the state.
fn saved(folder: &Path) -> Option<Saved> {
    #[derive(Deserialize)]
    struct Header {
        positions: BTreeMap<String, (String, u64)>,
    }
    let text = fs::read_to_string(state(folder)).ok()?;
    let mut lines = text.splitn(3, '\n').skip(1);
    let mut header: Header = serde_json::from_str(lines.next().unwrap()).unwrap();
    let (epoch, seq) = header.positions.remove("ticks").unwrap();
    Some(Saved { epoch, seq, count: lines.next().unwrap().parse().unwrap() })
}
