//! The limits of `[hub]` on the real daemon: exactly at the bound everything passes, one more is refused with its text and
//! counted, and a reload changes the bound while everything runs.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::json;
use tungstenite::Message;

use crate::house::{self, Client, hear, hear_close, hear_json, say};
use crate::http;
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(connections),
        needs::nothing(connections_of_one_address),
        needs::nothing(connections_of_one_address_that_speak_http),
        needs::nothing(subscriptions),
        needs::nothing(commands),
        needs::nothing(message_size),
        needs::nothing(time_for_the_header),
    ]
}

const STREAM: &str = "[streams.ticks]\nvisible = true\n";

fn start(hub: &str) -> Daemon {
    Daemon::start(&format!("{STREAM}[hub]\n{hub}\n"))
}

fn reload(daemon: &Daemon, hub: &str) {
    daemon.reload(|| daemon.configure(&format!("{STREAM}[hub]\n{hub}\n")));
}

/// Counted once the daemon is done with it, which a client need not see.
fn counts(daemon: &Daemon, series: &str, expected: f64) {
    house::until(series, || daemon.metric(series) == Some(expected));
}

fn connections() {
    let daemon = start("max_connections = 3");
    let mut clients: Vec<Client> = (0..3).map(|_| daemon.connect()).collect();
    let refused = house::connect(&daemon.clients, &[]).err().unwrap();
    let told = |max: u32| {
        let message = format!("there are {max} connections already, the most there may be (hub.max_connections)");
        json!({"error": {"code": "too_many_connections", "message": message}})
    };
    assert_eq!((refused.status, refused.header("retry-after"), refused.json()), (503, Some("5"), told(3)));
    counts(&daemon, r#"broadcastd_connections_refused_total{reason="max_connections"}"#, 1.0);
    reload(&daemon, "max_connections = 4");
    clients.push(daemon.connect());
    assert_eq!(house::connect(&daemon.clients, &[]).err().unwrap().json(), told(4));
    reload(&daemon, "max_connections = 1");
    assert_eq!(house::connect(&daemon.clients, &[]).err().unwrap().json(), told(1));
    clients.iter_mut().for_each(still_answers);
}

fn still_answers(client: &mut Client) {
    say(client, r#"{"type":"ping"}"#);
    assert_eq!(hear_json(client)["data"]["status"], "pong");
}

/// An address of this machine that is not loopback, where there is one: the one it would send from. Nothing is sent.
pub fn outer_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().unwrap().ip();
    (!address.is_loopback()).then(|| address.to_string())
}

/// A daemon with this `[hub]`, and where to reach it by an address that counts; `None` on a machine that has none.
fn start_outside(hub: &str) -> Option<(Daemon, String)> {
    let Some(outer) = outer_address() else {
        eprintln!("this machine has no address but loopback: the unit tests of the limiter stand alone");
        return None;
    };
    let everywhere = [("BROADCASTD_SERVER__LISTEN", "0.0.0.0:0")];
    let daemon = Daemon::start_with(&format!("{STREAM}[hub]\n{hub}\n"), &everywhere);
    let port = daemon.clients.rsplit_once(':').unwrap().1;
    let address = format!("{outer}:{port}");
    Some((daemon, address))
}

fn connections_of_one_address() {
    let Some((daemon, address)) = start_outside("max_per_ip = 2") else { return };
    let connect = || house::connect(&address, &[]);
    let mut clients = vec![connect().unwrap(), connect().unwrap()];
    let refused = connect().err().unwrap();
    let told = |max: u32| {
        let message =
            format!("your address has {max} connections already, the most it may have (hub.max_per_ip); close one");
        json!({"error": {"code": "too_many_connections", "message": message}})
    };
    assert_eq!((refused.status, refused.header("retry-after"), refused.json()), (429, Some("5"), told(2)));
    counts(&daemon, r#"broadcastd_connections_refused_total{reason="max_per_ip"}"#, 1.0);
    let port = address.rsplit_once(':').unwrap().1;
    let here: Vec<Client> = (0..3).map(|_| house::connect(&format!("127.0.0.1:{port}"), &[]).unwrap()).collect();
    assert_eq!(here.len(), 3, "loopback is exempt");
    reload(&daemon, "max_per_ip = 3");
    clients.push(connect().unwrap());
    assert_eq!(connect().err().unwrap().json(), told(3));
    clients.iter_mut().for_each(still_answers);
}

fn connections_of_one_address_that_speak_http() {
    let Some((daemon, address)) = start_outside("max_per_ip = 2") else { return };
    let ask = |socket: &mut TcpStream| {
        socket.write_all(&http::request(&address, "GET /nope HTTP/1.1", &[("Connection", "keep-alive")], b"")).unwrap();
        http::read(socket).status
    };
    let mut idle = [http::connect(&address), http::connect(&address)];
    assert_eq!(idle.each_mut().map(ask), [404, 404]);
    let refused = http::read(&mut http::connect(&address)); // nothing has to be asked for that
    let message =
        "your address has 2 connections that speak HTTP already, the most it may have (hub.max_per_ip); close one";
    let told = json!({"error": {"code": "too_many_connections", "message": message}});
    assert_eq!((refused.status, refused.header("retry-after"), refused.json()), (429, Some("5"), told));
    counts(&daemon, r#"broadcastd_connections_refused_total{reason="http_per_ip"}"#, 1.0);
    let port = address.rsplit_once(':').unwrap().1;
    let mut here = [(); 3].map(|()| http::connect(&format!("127.0.0.1:{port}")));
    assert_eq!(here.each_mut().map(ask), [404; 3], "loopback is exempt");
    reload(&daemon, "max_per_ip = 3");
    assert_eq!(ask(&mut http::connect(&address)), 404);
    drop(idle);
    house::until("an upgrade gives its place among HTTP back", || house::connect(&address, &[]).is_ok());
}

fn subscriptions() {
    let daemon = start("max_subscriptions = 2");
    let mut client = daemon.connect();
    let subscribe = |client: &mut Client, topic: &str| {
        say(client, &format!(r#"{{"type":"subscribe","topic":"ticks:{topic}","id":1}}"#));
        let answer = hear(client);
        if answer.contains("\"subscribed\"") {
            hear(client); // the snapshot
        }
        answer
    };
    let refused = |max: u32| {
        format!(
            r#"{{"type":"error","stream":"ticks","session_id":null,"data":{{"code":"too_many_subscriptions","message":"a connection has at most {max} subscriptions; unsubscribe from some, or use a pattern"}},"timestamp":"…","id":1}}"#
        )
    };
    assert!(subscribe(&mut client, "A").contains("subscribed") && subscribe(&mut client, "B").contains("subscribed"));
    assert_eq!(subscribe(&mut client, "C"), refused(2));
    counts(&daemon, r#"broadcastd_commands_total{kind="subscribe",outcome="too_many_subscriptions"}"#, 1.0);
    assert!(subscribe(&mut daemon.connect(), "C").contains("subscribed"), "each connection has its own");
    reload(&daemon, "max_subscriptions = 3");
    assert!(subscribe(&mut client, "C").contains("\"subscribed\""));
    assert_eq!(subscribe(&mut client, "D"), refused(3));
}

fn commands() {
    // One a second, so that no machine is too slow to give four within one.
    let daemon = start("rate = { commands = 1, burst = 4 }");
    let mut client = daemon.connect();
    let ping = r#"{"type":"ping"}"#;
    say(&mut client, &ping.repeat(6));
    for _ in 0..4 {
        assert_eq!(hear_json(&mut client)["data"]["status"], "pong");
    }
    for _ in 0..2 {
        let refused = hear_json(&mut client);
        let retry = refused["data"]["retry_ms"].as_u64().unwrap();
        let message = format!("more than 1 commands a second (hub.rate); try again in {retry} ms");
        assert_eq!(refused["data"], json!({"code": "rate_limited", "message": message, "retry_ms": retry}));
        assert!((1..=1000).contains(&retry), "{retry}");
    }
    counts(&daemon, r#"broadcastd_commands_total{kind="ping",outcome="rate_limited"}"#, 2.0);
    reload(&daemon, "rate = { commands = 1000, burst = 1000 }");
    house::until("the new rate holds for who was there before", || {
        say(&mut client, ping);
        hear_json(&mut client)["data"]["status"] == "pong"
    });
    let mut fast = daemon.connect();
    say(&mut fast, &ping.repeat(900));
    (0..900).for_each(|_| assert_eq!(hear_json(&mut fast)["data"]["status"], "pong"));
    reload(&daemon, "rate = { commands = 1, burst = 2 }");
    let mut careless = daemon.connect();
    say(&mut careless, &ping.repeat(100));
    assert_eq!(hear_close(&mut careless), (1008, "far too many commands (hub.rate)".to_owned()));
    counts(&daemon, r#"broadcastd_closes_total{code="1008"}"#, 1.0);
}

fn message_size() {
    let daemon = start("max_message = \"1000B\"");
    let message = |size: usize| format!("{{\"type\":\"ping\"}}{}", " ".repeat(size - 15));
    let too_big = |client: &mut Client, size: usize| {
        say(client, &message(size));
        assert_eq!(hear_close(client), (1009, "message too big".to_owned()));
    };
    let (mut first, mut second) = (daemon.connect(), daemon.connect());
    for client in [&mut first, &mut second] {
        say(client, &message(1000));
        assert_eq!(hear_json(client)["data"]["status"], "pong");
    }
    too_big(&mut first, 1001);
    counts(&daemon, r#"broadcastd_closes_total{code="1009"}"#, 1.0);
    reload(&daemon, "max_message = \"2000B\"");
    still_answers(&mut second); // its shard has turned since, and so knows
    say(&mut second, &message(2000));
    assert_eq!(hear_json(&mut second)["data"]["status"], "pong", "also for who was there before");
    second.send(Message::Ping(vec![0; 125].into())).unwrap(); // not a message
    too_big(&mut second, 2001);
}

fn time_for_the_header() {
    let daemon = start("header_timeout = \"300ms\"");
    let refused = r#"broadcastd_connections_refused_total{reason="header_timeout"}"#;
    let cut_off_after = |begin: &[u8]| {
        let mut slow = http::connect(&daemon.clients);
        let began = Instant::now();
        slow.write_all(begin).unwrap();
        assert_eq!(slow.read_to_end(&mut Vec::new()).unwrap(), 0, "it ends without an answer");
        began.elapsed()
    };
    for (begin, nth) in [(&b""[..], 1.0), (b"GET /v1/ws HTTP/1.1\r\nHost: ", 2.0)] {
        let after = cut_off_after(begin);
        assert!(after >= Duration::from_millis(300), "{after:?}");
        counts(&daemon, refused, nth);
    }
    let mut asked = http::connect(&daemon.clients);
    asked.write_all(&http::request("localhost", "GET /nope HTTP/1.1", &[("Connection", "keep-alive")], b"")).unwrap();
    assert_eq!(http::read(&mut asked).status, 404);
    asked.read_to_end(&mut Vec::new()).unwrap();
    reload(&daemon, "header_timeout = \"1s\"");
    let mut slow = http::connect(&daemon.clients);
    slow.write_all(b"GET /nope HTTP/1.1\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(500)); // the time that is tested
    slow.write_all(b"Host: localhost\r\n\r\n").unwrap();
    assert_eq!(http::read(&mut slow).status, 404);
    counts(&daemon, refused, 2.0); // who had asked before was not refused
}
