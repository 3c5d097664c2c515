//! The clients of the dialects `fastws` and `user` in Node and in a browser: the line to paste as it is printed, and two
//! users at one door.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

use broadcastd::dialect::Dialect;
use broadcastd::event::Draft;
use broadcastd::hub::settings::Settings;
use broadcastd::identity::{Auth, Identity};
use broadcastd::shard::inbox::{Endpoint, Inbound, Newcomer};
use serde_json::Value;
use tungstenite::handshake::server::{Request, Response};

use super::{Clerk, run};
use crate::house::{self, House, config, open, shard_config};
use crate::http::{self, PATIENCE};
use crate::process::Daemon;

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
const told = process.argv[1], url = process.argv[2];
const tell = line => fetch(told, { method: "POST", body: line });
for (const [name, token] of [["a", "user-1"], ["b", "user-1"], ["c", "user-10"]]) {
  const socket = new (require("ws"))(`${url}/ws/user?token=${token}`);
  let telling = Promise.resolve();
  socket.onmessage = ({ data }) => {
    const { type, user_id, data: event } = JSON.parse(data);
    telling = telling.then(() => tell(`${name} ${type} ${user_id ?? JSON.stringify(event)}`));
  };
  socket.onclose = ({ code }) => (telling = telling.then(() => tell(`${name} closed ${code}`)));
}
"#;

/// As the original client connects: a token in the query, and not a word after that.
pub fn two_users_hear_their_own_and_nothing_else() {
    let house = House::with(config(), shard_config());
    house.hub.declare("user", Settings { private: true, ..Settings::default() });
    let door = door(&house);
    let clerk = Clerk::start(|_| String::new());
    let _node = run(Command::new("node").args(["-e", USERS, &clerk.address, &format!("ws://{door}")]));
    let hear = |count: usize| {
        let lines = (0..count).map(|_| clerk.lines.recv_timeout(PATIENCE).unwrap());
        let mut lines: Vec<String> = lines.collect();
        lines.sort_by_key(|line| line.chars().next()); // each client's are in their order, of several in none
        lines
    };
    assert_eq!(hear(3), ["a CONNECTED user-1", "b CONNECTED user-1", "c CONNECTED user-10"]);
    let tell = |audience: &str, kind: &str, payload: &str| {
        let draft = Draft { kind, audience, payload: payload.as_bytes(), ..Draft::default() };
        house.hub.stream("user").unwrap().publish(&draft, None).unwrap();
    };
    for round in 0..20 {
        for user in ["user-1", "user-10", "user-100", "user-", "User-1", "user-1 "] {
            tell(user, "PNL_UPDATE", &format!(r#"{{"round":{round},"of":"{user}"}}"#));
        }
    }
    let told = |(name, user)| {
        (0..20).map(move |round| format!(r#"{name} PNL_UPDATE {{"pnl":{{"round":{round},"of":"{user}"}}}}"#))
    };
    let expected: Vec<String> =
        [("a", "user-1"), ("b", "user-1"), ("c", "user-10")].into_iter().flat_map(told).collect();
    assert_eq!(hear(60), expected);
    for shard in &house.shards {
        shard.inbox.hand(Inbound::LogOut("user-1".into()));
    }
    assert_eq!(hear(4), ["a USER_LOGOUT {}", "a closed 4001", "b USER_LOGOUT {}", "b closed 4001"]);
    tell("user-1", "PNL_UPDATE", "{}");
    tell("user-10", "PNL_UPDATE", r#"{"still":"there"}"#);
    assert_eq!(hear(1), [r#"c PNL_UPDATE {"pnl":{"still":"there"}}"#]);
}

/// A door that believes what it is told, in the place of one that checks tokens.
#[expect(clippy::result_large_err, reason = "the error is what the handshake's callback may answer")]
fn door(house: &House) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let inboxes: Vec<_> = house.shards.iter().map(|shard| shard.inbox.clone()).collect();
    let streams = vec!["user".to_owned()];
    let endpoint = Arc::new(Endpoint { streams, auth: Auth::Required, ..Endpoint::open("/ws/user", Dialect::User) });
    std::thread::spawn(move || {
        for (socket, inbox) in listener.incoming().map_while(Result::ok).zip(inboxes.iter().cycle()) {
            let mut user = String::new();
            let see = |request: &Request, response: Response| {
                user = request.uri().query().unwrap().strip_prefix("token=").unwrap().to_owned();
                Ok(response)
            };
            let socket = tungstenite::accept_hdr(socket, see).unwrap().get_ref().try_clone().unwrap();
            socket.set_nonblocking(true).unwrap();
            let identity = Some(Arc::new(Identity::of_user(&user)));
            let newcomer = Newcomer { identity, ..Newcomer::over(socket, endpoint.clone()) };
            inbox.hand(Inbound::Adopt(Box::new(newcomer)));
        }
    });
    address
}

/// The refusal that the original's clients know, before anything is upgraded.
pub fn who_shows_no_valid_token_is_refused_before_the_upgrade() {
    let endpoint = Endpoint { auth: Auth::Required, ..Endpoint::open("/ws/user", Dialect::User) };
    let mut config = config();
    config.endpoints[0].endpoint = endpoint;
    let house = House::with(config, shard_config());
    let address = house.address();
    for (query, headers) in [
        ("", &[][..]),
        ("?token=nobody", &[]),
        ("", &[("Authorization", "Bearer nobody")]),
        ("", &[("Authorization", "Basic dTpw")]),
    ] {
        let uri = format!("ws://{address}/ws/user{query}");
        let Err(answer) = open(http::connect(&address), &uri, headers) else { panic!("{uri} {headers:?}") };
        let body = r#"{"error":"UNAUTHORIZED","message":"authentication required for WebSocket connection"}"#;
        assert_eq!((answer.status, &*answer.body), (401, body), "{uri} {headers:?}");
        assert!(answer.header("content-type") == Some("application/json"), "{}", answer.head);
    }
}

/// More than anybody is granted, and little enough to be sent without being read.
const FLOOD: usize = 5000;

/// Whatever a client of `user` says is ignored, but a flood of it ends the connection.
pub fn a_flood_of_what_is_ignored_ends_the_connection() {
    let house = House::with(config(), shard_config());
    house.hub.declare("user", Settings { private: true, ..Settings::default() });
    let address = door(&house);
    let uri = format!("ws://{address}/ws/user?token=user-1");
    let request = tungstenite::ClientRequestBuilder::new(uri.parse().unwrap());
    let (mut client, _) = tungstenite::client(request, http::connect(&address)).unwrap();
    let connected: Value = serde_json::from_str(&client.read().unwrap().into_text().unwrap()).unwrap();
    assert_eq!(connected["type"], "CONNECTED");
    for _ in 0..FLOOD {
        client.send(tungstenite::Message::text("{}")).unwrap();
    }
    assert_eq!(house::hear_close(&mut client).0, 1008);
}
