//! The shipped configuration before every judge: each of its broadcasters, a notifier, and users whom a token names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{ASYNCAPI, OPENAPI, compile, document, judge};
use crate::house::{self, hear_json};
use crate::process::{self, Daemon};
use crate::reads::{SECRET, token};
use crate::user_events::shipped;

const TRUST: &str = "jwt = { secret = { env = \"SIGNED_WITH\" } }";
/// A notifier beside what is shipped; nobody is told anything there.
const OPS: &str = "[broadcasters.ops]\nplugin = \"webhook\"\nlisten = [\"alerts\"]\n\
    settings = { url = \"http://127.0.0.1:9/alerts\", match = { severity = [\"none\"] } }\n";
const USES: &str = include_str!("shipped.ts");

fn start() -> Daemon {
    Daemon::start_with(&format!("{}{OPS}", shipped(TRUST)), &[("SIGNED_WITH", SECRET)])
}

/// The channels of a document that its judge takes, each with its messages.
fn channels(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let listed = judge("node", &["-e", ASYNCAPI], document).unwrap();
    let channel = |line: &str| {
        let (name, messages) = line.split_once(' ').unwrap();
        (name.to_owned(), messages.split(',').map(str::to_owned).collect())
    };
    listed.lines().map(channel).collect()
}

/// Which of the messages that are heard do not fit what the document says of them.
const FITS: &str = r#"
const Ajv = require("ajv");
const { document, heard } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const ajv = new Ajv({ strict: false, validateFormats: false }).addSchema(document, "doc");
const places = { response: ({ data }) => `broadcastd.v1/messages/response.${data.status}`, status: ({ data }) => `broadcastd.v1/messages/status.${data.status}` };
for (const message of heard) {
  const place = places[message.type]?.(message) ?? `${message.stream}/messages/${message.type}`;
  const fits = ajv.compile({ $ref: `doc#/channels/${place}/payload` });
  if (!fits(message)) console.log(place, ajv.errorsText(fits.errors), JSON.stringify(message));
}
"#;

/// What is heard is what the document says, events and records.
pub fn what_is_heard_fits_the_messages_that_are_described() {
    let daemon = start();
    let (described, heard) = (document(&daemon.admin, "asyncapi"), heard(&daemon));
    let misfits = |heard: &[Value]| judge("node", &["-e", FITS], &json!({"document": described, "heard": heard}));
    assert_eq!(misfits(&heard), Ok(String::new()));
    let is_shown = |event: &&Value| event["type"] == "full_update" && event["stream"] == "state_machines";
    let mut odd = heard.iter().rfind(is_shown).unwrap().clone();
    odd["data"]["instances"][0].as_object_mut().unwrap().remove("session_id");
    assert!(misfits(&[odd]).unwrap().contains("must have required property 'session_id'"));
    let records = "#/components/schemas/state_machines.instances.record";
    let update = &described["channels"]["state_machines"]["messages"]["full_update"]["payload"];
    let properties = &update["allOf"][1]["properties"]["data"]["properties"];
    assert_eq!(
        *properties,
        json!({"instances": {"type": "array", "items": {"anyOf": [{"$ref": records}]}}}),
        "each form once, and no collection of what leaves no record"
    );
}

pub fn what_is_shipped_is_described_as_asyncapi_and_openapi_ask() {
    let daemon = start();
    let told = [&daemon.clients, &daemon.admin].map(|address| {
        judge("python3", &["-c", OPENAPI], &document(address, "openapi")).unwrap();
        channels(&document(address, "asyncapi"))
    });
    let [client, operator] = told;
    for seen in [&client, &operator] {
        for (stream, kinds) in [
            ("alerts", &["ack_update", "control_limits", "full_update", "sample", "violation"][..]),
            ("bars", &["bar", "full_update"]),
            (
                "state_machines",
                &[
                    "full_update",
                    "illegal_transition",
                    "instance_added",
                    "instance_recovered",
                    "instance_removed",
                    "instance_stale",
                    "state_change",
                ],
            ),
            ("ops", &["event", "full_update"]),
        ] {
            assert!(seen[stream].iter().eq(kinds), "{stream}: {seen:?}");
        }
    }
    assert!(!client.contains_key("user"), "what is each user's own is described to operators only");
    let of_settings = ["BALANCE_UPDATE", "ORDER_UPDATE", "POSITION_UPDATE", "SIGNAL_GENERATED", "TRADE_UPDATE"];
    for kind in ["CIRCUIT_BREAKER_UPDATE"].iter().chain(&of_settings) {
        assert!(operator["user"].contains(*kind), "{kind}: {operator:?}");
    }
    assert_eq!(operator["user"].len(), 8 + of_settings.len() + 1, "and what is shown: {operator:?}");
    for command in ["alerts.acknowledge", "ops.list_dead_letters", "ops.retry_dead_letters"] {
        assert!(operator["broadcastd.v1"].contains(&format!("command.{command}")), "{operator:?}");
    }
}

