//! The schema of a declared stream through the real daemon: what is refused, what is only told, and what a reload changes.

use std::fs;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(a_payload_that_does_not_fit_is_refused_with_its_place),
        needs::nothing(unless_said_otherwise_it_is_accepted_counted_and_told_once),
        needs::nothing(a_schema_file_is_read_again_with_a_reload),
    ]
}

const SCHEMA: &str = r##"{"$defs": {
    "price": {"type": "number", "exclusiveMinimum": 0},
    "tick": {"type": "object", "required": ["symbol", "price"],
             "properties": {"symbol": {"type": "string", "minLength": 1}, "price": {"$ref": "#/$defs/price"}}},
    "halt": {"required": ["reason"]}}}"##;

/// A daemon whose stream `ticks` has this schema file.
fn start(schema: &str, modes: &str) -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ticks.json"), schema).unwrap();
    let config =
        format!("[streams.ticks]\nvisible = true\nschema = \"ticks.json#/$defs/{{kind}}\"\nschema_modes = {modes}\n");
    Daemon::start_in(folder, &config, &[])
}

fn told(daemon: &Daemon, body: &Value) -> (u16, Value) {
    let answer = daemon.publish("ticks", body);
    (answer.status, answer.json()["rejected"].take())
}

fn a_payload_that_does_not_fit_is_refused_with_its_place() {
    let daemon = start(SCHEMA, "{ \"*\" = \"enforce\", halt = \"off\" }");
    let good = json!({"type": "tick", "data": {"symbol": "AAPL", "price": 1.5}});
    assert_eq!(told(&daemon, &good).0, 202);
    let rejected = |index: u8, pointer: &str, error: &str| json!({"index": index, "pointer": pointer, "error": error});
    let batch = json!([
        {"type": "tick", "data": {"symbol": "AAPL", "price": 0}},
        good,
        {"type": "tick", "data": {"symbol": 7, "price": 1}},
        {"type": "tick"},
        {"type": "halt"},
        {"type": "another"},
    ]);
    let expected = json!([
        rejected(0, "/data/price", "must be more than 0"),
        rejected(2, "/data/symbol", "must be of type string, not integer"),
        rejected(3, "/data", "\"symbol\" is missing"),
    ]);
    assert_eq!(told(&daemon, &batch), (207, expected));
    assert_eq!(daemon.metric("broadcastd_ingest_rejected_total{stream=\"ticks\",reason=\"invalid\"}"), Some(3.0));
}

fn unless_said_otherwise_it_is_accepted_counted_and_told_once() {
    let daemon = start(SCHEMA, "{}");
    let odd = json!([{"type": "tick", "data": {"price": -98765}}, {"type": "tick", "data": {"price": -2}}]);
    assert_eq!(told(&daemon, &odd), (202, json!([])));
    let line = daemon.wait_for_log("does not fit the stream's schema");
    assert!(line.contains("\\\"symbol\\\" is missing") && !line.contains("98765"), "{line}");
    assert_eq!(told(&daemon, &json!({"type": "halt"})).0, 202);
    daemon.wait_for_log("\\\"reason\\\" is missing");
    assert_eq!(daemon.metric("broadcastd_ingest_odd_total{stream=\"ticks\"}"), Some(3.0));
    assert_eq!(daemon.log_text().matches("does not fit the stream's schema").count(), 2, "once of each kind");
}

fn a_schema_file_is_read_again_with_a_reload() {
    let daemon = start(SCHEMA, "{ \"*\" = \"enforce\" }");
    let event = json!({"type": "tick", "data": {"symbol": "AAPL", "price": 1}});
    assert_eq!(told(&daemon, &event).0, 202);
    let file = daemon.folder.path().join("ticks.json");
    fs::write(&file, SCHEMA.replace("\"price\"]", "\"price\", \"size\"]")).unwrap();
    assert_eq!(told(&daemon, &event).0, 202, "not before");
    daemon.reload(|| daemon.signal("HUP"));
    assert_eq!(told(&daemon, &event).0, 422);
    fs::write(&file, SCHEMA.replace("\"minLength\"", "\"longestLength\"")).unwrap();
    let refusal = daemon.refuse(|| daemon.signal("HUP"));
    assert!(refusal.contains("error[C015]") && refusal.contains("config.toml:7:10"), "{refusal}");
    assert!(refusal.contains("/$defs/tick/properties/symbol/longestLength: this keyword is not checked"), "{refusal}");
    assert_eq!(told(&daemon, &event).0, 422, "the one before holds");
    let position = daemon.publish("ticks", &json!([])).json()["position"]["seq"].take();
    assert_eq!(position, 2, "numbers go on");
}
