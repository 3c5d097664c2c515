//! How connections end, as bytes on sockets of the real daemon: every code in both directions, and both sides at once.

use libtest_mimic::Trial;
use serde_json::json;

use crate::house;
use crate::http;
use crate::needs;
use crate::process::Daemon;
use crate::raw::{self, BINARY, CLOSE, FIN, PING, PONG, Raw, TEXT, frame, unmasked};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(every_close_of_a_client_is_answered),
        needs::nothing(every_violation_is_answered_with_its_code),
        needs::nothing(what_is_no_violation_closes_nothing),
        needs::nothing(a_message_as_long_as_may_be_is_heard_and_a_longer_one_closes),
        needs::nothing(a_client_that_cannot_keep_up_is_told_to_come_back),
        needs::nothing(when_both_sides_close_the_first_code_stands),
        needs::nothing(what_follows_a_close_is_not_heard),
    ]
}

const MAX_MESSAGE: usize = 128;
const SMALL: &str = "[hub]\nmax_message = \"128B\"\n[streams.ticks]\nvisible = true\n";

/// What each client sends, with the code and the reason of the daemon's close frame; then the daemon ends the socket.
fn ends_with(daemon: &Daemon, rows: Vec<(String, Vec<u8>, (u16, &str))>) {
    for (name, bytes, (code, reason)) in rows {
        let mut raw = Raw::greeted(&daemon.clients);
        raw.send(&bytes);
        assert_eq!(raw.close(), (code, reason.to_owned()), "{name}");
        raw.ends();
    }
    house::until("nobody is connected", || connections(daemon) == 0.0);
}

fn connections(daemon: &Daemon) -> f64 {
    daemon.metric("broadcastd_connections{endpoint=\"/v1/ws\",dialect=\"native\"}").unwrap()
}

/// As many as ended with this code, or with any of those that clients make up.
fn closes(daemon: &Daemon, code: u16) -> f64 {
    let code = if code < 3000 { code.to_string() } else { "3000-4999".to_owned() };
    daemon.metric(&format!("broadcastd_closes_total{{code=\"{code}\"}}")).unwrap_or_default()
}

fn every_close_of_a_client_is_answered() {
    const ALLOWED: [u16; 17] =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4001, 4999];
    const FORBIDDEN: [u16; 11] = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65_535];
    let daemon = Daemon::start(SMALL);
    let longest = "*".repeat(123);
    let mut rows: Vec<(String, Vec<u8>, (u16, &str))> = Vec::new();
    for code in ALLOWED {
        rows.push((format!("{code}"), raw::close(code, b""), (code, "")));
        rows.push((format!("{code} with a reason"), raw::close(code, "so lange: tschüß".as_bytes()), (code, "")));
    }
    for code in FORBIDDEN {
        rows.push((format!("{code}"), raw::close(code, b"why"), (1002, "close code that must not be sent")));
    }
    rows.push(("no code".into(), frame(CLOSE, b""), (1000, "")));
    rows.push(("the longest reason".into(), raw::close(1000, longest.as_bytes()), (1000, "")));
    rows.push(("one byte".into(), frame(CLOSE, b"\x03"), (1002, "close payload of one byte")));
    let too_long = raw::close(1000, format!("{longest}*").as_bytes());
    rows.push(("a reason too long".into(), too_long, (1002, "control frame of more than 125 bytes")));
    for reason in [&b"\xff"[..], b"\xce\xba\xed\xa0\x80", b"cut \xe2\x82"] {
        rows.push((format!("{reason:x?}"), raw::close(1000, reason), (1007, "close reason is not utf-8")));
    }
    rows.push(("in two fragments".into(), frame(CLOSE & !FIN, b""), (1002, "fragmented control frame")));
    ends_with(&daemon, rows);
    for code in ALLOWED.into_iter().filter(|code| ![1000, 1002, 1007].contains(code)) {
        let alike = ALLOWED.iter().filter(|other| **other == code || **other >= 3000 && code >= 3000).count();
        assert_eq!(closes(&daemon, code), 2.0 * alike as f64, "{code}");
    }
    let counted = [closes(&daemon, 1000), closes(&daemon, 1002), closes(&daemon, 1007), closes(&daemon, 1005)];
    assert_eq!(counted, [3.0, 2.0 + FORBIDDEN.len() as f64 + 3.0, 5.0, 1.0], "1005 is a close without a code");
}

