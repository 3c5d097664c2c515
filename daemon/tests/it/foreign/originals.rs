//! The clients of the dialects `fastws` and `user` in Node and in a browser: the line to paste as it is printed, and two
//! users at one door.

use std::process::Command;

use broadcastd::event::unix_now;
use serde_json::{Value, json};

use super::{Clerk, run};
use crate::house::{self, open};
use crate::http::{self, PATIENCE, ask};
use crate::process::Daemon;
use crate::reads::{SECRET, token};

/// The page that shows the bars client, which has to work as it stands there.
const PAGE: &str = include_str!("../../../../docs/dialect-fastws.md");
const SHIPPED: &str = include_str!("../../../../config.toml");
/// The port in that page.
const PRINTED: &str = "localhost:8000";
/// Enough for the client to have been silent for several times what a silent client is granted.
const BARS: usize = 100;
const FAST: [(&str, &str); 3] = [
    ("BAR_BROADCASTER_INTERVAL", "0.05"),
    ("BROADCASTD_HUB__PING__EVERY", "100ms"),
    ("BROADCASTD_HUB__PING__DROP_AFTER", "1s"),
];

pub fn the_printed_bars_client_runs_in_node() {
    let (daemon, clerk) = (market(), Clerk::start(|_| String::new()));
    let script = format!("const WebSocket = require('ws');{}", client(&daemon, &clerk.address));
    let _node = run(Command::new("node").args(["-e", &script]));
    hears_bars(&clerk);
}

