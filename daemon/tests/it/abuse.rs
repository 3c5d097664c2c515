//! Clients that mean no good, on sockets of the real daemon: floods, silence, crumbs, resets, and too many of them. What
//! they cost is counted in bytes and descriptors; the others notice nothing.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::house::{self, Client, hear_json, until};
use crate::http;
use crate::needs;
use crate::process::Daemon;
use crate::raw::{self, FIN, PING, PONG, Raw, TEXT, frame};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(pings_of_a_client_that_does_not_read_cost_one_pong),
        needs::nothing(requests_of_a_client_that_does_not_read_wait_in_its_own_socket),
        needs::nothing(a_client_that_vanished_is_let_go_whatever_it_was_doing),
        needs::nothing(a_head_that_comes_in_crumbs_does_not_come),
        needs::nothing(a_frame_that_comes_in_crumbs_is_heard),
        needs::nothing(resets_in_every_state_leave_nothing_behind),
        needs::nothing(resets_while_draining_do_not_hold_it_up),
        needs::nothing(a_reset_is_noticed_while_nothing_is_read),
        needs::nothing(clients_that_come_and_go_leave_nothing_behind),
        needs::nothing(without_descriptors_newcomers_wait_and_nobody_else),
    ]
}

/// What the process may have grown by when nothing was to stay: what the allocator keeps for the next time.
pub const SLACK: u64 = 8 << 20;

/// A daemon with a stream that clients may hear, behind these lines of `[hub]`. It has reloaded once, so that everything
/// is open that a daemon has open.
fn start(hub: &str) -> Daemon {
    let config = config(hub);
    let daemon = Daemon::start(&config);
    daemon.reload(|| daemon.configure(&format!("{config}# again\n")));
    daemon
}

fn config(hub: &str) -> String {
    format!("[hub]\n{}\n{hub}\n[streams.ticks]\nvisible = true\n", raw::UNHURRIED)
}

fn connections(daemon: &Daemon) -> f64 {
    daemon.metric("broadcastd_connections{endpoint=\"/v1/ws\",dialect=\"native\"}").unwrap_or_default()
}

pub fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

/// Bytes of memory that the process has in use.
pub fn resident(daemon: &Daemon) -> u64 {
    daemon.metric("process_resident_memory_bytes").unwrap() as u64
}

fn commands(daemon: &Daemon, kind: &str) -> f64 {
    daemon.metric(&format!("broadcastd_commands_total{{kind=\"{kind}\",outcome=\"ok\"}}")).unwrap_or_default()
}

/// Bytes that wait for clients, as each shard says four times a second.
fn waiting(daemon: &Daemon) -> f64 {
    let page = daemon.get("/metrics").body;
    let shards = page.lines().filter_map(|line| line.strip_prefix("broadcastd_outbox_bytes{")?.split(' ').nth(1));
    shards.map(|bytes| bytes.parse::<f64>().unwrap()).sum()
}

/// Everybody is gone, and nothing of them is left.
pub fn all_is_as_before(daemon: &Daemon, descriptors_before: usize) {
    until("nobody is connected", || connections(daemon) == 0.0);
    until("the descriptors are closed", || descriptors(daemon) <= descriptors_before);
    until("nothing waits to be sent", || waiting(daemon) == 0.0);
}

fn publish(daemon: &Daemon, bytes: usize) {
    let event = json!({"type": "tick", "data": {"pad": "x".repeat(bytes)}});
    assert_eq!(daemon.publish("ticks", &event).status, 202);
}

