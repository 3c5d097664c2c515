//! Clients that others wrote do the same with the real daemon and see the same: `ws`, Chromium and tungstenite.

mod event_source;
mod originals;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Message, Utf8Bytes};

use crate::house::{Client, hear, hear_close, hear_json, say};
use crate::http::PATIENCE;
use crate::needs;
use crate::process::Daemon;
use crate::raw;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::program("node-ws", ws_sees_what_it_should),
        needs::program("chromium-headless-shell", chromium_sees_what_it_should),
        needs::nothing(tungstenite_sees_what_it_should),
        needs::program("node-ws", originals::the_printed_bars_client_runs_in_node),
        needs::program("chromium-headless-shell", originals::the_printed_bars_client_runs_in_chromium),
        needs::program("node-ws", originals::two_users_hear_their_own_and_nothing_else),
        needs::program(
            "chromium-headless-shell",
            event_source::an_event_source_comes_back_by_itself_and_misses_nothing,
        ),
        needs::nothing(originals::who_shows_no_valid_token_is_refused_before_the_upgrade),
        needs::nothing(originals::a_flood_of_what_is_ignored_ends_the_connection),
    ]
}

const SCENARIO: &str = include_str!("foreign/scenario.js");
const MAX_MESSAGE: usize = 131_072;
const CONFIG: &str = "[hub]\nmax_message = \"128KiB\"\n[streams.ticks]\nvisible = true\n";

/// What every client tells of the beginning, and then. A close without a code is answered with 1000.
const OPEN_BY_PROGRAMS: &[&str] = &[r#"open "broadcastd.v1" "permessage-deflate" connected"#];
const OPEN_BY_BROWSERS: &[&str] =
    &[r#"open "broadcastd.v1" "permessage-deflate; server_no_context_takeover; client_no_context_takeover" connected"#];
const SEEN: &[&str] = &[
    "sent 0: invalid_json -",
    "sent 125: pong n125",
    "sent 126: pong n126",
    "sent 127: pong n127",
    "sent 65535: pong n65535",
    "sent 65536: pong n65536",
    "sent 131072: pong n131072",
    "came 125",
    "came 126",
    "came 127",
    "came the first 1",
    "came 65535 2",
    "came 65536 3",
    "text grüße, 10 €, 😀",
    "binary invalid_message",
    r#"left without a code: 1000 "" clean"#,
    r#"left 1000: 1000 "" clean"#,
    r#"left 3000: 3000 "" clean"#,
    r#"left 4999: 4999 "" clean"#,
    r#"too long: 1009 "message too big" clean"#,
    r#"too long, and left: 1009 "message too big" clean"#,
];
/// What only those can do who write frames.
const SEEN_BY_PROGRAMS: &[&str] = &["cuts 45 of 45", r#"no text: 1007 "text is not utf-8" clean"#];
const SEEN_LAST: &[&str] = &["ready", r#"shut down: 1001 "shutting down; retry in … ms" clean"#, "end"];

/// A daemon that has published three events, the last two as long as frames of either kind of length.
fn daemon() -> Daemon {
    let daemon = Daemon::start(CONFIG);
    let publish = |pad: usize| {
        let event = json!({"type": "tick", "topic": format!("ticks:{pad}"), "data": {"pad": "x".repeat(pad)}});
        assert_eq!(daemon.publish("ticks", &event).status, 202);
    };
    let mut first = daemon.subscriber("ticks");
    publish(10_000);
    let around = first_text(&mut first).len() - 10_000;
    publish(65_535 - around);
    publish(65_536 - around);
    daemon
}

fn first_text(client: &mut Client) -> Utf8Bytes {
    loop {
        if let Message::Text(text) = client.read().unwrap() {
            return text;
        }
    }
}

/// Takes lines by POST, and gives the page that tells them.
struct Clerk {
    address: String,
    lines: Receiver<String>,
}

impl Clerk {
    fn start(page: impl FnOnce(&str) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (sender, lines) = channel();
        let page = page(&address);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (sender, page) = (sender.clone(), page.clone());
                std::thread::spawn(move || answer(socket, &page, &sender));
            }
        });
        Self { address, lines }
    }

    /// Everything that is told; at `ready` the daemon is asked to stop.
    fn transcript(self, daemon: &Daemon) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        while told.last().is_none_or(|line| line != "end") {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else { panic!("nothing more after {told:#?}") };
            if line == "ready" {
                daemon.signal("TERM");
            }
            told.push(line);
        }
        told
    }
}

