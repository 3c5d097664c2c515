//! `broadcastd token`: what it prints lets a program in, as far as it says.

use libtest_mimic::Trial;
use serde_json::Value;

use crate::http::{Answer, ask};
use crate::needs;
use crate::process::{self, Daemon};

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(the_printed_lines_let_a_publisher_in), needs::nothing(what_the_daemon_would_refuse_is_no_token)]
}

fn publish(daemon: &Daemon, stream: &str, token: &str) -> Answer {
    let line = format!("POST /v1/streams/{stream}/publish HTTP/1.1");
    let bearer = format!("Bearer {token}");
    let headers = [("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
    ask(&daemon.clients, &line, &headers, b"{\"type\": \"trade\"}")
}

fn the_printed_lines_let_a_publisher_in() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["token", "--name", "ingest", "--publish", "ticks", "--rate", "1000"];
    let made = process::run(folder.path(), &arguments, &[]);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
    let token = made.stdout.lines().find(|line| line.starts_with("bcd_")).unwrap().to_owned();
    let (_, lines) = made.stdout.split_at(made.stdout.find("[[auth.tokens]]").unwrap());
    assert!(!lines.contains(&token), "the file never has the token");
    let daemon = Daemon::start(&format!("[streams.ticks]\n[streams.other]\n{lines}"));
    assert_eq!(publish(&daemon, "ticks", &token).status, 202);
    assert_eq!(publish(&daemon, "other", &token).status, 403);
    let another = process::run(folder.path(), &["token", "--format", "json"], &[]);
    let another: Value = serde_json::from_str(&another.stdout).unwrap();
    assert_eq!(publish(&daemon, "ticks", another["token"].as_str().unwrap()).status, 401, "each is another");
    let input = format!("{}\n", another["token"].as_str().unwrap());
    let hashed = super::run_with(&daemon, &["token", "hash"], &input);
    assert_eq!((hashed.code, hashed.stdout.trim_end()), (Some(0), another["sha256"].as_str().unwrap()));
}

fn what_the_daemon_would_refuse_is_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let refused = process::run(folder.path(), &["token", "--name", "in gest"], &[]);
    let rule =
        "\"in gest\" is no name; a name has up to 64 letters, digits and . _ - and begins with a letter or digit\n";
    assert_eq!((refused.code, refused.stdout.as_str(), refused.stderr.as_str()), (Some(64), "", rule));
    let refused = process::run(folder.path(), &["token", "--publish", "ticks:a*"], &[]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(64), ""), "{}", refused.stderr);
    let refused = process::run(folder.path(), &["token", "hash"], &[]);
    assert_eq!(refused.code, Some(65));
    assert!(refused.stderr.starts_with("standard input has no token; "), "{}", refused.stderr);
}
