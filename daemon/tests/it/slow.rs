//! Clients that do not keep up, on the real daemon: nobody else waits for them, memory stays where it was, and when they
//! read on they can account for every number.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use libtest_mimic::Trial;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, Type};
use tungstenite::WebSocket;
use tungstenite::protocol::{Role, WebSocketConfig};

use crate::house::{hear_json, until};
use crate::http::PATIENCE;
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(ten_thousand_that_stop_at_once_hold_up_nobody),
        needs::nothing(one_that_reads_a_byte_per_event_is_told_all_it_loses),
    ]
}

const TICKS: &str =
    "[streams.ticks]\nvisible = true\nlag = \"resync\"\n[hub]\nmax_connections = 12_000\noutbox = \"64KiB\"\n";
const CROWD: usize = 10_000;
/// Threads that bring the crowd in.
const USHERS: usize = 4;
/// Bytes of an event's payload.
const PAYLOAD: usize = 8 << 10;
/// More than the sockets on both sides and an outbox take of each connection.
const EVENTS: u64 = 60;

fn ten_thousand_that_stop_at_once_hold_up_nobody() {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).unwrap();
    let daemon = Daemon::start(TICKS);
    let mut fast = daemon.subscriber("ticks");
    let usher = || (0..CROWD / USHERS).map(|_| sleepy(&daemon)).collect::<Vec<_>>();
    let mut crowd: Vec<(TcpStream, Vec<u8>)> = thread::scope(|scope| {
        let ushers: Vec<_> = (0..USHERS).map(|_| scope.spawn(usher)).collect();
        ushers.into_iter().flat_map(|usher| usher.join().unwrap()).collect()
    });
    let most_before = most_resident(&daemon);
    for number in 1..=EVENTS {
        publish(&daemon, number);
        assert_eq!(hear_json(&mut fast)["seq"], number, "the next event comes when this one has been heard");
    }
    let lagged = "broadcastd_lagged_total{stream=\"ticks\",policy=\"resync\"}";
    until("all of them lag", || daemon.metric(lagged) == Some(CROWD as f64));

    let kept = EVENTS as f64 * PAYLOAD as f64 * 2.0; // in the history: the payload, and the frame around it
    until("nothing but the history is left", || daemon.metric("broadcastd_memory_bytes").unwrap() < kept + 100_000.0);
    let grown = most_resident(&daemon) - most_before;
    assert!(grown < 100 << 20, "{grown} bytes more at some time; {CROWD} outboxes of their own would be 640 MB");

    for client in crowd.drain(..20) {
        account_for_all(wake(client), EVENTS);
    }
}

fn one_that_reads_a_byte_per_event_is_told_all_it_loses() {
    let daemon = Daemon::start(TICKS);
    let mut fast = daemon.subscriber("ticks");
    let (mut socket, mut heard) = sleepy(&daemon);
    for number in 1..=2 * EVENTS {
        publish(&daemon, number);
        assert_eq!(hear_json(&mut fast)["seq"], number);
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    until("it lags", || {
        daemon.metric("broadcastd_lagged_total{stream=\"ticks\",policy=\"resync\"}").is_some_and(|times| times >= 1.0)
    });
    account_for_all(wake((socket, heard)), 2 * EVENTS);
}

/// The most bytes that the daemon ever had resident.
fn most_resident(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let most =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix(" kB")?.trim().parse::<u64>().ok());
    most.unwrap() * 1024
}

fn publish(daemon: &Daemon, number: u64) {
    let event = json!({"type": "tick", "data": {"number": number, "pad": "x".repeat(PAYLOAD)}});
    assert_eq!(daemon.publish("ticks", &event).status, 202);
}

/// A subscriber that takes as little as a socket can, with what it has heard behind the reply to its handshake: all up to its
/// first snapshot.
fn sleepy(daemon: &Daemon) -> (TcpStream, Vec<u8>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap(); // the kernel makes it its least
    socket.connect(&daemon.clients.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let subscribe = br#"{"type":"subscribe","stream":"ticks"}"#;
    let mut said = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        daemon.clients
    )
    .into_bytes();
    said.extend([0x81, 0x80 | subscribe.len() as u8, 0, 0, 0, 0]); // masked by zeros
    said.extend(subscribe);
    socket.write_all(&said).unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("full_update") || !heard.ends_with(b"}") {
        let mut some = [0; 2048];
        let count = socket.read(&mut some).unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&heard));
        heard.extend(&some[..count]);
    }
    let head = heard.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    (socket, heard.split_off(head))
}

fn wake((socket, heard): (TcpStream, Vec<u8>)) -> WebSocket<TcpStream> {
    SockRef::from(&socket).set_recv_buffer_size(1 << 20).unwrap();
    let config = WebSocketConfig::default().read_buffer_size(4096);
    WebSocket::from_partially_read(socket, heard, Role::Client, Some(config))
}

/// Reads until the client knows about the number `end`, and checks that each number up to it came, or was told as lost
/// and made good by a snapshot.
fn account_for_all(mut client: WebSocket<TcpStream>, end: u64) {
    assert_eq!(hear_json(&mut client)["data"]["status"], "connected");
    assert_eq!(hear_json(&mut client)["data"]["status"], "subscribed");
    assert_eq!(hear_json(&mut client)["type"], "full_update");
    let (mut known, mut losses) = (0, 0);
    while known < end {
        let message: Value = hear_json(&mut client);
        match message["type"].as_str().unwrap() {
            "tick" => {
                assert_eq!(message["seq"], known + 1, "{message}");
                known += 1;
            }
            "status" => {
                let told = &message["data"];
                assert_eq!((&told["status"], &told["from"]), (&json!("lagged"), &json!(known + 1)), "{told}");
                known = told["to"].as_u64().unwrap();
                let shown = hear_json(&mut client);
                assert_eq!((&shown["resync"], &shown["seq"]), (&json!(true), &json!(known)));
                losses += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(losses > 0, "it took all of {end} events without being slow");
}
