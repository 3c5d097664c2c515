//! The real daemon behind TLS: what clients hear is the same, and the certificate changes without one noticing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use broadcastd::websocket::deflate;
use libtest_mimic::Trial;
use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use socket2::SockRef;
use tungstenite::{Message, WebSocket};

use crate::alerts::blocks;
use crate::house::until;
use crate::http;
use crate::needs;
use crate::process::Daemon;
use crate::raw::{self, UPGRADE};
use crate::user_events::shipped;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(clients_hear_the_same_as_in_clear),
        needs::nothing(what_is_large_arrives_whole),
        needs::nothing(a_new_certificate_is_shown_to_who_comes_next),
        needs::nothing(a_certificate_that_is_none_is_refused_or_left_alone),
        needs::nothing(who_does_not_encrypt_is_turned_away_and_disturbs_nobody),
        needs::nothing(server_sent_events_are_encrypted_too),
        needs::nothing(who_takes_leave_and_goes_on_holds_up_nobody),
        needs::nothing(a_thousand_hear_what_was_compressed_once_and_encrypted_for_each),
        needs::nothing(a_proxy_speaks_before_encryption_begins),
        needs::nothing(one_that_stops_reading_lags_as_in_clear),
        needs::programs(&["openssl", "curl", "python3-websockets"], what_the_page_of_operators_shows_works),
        needs::nothing(a_greeting_shows_how_to_come_in_encrypted),
    ]
}

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

/// A certificate for localhost in the files that `CONFIG` names.
fn certify(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    replace(&folder.join("tls.key"), signing_key.serialize_pem().as_bytes());
    replace(&folder.join("tls.crt"), cert.pem().as_bytes());
    cert.der().clone()
}

/// As programs that renew certificates do: a new file renamed over the old one.
fn replace(file: &Path, bytes: &[u8]) {
    let new = file.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(new, file).unwrap();
}

fn config(folder: &Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    // The ports stand before it as `[server]` and `[admin]`.
    format!(
        "[streams.ticks]\nvisible = true\n[server.tls]\ncert = {:?}\nkey = {{ file = {:?} }}\n",
        path("tls.crt"),
        path("tls.key")
    )
}

struct House {
    daemon: Daemon,
    certificate: CertificateDer<'static>,
}