/// Who asks for other payloads, by a file of its own and the same in the settings, has that and nothing else described.
pub fn an_operators_own_schema_of_a_known_kind_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let own = r#"{"$defs": {"PNL_UPDATE": {"type": "object", "required": ["fees"], "properties": {"fees": {"type": "number"}}}}}"#;
    std::fs::write(folder.path().join("user-events.schema.json"), own).unwrap();
    let table = "[broadcasters.user.settings.kinds]";
    let schema = "PNL_UPDATE.schema = { type = \"object\", required = [\"fees\"], properties = { fees = { type = \"number\" } } }";
    std::fs::write(folder.path().join("config.toml"), shipped("").replace(table, &format!("{table}\n{schema}")))
        .unwrap();
    let schema = |form: &str| process::run(folder.path(), &["schema", form], &[]);
    let types = schema("ts").stdout;
    let (_, profit) = types.split_once("export interface UserPNLUPDATE {").unwrap_or_else(|| panic!("{types}"));
    let (profit, _) = profit.split_once("\n}").unwrap();
    assert!(profit.contains("fees: number;") && !profit.contains("totalPnL"), "{profit}");
    let document: Value = serde_json::from_str(&schema("asyncapi").stdout).unwrap();
    let payload = document["channels"]["user"]["messages"]["PNL_UPDATE"]["payload"].to_string();
    assert!(document.to_string().contains("fees") && !document.to_string().contains("totalPnL"), "{payload}");
}

/// The types allow what a page may write, refuse what is wrong, and every event that is heard is one of them.
pub fn the_compiler_takes_the_types_of_what_is_shipped_and_what_is_heard() {
    let daemon = start();
    let types = process::run(daemon.folder.path(), &["schema", "ts"], &[("SIGNED_WITH", SECRET)]);
    assert_eq!(types.code, Some(0), "{}", types.stderr);
    let with = |uses: &str| {
        let files = [("types.ts", types.stdout.as_str()), ("uses.ts", uses)];
        compile(&files.map(|(name, text)| (name.to_owned(), text.to_owned())).into())
    };
    assert_eq!(with(USES), Ok(()));
    let wrong = USES.matches("// @ts-expect-error").count();
    let unexpected = with(&USES.replace("// @ts-expect-error", "//")).unwrap_err();
    assert_eq!(unexpected.matches("error TS").count(), wrong, "{unexpected}");

    let events = heard(&daemon);
    let kinds: BTreeSet<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    for kind in ["instance_added", "state_change", "illegal_transition", "instance_removed", "sample", "violation"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    let head = "import type { ServerMessage } from \"./types\";\nexport const heard: ServerMessage[] =";
    assert_eq!(with(&format!("{head} {};\n", json!(events))), Ok(()));
    let shown = |stream: &str| events.iter().rfind(|event| event["stream"] == stream && event["type"] == "full_update");
    assert_eq!(shown("state_machines").unwrap()["data"]["instances"][0]["session_id"], "exec_1");
    for (stream, kept) in [("alerts", "samples"), ("user", "signals")] {
        assert!(shown(stream).unwrap()["data"][kept][0].is_object(), "{stream}: {:?}", shown(stream));
    }
    let mut odd = events[0].clone();
    odd["data"]["surprise"] = json!(1);
    assert!(with(&format!("{head} {};\n", json!([odd]))).is_err(), "a field that no type has is seen");
}

/// Some of everything that the shipped streams tell, as a client in the native protocol hears it.
fn heard(daemon: &Daemon) -> Vec<Value> {
    let bearer = format!("Bearer {}", token("zaphod", broadcastd::event::unix_now(), &json!({})));
    let mut client = house::connect(&daemon.clients, &[("Authorization", &bearer)]).unwrap();
    let about = |kind: &str, more: Value| {
        let mut data = json!({"session_id": "exec_1", "strategy_id": "grid", "symbol": "ETH"});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"type": kind, "data": data})
    };
    let sessions = json!([
        about("instance.transition", json!({"to": "S1"})),
        about("instance.started", json!({})),
        about("instance.started", json!({"symbol": "BTC"})),
        about("instance.transition", json!({"to": "S1", "event": "signal", "data": {"price": 1.5}})),
        about("instance.stopped", json!({"symbol": "BTC"})),
    ]);
    // Within the limits, but for the last one.
    let measured = |n: u64| if n == 25 { 150 } else { 100 + n % 5 };
    let sample = |n: u64| json!({"type": "sample", "data": {"characteristic_id": 7, "value": measured(n)}});
    let samples: Value = (0..26).map(sample).collect();
    let signal = json!({"id": "s1", "symbol": "BTC", "direction": "LONG", "status": "pending"});
    let told = [
        ("state_machines", "sessions", sessions, "instance_removed"),
        ("alerts", "samples", samples, "violation"),
        (
            "user",
            "user_events",
            json!({"type": "SIGNAL_UPDATE", "audience": "zaphod", "data": signal}),
            "SIGNAL_UPDATE",
        ),
    ];
    let mut events = Vec::new();
    for (stream, input, told, last) in told {
        house::subscribe(&mut client, stream);
        assert_eq!(daemon.publish(input, &told).status, 202);
        hear_until(&mut client, last, &mut events);
        house::say(&mut client, &json!({"type": "snapshot", "stream": stream}).to_string());
        hear_until(&mut client, "full_update", &mut events);
    }
    events
}

fn hear_until(client: &mut house::Client, kind: &str, events: &mut Vec<Value>) {
    loop {
        events.push(hear_json(client));
        if events.last().unwrap()["type"] == kind {
            break;
        }
    }
}
