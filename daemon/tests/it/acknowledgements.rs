//! Violations of control charts are acknowledged by every door, everybody learns it once, and no end of the daemon makes
//! an acknowledgement that of another violation.

use broadcastd::event::unix_now;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::charts::{acknowledge, config, publish, sample};
use crate::dialogue;
use crate::events::Events;
use crate::house::{self, Client, hear_json, say};
use crate::http::{self, Answer};
use crate::needs;
use crate::process::Daemon;
use crate::reads::{SECRET, token};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(whoever_acknowledges_by_whatever_door_everybody_learns_it_once),
        needs::nothing(no_number_is_given_again_after_a_kill),
        needs::nothing(what_was_saved_stays_acknowledged_after_a_kill),
    ]
}

/// A mean and a standard deviation that are known, so that each 9 is one violation.
const SETTINGS: &str =
    r#"{ auto = { chart = "imr", rules = [1], limits = { mode = "standard", mean = 0, sigma = 1 } } }"#;
const COMMAND: &str = "/v1/broadcasters/alerts/commands/acknowledge";

/// John, who may acknowledge; Jane, who may not; and the program `line`, which may.
fn trusting() -> String {
    let hash: String = Sha256::digest("opener").iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "[[server.endpoints]]\npath = \"/v1/sse\"\ndialect = \"sse\"\n[auth]\njwt = {{ secret = {{ env = \"SIGNED_WITH\" }} }}\n\
         tokens = [{{ name = \"line\", sha256 = \"{hash}\", streams = [\"alerts\"], commands = [\"alerts.acknowledge\"] }}]\n{}",
        config(SETTINGS)
    )
}

fn john() -> String {
    token("john.doe", unix_now(), &json!({"commands": ["alerts.acknowledge"]}))
}

/// Measures each of these characteristics once, far out, and gives the numbers of the violations.
fn violate(daemon: &Daemon, characteristics: &[&str]) -> Vec<u64> {
    let mut listener = daemon.subscriber("alerts");
    let far: Vec<Value> = characteristics.iter().map(|id| sample(json!(id), json!({"value": 9}))).collect();
    publish(daemon, &far);
    let mut next = || loop {
        let said = hear_json(&mut listener);
        if said["type"] == "violation" {
            return said["data"]["violation_id"].as_u64().unwrap();
        }
    };
    characteristics.iter().map(|_| next()).collect()
}

/// Over HTTP, at the door of clients.
fn by_client(daemon: &Daemon, token: Option<&str>, violation: u64) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
    let body = json!({"violation_id": violation, "reason": "Tool Change"}).to_string();
    http::ask(&daemon.clients, &format!("POST {COMMAND} HTTP/1.1"), &headers, body.as_bytes())
}

/// Over a WebSocket. The connection's own news of it may come before the answer.
fn by_socket(client: &mut Client, violation: u64) -> (Value, Vec<Value>) {
    let data = json!({"violation_id": violation, "reason": "False Alarm"});
    let command = json!({"type": "command", "stream": "alerts", "command": "acknowledge", "data": data, "id": "1"});
    say(client, &command.to_string());
    let mut news = Vec::new();
    loop {
        let said = hear_json(client);
        if said["id"] == "1" {
            return (said["data"].clone(), news);
        }
        news.push(said);
    }
}

