//! What the log and the metrics say of users: lines for operators, under a target of their own, and nothing anywhere else.

use broadcastd::event::unix_now;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::events::Events;
use crate::house::{self, hear_json, say};
use crate::http::{ask, get};
use crate::needs;
use crate::process::Daemon;
use crate::reads::{SECRET, token};

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(users_are_named_to_operators_and_nowhere_else)]
}

const CONFIG: &str = "[log]\nlevel = \"debug\"\n[auth]\njwt = { secret = { env = \"JWT\" } }\n\
[streams.mail]\nvisible = true\nprivate = true\n[streams.ticks]\nvisible = true\n";
const USER: &str = "zelda-7";
const LETTER: &str = "between you and me";

fn users_are_named_to_operators_and_nowhere_else() {
    let daemon = Daemon::start_with(CONFIG, &[("JWT", SECRET)]);
    let bearer = format!("Bearer {}", token(USER, unix_now(), &json!({"publish": ["ticks"]})));
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let mut client = house::connect(&daemon.clients, &headers[..1]).unwrap();
    let mut events = Events::open(&daemon.clients, "topic=mail", &headers[..1]);
    house::subscribe(&mut client, "mail");
    let letter = json!({"type": "letter", "topic": "mail:inbox", "data": {"text": LETTER}, "audience": USER});
    assert_eq!(daemon.publish("mail", &letter).status, 202);
    assert_eq!(hear_json(&mut client)["type"], "letter");
    while events.next().event != "letter" {}
    for line in ["POST /v1/streams/ticks/publish HTTP/1.1", "POST /v1/streams/mail/publish HTTP/1.1"] {
        ask(&daemon.clients, line, &headers, letter.to_string().as_bytes());
    }
    let read = ask(&daemon.clients, "GET /v1/streams/mail/history HTTP/1.1", &headers[..1], b"");
    assert_eq!(read.status, 200);
    let expired = format!("Bearer {}", token(USER, 0, &json!({})));
    assert_eq!(house::connect(&daemon.clients, &[("Authorization", &expired)]).unwrap_err().status, 401);
    say(&mut client, r#"{"type":"subscribe","stream":"nope"}"#);
    hear_json(&mut client);
    assert_eq!(daemon.get_proven(&format!("/v1/streams/mail/history?audience={USER}")).status, 200);
    let id = get(&daemon.admin, "/v1/connections").json()["connections"][0]["id"].as_str().unwrap().to_owned();
    for path in [format!("/v1/connections/{id}"), format!("/v1/users/{USER}/connections")] {
        let line = format!("DELETE {path} HTTP/1.1");
        assert_eq!(ask(&daemon.admin, &line, &[], b"").json(), json!({"closed": 1}), "{path}");
    }
    daemon.wait_for_log("log a user out");
    daemon.reload(|| daemon.signal("HUP")); // whatever is said of the ends has been said
    let log = daemon.log_text();
    assert!(log.contains("\"level\":\"DEBUG\""), "{log}");
    assert!(!log.contains(LETTER), "{log}");
    let lines = log.lines().filter(|line| line.contains(USER) || line.contains("\"audit\""));
    let told = |line: Value| ["target", "principal", "act", "whom"].map(|field| line[field].clone());
    let told: Vec<[Value; 4]> = lines.map(|line| told(serde_json::from_str(line).unwrap())).collect();
    let expected = [("read a private log", USER), ("close a connection", &*id), ("log a user out", USER)];
    let expected = expected.map(|(act, whom)| ["audit", "operator:admin", act, whom].map(Value::from));
    assert_eq!(told, expected, "{log}");
    let metrics = get(&daemon.admin, "/metrics").body;
    assert!(metrics.contains("stream=\"mail\"") && !metrics.contains(USER), "{metrics}");
}
