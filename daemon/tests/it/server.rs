//! Clients on real sockets: what they say and hear, who gets in, and what reloads do to them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use broadcastd::server::Config;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Message, WebSocket};

use crate::house::{self, Client, House, hear, hear_close, say};
use crate::http::{self, ask, get};
use crate::needs;
use crate::process::Daemon;
use crate::raw::{TEXT, UPGRADE, frame, unmasked};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_client_subscribes_hears_events_and_unsubscribes),
        needs::nothing(a_stream_without_source_says_so),
        needs::nothing(one_message_may_hold_two_requests),
        needs::nothing(what_comes_with_the_request_is_heard),
        needs::nothing(bad_handshakes_say_what_is_missing),
        needs::nothing(unknown_paths_are_told_the_valid_ones),
        needs::nothing(a_head_too_long_or_too_slow_ends_the_connection),
        needs::nothing(a_client_that_reads_no_answers_is_cut_off),
        needs::nothing(the_time_for_http_does_not_bind_a_lagging_client),
        needs::nothing(pages_of_foreign_origins_are_refused),
        needs::nothing(the_last_place_is_given_back),
        needs::nothing(this_machine_is_exempt_from_the_limit_per_address),
        needs::nothing(a_message_too_big_closes),
        needs::nothing(a_frame_without_mask_closes),
        needs::nothing(text_that_is_not_utf_8_closes),
        needs::nothing(fragments_and_binary_messages_are_answered),
        needs::nothing(errors_do_not_close),
        needs::nothing(a_silent_client_is_pinged_and_dropped),
        needs::nothing(a_client_that_answers_pings_stays),
        needs::nothing(a_close_is_answered_with_its_code),
        needs::nothing(a_reload_adds_and_removes_addresses_and_disturbs_nobody),
        needs::nothing(a_reload_changes_endpoints_for_new_connections_only),
        needs::nothing(addresses_that_cannot_be_listened_on_say_what_to_do),
        needs::nothing(a_unix_socket_serves_and_its_file_goes_with_it),
        needs::nothing(a_drain_ends_connections_and_lets_nobody_in),
    ]
}

/// With the streams `ticks` (outside programs) and `bars` (a broadcaster that does not run).
const STREAMS: &str = "[streams.ticks]\nvisible = true\n[broadcasters.bars]\nplugin = \"faulty\"\nenabled = false\n";

fn start() -> Daemon {
    Daemon::start(STREAMS)
}

/// With these lines of `[hub]`.
fn start_with(hub: &str) -> Daemon {
    Daemon::start(&format!("{STREAMS}[hub]\n{hub}\n"))
}

fn publish(daemon: &Daemon, topic: &str, data: &Value) {
    let event = json!({"type": "tick", "topic": format!("ticks:{topic}"), "data": data});
    assert_eq!(daemon.publish("ticks", &event).status, 202);
}