/// One request, one connection.
fn answer(mut socket: TcpStream, page: &str, lines: &Sender<String>) {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut piece = [0; 4096];
        let Ok(count @ 1..) = socket.read(&mut piece) else { return };
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lower = head.to_ascii_lowercase();
        let length = lower.split_once("content-length: ").map_or("0", |(_, rest)| rest.lines().next().unwrap());
        if body.len() >= length.parse().unwrap() {
            break (head.to_owned(), body.to_owned());
        }
    };
    let said = if head.starts_with("POST ") {
        lines.send(body).unwrap();
        ""
    } else {
        page
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n";
    // Whoever does not wait for the answer does not need it.
    _ = socket.write_all(format!("{head}Content-Length: {}\r\n\r\n{said}", said.len()).as_bytes());
}

/// A program that ends with its test, and whatever it has started with it: Chromium's is a script.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.0);
        _ = kill_process_group(group, Signal::KILL);
        _ = self.0.wait();
    }
}

fn run(command: &mut Command) -> Running {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(silent.process_group(0).spawn().unwrap())
}

fn ws_sees_what_it_should() {
    let daemon = daemon();
    let clerk = Clerk::start(|_| String::new());
    let script = format!("{SCENARIO}run(require('ws'), process.argv[1], process.argv[2]);");
    let url = format!("ws://{}/v1/ws", daemon.clients);
    let _node = run(Command::new("node").args(["-e", &script, &url, &clerk.address]));
    assert_eq!(clerk.transcript(&daemon), [OPEN_BY_PROGRAMS, SEEN, SEEN_BY_PROGRAMS, SEEN_LAST].concat());
}

