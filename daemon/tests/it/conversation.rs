//! The native door: one whole conversation with the real daemon, letter for letter.

use libtest_mimic::Trial;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::dialogue::Dialogue;
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![needs::nothing(everything_that_is_said)]
}

/// The service may publish one event, and then has to wait for longer than the conversation lasts.
fn config(is_enabled: bool) -> String {
    let hash: String = Sha256::digest("opener").iter().map(|byte| format!("{byte:02x}")).collect();
    let token = format!("[[auth.tokens]]\nname = \"feed\"\nsha256 = \"{hash}\"\n");
    let broadcaster = format!("[broadcasters.well]\nplugin = \"faulty\"\nenabled = {is_enabled}\n");
    format!("{STREAMS}{token}{RIGHTS}{broadcaster}settings = {{ interval_ms = 3600000 }}\n")
}

const STREAMS: &str = r#"
[hub]
max_subscriptions = 3
[streams.ticks]
visible = true
template = "{symbol}:{venue=X}"
history = { events = 4 }
[streams.mail]
visible = true
private = true
"#;
const RIGHTS: &str = r#"
streams = ["ticks:A:*", "well"]
publish = ["ticks:A:*"]
commands = ["echo", "fail"]
rate = { events = 1, burst = 1 }
"#;

fn publish(daemon: &Daemon, prices: &[(&str, u32)]) {
    for (topic, price) in prices {
        let event = json!({"type": "tick", "topic": topic, "key": "last", "data": {"price": price}});
        assert_eq!(daemon.publish("ticks", &event).status, 202);
    }
}

fn since(epoch: &Value, seq: u64) -> Value {
    json!({"epoch": epoch, "seq": seq})
}

fn everything_that_is_said() {
    let daemon = Daemon::start(&config(true));
    let mut client = Dialogue::open(&daemon.clients, "/v1/ws");
    client.hears();
    mistakes_of_strangers(&mut client);
    subscriptions(&daemon, &mut client);
    positions(&daemon, &mut client);
    a_known_client(&mut client);
    a_source_that_comes_and_goes(&daemon, &mut client);
    client.note("the daemon is stopped");
    daemon.signal("TERM");
    client.hears_close();
    client.is("native");
}

/// Says each, and hears so many messages for it.
fn says(client: &mut Dialogue, exchanges: &[(&str, usize)]) {
    for (text, answers) in exchanges {
        client.says(text);
        (0..*answers).for_each(|_| drop(client.hears()));
    }
}

