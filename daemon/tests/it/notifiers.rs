//! What holds for notifiers of every sort in the real daemon: servers that hang hold up nothing, what is lost is told, and
//! secrets are nowhere.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house::{self, hear_json, say, until};
use crate::http;
use crate::needs;
use crate::process::Daemon;
use crate::programs::{Program, free_port};
use crate::webhook::{self, AGAIN_SOON, ALERTS, Reaction, Receiver, figure, publish, violation};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(servers_that_hang_hold_up_neither_reload_nor_stop),
        needs::nothing(what_is_lost_is_told_until_somebody_looks),
        needs::program("python3", the_example_of_the_document_prints_what_it_gets),
    ]
}

const SECRETS: &[(&str, &str)] =
    &[("SIGN", "sign-hunter2-hunter2"), ("BEARER", "bear-hunter2-hunter2"), ("PASSWORD", "pass-hunter2-hunter2")];
/// What all of them contain, as such and in base 64 behind PLAIN's user, at any place.
const TRACES: &[&str] = &["hunter2", "aHVudGVyM", "h1bnRlcj", "odW50ZXIy"];
/// How long an attempt may take here: much longer than a reload or a stop.
const TIMEOUT: Duration = Duration::from_secs(60);
const SORTS: &[&str] = &["webhook", "email", "mqtt"];
/// Of three groups.
const ALERTS_IN_ALL: u64 = 6;

/// A server that takes connections and says nothing.
struct Silent {
    address: String,
    taken: Arc<AtomicUsize>,
}

impl Silent {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, taken) = (listener.local_addr().unwrap().to_string(), Arc::<AtomicUsize>::default());
        let count = taken.clone();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for socket in listener.incoming() {
                kept.push(socket);
                count.store(kept.len(), Ordering::SeqCst);
            }
        });
        Silent { address, taken }
    }

    /// A notifier of every sort that has this server, and secrets.
    fn config(&self, settings: &str) -> String {
        let address = &self.address;
        let own = [
            format!("url = \"http://{address}/\", secret = {{ env = \"SIGN\" }}, bearer = {{ env = \"BEARER\" }}"),
            format!(
                "smtp = \"smtp://{address}\", plaintext = \"loopback\", from = \"a@example.com\", to = [\"b@example.com\"], \
                 user = \"me\", password = {{ env = \"PASSWORD\" }}"
            ),
            format!("broker = \"mqtt://{address}\", user = \"me\", password = {{ env = \"PASSWORD\" }}"),
        ];
        let table = |sort: &&str, own: &String| {
            format!(
                "[broadcasters.{sort}]\nplugin = \"{sort}\"\nlisten = [\"alerts\"]\n\
                 settings = {{ timeout = \"{}s\", {own}{settings} }}\n",
                TIMEOUT.as_secs()
            )
        };
        SORTS.iter().zip(&own).fold(ALERTS.to_owned(), |config, (sort, own)| config + &table(sort, own))
    }
}

fn queued(daemon: &Daemon) -> Vec<Option<f64>> {
    let series = |sort| format!("broadcastd_plugin_notifier_queued{{broadcaster=\"{sort}\"}}");
    SORTS.iter().map(|sort| daemon.metric(&series(sort))).collect()
}

