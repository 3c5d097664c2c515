//! What is in the journal, as `journalctl` would show it: a folder of ours stands in the place of journald's, in a mount
//! namespace of the daemon's own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::house::{self, Client};
use crate::http::PATIENCE;
use crate::needs;
use crate::process::{self, Daemon, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::program("mount-namespace", a_message_names_who_did_what_and_why),
        needs::program("mount-namespace", a_refused_first_start_is_an_error_in_the_journal_and_in_the_error_log),
        needs::program("mount-namespace", the_last_lines_are_heard_of_a_journald_that_stood_still_for_a_while),
        needs::program("mount-namespace", a_second_signal_ends_it_at_once_and_no_line_said_before_it_is_missing),
        needs::program("mount-namespace", a_second_signal_ends_it_although_journald_takes_nothing),
        needs::program("mount-namespace", without_journald_lines_go_to_its_stream),
    ]
}

type Entry = BTreeMap<String, String>;

/// The end that journald holds.
struct Journald {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Journald {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    /// The next entry whose message has this text.
    fn heard(&self, text: &str) -> Entry {
        let mut bytes = vec![0; 1 << 18];
        loop {
            let length = self.socket.recv(&mut bytes).unwrap_or_else(|error| panic!("no entry with {text:?}: {error}"));
            let entry = fields(&bytes[..length]);
            if entry["MESSAGE"].contains(text) {
                return entry;
            }
        }
    }
}

fn fields(mut bytes: &[u8]) -> Entry {
    let mut fields = Entry::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let (length, rest) = bytes[end + 1..].split_at(8);
        let (value, rest) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()).try_into().unwrap());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.insert(text(&bytes[..end]), text(value));
        bytes = &rest[1..];
    }
    fields
}

/// The daemon, to whom this folder is journald's.
fn command(home: &Path, journald: &Path) -> Command {
    const SCRIPT: &str = "mount -t tmpfs none /run; mkdir -p /run/systemd/journal; mount --bind \"$0\" /run/systemd/journal; exec \"$@\"";
    let daemon = process::command(home, &[("PATH", &std::env::var("PATH").unwrap())]);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-ec", SCRIPT]).arg(journald).arg(daemon.get_program());
    command.env_clear().envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(home).stdin(Stdio::null());
    command
}

/// What it ends with and says on a standard error stream that is the journal's.
fn ended(home: &Path, journald: &Path) -> (Option<i32>, String) {
    let file = home.join("stderr");
    let stderr = File::create(&file).unwrap();
    let found = stderr.metadata().unwrap();
    let stream = format!("{}:{}", found.dev(), found.ino());
    let mut child = command(home, journald).env("JOURNAL_STREAM", stream).stderr(stderr).spawn().unwrap();
    (process::wait(&mut child).code(), fs::read_to_string(file).unwrap())
}

fn a_message_names_who_did_what_and_why() {
    let journald = Journald::new();
    let folder = tempfile::tempdir().unwrap();
    let config = "[log]\nformat = \"journald\"\n[broadcasters.bad]\nplugin = \"faulty\"\nsettings = { mode = \"panic\", interval_ms = 10 }\nrestart = { max = 2, backoff = \"10ms..20ms\" }\n";
    fs::write(folder.path().join("config.toml"), format!("{PORTS}{config}")).unwrap();
    let daemon = Daemon::start_by(command(folder.path(), journald.folder.path()), folder);
    let failed = journald.heard("failed: ");
    let message = &failed["MESSAGE"];
    assert!(message.starts_with("broadcastd::plugin::") && message.contains("timer panics on purpose"), "{message}");
    assert!(message.contains(" broadcaster=\"bad\"") && message.contains(" reason=\"panic\""), "{message}");
    assert_eq!((&*failed["PRIORITY"], &*failed["F_BROADCASTER"], &*failed["F_REASON"]), ("3", "bad", "panic"));
    let again = journald.heard("it starts again");
    assert!(again["MESSAGE"].contains("failed once in 60s: it starts again, and is quarantined at 2"), "{again:?}");
    assert_eq!((&*again["PRIORITY"], &*again["F_BROADCASTER"]), ("4", "bad"));
    let quarantined = journald.heard("quarantined; correct it and reload: version ");
    assert!(quarantined["MESSAGE"].contains("it stays away until it is corrected and reloaded broadcaster=\"bad\""));
    process::run(daemon.folder.path(), &["broadcaster", "restart", "bad"], &[]);
    let audit = journald.heard("an operator acted");
    assert!(audit["MESSAGE"].starts_with("audit: ") && audit["MESSAGE"].contains("act=\"restart broadcaster bad\""));
    assert_eq!((&*audit["PRIORITY"], &*audit["TARGET"]), ("6", "audit"));
}

