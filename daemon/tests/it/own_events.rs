//! What users are promised of their own events, at every door: who they are, that all of it comes and nothing else.

use std::time::Instant;

use broadcastd::dialect::Dialect;
use broadcastd::event::{Draft, unix_now};
use broadcastd::hub::settings::Settings;
use broadcastd::identity;
use broadcastd::identity::Auth;
use broadcastd::identity::keys::Key;
use broadcastd::server::EndpointConfig;
use broadcastd::shard::inbox::Endpoint;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::events::Events;
use crate::house::{self, Client, House, hear_close, say};
use crate::http::{self, Answer, ask};
use crate::needs;
use crate::process::Daemon;
use crate::raw::UPGRADE;
use crate::reads::{SECRET, token};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(every_connection_of_a_user_hears_all_that_is_its_own_in_order),
        needs::nothing(nobody_becomes_another_by_what_is_said),
        needs::nothing(who_cannot_be_checked_is_nobody),
    ]
}

const CONFIG: &str = r#"
[auth]
jwt = { secret = { env = "JWT" } }
[streams.user]
visible = true
private = true
broadcast = ["SYSTEM_STATUS_UPDATE"]
[[server.endpoints]]
path = "/v1/ws"
[[server.endpoints]]
path = "/v1/sse"
dialect = "sse"
[[server.endpoints]]
path = "/ws/user"
dialect = "user"
streams = ["user"]
auth = "required"
"#;
/// Kinds of the events that are for one user, and of those that are for all.
const OWN: &str = "TRADE_UPDATE";
const FOR_ALL: &str = "SYSTEM_STATUS_UPDATE";
const ROUNDS: u64 = 50;

fn daemon() -> Daemon {
    Daemon::start_with(CONFIG, &[("JWT", SECRET), ("BROADCASTD_SERVER__SHARDS", "2")])
}

fn bearer(user: &str) -> String {
    format!("Bearer {}", token(user, unix_now(), &json!({})))
}

/// One connection that hears what is its user's.
enum Ear {
    Socket(Box<Client>),
    Events(Events),
}

impl Ear {
    fn native(daemon: &Daemon, user: &str) -> Self {
        let mut client = house::connect(&daemon.clients, &[("Authorization", &bearer(user))]).unwrap();
        house::subscribe(&mut client, "user");
        Self::Socket(client.into())
    }

    fn user(daemon: &Daemon, user: &str) -> Self {
        let uri = format!("ws://{}/ws/user", daemon.clients);
        let request = tungstenite::ClientRequestBuilder::new(uri.parse().unwrap());
        let request = request.with_header("Authorization", bearer(user));
        let (client, _) = tungstenite::client(request, http::connect(&daemon.clients)).unwrap();
        let mut ear = Self::Socket(client.into());
        let greeting = ear.next();
        assert_eq!((&greeting["type"], &greeting["user_id"]), (&json!("CONNECTED"), &json!(user)));
        ear
    }

    fn events(daemon: &Daemon, user: &str) -> Self {
        let mut events = Events::open(&daemon.clients, "topic=user", &[("Authorization", &bearer(user))]);
        while events.next().event != "full_update" {}
        Self::Events(events)
    }

    fn next(&mut self) -> Value {
        match self {
            Self::Events(events) => events.next().data,
            Self::Socket(client) => loop {
                match client.read().unwrap() {
                    Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                    Message::Ping(_) => {}
                    other => panic!("{other:?}"),
                }
            },
        }
    }

    /// Everything up to the next event that is for all, each as its kind and whose it is.
    fn heard(&mut self) -> Vec<(String, Value)> {
        let mut heard = Vec::new();
        loop {
            let mut event = self.next();
            let kind = event["type"].as_str().unwrap().to_owned();
            if kind == FOR_ALL {
                return heard;
            }
            heard.push((kind, event["data"].take()));
        }
    }
}

fn every_connection_of_a_user_hears_all_that_is_its_own_in_order() {
    let daemon = daemon();
    let users = ["user-1", "user-10"];
    let ears = |user: &'static str| {
        let doors = [Ear::native, Ear::user, Ear::user, Ear::events, Ear::native, Ear::user];
        doors.map(|door| (user, door(&daemon, user)))
    };
    let mut ears = users.map(ears);
    let own = |user: &str, round: u64| json!({"round": round, "of": user});
    for round in 0..ROUNDS {
        let addressed = users.map(|user| json!({"type": OWN, "audience": user, "data": own(user, round)}));
        let unaddressed = json!({"type": OWN, "data": own("nobody", round)});
        let mut none = unaddressed.clone();
        none["audience"] = Value::Null;
        let body = Value::from([&addressed[..], &[unaddressed, none]].concat());
        assert_eq!(daemon.publish("user", &body).json()["accepted"], 4);
    }
    let for_nobody = json!({"type": OWN, "audience": "", "data": {}});
    assert_eq!(daemon.publish("user", &for_nobody).status, 202);
    assert_eq!(daemon.publish("user", &json!({"type": FOR_ALL, "data": {}})).status, 202);
    for (user, ear) in ears.as_flattened_mut() {
        let expected: Vec<_> = (0..ROUNDS).map(|round| (OWN.to_owned(), own(user, round))).collect();
        assert_eq!(ear.heard(), expected);
    }
    let unaddressed = daemon.metric("broadcastd_events_unaddressed_total{stream=\"user\"}");
    assert_eq!(unaddressed, Some(2.0 * ROUNDS as f64 + 1.0));
}

