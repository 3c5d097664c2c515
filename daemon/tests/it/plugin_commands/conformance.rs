//! `plugin test`: right plugins pass, and each wrong one fails where it is wrong.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{compile, place, run, so};
use crate::bad_input::golden;

/// What is tried, and with what settings and inputs.
pub struct Case {
    pub title: String,
    pub library: std::path::PathBuf,
    pub settings: Option<Value>,
    /// NDJSON.
    pub inputs: Option<String>,
}

impl Case {
    pub fn of(name: &str, settings: Option<Value>) -> Self {
        let title = settings.as_ref().map_or_else(|| name.to_owned(), |settings| format!("{name} {settings}"));
        Self { title, library: so(name), settings, inputs: None }
    }

    fn given(self, inputs: &str) -> Self {
        Self { inputs: Some(inputs.to_owned()), ..self }
    }
}

/// How each went, in the order of the cases: exit code and all lines. A few at a time, since mostly they wait.
pub fn tried(cases: &[Case]) -> Vec<(i32, String)> {
    const AT_A_TIME: usize = 3;
    let place = place();
    let next = Mutex::new(0..cases.len());
    let found = Mutex::new(vec![(0, String::new()); cases.len()]);
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some(index) = next.lock().unwrap().next() else { return };
                    let outcome = one(place.path(), index, &cases[index]);
                    found.lock().unwrap()[index] = outcome;
                }
            });
        }
    });
    assert_eq!(left_behind(place.path()), Vec::<String>::new(), "the private copies are gone");
    found.into_inner().unwrap()
}

fn one(place: &Path, index: usize, case: &Case) -> (i32, String) {
    let settings = case.settings.as_ref().map(ToString::to_string);
    let mut arguments = vec!["plugin", "test", case.library.to_str().unwrap()];
    if let Some(settings) = &settings {
        arguments.extend(["--settings", settings]);
    }
    let inputs = format!("inputs-{index}.ndjson");
    if let Some(lines) = &case.inputs {
        fs::write(place.join(&inputs), lines).unwrap();
        arguments.extend(["--inputs", &inputs]);
    }
    let ended = run(place, &arguments);
    (ended.code.unwrap(), ended.stdout)
}

