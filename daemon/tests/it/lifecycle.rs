//! The life of the process: what systemd hears, how it drains, what signals do, and what the next one goes on from.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::json;
use tempfile::TempDir;
use tungstenite::Message;

use crate::house::{self, hear_json};
use crate::http::{self, PATIENCE};
use crate::needs;
use crate::process::{self, Daemon};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(systemd_hears_of_every_change_and_nobody_is_greeted),
        needs::nothing(systemd_hears_signs_of_life_while_everything_moves),
        needs::nothing(a_greeting_says_what_to_open_in_five_lines),
        needs::nothing(while_it_drains_it_is_not_ready_and_clients_are_told_when_to_come_back),
        needs::nothing(a_drain_ends_at_its_deadline_also_with_clients_that_stay),
        needs::nothing(what_is_being_published_when_it_drains_is_answered),
        needs::nothing(a_body_that_does_not_end_holds_the_drain_up_no_longer_than_its_deadline),
        needs::nothing(lines_that_do_not_end_are_told_what_was_accepted_when_it_drains),
        needs::nothing(who_publishes_again_and_again_is_answered_until_told_to_close),
        needs::nothing(the_second_signal_ends_it_at_once),
        needs::nothing(a_report_is_written_into_the_log),
        needs::nothing(a_broadcaster_goes_on_from_what_the_last_daemon_saved),
    ]
}

/// A stream that everybody may publish to who shows `opener`.
const PUBLISHED: &str = "[streams.ticks]\nvisible = true\n[[auth.tokens]]\nname = \"feed\"\npublish = [\"ticks\"]\n\
    sha256 = \"ac053ed0ba41c1f47afcf77abc05cc11369701825017404a6f79d5aabf01e5c3\"\n";
const EVENT: &[u8] = br#"{"type":"tick","data":{}}"#;

const HELLO: &str = "[broadcasters.hello]\nplugin = \"faulty\"\nsettings = { interval_ms = 10 }\n";

/// A daemon that was started by a service manager, whose socket the test holds.
pub struct Service {
    child: Child,
    socket: UnixDatagram,
    folder: TempDir,
}

impl Service {
    pub fn start(env: &[(&str, &str)]) -> Self {
        Self::start_with("", env)
    }

    /// Starts with this behind the usual configuration.
    pub fn start_with(more: &str, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let notify = folder.path().join("notify");
        let socket = UnixDatagram::bind(&notify).unwrap();
        configure(folder.path(), more);
        let child = process::command(folder.path(), &[env, &[("NOTIFY_SOCKET", notify.to_str().unwrap())]].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, socket, folder }
    }

    /// The next word that is no mere sign of life.
    fn heard_news(&self) -> String {
        std::iter::repeat_with(|| self.heard()).find(|word| word != "WATCHDOG=1\n").unwrap()
    }

    pub fn heard(&self) -> String {
        self.heard_within(PATIENCE).expect("silence")
    }