pub fn the_printed_bars_client_runs_in_chromium() {
    let daemon = market();
    let clerk = Clerk::start(|told| format!("<!doctype html><script>{}</script>", client(&daemon, told)));
    let profile = tempfile::tempdir().unwrap();
    let _browser = run(Command::new("chromium-headless-shell")
        .args(["--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(&clerk.address));
    hears_bars(&clerk);
}

/// The shipped configuration on ports of the kernel's choice, faster.
fn market() -> Daemon {
    let (_, endpoints) = SHIPPED.split_once("[[server.endpoints]]").unwrap();
    let (endpoints, rest) = endpoints.split_once("\n[admin]").unwrap();
    let (_, rest) = rest.split_once("\n[hub]").unwrap();
    Daemon::start_with(&format!("[[server.endpoints]]{endpoints}\n[hub]{rest}"), &FAST)
}

/// The client as it is printed, but for the port; whatever it logs is told.
fn client(daemon: &Daemon, told: &str) -> String {
    let (_, printed) = PAGE.split_once("```js\n").unwrap();
    let (printed, _) = printed.split_once("```").unwrap();
    let port = daemon.clients.rsplit_once(':').unwrap().1;
    assert!(printed.contains(PRINTED), "{printed}");
    let printed = printed.replace(PRINTED, &format!("localhost:{port}"));
    let tell = format!("fetch(\"{told}\", {{ method: \"POST\", body: JSON.stringify(words) }})");
    format!("console.log = (...words) => {tell};{printed}")
}

fn hears_bars(clerk: &Clerk) {
    for count in 0..BARS {
        let line = clerk.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing more after {count} bars"));
        let (words, bar) = line.split_once('{').unwrap();
        assert_eq!(words, r#"["new bar:","#, "{line}");
        let names: Vec<&str> =
            bar.trim_end_matches("}]").split(',').map(|pair| pair.split(':').next().unwrap()).collect();
        let expected = ["\"time\"", "\"open\"", "\"high\"", "\"low\"", "\"close\"", "\"volume\""];
        assert_eq!(names, expected, "{line}");
    }
}

const USERS: &str = r#"
const [told, url, first, second] = process.argv.slice(1);
const tell = line => fetch(told, { method: "POST", body: line });
for (const [name, token] of [["a", first], ["b", first], ["c", second]]) {
  const socket = new (require("ws"))(`${url}/ws/user?token=${token}`);
  let telling = Promise.resolve();
  socket.onmessage = ({ data }) => {
    const { type, user_id, data: event } = JSON.parse(data);
    telling = telling.then(() => tell(`${name} ${type} ${user_id ?? JSON.stringify(event)}`));
  };
  socket.onclose = ({ code }) => (telling = telling.then(() => tell(`${name} closed ${code}`)));
}
"#;

/// The door of users, and their stream.
fn door() -> Daemon {
    let endpoint =
        "[[server.endpoints]]\npath = \"/ws/user\"\ndialect = \"user\"\nstreams = [\"user\"]\nauth = \"required\"\n";
    let rest = "[auth]\njwt = { secret = { env = \"JWT\" } }\n[streams.user]\nvisible = true\nprivate = true\n";
    Daemon::start_with(&format!("{endpoint}{rest}"), &[("JWT", SECRET)])
}

fn token_of(user: &str) -> String {
    token(user, unix_now(), &json!({}))
}

/// As the original client connects: a token in the query, and not a word after that.
pub fn two_users_hear_their_own_and_nothing_else() {
    let daemon = door();
    let clerk = Clerk::start(|_| String::new());
    let url = format!("ws://{}", daemon.clients);
    let _node =
        run(Command::new("node").args(["-e", USERS, &clerk.address, &url, &token_of("user-1"), &token_of("user-10")]));
    let hear = |count: usize| {
        let lines = (0..count).map(|_| clerk.lines.recv_timeout(PATIENCE).unwrap());
        let mut lines: Vec<String> = lines.collect();
        lines.sort_by_key(|line| line.chars().next()); // each client's are in their order, of several in none
        lines
    };
    assert_eq!(hear(3), ["a CONNECTED user-1", "b CONNECTED user-1", "c CONNECTED user-10"]);
    let tell = |audience: &str, kind: &str, payload: Value| {
        let event = json!({"type": kind, "audience": audience, "data": payload});
        assert_eq!(daemon.publish("user", &event).status, 202);
    };
    for round in 0..20 {
        for user in ["user-1", "user-10", "user-100", "user-", "User-1", "user-1 "] {
            tell(user, "PNL_UPDATE", json!({"round": round, "of": user}));
        }
    }
    let told = |(name, user)| {
        (0..20).map(move |round| format!(r#"{name} PNL_UPDATE {{"pnl":{}}}"#, json!({"round": round, "of": user})))
    };
    let expected: Vec<String> =
        [("a", "user-1"), ("b", "user-1"), ("c", "user-10")].into_iter().flat_map(told).collect();
    assert_eq!(hear(60), expected);
    let gone = ask(&daemon.admin, "DELETE /v1/users/user-1/connections HTTP/1.1", &[], b"");
    assert_eq!(gone.json(), json!({"closed": 2}));
    assert_eq!(hear(4), ["a USER_LOGOUT {}", "a closed 4001", "b USER_LOGOUT {}", "b closed 4001"]);
    tell("user-1", "PNL_UPDATE", json!({}));
    tell("user-10", "PNL_UPDATE", json!({"still": "there"}));
    assert_eq!(hear(1), [r#"c PNL_UPDATE {"pnl":{"still":"there"}}"#]);
}

/// The refusal that the original's clients know, before anything is upgraded.
pub fn who_shows_no_valid_token_is_refused_before_the_upgrade() {
    let daemon = door();
    let address = &daemon.clients;
    for (query, headers) in [
        ("", &[][..]),
        ("?token=nobody", &[]),
        ("", &[("Authorization", "Bearer nobody")]),
        ("", &[("Authorization", "Basic dTpw")]),
    ] {
        let uri = format!("ws://{address}/ws/user{query}");
        let Err(answer) = open(http::connect(address), &uri, headers) else { panic!("{uri} {headers:?}") };
        let body = r#"{"error":"UNAUTHORIZED","message":"authentication required for WebSocket connection"}"#;
        assert_eq!((answer.status, &*answer.body), (401, body), "{uri} {headers:?}");
        assert!(answer.header("content-type") == Some("application/json"), "{}", answer.head);
    }
}

/// More than anybody is granted, and little enough to be sent without being read.
const FLOOD: usize = 5000;

/// Whatever a client of `user` says is ignored, but a flood of it ends the connection.
pub fn a_flood_of_what_is_ignored_ends_the_connection() {
    let daemon = door();
    let uri = format!("ws://{}/ws/user?token={}", daemon.clients, token_of("user-1"));
    let (mut client, _) = tungstenite::client(uri, http::connect(&daemon.clients)).unwrap();
    let connected: Value = serde_json::from_str(&client.read().unwrap().into_text().unwrap()).unwrap();
    assert_eq!(connected["type"], "CONNECTED");
    for _ in 0..FLOOD {
        client.send(tungstenite::Message::text("{}")).unwrap();
    }
    assert_eq!(house::hear_close(&mut client).0, 1008);
}