fn still_answers(client: &mut Client) {
    house::say(client, r#"{"type":"ping","id":"still"}"#);
    while hear_json(client)["id"] != "still" {}
}

/// A subscriber that no longer reads, with more waiting for it than its socket takes.
fn blocked(daemon: &Daemon) -> Raw {
    let mut blocked = Raw::open_on(raw::narrow(&daemon.clients), &daemon.clients);
    blocked.say(r#"{"type":"subscribe","stream":"ticks"}"#);
    while !blocked.text().contains("full_update") {}
    for _ in 0..16 {
        publish(daemon, 1 << 20);
    }
    blocked
}

/// Its writer takes nothing while the pings come, so what is answered shows when it reads again: the newest alone.
fn pings_of_a_client_that_does_not_read_cost_one_pong() {
    const PINGS: u32 = 200_000;
    let daemon = start("outbox = \"64MiB\"");
    let mut greedy = blocked(&daemon);
    let before = resident(&daemon);
    for number in 0..PINGS {
        let ping = frame(PING, &number.to_be_bytes());
        greedy.send(&ping);
    }
    greedy.say(r#"{"type":"ping"}"#);
    until("everything has been heard", || commands(&daemon, "ping") == 1.0);
    let grown = resident(&daemon).saturating_sub(before);
    assert!(grown < SLACK, "{PINGS} pings cost {grown} bytes");
    let mut pongs = Vec::new();
    raw::widen(&greedy.socket);
    loop {
        match greedy.frame() {
            (PONG, payload) => pongs.push(payload),
            (TEXT, text) if text.starts_with(br#"{"type":"status""#) => break,
            _ => {}
        }
    }
    assert_eq!(pongs.last().unwrap(), &(PINGS - 1).to_be_bytes());
    assert!(pongs.len() <= 2, "{} pongs", pongs.len());
}

/// The daemon answers until `outbox` bytes of answers wait and then reads no more, so that the client cannot even write.
fn requests_of_a_client_that_does_not_read_wait_in_its_own_socket() {
    let daemon = start(SMALL_OUTBOX);
    let mut good = daemon.connect();
    let before = resident(&daemon);
    let (mut greedy, asked) = stuck(&daemon);
    let grown = resident(&daemon).saturating_sub(before);
    assert!(grown < SLACK, "{asked} requests cost {grown} bytes");
    assert!(commands(&daemon, "ping") < asked as f64, "nothing was left to answer");
    still_answers(&mut good);
    raw::widen(&greedy.socket);
    for _ in 0..asked {
        assert!(greedy.text().contains(r#""status":"pong""#));
    }
    assert_eq!(commands(&daemon, "ping"), asked as f64 + 1.0);
}

const SMALL_OUTBOX: &str = "outbox = \"64KiB\"";

/// A client that asked, reading nothing, until the daemon read nothing more and the sockets were full; and how often.
fn stuck(daemon: &Daemon) -> (Raw, usize) {
    /// More than the buffers of two sockets hold.
    const TOO_MUCH: usize = 32 << 20;
    let mut greedy = Raw::open_on(raw::narrow(&daemon.clients), &daemon.clients);
    assert!(greedy.text().contains("connected"));
    let request = frame(TEXT, raw::ping("1", 1000).as_bytes());
    let mut sent = 0;
    greedy.socket.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while sent < TOO_MUCH {
        // From where the last write stopped: what is written is one request after the other.
        match greedy.socket.write(&request[sent % request.len()..]) {
            Ok(count) => sent += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                if waiting(daemon) > 65_536.0 {
                    return (greedy, sent / request.len());
                }
            }
        }
    }
    panic!("all was taken in");
}

/// Brings a client there.
type State = fn(&Daemon) -> Raw;

/// What a client may have done before nothing more is heard of it.
const STATES: &[(&str, State)] = &[
    ("nothing was said", |daemon| Raw::on(http::connect(&daemon.clients))),
    ("in the head", |daemon| said(daemon, &raw::request(&daemon.clients)[..40])),
    ("after a request", |daemon| said(daemon, &raw::request(&daemon.clients))),
    ("after a request and half a frame", |daemon| {
        said(daemon, &[&raw::request(&daemon.clients)[..], &frame(TEXT, b"{}")[..3]].concat())
    }),
    ("after a refused request", |daemon| said(daemon, b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\n\r\n")),
    ("in the body of a request", |daemon| {
        let head = "POST /v1/streams/ticks/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
        said(daemon, head.as_bytes())
    }),
    ("after the upgrade", |daemon| Raw::open(&daemon.clients)),
    ("in a frame's header", |daemon| greeted_and_said(daemon, &frame(TEXT, &[b' '; 200])[..3])),
    ("in a frame's payload", |daemon| greeted_and_said(daemon, &frame(TEXT, &[b' '; 200])[..100])),
    ("in a fragmented message", |daemon| greeted_and_said(daemon, &frame(TEXT & !FIN, b"{"))),
    ("as a subscriber", |daemon| greeted_and_said(daemon, &frame(TEXT, br#"{"type":"subscribe","stream":"ticks"}"#))),
    ("after a violation", |daemon| greeted_and_said(daemon, &[0x83])),
    ("after its close", |daemon| greeted_and_said(daemon, &raw::close(1000, b""))),
    ("with events that it does not read", blocked),
    ("with requests that are not read", |daemon| stuck(daemon).0),
];

fn said(daemon: &Daemon, bytes: &[u8]) -> Raw {
    let mut raw = Raw::on(http::connect(&daemon.clients));
    raw.send(bytes);
    raw
}

fn greeted_and_said(daemon: &Daemon, bytes: &[u8]) -> Raw {
    let mut raw = Raw::greeted(&daemon.clients);
    raw.send(bytes);
    raw
}

/// Their sockets stay open, and nothing ever comes from them: no end, no reset, no pong.
fn a_client_that_vanished_is_let_go_whatever_it_was_doing() {
    let hub = format!("{SMALL_OUTBOX}\nheader_timeout = \"300ms\"");
    let daemon = start(&hub);
    let before = descriptors(&daemon);
    // A body has a time of its own, which is a minute.
    let states = STATES.iter().filter(|(name, _)| *name != "in the body of a request");
    let vanished: Vec<Raw> = states.map(|(_, state)| state(&daemon)).collect();
    let impatient = format!("{hub}\nping = {{ every = \"100ms\", drop_after = \"300ms\" }}");
    daemon.reload(|| daemon.configure(&config(&impatient)));
    all_is_as_before(&daemon, before);
    drop(vanished);
}

fn resets_in_every_state_leave_nothing_behind() {
    const LONG: &str = "header_timeout = \"5m\"\nping = { every = \"1h\", drop_after = \"1d\" }";
    let daemon = start(&format!("{SMALL_OUTBOX}\n{LONG}"));
    let before = descriptors(&daemon);
    let mut good = daemon.subscriber("ticks");
    for (_, state) in STATES {
        for _ in 0..3 {
            raw::reset(state(&daemon).socket);
        }
    }
    still_answers(&mut good);
    good.close(None).unwrap();
    while good.read().is_ok() {}
    all_is_as_before(&daemon, before);
    let log = daemon.log_text();
    assert!(!log.contains("\"ERROR\"") && !log.contains("panicked"), "{log}");
}

fn resets_while_draining_do_not_hold_it_up() {
    let daemon = start(SMALL_OUTBOX);
    let clients: Vec<Raw> = STATES.iter().map(|(_, state)| state(&daemon)).collect();
    let mut last = Raw::greeted(&daemon.clients);
    daemon.signal("TERM");
    assert_eq!(last.close().0, 1001, "the drain has begun");
    clients.into_iter().for_each(|client| raw::reset(client.socket));
    raw::reset(last.socket);
    let (status, _folder) = daemon.wait();
    assert_eq!(status.code(), Some(0));
}

/// While requests wait to be answered, nothing more is read from their client: its end must be seen all the same.
fn a_reset_is_noticed_while_nothing_is_read() {
    let daemon = start(&format!("{SMALL_OUTBOX}\nping = {{ every = \"1h\", drop_after = \"1d\" }}"));
    let before = descriptors(&daemon);
    let (greedy, asked) = stuck(&daemon);
    assert!(commands(&daemon, "ping") < asked as f64, "nothing was left to answer");
    raw::reset(greedy.socket);
    all_is_as_before(&daemon, before);
    // Only its own side ended: the daemon notices when it reads again, which it does as soon as the client does.
    let (half, _) = stuck(&daemon);
    half.socket.shutdown(Shutdown::Write).unwrap();
    half.drain();
    all_is_as_before(&daemon, before);
}

fn a_head_that_comes_in_crumbs_does_not_come() {
    let daemon = start("header_timeout = \"300ms\"");
    let before = descriptors(&daemon);
    let mut slow = http::connect(&daemon.clients);
    slow.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let head = b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nX: ".iter().chain([b'x'; 4000].iter());
    let mut ended = false;
    for byte in head {
        ended |= slow.write_all(&[*byte]).is_err();
        match slow.read(&mut [0]) {
            Ok(0) => ended = true,
            Ok(_) => panic!("an answer to half a request"),
            Err(error) => ended |= error.kind() != ErrorKind::WouldBlock,
        }
        if ended {
            break;
        }
    }
    assert!(ended, "it was listened to for as long as it liked");
    all_is_as_before(&daemon, before);
}

/// Each byte is a sign of life, although a client cannot answer pings in the middle of a frame.
fn a_frame_that_comes_in_crumbs_is_heard() {
    let drop_after = Duration::from_millis(400);
    let daemon = start("ping = { every = \"100ms\", drop_after = \"400ms\" }");
    let mut slow = Raw::greeted(&daemon.clients);
    slow.socket.set_nodelay(true).unwrap();
    let (start, mut bytes) = (Instant::now(), frame(TEXT, raw::ping("1", 60_000).as_bytes()).into_iter());
    while start.elapsed() < 3 * drop_after {
        slow.send(&[bytes.next().unwrap()]);
        std::thread::sleep(Duration::from_millis(1)); // crumbs, not a stream of bytes
    }
    slow.send(&bytes.collect::<Vec<u8>>());
    assert!(slow.text().contains(r#""status":"pong""#));
}

fn clients_that_come_and_go_leave_nothing_behind() {
    const ROUND: usize = 300;
    let daemon = start("");
    let before = descriptors(&daemon);
    let round = || {
        for _ in 0..ROUND {
            let mut polite = Raw::greeted(&daemon.clients);
            polite.send(&[frame(TEXT, br#"{"type":"subscribe","stream":"ticks"}"#), raw::close(1000, b"")].concat());
            assert_eq!(polite.close().0, 1000);
            drop(Raw::greeted(&daemon.clients));
            raw::reset(Raw::open(&daemon.clients).socket);
        }
        all_is_as_before(&daemon, before);
        assert_eq!(daemon.metric("broadcastd_subscriptions{stream=\"ticks\"}"), Some(0.0));
        resident(&daemon)
    };
    round(); // what is allocated once
    let (first, last) = (round(), [round(), round()].into_iter().max().unwrap());
    assert!(last < first + (1 << 20), "{} connections cost {} bytes", 6 * ROUND, last - first);
}

fn without_descriptors_newcomers_wait_and_nobody_else() {
    let daemon = start("header_timeout = \"5m\"");
    let mut old = daemon.subscriber("ticks");
    // The operator's connection must be there before: without a descriptor nobody new comes in there either.
    let mut admin = http::connect(&daemon.admin);
    let mut scrape = |path: &str, body: &str| {
        let headers = [("Connection", "keep-alive"), ("Content-Type", "application/json")];
        let method = if body.is_empty() { "GET" } else { "POST" };
        let line = format!("{method} {path} HTTP/1.1");
        admin.write_all(&http::request(&daemon.admin, &line, &headers, body.as_bytes())).unwrap();
        http::read(&mut admin)
    };
    let rests = |page: &str| -> f64 {
        let value = page.lines().find_map(|line| line.strip_prefix("broadcastd_accept_rests_total "));
        value.map_or(0.0, |value| value.parse().unwrap())
    };
    assert_eq!(rests(&scrape("/metrics", "").body), 0.0);
    leave_few_descriptors(&daemon);
    let start = Instant::now();
    let mut let_in = Vec::new();
    let mut waiting = loop {
        let mut newcomer = Raw::on(http::connect(&daemon.clients));
        newcomer.send(&raw::request(&daemon.clients));
        newcomer.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        match newcomer.socket.peek(&mut [0]) {
            Ok(_) => let_in.push(newcomer),
            Err(_) if daemon.log_text().contains("new connections wait") => break newcomer,
            Err(_) => assert!(start.elapsed() < http::PATIENCE, "{} were let in", let_in.len()),
        }
    };
    let told = daemon.wait_for_log("new connections wait: there are too few descriptors");
    assert!(told.contains("WARN") && told.contains("127.0.0.1"), "{told}");
    let used_before = processor_ticks(&daemon);
    assert_eq!(waiting.socket.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it is not let in");
    let used = processor_ticks(&daemon) - used_before;
    assert!(used < 50, "{used} of 100 ticks in a second in which nothing happened");
    assert_eq!(scrape("/v1/streams/ticks/publish", r#"{"type":"tick","data":{}}"#).status, 202);
    assert_eq!(hear_json(&mut old)["type"], "tick");
    let rested = rests(&scrape("/metrics", "").body);
    let most = start.elapsed().as_millis() as f64 / 100.0 + 1.0;
    assert!((2.0..=most).contains(&rested), "{rested} rests, at most {most}");
    assert_eq!(daemon.log_text().matches("new connections wait").count(), 1, "told once");
    let_in.pop();
    waiting.socket.set_read_timeout(Some(http::PATIENCE)).unwrap();
    assert!(waiting.head().starts_with("HTTP/1.1 101 "));
    assert!(waiting.text().contains("connected"));
    daemon.wait_for_log("connections are accepted again");
    still_answers(&mut old);
}

/// Lowers the process's limit until it may open only a few more.
fn leave_few_descriptors(daemon: &Daemon) {
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let numbers = open.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse::<u64>().unwrap());
    let limit = numbers.max().unwrap() + 5; // the limit is on the highest number, and there may be holes
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
    let lower = Rlimit { current: Some(limit), maximum: Some(limit) };
    prlimit(pid, Resource::Nofile, lower).unwrap();
}

/// Hundredths of a second in which the process was running.
fn processor_ticks(daemon: &Daemon) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let behind_name = stat.rsplit_once(") ").unwrap().1;
    let fields: Vec<&str> = behind_name.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
