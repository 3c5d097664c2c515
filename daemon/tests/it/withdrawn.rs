//! Tokens that are taken back while somebody acts by them: nothing more is accepted, delivered or begun.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use broadcastd::dialect::Dialect;
use broadcastd::identity::grants::{Grants, Lists};
use broadcastd::identity::service::{Hash, Service};
use broadcastd::identity::{self, Identity};
use broadcastd::shard::inbox::{Endpoint, Inbound, Newcomer};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use crate::events::Events;
use crate::house::{self, House, hear_close, hear_json, say};
use crate::http::{self, connect, read};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(lines_behind_a_token_that_was_taken_back_are_refused),
        needs::nothing(lines_behind_an_admin_token_that_was_changed_are_refused),
        needs::nothing(a_command_whose_body_comes_after_its_token_went_is_refused),
        needs::nothing(operators_go_with_the_token_that_let_them_in),
        needs::nothing(an_operator_may_say_first_who_he_is),
        needs::nothing(who_came_by_the_control_socket_showed_no_token_and_stays),
        needs::nothing(who_comes_to_a_shard_after_its_token_went_is_sent_away),
    ]
}

const LINE: &str = "{\"type\":\"a\"}\n";
const LINES: &str = "/v1/streams/ticks/publish HTTP/1.1\r\nContent-Type: application/x-ndjson";

/// A daemon that knows the service `feed` by this token and by no other.
fn start() -> Daemon {
    Daemon::start(&knowing("opener"))
}

fn knowing(token: &str) -> String {
    let hash: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "[streams.ticks]\nvisible = true\n[broadcasters.bars]\nplugin = \"faulty\"\nenabled = false\n\
         [[auth.tokens]]\nname = \"feed\"\nsha256 = \"{hash}\"\npublish = [\"ticks\"]\ncommands = [\"any\"]\n"
    )
}

fn exchange(daemon: &Daemon) {
    daemon.reload(|| daemon.configure(&knowing("another")));
}

/// A request whose body comes in chunks and has not begun.
fn begin(address: &str, request: &str, token: &str) -> TcpStream {
    let mut socket = connect(address);
    let head = format!("POST {request}\r\nHost: {address}\r\nAuthorization: Bearer {token}");
    write!(socket, "{head}\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    socket
}

fn send(socket: &mut TcpStream, chunk: &str) {
    write!(socket, "{:x}\r\n{chunk}\r\n", chunk.len()).unwrap();
}

fn end(mut socket: TcpStream) -> (u16, Value) {
    socket.write_all(b"0\r\n\r\n").unwrap();
    let answer = read(&mut socket);
    (answer.status, answer.json())
}

fn second_is_forbidden((status, told): (u16, Value)) {
    let rejected = json!([{"index": 1, "pointer": "", "error": "forbidden"}]);
    assert_eq!((status, &told["accepted"], &told["rejected"]), (207, &json!(1), &rejected), "{told}");
}

fn lines_behind_a_token_that_was_taken_back_are_refused() {
    let daemon = start();
    let published = || daemon.get("/v1/streams/ticks").json()["position"]["seq"].take();
    let mut body = begin(&daemon.clients, LINES, "opener");
    send(&mut body, LINE);
    house::until("the first is published", || published() == 1);
    exchange(&daemon);
    send(&mut body, LINE);
    second_is_forbidden(end(body));
    assert_eq!(published(), 1);
}

fn lines_behind_an_admin_token_that_was_changed_are_refused() {
    let (daemon, secret) = guarded();
    let mut body = begin(&daemon.admin, LINES, "first");
    send(&mut body, LINE);
    let published = || get(&daemon, "first", "/v1/streams/ticks")["position"]["seq"] == 1;
    house::until("the first is published", published);
    change(&daemon, &secret, "second");
    send(&mut body, LINE);
    second_is_forbidden(end(body));
}

fn a_command_whose_body_comes_after_its_token_went_is_refused() {
    let daemon = start();
    let line = "/v1/broadcasters/bars/commands/poke HTTP/1.1\r\nContent-Type: application/json";
    let mut body = begin(&daemon.clients, line, "opener");
    send(&mut body, "nu");
    // What is asked after it is answered after its head was read.
    house::until("it waits for its body", || {
        let other = end(begin(&daemon.clients, line, "opener"));
        other.0 == 404
    });
    exchange(&daemon);
    send(&mut body, "ll");
    let (status, told) = end(body);
    assert_eq!((status, &told["error"]["message"]), (401, &json!("your token has been taken back or changed")));
}

/// A daemon whose admin token is `first`, and the file that has it.
fn guarded() -> (Daemon, tempfile::NamedTempFile) {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "first").unwrap();
    let daemon = Daemon::start(&with_token(&secret, ""));
    (daemon, secret)
}

fn with_token(secret: &tempfile::NamedTempFile, more: &str) -> String {
    format!("token = {{ file = {:?} }}\n[streams.ticks]\nvisible = true\n{more}", secret.path())
}

fn change(daemon: &Daemon, secret: &tempfile::NamedTempFile, token: &str) {
    std::fs::write(secret.path(), token).unwrap();
    daemon.reload(|| daemon.signal("HUP"));
}

fn get(daemon: &Daemon, token: &str, path: &str) -> Value {
    let bearer = format!("Bearer {token}");
    http::ask(&daemon.admin, &format!("GET {path} HTTP/1.1"), &[("Authorization", &bearer)], b"").json()
}

