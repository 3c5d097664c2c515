//! `broadcastd tap`: what is delivered, past reloads and restarts, and of private streams only what was asked for on purpose.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{command, run};
use crate::http::{PATIENCE, ask};
use crate::needs;
use crate::process::{self, Daemon, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(events_come_a_line_each),
        needs::nothing(it_goes_on_past_a_reload_and_a_restart_and_tells_the_gap),
        needs::nothing(nothing_private_is_shown_unasked),
        needs::nothing(only_who_has_proven_to_be_an_operator_sees_what_is_private),
        needs::nothing(who_watches_is_not_the_user),
        needs::nothing(it_ends_where_nobody_reads_or_somebody_interrupts),
        needs::nothing(what_cannot_be_heard_says_why),
    ]
}

const CONFIG: &str = "[streams.ticks]\nvisible = true\n[streams.mine]\nvisible = true\nprivate = true\n";

/// A tap that runs.
struct Tap {
    child: Child,
    out: Receiver<String>,
    notes: Receiver<String>,
}

impl Tap {
    /// Begins, and waits until the daemon counts it.
    fn start(daemon: &Daemon, arguments: &[&str]) -> Self {
        let mut child = command(daemon, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = follow(child.stdout.take().unwrap());
        let notes = follow(child.stderr.take().unwrap());
        let stream = arguments[1].split(':').next().unwrap();
        let is_there = || daemon.get(&format!("/v1/streams/{stream}")).json()["subscriptions"] == 1;
        crate::house::until("the tap is subscribed", is_there);
        let begun = notes.recv_timeout(PATIENCE).unwrap();
        assert!(begun.starts_with("listening to ") && begun.ends_with("; Ctrl-C ends it"), "{begun}");
        Self { child, out, notes }
    }

    fn next(&self) -> Value {
        let line = self.out.recv_timeout(PATIENCE).expect("a line comes while there is patience");
        serde_json::from_str(&line).unwrap()
    }

    fn number(&self) -> Value {
        self.next()["data"]["n"].clone()
    }

    fn note(&self) -> String {
        self.notes.recv_timeout(PATIENCE).unwrap()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Lines as they come, so that they can be waited for with patience.
fn follow(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

/// Nothing more comes, because whoever said it has ended.
fn is_over(lines: &Receiver<String>) -> bool {
    lines.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Disconnected)
}

fn publish(daemon: &Daemon, topic: &str, kind: &str, n: u64) {
    let event = json!({"type": kind, "topic": format!("ticks:{topic}"), "key": topic, "data": {"n": n}});
    assert_eq!(daemon.publish("ticks", &event).status, 202);
}

fn to(daemon: &Daemon, user: &str, n: u64) {
    let event = json!({"type": "note", "audience": user, "data": {"secret": format!("for {user}"), "n": n}});
    assert_eq!(daemon.publish("mine", &event).status, 202);
}

fn events_come_a_line_each() {
    let daemon = Daemon::start(CONFIG);
    publish(&daemon, "A", "trade", 1);
    let mut tap = Tap::start(&daemon, &["tap", "ticks:A", "--kind", "trade", "--kind", "refused", "--count", "3"]);
    publish(&daemon, "B", "trade", 2);
    publish(&daemon, "A", "quote", 3);
    publish(&daemon, "A", "trade", 4);
    // A kind may be a word of the daemon's own.
    publish(&daemon, "A", "refused", 5);
    publish(&daemon, "A", "trade", 6);
    let first = tap.next();
    assert_eq!(
        (&first["type"], &first["topic"], &first["data"]),
        (&json!("trade"), &json!("ticks:A"), &json!({"n": 4}))
    );
    assert_eq!((tap.number(), tap.number()), (json!(5), json!(6)));
    assert!(process::wait(&mut tap.child).success());
    assert!(is_over(&tap.out) && is_over(&tap.notes), "nothing else was said");
    let tap = Tap::start(&daemon, &["tap", "ticks:A", "--snapshot"]);
    let records = tap.next();
    assert_eq!((&records["type"], &records["data"]["records"][0]["n"]), (&json!("full_update"), &json!(6)));
}

fn it_goes_on_past_a_reload_and_a_restart_and_tells_the_gap() {
    let daemon = Daemon::start(CONFIG);
    let tap = Tap::start(&daemon, &["tap", "ticks"]);
    publish(&daemon, "A", "trade", 1);
    assert_eq!(tap.number(), 1);
    daemon.reload(|| daemon.configure(&format!("{CONFIG}[streams.more]\n")));
    publish(&daemon, "A", "trade", 2);
    assert_eq!(tap.number(), 2);
    let (_, folder) = daemon.stop();
    assert_eq!(tap.note(), "the daemon ended the connection; waiting until it is back");
    let daemon = Daemon::start_in(folder, CONFIG, &[]);
    assert_eq!(tap.note(), "the daemon is back");
    let gap = tap.next();
    assert_eq!(
        (&gap["type"], &gap["stream"], &gap["data"]["status"]),
        (&json!("gap"), &json!("ticks"), &json!("not_recovered"))
    );
    publish(&daemon, "A", "trade", 3);
    assert_eq!(tap.number(), 3);
}

fn nothing_private_is_shown_unasked() {
    let daemon = Daemon::start(CONFIG);
    let refused = run(&daemon, &["tap", "mine"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(65), ""));
    assert!(refused.stderr.trim_end().ends_with("; --private USER shows the log of one user"), "{}", refused.stderr);
    let refused = run(&daemon, &["tap", "ticks", "mine:*", "--snapshot"]);
    assert!(refused.code == Some(65) && !refused.stdout.contains("mine"), "not beside others: {}", refused.stdout);
    to(&daemon, "ada", 1);
    let tap = Tap::start(&daemon, &["tap", "mine", "ticks", "--private", "ada"]);
    to(&daemon, "bob", 2);
    to(&daemon, "ada", 3);
    assert_eq!(tap.next()["data"], json!({"secret": "for ada", "n": 3}), "and not what is for another");
    publish(&daemon, "A", "trade", 4);
    assert_eq!(tap.number(), 4, "what is public, too");
    let noted: Value = serde_json::from_str(&daemon.wait_for_log("watch private logs")).unwrap();
    assert_eq!(
        (&noted["target"], &noted["whom"], &noted["principal"]),
        (&json!("audit"), &json!("ada"), &json!("operator:admin"))
    );
    assert!(noted["peer"].as_str().unwrap().starts_with("uid "), "{noted}");
}

fn only_who_has_proven_to_be_an_operator_sees_what_is_private() {
    let daemon = Daemon::start(CONFIG);
    let asked =
        |headers: &[(&str, &str)]| ask(&daemon.admin, "GET /v1/sse?topic=mine&audience=ada HTTP/1.1", headers, b"");
    let refused = asked(&[]);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("forbidden")));
    assert!(refused.body.contains("this shows what is private: ask it by the control socket"), "{}", refused.body);
    std::fs::write(daemon.folder.path().join("secret"), "s3cret").unwrap();
    let token = "token = { file = \"secret\" }\n";
    daemon.reload(|| daemon.configure_whole(&format!("{PORTS}{token}{CONFIG}")));
    assert_eq!(asked(&[]).status, 401);
    assert_eq!(asked(&[("Authorization", "Bearer s3cret")]).status, 200);
    // Where clients come in it means nothing: who asks for it is nobody, and nobody has a log.
    let mut events = crate::events::Events::open(&daemon.clients, "topic=mine&audience=ada", &[]);
    let refused = loop {
        let block = events.next();
        if block.event != "status" {
            break block;
        }
    };
    assert_eq!((refused.event.as_str(), &refused.data["data"]["code"]), ("refused", &json!("authentication_required")));
}

fn who_watches_is_not_the_user() {
    let daemon = Daemon::start(CONFIG);
    let tap = Tap::start(&daemon, &["tap", "ticks", "mine", "--private", "ada"]);
    assert_eq!(daemon.get("/v1/users").json()["users"], json!([]));
    let ended =
        ask(&daemon.admin, "DELETE /v1/users/ada/connections HTTP/1.1", &[("Content-Type", "application/json")], b"");
    assert_eq!(ended.json()["closed"], 0, "{}", ended.body);
    to(&daemon, "ada", 1);
    assert_eq!(tap.number(), 1);
}

fn it_ends_where_nobody_reads_or_somebody_interrupts() {
    let daemon = Daemon::start(CONFIG);
    let mut tap = Tap::start(&daemon, &["tap", "ticks"]);
    publish(&daemon, "A", "trade", 1);
    assert_eq!(tap.number(), 1);
    process::signal(tap.child.id(), "INT");
    _ = process::wait(&mut tap.child);
    assert!(is_over(&tap.notes), "it ends without a word");
    crate::house::until("its connection ended", || daemon.get("/v1/streams/ticks").json()["subscriptions"] == 0);
    let mut piped = command(&daemon, &["tap", "ticks"]);
    let mut child = piped.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let notes = follow(child.stderr.take().unwrap());
    drop(child.stdout.take());
    crate::house::until("it listens", || daemon.get("/v1/streams/ticks").json()["subscriptions"] == 1);
    assert_eq!(notes.recv_timeout(PATIENCE).unwrap(), "listening to ticks; Ctrl-C ends it");
    publish(&daemon, "A", "trade", 2);
    assert_eq!(process::wait(&mut child).code(), Some(0));
    assert!(is_over(&notes), "nobody reads: no reason to complain");
}

fn what_cannot_be_heard_says_why() {
    let daemon = Daemon::start(CONFIG);
    let refused = run(&daemon, &["tap", "tocks"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(65), ""));
    assert!(refused.stderr.contains("tocks") && refused.stderr.contains("ticks"), "{}", refused.stderr);
    assert_eq!(run(&daemon, &["tap"]).code, Some(64));
    let nobody = process::run(tempfile::tempdir().unwrap().path(), &["tap", "ticks"], &[]);
    assert_eq!(nobody.code, Some(69));
    let figures = run(&daemon, &["tap", "daemon", "--kind", "figures", "--count", "1"]).stdout;
    assert!(figures.contains("\"published_per_s\""), "{figures}");
}
