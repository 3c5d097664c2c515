//! The notifier `email` in the real daemon with a real mail server, aiosmtpd: encrypted, logged in, and one that is killed
//! in the middle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::house::until;
use crate::needs;
use crate::process::Daemon;
use crate::programs::{Program, certify, free_port};
use crate::webhook::{AGAIN_SOON, ALERTS, figure, publish, violation};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::program("python3-aiosmtpd", letters_arrive_encrypted_and_say_what_happened),
        needs::program("python3-aiosmtpd", who_is_not_believed_or_not_let_in_waits_until_that_is_mended),
        needs::program("python3-aiosmtpd", every_letter_arrives_although_the_server_is_killed_in_the_middle),
    ]
}

const MAILBOX: &str = include_str!("email/mailbox.py");

/// A mail server for who logs in as `line-7` with the password `hush`, and only then.
pub struct Mailbox {
    port: u16,
    way: &'static str,
    certificate: PathBuf,
    key: PathBuf,
    process: Program,
}

impl Mailbox {
    /// `way` is how a connection comes to be encrypted: "starttls" or "tls". With "deferring" the server refuses each letter for now
    /// when it sees it first.
    pub fn start(folder: &Path, way: &'static str) -> Self {
        let (certificate, key) = certify(folder, "mailbox");
        let port = free_port();
        Mailbox { process: run(port, way, &certificate, &key), port, way, certificate, key }
    }

    /// Kills it and gives the letters that it took. `begin` brings it back.
    fn kill(&mut self) -> Vec<Value> {
        self.process.kill();
        self.letters()
    }

    fn begin(&mut self) {
        self.process = run(self.port, self.way, &self.certificate, &self.key);
    }

