//! What `docs/user-events.md` shows works as it is pasted: only the addresses and the token are those of a test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use broadcastd::config::{Config, Source};
use serde_json::{Value, json};

use super::{SHIPPED, shipped};
use crate::http::PATIENCE;
use crate::process::Daemon;
use crate::tidy::tree;

/// The blocks of the page in this language, in its order.
fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(tree::root().join("docs/user-events.md")).unwrap();
    let begins = format!("```{language}\n");
    page.split(&begins).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn shell(folder: &Path, script: &str) -> String {
    let done = Command::new("sh").args(["-ec", script]).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

pub fn what_the_page_shows_works() {
    let [make, listen, publish] = blocks("sh").try_into().unwrap();
    let [page] = blocks("js").try_into().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    shell(&path, &make);
    let token = fs::read_to_string(path.join("token")).unwrap();
    let tables = blocks("toml");
    let auth = tables[0].strip_prefix("[auth]\n").unwrap().trim();
    let daemon = Daemon::start_in(folder, &shipped(auth), &[]);
    let here = |text: &str| {
        let text = text.replace("127.0.0.1:9180", &daemon.admin).replace("127.0.0.1:8080", &daemon.clients);
        text.replace("localhost:8080", &daemon.clients).replace("TOKEN", token.trim())
    };
    let script = format!(
        "const WebSocket = require(\"ws\"); console.log = (event) => process.stdout.write(JSON.stringify(event) + \"\\n\");\n{}",
        here(&page)
    );
    let page = Lines::of(Command::new("node").args(["-e", &script]));
    assert_eq!(page.next()["user_id"], "user-1");
    let events = Lines::of(Command::new("sh").args(["-c", &format!("exec {}", here(&listen))]).current_dir(&path));
    while events.next()["type"] != "full_update" {}
    let told: Value = serde_json::from_str(&shell(&path, &here(&publish))).unwrap();
    assert_eq!(told["accepted"], 3, "{told}");
    for (kind, key) in [("CHAIN_UPDATE", "chain"), ("CIRCUIT_BREAKER_UPDATE", "state"), ("LIFECYCLE_EVENT", "event")] {
        let (wrapped, bare) = (page.next(), events.next());
        assert_eq!((&wrapped["type"], &bare["type"]), (&json!(kind), &json!(kind)));
        assert_eq!(wrapped["data"][key], bare["data"]);
    }
    let late = Lines::of(Command::new("node").args(["-e", &script]));
    let kinds = [late.next(), late.next(), late.next()].map(|event| event["type"].clone());
    assert_eq!(kinds, ["CONNECTED", "CHAIN_UPDATE", "CIRCUIT_BREAKER_UPDATE"]);
}

/// What a program prints, a JSON a line; of server-sent events the data.
pub struct Lines {
    lines: std::sync::mpsc::Receiver<Value>,
    child: std::process::Child,
}

impl Lines {
    pub fn of(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in printed.lines().map_while(Result::ok) {
                let json = line.strip_prefix("data: ").unwrap_or(&line);
                if let Ok(value) = serde_json::from_str::<Value>(json) {
                    _ = sender.send(value);
                }
            }
        });
        Self { lines, child }
    }

    pub fn next(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).expect("the program prints something more")
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Each table that the page shows is taken in the place of the shipped one of its name, or beside it.
pub fn what_the_page_adds_is_taken() {
    for block in blocks("toml") {
        let mut whole: toml::Table = SHIPPED.parse().unwrap();
        lay_over(&mut whole, block.parse().unwrap_or_else(|error| panic!("{error}: {block}")));
        let text = whole.to_string();
        let source = Source { path: "config.toml".into(), env: Default::default(), sets: Vec::new() };
        let loaded = Config::from_text(&source, &text);
        assert!(loaded.is_ok(), "{block}");
        let auth = whole.remove("auth").unwrap();
        whole.remove("server").unwrap();
        whole.remove("admin").unwrap();
        if auth.get("jwt").is_none() {
            let daemon = Daemon::start(&whole.to_string());
            assert_eq!(daemon.readiness(), (200, vec![]), "{block}");
        }
    }
}

fn lay_over(table: &mut toml::Table, more: toml::Table) {
    for (name, value) in more {
        match (table.get_mut(&name), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(more)) => lay_over(below, more),
            (_, value) => _ = table.insert(name, value),
        }
    }
}
