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

use crate::events::Events;
use crate::house::{hear_close, hear_json, say, until};
use crate::http::PATIENCE;
use crate::needs;
use crate::process::Daemon;
use crate::raw;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(ten_thousand_that_stop_at_once_hold_up_nobody),
        needs::nothing(one_that_reads_a_byte_per_event_is_told_all_it_loses),
        needs::nothing(a_page_of_bars_that_is_slow_hears_the_newest_and_no_word_of_those_between),
        needs::nothing(each_dialect_tells_who_is_too_slow_in_its_own_words),
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

const BARS: &str = r#"
[[server.endpoints]]
path = "/fastws"
dialect = "fastws"
streams = ["bars"]
[streams.ticks]
[broadcasters.bars]
plugin = "bars"
listen = ["ticks"]
settings = { source = "ticks", clock = "event", symbols = ["A"], resolutions = ["1"] }
"#;
/// Trades of one request.
const TRADES: u64 = 1000;

fn a_page_of_bars_that_is_slow_hears_the_newest_and_no_word_of_those_between() {
    let daemon = Daemon::start(BARS);
    let uri = format!("ws://{}/fastws", daemon.clients);
    let mut page = tungstenite::client(uri, raw::narrow(&daemon.clients)).unwrap().0;
    say(&mut page, r#"{"type":"bars.subscribe","payload":{"symbol":"A"}}"#);
    assert_eq!(hear_json(&mut page)["payload"]["status"], "ok");
    // All of one minute, each at a price of its own.
    let trade = |number: u64| {
        let data = json!({"symbol": "A", "time": 1_700_000_040_000_u64, "price": number, "size": 1});
        json!({"type": "tick", "topic": "ticks:A", "data": data})
    };
    let mut last = 0;
    until("newer ones take the place of those that wait", || {
        let trades: Vec<Value> = (last + 1..=last + TRADES).map(trade).collect();
        assert_eq!(daemon.publish("ticks", &json!(trades)).status, 202);
        last += TRADES;
        daemon.metric(r#"broadcastd_lagged_total{stream="bars",policy="latest"}"#).is_some()
    });
    raw::widen(page.get_ref());
    let (mut newest, mut heard) = (0, 0);
    while newest < last {
        let update = hear_json(&mut page);
        assert_eq!(update["type"], "bars.update", "there is no word for what is left out: {update}");
        let close = update["payload"]["close"].as_f64().unwrap() as u64;
        assert!(close > newest, "{close} after {newest}");
        (newest, heard) = (close, heard + 1);
    }
    assert!(heard < last, "each of {last} was told");
}

/// Beside the endpoint of server-sent events.
const DIALECTS: &str = r#"
[[server.endpoints]]
path = "/v1/sse"
dialect = "sse"
[[server.endpoints]]
path = "/streams"
dialect = "streams"
streams = ["ticks"]
[[server.endpoints]]
path = "/fastws"
dialect = "fastws"
streams = ["ticks"]
[[server.endpoints]]
path = "/spc"
dialect = "spc"
streams = ["ticks"]
[streams.ticks]
visible = true
lag = "resync"
template = "{symbol}"
[hub]
outbox = "64KiB"
"#;

fn each_dialect_tells_who_is_too_slow_in_its_own_words() {
    let daemon = Daemon::start(DIALECTS);
    let open = |path: &str, wish: &str, answers: usize| {
        let uri = format!("ws://{}{path}", daemon.clients);
        let mut client = tungstenite::client(uri, raw::narrow(&daemon.clients)).unwrap().0;
        say(&mut client, wish);
        (0..answers).for_each(|_| drop(hear_json(&mut client)));
        client
    };
    let mut page = open("/streams", r#"{"type":"subscribe","stream":"ticks"}"#, 3);
    let mut silent = [
        open("/fastws", r#"{"type":"ticks.subscribe","payload":{"symbol":"1"}}"#, 1),
        open("/spc", r#"{"type":"subscribe","characteristic_ids":[1]}"#, 1),
    ];
    let mut events = Events::open_on(raw::narrow(&daemon.clients), &daemon.clients, "topic=ticks", &[]);
    while events.next().event != "full_update" {}
    let event = json!({"type": "tick", "topic": "ticks:1", "key": "k", "data": {"pad": "x".repeat(60 << 10)}});
    let closed = || daemon.metric(r#"broadcastd_lagged_total{stream="ticks",policy="disconnect"}"#);
    let mut count = 0;
    until("all of them lag", || {
        assert_eq!(daemon.publish("ticks", &event).status, 202);
        count += 1;
        let shown = daemon.get("/v1/connections").json();
        let lag = shown["connections"].as_array().unwrap().iter().filter(|one| one["lagged"] != 0);
        let paths: Vec<&str> = lag.filter_map(|one| one["endpoint"].as_str()).collect();
        closed() == Some(2.0) && ["/streams", "/v1/sse"].iter().all(|path| paths.contains(path))
    });
    for socket in [page.get_ref(), silent[0].get_ref(), silent[1].get_ref(), events.socket()] {
        raw::widen(socket);
    }
    for client in &mut silent {
        assert_eq!(hear_close(client), (1013, "too far behind; resume by position".to_owned()), "no words for a gap");
    }
    let mut told = hear_json(&mut page);
    while told["type"] == "tick" {
        told = hear_json(&mut page);
    }
    let status = (&told["type"], &told["status"], &told["stream"], &told["data"]["stream"], &told["data"]["policy"]);
    assert_eq!(
        status,
        (&json!("status"), &json!("lagged"), &json!(""), &json!("ticks"), &json!("resync")),
        "what had a name of a stream there might be overlooked: {told}"
    );
    let shown = hear_json(&mut page);
    assert_eq!((&shown["type"], shown["data"]["records"].as_array().map(Vec::len)), (&json!("full_update"), Some(1)));
    let mut block = events.next();
    while block.event == "tick" {
        block = events.next();
    }
    let (lost, to) = (&block.data["data"], block.data["data"]["to"].as_u64().unwrap());
    assert_eq!((&*block.event, &lost["status"], &lost["policy"]), ("status", &json!("lagged"), &json!("resync")));
    assert!(lost["from"].as_u64() > Some(1) && to <= count, "{lost} of {count}");
    let shown = events.next();
    assert_eq!((&shown.data["resync"], &shown.data["seq"]), (&json!(true), &json!(to)));
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