fn who_came_by_the_control_socket_showed_no_token_and_stays() {
    let (daemon, secret) = guarded();
    let socket = UnixStream::connect(daemon.folder.path().join(".local/state/broadcastd/control.sock")).unwrap();
    socket.set_read_timeout(Some(http::PATIENCE)).unwrap();
    let mut by_control = house::open(socket, "ws://localhost/v1/ws", &[]).unwrap();
    let bearer = [("Authorization", "Bearer first")];
    let mut by_token = house::connect(&daemon.admin, &bearer).unwrap();
    change(&daemon, &secret, "second");
    assert_eq!(hear_close(&mut by_token).0, 4001);
    daemon.reload(|| daemon.configure("[streams.ticks]\nvisible = true\n"));
    say(&mut by_control, r#"{"type":"ping","id":"1"}"#);
    assert_eq!(hear_json(&mut by_control)["data"]["status"], "pong");
}

fn operators_go_with_the_token_that_let_them_in() {
    let (daemon, secret) = guarded();
    let operator = |token: &str| {
        house::connect(&daemon.admin, &[("Authorization", &format!("Bearer {token}"))])
            .map_err(|refused| refused.status)
    };
    let mut first = operator("first").unwrap();
    let mut events = Events::open(&daemon.admin, "topic=daemon", &[("Authorization", "Bearer first")]);
    daemon.reload(|| daemon.configure(&with_token(&secret, "[streams.more]\nvisible = true\n")));
    say(&mut first, r#"{"type":"ping","id":"1"}"#);
    assert_eq!(hear_json(&mut first)["data"]["status"], "pong", "the same token stays");
    change(&daemon, &secret, "second");
    assert_eq!(hear_close(&mut first), (4001, "your token has been taken back or changed".to_owned()));
    while events.next().event != "refused" {}
    assert_eq!(operator("first").err(), Some(401));
    let mut second = operator("second").unwrap();
    say(&mut second, r#"{"type":"ping","id":"1"}"#);
    assert_eq!(hear_json(&mut second)["data"]["status"], "pong");
}

/// As pages do it, whose addresses end up in histories and in the logs of proxies.
fn an_operator_may_say_first_who_he_is() {
    let (daemon, secret) = guarded();
    let come = |said: &str| {
        let mut client = house::connect(&daemon.admin, &[]).unwrap();
        say(&mut client, said);
        client
    };
    for first in [r#"{"type":"streams"}"#, r#"{"type":"subscribe","stream":"ticks"}"#] {
        let reason = "the first message has to be \"auth\", with a token".to_owned();
        assert_eq!(hear_close(&mut come(first)), (4001, reason));
    }
    let wrong = "the token is not that of admin.token".to_owned();
    assert_eq!(hear_close(&mut come(r#"{"type":"auth","token":"firs"}"#)), (4001, wrong));
    let mut page = come(r#"{"type":"auth","token":"first"}"#);
    let answer = hear_json(&mut page);
    assert_eq!(
        (&answer["data"]["status"], &answer["data"]["user"]),
        (&json!("authenticated"), &json!("operator:admin"))
    );
    house::subscribe(&mut page, "daemon");
    change(&daemon, &secret, "second");
    assert_eq!(hear_close(&mut page), (4001, "your token has been taken back or changed".to_owned()));
    // What is private needs the token where it is asked for.
    let private = http::connect(&daemon.admin);
    let uri = format!("ws://{}/v1/ws?audience=ann", daemon.admin);
    assert_eq!(house::open(private, &uri, &[]).unwrap_err().status, 401);
    // Where no token is needed, any will do.
    daemon.reload(|| daemon.configure("[streams.ticks]\nvisible = true\n"));
    let mut page = house::connect(&daemon.admin, &[]).unwrap();
    say(&mut page, r#"{"type":"auth","token":"first"}"#);
    assert_eq!(hear_json(&mut page)["data"]["status"], "authenticated");
    house::subscribe(&mut page, "daemon");
}

/// The moment between a check and the shard cannot be hit from outside.
fn who_comes_to_a_shard_after_its_token_went_is_sent_away() {
    let house = House::start();
    trust(&house, "opener");
    let known = house.verifier.verify("opener", 0).unwrap();
    let first = arrive(&house, known.clone());
    assert_eq!(first[0]["data"]["status"], "connected");
    trust(&house, "another");
    let late = arrive(&house, known);
    assert_eq!((late.len(), &late[0]["data"]["code"]), (1, &json!("authentication_required")), "{late:?}");
}

/// The service `feed` is known by this token and by no other.
fn trust(house: &House, token: &str) {
    let grants = Grants::read(Lists::default()).unwrap();
    let service = Service { name: "feed".into(), token: Hash::of(token), grants, rate: None };
    house.verifier.set(identity::Config { services: vec![service], ..identity::Config::default() }, Instant::now());
}

/// What somebody is told who comes to a shard as this and says nothing, up to the close or the records of `ticks`.
fn arrive(house: &House, identity: Arc<Identity>) -> Vec<Value> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(http::PATIENCE)).unwrap();
    theirs.set_nonblocking(true).unwrap();
    let wish = broadcastd::dialect::Command::Subscribe {
        target: broadcastd::dialect::Target::Topic("ticks".to_owned()),
        since: None,
        batch: None,
    };
    let endpoint = Arc::new(Endpoint::open("/v1/ws", Dialect::Native));
    let newcomer = Newcomer { identity: Some(identity), wishes: vec![wish], ..Newcomer::over(theirs, endpoint) };
    house.shards[0].inbox.hand(Inbound::Adopt(Box::new(newcomer)));
    let mut client = WebSocket::from_raw_socket(ours, Role::Client, None);
    let mut told: Vec<Value> = Vec::new();
    loop {
        match client.read().unwrap() {
            Message::Text(text) => told.push(serde_json::from_str(&text).unwrap()),
            Message::Close(_) => return told,
            _ => {}
        }
        if told.last().is_some_and(|last| last["type"] == "full_update") {
            return told;
        }
    }
}
