//! Tokens that prove nothing, at every door that takes one: refused with the right code, nothing of them repeated or
//! logged, and whoever has a good one gets in all the same.

use std::fs;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::http;
use crate::needs;
use crate::process::Daemon;
use crate::raw::{CLOSE, PING, Raw, TEXT, UPGRADE, frame};
use crate::signing::{AUDIENCE, EC, ISSUER, RSA, Signer, claims, seconds_from_now, unsigned};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(no_door_believes_a_token_that_proves_nothing),
        needs::nothing(where_nobody_is_asked_a_wrong_token_changes_nothing),
        needs::nothing(doubtful_headers_are_refused_at_every_door),
        needs::nothing(the_ingest_socket_takes_no_tokens),
    ]
}

const OPERATOR: &str = "the operator's own token";
/// Every door, each with an identity of its own to show; and three where nobody is asked.
const CONFIG: &str = r#"
token = { env = "OPERATOR" }
[log]
level = "debug"
[hub]
rate = { commands = 1_000_000, burst = 1_000_000 }
[auth]
cookie = "pass"
jwt = { keys = "keys.pem", audience = "broadcastd", issuer = "https://id.example" }
[streams.ticks]
visible = true
[streams.user]
visible = true
private = true
[broadcasters.hello]
plugin = "faulty"
settings = { interval_ms = 60000 }
[[server.endpoints]]
path = "/v1/ws"
auth = "required"
[[server.endpoints]]
path = "/v1/sse"
dialect = "sse"
auth = "required"
[[server.endpoints]]
path = "/ws"
dialect = "streams"
auth = "required"
[[server.endpoints]]
path = "/ws/samples"
dialect = "spc"
streams = ["ticks"]
auth = "required"
[[server.endpoints]]
path = "/ws/user"
dialect = "user"
streams = ["user"]
auth = "required"
[[server.endpoints]]
path = "/api/v1/ws"
dialect = "fastws"
streams = ["ticks"]
auth = "required"
[[server.endpoints]]
path = "/open"
auth = "none"
[[server.endpoints]]
path = "/open/streams"
dialect = "streams"
auth = "none"
[[server.endpoints]]
path = "/open/spc"
dialect = "spc"
streams = ["ticks"]
auth = "none"
"#;

fn daemon() -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keys.pem"), [RSA, EC].concat()).unwrap();
    Daemon::start_in(folder, CONFIG, &[("OPERATOR", OPERATOR)])
}

/// Where a client shows its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Header,
    Query,
    Cookie,
    /// In the first message, with an id where the dialect has such.
    Message,
}

#[derive(Clone, Copy, Debug)]
struct Door {
    place: Place,
    method: &'static str,
    path: &'static str,
    body: &'static str,
    is_admin: bool,
}

impl Door {
    const fn at(place: Place, path: &'static str) -> Self {
        Self { place, method: "GET", path, body: "", is_admin: false }
    }

    const fn posting(path: &'static str, body: &'static str) -> Self {
        Self { place: Place::Header, method: "POST", path, body, is_admin: false }
    }

    const fn of_operators(place: Place, path: &'static str) -> Self {
        Self { is_admin: true, ..Self::at(place, path) }
    }
}

