//! For how long somebody is who they are, over real sockets in every dialect: until the token ends, the user logs out, the
//! service is taken back or the keys change; and whoever cannot be checked is nobody.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::json;
use sha2::Digest as _;
use tungstenite::Message;

use crate::dialogue;
use crate::house::{self, Client, until};
use crate::http;
use crate::needs;
use crate::process::{self, Daemon};
use crate::signing::{EC, RSA, Signer, claims, seconds_from_now};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(nothing_is_delivered_after_the_token_has_ended),
        needs::nothing(a_token_that_is_shown_anew_goes_on_where_the_old_one_ended),
        needs::nothing(who_logs_out_is_gone_from_every_door_and_nobody_else_is),
        needs::nothing(all_connections_of_a_user_hear_what_is_theirs),
        needs::nothing(a_service_that_is_taken_back_is_gone_and_the_others_stay),
        needs::nothing(keys_that_were_exchanged_open_nothing_any_more),
        needs::nothing(without_keys_that_can_be_read_the_daemon_does_not_start),
        needs::nothing(keys_that_cannot_be_read_are_not_taken_and_nobody_new_is_believed),
        needs::nothing(a_key_that_nobody_knows_opens_nothing),
        needs::nothing(without_any_keys_every_token_is_refused),
    ]
}

/// A door for each dialect, to a stream that shows everybody their own.
const DOORS: &str = r#"
[hub]
rate = { commands = 1_000_000, burst = 1_000_000 }
[streams.user]
visible = true
private = true
template = "{symbol}"
[streams.ticks]
visible = true
[[server.endpoints]]
path = "/v1/ws"
[[server.endpoints]]
path = "/v1/sse"
dialect = "sse"
[[server.endpoints]]
path = "/ws"
dialect = "streams"
[[server.endpoints]]
path = "/ws/samples"
dialect = "spc"
streams = ["user"]
[[server.endpoints]]
path = "/api/v1/ws"
dialect = "fastws"
streams = ["user"]
[[server.endpoints]]
path = "/ws/user"
dialect = "user"
streams = ["user"]
auth = "required"
"#;
const KEYS: &str =
    "[auth]\njwt = { keys = \"keys.pem\", audience = \"broadcastd\", issuer = \"https://id.example\" }\n";