    /// The next word, if one comes in time.
    pub fn heard_within(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 1024];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Some(String::from_utf8(buffer[..length].to_vec()).unwrap()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Sockets that are files: nobody says on which ports a service listens.
fn configure(folder: &Path, more: &str) {
    let socket = |name: &str| format!("unix:{}", folder.join(name).display());
    let (clients, admin) = (socket("clients.sock"), socket("admin.sock"));
    let text = format!("[server]\nlisten = [\"{clients}\"]\n[admin]\nlisten = \"{admin}\"\n{HELLO}{more}");
    fs::write(folder.join("new"), text).unwrap();
    fs::rename(folder.join("new"), folder.join("config.toml")).unwrap();
}

fn systemd_hears_of_every_change_and_nobody_is_greeted() {
    let mut service = Service::start(&[]);
    assert_eq!(service.heard(), "READY=1\n");
    assert_eq!(service.heard(), "STATUS=running\n");
    assert_eq!(status_of_readyz(service.folder.path()), 200, "ready means that it serves");

    for (more, status) in [
        ("[streams.news]\n", "running; the last reload was applied"),
        ("nonsense\n", "the last reload was refused; the running configuration stays active"),
    ] {
        configure(service.folder.path(), more);
        let reloading = service.heard_news();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
        assert!(time.trim_end().parse::<u64>().is_ok(), "{reloading}");
        assert_eq!(service.heard_news(), format!("STATUS={status}\n"));
        assert_eq!(service.heard_news(), "READY=1\n");
    }

    process::signal(service.child.id(), "TERM");
    assert_eq!(service.heard_news(), "STOPPING=1\n");
    assert_eq!(process::wait(&mut service.child).code(), Some(0));
    let greeting = std::io::read_to_string(service.child.stdout.take().unwrap()).unwrap();
    assert_eq!(greeting, "");
}

fn systemd_hears_signs_of_life_while_everything_moves() {
    let service = Service::start(&[("WATCHDOG_USEC", "3000000")]);
    assert_eq!(service.heard(), "READY=1\n");
    assert_eq!(service.heard(), "STATUS=running\n");
    for _ in 0..3 {
        assert_eq!(service.heard(), "WATCHDOG=1\n");
    }
}

fn a_greeting_says_what_to_open_in_five_lines() {
    let daemon = Daemon::start(HELLO);
    let lines: Vec<&str> = daemon.greeting().lines().collect();
    let (clients, admin) = (&daemon.clients, &daemon.admin);
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0], format!("broadcastd {} runs with config.toml", env!("CARGO_PKG_VERSION")));
    assert_eq!(lines[1], format!("  clients   ws://{clients}/v1/ws   streams: hello"));
    assert!(lines[2].contains(&format!("http://{admin}/readyz")), "{}", lines[2]);
    assert!(lines[3].contains(&format!("npx wscat -c ws://{clients}/v1/ws ")), "{}", lines[3]);
    assert!(lines[3].ends_with(r#"'{"type":"subscribe","stream":"hello"}'"#), "{}", lines[3]);
}

fn while_it_drains_it_is_not_ready_and_clients_are_told_when_to_come_back() {
    let env = [("BROADCASTD_SERVER__DRAIN", "30s")];
    let daemon =
        Daemon::start_in(tempfile::tempdir().unwrap(), &format!("{HELLO}[streams.ticks]\nvisible = true\n"), &env);
    let mut clients: Vec<_> = (0..3).map(|_| daemon.subscriber("hello")).collect();
    // Somebody who takes nothing any more holds the drain up until its deadline.
    let stays = daemon.subscriber("ticks");
    let large = json!({"type": "tick", "data": {"text": "x".repeat(60_000)}});
    house::until("a client lags", || {
        assert_eq!(daemon.publish("ticks", &large).status, 202);
        daemon.metric(r#"broadcastd_lagged_total{stream="ticks",policy="resync"}"#) > Some(0.0)
    });
    daemon.signal("TERM");
    for client in &mut clients {
        let (code, reason) = house::hear_close(client);
        assert_eq!(code, 1001);
        let pause = reason.strip_prefix("shutting down; retry in ").and_then(|rest| rest.strip_suffix(" ms"));
        let pause: u64 = pause.expect(&reason).parse().unwrap();
        assert!((500..5000).contains(&pause), "{reason}");
    }
    assert_eq!(daemon.readiness(), (503, vec!["draining".to_owned()]));
    assert_eq!(daemon.get("/healthz").status, 200);
    assert!(std::net::TcpStream::connect(&daemon.clients).is_err(), "nobody is let in");
    drop((stays, clients));
    assert_eq!(daemon.wait().0.code(), Some(0));
}

fn a_drain_ends_at_its_deadline_also_with_clients_that_stay() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_in(folder, HELLO, &[("BROADCASTD_SERVER__DRAIN", "500ms")]);
    let _silent = daemon.connect();
    daemon.signal("TERM");
    let stopped: serde_json::Value = serde_json::from_str(&daemon.wait_for_log("\"stopped\"")).unwrap();
    let took = stopped["took_s"].as_f64().unwrap();
    assert!((0.2..5.0).contains(&took), "{stopped}");
    assert_eq!(daemon.wait().0.code(), Some(0));
}

/// On either listener; who has been answered already and stays does not hold the drain up.
fn what_is_being_published_when_it_drains_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_in(folder, PUBLISHED, &[("BROADCASTD_SERVER__DRAIN", "10m")]);

    let both = [&daemon.clients, &daemon.admin];
    let begun = both.map(|address| begin_to_publish(address, "application/json"));
    let _idle: Vec<_> = both
        .into_iter()
        .map(|address| {
            let mut socket = http::connect(address);
            let head = http::request(address, "GET /v1/streams HTTP/1.1", &[("Connection", "keep-alive")], b"");
            socket.write_all(&head).unwrap();
            assert_eq!(http::read(&mut socket).status, 200);
            (socket, http::connect(address))
        })
        .collect();
    daemon.signal("TERM");
    house::until("it drains", || TcpStream::connect(&daemon.clients).is_err());
    for mut socket in begun {
        socket.write_all(EVENT).unwrap();
        let answer = http::read(&mut socket);
        assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(1)), "{answer:?}");
    }
    assert_eq!(daemon.wait().0.code(), Some(0));
}