const DOORS: &[Door] = &[
    Door::at(Place::Header, "/v1/ws"),
    Door::at(Place::Query, "/v1/ws"),
    Door::at(Place::Cookie, "/v1/ws"),
    Door::at(Place::Message, "/v1/ws"),
    Door::at(Place::Header, "/ws"),
    Door::at(Place::Message, "/ws"),
    Door::at(Place::Query, "/ws/samples"),
    Door::at(Place::Message, "/ws/samples"),
    Door::at(Place::Header, "/ws/user"),
    Door::at(Place::Query, "/ws/user"),
    Door::at(Place::Cookie, "/ws/user"),
    Door::at(Place::Query, "/api/v1/ws"),
    Door::at(Place::Header, "/v1/sse?topic=ticks"),
    Door::at(Place::Query, "/v1/sse?topic=ticks"),
    Door::at(Place::Cookie, "/v1/sse?topic=ticks"),
    Door::at(Place::Header, "/v1/streams"),
    Door::at(Place::Query, "/v1/streams/ticks/snapshot"),
    Door::at(Place::Cookie, "/v1/streams/ticks/history"),
    Door::at(Place::Header, "/v1/asyncapi.json"),
    Door::posting("/v1/streams/ticks/publish", r#"{"type":"tick","data":{}}"#),
    Door::posting("/v1/broadcasters/hello/commands/echo", "{}"),
    Door::of_operators(Place::Header, "/v1/streams"),
    Door::of_operators(Place::Header, "/v1/ws"),
    Door::of_operators(Place::Query, "/v1/ws"),
    Door::of_operators(Place::Query, "/v1/sse?topic=ticks"),
];

const OPEN_DOORS: &[Door] = &[
    Door::at(Place::Message, "/open"),
    Door::at(Place::Message, "/open/streams"),
    Door::at(Place::Message, "/open/spc"),
];

/// How a door answered, and everything that it said.
#[derive(Debug)]
struct Heard {
    /// The status of an HTTP answer, or the code of a close; 0 while the connection stays.
    code: u16,
    said: String,
}

impl Door {
    /// Shows these bytes as a token.
    fn knock(&self, daemon: &Daemon, token: &[u8]) -> Heard {
        let mut raw = self.ask(daemon, &self.shown(token));
        let head = raw.head();
        let code: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        if code != 101 || self.place != Place::Message {
            return Heard { code, said: head };
        }
        let token = String::from_utf8_lossy(token);
        raw.send(&frame(TEXT, json!({"type": "auth", "token": token, "id": "req_1"}).to_string().as_bytes()));
        self.answer(&mut raw)
    }

    /// The header that bears the token, if one does.
    fn shown(&self, token: &[u8]) -> Vec<u8> {
        match self.place {
            Place::Header => [b"Authorization: Bearer ", token, b"\r\n"].concat(),
            Place::Cookie => [b"Cookie: pass=", token, b"\r\n"].concat(),
            Place::Query => token.iter().flat_map(encoded).collect(),
            Place::Message => Vec::new(),
        }
    }

    /// Sends the request, with what is shown where it belongs.
    fn ask(&self, daemon: &Daemon, shown: &[u8]) -> Raw {
        let address = if self.is_admin { &daemon.admin } else { &daemon.clients };
        let (query, shown) = if self.place == Place::Query { (shown, &b""[..]) } else { (&b""[..], shown) };
        let mut bytes = format!("{} {}", self.method, self.path).into_bytes();
        if self.place == Place::Query {
            bytes.extend(if self.path.contains('?') { &b"&token="[..] } else { b"?token=" });
            bytes.extend(query);
        }
        bytes.extend(format!(" HTTP/1.1\r\nHost: {address}\r\n").bytes());
        if !self.body.is_empty() {
            let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", self.body.len());
            bytes.extend(head.bytes());
        } else if !self.path.starts_with("/v1/s") && !self.path.ends_with(".json") {
            UPGRADE.iter().for_each(|(name, value)| bytes.extend(format!("{name}: {value}\r\n").bytes()));
        }
        bytes.extend(shown);
        bytes.extend(b"\r\n");
        bytes.extend(self.body.bytes());
        let mut raw = Raw::on(http::connect(address));
        raw.send(&bytes);
        raw
    }

    /// Everything up to the end, or up to the answer of a connection that stays.
    fn answer(&self, raw: &mut Raw) -> Heard {
        let mut said = String::new();
        loop {
            match raw.frame() {
                (PING, _) => {}
                (TEXT, text) => {
                    let text = String::from_utf8(text).unwrap();
                    let is_greeting = text.contains("\"connected\"");
                    said += &text;
                    let stays = ["authenticated\"", "auth_ok"].iter().any(|word| text.contains(word));
                    if stays || (!is_greeting && self.path.starts_with("/open")) {
                        return Heard { code: 0, said };
                    }
                }
                (CLOSE, payload) => {
                    let (code, reason) = payload.split_first_chunk().unwrap();
                    said += &String::from_utf8_lossy(reason);
                    return Heard { code: u16::from_be_bytes(*code), said };
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A byte as it stands in a query.
fn encoded(byte: &u8) -> Vec<u8> {
    if byte.is_ascii_alphanumeric() { vec![*byte] } else { format!("%{byte:02x}").into_bytes() }
}

/// A token, and how its doors refuse it.
struct Row {
    name: &'static str,
    token: Vec<u8>,
    header: u16,
    query: u16,
    message: u16,
    /// The operator's pages, which read no header that is no text.
    page: u16,
}

fn row(name: &'static str, token: impl Into<Vec<u8>>) -> Row {
    Row { name, token: token.into(), header: 401, query: 401, message: 4001, page: 401 }
}

impl Row {
    fn code(&self, door: &Door) -> u16 {
        match door.place {
            Place::Header if door.is_admin && !door.path.ends_with("/ws") => self.page,
            Place::Header | Place::Cookie => self.header,
            Place::Query => self.query,
            Place::Message => self.message,
        }
    }
}

fn good() -> String {
    Signer::rsa().sign(&claims("user-1", json!({"publish": ["ticks"], "commands": ["echo"]})))
}

/// Signed as it should be, with claims that should not be.
fn misclaimed() -> Vec<Row> {
    let signed = |name, changes| row(name, Signer::rsa().sign(&claims("user-1", changes)));
    let written = |name, text: &str| row(name, Signer::rsa().sign_text(r#"{"alg":"RS256"}"#, text));
    let exp = seconds_from_now(3600.0);
    let rest = format!(r#""exp":{exp},"aud":"{AUDIENCE}","iss":"{ISSUER}""#);
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    vec![
        signed("another audience", json!({"aud": "somebody-else"})),
        signed("no audience", json!({"aud": null})),
        signed("a list of other audiences", json!({"aud": ["broadcastd2", "Broadcastd"]})),
        signed("another issuer", json!({"iss": "https://id.example.evil.example"})),
        signed("not yet valid", json!({"nbf": seconds_from_now(60.0)})),
        signed("expired", json!({"exp": seconds_from_now(-1.0)})),
        signed("without an end", json!({"exp": null})),
        signed("an end that is a text", json!({"exp": "9999999999"})),
        signed("an end that is no time", json!({"exp": -1e300})),
        signed("nobody", json!({"sub": ""})),
        signed("a user that is a number", json!({"sub": 1})),
        signed("rights that are no list", json!({"streams": "*"})),
        written("claims twice", &format!(r#"{{"sub":"user-1","sub":"user-2",{rest}}}"#)),
        written("an end twice", &format!(r#"{{"sub":"user-1","exp":1,{rest}}}"#)),
        written("claims a thousand deep", &format!(r#"{{"sub":"user-1",{rest},"deep":{deep}}}"#)),
        written("claims that are a list", "[]"),
        written("claims that are no JSON", "{"),
        written("claims behind each other", &format!(r#"{{"sub":"user-1",{rest}}}{{}}"#)),
    ]
}

/// Good claims, signed as they should not be.
fn missigned() -> Vec<Row> {
    let text = claims("user-1", json!({})).to_string();
    let headed = |name, head: &str| row(name, Signer::rsa().sign_text(head, &text));
    let (message, signature) = good().rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let none = |name, head: &str| row(name, format!("{}.", unsigned(head, &text)));
    let deep = format!(r#"{{"alg":"RS256","x":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    vec![
        none("alg none", r#"{"alg":"none"}"#),
        none("alg NoNe", r#"{"alg":"NoNe"}"#),
        none("no signature", r#"{"alg":"RS256"}"#),
        headed("alg none, and signed", r#"{"alg":"none"}"#),
        headed("another key's algorithm", r#"{"alg":"ES256"}"#),
        headed("an algorithm that no key is for", r#"{"alg":"EdDSA"}"#),
        headed("an algorithm twice", r#"{"alg":"none","alg":"RS256"}"#),
        headed("an unknown algorithm", r#"{"alg":"RS512"}"#),
        headed("an unknown extension", r#"{"alg":"RS256","crit":["b64"],"b64":false}"#),
        headed("a head without an algorithm", "{}"),
        headed("a head a thousand deep", &deep[..deep.len() - 1]),
        row("the public key as a secret", Signer::secret(RSA.as_bytes()).sign_text(r#"{"alg":"HS256"}"#, &text)),
        row(
            "the trimmed public key as a secret",
            Signer::secret(RSA.trim().as_bytes()).sign_text(r#"{"alg":"HS256"}"#, &text),
        ),
        row("the public key, called RSA", Signer::secret(RSA.as_bytes()).sign_text(r#"{"alg":"RS256"}"#, &text)),
        row("somebody else's key", Signer::foreign().sign_text(r#"{"alg":"RS256"}"#, &text)),
        row("another key's signature", Signer::ec().sign_text(r#"{"alg":"RS256"}"#, &text)),
        row("other claims under a good signature", format!("{}.{signature}", unsigned(r#"{"alg":"RS256"}"#, &text))),
        row("a signature with padding", format!("{message}.{signature}==")),
    ]
}

/// No tokens at all.
fn misshaped() -> Vec<Row> {
    let long = |length: usize| format!("{}{}", good(), "x".repeat(length));
    vec![
        row("a word", "opensesame-opensesame"),
        row("dots", "....."),
        row("three parts of nothing", "opensesame.opensesame.opensesame"),
        row("four parts", format!("{}.opensesame", good())),
        row("more than a token may have", long(8 << 10)),
        Row { header: 431, query: 431, message: 1009, page: 431, ..row("100 KB", long(100 << 10)) },
        Row { header: 400, page: 400, ..row("a NUL", "opensesame\0opensesame") },
        row("a line end", "opensesame\r\nX-Injected: opensesame"),
        Row { header: 400, ..row("letters that are no ASCII", "öffnedichöffnedich") },
        Row { header: 400, query: 400, ..row("bytes that are no text", b"opensesame\xff\xfe".to_vec()) },
    ]
}

fn no_door_believes_a_token_that_proves_nothing() {
    let daemon = daemon();
    let mut wrong = Vec::new();
    let rows: Vec<Row> = [misclaimed(), missigned(), misshaped()].into_iter().flatten().collect();
    for row in &rows {
        for door in DOORS {
            let heard = door.knock(&daemon, &row.token);
            if heard.code != row.code(door) || repeats(&heard.said, &row.token) {
                wrong.push(format!("{}: {door:?}: not {} but {heard:?}", row.name, row.code(door)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    every_door_lets_in_who_should(&daemon);
    let log = daemon.log_text();
    for row in &rows {
        assert!(!repeats(&log, &row.token), "{} is in the log:\n{log}", row.name);
    }
    assert!(!repeats(&log, good().as_bytes()) && !log.contains("panicked"), "{log}");
}

/// Whether a text has any eight bytes of the token; heads are the same for many, and are no secret.
fn repeats(text: &str, token: &[u8]) -> bool {
    let known = unsigned(r#"{"alg":"RS256"}"#, r#"{"aud":"broadcastd","exp":"#);
    let parts = token.windows(8).filter_map(|part| std::str::from_utf8(part).ok());
    parts
        .into_iter()
        .any(|part| text.contains(part) && !known.contains(part) && !"xxxxxxxx........Injected: ".contains(part))
}

fn every_door_lets_in_who_should(daemon: &Daemon) {
    for door in DOORS {
        let token = if door.is_admin { OPERATOR.to_owned() } else { good() };
        let heard = door.knock(daemon, token.as_bytes());
        let expected = match (door.place, door.path) {
            (Place::Message, _) => 0,
            (_, path) if path.contains("/ws") => 101,
            (_, path) if path.ends_with("publish") => 202,
            _ => 200,
        };
        assert_eq!(heard.code, expected, "{door:?} {heard:?}");
    }
}

fn where_nobody_is_asked_a_wrong_token_changes_nothing() {
    let daemon = daemon();
    for row in [misclaimed(), missigned()].into_iter().flatten() {
        for door in OPEN_DOORS {
            let heard = door.knock(&daemon, &row.token);
            assert_eq!(heard.code, 0, "{}: {door:?}: {heard:?}", row.name);
            let refusal = ["\"authentication_required\"", "auth_error"].iter().any(|word| heard.said.contains(word));
            assert!(refusal && !repeats(&heard.said, &row.token), "{}: {heard:?}", row.name);
            assert!(door.path.ends_with("spc") || heard.said.contains(r#""id":"req_1""#), "{heard:?}");
        }
    }
    // As a client does that sends both at once and does not wait.
    for (path, subscribe, answer) in [
        ("/open", r#"{"type":"subscribe","topic":"ticks"}"#, r#""status":"subscribed""#),
        ("/open/streams", r#"{"type":"subscribe","stream":"ticks"}"#, r#""status":"subscribed""#),
        ("/open/spc", r#"{"type":"subscribe","characteristic_ids":[1]}"#, r#""type":"subscribed""#),
    ] {
        let mut raw = Door::at(Place::Message, path).ask(&daemon, b"");
        assert!(raw.head().starts_with("HTTP/1.1 101"));
        raw.say(r#"{"type":"auth","token":"opensesame"}"#);
        raw.say(subscribe);
        while !raw.text().contains(answer) {}
    }
}

fn doubtful_headers_are_refused_at_every_door() {
    let daemon = daemon();
    let (good, other) = (good(), Signer::rsa().sign(&claims("user-2", json!({}))));
    let headers = [
        ("two tokens", format!("Authorization: Bearer {good}\r\nAuthorization: Bearer {other}\r\n"), 400),
        ("a good token and a bad one", format!("Authorization: Bearer {good}\r\nAuthorization: Bearer x\r\n"), 400),
        ("a header and a cookie", format!("Authorization: Bearer {good}\r\nCookie: pass={other}\r\n"), 400),
        ("two cookies", format!("Cookie: pass={good}; pass={other}\r\n"), 400),
        ("an empty token", "Authorization: Bearer \r\n".to_owned(), 400),
        ("a token in a second line", format!("Authorization: Bearer\r\n {good}\r\n"), 400),
        ("another scheme", format!("Authorization: Basic {good}\r\n"), 401),
        (
            "a token under a proxy's name",
            format!("X-Forwarded-User: user-1\r\nX-Authorization: Bearer {good}\r\n"),
            401,
        ),
    ];
    for (name, header, expected) in headers {
        for door in DOORS.iter().filter(|door| door.place == Place::Header && !door.is_admin) {
            let head = door.ask(&daemon, header.as_bytes()).head();
            // Without a token: who may still show one in a message is let in, and what everybody may read is shown.
            let expected = match door.path {
                "/v1/ws" | "/ws" if expected == 401 => 101,
                "/v1/streams" | "/v1/asyncapi.json" if expected == 401 => 200,
                _ => expected,
            };
            assert!(head.starts_with(&format!("HTTP/1.1 {expected} ")), "{name}: {door:?}: {head}");
        }
    }
    let twice = format!("Authorization: Bearer {good}\r\n").repeat(2);
    let head = Door::at(Place::Header, "/v1/streams").ask(&daemon, twice.as_bytes()).head();
    assert!(head.starts_with("HTTP/1.1 200 "), "the same one twice leaves no doubt: {head}");
}

/// Who may write to it, the file's rights say: a token in a line is a mistake, and nothing of it is repeated.
fn the_ingest_socket_takes_no_tokens() {
    use std::io::{BufRead, BufReader, Write};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ingest.sock");
    fs::write(folder.path().join("keys.pem"), RSA).unwrap();
    let daemon = Daemon::start_in(folder, &format!("{CONFIG}[ingest]\nsocket = {path:?}\n"), &[("OPERATOR", OPERATOR)]);
    let mut door = std::os::unix::net::UnixStream::connect(&path).unwrap();
    door.set_read_timeout(Some(http::PATIENCE)).unwrap();
    let mut answers = BufReader::new(door.try_clone().unwrap()).lines().map(Result::unwrap);
    for line in [
        json!({"stream": "ticks", "type": "tick", "token": good()}),
        json!({"type": "auth", "token": good()}),
        json!({"stream": "ticks", "type": "tick", "Authorization": format!("Bearer {}", good())}),
    ] {
        writeln!(door, "{line}").unwrap();
        let answer = answers.next().unwrap();
        let told: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(told["error"]["code"], "invalid_message", "{line} {answer}");
        assert!(!repeats(&answer, good().as_bytes()), "{answer}");
    }
    writeln!(door, r#"{{"stream":"ticks","type":"tick"}}"#).unwrap();
    assert!(answers.next().unwrap().contains(r#""accepted":true"#));
    assert!(!repeats(&daemon.log_text(), good().as_bytes()));
}
