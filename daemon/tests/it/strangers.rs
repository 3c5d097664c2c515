//! Ten thousand who never become clients, by every mistake that a handshake can have, beside one that misses nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use libtest_mimic::Trial;
use serde_json::json;

use crate::abuse::{SLACK, all_is_as_before, descriptors, resident};
use crate::house::{self, Client, hear_json, until};
use crate::http;
use crate::needs;
use crate::process::Daemon;
use crate::raw::{self, UPGRADE};

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(ten_thousand_bad_handshakes_disturb_nobody_and_leave_nothing_behind)]
}

const CONFIG: &str = "[hub]\nheader_timeout = \"1s\"\n[streams.ticks]\nvisible = true\n\
    [auth]\njwt = { secret = { env = \"SECRET\" } }\n";
const SECRET: (&str, &str) = ("SECRET", "a secret for tests, 32 bytes long");

/// What a stranger sends, how it goes on, and the status of the answer that it waits for; 0 for one that waits for none.
type Stranger = (String, End, u16);

#[derive(Clone, Copy)]
enum End {
    /// Reads the answer.
    Answer,
    /// Closes its side, and reads to the end.
    Close,
    Reset,
    /// Says nothing more, and reads to the end.
    Silence,
}

fn strangers() -> Vec<Stranger> {
    let head = |changes: &[(&str, &str)]| {
        let kept = UPGRADE.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        let lines: String = kept.chain(changes).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("GET /v1/ws HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
    };
    let whole = head(&[]);
    let huge = "x".repeat(20 << 10);
    vec![
        (head(&[("Upgrade", "h2c")]), End::Answer, 426),
        (head(&[("Sec-WebSocket-Version", "8")]), End::Answer, 426),
        (head(&[("Sec-WebSocket-Version", "8")]), End::Reset, 0),
        (head(&[("Sec-WebSocket-Key", "")]), End::Answer, 400),
        (whole.replace("Sec-WebSocket-Key", "X-Key"), End::Answer, 400),
        (head(&[("X-Huge", &huge)]), End::Answer, 431),
        (head(&[("X-Bad", "a\0b")]), End::Answer, 400),
        (head(&[("Origin", "https://example.com")]), End::Answer, 403),
        (head(&[("Authorization", "Bearer opensesame")]), End::Answer, 401),
        (head(&[("Authorization", "Bearer ")]), End::Answer, 400),
        (head(&[("Content-Length", "5")]), End::Reset, 0),
        (whole.replace("/v1/ws", "/v1/ws?token=opensesame"), End::Answer, 401),
        (whole.replace("/v1/ws", "/nowhere"), End::Answer, 404),
        (whole.replace("GET", "POST"), End::Answer, 405),
        (whole.replace("HTTP/1.1", "HTTP/1.0"), End::Answer, 400),
        (whole.replace("Host: localhost\r\n", ""), End::Answer, 400),
        (whole[..whole.len() / 2].to_owned(), End::Close, 0),
        (whole[..whole.len() / 2].to_owned(), End::Reset, 0),
        (whole[..whole.len() - 2].to_owned(), End::Silence, 0),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}".to_owned(), End::Answer, 400),
        (String::new(), End::Close, 0),
        (String::new(), End::Reset, 0),
    ]
}

/// Everybody once, none of whom gets in; who waits in silence does so beside the others.
fn visit(address: &str, strangers: &[Stranger]) {
    let mut silent = Vec::new();
    for (sent, end, status) in strangers {
        let mut socket = http::connect(address);
        socket.write_all(sent.as_bytes()).unwrap();
        match end {
            End::Answer => assert_eq!(http::read(&mut socket).status, *status, "{sent:.200}"),
            End::Close => {
                socket.shutdown(Shutdown::Write).unwrap();
                read_to_end(&mut socket);
            }
            End::Reset => raw::reset(socket),
            End::Silence => silent.push(socket),
        }
    }
    silent.iter_mut().for_each(read_to_end);
}

/// Whatever is said, it is no upgrade.
fn read_to_end(socket: &mut impl Read) {
    let mut said = Vec::new();
    match socket.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    assert!(!said.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&said));
}

fn publish(daemon: &Daemon, n: usize) {
    assert_eq!(daemon.publish("ticks", &json!({"type": "tick", "data": {"n": n}})).status, 202);
}

fn hears(client: &mut Client, n: usize) {
    assert_eq!(hear_json(client)["data"]["n"], n);
}

fn ten_thousand_bad_handshakes_disturb_nobody_and_leave_nothing_behind() {
    /// How many visit at once.
    const GROUPS: usize = 20;
    /// Of all strangers together, so that those who wait in silence wait beside each other.
    const MANY: usize = 10_000;
    let daemon = Daemon::start_with(CONFIG, &[SECRET]);
    let mut client = daemon.subscriber("ticks");
    let strangers = strangers();
    let rounds = MANY.div_ceil(GROUPS * strangers.len());
    let (mut published, mut settled) = (0, 0);
    let before = descriptors(&daemon);
    for round in 0..=rounds {
        std::thread::scope(|scope| {
            let groups: Vec<_> = (0..GROUPS).map(|_| scope.spawn(|| visit(&daemon.clients, &strangers))).collect();
            // At least one for each, and on until all have gone.
            while published <= round || groups.iter().any(|group| !group.is_finished()) {
                publish(&daemon, published);
                hears(&mut client, published);
                published += 1;
            }
        });
        if round == 0 {
            settled = resident(&daemon); // what is allocated once
        }
    }
    let visits = ((rounds + 1) * GROUPS) as f64;
    let refused = |reason: &str| {
        daemon.metric(&format!("broadcastd_connections_refused_total{{reason=\"{reason}\"}}")).unwrap_or_default()
    };
    until("all are counted", || refused("header_timeout") >= visits);
    let waited = |status: &[u16]| strangers.iter().filter(|(.., expected)| status.contains(expected)).count() as f64;
    assert_eq!((refused("origin"), refused("identity")), (visits * waited(&[403]), visits * waited(&[401])));
    assert!(refused("handshake") >= visits * waited(&[426]), "{}", refused("handshake"));
    house::say(&mut client, r#"{"type":"unsubscribe","topic":"ticks"}"#);
    assert_eq!(hear_json(&mut client)["data"]["status"], "unsubscribed", "nothing more came");
    until("the descriptors are closed", || descriptors(&daemon) <= before);
    let grown = resident(&daemon).saturating_sub(settled);
    assert!(grown < SLACK, "{grown} bytes stay");
    client.close(None).unwrap();
    while client.read().is_ok() {}
    all_is_as_before(&daemon, before);
    drop(daemon.subscriber("ticks"));
    let log = daemon.log_text();
    assert!(!log.contains("\"ERROR\"") && !log.contains("panicked"), "{log}");
}