/// A look leaves not even the folder that it needed.
fn left_behind(place: &Path) -> Vec<String> {
    match fs::read_dir(place.join(".cache/broadcastd")) {
        Ok(cache) => cache.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

/// The lines that do not say pass, and the summary.
fn beside_passes(cases: &[Case]) -> String {
    let lines = |text: &str| {
        let told = text.lines().skip(1).filter(|line| !line.starts_with("  pass "));
        told.map(|line| format!("{line}\n")).collect::<String>()
    };
    let told = cases.iter().zip(tried(cases));
    told.map(|(case, (code, text))| format!("── {}: {code}\n{}", case.title, without_lines(&lines(&text)))).collect()
}

/// A panic says at which line it was, which is not what is tested.
fn without_lines(text: &str) -> String {
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let shortened =
        text.split('\n').map(|line| line.split(':').filter(|part| !is_number(part)).collect::<Vec<_>>().join(":"));
    shortened.collect::<Vec<_>>().join("\n")
}

pub fn shipped_plugins_keep_the_rules() {
    let hello = tempfile::tempdir().unwrap();
    compile("plugins/hello-c/hello.c", &[], &hello.path().join("libhello.so"));
    let cases = [
        Case { library: hello.path().join("libhello.so"), ..Case::of("hello", None) },
        Case::of("bars", None),
        Case::of("bars", Some(json!({ "source": "ticks", "symbols": ["*"], "resolutions": ["1T"] }))).given(TICKS),
        Case::of("spc", None).given(SAMPLES),
        Case::of("state_machines", None).given(SESSIONS),
        Case::of("user_events", None).given(USERS),
        Case::of("webhook", Some(json!({ "url": "http://127.0.0.1:9/" }))),
        Case::of(
            "email",
            Some(
                json!({ "smtp": "smtp://127.0.0.1:9", "plaintext": "loopback", "from": "a@example.com", "to": ["b@example.com"] }),
            ),
        ),
        Case::of("mqtt", Some(json!({ "broker": "mqtt://127.0.0.1:9" }))),
    ];
    let told = beside_passes(&cases);
    assert!(!told.contains("fail "), "{told}");
    golden("plugin-test-shipped", &told);
}

const TICKS: &str = r#"{"stream":"ticks","topic":"ticks:AAPL","type":"tick","data":{"symbol":"AAPL","price":150.5,"size":1,"time":1767625200000}}
{"stream":"ticks","topic":"ticks:AAPL","type":"tick","data":{"symbol":"AAPL","price":151.5,"size":1,"time":1767625200001}}
"#;

const SAMPLES: &str = r#"{"stream":"samples","type":"sample","data":{"characteristic_id":7,"value":150}}
{"stream":"samples","type":"sample","data":{"characteristic_id":7,"value":151}}
"#;

const SESSIONS: &str = r#"{"stream":"sessions","type":"session.started","data":{"session_id":"exec_1","strategies":["momentum","grid"],"symbols":["BTCUSDT"]}}
{"stream":"sessions","type":"instance.transition","data":{"session_id":"exec_1","strategy_id":"momentum","symbol":"BTCUSDT","to":"S1"}}
"#;

const USERS: &str = r#"{"stream":"user_updates","type":"CHAIN_UPDATE","audience":"user-1","data":{"chainId":"c1","orders":[],"status":"active"}}
{"stream":"user_updates","type":"LIFECYCLE_EVENT","audience":"user-1","data":{"eventType":"TRADE_OPENED","tradeId":"t1","chainId":"c1"}}
"#;

pub fn one_that_misbehaves_fails_where_it_does() {
    let at = |mode: &str, at: &str| Case::of("faulty", Some(json!({ "mode": mode, "at": at })));
    let mut cases = vec![Case::of("faulty", None)];
    for moment in ["validate", "new", "start", "records", "timer", "demand", "wake", "quiesce", "save", "stop", "drop"]
    {
        cases.push(at("panic", moment));
    }
    cases.push(at("panic", "message").given(TICKS));
    for moment in ["restore", "reconfigure", "command", "writable", "gap"] {
        cases.push(at("panic", moment));
    }
    for moment in ["new", "timer", "save", "stop"] {
        cases.push(at("error", moment));
    }
    cases.extend([at("panic_twice", "timer"), at("hang", "save"), at("hang", "stop"), at("slow", "timer")]);
    for mode in ["invalid_settings", "garbage", "huge", "talk", "timers", "degraded"] {
        cases.push(at(mode, "timer"));
    }
    golden("plugin-test-faulty", &beside_passes(&cases));
}

pub fn each_broken_rule_of_the_border_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let case = |fault: &str| {
        let library = folder.path().join(format!("lib{}.so", fault.to_lowercase()));
        compile("plugins/faulty-c/faulty.c", &[&format!("-DFAULT={fault}"), "-DFUNCTION=destroy"], &library);
        Case { library, ..Case::of(fault, None) }
    };
    let faults = [
        "NONE",
        "TABLE_SIZE_LARGER",
        "NULL_OPTIONAL",
        "MESSAGE_SIZE_LARGER",
        "MESSAGE_SIZE_OLDER",
        "NOTE_OTHER_MAJOR",
        "NOTE_ABORTS",
        "NOTE_OTHER_OWNER",
        "NOTE_NOT_ENDED",
        "HANG_IN_ENTRY",
        "NULL_TABLE",
        "TABLE_SIZE_ZERO",
        "TABLE_SIZE_TINY",
        "NULL_FUNCTION",
        "BAD_ID",
        "BAD_SCHEMA",
        "BAD_STREAM",
        "NO_INSTANCE",
        "ODD_STATUS",
        "NEGATIVE_TIMER",
        "SAVE_LARGER",
        "SAVE_NULL",
        "MESSAGE_SIZE_ZERO",
        "STRIDE_ZERO",
        "COUNT_HUGE",
        "NULL_MESSAGES",
        "NULL_TEXT",
        "BAD_TEXT",
        "BAD_JSON",
        "ABORT",
        "BEYOND_TABLE",
    ];
    let cases: Vec<Case> = faults.into_iter().map(case).collect();
    golden("plugin-test-faulty-c", &beside_passes(&cases));
    // What threads of its own do meanwhile is another thing each time; it ends no check.
    for (_, told) in tried(&["FOREIGN_THREADS", "AFTER_DESTROY"].map(case)) {
        assert!(told.contains("  pass life ") && !told.contains("ended the process"), "{told}");
    }
}

pub fn shipped_ones_that_panic_are_caught_at_their_first_input() {
    let stumbling = |name: &str, settings: Value, inputs| {
        Case::of(name, Some(json!({ "panics": 3, "every": 1, "settings": settings }))).given(inputs)
    };
    let cases = [
        stumbling("stumbling", json!({ "source": "ticks", "symbols": ["*"], "resolutions": ["1T"] }), TICKS),
        stumbling("tripping", json!({}), SESSIONS),
        stumbling("swaying", json!({}), SAMPLES),
        stumbling("faltering", json!({}), USERS),
        stumbling("fumbling", json!({ "url": "http://127.0.0.1:9/" }), USERS),
    ];
    golden("plugin-test-stumbling", &beside_passes(&cases));
}

pub fn programs_read_how_each_check_went() {
    let place = place();
    let told = |settings: &str| {
        let library = so("faulty");
        let arguments = ["plugin", "test", library.to_str().unwrap(), "--format", "json", "--settings", settings];
        let ended = run(place.path(), &arguments);
        (ended.code.unwrap(), serde_json::from_str::<Value>(&ended.stdout).unwrap())
    };
    let result = |told: &Value, check: &str| -> Value {
        let checks = told["checks"].as_array().unwrap();
        checks.iter().find(|one| one["check"] == check).unwrap()["result"].clone()
    };
    let (code, right) = told("{}");
    assert_eq!((code, result(&right, "life"), result(&right, "panics")), (0, "pass".into(), "n/a".into()), "{right:#}");
    fs::write(place.path().join("settings.toml"), "mode = \"panic\"\nat = \"timer\"\n").unwrap();
    let (code, wrong) = told("settings.toml");
    assert_eq!(
        (code, result(&wrong, "life"), result(&wrong, "panics")),
        (78, "fail".into(), "pass".into()),
        "{wrong:#}"
    );
}
