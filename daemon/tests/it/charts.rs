//! Control charts in the real daemon: samples go in over HTTP, alerts come out by every door, and are acknowledged.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::dialogue;
use crate::house::{self, Client, hear_json, say, until};
use crate::http::{self, Answer};
use crate::needs;
use crate::process::Daemon;

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(the_piston_rings_are_judged_as_published_and_acknowledged_for_everybody),
        needs::nothing(charts_and_acknowledgements_go_on_after_a_restart),
        needs::nothing(a_source_that_goes_and_comes_again_is_counted_and_told_in_no_words),
        needs::nothing(a_reload_begins_the_limits_that_changed_and_says_all_that_is_wrong),
    ]
}

pub const DOOR: &str = r#"
[[server.endpoints]]
path = "/v1/ws"
dialect = "native"
streams = ["*"]
[[server.endpoints]]
path = "/ws/samples"
dialect = "spc"
streams = ["alerts"]
auth = "none"
"#;

pub fn config(settings: &str) -> String {
    format!(
        "{DOOR}[streams.samples]\n[broadcasters.alerts]\nplugin = \"spc\"\nlisten = [\"samples\"]\nsettings = {settings}\n"
    )
}

/// Samples of characteristic 7: Montgomery's piston rings, 40 samples of 5, the first 25 of them in control.
pub fn piston_rings() -> (Vec<Value>, Value) {
    let cases: Value = serde_json::from_str(include_str!("../../../plugins/spc/tests/spc-cases.json")).unwrap();
    let case = cases["cases"].as_array().unwrap().iter().find(|case| case["id"] == "pistonrings-xbar-r").unwrap();
    let groups = case["input"]["subgroups"].as_array().unwrap();
    (groups.iter().map(|group| sample(json!(7), json!({ "values": group }))).collect(), case["expected"].clone())
}

pub fn sample(id: Value, measured: Value) -> Value {
    let mut data = measured;
    data["characteristic_id"] = id;
    json!({"type": "sample", "data": data})
}

pub fn publish(daemon: &Daemon, samples: &[Value]) {
    assert_eq!(daemon.publish("samples", &json!(samples)).status, 202);
}

pub fn acknowledge(daemon: &Daemon, violation: &Value) -> Answer {
    let body = json!({"violation_id": violation, "reason": "Tool Change"}).to_string();
    http::post(&daemon.admin, "/v1/broadcasters/alerts/commands/acknowledge", "application/json", body.as_bytes())
}

/// Hears events up to a sample, by whatever door: of each its kind and payload.
pub fn hear_until(client: &mut Client, last: u64, payload: &str) -> Vec<(String, Value)> {
    let mut heard = Vec::new();
    loop {
        let mut said = hear_json(client);
        let (kind, data) = (said["type"].as_str().unwrap().to_owned(), said[payload].take());
        let is_last = kind == "sample" && data["sample_id"] == last;
        heard.push((kind, data));
        if is_last {
            return heard;
        }
    }
}

/// The samples at which each rule was violated.
pub fn violated(heard: &[(String, Value)]) -> BTreeMap<String, Vec<Value>> {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (_, data) in heard.iter().filter(|(kind, _)| kind == "violation") {
        all.entry(data["rule_id"].to_string()).or_default().push(data["sample_id"].clone());
    }
    all
}

pub fn close(ours: &Value, known: &Value) {
    let (ours, known) = (ours.as_f64().unwrap(), known.as_f64().unwrap());
    assert!((ours - known).abs() < 1e-6 * known.abs(), "{ours}, not {known}");
}

/// What is told of the piston rings and one sample behind them is what was published of them: limits, and the samples that
/// violate each rule, which it answers.
pub fn are_the_published(heard: &[(String, Value)], known: &Value) -> BTreeMap<String, Vec<Value>> {
    assert_eq!(heard.iter().filter(|(kind, _)| kind == "sample").count(), 41);
    let limits = heard.iter().position(|(kind, _)| kind == "control_limits").unwrap();
    assert_eq!(heard[limits - 1].1["sample_id"], 25, "the last one of the baseline");
    let limits = &heard[limits].1;
    for (name, published) in [("center_line", "center"), ("ucl", "xbar_ucl"), ("lcl", "xbar_lcl")] {
        close(&limits[name], &known[published]);
    }
    close(&limits["dispersion"]["ucl"], &known["r_ucl"]);
    let by_rule = known["rules"]["nelson"].as_object().unwrap().clone();
    let expected: BTreeMap<String, Vec<Value>> = by_rule
        .into_iter()
        .map(|(rule, at)| (rule, at.as_array().unwrap().clone()))
        .filter(|(_, at)| !at.is_empty())
        .collect();
    assert_eq!(violated(&heard[..heard.len() - 1]), expected);
    expected
}

