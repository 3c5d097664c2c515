//! Lines over HTTP: published as they arrive, without end, and told at the end, also when that comes too early.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Barrier};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::house::until;
use crate::http::{connect, post, read};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(lines_are_published_before_the_body_has_ended),
        needs::nothing(a_body_may_be_longer_than_any_one_request),
        needs::nothing(a_body_that_is_cut_tells_what_was_accepted),
        needs::nothing(a_line_that_is_too_long_is_rejected_alone),
        needs::nothing(so_many_rejections_are_told_and_the_rest_counted),
        needs::nothing(fifty_producers_at_once_lose_nothing_and_keep_their_order),
    ]
}

const LINES: &str = "application/x-ndjson";
const PATH: &str = "/v1/streams/ticks/publish";
const LINE: &str = "{\"type\":\"a\"}\n";

fn start() -> Daemon {
    Daemon::start("[streams.ticks]\nvisible = true\n")
}

fn told(daemon: &Daemon, body: &[u8]) -> (u16, Value) {
    let answer = post(&daemon.admin, PATH, LINES, body);
    (answer.status, answer.json())
}

/// The number of the stream's last event.
fn seq(daemon: &Daemon) -> Value {
    daemon.get("/v1/streams/ticks").json()["position"]["seq"].take()
}

/// A request whose body is sent in chunks, and which has not ended.
fn begin(address: &str) -> TcpStream {
    let mut socket = connect(address);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {LINES}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket
}

fn send(socket: &mut TcpStream, chunk: &str) {
    write!(socket, "{:x}\r\n{chunk}\r\n", chunk.len()).unwrap();
}

fn lines_are_published_before_the_body_has_ended() {
    let daemon = start();
    let mut socket = begin(&daemon.admin);
    send(&mut socket, "{\"type\":\"a\"}\n{\"type\":");
    until("the whole line is published", || seq(&daemon) == 1);
    send(&mut socket, "\"b\"}\n");
    until("so is the second", || seq(&daemon) == 2);
    write!(socket, "0\r\n\r\n").unwrap();
    let answer = read(&mut socket);
    let told = answer.json();
    assert_eq!((answer.status, &told["accepted"], &told["rejected"]), (202, &json!(2), &json!([])));
    assert_eq!(told["position"], daemon.get("/v1/streams/ticks").json()["position"]);
}

fn a_body_may_be_longer_than_any_one_request() {
    let daemon = start();
    let event = format!("{{\"type\":\"a\",\"data\":{{\"x\":\"{}\"}}}}\n", "y".repeat(100_000));
    let (status, told) = told(&daemon, event.repeat(100).as_bytes());
    assert_eq!((status, &told["accepted"]), (202, &json!(100)));
    let (status, told) = self::told(&daemon, LINE.repeat(100_001).as_bytes());
    assert_eq!((status, &told["accepted"]), (202, &json!(100_001)));
    assert_eq!(seq(&daemon), 100_101);
}

fn a_body_that_is_cut_tells_what_was_accepted() {
    let daemon = start();
    let mut socket = begin(&daemon.admin);
    send(&mut socket, "{\"type\":\"a\"}\n{\"type\":\"b\"}\n{\"type\":\"c\"}");
    socket.shutdown(Shutdown::Write).unwrap();
    let answer = read(&mut socket);
    let told = answer.json();
    assert_eq!((answer.status, &told["accepted"], &told["position"]["seq"]), (400, &json!(2), &json!(2)), "{told}");
    let cut = json!([{"index": 2, "pointer": "", "error": "the body ended in the middle of this line; send it again"}]);
    assert_eq!((&told["rejected"], &told["error"]["code"]), (&cut, &json!("unreadable_body")));
    assert_eq!(seq(&daemon), 2, "a line without its end is no whole line");
    let (status, told) = self::told(&daemon, b"{\"type\":\"a\"}\n{\"type\":");
    assert_eq!((status, &told["accepted"], &told["rejected"][0]["index"]), (207, &json!(1), &json!(1)));
}

fn a_line_that_is_too_long_is_rejected_alone() {
    const MAX_LINE_BYTES: usize = 1 << 20;
    let daemon = start();
    let line = |bytes: usize| {
        const AROUND: &str = "{\"type\":\"a\",\"data\":{\"x\":\"\"}}";
        AROUND.replace("\"\"", &format!("\"{}\"", "y".repeat(bytes - AROUND.len()))) + "\n"
    };
    let body = [LINE, &line(MAX_LINE_BYTES), &line(MAX_LINE_BYTES + 1), LINE].concat();
    let (status, told) = told(&daemon, body.as_bytes());
    let rejected = json!([{"index": 2, "pointer": "", "error": "a line has at most 1048576 bytes"}]);
    assert_eq!((status, &told["accepted"], &told["rejected"]), (207, &json!(3), &rejected));
}

fn so_many_rejections_are_told_and_the_rest_counted() {
    let daemon = start();
    let (status, told) = self::told(&daemon, format!("{}{LINE}", "7\n".repeat(1000)).as_bytes());
    assert_eq!((status, told["rejected"].as_array().unwrap().len()), (207, 1000));
    assert!(told["more_rejected"].is_null(), "none more");
    let (status, told) = self::told(&daemon, format!("{}{LINE}", "7\n".repeat(1500)).as_bytes());
    assert_eq!((status, told["rejected"].as_array().unwrap().len()), (207, 1000));
    assert_eq!((&told["more_rejected"], &told["accepted"]), (&json!(500), &json!(1)));
}

fn fifty_producers_at_once_lose_nothing_and_keep_their_order() {
    const PRODUCERS: u64 = 50;
    const EVENTS: u64 = 10;
    let daemon = start();
    let mut client = daemon.subscriber("ticks");
    let all_at_once = Arc::new(Barrier::new(usize::try_from(PRODUCERS).unwrap()));
    let producers = (0..PRODUCERS).map(|producer| {
        let (at_once, address) = (all_at_once.clone(), daemon.admin.clone());
        std::thread::spawn(move || {
            let mut socket = begin(&address);
            at_once.wait();
            for number in 0..EVENTS {
                let data = format!("{{\"producer\":{producer},\"number\":{number}}}");
                send(&mut socket, &format!("{{\"type\":\"tick\",\"data\":{data}}}\n"));
            }
            write!(socket, "0\r\n\r\n").unwrap();
            let answer = read(&mut socket);
            assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(EVENTS)));
        })
    });
    producers.collect::<Vec<_>>().into_iter().for_each(|producer| producer.join().unwrap());
    let numbers = crate::ingest_socket::heard(&mut client, PRODUCERS * EVENTS);
    let expected: Vec<u64> = (0..EVENTS).collect();
    assert!((0..PRODUCERS).all(|producer| numbers[&producer] == expected), "{numbers:?}");
}
