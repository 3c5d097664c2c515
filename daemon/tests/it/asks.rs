//! What clients do over a WebSocket beside listening: they say who they are, publish, and ask broadcasters for something.

use libtest_mimic::Trial;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::house::{Client, hear_close, hear_json, say};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(who_may_publishes_and_everybody_hears_it),
        needs::nothing(what_may_not_be_published_is_refused_and_told),
        needs::nothing(a_command_is_answered_by_its_broadcaster),
        needs::nothing(nobody_commands_without_a_name),
        needs::nothing(publishing_is_not_bound_by_the_rate_of_commands),
    ]
}

fn config() -> String {
    let hash: String = Sha256::digest("opener").iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "[auth]\ntokens = [{{ name = \"feed\", sha256 = \"{hash}\", publish = [\"ticks:A:*\"], commands = [\"echo\"] }}]\n\
[streams.ticks]\nvisible = true\n[streams.mail]\nprivate = true\n\
[broadcasters.well]\nplugin = \"faulty\"\nsettings = {{ interval_ms = 10000 }}\n"
    )
}

/// A client that has shown the service's token.
fn known(daemon: &Daemon) -> Client {
    let mut client = daemon.connect();
    say(&mut client, r#"{"type":"auth","token":"opener","id":"who"}"#);
    let answer = hear_json(&mut client);
    assert_eq!((&answer["data"]["status"], &answer["data"]["user"]), (&json!("authenticated"), &json!("service:feed")));
    client
}

fn ask(client: &mut Client, message: Value) -> Value {
    say(client, &message.to_string());
    hear_json(client)
}

fn who_may_publishes_and_everybody_hears_it() {
    let daemon = Daemon::start(&config());
    let mut listener = daemon.subscriber("ticks");
    let mut feed = known(&daemon);
    let publish =
        json!({"type": "publish", "topic": "ticks:A:1", "kind": "tick", "data": {"n": 1}, "key": "last", "id": 8});
    let accepted = ask(&mut feed, publish);
    assert_eq!((&accepted["type"], &accepted["data"]["status"]), (&json!("response"), &json!("accepted")));
    assert_eq!((&accepted["seq"], &accepted["id"], &accepted["stream"]), (&json!(1), &json!(8), &json!("ticks")));
    let heard = hear_json(&mut listener);
    assert_eq!(
        (&heard["type"], &heard["topic"], &heard["data"]),
        (&json!("tick"), &json!("ticks:A:1"), &json!({"n": 1}))
    );
    // Without a mark it is not answered: the next answer is to the ping.
    say(&mut feed, r#"{"type":"publish","topic":"ticks:A:1","kind":"tick","data":{"n":2}}"#);
    assert_eq!(ask(&mut feed, json!({"type": "ping"}))["data"]["status"], "pong");
    assert_eq!(hear_json(&mut listener)["data"]["n"], 2);
}

fn what_may_not_be_published_is_refused_and_told() {
    let daemon = Daemon::start(&config());
    let mut nobody = daemon.connect();
    let refused = ask(&mut nobody, json!({"type": "publish", "topic": "ticks:A:1", "kind": "tick"}));
    assert_eq!(refused["data"]["code"], "authentication_required");
    let mut feed = known(&daemon);
    for (message, code, text) in [
        (json!({"topic": "ticks:B:1", "kind": "t"}), "forbidden", "/topic: your token may not publish to this topic"),
        (json!({"topic": "ticks", "kind": "t"}), "forbidden", "/topic: your token may not publish to this topic"),
        (json!({"topic": "nope:A", "kind": "t"}), "unknown_stream", "/stream: unknown stream \"nope\""),
        (json!({"topic": "well:A", "kind": "t"}), "forbidden", "/stream: stream \"well\" belongs to the broadcaster"),
        (json!({"kind": "t"}), "missing_stream", "/stream: \"stream\" is missing"),
        (json!({"topic": "ticks:A:1"}), "invalid_message", "/type: \"type\" is missing; it says what happened"),
        (json!({"topic": "ticks:A:1", "kind": "error"}), "invalid_message", "/type: an event cannot be of the kind"),
        (json!({"topic": "ticks:A:1", "kind": "t", "data": 7}), "invalid_message", "/data: \"data\" must be an object"),
        (
            json!({"topic": "ticks:A:1", "kind": "t", "audience": "u"}),
            "invalid_message",
            "/audience: the event has an audience",
        ),
        (json!({"topic": "ticks:A:1", "kind": "t", "pad": 7}), "invalid_message", "/pad: unknown field \"pad\""),
    ] {
        let mut message = message;
        message["type"] = "publish".into();
        let refused = ask(&mut feed, message.clone());
        assert_eq!((&refused["type"], &refused["data"]["code"]), (&json!("error"), &json!(code)), "{message}");
        let told = refused["data"]["message"].as_str().unwrap();
        assert!(told.starts_with(text), "{message}: {told}");
    }
}

fn a_command_is_answered_by_its_broadcaster() {
    let daemon = Daemon::start(&config());
    let mut feed = known(&daemon);
    let command = |command: &str, data: Value| json!({"type": "command", "stream": "well", "command": command, "data": data, "id": "7"});
    let done = ask(&mut feed, command("echo", json!({"text": "again"})));
    assert_eq!((&done["type"], &done["data"]["status"], &done["id"]), (&json!("response"), &json!("ok"), &json!("7")));
    assert_eq!(done["data"]["result"]["payload"]["text"], "again", "{done}");
    assert_eq!(ask(&mut feed, command("nope", Value::Null))["data"]["code"], "invalid_params");
    let other = json!({"type": "command", "stream": "ticks", "command": "echo", "id": 1});
    assert_eq!(ask(&mut feed, other)["data"]["code"], "unknown_stream");
    let line = daemon.wait_for_log("\"audit\"");
    assert!(line.contains("feed") && line.contains("echo") && !line.contains("again"), "{line}");
}

fn nobody_commands_without_a_name() {
    let daemon = Daemon::start(&config());
    let mut nobody = daemon.connect();
    let refused = ask(&mut nobody, json!({"type": "command", "stream": "well", "command": "echo", "id": 1}));
    assert_eq!(refused["data"]["code"], "authentication_required");
    let mut wrong = daemon.connect();
    let refused = ask(&mut wrong, json!({"type": "auth", "token": "wrong"}));
    assert_eq!(refused["data"]["code"], "authentication_required");
    assert_eq!(hear_close(&mut wrong).0, 4001, "who shows a wrong token is sent away");
}

fn publishing_is_not_bound_by_the_rate_of_commands() {
    let daemon = Daemon::start(&config());
    let mut listener = daemon.subscriber("ticks");
    let mut feed = known(&daemon);
    for n in 0..1000 {
        say(&mut feed, &json!({"type": "publish", "topic": "ticks:A:1", "kind": "tick", "data": {"n": n}}).to_string());
    }
    assert!((0..1000).all(|n| hear_json(&mut listener)["data"]["n"] == n));
}