fn mistakes_of_strangers(client: &mut Dialogue) {
    says(
        client,
        &[
            (r#"{"type":"ping","id":"1"}"#, 1),
            (r#"{"type":"ping","id":2} {"type":"streams"}"#, 2),
            ("hello", 1),
            ("[]", 1),
            (r#"{"id":"3"}"#, 1),
            (r#"{"type":"jump","stream":"ticks","id":"4"}"#, 1),
            (r#"{"type":"ping","id":{}}"#, 1),
            (r#"{"type":"subscribe","id":"5"}"#, 1),
            (r#"{"type":"subscribe","stream":"nope","id":"6"}"#, 1),
            (r#"{"type":"subscribe","stream":"ticks","params":{"colour":"red"},"id":"7"}"#, 1),
            (r#"{"type":"subscribe","topic":"ticks:A*","id":"8"}"#, 1),
            (r#"{"type":"subscribe","stream":"mail","id":"9"}"#, 1),
            (r#"{"type":"unsubscribe","topic":"ticks:A:X","id":"10"}"#, 1),
            (r#"{"type":"publish","topic":"ticks:A:X","kind":"tick","data":{},"id":"11"}"#, 1),
            (r#"{"type":"command","stream":"well","command":"echo","id":"12"}"#, 1),
        ],
    );
}

fn subscriptions(daemon: &Daemon, client: &mut Dialogue) {
    says(client, &[(r#"{"type":"subscribe","stream":"ticks","params":{"symbol":"A"},"id":"13"}"#, 2)]);
    client.note("news of A, of B, and of A");
    publish(daemon, &[("ticks:A:X", 1), ("ticks:B:X", 2), ("ticks:A:X", 3)]);
    (0..2).for_each(|_| drop(client.hears()));
    says(
        client,
        &[
            (r#"{"type":"subscribe","topic":"ticks:%42:*","id":"14"}"#, 2),
            (r#"{"type":"subscribe","stream":"ticks","params":{"symbol":["C","D"],"venue":7},"id":"15"}"#, 1),
            (r#"{"type":"snapshot","stream":"ticks","id":"16"}"#, 2),
        ],
    );
    client.note("news of B");
    publish(daemon, &[("ticks:B:Y", 4)]);
    client.hears();
    says(
        client,
        &[
            (r#"{"type":"subscribe","topic":"ticks:A:X","batch_ms":10000,"id":"17"}"#, 2),
            (r#"{"type":"unsubscribe","topic":"ticks:B:*","id":"18"}"#, 1),
        ],
    );
    client.note("news of A, which are gathered until something else is said of the stream");
    publish(daemon, &[("ticks:A:X", 5), ("ticks:A:X", 6)]);
    says(client, &[(r#"{"type":"unsubscribe","stream":"ticks","params":{"symbol":"A"},"id":"19"}"#, 2)]);
}

/// Six events were published, and the newest four are kept.
fn positions(daemon: &Daemon, client: &mut Dialogue) {
    client.says(r#"{"type":"subscribe","topic":"ticks:A:X","id":"20"}"#);
    let epoch = client.hears()["data"]["epoch"].clone();
    client.hears();
    says(client, &[(r#"{"type":"unsubscribe","topic":"ticks:A:X"}"#, 1)]);
    client.note("news of B and of A");
    publish(daemon, &[("ticks:B:X", 7), ("ticks:A:X", 8)]);
    for (since, answers) in [
        (since(&epoch, 5), 3),
        (since(&epoch, 8), 1),
        (since(&epoch, 1), 2),
        (since(&epoch, 9), 2),
        (since(&json!("gone"), 8), 2),
        (json!({"seq": -1}), 1),
    ] {
        let subscribe = json!({"type": "subscribe", "topic": "ticks:A:X", "since": since});
        says(client, &[(&subscribe.to_string(), answers)]);
    }
}

fn a_known_client(client: &mut Dialogue) {
    says(
        client,
        &[
            (r#"{"type":"auth","token":"opener","id":"21"}"#, 1),
            (r#"{"type":"subscribe","topic":"ticks:B:X","id":"22"}"#, 1),
            (r#"{"type":"publish","topic":"ticks:B:X","kind":"tick","data":{},"id":"23"}"#, 1),
            (r#"{"type":"publish","topic":"well:A","kind":"tick","data":{},"id":"24"}"#, 1),
            (r#"{"type":"publish","topic":"ticks:A:X","kind":"tick","data":[],"id":"25"}"#, 1),
        ],
    );
    // The same client hears what it publishes, as the subscriber that it is.
    let one =
        |id: u8| format!(r#"{{"type":"publish","topic":"ticks:A:X","kind":"tick","data":{{"price":9}},"id":"{id}"}}"#);
    says(
        client,
        &[
            (&format!("{} {}", one(26), one(27)), 3),
            (r#"{"type":"command","stream":"well","command":"echo","data":{"any":"thing"},"id":"28"}"#, 1),
            (r#"{"type":"command","stream":"well","command":"fail","data":{"kind":"conflict"},"id":"29"}"#, 1),
            (r#"{"type":"command","stream":"well","command":"fail","data":{"kind":7},"id":"30"}"#, 1),
            (r#"{"type":"command","stream":"well","command":"nope","id":"31"}"#, 1),
            (r#"{"type":"command","stream":"nope","command":"echo","id":"32"}"#, 1),
            (r#"{"type":"command","command":"echo","id":"33"}"#, 1),
        ],
    );
}

fn a_source_that_comes_and_goes(daemon: &Daemon, client: &mut Dialogue) {
    says(
        client,
        &[
            (r#"{"type":"subscribe","topic":"well","id":"34"}"#, 2),
            (r#"{"type":"subscribe","topic":"ticks:A:Y","id":"35"}"#, 2),
            (r#"{"type":"subscribe","topic":"ticks:A:Z","id":"36"}"#, 1),
        ],
    );
    client.note("the broadcaster is disabled");
    daemon.reload(|| daemon.configure(&config(false)));
    client.hears();
    client.note("and enabled");
    daemon.reload(|| daemon.configure(&config(true)));
    client.hears();
}