    pub fn letters(&self) -> Vec<Value> {
        self.process.lines()[1..].iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn config(&self, settings: &str) -> String {
        format!("{ALERTS}{}", self.notifier("ops", settings))
    }

    pub fn notifier(&self, name: &str, settings: &str) -> String {
        let scheme = if self.way == "tls" { "smtps" } else { "smtp" };
        format!(
            "[broadcasters.{name}]\nplugin = \"email\"\nlisten = [\"alerts\"]\n\
             settings = {{ smtp = \"{scheme}://localhost:{}\", from = \"Line 7 <alerts@example.com>\", \
             to = [\"quality@example.com\"]{settings} }}\n",
            self.port
        )
    }

    pub fn login(&self) -> String {
        format!(", ca = \"{}\", user = \"line-7\", password = {{ env = \"RIGHT\" }}", self.certificate.display())
    }
}

fn run(port: u16, way: &str, certificate: &Path, key: &Path) -> Program {
    let mut python = Command::new("python3");
    python.args(["-c", MAILBOX, &port.to_string(), way]).arg(certificate).arg(key);
    let process = Program::start(&mut python);
    until("the mail server listens", || process.lines().first().is_some_and(|line| line == "listening"));
    process
}

pub const SECRETS: &[(&str, &str)] = &[("RIGHT", "hush"), ("WRONG", "shout")];

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn letters_arrive_encrypted_and_say_what_happened() {
    for way in ["starttls", "tls"] {
        let folder = folder();
        let mailbox = Mailbox::start(folder.path(), way);
        let daemon = Daemon::start_with(&mailbox.config(&mailbox.login()), SECRETS);
        let mut violation = violation(10);
        violation["data"]["rule_name"] = "Größer als µ ± 3σ".into();
        publish(&daemon, [violation]);
        until("it arrives", || mailbox.letters().len() == 1);
        let acknowledged = json!({"type": "ack_update", "data": {
            "violation_id": 10, "acknowledged": true, "user": "john.doe", "reason": "Tool Change",
            "timestamp": "2026-01-01T00:00:00Z",
        }});
        publish(&daemon, [acknowledged]);
        until("both arrive", || mailbox.letters().len() == 2);
        let letters = mailbox.letters();
        for (letter, subject, words) in [
            (&letters[0], "CRITICAL: Größer als µ ± 3σ (rule 1) at characteristic 1", "Violation: 10, sample 42"),
            (&letters[1], "Acknowledged: violation 10 by john.doe", "by john.doe: Tool Change"),
        ] {
            assert_eq!((&letter["encrypted"], &letter["user"]), (&json!(true), &json!("line-7")));
            assert_eq!(
                (&letter["from"], &letter["to"]),
                (&json!("alerts@example.com"), &json!(["quality@example.com"]))
            );
            assert_eq!(letter["subject"], subject);
            assert!(letter["body"].as_str().unwrap().contains(words), "{letter}");
            let id = letter["id"].as_str().unwrap();
            assert!(id.starts_with("<alerts-") && id.ends_with("@example.com>"), "{id}");
            assert_eq!(letter["sender"], "Line 7 <alerts@example.com>");
        }
        assert_ne!(letters[0]["id"], letters[1]["id"]);
        assert_eq!(letters[0]["connection"], letters[1]["connection"], "one connection is kept");
    }
}

fn who_is_not_believed_or_not_let_in_waits_until_that_is_mended() {
    let folder = folder();
    let mailbox = Mailbox::start(folder.path(), "starttls");
    let (stranger, _) = certify(folder.path(), "stranger");
    let strange = mailbox.login().replace(mailbox.certificate.to_str().unwrap(), stranger.to_str().unwrap());
    let daemon = Daemon::start_with(&mailbox.config(&format!("{AGAIN_SOON}{strange}")), SECRETS);
    let degraded = |what: &str| until(what, || daemon.get("/v1/broadcasters").body.contains(what));
    publish(&daemon, [violation(1)]);
    degraded("invalid peer certificate");
    let wrong = mailbox.login().replace("RIGHT", "WRONG");
    daemon.reload(|| daemon.configure(&mailbox.config(&format!("{AGAIN_SOON}{wrong}"))));
    degraded("logging in: the mail server says 535");
    assert_eq!(mailbox.letters(), Vec::<Value>::new());
    daemon.reload(|| daemon.configure(&mailbox.config(&format!("{AGAIN_SOON}{}", mailbox.login()))));
    until("it arrives", || mailbox.letters().len() == 1);
    assert!(!daemon.log_text().contains("hush") && !daemon.log_text().contains("shout"));
}

fn every_letter_arrives_although_the_server_is_killed_in_the_middle() {
    const LETTERS: u64 = 120;
    /// The others come when the server has ended, so that something waits for it however fast the machine is.
    const BEFORE_THE_END: u64 = 80;
    let folder = folder();
    let mut mailbox = Mailbox::start(folder.path(), "deferring");
    // Slow enough that there is a middle.
    let settings = format!("{AGAIN_SOON}{}, rate = {{ per_minute = 6000, burst = 1 }}", mailbox.login());
    let daemon = Daemon::start_with(&mailbox.config(&settings), SECRETS);
    publish(&daemon, (0..BEFORE_THE_END).map(violation));
    until("some arrive", || mailbox.letters().len() > 10);
    let mut letters = mailbox.kill();
    publish(&daemon, (BEFORE_THE_END..LETTERS).map(violation));
    until("it is told", || daemon.get("/v1/broadcasters").body.contains("connecting: Connection refused"));
    assert!(letters.len() < LETTERS as usize, "it was the middle");
    mailbox.begin();
    until("all are delivered", || figure(&daemon, "sent_total") == LETTERS as f64);
    letters.extend(mailbox.letters());
    let by_id: BTreeMap<&str, &Value> = letters.iter().map(|letter| (letter["id"].as_str().unwrap(), letter)).collect();
    assert_eq!(by_id.len() as u64, LETTERS, "all are there, and by their ids repeats are known");
    let numbers = by_id.values().map(|letter| letter["body"].as_str().unwrap().to_owned());
    let numbers: std::collections::BTreeSet<String> = numbers.collect();
    assert_eq!(numbers.len() as u64, LETTERS);
    assert_eq!(figure(&daemon, "dead_letters_total"), 0.0);
    println!("{} letters of {LETTERS} messages", letters.len());
}