/// Everywhere that a name could stand, it says nothing of who somebody is.
fn nobody_becomes_another_by_what_is_said() {
    let daemon = daemon();
    let tell = |user: &str, key: &str| {
        let event = json!({"type": OWN, "audience": user, "key": key, "data": {"of": user}});
        assert_eq!(daemon.publish("user", &event).status, 202);
    };
    (0..3).for_each(|_| tell("user-1", "k"));
    let own = bearer("user-10");
    let claims =
        [("Authorization", &*own), ("X-User-Id", "user-1"), ("X-Forwarded-User", "user-1"), ("Cookie", "user=user-1")];
    let claiming = ["user", "user_id", "audience", "sub"].map(|name| format!("{name}=user-1")).join("&");
    let uri = format!("ws://{}/v1/ws?{claiming}", daemon.clients);
    let mut client = house::open(http::connect(&daemon.clients), &uri, &claims).unwrap();
    let epoch = daemon.get_proven("/v1/streams/user?audience=user-1").json()["position"]["epoch"].take();
    for named in ["user", "user_id", "audience", "session_id", "client_id", "params"] {
        let mut wish = json!({"type": "subscribe", "stream": "user", "since": {"epoch": epoch, "seq": 1}});
        wish[named] = json!("user-1");
        say(&mut client, &wish.to_string());
    }
    for topic in ["user:user-1", "user:*", "user", "*", "user:user-1:*"] {
        say(&mut client, &json!({"type": "subscribe", "topic": topic}).to_string());
    }
    say(&mut client, r#"{"type":"ping","id":"all was answered"}"#);
    let mut said = vec![house::hear(&mut client)];
    while !said.last().unwrap().contains("all was answered") {
        said.push(house::hear(&mut client));
    }
    assert!(said.iter().any(|text| text.contains("\"subscribed\"")), "{said:?}");
    tell("user-1", "k");
    tell("user-10", "k");
    said.push(house::hear(&mut client));
    assert!(said.pop().unwrap().contains(r#"{"of":"user-10"}"#), "its own comes, and user-1's came before");
    assert!(!said.iter().any(|text| text.contains(r#""of""#)), "{said:?}");
    let mut events = Events::open(&daemon.clients, &format!("topic=user&{claiming}"), &claims);
    let mut shown = events.next();
    while shown.event != "full_update" {
        shown = events.next();
    }
    assert_eq!(shown.data["data"], json!({"records": [{"of": "user-10"}]}));
}

/// A house that has a key to check tokens with, or none.
fn house() -> House {
    let mut config = house::config();
    for endpoint in [
        Endpoint::open("/v1/sse", Dialect::Sse),
        Endpoint {
            streams: vec!["user".to_owned()],
            auth: Auth::Required,
            ..Endpoint::open("/ws/user", Dialect::User)
        },
    ] {
        config.endpoints.push(EndpointConfig { listen: None, endpoint });
    }
    let house = House::with(config, house::shard_config());
    let user = house.hub.declare("user", Settings { private: true, ..Settings::default() });
    user.publish(&Draft { kind: OWN, audience: "user-1", payload: b"{}", ..Draft::default() }, None).unwrap();
    house
}

/// A door to what is private, and what it answers to whom it lets in.
const DOORS: [(&str, u16); 6] = [
    ("GET /ws/user HTTP/1.1", 101),
    ("GET /v1/sse?topic=user HTTP/1.1", 200),
    ("GET /v1/streams/user/history HTTP/1.1", 200),
    ("GET /v1/streams/user/snapshot HTTP/1.1", 200),
    ("POST /v1/streams/user/publish HTTP/1.1", 202),
    ("POST /v1/broadcasters/bars/commands/poke HTTP/1.1", 404),
];

fn who_cannot_be_checked_is_nobody() {
    let house = house();
    let signed = token("user-1", unix_now(), &json!({"publish": ["user"]}));
    let bearer = format!("Bearer {signed}");
    let shown = |line: &str, shows: &[(&str, &str)]| -> Answer {
        let json = [("Content-Type", "application/json")];
        let (asks, body) = match line.split(' ').next() {
            Some("POST") => (&json[..], r#"{"type":"a","audience":"user-1"}"#),
            _ => (&UPGRADE[..], ""),
        };
        ask(&house.address(), line, &[asks, shows].concat(), body.as_bytes())
    };
    let statuses = |shows: &[(&str, &str)]| DOORS.map(|(line, _)| shown(line, shows).status);
    let first = || {
        let mut client = house.connect();
        say(&mut client, &json!({"type": "auth", "token": signed}).to_string());
        client
    };
    let token = [("Authorization", &*bearer)];
    assert_eq!(statuses(&token), [401; DOORS.len()], "there is no key to check it with");
    assert_eq!(house.try_connect(&token).err().unwrap().status, 401, "also where nobody has to show one");
    assert_eq!(hear_close(&mut first()).0, 4001);
    let keys = vec![Key::secret(SECRET.as_bytes()).unwrap()];
    house.verifier.set(identity::Config { keys, ..identity::Config::default() }, Instant::now());
    assert_eq!(statuses(&token), DOORS.map(|(_, status)| status));
    assert_eq!(house::hear_json(&mut first())["data"]["status"], "authenticated");
    let nobody = statuses(&[]);
    assert_eq!(nobody, [401, 200, 401, 401, 401, 401], "server-sent events may have other topics, too");
    let mut events = Events::open(&house.address(), "topic=user", &[]);
    let mut nobody = house.connect();
    say(&mut nobody, r#"{"type":"subscribe","stream":"user"}"#);
    events.next();
    for told in [events.next().data, house::hear_json(&mut nobody)] {
        assert_eq!(told["data"]["code"], "authentication_required");
    }
}