fn every_violation_is_answered_with_its_code() {
    let daemon = Daemon::start(SMALL);
    let mut rows: Vec<(String, Vec<u8>, (u16, &str))> = Vec::new();
    for bits in [0x40, 0x20, 0x10, 0x70] {
        for opcode in [TEXT, BINARY, FIN, PING, PONG, CLOSE] {
            let name = format!("reserved bits {bits:x} on {opcode:x}");
            rows.push((name, frame(opcode | bits, b""), (1002, "reserved bit set without an extension")));
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        rows.push((format!("opcode {opcode}"), frame(FIN | opcode, b""), (1002, "reserved opcode")));
    }
    for opcode in [TEXT, PING, CLOSE] {
        rows.push((format!("{opcode:x} unmasked"), unmasked(opcode, b"{}"), (1002, "client frame without a mask")));
    }
    for opcode in [PING, PONG] {
        let reason = "control frame of more than 125 bytes";
        rows.push((format!("{opcode:x} of 126 bytes"), frame(opcode, &[0; 126]), (1002, reason)));
        rows.push((format!("{opcode:x} in parts"), frame(opcode & !FIN, b""), (1002, "fragmented control frame")));
    }
    let begun = frame(TEXT & !FIN, b"{");
    let alone = "continuation of no message";
    let inside = "new message before the last one ended";
    rows.push(("a last fragment alone".into(), frame(FIN, b"}"), (1002, alone)));
    rows.push(("a fragment alone".into(), frame(0, b"}"), (1002, alone)));
    rows.push(("a text inside a text".into(), [&begun[..], &frame(TEXT, b"{}")].concat(), (1002, inside)));
    rows.push(("a binary inside a text".into(), [&begun[..], &frame(BINARY, b"{}")].concat(), (1002, inside)));
    let shortest = "payload length not in its shortest form";
    rows.push(("125 in two bytes".into(), vec![TEXT, 0xfe, 0, 125], (1002, shortest)));
    rows.push(("65535 in eight bytes".into(), vec![TEXT, 0xff, 0, 0, 0, 0, 0, 0, 255, 255], (1002, shortest)));
    let top = "payload length with the highest bit set";
    rows.push(("a negative length".into(), [&[TEXT, 0xff, 0x80][..], &[0; 7]].concat(), (1002, top)));
    let not_text = "text is not utf-8";
    rows.push(("text that is none".into(), frame(TEXT, b"\xff"), (1007, not_text)));
    let cut = [frame(TEXT & !FIN, b"\xe2\x82"), frame(0, b""), frame(FIN, b"A")].concat();
    rows.push(("a character broken over fragments".into(), cut, (1007, not_text)));
    rows.push(("told before the last fragment".into(), frame(TEXT & !FIN, b"\xc0\xaf"), (1007, not_text)));
    rows.push(("a character that does not end".into(), frame(TEXT, b"\xe2\x82"), (1007, not_text)));
    let long = vec![b' '; MAX_MESSAGE];
    let long = [frame(BINARY & !FIN, &long), frame(PING, b""), frame(FIN, b" ")].concat();
    rows.push(("too long in fragments".into(), long, (1009, "message too big")));
    let announced = [&[TEXT, 0xff, 0x7f][..], &[0xff; 7], &[0; 4]].concat();
    rows.push(("announced to be huge".into(), announced, (1009, "message too big")));
    let codes = [1002, 1007, 1009];
    let expected = codes.map(|code| rows.iter().filter(|(.., (row, _))| *row == code).count() as f64);
    ends_with(&daemon, rows);
    assert_eq!(codes.map(|code| closes(&daemon, code)), expected);
}

fn what_is_no_violation_closes_nothing() {
    let daemon = Daemon::start(SMALL);
    let mut raw = Raw::greeted(&daemon.clients);
    raw.send(&frame(PONG, b"that nobody asked for"));
    raw.send(&frame(PING, &[0xff; 125]));
    assert_eq!(raw.frame(), (PONG, vec![0xff; 125]));
    raw.send(&frame(PING, b""));
    assert_eq!(raw.frame(), (PONG, vec![]));
    raw.send(&[frame(TEXT & !FIN, b""), frame(0, b""), frame(FIN, b"")].concat());
    assert!(raw.text().contains("the message is empty"));
    raw.send(&frame(BINARY, b"{}"));
    assert!(raw.text().contains("binary messages are not understood"));
    raw.say(&raw::ping("\"still\"", 30));
    assert!(raw.text().contains("\"id\":\"still\""));
}

fn a_message_as_long_as_may_be_is_heard_and_a_longer_one_closes() {
    let daemon = Daemon::start(SMALL);
    let mut raw = Raw::greeted(&daemon.clients);
    raw.say(&raw::ping("1", MAX_MESSAGE));
    assert!(raw.text().contains("\"id\":1}"));
    let exactly = raw::ping("2", MAX_MESSAGE);
    for at in 0..=MAX_MESSAGE {
        let (head, tail) = exactly.as_bytes().split_at(at);
        raw.send(&[frame(TEXT & !FIN, head), frame(PING, b"between"), frame(FIN, tail)].concat());
        assert_eq!(raw.frame(), (PONG, b"between".to_vec()));
        assert!(raw.text().contains("\"id\":2}"), "cut at {at}");
    }
    raw.say(&raw::ping("3", MAX_MESSAGE + 1));
    assert_eq!(raw.close(), (1009, "message too big".to_owned()));
    raw.ends();
}

fn a_client_that_cannot_keep_up_is_told_to_come_back() {
    let daemon = Daemon::start("[hub]\noutbox = \"64KiB\"\n[streams.ticks]\nvisible = true\nlag = \"disconnect\"\n");
    let mut slow = Raw::open_on(raw::narrow(&daemon.clients), &daemon.clients);
    slow.say(r#"{"type":"subscribe","stream":"ticks"}"#);
    while !slow.text().contains("full_update") {}
    let event = json!({"type": "tick", "data": {"pad": "x".repeat(60 << 10)}});
    house::until("it has lagged", || {
        assert_eq!(daemon.publish("ticks", &event).status, 202);
        closes(&daemon, 1013) == 1.0
    });
    raw::widen(&slow.socket);
    assert_eq!(slow.close(), (1013, "too far behind; resume by position".to_owned()));
    slow.send(&raw::close(1013, b""));
    slow.ends();
    house::until("nobody is connected", || connections(&daemon) == 0.0);
}

/// The daemon's close frame is on its way when the client's comes: it is the answer, whatever its code.
fn when_both_sides_close_the_first_code_stands() {
    let daemon = Daemon::start("[streams.ticks]\nvisible = true\n");
    let mut clients: Vec<Raw> = (0..10).map(|_| Raw::greeted(&daemon.clients)).collect();
    daemon.signal("TERM");
    for client in &mut clients {
        let mut first = [0];
        assert_eq!(client.socket.peek(&mut first).unwrap(), 1); // it is there, and not read
        assert_eq!(first, [CLOSE]);
        client.send(&[frame(PING, b"late"), raw::close(4000, b"at the same time")].concat());
    }
    for mut client in clients {
        let (code, reason) = client.close();
        assert!(code == 1001 && reason.starts_with("shutting down; retry in "), "{code} {reason}");
        client.ends();
    }
    let (status, _folder) = daemon.wait();
    assert_eq!(status.code(), Some(0));
}

fn what_follows_a_close_is_not_heard() {
    let daemon = Daemon::start(SMALL);
    let mut raw = Raw::greeted(&daemon.clients);
    let late = [frame(PING, b"late"), frame(TEXT, b"{\"type\":\"ping\"}"), raw::close(1012, b""), vec![0xff; 100]];
    raw.send(&[raw::close(4999, b""), late.concat()].concat());
    assert_eq!(raw.frame(), (CLOSE, 4999_u16.to_be_bytes().to_vec()));
    raw.drain();
    assert_eq!((closes(&daemon, 4999), closes(&daemon, 1012), closes(&daemon, 1002)), (1.0, 0.0, 0.0));
    assert_eq!(http::get(&daemon.clients, "/v1/ws").status, 426, "the daemon goes on");
}
