//! `broadcastd connections`: who is connected, chosen by what the admin listener chooses by, and by the endpoint.

use libtest_mimic::Trial;
use serde_json::Value;

use super::{printed, run};
use crate::needs;
use crate::process::{self, Daemon};

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(each_is_a_line_and_they_are_chosen), needs::nothing(what_is_asked_for_wrongly_is_refused)]
}

const STREAMS: &str = "[streams.ticks]\nvisible = true\n[streams.news]\nvisible = true\n";

fn each_is_a_line_and_they_are_chosen() {
    let daemon = Daemon::start(STREAMS);
    assert_eq!(printed(&daemon, &["connections"]), "nobody of these is connected\n");
    let _clients = [daemon.subscriber("ticks"), daemon.subscriber("news"), daemon.subscriber("news")];
    let lines = |arguments: &[&str]| {
        let text = printed(&daemon, &[&["connections"], arguments].concat());
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = lines(&[]);
    let head: Vec<&str> = all[0].split_whitespace().collect();
    assert_eq!(head, ["ID", "USER", "PEER", "SINCE", "ENDPOINT", "DIALECT", "WAITING", "LAGGED", "TOPICS"]);
    let ticks = lines(&["--stream", "ticks"]);
    let one: Vec<&str> = ticks[1].split_whitespace().collect();
    assert_eq!((one[1], one[2], *one.last().unwrap()), ("-", "127.0.0.1", "ticks"));
    let count = |arguments: &[&str]| lines(arguments).len() - 1;
    assert_eq!((all.len() - 1, count(&["--stream", "news"]), count(&["--topic", "ticks"])), (3, 2, 1));
    assert_eq!(
        (count(&["--endpoint", "/v1/ws"]), count(&["--endpoint", "/v1/sse"]), count(&["--user", "ann"])),
        (3, 0, 0)
    );
    let some = lines(&["--limit", "2"]);
    assert_eq!((some.len(), some[3].as_str()), (4, "there are more; --limit N shows so many"));
    assert_eq!(lines(&["--limit", "3"]).len(), 4, "these are all");
    let told: Value =
        serde_json::from_str(&printed(&daemon, &["connections", "--stream", "news", "--format", "json"])).unwrap();
    assert_eq!((told["connections"].as_array().unwrap().len(), &told["more"]), (2, &Value::Bool(false)), "{told}");
    assert_eq!(told["connections"][0]["topics"][0], "news");
}

fn what_is_asked_for_wrongly_is_refused() {
    let daemon = Daemon::start(STREAMS);
    let refused = run(&daemon, &["connections", "--stream", "ticks:A"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(64), ""));
    assert_eq!(refused.stderr, "\"ticks:A\" is a topic; write topic= for it\n");
    assert_eq!(run(&daemon, &["connections", "--limit", "0"]).code, Some(64));
    for choice in [["--stream", "tiks"], ["--topic", "tiks:A"]] {
        let unknown = run(&daemon, &[&["connections"][..], &choice].concat());
        assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(65), ""));
        assert!(unknown.stderr.starts_with("unknown stream \"tiks\"; valid streams: "), "{}", unknown.stderr);
    }
    assert_eq!(run(&daemon, &["connections", "--stream", "ticks"]).code, Some(0), "nobody hears it, and it is there");
    let nobody = process::run(tempfile::tempdir().unwrap().path(), &["connections"], &[]);
    assert_eq!(nobody.code, Some(69));
}