impl House {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = certify(folder.path());
        let config = config(folder.path());
        Self { daemon: Daemon::start_in(folder, &config, env), certificate }
    }

    fn dial(&self, trusted: &CertificateDer<'static>) -> Result<Encrypted, rustls::Error> {
        Self::encrypt(http::connect(&self.daemon.clients), trusted)
    }

    fn encrypt(mut socket: TcpStream, trusted: &CertificateDer<'static>) -> Result<Encrypted, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket).map_err(|error| rustls::Error::General(error.to_string()))?;
        }
        Ok(StreamOwned::new(session, socket))
    }

    fn connect(&self) -> WebSocket<Encrypted> {
        self.connect_by(http::connect(&self.daemon.clients))
    }

    fn connect_by(&self, socket: TcpStream) -> WebSocket<Encrypted> {
        let stream = Self::encrypt(socket, &self.certificate).unwrap();
        tungstenite::client("wss://localhost/v1/ws", stream).unwrap().0
    }

    fn subscriber(&self) -> WebSocket<Encrypted> {
        Self::subscribe(self.connect())
    }

    fn subscribe(mut client: WebSocket<Encrypted>) -> WebSocket<Encrypted> {
        client.send(Message::text(r#"{"type":"subscribe","stream":"ticks"}"#)).unwrap();
        let kinds: Vec<Value> = (0..3).map(|_| hear(&mut client)["type"].clone()).collect();
        assert_eq!(kinds, ["status", "response", "full_update"]);
        client
    }

    fn publish(&self, data: &Value) {
        assert_eq!(self.daemon.publish("ticks", &json!({"type": "tick", "data": data})).status, 202);
    }
}

fn hear(client: &mut WebSocket<Encrypted>) -> Value {
    loop {
        if let Message::Text(text) = client.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

fn clients_hear_the_same_as_in_clear() {
    let house = House::start();
    let mut clients: Vec<_> = (0..5).map(|_| house.subscriber()).collect();
    for n in 0..200 {
        house.publish(&json!({"n": n}));
    }
    for client in &mut clients {
        assert!((0..200).all(|n| hear(client)["data"]["n"] == n));
        client.send(Message::text(r#"{"type":"ping","id":1}"#)).unwrap();
        assert_eq!(hear(client)["data"]["status"], "pong");
        client.close(None).unwrap();
        let closed = loop {
            match client.read() {
                Ok(Message::Close(_)) => break true,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        assert!(closed);
    }
    until("all are gone", || {
        house.daemon.metric(r#"broadcastd_connections{endpoint="/v1/ws",dialect="native"}"#) == Some(0.0)
    });
}

fn what_is_large_arrives_whole() {
    let house = House::start();
    let mut client = house.subscriber();
    for size in [16_383, 16_384, 16_385, 65_535, 65_536, 500_000] {
        let text = "x".repeat(size);
        house.publish(&json!({"text": text}));
        assert_eq!(hear(&mut client)["data"]["text"], text, "{size}");
        let asked = format!(r#"{{"type":"ping","id":1,"pad":"{}"}}"#, "y".repeat(size.min(60_000)));
        client.send(Message::text(asked)).unwrap();
        assert_eq!(hear(&mut client)["data"]["status"], "pong", "{size}");
    }
}

fn a_new_certificate_is_shown_to_who_comes_next() {
    let house = House::start();
    let mut before = house.subscriber();
    let fresh = certify(house.daemon.folder.path());
    house.daemon.wait_for_log("the certificate was read again");
    until("the new one is shown", || house.dial(&fresh).is_ok());
    assert!(house.dial(&house.certificate).is_err(), "the old one is no longer shown");
    house.publish(&json!({"n": 1}));
    assert_eq!(hear(&mut before)["data"]["n"], 1, "who was there has not noticed");
    replace(&house.daemon.folder.path().join("tls.crt"), b"no certificate");
    house.daemon.wait_for_log("the one before stays");
    assert!(house.dial(&fresh).is_ok());
}

fn a_certificate_that_is_none_is_refused_or_left_alone() {
    let house = House::start();
    let text = config(house.daemon.folder.path());
    let refused = house.daemon.refuse(|| house.daemon.configure(&text.replace("tls.crt", "lost.crt")));
    assert!(refused.contains("`server.tls.cert`") && refused.contains("lost.crt cannot be used"), "{refused}");
    std::fs::write(house.daemon.folder.path().join("other.key"), "no key").unwrap();
    let refused = house.daemon.refuse(|| house.daemon.configure(&text.replace("tls.key", "other.key")));
    assert!(refused.contains("`server.tls.key`"), "{refused}");
    assert!(house.dial(&house.certificate).is_ok(), "what runs goes on");
    house.daemon.reload(|| house.daemon.configure("[streams.ticks]\nvisible = true\n"));
    assert!(house.dial(&house.certificate).is_err());
    assert_eq!(http::get(&house.daemon.clients, "/nowhere").status, 404, "it is in clear again");
}

fn who_does_not_encrypt_is_turned_away_and_disturbs_nobody() {
    let house = House::start();
    let mut client = house.subscriber();
    for bytes in [&b"GET /v1/ws HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff], &[0; 100]] {
        let mut socket = http::connect(&house.daemon.clients);
        socket.write_all(bytes).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        _ = socket.read_to_end(&mut Vec::new());
    }
    let refused = r#"broadcastd_connections_refused_total{reason="tls"}"#;
    until("they are counted", || house.daemon.metric(refused) == Some(3.0));
    house.publish(&json!({"n": 1}));
    assert_eq!(hear(&mut client)["data"]["n"], 1);
}

fn who_takes_leave_and_goes_on_holds_up_nobody() {
    let house = House::start();
    let mut client = house.subscriber();
    let mut gone: Vec<_> = (0..8).map(|_| house.connect()).collect();
    for leaving in &mut gone {
        let stream = leaving.get_mut();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        stream.sock.write_all(&[0x17, 3, 3, 0, 1, 0]).unwrap(); // what would be another record
    }
    for n in 0..3 {
        house.publish(&json!({"n": n}));
        assert_eq!(hear(&mut client)["data"]["n"], n);
        let mut newcomer = house.subscriber();
        house.publish(&json!({"n": n}));
        assert_eq!((&hear(&mut newcomer)["data"]["n"], &hear(&mut client)["data"]["n"]), (&json!(n), &json!(n)));
    }
}

fn server_sent_events_are_encrypted_too() {
    let house = House::start();
    let mut stream = house.dial(&house.certificate).unwrap();
    stream.write_all(b"GET /v1/sse?topic=ticks HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "event: full_update"));
    house.publish(&json!({"n": 7}));
    assert!(lines.any(|line| line.starts_with("data: ") && line.contains(r#""n":7"#)));
}

/// A client that reads frames by itself, as compressed ones.
struct Compressed {
    stream: Encrypted,
    unread: Vec<u8>,
}

impl Compressed {
    fn subscribe(house: &House) -> Self {
        let mut stream = house.dial(&house.certificate).unwrap();
        let offer = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
        let head: String = UPGRADE.iter().chain([&offer]).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        stream.write_all(format!("GET /v1/ws HTTP/1.1\r\nHost: localhost\r\n{head}\r\n").as_bytes()).unwrap();
        let mut client = Self { stream, unread: Vec::new() };
        while !client.unread.windows(4).any(|window| window == b"\r\n\r\n") {
            client.read_more();
        }
        let end = client.unread.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(client.unread.drain(..end).collect()).unwrap();
        assert!(head.contains("sec-websocket-extensions: permessage-deflate"), "{head}");
        client.stream.write_all(&raw::frame(raw::TEXT, br#"{"type":"subscribe","stream":"ticks"}"#)).unwrap();
        (0..3).for_each(|_| _ = client.message());
        client
    }

    /// The next text, and whether it came compressed.
    fn message(&mut self) -> (String, bool) {
        const DEFLATED: u8 = 0x40;
        loop {
            let length = match self.unread.get(1) {
                Some(126) if self.unread.len() >= 4 => {
                    Some((4, usize::from(u16::from_be_bytes([self.unread[2], self.unread[3]]))))
                }
                Some(short @ 0..=125) => Some((2, usize::from(*short))),
                _ => None,
            };
            let Some((header, length)) = length.filter(|(header, length)| self.unread.len() >= header + length) else {
                self.read_more();
                continue;
            };
            let first = self.unread[0];
            let payload: Vec<u8> = self.unread.drain(..header + length).skip(header).collect();
            let is_deflated = first & DEFLATED != 0;
            let text = if is_deflated { deflate::inflate(&payload, 1 << 20).unwrap() } else { payload };
            return (String::from_utf8(text).unwrap(), is_deflated);
        }
    }

    fn read_more(&mut self) {
        let mut piece = [0; 16 << 10];
        let count = self.stream.read(&mut piece).unwrap();
        assert!(count > 0, "the connection ended");
        self.unread.extend_from_slice(&piece[..count]);
    }
}

fn a_thousand_hear_what_was_compressed_once_and_encrypted_for_each() {
    const EVENTS: usize = 20;
    let house = House::start();
    let mut clients: Vec<Compressed> = (0..1000).map(|_| Compressed::subscribe(&house)).collect();
    for n in 0..EVENTS {
        house.publish(&json!({"n": n, "text": format!("{n} again ").repeat(100)}));
        house.publish(&json!({"n": n}));
    }
    for client in &mut clients {
        for n in 0..EVENTS {
            let (long, is_deflated) = client.message();
            let long: Value = serde_json::from_str(&long).unwrap();
            assert!(is_deflated && long["data"]["n"] == n && long["seq"] == 2 * n + 1);
            let (short, is_deflated) = client.message();
            let short: Value = serde_json::from_str(&short).unwrap();
            assert!(!is_deflated && short["data"] == json!({"n": n}), "what is small is not compressed");
        }
    }
}

fn a_proxy_speaks_before_encryption_begins() {
    let house = House::start_with(&[("BROADCASTD_SERVER__PROXY_PROTOCOL", "true")]);
    let mut socket = http::connect(&house.daemon.clients);
    socket.write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n").unwrap();
    let stream = House::encrypt(socket, &house.certificate).unwrap();
    let mut client = tungstenite::client("wss://localhost/v1/ws", stream).unwrap().0;
    assert_eq!(hear(&mut client)["data"]["status"], "connected");
    let shown = http::get(&house.daemon.admin, "/v1/connections").json();
    assert_eq!(shown["connections"][0]["peer"], "203.0.113.7");
    assert!(house.dial(&house.certificate).is_err(), "without a head nothing is agreed on");
}

/// What is encrypted can no longer be dropped, so little of it is made ahead of the socket.
fn one_that_stops_reading_lags_as_in_clear() {
    /// Events of 8 KiB: more than the sockets on both sides, what is encrypted ahead and the outbox take together.
    const MOST: u64 = 100;
    let house = House::start_with(&[("BROADCASTD_HUB__OUTBOX", "64KiB")]);
    let socket = http::connect(&house.daemon.clients);
    SockRef::from(&socket).set_recv_buffer_size(1).unwrap(); // the kernel makes it its least
    let mut slow = House::subscribe(house.connect_by(socket));
    let mut fast = house.subscriber();
    for n in 1..=MOST {
        house.publish(&json!({"pad": "x".repeat(8 << 10)}));
        assert_eq!(hear(&mut fast)["seq"], n);
    }
    let lagged = r#"broadcastd_lagged_total{stream="ticks",policy="resync"}"#;
    until("it lags", || house.daemon.metric(lagged) >= Some(1.0));
    let (mut known, mut losses) = (0, 0);
    while known < MOST {
        let message = hear(&mut slow);
        if message["type"] == "tick" {
            known += 1;
            assert_eq!(message["seq"], known);
        } else {
            let told = &message["data"];
            assert_eq!((&told["status"], &told["from"]), (&json!("lagged"), &json!(known + 1)), "{message}");
            known = told["to"].as_u64().unwrap();
            assert_eq!(hear(&mut slow)["seq"], known, "the records then");
            losses += 1;
        }
    }
    assert!(losses > 0);
}

fn what_the_page_of_operators_shows_works() {
    let blocks = blocks("docs/operating.md", "\n## TLS");
    let [(_, certify), (_, table), (_, events), (_, socket)] = blocks.try_into().expect("four blocks to paste");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(&path).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    assert!(shell(&certify).status().unwrap().success());
    let daemon = Daemon::start_in(folder, &format!("{}\n{table}", shipped("")), &[]);
    let port = daemon.clients.rsplit_once(':').unwrap().1;
    for (line, said) in [(&events, "event: full_update"), (&socket, "\"status\":\"connected\"")] {
        let line = format!("exec env {}", line.replace("localhost:8080", &format!("localhost:{port}")));
        // A program that reads what is typed has to be left in doubt whether there is more.
        let mut child = shell(&line).stdin(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let is_said = lines.any(|line| line.contains(said));
        _ = child.kill();
        _ = child.wait();
        assert!(is_said, "{line}");
    }
}

fn a_greeting_shows_how_to_come_in_encrypted() {
    let house = House::start();
    let (greeting, clients) = (house.daemon.greeting(), &house.daemon.clients);
    for shown in [format!("  clients   wss://{clients}/v1/ws "), format!("npx wscat -c wss://{clients}/v1/ws ")] {
        assert!(greeting.contains(&shown), "{greeting}");
    }
    assert!(!greeting.contains("ws://") && greeting.contains(&format!("http://{}/readyz", house.daemon.admin)));
}