const SSE: &str = "/v1/sse";
/// Between events: whoever reads them later only has room for all of them.
const PAUSE: Duration = Duration::from_millis(10);
/// Each path, and what a client says there to hear the stream `user`.
const PATHS: [(&str, &str); 6] = [
    ("/v1/ws", r#"{"type":"subscribe","stream":"user"}"#),
    (SSE, ""),
    ("/ws", r#"{"type":"subscribe","stream":"user"}"#),
    ("/ws/samples", ""),
    ("/api/v1/ws", r#"{"type":"user.subscribe","payload":{"symbol":"A"}}"#),
    ("/ws/user", ""),
];

fn daemon() -> Daemon {
    with_keys(RSA, &format!("{DOORS}{KEYS}"))
}

fn with_keys(keys: &str, config: &str) -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keys.pem"), keys).unwrap();
    Daemon::start_in(folder, config, &[])
}

fn token(user: &str, ends_in: f64) -> String {
    Signer::rsa().sign(&claims(user, json!({"exp": seconds_from_now(ends_in)})))
}

/// A client at one of the doors.
enum Ear {
    Socket(Box<Client>),
    Events(BufReader<TcpStream>),
}

#[derive(Debug, PartialEq)]
enum Heard {
    Event(u64),
    /// The code of the close, 0 where there is none, and what was said before it about no event.
    End(u16, String),
}

impl Ear {
    fn open(daemon: &Daemon, path: &str, wish: &str, token: &str) -> Self {
        if path == SSE {
            let mut socket = http::connect(&daemon.clients);
            let line = format!("GET {path}?topic=user&topic=ticks&token={token} HTTP/1.1");
            socket.write_all(&http::request(&daemon.clients, &line, &[], b"")).unwrap();
            return Self::Events(BufReader::new(socket));
        }
        let mut client = dialogue::open(&daemon.clients, &format!("{path}?token={token}"));
        if !wish.is_empty() {
            house::say(&mut client, wish);
        }
        Self::Socket(Box::new(client))
    }

    /// The next event, or the end.
    fn hear(&mut self) -> Heard {
        let mut said = String::new();
        loop {
            let text = match self {
                Self::Socket(client) => match client.read().unwrap() {
                    Message::Text(text) => text.to_string(),
                    Message::Close(Some(frame)) => return Heard::End(frame.code.into(), said),
                    _ => continue,
                },
                Self::Events(lines) => {
                    let mut line = String::new();
                    match lines.read_line(&mut line).unwrap() {
                        0 => return Heard::End(0, said),
                        _ => line,
                    }
                }
            };
            match text.split_once("\"n\":") {
                Some((_, rest)) => {
                    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    return Heard::Event(digits.parse().unwrap());
                }
                None if text.trim().is_empty() => {}
                None => said += &text,
            }
        }
    }

    fn say(&mut self, text: &str) {
        let Self::Socket(client) = self else { panic!("nothing can be said here") };
        house::say(client, text);
    }
}

/// A client at every door, each of which hears what is the user's own.
fn everywhere(daemon: &Daemon, user: &str, token: &str) -> Vec<(&'static str, Ear)> {
    let before = connections(daemon, user).len();
    let ears = PATHS.map(|(path, wish)| (path, Ear::open(daemon, path, wish, token)));
    until("all have subscribed", || {
        let all = connections(daemon, user);
        all.len() == before + PATHS.len() && all.iter().all(|subscriptions| *subscriptions > 0)
    });
    ears.into()
}

/// The numbers of subscriptions of all connections of a user.
fn connections(daemon: &Daemon, user: &str) -> Vec<u64> {
    let page = daemon.get(&format!("/v1/connections?user={user}&limit=1000")).json();
    page["connections"].as_array().unwrap().iter().map(|one| one["subscriptions"].as_u64().unwrap()).collect()
}

fn tell(daemon: &Daemon, user: &str, n: u64) {
    let event = json!({"type": "note", "audience": user, "data": {"n": n}});
    assert_eq!(daemon.publish("user", &event).status, 202);
}

/// What an ear hears until its end, and when that is.
type Listening = JoinHandle<(Vec<u64>, u16, f64)>;

fn listen(mut ear: Ear) -> Listening {
    std::thread::spawn(move || {
        let mut events = Vec::new();
        loop {
            match ear.hear() {
                Heard::Event(n) => events.push(n),
                Heard::End(code, _) => return (events, code, seconds_from_now(0.0)),
            }
        }
    })
}

fn nothing_is_delivered_after_the_token_has_ended() {
    /// How far apart clocks may be that are read one after the other.
    const APART: f64 = 0.1;
    /// For how long a busy machine may hold up a shard in the middle of a turn that began before the end.
    const HELD_UP: f64 = 1.0;
    let daemon = daemon();
    let ends = seconds_from_now(6.0);
    let brief = Signer::rsa().sign(&claims("user-1", json!({"exp": ends})));
    let ears = everywhere(&daemon, "user-1", &brief);
    let mut witnesses = everywhere(&daemon, "user-1", &token("user-1", 3600.0));
    let listening: Vec<(&str, Listening)> = ears.into_iter().map(|(path, ear)| (path, listen(ear))).collect();
    let mut published = Vec::new();
    while !listening.iter().all(|(_, ear)| ear.is_finished()) {
        published.push(seconds_from_now(0.0));
        assert!(seconds_from_now(0.0) < ends + http::PATIENCE.as_secs_f64(), "nobody is told of the end");
        tell(&daemon, "user-1", published.len() as u64 - 1);
        std::thread::sleep(PAUSE);
    }
    for (path, ear) in listening {
        let (events, code, ended) = ear.join().unwrap();
        assert_eq!(code, if path == SSE { 0 } else { 4001 }, "{path}");
        assert!(ended >= ends - APART, "{path}: {} s too early", ends - ended);
        assert_eq!(events, (0..events.len() as u64).collect::<Vec<_>>(), "{path}: nothing is left out before the end");
        let last = published[events.len() - 1];
        assert!(last < ends + HELD_UP, "{path}: an event of {} s after the end", last - ends);
    }
    for (path, witness) in &mut witnesses {
        for n in 0..published.len() as u64 {
            assert_eq!(witness.hear(), Heard::Event(n), "{path}: another token of the same user goes on");
        }
    }
}

fn a_token_that_is_shown_anew_goes_on_where_the_old_one_ended() {
    let daemon = daemon();
    let mut ears = everywhere(&daemon, "user-1", &token("user-1", 3600.0));
    ears.retain(|(path, _)| ["/v1/ws", "/ws", "/ws/samples"].contains(path));
    let ends = seconds_from_now(3.0);
    let brief = Signer::rsa().sign(&claims("user-1", json!({"exp": ends})));
    for token in [brief, token("user-1", 3600.0)] {
        for (_, ear) in &mut ears {
            ear.say(&json!({"type": "auth", "token": token}).to_string());
        }
    }
    let mut count = 0;
    while seconds_from_now(0.0) < ends + 0.5 {
        tell(&daemon, "user-1", count);
        count += 1;
        std::thread::sleep(PAUSE);
    }
    for (path, ear) in &mut ears {
        (0..count).for_each(|n| assert_eq!(ear.hear(), Heard::Event(n), "{path}"));
    }
    // What is another user's is not taken over, and the first one's is not given away.
    for (path, ear) in &mut ears {
        ear.say(&json!({"type": "auth", "token": token("user-2", 3600.0)}).to_string());
        assert!(matches!(ear.hear(), Heard::End(4001, _)), "{path}");
    }
}

fn who_logs_out_is_gone_from_every_door_and_nobody_else_is() {
    let service = "[[auth.tokens]]\nname = \"user-1\"\nsha256 = \"";
    let hash: String = sha2::Sha256::digest("opener").iter().map(|byte| format!("{byte:02x}")).collect();
    let daemon = with_keys(RSA, &format!("{DOORS}{KEYS}{service}{hash}\"\n"));
    let gone = everywhere(&daemon, "user-1", &token("user-1", 3600.0));
    let mut others: Vec<_> = ["user-10", "User-1", "user-"]
        .into_iter()
        .map(|user| (user, everywhere(&daemon, user, &token(user, 3600.0))))
        .collect();
    let mut service = dialogue::open(&daemon.clients, "/v1/ws?token=opener");
    house::hear(&mut service);
    let closed = http::ask(&daemon.admin, "DELETE /v1/users/user-1/connections HTTP/1.1", &[], b"").json();
    assert_eq!(closed, json!({"closed": PATHS.len()}));
    for (path, mut ear) in gone {
        let Heard::End(code, said) = ear.hear() else { panic!("{path}: an event") };
        assert_eq!(code, if path == SSE { 0 } else { 4001 }, "{path}");
        let word = match path {
            "/v1/ws" | "/ws" | SSE => "logged_out",
            "/ws/user" => r#""type":"USER_LOGOUT""#,
            _ => "", // these have no word for it
        };
        assert!(said.contains(word), "{path}: {said}");
    }
    tell(&daemon, "user-1", 1);
    for (user, ears) in &mut others {
        tell(&daemon, user, 2);
        for (path, ear) in ears {
            assert_eq!(ear.hear(), Heard::Event(2), "{user} {path}");
        }
    }
    house::say(&mut service, r#"{"type":"ping"}"#);
    assert!(house::hear(&mut service).contains("pong"), "a service of the same name is somebody else");
}

fn all_connections_of_a_user_hear_what_is_theirs() {
    let daemon = daemon();
    let mut all: Vec<_> = (0..3).flat_map(|_| everywhere(&daemon, "user-1", &token("user-1", 3600.0))).collect();
    let mut other = everywhere(&daemon, "user-10", &token("user-10", 3600.0));
    (0..20).for_each(|n| tell(&daemon, "user-1", n));
    tell(&daemon, "user-10", 100);
    for (path, ear) in &mut all {
        (0..20).for_each(|n| assert_eq!(ear.hear(), Heard::Event(n), "{path}"));
    }
    for (path, ear) in &mut other {
        assert_eq!(ear.hear(), Heard::Event(100), "{path}");
    }
    // One that leaves takes nobody along.
    drop(all.split_off(6));
    tell(&daemon, "user-1", 20);
    for (path, ear) in &mut all {
        assert_eq!(ear.hear(), Heard::Event(20), "{path}");
    }
}

/// A service with its token, and with these rights.
pub fn service(name: &str, token: &str, rights: &str) -> String {
    let hash: String = sha2::Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[auth.tokens]]\nname = {name:?}\nsha256 = \"{hash}\"\n{rights}\n")
}

fn tick(daemon: &Daemon, n: u64) {
    assert_eq!(daemon.publish("ticks", &json!({"type": "tick", "data": {"n": n}})).status, 202);
}

/// What a request with this token is answered, at a door where none is needed.
fn status(daemon: &Daemon, token: &str) -> u16 {
    http::get(&daemon.clients, &format!("/v1/streams?token={token}")).status
}

fn a_service_that_is_taken_back_is_gone_and_the_others_stay() {
    const WISH: &str = r#"{"type":"subscribe","topic":"ticks"}"#;
    let (one, other) =
        (service("one", "opener-1", "streams = [\"ticks\"]"), service("other", "opener-2", "streams = [\"ticks\"]"));
    let daemon = Daemon::start(&format!("{DOORS}{one}{other}"));
    let ears = |token: &str| ["/v1/ws", SSE].map(|path| Ear::open(&daemon, path, WISH, token));
    let (mut gone, mut stays) = (ears("opener-1"), ears("opener-2"));
    until("all hear", || daemon.metric("broadcastd_subscriptions{stream=\"ticks\"}") == Some(4.0));
    daemon.reload(|| daemon.configure(&format!("{DOORS}{other}")));
    assert!(matches!(gone[0].hear(), Heard::End(4001, _)));
    assert!(matches!(gone[1].hear(), Heard::End(0, _)));
    assert_eq!((status(&daemon, "opener-1"), status(&daemon, "opener-2")), (401, 200));
    tick(&daemon, 1);
    stays.iter_mut().for_each(|ear| assert_eq!(ear.hear(), Heard::Event(1)));
    // Other rights are another token: nobody goes on with what was granted before.
    let narrowed = service("other", "opener-2", "streams = [\"user\"]");
    daemon.reload(|| daemon.configure(&format!("{DOORS}{one}{narrowed}")));
    assert!(matches!(stays[0].hear(), Heard::End(4001, _)));
    assert!(matches!(stays[1].hear(), Heard::End(0, _)));
    assert_eq!((status(&daemon, "opener-1"), status(&daemon, "opener-2")), (200, 200));
}

/// Whoever is there was believed, and stays until the token ends.
fn keys_that_were_exchanged_open_nothing_any_more() {
    let daemon = daemon();
    let (old, new) = (token("user-1", 3600.0), Signer::ec().sign(&claims("user-1", json!({}))));
    assert_eq!((status(&daemon, &old), status(&daemon, &new)), (200, 401));
    let mut ears = everywhere(&daemon, "user-1", &old);
    fs::write(daemon.folder.path().join("new.pem"), EC).unwrap();
    daemon.reload(|| daemon.configure(&format!("{DOORS}{}", KEYS.replace("keys.pem", "new.pem"))));
    assert_eq!((status(&daemon, &old), status(&daemon, &new)), (401, 200));
    tell(&daemon, "user-1", 1);
    ears.iter_mut().for_each(|(path, ear)| assert_eq!(ear.hear(), Heard::Event(1), "{path}"));
    for (path, ear) in &mut ears {
        if ["/v1/ws", "/ws", "/ws/samples"].contains(path) {
            ear.say(&json!({"type": "auth", "token": old}).to_string());
            assert!(matches!(ear.hear(), Heard::End(4001, _)), "{path}");
        }
    }
}

/// Files that have no key in them, each by what is wrong with it.
fn unusable() -> [(&'static str, Option<String>); 6] {
    [
        ("missing", None),
        ("empty", Some(String::new())),
        ("broken", Some(RSA[..RSA.len() / 2].to_owned())),
        ("private", Some(include_str!("../keys/rsa-one.test.pem").to_owned())),
        ("too weak", Some(include_str!("../keys/rsa-weak.public.pem").to_owned())),
        ("of no keys", Some(r#"{"keys":[]}"#.to_owned())),
    ]
}

fn without_keys_that_can_be_read_the_daemon_does_not_start() {
    for (name, text) in unusable() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.toml"), format!("{}{DOORS}{KEYS}", process::PORTS)).unwrap();
        if let Some(text) = text {
            fs::write(folder.path().join("keys.pem"), text).unwrap();
        }
        let ended = process::run(folder.path(), &[], &[]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains("jwt = { keys = \"keys.pem\""), "{name}: {}", ended.stderr);
    }
}

fn keys_that_cannot_be_read_are_not_taken_and_nobody_new_is_believed() {
    let daemon = daemon();
    let keys = daemon.folder.path().join("keys.pem");
    let (known, unknown) = (token("user-1", 3600.0), Signer::ec().sign(&claims("user-1", json!({}))));
    let still = |name: &str| assert_eq!((status(&daemon, &known), status(&daemon, &unknown)), (200, 401), "{name}");
    for (name, text) in unusable() {
        // By a reload that names another file.
        let (file, config) = ("other.pem", format!("{DOORS}{}# {name}\n", KEYS.replace("keys.pem", "other.pem")));
        _ = fs::remove_file(daemon.folder.path().join(file));
        if let Some(text) = &text {
            fs::write(daemon.folder.path().join(file), text).unwrap();
        }
        let refusal = daemon.refuse(|| daemon.configure(&config));
        assert!(refusal.contains("jwt = { keys = \"other.pem\""), "{name}: {refusal}");
        still(name);
        // And by the file itself.
        let skip = daemon.log_lines();
        match &text {
            Some(text) => fs::write(&keys, text).unwrap(),
            None => fs::remove_file(&keys).unwrap(),
        }
        daemon.wait_for_log_after(skip, "the keys that were there before stay");
        still(name);
    }
    let skip = daemon.log_lines();
    fs::write(&keys, EC).unwrap();
    daemon.wait_for_log_after(skip, "the keys of [auth] have changed and were taken");
    assert_eq!((status(&daemon, &known), status(&daemon, &unknown)), (401, 200));
}

fn a_key_that_nobody_knows_opens_nothing() {
    let daemon = with_keys(&Signer::rsa().jwks("known"), &format!("{DOORS}{KEYS}"));
    let named = |head: &str| Signer::rsa().sign_text(head, &claims("user-1", json!({})).to_string());
    for (head, expected) in [
        (r#"{"alg":"RS256","kid":"known"}"#, 200),
        (r#"{"alg":"RS256"}"#, 200),
        (r#"{"alg":"RS256","kid":"unknown"}"#, 401),
        (r#"{"alg":"RS256","kid":"KNOWN"}"#, 401),
        (r#"{"alg":"RS256","kid":""}"#, 401),
        (r#"{"alg":"RS256","kid":["known"]}"#, 401),
        (r#"{"alg":"RS256","kid":"../keys.pem"}"#, 401),
        (r#"{"alg":"RS256","kid":"unknown","jku":"http://127.0.0.1/jwks.json"}"#, 401),
    ] {
        assert_eq!(status(&daemon, &named(head)), expected, "{head}");
    }
    let mut client = dialogue::open(&daemon.clients, "/v1/ws");
    let shown = named(r#"{"alg":"RS256","kid":"unknown"}"#);
    house::say(&mut client, &json!({"type": "auth", "token": shown}).to_string());
    assert_eq!(house::hear_close(&mut client).0, 4001);
}

fn without_any_keys_every_token_is_refused() {
    // Where an identity is required, a daemon without keys does not start at all.
    let (doors, _) = DOORS.rsplit_once("[[server.endpoints]]").unwrap();
    let daemon = Daemon::start(doors);
    let shown = token("user-1", 3600.0);
    assert_eq!(status(&daemon, &shown), 401);
    for (path, _) in &PATHS[..5] {
        let line = format!("GET {path}?topic=user&token={shown} HTTP/1.1");
        let headers: &[(&str, &str)] = if *path == SSE { &[] } else { &crate::raw::UPGRADE };
        assert_eq!(http::ask(&daemon.clients, &line, headers, b"").status, 401, "{path}");
    }
    for path in ["/v1/ws", "/ws", "/ws/samples"] {
        let mut client = dialogue::open(&daemon.clients, path);
        house::say(&mut client, &json!({"type": "auth", "token": shown}).to_string());
        assert_eq!(house::hear_close(&mut client).0, 4001, "{path}");
    }
}
