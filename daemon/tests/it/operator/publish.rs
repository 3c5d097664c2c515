//! `broadcastd publish`: one event from arguments, many from lines, and what is said of each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::json;

use super::{command, lines, printed, run, run_with};
use crate::house;
use crate::needs;
use crate::process::{self, Daemon};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(one_event_comes_from_arguments),
        needs::nothing(each_line_is_told_of),
        needs::nothing(lines_are_published_as_they_come),
        needs::nothing(what_cannot_be_published_says_why),
    ]
}

const TICKS: &str = "[streams.ticks]\nvisible = true\n[streams.mine]\nprivate = true\n";

fn one_event_comes_from_arguments() {
    let daemon = Daemon::start(TICKS);
    let mut client = daemon.subscriber("ticks");
    let data = "{\"price\":\n 1.50, \"id\": 12345678901234567890123}";
    let arguments = ["publish", "ticks", "--kind", "trade", "--topic", "ticks:A", "--key", "k", "--data", data];
    assert_eq!(printed(&daemon, &arguments), "event 1: accepted\n");
    let event = house::hear(&mut client);
    assert!(event.contains("12345678901234567890123") && event.contains("1.50"), "as it was written: {event}");
    let log = daemon.get("/v1/streams/ticks/history?topic=ticks:A").json();
    assert_eq!(log["events"].as_array().map(Vec::len), Some(1), "{log:#}");
    let records = daemon.get("/v1/streams/ticks/snapshot?topic=ticks:A").json();
    assert!(records["data"].to_string().contains("price"), "{records:#}");
    let to = ["publish", "mine", "--kind", "note", "--audience", "ada"];
    assert_eq!(printed(&daemon, &to), "event 1: accepted\n");
    assert_eq!(
        daemon.get_proven("/v1/streams/mine/history?audience=ada").json()["events"].as_array().map(Vec::len),
        Some(1)
    );
}

fn each_line_is_told_of() {
    let daemon = Daemon::start(TICKS);
    let long = format!("{{\"type\": \"{}\"}}", "x".repeat(1 << 20));
    let input = format!(
        "{{\"type\": \"trade\"}}\n\nnot json\n{long}\n{{\"type\": \"trade\", \"topic\": \"bars:A\"}}\n{{\"type\": \"trade\"}}"
    );
    let ended = run_with(&daemon, &["publish", "ticks"], &input);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(65), ""), "{}", ended.stdout);
    let told: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!((told[0], told[4], told[5]), ("event 1: accepted", "event 5: accepted", "2 accepted, 3 rejected"));
    assert!(told[1].starts_with("event 2: rejected: "), "{}", told[1]);
    assert_eq!(told[2], "event 3: rejected: a line has at most 1048576 bytes");
    assert!(told[3].starts_with("event 4: rejected at /topic: "), "{}", told[3]);
    let ended = run_with(&daemon, &["publish", "ticks", "--format", "json"], &input);
    let told = lines(&ended.stdout);
    assert_eq!((ended.code, &told[0]), (Some(65), &json!({"event": 1, "accepted": true})));
    assert_eq!((told.len(), &told[3]["accepted"], &told[3]["pointer"]), (5, &json!(false), &json!("/topic")));
    let many = "{\"type\": \"trade\"}\n".repeat(1201);
    let ended = run_with(&daemon, &["publish", "ticks"], &many);
    assert_eq!((ended.code, ended.stdout.lines().last()), (Some(0), Some("1201 accepted, 0 rejected")));
    let wrong = "{}\n".repeat(1201); // more than one answer tells of
    let ended = run_with(&daemon, &["publish", "ticks"], &wrong);
    assert_eq!((ended.code, ended.stdout.lines().last()), (Some(65), Some("0 accepted, 1201 rejected")));
}

fn lines_are_published_as_they_come() {
    let daemon = Daemon::start(TICKS);
    let mut publish = command(&daemon, &["publish", "ticks"]);
    let mut child = publish.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut told = output.lines();
    for number in 1..=3 {
        writeln!(input, "{{\"type\": \"trade\"}}").unwrap();
        assert_eq!(told.next().unwrap().unwrap(), format!("event {number}: accepted"), "before the next is written");
    }
    drop(input);
    assert_eq!(told.next().unwrap().unwrap(), "3 accepted, 0 rejected");
    assert!(process::wait(&mut child).success());
}

fn what_cannot_be_published_says_why() {
    let daemon = Daemon::start(TICKS);
    let refused = run(&daemon, &["publish", "tocks", "--kind", "trade"]);
    let expected = "unknown stream \"tocks\"; streams to publish to: mine, ticks\n";
    assert_eq!((refused.code, refused.stdout.as_str(), refused.stderr.as_str()), (Some(65), "", expected));
    let refused = run(&daemon, &["publish", "ticks", "--kind", "trade", "--data", "[1]"]);
    assert_eq!(refused.code, Some(64));
    assert!(refused.stderr.contains("a payload is a JSON object, such as {\"price\": 1.5}"), "{}", refused.stderr);
    assert_eq!(run(&daemon, &["publish", "ticks", "--data", "{}"]).code, Some(64), "which kind?");
    let nobody = process::run(tempfile::tempdir().unwrap().path(), &["publish", "ticks", "--kind", "trade"], &[]);
    assert_eq!(nobody.code, Some(69));
}