fn a_refused_first_start_is_an_error_in_the_journal_and_in_the_error_log() {
    let journald = Journald::new();
    let folder = tempfile::tempdir().unwrap();
    let errors = folder.path().join("errors.log");
    let wrong = format!("{PORTS}[log]\nerrors = \"{}\"\n[hub]\nmax_topics = 0\nrat = 1\n", errors.display());
    fs::write(folder.path().join("config.toml"), wrong).unwrap();
    let (code, stderr) = ended(folder.path(), journald.folder.path());
    assert_eq!((code, &*stderr), (Some(78), ""), "it is in the journal once");
    let entry = journald.heard("the daemon does not start");
    assert_eq!(entry["PRIORITY"], "3");
    let logged: Value = serde_json::from_str(fs::read_to_string(&errors).unwrap().trim_end()).unwrap();
    assert_eq!(logged["level"], "ERROR");
    for told in [&*entry["MESSAGE"], logged["message"].as_str().unwrap()] {
        for part in ["error[C", "config.toml:8:14", "unknown key `hub.rat`", "did you mean", "2 errors. nothing runs"] {
            assert!(told.contains(part), "no {part} in\n{told}");
        }
    }
}

fn the_last_lines_are_heard_of_a_journald_that_stood_still_for_a_while() {
    let journald = Journald::new();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), format!("{PORTS}[log]\nformat = \"journald\"\n")).unwrap();
    let daemon = Daemon::start_by(command(folder.path(), journald.folder.path()), folder);
    log_more_than_the_kernel_keeps(&daemon);
    daemon.signal("TERM");
    // Only now: before, the lines would have the time that the drain takes.
    house::until("nobody is left but who waits for journald", || {
        threads(daemon.pid()).iter().all(|name| ["broadcastd", "journal"].contains(&&**name))
    });
    assert!(journald.heard("stopped")["MESSAGE"].contains("took_s="));
}

/// Has it say more than waits in the kernel for a journald that reads nothing. How often it was reloaded for that.
fn log_more_than_the_kernel_keeps(daemon: &Daemon) -> usize {
    let kept = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap().trim().parse().unwrap();
    for _ in 0..kept {
        let ended = process::run(daemon.folder.path(), &["reload"], &[]);
        assert_eq!(ended.code, Some(0), "who logs waits for nobody: {}", ended.stderr);
    }
    kept
}

/// A daemon, asked by two signals to end while journald stands still; the client for whose sake its drain would outlast
/// every test; and how often it was reloaded before.
fn asked_twice(journald: &Journald, signals: [&str; 2]) -> (Daemon, Client, usize) {
    let folder = tempfile::tempdir().unwrap();
    let errors = folder.path().join("errors.log");
    let log = format!("[log]\nformat = \"journald\"\nerrors = \"{}\"\n", errors.display());
    fs::write(folder.path().join("config.toml"), format!("{PORTS}{log}")).unwrap();
    let mut command = command(folder.path(), journald.folder.path());
    command.env("BROADCASTD_SERVER__DRAIN", "1h");
    let daemon = Daemon::start_by(command, folder);
    let reloads = log_more_than_the_kernel_keeps(&daemon);
    let stays = daemon.connect();
    daemon.signal(signals[0]);
    house::until("it drains", || daemon.readiness().0 == 503);
    daemon.signal(signals[1]);
    // What warns is in that file at once: from here on it does nothing but wait for journald.
    house::until("it was asked twice", || fs::read_to_string(&errors).unwrap().contains("asked twice"));
    (daemon, stays, reloads)
}

fn a_second_signal_ends_it_at_once_and_no_line_said_before_it_is_missing() {
    for signals in [["TERM", "TERM"], ["INT", "TERM"]] {
        let journald = Journald::new();
        let (daemon, _stays, reloads) = asked_twice(&journald, signals);
        for _ in 0..reloads {
            journald.heard("the configuration was reloaded");
        }
        journald.heard("draining deadline_s=3600");
        journald.heard("asked twice: ending without draining");
        assert_eq!(daemon.wait().0.code(), Some(0), "{signals:?}");
    }
}

fn a_second_signal_ends_it_although_journald_takes_nothing() {
    let journald = Journald::new();
    let (daemon, _stays, _) = asked_twice(&journald, ["TERM", "TERM"]);
    assert_eq!(daemon.wait().0.code(), Some(0));
}

/// The names of a process's threads; none when it has ended.
fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}

fn without_journald_lines_go_to_its_stream() {
    let (folder, nobody) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("config.toml"), "[hub]\nmax_topics = 0\n").unwrap();
    let (code, stderr) = ended(folder.path(), nobody.path());
    assert_eq!(code, Some(78));
    assert!(stderr.contains("the daemon does not start\n<3>error[C"), "{stderr}");
    assert!(stderr.lines().all(|line| line.starts_with("<3>")), "{stderr}");
}
