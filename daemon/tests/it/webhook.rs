//! The notifier `webhook` in the real daemon, with real receivers that fail, stall, redirect, ask for a pause, and die.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house::until;
use crate::http::{self, PATIENCE};
use crate::needs;
use crate::process::{self, Daemon, PORTS};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::program("python3", created_and_acknowledged_arrive_signed_as_the_document_says),
        needs::nothing(a_receiver_that_fails_stalls_redirects_and_asks_for_a_pause_gets_everything),
        needs::nothing(every_alert_arrives_although_receiver_and_daemon_end_in_the_middle),
        needs::nothing(what_was_saved_arrives_after_a_kill_of_the_daemon),
        needs::nothing(dead_letters_are_listed_and_tried_again),
        needs::nothing(one_that_hangs_delays_neither_the_stream_nor_another),
        needs::nothing(mistakes_are_told_at_their_place_and_secrets_to_nobody),
    ]
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What a receiver does with a request.
#[derive(Clone, Copy)]
pub enum Reaction {
    /// It answers with a status and headers.
    Answer(u16, &'static str),
    /// It never answers.
    Stall,
}

pub const TAKE: Reaction = Reaction::Answer(204, "");

/// One request that a receiver got.
#[derive(Clone)]
pub struct Request {
    at: Instant,
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    is_taken: bool,
}

/// An HTTP receiver on a port of its own. Dropping it ends it in the middle of whatever it does.
pub struct Receiver {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
}

impl Receiver {
    pub fn start(react: impl FnMut(usize) -> Reaction + Send + 'static) -> Receiver {
        Self::start_at("127.0.0.1:0", react)
    }

    /// `react` is asked with the number of the request, from 0.
    fn start_at(address: &str, mut react: impl FnMut(usize) -> Reaction + Send + 'static) -> Receiver {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (requests, is_over) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<AtomicBool>::default());
        let (keep, over) = (requests.clone(), is_over.clone());
        std::thread::spawn(move || {
            let mut stalled = Vec::new();
            for socket in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let mut socket = BufReader::new(socket);
                let Some(mut request) = read(&mut socket) else { continue };
                let mut requests = keep.lock().unwrap();
                match react(requests.len()) {
                    Reaction::Stall => stalled.push(socket),
                    Reaction::Answer(status, headers) => {
                        request.is_taken = status < 300;
                        let answer = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: 0\r\n\r\n");
                        _ = socket.get_mut().write_all(answer.as_bytes());
                    }
                }
                requests.push(request);
            }
        });
        Receiver { address, requests, is_over }
    }

    pub fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn taken(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.is_taken).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        _ = std::net::TcpStream::connect(&self.address); // it waits for a connection
    }
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn violation(&self) -> u64 {
        self.json()["payload"]["violation_id"].as_u64().unwrap()
    }

    pub fn id(&self) -> String {
        self.headers["x-broadcastd-id"].clone()
    }
}

fn read(socket: &mut BufReader<std::net::TcpStream>) -> Option<Request> {
    let mut line = String::new();
    socket.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    socket.read_exact(&mut body).ok()?;
    Some(Request { at: Instant::now(), target, headers, body, is_taken: false })
}

pub fn notifier(name: &str, url: &str, settings: &str) -> String {
    format!(
        "[broadcasters.{name}]\nplugin = \"webhook\"\nlisten = [\"alerts\"]\nsettings = {{ url = \"{url}\"{settings} }}\n"
    )
}

pub const ALERTS: &str = "[streams.alerts]\n";
pub const AGAIN_SOON: &str = ", retry = { first = \"10ms\", max = \"50ms\" }";

pub fn violation(id: u64) -> Value {
    json!({"type": "violation", "data": {
        "violation_id": id, "sample_id": 42, "characteristic_id": id % 3, "rule_id": 1, "rule_name": "Outlier",
        "severity": "CRITICAL", "timestamp": "2026-01-01T00:00:00Z",
    }})
}

pub fn publish(daemon: &Daemon, events: impl IntoIterator<Item = Value>) {
    let events: Vec<Value> = events.into_iter().collect();
    assert_eq!(daemon.publish("alerts", &Value::Array(events)).status, 202);
}