fn the_piston_rings_are_judged_as_published_and_acknowledged_for_everybody() {
    let settings = r#"{ auto = { chart = "xbar_r", rules = "nelson" } }"#;
    let daemon = Daemon::start(&config(settings));
    let mut operator = dialogue::open(&daemon.clients, "/ws/samples");
    say(&mut operator, r#"{"type":"subscribe","characteristic_ids":[7]}"#);
    assert_eq!(hear_json(&mut operator)["type"], "subscribed");
    let mut bystander = dialogue::open(&daemon.clients, "/ws/samples");
    say(&mut bystander, r#"{"type":"ping"}"#);
    assert_eq!(hear_json(&mut bystander), json!({"type": "pong"}), "it is there, and subscribed to nothing");
    let mut native = daemon.subscriber("alerts");
    let (mut samples, known) = piston_rings();
    samples.push(sample(json!(7), json!({"values": [74.0, 74.0, 74.0, 74.0, 74.0]})));
    publish(&daemon, &samples);
    let heard = hear_until(&mut operator, 41, "payload");
    assert_eq!(heard, hear_until(&mut native, 41, "data"), "both doors tell the same");
    let expected = are_the_published(&heard, &known);

    let critical = heard.iter().find(|(kind, data)| kind == "violation" && data["severity"] == "CRITICAL").unwrap();
    let violation = &critical.1["violation_id"];
    let answer = acknowledge(&daemon, violation);
    let update = answer.json()["result"].take();
    assert_eq!(
        (answer.status, &update["user"], &update["reason"]),
        (200, &json!("operator:admin"), &json!("Tool Change"))
    );
    for client in [&mut operator, &mut bystander] {
        let said = hear_json(client);
        assert_eq!((&said["type"], &said["payload"]["violation_id"]), (&json!("ack_update"), violation));
    }
    let said = hear_json(&mut native);
    assert_eq!((&said["topic"], &said["data"]["violation_id"]), (&json!("alerts"), violation));
    let again = acknowledge(&daemon, violation);
    assert!(again.status == 409 && again.body.contains("was acknowledged by"), "{}", again.body);
    assert_eq!(acknowledge(&daemon, &json!(4_711)).status, 404);
    let other = http::post(
        &daemon.admin,
        "/v1/broadcasters/alerts/commands/acknowledge",
        "application/json",
        br#"{"violation_id":2,"reason":"Because"}"#,
    );
    assert_eq!(other.status, 422, "{}", other.body);

    let mut newcomer = daemon.connect();
    say(&mut newcomer, r#"{"type":"subscribe","stream":"alerts","params":{"characteristic_ids":7}}"#);
    assert_eq!(hear_json(&mut newcomer)["data"]["status"], "subscribed");
    let shown = hear_json(&mut newcomer);
    let count = |collection: &str| shown["data"][collection].as_array().map(Vec::len);
    let violations = expected.values().map(Vec::len).sum::<usize>();
    let told = violated(&heard).values().map(Vec::len).sum::<usize>();
    assert!(told >= violations);
    assert_eq!(
        (count("limits"), count("samples"), count("violations")),
        (Some(1), Some(25), Some(told - 1)),
        "{shown}"
    );
}

fn charts_and_acknowledgements_go_on_after_a_restart() {
    let settings = r#"{ auto = { limits = { samples = 4 }, rules = "nelson" } }"#;
    let single = |value: f64| sample(json!("bore"), json!({ "value": value }));
    let daemon = Daemon::start(&config(settings));
    let mut client = daemon.subscriber("alerts");
    publish(&daemon, &[1.0, 2.0, 1.0, 2.0, 9.0].map(single));
    let heard = hear_until(&mut client, 5, "data");
    let first = hear_json(&mut client)["data"]["violation_id"].clone(); // behind its sample
    assert_eq!(acknowledge(&daemon, &first).status, 200);
    let (status, folder) = daemon.stop();
    assert_eq!(status.code(), Some(0));

    let daemon = Daemon::start_in(folder, &config(settings), &[]);
    assert_eq!(acknowledge(&daemon, &first).status, 409, "it was acknowledged in another life");
    let mut client = daemon.subscriber("alerts");
    publish(&daemon, &[9.0, 9.0].map(single));
    let next = hear_until(&mut client, 7, "data");
    assert_eq!(next[0].1["ucl"], hear_limit(&heard), "by the limits of before");
    let violations = [hear_json(&mut client), hear_json(&mut client)];
    let told = violations.map(|said| (said["data"]["rule_id"].clone(), said["data"]["violation_id"].as_u64()));
    assert_eq!(told.each_ref().map(|(rule, _)| rule), [&json!(1), &json!(5)], "the run began before the restart");
    assert!(first.as_u64() < told[0].1 && told[0].1 < told[1].1, "{first} {told:?}");
}

fn hear_limit(heard: &[(String, Value)]) -> Value {
    heard.iter().find(|(kind, _)| kind == "control_limits").unwrap().1["ucl"].clone()
}

/// The dialect has no words for a source: who is there hears samples, a pause, and samples.
fn a_source_that_goes_and_comes_again_is_counted_and_told_in_no_words() {
    let with = |more: &str| format!("{}{more}", config("{ auto = { limits = { samples = 4 }, rules = \"nelson\" } }"));
    let (enabled, disabled) = (with(""), with("enabled = false\n"));
    let daemon = Daemon::start(&enabled);
    let mut client = dialogue::open(&daemon.clients, "/ws/samples");
    say(&mut client, r#"{"type":"subscribe","characteristic_ids":[7]}"#);
    assert_eq!(hear_json(&mut client)["type"], "subscribed");
    let mut native = daemon.subscriber("alerts");
    let single = |value: f64| sample(json!(7), json!({ "value": value }));
    let next = |client: &mut Client| {
        let mut said = hear_json(client);
        (said["type"].take(), said["payload"]["sample_id"].clone())
    };
    let untold = || daemon.metric(r#"broadcastd_no_source_untold_total{stream="alerts",dialect="spc"}"#);
    publish(&daemon, &[single(1.0)]);
    assert_eq!(next(&mut client), (json!("sample"), json!(1)));
    assert_eq!((hear_json(&mut native)["data"]["sample_id"].take(), untold()), (json!(1), None));

    daemon.reload(|| daemon.configure(&disabled));
    let state = hear_json(&mut native)["data"].take();
    assert_eq!(state, json!({"status": "no_source", "reason": "the broadcaster is disabled"}));
    until("it is counted", || untold() == Some(1.0));
    daemon.wait_for_log("connections whose dialect has no words for it were not told");
    assert_eq!(daemon.publish("samples", &single(2.0)).status, 202, "nobody judges it");
    let mut newcomer = dialogue::open(&daemon.clients, "/ws/samples");
    say(&mut newcomer, r#"{"type":"subscribe","characteristic_ids":[7]}"#);
    assert_eq!(hear_json(&mut newcomer)["type"], "subscribed");
    say(&mut newcomer, r#"{"type":"ping"}"#);
    assert_eq!(hear_json(&mut newcomer), json!({"type": "pong"}), "who comes meanwhile hears nothing of it either");

    daemon.reload(|| daemon.configure(&enabled));
    assert_eq!(hear_json(&mut native)["data"]["status"], "source");
    publish(&daemon, &[single(1.5)]);
    for client in [&mut client, &mut newcomer] {
        let (kind, number) = next(client);
        assert_eq!(kind, "sample", "nothing was said in between");
        assert!(number.as_u64() > Some(1), "it counts on: {number}");
    }

    // A stream that is gone is another matter: who waits there would wait for ever.
    daemon.reload(|| daemon.configure("[streams.samples]\n"));
    for client in [&mut client, &mut newcomer] {
        assert_eq!(house::hear_close(client), (1013, "the stream was removed; come back later".to_owned()));
    }
}

fn a_reload_begins_the_limits_that_changed_and_says_all_that_is_wrong() {
    let listed = |ucl: u32| {
        format!(
            r#"{{ characteristics = [
                {{ id = 1, chart = "imr", limits = {{ mode = "fixed", center = 5, ucl = {ucl}, lcl = 0 }} }},
                {{ id = 2, chart = "c", limits = {{ mode = "standard", mean = 4 }} }} ] }}"#
        )
    };
    let daemon = Daemon::start(&config(&listed(10)));
    let mut client = daemon.connect();
    say(&mut client, r#"{"type":"subscribe","stream":"alerts"}"#);
    assert_eq!(hear_json(&mut client)["data"]["status"], "subscribed");
    let shown = hear_json(&mut client);
    assert_eq!(shown["data"]["limits"].as_array().unwrap().len(), 2, "limits that are set are there at once");
    daemon.reload(|| daemon.configure(&config(&listed(20))));
    let said = hear_json(&mut client);
    let limits = (&said["type"], &said["topic"], &said["data"]["ucl"]);
    assert_eq!(limits, (&json!("control_limits"), &json!("alerts:1"), &json!(20.0)));
    let wrong = r#"{ auto = { id = 1 }, characteristics = [{ id = 2, chart = "p", subgroup_size = 0.5 }] }"#;
    let refusal = daemon.refuse(|| daemon.configure(&config(wrong)));
    for told in ["it is for all characteristics that are not listed", "a size is a whole number from 1"] {
        assert!(refusal.contains(told), "{refusal}");
    }
    publish(&daemon, &[sample(json!(2), json!({"count": 11}))]);
    let heard = hear_until(&mut client, 1, "data");
    assert!(heard.iter().any(|(kind, data)| kind == "sample" && data["zone"] == "beyond_ucl"), "{heard:?}");
}