fn whoever_acknowledges_by_whatever_door_everybody_learns_it_once() {
    let env = [("SIGNED_WITH", SECRET)];
    let daemon = Daemon::start_with(&trusting(), &env);
    let ids = violate(&daemon, &["1", "2", "3", "4"]);
    let mut by_number = dialogue::open(&daemon.clients, "/ws/samples");
    say(&mut by_number, r#"{"type":"subscribe","characteristic_ids":[7]}"#);
    assert_eq!(hear_json(&mut by_number)["type"], "subscribed");
    let mut bystander = dialogue::open(&daemon.clients, "/ws/samples");
    say(&mut bystander, r#"{"type":"ping"}"#);
    assert_eq!(hear_json(&mut bystander)["type"], "pong", "it is there, and subscribed to nothing");
    let mut native = daemon.connect();
    say(&mut native, r#"{"type":"subscribe","topic":"alerts:7"}"#);
    assert_eq!(
        [hear_json(&mut native), hear_json(&mut native)].map(|said| said["type"].clone()),
        ["response", "full_update"]
    );
    let mut john = house::connect(&daemon.clients, &[("Authorization", &format!("Bearer {}", john()))]).unwrap();
    house::subscribe(&mut john, "alerts");
    let mut page = Events::open(&daemon.clients, "topic=alerts:7", &[]);
    let mut expected = Vec::new();

    let (done, mut news) = by_socket(&mut john, ids[0]);
    assert_eq!(done["status"], "ok", "{done}");
    expected.push(json!([ids[0], "john.doe", "False Alarm"]));
    let (again, more) = by_socket(&mut john, ids[0]);
    assert!(again["code"] == "command_failed" && again["message"].to_string().contains("john.doe"), "{again}");
    news.extend(more);
    let refused = by_client(&daemon, Some("opener"), ids[0]);
    assert!(refused.status == 409 && refused.body.contains("was acknowledged by \\\"john.doe\\\""), "{refused:?}");

    let answer = by_client(&daemon, Some("opener"), ids[1]);
    assert_eq!((answer.status, &answer.json()["result"]["user"]), (200, &json!("service:line")));
    expected.push(json!([ids[1], "service:line", "Tool Change"]));
    assert_eq!(by_client(&daemon, Some("opener"), ids[1]).status, 409);
    let (again, more) = by_socket(&mut john, ids[1]);
    assert!(again["message"].to_string().contains("service:line"), "{again}");
    news.extend(more);

    assert_eq!(acknowledge(&daemon, &json!(ids[2])).status, 200, "and on the operator's listener");
    expected.push(json!([ids[2], "operator:admin", "Tool Change"]));
    let jane = token("jane", unix_now(), &json!({}));
    assert_eq!([Some(&*jane), None].map(|token| by_client(&daemon, token, ids[3]).status), [403, 401]);
    say(&mut bystander, &json!({"type": "acknowledge", "violation_id": ids[3]}).to_string());

    // What everybody hears next is of a sample behind all that.
    publish(&daemon, &[sample(json!(7), json!({"value": 0}))]);
    let told = |said: &Value, payload: &str| {
        let data = &said[payload];
        json!([data["violation_id"], data["user"], data["reason"]])
    };
    let until_sample = |client: &mut Client, payload: &str, mut all: Vec<Value>| {
        while all.last().is_none_or(|said| said["type"] != "sample") {
            all.push(hear_json(client));
        }
        let updates = all.iter().filter(|said| said["type"] == "ack_update");
        assert_eq!(updates.map(|said| told(said, payload)).collect::<Vec<_>>(), expected);
    };
    until_sample(&mut by_number, "payload", Vec::new());
    until_sample(&mut native, "data", Vec::new());
    until_sample(&mut john, "data", news);
    for update in &expected {
        assert_eq!(&told(&hear_json(&mut bystander), "payload"), update);
    }
    let answer = hear_json(&mut bystander);
    assert_eq!(
        answer,
        json!({"type": "error", "message": "Unknown message type: acknowledge"}),
        "it has no word for it"
    );
    let mut blocks = std::iter::repeat_with(|| page.next()).filter(|block| block.event == "ack_update");
    assert!(expected.iter().all(|update| told(&blocks.next().unwrap().data, "data") == *update));

    let (status, folder) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    let daemon = Daemon::start_in(folder, &trusting(), &env);
    let status = |violation: u64| by_client(&daemon, Some("opener"), violation).status;
    assert_eq!([ids[0], ids[1], ids[2], ids[3], ids[3]].map(status), [409, 409, 409, 200, 409], "in another life");
}

fn no_number_is_given_again_after_a_kill() {
    const LIVES: usize = 4;
    let mut folder = tempfile::tempdir().unwrap();
    let mut given: Vec<(String, u64)> = Vec::new();
    for life in 0..LIVES {
        let daemon = Daemon::start_in(folder, &config(SETTINGS), &[]);
        let own = format!("life {life}");
        let numbers = violate(&daemon, &[&own, &own, &own]);
        let newest = given.last().map_or(0, |(_, number)| *number);
        assert!(numbers.is_sorted() && numbers[0] > newest, "{numbers:?} behind {given:?}");
        // What was not saved is forgotten; whoever names it touches nothing that has come since.
        for (characteristic, number) in &given {
            let answer = acknowledge(&daemon, &json!(number));
            let is_own = || answer.json()["result"]["characteristic_id"] == **characteristic;
            assert!(answer.status == 404 || answer.status == 200 && is_own(), "{characteristic}: {answer:?}");
        }
        given = numbers.into_iter().map(|number| (own.clone(), number)).collect();
        daemon.signal("KILL");
        folder = daemon.wait().1;
    }
}

fn what_was_saved_stays_acknowledged_after_a_kill() {
    let daemon = Daemon::start(&config(SETTINGS));
    let ids = violate(&daemon, &["1", "2", "3"]).into_iter().map(Value::from).collect::<Vec<_>>();
    assert_eq!(acknowledge(&daemon, &ids[0]).status, 200);
    let (status, folder) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    let daemon = Daemon::start_in(folder, &config(SETTINGS), &[]);
    assert_eq!(acknowledge(&daemon, &ids[1]).status, 200);
    daemon.signal("KILL");
    let daemon = Daemon::start_in(daemon.wait().1, &config(SETTINGS), &[]);
    assert_eq!(acknowledge(&daemon, &ids[0]).status, 409);
    // The newest one may have been forgotten: then its violation is open again, under its own number.
    let again = acknowledge(&daemon, &ids[1]);
    let is_own = || again.json()["result"]["characteristic_id"] == "2";
    assert!(again.status == 409 || again.status == 200 && is_own(), "{again:?}");
    assert_eq!([&ids[1], &ids[2], &ids[2]].map(|id| acknowledge(&daemon, id).status), [409, 200, 409]);
}