pub fn figure(daemon: &Daemon, name: &str) -> f64 {
    let series = format!("broadcastd_plugin_notifier_{name}{{broadcaster=\"ops\"}}");
    daemon.metric(&series).unwrap_or_else(|| panic!("no {series} in {}", daemon.get("/metrics").body))
}

fn created_and_acknowledged_arrive_signed_as_the_document_says() {
    let receiver = Receiver::start(|_| TAKE);
    let config = notifier("ops", &receiver.url(), ", secret = { env = \"WEBHOOK_SECRET\" }");
    let daemon = Daemon::start_with(&format!("{ALERTS}{config}"), &[("WEBHOOK_SECRET", SECRET)]);
    let acknowledged = json!({"type": "ack_update", "data": {
        "violation_id": 10, "acknowledged": true, "user": "john.doe", "reason": "Tool Change",
        "timestamp": "2026-01-01T00:00:00Z",
    }});
    let sample = json!({"type": "sample", "data": {"sample_id": 42, "characteristic_id": 1, "value": 10.5}});
    publish(&daemon, [sample, violation(10), acknowledged.clone()]);
    until("both arrive", || receiver.taken().len() == 2);
    let taken = receiver.taken();
    let subjects: Vec<Value> = taken.iter().map(|request| request.json()["subject"].clone()).collect();
    assert_eq!(subjects, ["CRITICAL: Outlier (rule 1) at characteristic 1", "Acknowledged: violation 10 by john.doe"]);
    assert_eq!(taken[1].json()["payload"], acknowledged["data"]);
    for request in &taken {
        assert!(is_genuine(request, SECRET));
        assert!(!is_genuine(request, "0123456789abcdef0123456789abcdeX"), "another secret");
        let body = [&request.body[..], b" "].concat();
        assert!(!is_genuine(&Request { body, ..request.clone() }, SECRET), "another body");
        let mut late = request.clone();
        late.headers.insert("x-broadcastd-timestamp".to_owned(), "1767225600".to_owned());
        assert!(!is_genuine(&late, SECRET), "another time");
    }
}