fn servers_that_hang_hold_up_neither_reload_nor_stop() {
    let silent = Silent::start();
    let daemon = Daemon::start_with(&silent.config(""), SECRETS);
    publish(&daemon, (0..ALERTS_IN_ALL).map(violation));
    // Two attempts of each, but one of mqtt, where the other waits for the connection.
    until("all hang", || silent.taken.load(Ordering::SeqCst) == 5);
    let began = Instant::now();
    daemon.reload(|| daemon.configure(&silent.config(", queue_size = 500")));
    until("those of their successors hang, too", || silent.taken.load(Ordering::SeqCst) == 10);
    assert!(!daemon.log_text().contains("left behind"), "{}", daemon.log_text());
    let all = vec![Some(ALERTS_IN_ALL as f64); SORTS.len()];
    until("they have taken over what waits", || queued(&daemon) == all);

    for path in ["/v1/config", "/v1/broadcasters", "/metrics", "/readyz"] {
        assert_no_secret(path, &daemon.get(path).body);
    }
    assert_no_secret("the log", &daemon.log_text());
    let (status, folder) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < TIMEOUT / 2, "{:?}", began.elapsed());
    assert_eq!(search(folder.path()), 3, "a saved state of each");

    let daemon = Daemon::start_in(folder, &silent.config(""), SECRETS);
    until("all that waited waits again", || queued(&daemon) == all);
}

/// Looks for secrets in all files below a folder; how many saved states there are.
fn search(folder: &Path) -> usize {
    let mut states = 0;
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            states += search(&path);
        } else if path.extension().is_some_and(|extension| extension == "state") {
            assert_no_secret("a saved state", &String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
            states += 1;
        }
    }
    states
}

fn assert_no_secret(place: &str, text: &str) {
    assert!(!TRACES.iter().any(|trace| text.contains(trace)), "{place} has a secret: {text}");
}

fn what_is_lost_is_told_until_somebody_looks() {
    let receiver = Receiver::start(|number| Reaction::Answer(if number == 0 { 410 } else { 204 }, ""));
    let config = format!("{ALERTS}{}", webhook::notifier("ops", &receiver.url(), AGAIN_SOON));
    let daemon = Daemon::start(&config);
    let mut operator = house::connect(&daemon.admin, &[]).unwrap();
    say(&mut operator, &json!({"type": "subscribe", "topic": "daemon:broadcasters"}).to_string());
    let mut told = |what: Option<&str>| while hear_json(&mut operator)["data"]["degraded"].as_str() != what {};
    let lost = Some("1 messages could not be delivered and are dead letters");
    publish(&daemon, [violation(1)]);
    told(lost);
    publish(&daemon, [violation(2)]);
    until("the next one arrives", || receiver.taken().len() == 1);
    assert_eq!(daemon.readiness().1.len(), 1, "and the other one is not forgotten over it");

    let (status, folder) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    let daemon = Daemon::start_in(folder, &config, &[]);
    until("it is told again", || daemon.readiness().1.iter().any(|reason| reason.contains("are dead letters")));
    let path = "/v1/broadcasters/ops/commands/discard_dead_letters";
    assert_eq!(http::post(&daemon.admin, path, "application/json", b"{}").status, 200);
    until("all is well", || daemon.readiness().1.is_empty());
    assert_eq!(figure(&daemon, "input_gaps_total"), 0.0);
}

fn the_example_of_the_document_prints_what_it_gets() {
    let document = include_str!("../../../docs/notifiers.md");
    let mut rest = document.split_once("Try it with").unwrap().1;
    let mut between = |before: &str, behind: &str| {
        let (text, after) = rest.split_once(before).unwrap().1.split_once(behind).unwrap();
        rest = after;
        text.to_owned()
    };
    let (program, config) = (between("python3 -c '", "'"), between("```toml\n", "```"));
    let event: Value = serde_json::from_str(&between("publish -d '", "'")).unwrap();
    let port = free_port().to_string();
    let receiver = Program::start(Command::new("python3").args(["-c", &program.replace("8088", &port)]));
    let retry = ", retry = { first = \"10ms\" }"; // it may not listen yet
    let daemon = Daemon::start(&config.replace("8088/\"", &format!("{port}/\"{retry}")));
    publish(&daemon, [event]);
    until("it is printed", || receiver.lines().len() == 1);
    let printed: Value = serde_json::from_str(&receiver.lines()[0]).unwrap();
    assert_eq!(printed["subject"], "CRITICAL: Outlier (rule 1) at characteristic 1");
}