fn a_client_subscribes_hears_events_and_unsubscribes() {
    let daemon = start();
    let mut client = daemon.connect();
    say(&mut client, r#"{"type":"subscribe","topic":"ticks:AAPL","id":"1"}"#);
    let epoch = daemon.get("/v1/streams/ticks").json()["position"]["epoch"].as_str().unwrap().to_owned();
    let mut hears = || hear(&mut client).replace(&epoch, "e1");
    assert_eq!(
        hears(),
        r#"{"type":"response","stream":"ticks","session_id":null,"data":{"status":"subscribed","topic":"ticks:AAPL","epoch":"e1","recovered":false},"timestamp":"…","seq":0,"id":"1"}"#
    );
    assert_eq!(
        hears(),
        r#"{"type":"full_update","stream":"ticks","session_id":null,"data":{},"timestamp":"…","seq":0,"epoch":"e1","topic":"ticks:AAPL"}"#
    );
    publish(&daemon, "GOOGL", &json!({"price": 1}));
    publish(&daemon, "AAPL", &json!({"price": 2}));
    publish(&daemon, "AAPL", &json!({"price": 3}));
    assert_eq!(
        hear(&mut client),
        r#"{"type":"tick","stream":"ticks","session_id":null,"data":{"price":2},"timestamp":"…","seq":2,"topic":"ticks:AAPL"}"#
    );
    assert_eq!(
        hear(&mut client),
        r#"{"type":"tick","stream":"ticks","session_id":null,"data":{"price":3},"timestamp":"…","seq":3,"prev":2,"topic":"ticks:AAPL"}"#
    );
    say(&mut client, r#"{"type":"unsubscribe","topic":"ticks:AAPL","id":"2"}"#);
    assert_eq!(
        hear(&mut client),
        r#"{"type":"response","stream":"ticks","session_id":null,"data":{"status":"unsubscribed","topic":"ticks:AAPL"},"timestamp":"…","id":"2"}"#
    );
    publish(&daemon, "AAPL", &json!({"price": 4}));
    say(&mut client, r#"{"type":"ping","id":"3"}"#);
    assert_eq!(
        hear(&mut client),
        r#"{"type":"status","stream":"system","session_id":null,"data":{"status":"pong"},"timestamp":"…","id":"3"}"#
    );
    client.send(Message::Close(None)).unwrap();
    house::until("the place is given back", || daemon.get("/v1/streams/ticks").json()["subscriptions"] == 0);
}

fn subscribe(client: &mut Client, topic: &str) {
    say(client, &format!(r#"{{"type":"subscribe","topic":"{topic}"}}"#));
    assert!(hear(client).contains(r#""status":"subscribed""#));
    assert!(hear(client).starts_with(r#"{"type":"full_update""#));
}

fn still_answers(client: &mut Client) {
    say(client, r#"{"type":"ping","id":"still"}"#);
    let said = hear(client);
    assert!(said.contains(r#""status":"pong""#) && said.contains(r#""id":"still""#), "{said}");
}

fn a_stream_without_source_says_so() {
    let daemon = start();
    let mut client = daemon.connect();
    subscribe(&mut client, "bars:AAPL:1");
    assert_eq!(
        hear(&mut client),
        r#"{"type":"status","stream":"bars","session_id":null,"data":{"status":"no_source","reason":"the broadcaster is disabled"},"timestamp":"…"}"#
    );
}

fn one_message_may_hold_two_requests() {
    let daemon = start();
    let mut client = daemon.connect();
    say(&mut client, "{\"type\":\"ping\",\"id\":1}\n{\"type\":\"streams\",\"id\":2}\n");
    assert_eq!(
        hear(&mut client),
        r#"{"type":"status","stream":"system","session_id":null,"data":{"status":"pong"},"timestamp":"…","id":1}"#
    );
    assert_eq!(
        hear(&mut client),
        r#"{"type":"response","stream":"system","session_id":null,"data":{"status":"streams","streams":["bars","ticks"]},"timestamp":"…","id":2}"#
    );
}

fn write(client: &mut Client, bytes: &[u8]) {
    client.get_mut().write_all(bytes).unwrap();
}

fn what_comes_with_the_request_is_heard() {
    let daemon = start();
    let address = &daemon.clients;
    let mut socket = http::connect(address);
    let request = http::request(address, "GET /v1/ws HTTP/1.1", &UPGRADE, b"");
    let ping = frame(TEXT, br#"{"type":"ping","id":"early"}"#);
    socket.write_all(&[request, ping].concat()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    assert!(String::from_utf8(head).unwrap().contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    let mut client = WebSocket::from_raw_socket(socket, Role::Client, None);
    assert!(hear(&mut client).contains(r#""status":"connected""#));
    assert!(hear(&mut client).contains(r#""id":"early""#));
}

fn bad_handshakes_say_what_is_missing() {
    let daemon = start();
    let without = |name: &str, more: &[(&'static str, &'static str)]| {
        let headers: Vec<_> =
            UPGRADE.into_iter().filter(|(known, _)| *known != name).chain(more.iter().copied()).collect();
        ask(&daemon.clients, "GET /v1/ws HTTP/1.1", &headers, b"")
    };
    let no_key = without("Sec-WebSocket-Key", &[]);
    assert_eq!(
        (no_key.status, no_key.body.as_str()),
        (
            400,
            r#"{"error":{"code":"bad_handshake","message":"Sec-WebSocket-Key must be given once and be 16 bytes in base64"}}"#
        )
    );
    let old = without("Sec-WebSocket-Version", &[("Sec-WebSocket-Version", "12")]);
    assert_eq!((old.status, old.header("sec-websocket-version")), (426, Some("13")));
    let plain = get(&daemon.clients, "/v1/ws");
    assert_eq!((plain.status, plain.header("upgrade")), (426, Some("websocket")));
    assert_eq!(
        plain.json()["error"]["message"],
        "this path speaks websocket: send Connection: upgrade and Upgrade: websocket"
    );
    let posted = ask(&daemon.clients, "POST /v1/ws HTTP/1.1", &UPGRADE, b"");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET")));
}

fn unknown_paths_are_told_the_valid_ones() {
    let daemon = start();
    for headers in [&[][..], &UPGRADE] {
        let unknown = ask(&daemon.clients, "GET /ws?token=secret HTTP/1.1", headers, b"");
        assert_eq!(
            (unknown.status, unknown.body.as_str()),
            (
                404,
                r#"{"error":{"code":"unknown_path","message":"nothing is at /ws; valid paths: /v1/ws (native), /v1/sse (sse), /v1/streams, /v1/streams/{stream}, /v1/streams/{stream}/snapshot, /v1/streams/{stream}/history, POST /v1/streams/{stream}/publish, POST /v1/broadcasters/{broadcaster}/commands/{command}, /api/state/snapshot, POST /v1/log, /v1/asyncapi.json, /v1/openapi.json"}}"#
            )
        );
    }
}

fn a_head_too_long_or_too_slow_ends_the_connection() {
    let daemon = start_with("header_timeout = \"100ms\"");
    let long = "x".repeat(20 << 10);
    assert_eq!(ask(&daemon.clients, "GET /v1/ws HTTP/1.1", &[("X-Long", &long)], b"").status, 431);
    let mut slow = http::connect(&daemon.clients);
    slow.write_all(b"GET /v1/ws HTTP/1.1\r\nHost: ").unwrap();
    let mut said = Vec::new();
    slow.read_to_end(&mut said).unwrap();
    assert!(!said.starts_with(b"HTTP/1.1 101"));
}

fn a_client_that_reads_no_answers_is_cut_off() {
    let daemon = start_with("header_timeout = \"300ms\"");
    let address = &daemon.clients;
    let mut greedy = http::connect(address);
    let requests = http::request(address, "GET /nope HTTP/1.1", &[("Connection", "keep-alive")], b"").repeat(1000);
    let error = loop {
        if let Err(error) = greedy.write_all(&requests) {
            break error;
        }
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

fn the_time_for_http_does_not_bind_a_lagging_client() {
    let daemon = start_with("header_timeout = \"100ms\"\nping = { every = \"100ms\" }");
    let (mut slow, mut clock) = (daemon.connect(), daemon.connect());
    subscribe(&mut slow, "ticks");
    let event = json!({"type": "tick", "data": {"x": "y".repeat(64 << 10)}});
    for _ in 0..6 {
        assert_eq!(daemon.publish("ticks", &json!(vec![&event; 50])).status, 202);
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        assert!(matches!(clock.read().unwrap(), Message::Ping(_)));
        clock.flush().unwrap();
    }
    while !hear(&mut slow).contains(r#""status":"lagged""#) {}
    say(&mut slow, r#"{"type":"ping","id":"still"}"#);
    while !hear(&mut slow).contains(r#""id":"still""#) {}
}

fn pages_of_foreign_origins_are_refused() {
    let listening = |origins: &str| {
        listening(&json!(["127.0.0.1:0"])).replacen("[admin]", &format!("origins = {origins}\n[admin]"), 1)
    };
    let daemon = start();
    daemon.reload(|| daemon.configure_whole(&listening("[\"https://example.com\"]")));
    let connect = |origin: &str| house::connect(&daemon.clients, &[("Origin", origin)]);
    for allowed in ["http://localhost:3000", "http://127.0.0.1", "https://example.com"] {
        assert!(connect(allowed).is_ok(), "{allowed}");
    }
    let refused = connect("https://other.example").err().unwrap();
    assert_eq!(
        (refused.status, refused.body.as_str()),
        (
            403,
            r#"{"error":{"code":"origin_refused","message":"pages of origin https://other.example may not connect; add it to server.origins in the configuration to allow it"}}"#
        )
    );
    daemon.reload(|| daemon.configure_whole(&listening("[\"*\"]")));
    assert!(connect("https://other.example").is_ok());
}

fn the_last_place_is_given_back() {
    let daemon = start_with("max_connections = 3");
    let mut clients: Vec<Client> = (0..3).map(|_| daemon.connect()).collect();
    let refused = house::connect(&daemon.clients, &[]).err().unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert_eq!(
        refused.json()["error"],
        json!({"code": "too_many_connections", "message": "there are 3 connections already, the most there may be (hub.max_connections)"})
    );
    drop(clients.pop());
    house::until("a place is free again", || match house::connect(&daemon.clients, &[]) {
        Ok(client) => {
            clients.push(client);
            true
        }
        Err(refused) => {
            assert_eq!(refused.status, 503);
            false
        }
    });
    assert_eq!(house::connect(&daemon.clients, &[]).err().unwrap().status, 503);
    clients.iter_mut().for_each(still_answers);
}

fn this_machine_is_exempt_from_the_limit_per_address() {
    let daemon = start_with("max_per_ip = 1");
    let mut clients = [daemon.connect(), daemon.connect()];
    clients.iter_mut().for_each(still_answers);
}

/// One client is closed with the code, and another one hears nothing of it.
fn closes_with(code: u16, reason: &str, misbehave: impl FnOnce(&mut Client)) {
    let daemon = start_with("max_message = 1000");
    let (mut bad, mut good) = (daemon.connect(), daemon.connect());
    subscribe(&mut good, "ticks");
    misbehave(&mut bad);
    assert_eq!(hear_close(&mut bad), (code, reason.to_owned()));
    publish(&daemon, "AAPL", &json!({}));
    assert!(hear(&mut good).starts_with(r#"{"type":"tick""#));
}

fn a_message_too_big_closes() {
    let exactly = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(1000 - 23));
    closes_with(1009, "message too big", |client| {
        say(client, &exactly);
        assert!(hear(client).contains("invalid_message"), "as long as may be, but for its id");
        say(client, &format!("{exactly} "));
    });
}

fn a_frame_without_mask_closes() {
    closes_with(1002, "client frame without a mask", |client| write(client, &unmasked(TEXT, br#"{"type":"ping"}"#)));
}

fn text_that_is_not_utf_8_closes() {
    closes_with(1007, "text is not utf-8", |client| write(client, &frame(TEXT, b"{\"type\":\"\xff\"}")));
}

fn fragments_and_binary_messages_are_answered() {
    let daemon = start();
    let mut client = daemon.connect();
    let text = br#"{"type":"subscribe","topic":"ticks:AAPL","id":"1"}"#;
    write(&mut client, &frame(0x01, &text[..9]));
    write(&mut client, &frame(0x89, b"between"));
    write(&mut client, &frame(0x00, b""));
    write(&mut client, &frame(0x80, &text[9..]));
    assert!(matches!(client.read().unwrap(), Message::Pong(payload) if &payload[..] == b"between"));
    assert!(hear(&mut client).contains(r#""status":"subscribed","topic":"ticks:AAPL""#));
    hear(&mut client);
    client.send(Message::binary(&b"{}"[..])).unwrap();
    assert_eq!(
        hear(&mut client),
        r#"{"type":"error","stream":"system","session_id":null,"data":{"code":"invalid_message","message":"binary messages are not understood; send JSON as text"},"timestamp":"…"}"#
    );
}

fn errors_do_not_close() {
    let daemon = start();
    let mut client = daemon.connect();
    let error = |stream: &str, code: &str, message: &str| {
        format!(
            r#"{{"type":"error","stream":"{stream}","session_id":null,"data":{{"code":"{code}","message":"{message}"}},"timestamp":"…"}}"#
        )
    };
    let rows = [
        ("nonsense", error("system", "invalid_json", "the message is not JSON: expected ident at line 1 column 2")),
        (
            r#"{"type":"subscribe","topic":"nope:A"}"#,
            error("nope", "unknown_stream", r#"unknown stream \"nope\"; valid streams: bars, ticks"#),
        ),
        (
            r#"{"type":"subscribe","topic":"ticks:A*"}"#,
            error("ticks", "invalid_params", r#"* stands for a whole part; in \"A*\" write %2A for a literal one"#),
        ),
        (r#"{"type":"unsubscribe","topic":"ticks:A"}"#, error("ticks", "not_subscribed", "not subscribed to ticks:A")),
    ];
    for (said, expected) in rows {
        say(&mut client, said);
        assert_eq!(hear(&mut client), expected, "{said}");
    }
    still_answers(&mut client);
}

fn a_silent_client_is_pinged_and_dropped() {
    let daemon = start_with("ping = { every = \"100ms\", drop_after = \"400ms\" }");
    let mut client = daemon.connect();
    // Read below the library, which would answer the pings.
    let mut said = Vec::new();
    client.get_mut().read_to_end(&mut said).unwrap();
    const PING: [u8; 2] = [0x89, 0];
    let close = [&[0x88, 21], &1001_u16.to_be_bytes()[..], b"silent for too long"].concat();
    assert!(said.starts_with(&PING) && said.ends_with(&close), "{said:?}");
}

fn a_client_that_answers_pings_stays() {
    let drop_after = Duration::from_millis(600);
    let daemon = start_with("ping = { every = \"100ms\", drop_after = \"600ms\" }");
    let mut client = daemon.connect();
    let start = Instant::now();
    while start.elapsed() < 2 * drop_after {
        assert!(matches!(client.read().unwrap(), Message::Ping(_)));
        client.flush().unwrap();
    }
    still_answers(&mut client);
}

fn a_close_is_answered_with_its_code() {
    let daemon = start();
    let mut client = daemon.connect();
    client.close(Some(CloseFrame { code: 4321.into(), reason: "done".into() })).unwrap();
    assert_eq!(hear_close(&mut client).0, 4321);
    assert!(matches!(client.read(), Err(tungstenite::Error::ConnectionClosed)));
}

/// The streams, on these addresses.
fn listening(addresses: &Value) -> String {
    format!("[server]\nlisten = {addresses}\n[admin]\nlisten = \"127.0.0.1:0\"\n{STREAMS}")
}

fn addresses(daemon: &Daemon) -> Vec<String> {
    serde_json::from_value(daemon.get("/v1/status").json()["listen"].take()).unwrap()
}

fn a_reload_adds_and_removes_addresses_and_disturbs_nobody() {
    let daemon = start();
    let first = &daemon.clients;
    let mut client = daemon.connect();
    subscribe(&mut client, "ticks");
    daemon.reload(|| daemon.configure_whole(&listening(&json!(["127.0.0.1:0", "127.0.0.2:0"]))));
    let both = addresses(&daemon);
    assert_eq!((both.len(), &both[0]), (2, first), "what was open stays as it was");
    let mut second = house::connect(&both[1], &[]).unwrap();
    daemon.reload(|| daemon.configure_whole(&listening(&json!(["127.0.0.2:0"]))));
    house::until("the first address is closed", || TcpStream::connect(first).is_err());
    assert_eq!(addresses(&daemon), both[1..]);
    still_answers(&mut second);
    publish(&daemon, "AAPL", &json!({}));
    assert!(hear(&mut client).starts_with(r#"{"type":"tick""#), "its listener is gone, it is not");
}

fn a_reload_changes_endpoints_for_new_connections_only() {
    let daemon = start();
    let mut client = daemon.connect();
    let other = "[[server.endpoints]]\npath = \"/other\"\nstreams = [\"bars\"]\n";
    daemon.reload(|| daemon.configure(&format!("{STREAMS}{other}")));
    subscribe(&mut client, "ticks");
    let refused = house::connect(&daemon.clients, &[]).err().unwrap();
    assert_eq!(
        (refused.status, &refused.json()["error"]["message"]),
        (
            404,
            &json!(
                "nothing is at /v1/ws; valid paths: /other (native), /v1/streams, /v1/streams/{stream}, /v1/streams/{stream}/snapshot, /v1/streams/{stream}/history, POST /v1/streams/{stream}/publish, POST /v1/broadcasters/{broadcaster}/commands/{command}, /api/state/snapshot, POST /v1/log, /v1/asyncapi.json, /v1/openapi.json"
            )
        )
    );
    let address = &daemon.clients;
    let mut new = house::open(http::connect(address), &format!("ws://{address}/other"), &[]).unwrap();
    say(&mut new, r#"{"type":"subscribe","topic":"ticks"}"#);
    assert!(hear(&mut new).contains(r#"unknown stream \"ticks\"; valid streams: bars"#));
}

fn addresses_that_cannot_be_listened_on_say_what_to_do() {
    let house = House::start();
    let mut client = house.connect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "not a socket").unwrap();
    let (taken, file) = (house.address(), format!("unix:{}", file.display()));
    let told = |address: &str| {
        let listen = vec!["127.0.0.1:0".to_owned(), "127.0.0.2:0".to_owned(), address.to_owned()];
        house.server.prepare(Config { listen, ..house::config() }).err().unwrap().to_string()
    };
    let in_use =
        "it is taken already; stop the program that listens there, or change server.listen in the configuration";
    assert_eq!(told(&taken), format!("cannot listen on {taken}: {in_use}"));
    assert_eq!(told(&file), format!("cannot listen on {file}: {in_use}"));
    assert_eq!(std::fs::read_to_string(&file["unix:".len()..]).unwrap(), "not a socket");
    assert_eq!(
        told("nonsense"),
        "cannot listen on nonsense: an address is HOST:PORT, like 127.0.0.1:8080, or unix:/PATH; see server.listen in the configuration"
    );
    assert_eq!(
        told("192.0.2.1:8080"),
        "cannot listen on 192.0.2.1:8080: this machine has no such address; change server.listen in the configuration"
    );
    for bad in
        ["127.0.0.1:99999", "127.0.0.1:http", ":8080x", "unix:/nowhere/at/all.sock", "unix:", "unix:relative.sock"]
    {
        assert!(told(bad).starts_with(&format!("cannot listen on {bad}: ")), "{bad}");
    }
    assert_eq!(house.server.addresses(), [taken], "a refused reload changes nothing");
    still_answers(&mut client);
}

fn a_unix_socket_serves_and_its_file_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left by a daemon that ended hard");
    let listen = format!("unix:{}", path.display());
    let daemon = start();
    daemon.reload(|| daemon.configure_whole(&listening(&json!([listen]))));
    assert_eq!(addresses(&daemon), [&*listen]);
    let socket = UnixStream::connect(&path).unwrap();
    socket.set_read_timeout(Some(http::PATIENCE)).unwrap();
    let mut client = house::open(socket, "ws://localhost/v1/ws", &[]).unwrap();
    house::subscribe(&mut client, "ticks");
    let other = start();
    let refused = other.refuse(|| other.configure_whole(&listening(&json!([listen]))));
    assert!(refused.contains("it is taken already"), "a socket that somebody answers at is not taken away: {refused}");
    daemon.reload(|| daemon.configure_whole(&listening(&json!(["127.0.0.1:0"]))));
    assert!(!path.exists());
    publish(&daemon, "AAPL", &json!({}));
    assert!(hear(&mut client).starts_with(r#"{"type":"tick""#));
}

fn a_drain_ends_connections_and_lets_nobody_in() {
    let house = House::start();
    let address = house.address();
    let mut clients = [house.connect(), house.connect()];
    let mut waiting = http::connect(&address);
    waiting.write_all(&http::request(&address, "GET / HTTP/1.1", &[("Connection", "keep-alive")], b"")).unwrap();
    assert_eq!(http::read(&mut waiting).status, 404);
    let deadline = Instant::now() + http::PATIENCE;
    house.server.drain(deadline);
    for shard in &house.shards {
        shard.drain(deadline);
    }
    for client in &mut clients {
        let (code, reason) = hear_close(client);
        assert!(code == 1001 && reason.starts_with("shutting down; retry in "), "{code} {reason}");
    }
    waiting.write_all(&http::request(&address, "GET /v1/ws HTTP/1.1", &UPGRADE, b"")).unwrap();
    let refused = http::read(&mut waiting);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &json!("draining")));
    assert_eq!(refused.header("connection"), Some("close"));
    house::until("the port is closed", || TcpStream::connect(&address).is_err());
}