/// By the program of the document.
fn is_genuine(request: &Request, secret: &str) -> bool {
    let document = include_str!("../../../docs/notifiers.md");
    let program = document.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    let call = "\nimport json, sys\ntold = json.load(sys.stdin)\n\
                print(is_genuine(told['headers'], told['body'].encode(), told['secret'].encode()))";
    let mut python = Command::new("python3")
        .args(["-c", &format!("{program}{call}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let body = String::from_utf8(request.body.clone()).unwrap();
    let told = json!({"headers": request.headers, "body": body, "secret": secret}).to_string();
    python.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout == b"True\n"
}

fn a_receiver_that_fails_stalls_redirects_and_asks_for_a_pause_gets_everything() {
    let reactions = [
        Reaction::Answer(500, ""),
        Reaction::Stall,
        Reaction::Answer(307, "Location: /elsewhere\r\n"),
        TAKE,
        Reaction::Answer(429, "Retry-After: 1\r\n"),
    ];
    let receiver = Receiver::start(move |number| reactions.get(number).copied().unwrap_or(TAKE));
    // Long enough for a busy machine, short enough that nobody waits for the answer that does not come.
    let settings = format!("{AGAIN_SOON}, timeout = \"2s\"");
    let daemon = Daemon::start(&format!("{ALERTS}{}", notifier("ops", &receiver.url(), &settings)));
    publish(&daemon, [violation(3)]);
    until("it was taken where it was redirected to", || receiver.taken().len() == 1);
    publish(&daemon, [violation(6)]);
    until("the receiver asked for a pause", || figure(&daemon, "retried_total") == 3.0);
    publish(&daemon, [violation(7), violation(8)]);
    until("all arrive", || receiver.taken().len() == 4);
    let requests = receiver.requests();
    let targets: Vec<&str> = requests[..4].iter().map(|request| request.target.as_str()).collect();
    assert_eq!(targets, ["/in", "/in", "/in", "/elsewhere"]);
    assert!(requests[..4].iter().all(|request| request.id() == requests[0].id() && request.violation() == 3));
    let pause = requests[5].at - requests[4].at;
    assert!(pause >= Duration::from_millis(990), "{pause:?}");
    until("it says so", || (figure(&daemon, "sent_total"), figure(&daemon, "queued")) == (4.0, 0.0));
    assert_eq!(figure(&daemon, "retried_total"), 3.0);
}

fn every_alert_arrives_although_receiver_and_daemon_end_in_the_middle() {
    let flaky = |number: usize| if number.is_multiple_of(3) { Reaction::Answer(503, "") } else { TAKE };
    let receiver = Receiver::start(flaky);
    let address = receiver.address.clone();
    let config = |settings: &str| format!("{ALERTS}{}", notifier("ops", &format!("http://{address}/in"), settings));
    let mut taken = Vec::new();

    let daemon = Daemon::start(&config(AGAIN_SOON));
    publish(&daemon, (0..40).map(violation));
    until("some arrive", || receiver.taken().len() > 5);
    daemon.reload(|| daemon.configure(&config(&format!("{AGAIN_SOON}, queue_size = 2000")))); // takes the queue over
    until("some more arrive", || receiver.taken().len() > 15);
    let requests = receiver.requests.clone();
    drop(receiver);
    publish(&daemon, (40..80).map(violation));
    let (status, folder) = daemon.stop(); // at once, with everything accepted and nothing delivered
    assert_eq!(status.code(), Some(0));
    taken.extend(requests.lock().unwrap().iter().filter(|request| request.is_taken).cloned());

    let daemon = Daemon::start_in(folder, &config(AGAIN_SOON), &[]);
    let receiver = Receiver::start_at(&address, flaky);
    assert_eq!(figure(&daemon, "input_gaps_total"), 0.0, "a clean restart loses nothing, and says so");
    publish(&daemon, (80..120).map(violation));
    until("the newest arrive", || receiver.taken().iter().filter(|request| request.violation() >= 80).count() >= 40);
    taken.extend(receiver.taken());

    let arrived: BTreeSet<u64> = taken.iter().map(Request::violation).collect();
    assert_eq!(arrived, (0..120).collect());
    let ids: BTreeMap<String, u64> = taken.iter().map(|request| (request.id(), request.violation())).collect();
    assert_eq!(ids.len(), 120, "by their ids repeats are known, and nothing else is dropped");
    for group in 0..3 {
        let mut first = BTreeSet::new();
        let of_group = taken.iter().map(Request::violation).filter(|id| id % 3 == group && first.insert(*id));
        assert!(of_group.is_sorted(), "each group keeps its order");
    }
    println!("{} deliveries of 120 messages", taken.len());
}

fn what_was_saved_arrives_after_a_kill_of_the_daemon() {
    let is_open = Arc::<AtomicBool>::default();
    let open = is_open.clone();
    let receiver = Receiver::start(move |_| if open.load(Ordering::SeqCst) { TAKE } else { Reaction::Answer(503, "") });
    let config = format!("{ALERTS}{}", notifier("ops", &receiver.url(), AGAIN_SOON));
    let daemon = Daemon::start(&config);
    publish(&daemon, (0..9).map(violation));
    until("each group is tried", || figure(&daemon, "retried_total") >= 3.0);
    let (status, folder) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    let daemon = Daemon::start_in(folder, &config, &[]);
    until("all wait again", || figure(&daemon, "queued") == 9.0);
    assert_eq!(figure(&daemon, "input_gaps_total"), 0.0, "nothing is lost by a stop in order");
    daemon.signal("KILL");
    let daemon = Daemon::start_in(daemon.wait().1, &config, &[]);
    until("the kill is told", || figure(&daemon, "input_gaps_total") == 1.0);
    let is_told = || daemon.readiness().1.iter().any(|reason| reason.contains("gone before they were read"));
    until("the operator sees it", is_told);
    is_open.store(true, Ordering::SeqCst);
    until("all arrive", || receiver.taken().len() == 9);
    let taken: Vec<u64> = receiver.taken().iter().map(Request::violation).collect();
    for group in 0..3 {
        let of_group: Vec<u64> = taken.iter().copied().filter(|id| id % 3 == group).collect();
        assert_eq!(of_group, [group, group + 3, group + 6]);
    }
    until("nothing waits any more", || figure(&daemon, "queued") == 0.0);
}

fn dead_letters_are_listed_and_tried_again() {
    let receiver = Receiver::start(|number| if number < 2 { Reaction::Answer(404, "") } else { TAKE });
    let daemon = Daemon::start(&format!("{ALERTS}{}", notifier("ops", &receiver.url(), AGAIN_SOON)));
    publish(&daemon, [violation(3), violation(6)]);
    until("both are given up", || figure(&daemon, "dead_letters") == 2.0);
    let command = |name: &str, payload: &Value| {
        let path = format!("/v1/broadcasters/ops/commands/{name}");
        let answer = http::post(&daemon.admin, &path, "application/json", payload.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["result"].clone()
    };
    let (status, folder) = {
        let listed = command("list_dead_letters", &json!({}));
        let first = &listed["dead_letters"][0];
        assert_eq!(first["why"], format!("http://{}: it answers 404", receiver.address));
        let id = receiver.requests()[0].id();
        assert_eq!(first["id"], id);
        assert_eq!(command("retry_dead_letters", &json!({"ids": [id]})), json!({"retried": 1}));
        until("it arrives", || receiver.taken().len() == 1);
        daemon.stop()
    };
    assert_eq!(status.code(), Some(0));
    let daemon = Daemon::start_in(folder, &format!("{ALERTS}{}", notifier("ops", &receiver.url(), AGAIN_SOON)), &[]);
    until("the other one is still there", || figure(&daemon, "dead_letters") == 1.0);
    assert_eq!(receiver.taken()[0].violation(), 3);
}

fn one_that_hangs_delays_neither_the_stream_nor_another() {
    let (silent, quick) = (Receiver::start(|_| Reaction::Stall), Receiver::start(|_| TAKE));
    let hangs = notifier("hangs", &silent.url(), ", timeout = \"60s\", queue_size = 2");
    let daemon = Daemon::start(&format!("{ALERTS}{hangs}{}", notifier("ops", &quick.url(), "")));
    let began = Instant::now();
    (0..10).for_each(|part| publish(&daemon, (10 * part..10 * (part + 1)).map(violation)));
    until("the other one has all", || quick.taken().len() == 100);
    assert!(began.elapsed() < PATIENCE);
    let kept = "broadcastd_plugin_notifier_dead_letters_total{broadcaster=\"hangs\"}";
    until("what finds no room is a dead letter", || daemon.metric(kept) == Some(98.0));
    assert_eq!(daemon.stop().0.code(), Some(0), "and it ends in time");
}

fn mistakes_are_told_at_their_place_and_secrets_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let check = |settings: &str| {
        let config = format!("{PORTS}{ALERTS}{}", notifier("ops", "http://127.0.0.1:9", settings));
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let ended = process::run(folder.path(), &["check"], &[]);
        (ended.code, format!("{}{}", ended.stdout, ended.stderr))
    };
    assert_eq!(check("").0, Some(0));
    for (settings, what) in [
        (", no_such = 1", "no_such"),
        (", match = { type = [\"a\"], no_such = [] }", "no_such"),
        (", text = { violation = { subject = \"{a\" } }", "a `{` without `}` at character 1"),
        (", retry = { first = \"2s\", max = \"1s\" }", "the longest pause is no shorter than the first"),
        (", cooldown = \"soon\"", "soon"),
        (", secret = \"hunter2hunter2hunter2\"", "a secret is never inline"),
        (", bearer = \"hunter2hunter2hunter2\"", "a secret is never inline"),
    ] {
        let (code, said) = check(settings);
        assert_ne!(code, Some(0), "{settings}: {said}");
        assert!(said.contains(what) && said.contains("config.toml:"), "{settings}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let receiver = Receiver::start(|_| TAKE);
    let config = notifier("ops", &receiver.url(), ", secret = { env = \"WEBHOOK_SECRET\" }");
    let daemon = Daemon::start_with(&format!("{ALERTS}{config}"), &[("WEBHOOK_SECRET", SECRET)]);
    publish(&daemon, [violation(1)]);
    until("it arrives", || receiver.taken().len() == 1);
    for path in ["/v1/config", "/v1/broadcasters", "/v1/broadcasters/ops", "/metrics"] {
        assert!(!daemon.get(path).body.contains(SECRET), "{path}");
    }
    assert!(!daemon.log_text().contains(SECRET));
}
