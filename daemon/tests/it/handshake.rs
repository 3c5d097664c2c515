//! Requests for a WebSocket, right ones and wrong ones, as bytes to the real daemon: what RFC 6455 §4 and HTTP ask for.

use libtest_mimic::Trial;

use crate::http;
use crate::needs;
use crate::process::Daemon;
use crate::raw::{self, Raw, UPGRADE};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(every_request_is_answered_by_the_rules),
        needs::nothing(a_refused_request_may_be_followed_by_a_right_one),
        needs::nothing(what_follows_a_request_is_heard_however_much_it_is),
    ]
}

/// A request, and what the head of its answer begins with and says.
struct Row {
    name: &'static str,
    request: String,
    status: u16,
    /// Headers that the answer must have; with the value `None`, that it must not.
    headers: Vec<(&'static str, Option<&'static str>)>,
}

const LINE: &str = "GET /v1/ws HTTP/1.1";
const HOST: (&str, &str) = ("Host", "localhost");
/// What opens a WebSocket beside the host, by name so that rows can replace it.
const VERSION: &str = "Sec-WebSocket-Version";
const KEY: &str = "Sec-WebSocket-Key";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

impl Row {
    /// The right request but for these headers, which replace those of their name.
    fn with(name: &'static str, headers: &[(&str, &str)], status: u16) -> Self {
        let replaced = |known: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(known));
        let kept = UPGRADE.iter().chain([&HOST]).filter(|(name, _)| !replaced(name));
        let head: String = kept.chain(headers).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Self { name, request: format!("{LINE}\r\n{head}\r\n"), status, headers: vec![] }
    }

    /// The right request without this header.
    fn without(name: &'static str, header: &str, status: u16) -> Self {
        let row = Self::with(name, &[], status);
        let kept: Vec<&str> =
            row.request.split("\r\n").filter(|line| !line.starts_with(&format!("{header}: "))).collect();
        Self { request: kept.join("\r\n"), ..row }
    }

    /// The right request with another first line.
    fn line(line: &'static str, status: u16) -> Self {
        let row = Self::with(line, &[], status);
        Self { request: row.request.replacen(LINE, line, 1), ..row }
    }

    fn says(mut self, header: &'static str, value: &'static str) -> Self {
        self.headers.push((header, Some(value)));
        self
    }

    fn lacks(mut self, header: &'static str) -> Self {
        self.headers.push((header, None));
        self
    }
}