fn a_body_that_does_not_end_holds_the_drain_up_no_longer_than_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_in(folder, PUBLISHED, &[("BROADCASTD_SERVER__DRAIN", "500ms")]);
    let begun = [&daemon.clients, &daemon.admin].map(|address| begin_to_publish(address, "application/json"));
    daemon.signal("TERM");
    for mut socket in begun {
        let answer = http::read(&mut socket);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("draining")), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    daemon.wait_for_log("\"stopped\"");
    assert_eq!(daemon.wait().0.code(), Some(0));
}

/// Some pause, some never do.
fn lines_that_do_not_end_are_told_what_was_accepted_when_it_drains() {
    /// A chunk of a line.
    const LINE: &[u8] = b"1a\r\n{\"type\":\"tick\",\"data\":{}}\n\r\n";
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_in(folder, PUBLISHED, &[("BROADCASTD_SERVER__DRAIN", "10m")]);
    let begin = |address: &String| {
        let head = "POST /v1/streams/ticks/publish HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer opener\r\n\
            Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut socket = http::connect(address);
        socket.write_all(&[head.as_bytes(), LINE, LINE].concat()).unwrap();
        socket
    };
    let both = [&daemon.clients, &daemon.admin];
    let published = || daemon.metric(r#"broadcastd_events_published_total{stream="ticks"}"#).unwrap_or(0.0);
    let paused = both.map(begin);
    house::until("what paused is published", || published() == 4.0);
    let flooding = both.map(begin);
    let writers = flooding.each_ref().map(|socket| {
        let mut socket = socket.try_clone().unwrap();
        std::thread::spawn(move || while socket.write_all(&LINE.repeat(100)).is_ok() {})
    });
    house::until("more and more are published", || published() > 1000.0);
    daemon.signal("TERM");
    let mut told = Vec::new();
    for mut socket in paused.into_iter().chain(flooding) {
        let answer = http::read(&mut socket);
        let said = answer.json();
        assert_eq!((answer.status, &said["error"]["code"]), (503, &json!("draining")), "{answer:?}");
        assert_eq!((answer.header("connection"), answer.header("retry-after")), (Some("close"), Some("5")));
        told.push((said["accepted"].as_u64().unwrap(), said["position"]["seq"].as_u64().unwrap()));
    }
    let accepted: u64 = told.iter().map(|(accepted, _)| accepted).sum();
    assert_eq!(told.iter().map(|(_, seq)| *seq).max(), Some(accepted), "each told its own, and none untold: {told:?}");
    assert!(told[..2].iter().all(|(accepted, _)| *accepted == 2), "{told:?}");
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(daemon.wait().0.code(), Some(0));
}

fn who_publishes_again_and_again_is_answered_until_told_to_close() {
    const PUBLISHERS: usize = 16;
    let going_on = AtomicUsize::new(0);
    let daemon = Daemon::start_in(tempfile::tempdir().unwrap(), PUBLISHED, &[("BROADCASTD_SERVER__DRAIN", "10m")]);
    let publish = |address: &str| {
        let headers =
            [("Content-Type", "application/json"), ("Authorization", "Bearer opener"), ("Connection", "keep-alive")];
        let request = http::request(address, "POST /v1/streams/ticks/publish HTTP/1.1", &headers, EVENT);
        let mut socket = http::connect(address);
        let mut accepted = 0;
        loop {
            socket.write_all(&request).unwrap();
            let answer = http::read(&mut socket);
            assert_eq!(answer.status, 202, "{answer:?}");
            accepted += 1;
            if accepted == 2 {
                going_on.fetch_add(1, Ordering::Relaxed);
            }
            if answer.header("connection") == Some("close") {
                return accepted;
            }
        }
    };
    let accepted: Vec<u32> = std::thread::scope(|scope| {
        let of = |nth: usize| [&daemon.clients, &daemon.admin][nth % 2];
        let publishers: Vec<_> = (0..PUBLISHERS).map(|nth| scope.spawn(move || publish(of(nth)))).collect();
        let published = || daemon.metric(r#"broadcastd_events_published_total{stream="ticks"}"#).unwrap_or(0.0);
        let all_go_on = || going_on.load(Ordering::Relaxed) == PUBLISHERS;
        house::until("they publish", || all_go_on() && published() > 2000.0);
        daemon.signal("TERM");
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
    });
    assert!(accepted.iter().all(|accepted| *accepted > 1), "{accepted:?}");
    assert_eq!(daemon.wait().0.code(), Some(0));
}

fn the_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_in(folder, HELLO, &[("BROADCASTD_SERVER__DRAIN", "1h")]);
    let _silent = daemon.connect();
    daemon.signal("TERM");
    daemon.wait_for_log("\"draining\"");
    daemon.signal("TERM");
    daemon.wait_for_log("asked twice: ending without draining");
    assert_eq!(daemon.wait().0.code(), Some(0));
}

fn a_report_is_written_into_the_log() {
    let daemon = Daemon::start(&format!("{HELLO}[streams.ticks]\n"));
    daemon.publish("ticks", &json!({"type": "tick", "data": {}}));
    daemon.signal("USR1");
    let broadcaster = daemon.wait_for_log("\"message\":\"broadcaster\"");
    assert!(broadcaster.contains("\"broadcaster\":\"hello\"") && broadcaster.contains("running"), "{broadcaster}");
    for stream in ["hello", "ticks"] {
        daemon.wait_for_log(&format!("\"message\":\"stream\",\"stream\":\"{stream}\""));
    }
}

fn a_broadcaster_goes_on_from_what_the_last_daemon_saved() {
    let daemon = Daemon::start(HELLO);
    let mut client = daemon.subscriber("hello");
    let mut last = 0;
    while last < 30 {
        last = hear_json(&mut client)["data"]["count"].as_u64().unwrap();
    }
    daemon.signal("TERM");
    // What was published until the end is heard before the end.
    loop {
        match client.read().unwrap() {
            Message::Text(text) => {
                last = serde_json::from_str::<serde_json::Value>(&text).unwrap()["data"]["count"].as_u64().unwrap()
            }
            Message::Close(_) => break,
            _ => {}
        }
    }
    drop(client);
    let (status, folder) = daemon.wait();
    assert_eq!(status.code(), Some(0));
    let slow = HELLO.replace("10 }", "60000 }");
    let daemon = Daemon::start_in(folder, &slow, &[]);
    let mut client = daemon.connect();
    house::say(&mut client, r#"{"type":"subscribe","stream":"hello"}"#);
    hear_json(&mut client);
    let records = hear_json(&mut client);
    let restored = records["data"]["counts"][0]["count"].as_u64().unwrap();
    assert!(restored >= last, "{last}, then {records}");
}

/// A request whose body the daemon waits for.
fn begin_to_publish(address: &str, content_type: &str) -> TcpStream {
    const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let authorization = ("Authorization", "Bearer opener");
    let headers =
        [("Content-Type", content_type), authorization, ("Connection", "keep-alive"), ("Expect", "100-continue")];
    let whole = http::request(address, "POST /v1/streams/ticks/publish HTTP/1.1", &headers, EVENT);
    let mut socket = http::connect(address);
    socket.write_all(whole.strip_suffix(EVENT).unwrap()).unwrap();
    let mut said = [0; GO_ON.len()];
    socket.read_exact(&mut said).unwrap();
    assert_eq!(said, GO_ON, "{}", String::from_utf8_lossy(&said));
    socket
}

fn status_of_readyz(folder: &Path) -> u16 {
    let mut socket = UnixStream::connect(folder.join("admin.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&http::request("localhost", "GET /readyz HTTP/1.1", &[], b"")).unwrap();
    http::read(&mut socket).status
}