fn chromium_sees_what_it_should() {
    let daemon = daemon();
    let url = format!("ws://{}/v1/ws", daemon.clients);
    let clerk = Clerk::start(|told| {
        format!("<!doctype html><script>{SCENARIO}run(WebSocket, \"{url}\", \"{told}\");</script>")
    });
    let profile = tempfile::tempdir().unwrap();
    // Without the sandbox, because tests may run as root; the port keeps it from ending when the page is there.
    let _browser = run(Command::new("chromium-headless-shell")
        .args(["--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(&clerk.address));
    assert_eq!(clerk.transcript(&daemon), [OPEN_BY_BROWSERS, SEEN, SEEN_LAST].concat());
}

fn tungstenite_sees_what_it_should() {
    let daemon = daemon();
    let mut told = Vec::new();
    let mut client = daemon.connect();
    for length in [0, 125, 126, 127, 65_535, 65_536, MAX_MESSAGE] {
        let text = if length == 0 { String::new() } else { raw::ping(&format!("\"n{length}\""), length) };
        say(&mut client, &text);
        let said = hear_json(&mut client);
        let what = said["data"]["status"].as_str().or(said["data"]["code"].as_str()).unwrap();
        told.push(format!("sent {length}: {what} {}", said["id"].as_str().unwrap_or("-")));
    }
    told.extend(sizes_that_come(&mut client));
    say(&mut client, &raw::ping("\"grüße, 10 €, 😀\"", 0));
    told.push(format!("text {}", hear_json(&mut client)["id"].as_str().unwrap()));
    client.send(Message::binary(&b"\x01\x02\x03"[..])).unwrap();
    told.push(format!("binary {}", hear_json(&mut client)["data"]["code"].as_str().unwrap()));
    for code in [None, Some(1000), Some(3000), Some(4999)] {
        let mut leaving = daemon.connect();
        leaving.close(code.map(|code| CloseFrame { code: code.into(), reason: "bis später".into() })).unwrap();
        let name = code.map_or("without a code".to_owned(), |code: u16| code.to_string());
        told.push(format!("left {name}: {}", end(leaving)));
    }
    let long = raw::ping("\"long\"", MAX_MESSAGE + 1);
    let mut too_long = daemon.connect();
    say(&mut too_long, &long);
    told.push(format!("too long: {}", end(too_long)));
    let mut both = daemon.connect();
    say(&mut both, &long);
    both.close(Some(CloseFrame { code: 4000.into(), reason: "at the same time".into() })).unwrap();
    told.push(format!("too long, and left: {}", end(both)));
    told.push(cuts(&mut client));
    let mut bad = daemon.connect();
    bad.send(Message::Frame(Frame::message(&b"a\xff"[..], OpCode::Data(Data::Text), true))).unwrap();
    told.push(format!("no text: {}", end(bad)));
    daemon.signal("TERM");
    told.push(format!("shut down: {}", without_pause(&end(client))));
    let seen = [SEEN, SEEN_BY_PROGRAMS, &SEEN_LAST[1..2]].concat(); // all but what is about reporting
    assert_eq!(told, seen);
}

/// Answers and events of exact lengths.
fn sizes_that_come(client: &mut Client) -> Vec<String> {
    let mut told = Vec::new();
    say(client, &raw::ping("\"\"", 0));
    let shortest = first_text(client).len();
    for length in [125, 126, 127] {
        say(client, &raw::ping(&format!("\"{}\"", "x".repeat(length - shortest)), 0));
        told.push(format!("came {}", first_text(client).len()));
    }
    say(client, r#"{"type":"subscribe","stream":"ticks"}"#);
    let epoch = hear_json(client)["data"]["epoch"].take();
    hear(client); // the snapshot
    say(client, r#"{"type":"unsubscribe","stream":"ticks"}"#);
    hear(client);
    let since = json!({"type": "subscribe", "stream": "ticks", "since": {"epoch": epoch, "seq": 0}});
    say(client, &since.to_string());
    assert_eq!(hear_json(client)["data"]["recovered"], true);
    for event in 1..=3 {
        let text = first_text(client);
        let length = if event == 1 { "the first".to_owned() } else { text.len().to_string() };
        let seq = serde_json::from_str::<Value>(&text).unwrap()["seq"].take();
        told.push(format!("came {length} {seq}"));
    }
    told
}

/// A text in two fragments, cut at every byte, with a ping between.
fn cuts(client: &mut Client) -> String {
    let id = "grüße, 10 €, 😀";
    let text = raw::ping(&format!("\"{id}\""), 0).into_bytes();
    let mut right = 0;
    for at in 0..=text.len() {
        let (head, tail) = (text[..at].to_vec(), text[at..].to_vec());
        client.send(Message::Frame(Frame::message(head, OpCode::Data(Data::Text), false))).unwrap();
        client.send(Message::Ping("between".into())).unwrap();
        client.send(Message::Frame(Frame::message(tail, OpCode::Data(Data::Continue), true))).unwrap();
        let ponged = matches!(client.read().unwrap(), Message::Pong(payload) if &payload[..] == b"between");
        right += usize::from(ponged && hear_json(client)["id"] == id);
    }
    format!("cuts {right} of {}", text.len() + 1)
}

/// How the connection ended, in the words of a browser.
fn end(mut client: Client) -> String {
    let (code, reason) = hear_close(&mut client);
    let clean = match client.read() {
        Err(tungstenite::Error::ConnectionClosed) => "clean",
        _ => "unclean",
    };
    format!("{code} \"{reason}\" {clean}")
}

/// With `…` for the pause that the daemon asks for.
fn without_pause(end: &str) -> String {
    let (before, after) = end.split_once("retry in ").unwrap();
    format!("{before}retry in … {}", after.split_once(' ').unwrap().1)
}