fn lines() -> Vec<Row> {
    vec![
        Row::line(LINE, 101)
            .says("connection", "upgrade")
            .says("upgrade", "websocket")
            .says("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            .lacks(EXTENSIONS)
            .lacks(PROTOCOL),
        Row::line("GET /v1/ws?token=a%20b HTTP/1.1", 401),
        Row::line("GET http://localhost/v1/ws HTTP/1.1", 101),
        Row::line("GET ws://localhost/v1/ws?x HTTP/1.1", 101),
        Row::line("GET /v1/ws/ HTTP/1.1", 404),
        Row::line("GET /v1/%77s HTTP/1.1", 404),
        Row::line("GET //v1/ws HTTP/1.1", 404),
        Row::line("GET http://localhost HTTP/1.1", 404),
        Row::line("OPTIONS * HTTP/1.1", 404),
        Row::line("POST /v1/ws HTTP/1.1", 405).says("allow", "GET"),
        Row::line("HEAD /v1/ws HTTP/1.1", 405).says("allow", "GET"),
        Row::line("OPTIONS /v1/ws HTTP/1.1", 405).says("allow", "GET"),
        Row::line("get /v1/ws HTTP/1.1", 405).says("allow", "GET"),
        Row::line("GET /v1/ws HTTP/1.0", 400),
        Row::line("GET /v1/ws HTTP/2.0", 400),
        Row::line("GET /v1/ws", 400),
        Row::line("GET  /v1/ws HTTP/1.1", 400),
        Row::line("GET /v1/ws x HTTP/1.1", 400),
        Row::line("\u{16}\u{3}\u{1}\u{2}", 400),
    ]
}

fn upgrades() -> Vec<Row> {
    let wrong = |name, headers: &[(&str, &str)]| Row::with(name, headers, 426).says("upgrade", "websocket");
    vec![
        Row::with("names in any case", &[("UPGRADE", "WebSocket"), ("connection", "uPGRADE")], 101),
        Row::with("in a list", &[("Connection", "keep-alive , Upgrade"), ("Upgrade", "h2c,websocket")], 101),
        Row::with("in a list of two headers", &[("Connection", "keep-alive"), ("Connection", "Upgrade")], 101),
        Row::with("in a list with empty members", &[("Connection", ",, Upgrade ,")], 101),
        wrong("another protocol", &[("Upgrade", "h2c")]),
        wrong("a longer word", &[("Upgrade", "websockets")]),
        wrong("a version that nobody defined", &[("Upgrade", "websocket/13")]),
        wrong("a connection to keep", &[("Connection", "keep-alive")]),
        wrong("a connection to close", &[("Connection", "close")]),
        wrong("two words that are none of a list", &[("Connection", "keep-alive Upgrade")]),
        Row::without("no Upgrade", "Upgrade", 426).says("upgrade", "websocket"),
        Row::without("no Connection", "Connection", 426).says("upgrade", "websocket"),
    ]
}

fn versions_and_keys() -> Vec<Row> {
    let version = |name, headers: &[(&str, &str)]| Row::with(name, headers, 426).says(VERSION, "13");
    vec![
        Row::with("a version in spaces", &[(VERSION, "  13\t")], 101),
        version("an older version", &[(VERSION, "8")]),
        version("an unknown version", &[(VERSION, "14")]),
        version("a version of another spelling", &[(VERSION, "013")]),
        version("two versions in a list", &[(VERSION, "13, 8")]),
        version("two versions in two headers", &[(VERSION, "8"), (VERSION, "13")]),
        version("a version twice", &[(VERSION, "13"), (VERSION, "13")]),
        version("an empty version", &[(VERSION, "")]),
        Row::without("no version", VERSION, 426).says(VERSION, "13"),
        Row::with("a key with its last bits set", &[(KEY, "AQIDBAUGBwgJCgsMDQ4PEC==")], 101),
        Row::with("a key of 15 bytes", &[(KEY, "AAAAAAAAAAAAAAAAAAAA")], 400),
        Row::with("a key of 17 bytes", &[(KEY, "AAAAAAAAAAAAAAAAAAAAAAA=")], 400),
        Row::with("a key that is no base64", &[(KEY, "?GhlIHNhbXBsZSBub25jZQ==")], 400),
        Row::with("a key without padding", &[(KEY, "dGhlIHNhbXBsZSBub25jZQ")], 400),
        Row::with("an empty key", &[(KEY, "")], 400),
        Row::with("two keys", &[(KEY, "dGhlIHNhbXBsZSBub25jZQ=="), (KEY, "AQIDBAUGBwgJCgsMDQ4PEC==")], 400),
        Row::without("no key", KEY, 400),
    ]
}

fn subprotocols_and_extensions() -> Vec<Row> {
    const OURS: &str = "broadcastd.v1";
    let offered = "permessage-deflate; client_max_window_bits, permessage-deflate; server_no_context_takeover";
    vec![
        Row::with("our subprotocol", &[(PROTOCOL, OURS)], 101).says(PROTOCOL, OURS),
        Row::with("ours among others", &[(PROTOCOL, "chat, broadcastd.v1")], 101).says(PROTOCOL, OURS),
        Row::with("ours in a second header", &[(PROTOCOL, "chat"), (PROTOCOL, OURS)], 101).says(PROTOCOL, OURS),
        Row::with("subprotocols of others", &[(PROTOCOL, "chat, BROADCASTD.V1")], 101).lacks(PROTOCOL),
        Row::with("an empty list of subprotocols", &[(PROTOCOL, "")], 101).lacks(PROTOCOL),
        Row::with("a list of commas", &[(PROTOCOL, ",,")], 101).lacks(PROTOCOL),
        Row::with("compression", &[(EXTENSIONS, offered)], 101)
            .says(EXTENSIONS, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        Row::with("an unknown extension", &[(EXTENSIONS, "x-nobody")], 101).lacks(EXTENSIONS),
        Row::with("extensions that are none", &[(EXTENSIONS, ";;=\"")], 101).lacks(EXTENSIONS),
        Row::with("extensions twice", &[(EXTENSIONS, "a"), (EXTENSIONS, "b")], 101).lacks(EXTENSIONS),
    ]
}

fn heads_and_bodies() -> Vec<Row> {
    let long = "x".repeat(20 << 10);
    let many: Vec<(String, &str)> = (0..200).map(|number| (format!("X-{number}"), "x")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    vec![
        Row::without("no Host", "Host", 400),
        Row::with("two Hosts", &[("Host", "localhost"), ("Host", "127.0.0.1")], 400),
        Row::with("a foreign Host", &[("Host", "a.example")], 421),
        Row::with("no body, and said so", &[("Content-Length", "0")], 101),
        Row::with("a body", &[("Content-Length", "5")], 400),
        Row::with("a body in chunks", &[("Transfer-Encoding", "chunked")], 400),
        Row::with("a body of two lengths", &[("Content-Length", "0"), ("Content-Length", "5")], 400),
        Row::with("a body of no length", &[("Content-Length", "-1")], 400),
        Row::with("a head too long", &[("X-Long", &long)], 431),
        Row::with("too many headers", &many, 431),
        Row::with("a header with a space in its name", &[("X Long", "x")], 400),
        Row::with("a header that goes on in a second line", &[("X-Long", "x\r\n y")], 400),
        Row::with("a header with a NUL", &[("X-Long", "a\0b")], 400),
        Row::with("a page of this machine", &[("Origin", "http://localhost:5173")], 101),
        Row::with("a page from elsewhere", &[("Origin", "https://example.com")], 403),
    ]
}

fn every_request_is_answered_by_the_rules() {
    let daemon = Daemon::start("");
    let rows = [lines(), upgrades(), versions_and_keys(), subprotocols_and_extensions(), heads_and_bodies()];
    let mut wrong = Vec::new();
    for Row { name, request, status, headers } in rows.into_iter().flatten() {
        let mut raw = Raw::on(http::connect(&daemon.clients));
        raw.send(request.as_bytes());
        let head = raw.head();
        let answered = head.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = http::Answer { status: answered, head, body: String::new() };
        let is_so = answer.status == status && headers.iter().all(|(header, value)| answer.header(header) == *value);
        if !is_so {
            wrong.push(format!("{name}: not {status} {headers:?} but {}", answer.head));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn a_refused_request_may_be_followed_by_a_right_one() {
    let daemon = Daemon::start("");
    let mut raw = Raw::on(http::connect(&daemon.clients));
    for (header, value, status) in [(VERSION, "8", 426), (KEY, "", 400), ("Upgrade", "h2c", 426)] {
        raw.send(Row::with("wrong", &[(header, value)], status).request.as_bytes());
        let answer = http::read(&mut raw.socket);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &"bad_handshake".into()));
    }
    raw.send(&raw::request(&daemon.clients));
    assert!(raw.head().starts_with("HTTP/1.1 101 "));
    assert!(raw.text().contains("connected"));
    let refused = daemon.metric("broadcastd_connections_refused_total{reason=\"handshake\"}");
    assert_eq!(refused, Some(3.0));
}

/// More than is read ahead of an answer, and cut anywhere: the requests arrive whole and in order.
fn what_follows_a_request_is_heard_however_much_it_is() {
    const PINGS: usize = 4000;
    let daemon = Daemon::start(&format!("[hub]\n{}\n", raw::UNHURRIED));
    let request = raw::request(&daemon.clients);
    let pings: Vec<u8> =
        (0..PINGS).flat_map(|id| raw::frame(raw::TEXT, raw::ping(&id.to_string(), 80).as_bytes())).collect();
    assert!(pings.len() > 4 * (64 << 10));
    let mut raw = Raw::on(http::connect(&daemon.clients));
    raw.send(&[request, pings].concat());
    assert!(raw.head().starts_with("HTTP/1.1 101 "));
    assert!(raw.text().contains("connected"));
    for id in 0..PINGS {
        assert!(raw.text().contains(&format!("\"id\":{id}}}")), "{id}");
    }
}
