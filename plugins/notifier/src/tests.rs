//! Whole notifiers in virtual time, with a way out that does what the test says.
use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use broadcastd_plugin_api::Failure;
use broadcastd_plugin_api::testing::{Harness, Setup};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Carrier, Message, Notifier, Refused};

/// Real time that a worker's thread may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

/// What a way out does, by the test's name.
static WAYS: LazyLock<Mutex<HashMap<String, Arc<Way>>>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Way {
    /// What the next attempts are answered; then all are taken.
    answers: Mutex<VecDeque<Result<(), Refused>>>,
    attempts: Mutex<Vec<Message>>,
    /// While it is there, attempts wait for a word, or for the end of who would say it.
    gate: Mutex<Option<Receiver<()>>>,
}

struct Fake {
    name: String,
    way: Arc<Way>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FakeSettings {
    /// The test's name.
    way: String,
}

impl Carrier for Fake {
    type Settings = FakeSettings;

    fn validate(settings: &FakeSettings) -> Result<(), Failure> {
        if settings.way.is_empty() { Err(Failure::at("/way", "name a way")) } else { Ok(()) }
    }

    fn open(settings: FakeSettings) -> Result<Self, Failure> {
        let way = WAYS.lock().unwrap().entry(settings.way.clone()).or_default().clone();
        Ok(Fake { name: settings.way, way })
    }

    fn receiver(&self) -> String {
        self.name.clone()
    }

    fn deliver(&self, message: &Message, _: Duration) -> Result<(), Refused> {
        self.way.attempts.lock().unwrap().push(message.clone());
        if let Some(gate) = &*self.way.gate.lock().unwrap() {
            let _open_or_gone = gate.recv();
        }
        let answer = self.way.answers.lock().unwrap().pop_front().unwrap_or(Ok(()));
        assert!(answer != Err(Refused::never("panic")), "panics on purpose");
        answer
    }
}

/// A notifier and its way out.
struct Case {
    harness: Harness<Notifier<Fake>>,
    way: Arc<Way>,
}

impl Case {
    fn new(name: &str, mut settings: Value) -> Case {
        let way = Arc::new(Way::default());
        WAYS.lock().unwrap().insert(name.to_owned(), way.clone());
        settings["way"] = json!(name);
        Case { harness: Harness::new(settings).unwrap(), way }
    }

    fn answer(&self, answers: impl IntoIterator<Item = Refused>) {
        self.way.answers.lock().unwrap().extend(answers.into_iter().map(Err));
    }

    /// Attempts wait until the sender says so, each for one word.
    fn close(&self) -> Sender<()> {
        let (open, gate) = channel();
        *self.way.gate.lock().unwrap() = Some(gate);
        open
    }

    fn violation(&mut self, id: u32, characteristic: u32, rule: u32) {
        let severity = if rule == 1 { "CRITICAL" } else { "WARNING" };
        let payload = json!({
            "violation_id": id, "sample_id": 42, "characteristic_id": characteristic, "rule_id": rule,
            "rule_name": "Outlier", "severity": severity, "timestamp": "2026-01-01T00:00:00Z",
        });
        self.harness.message(&format!("alerts:{characteristic}"), "violation", &payload).unwrap();
    }

    fn acknowledge(&mut self, id: u32) {
        let payload = json!({
            "violation_id": id, "acknowledged": true, "user": "john.doe", "reason": "Tool Change",
            "timestamp": "2026-01-01T00:00:00Z",
        });
        self.harness.message("alerts", "ack_update", &payload).unwrap();
    }

    /// Lets workers work until so many attempts were made in all, and their outcomes are known.
    fn settle(&mut self, attempts: usize) {
        while self.judged() < attempts {
            assert!(self.harness.wait_for_wake(PATIENCE).unwrap(), "{} of {attempts} attempts", self.judged());
        }
        assert_eq!(self.judged(), attempts, "more attempts than there should be");
    }

    /// Every attempt ends as one of these; `full` fills dead letters without attempts, after its last look.
    fn judged(&self) -> usize {
        let ends = ["notifier_sent_total", "notifier_retried_total", "notifier_dead_letters_total"];
        ends.iter().map(|name| self.metric(name)).sum::<f64>() as usize
    }

    fn metric(&self, name: &str) -> f64 {
        let metrics = self.harness.metrics();
        metrics.iter().filter(|metric| metric.name == name).flat_map(|metric| &metric.values).sum()
    }

    fn gauge(&self, name: &str) -> f64 {
        let metrics = self.harness.metrics();
        let newest = metrics.iter().rfind(|metric| metric.name == name); // a restarted one has series of its own
        *newest.unwrap().values.last().unwrap()
    }

    fn subjects(&self) -> Vec<String> {
        self.way.attempts.lock().unwrap().iter().map(|message| message.subject.clone()).collect()
    }

    fn ids(&self) -> Vec<String> {
        self.way.attempts.lock().unwrap().iter().map(|message| message.id.clone()).collect()
    }

    fn command(&mut self, name: &str, payload: &Value) -> Value {
        self.harness.command(name, "admin", payload).unwrap();
        self.harness.replies().pop().unwrap().payload
    }
}

#[test]
fn created_and_acknowledged_are_told_and_samples_are_not() {
    let mut case = Case::new("told", json!({}));
    case.harness.message("alerts:1", "sample", &json!({ "characteristic_id": 1 })).unwrap();
    case.violation(10, 1, 1);
    case.acknowledge(10);
    case.settle(2);
    assert_eq!(
        case.subjects(),
        ["CRITICAL: Outlier (rule 1) at characteristic 1", "Acknowledged: violation 10 by john.doe"]
    );
    let attempts = case.way.attempts.lock().unwrap();
    let acknowledged = &attempts[1];
    assert_eq!(acknowledged.id, "alerts-test-3");
    assert_eq!((&*acknowledged.fields["severity"], &*acknowledged.fields["characteristic_id"]), ("CRITICAL", "1"));
    assert!(acknowledged.body.contains("by john.doe: Tool Change\n"), "{}", acknowledged.body);
    assert_eq!(serde_json::from_str::<Value>(acknowledged.payload.get()).unwrap()["user"], "john.doe");
}

#[test]
fn an_acknowledgement_fits_the_rules_that_its_violation_fitted() {
    let mut case =
        Case::new("fits", json!({ "match": { "type": ["*"], "severity": ["CRITICAL"], "characteristic": ["1"] } }));
    case.violation(10, 1, 1);
    case.violation(11, 1, 2);
    case.violation(12, 2, 1);
    [10, 11, 12, 13].into_iter().for_each(|id| case.acknowledge(id));
    case.settle(2);
    assert_eq!(case.ids(), ["alerts-test-1", "alerts-test-4"]);
}

#[test]
fn acknowledgements_alone_can_be_told_by_what_their_violations_said() {
    let mut case = Case::new("alone", json!({ "match": { "type": ["ack_update"], "severity": ["CRITICAL"] } }));
    case.violation(10, 1, 1);
    case.violation(11, 1, 2);
    [10, 11].into_iter().for_each(|id| case.acknowledge(id));
    case.settle(1);
    assert_eq!(case.ids(), ["alerts-test-3"]);
    let mut case = Case::new("neither", json!({ "match": { "type": ["sample"] } }));
    case.harness.message("alerts:1", "violation", &json!([1])).unwrap();
    assert_eq!(case.metric("notifier_malformed_total"), 0.0, "what concerns nobody is not read");
}

#[test]
fn any_stream_can_be_told_in_words_of_its_own() {
    let settings = json!({
        "match": { "type": ["state_*"], "fields": { "to.name": ["ERROR"] } },
        "group_by": ["machine"], "text": { "state_change": { "subject": "{machine} is in {to.name}" } },
    });
    let mut case = Case::new("any", settings);
    for (machine, to) in [("m1", "IDLE"), ("m2", "ERROR")] {
        case.harness
            .message("machines:x", "state_change", &json!({ "machine": machine, "to": { "name": to } }))
            .unwrap();
    }
    case.harness.message("machines:x", "state_change", &json!([1])).unwrap();
    case.settle(1);
    assert_eq!(case.subjects(), ["m2 is in ERROR"]);
    assert_eq!(case.metric("notifier_malformed_total"), 1.0);
}

#[test]
fn the_cooldown_counts_what_it_holds_back_and_the_next_message_says_so() {
    let mut case = Case::new("cooldown", json!({ "cooldown": "1m" }));
    (0..13).for_each(|id| case.violation(id, 1, 1));
    case.violation(20, 1, 2);
    case.acknowledge(3);
    case.settle(3);
    case.harness.restart().unwrap();
    case.harness.advance(60 * SECOND).unwrap();
    case.violation(30, 1, 1);
    case.settle(4);
    assert_eq!(case.metric("notifier_suppressed_total"), 12.0);
    assert_eq!(case.subjects()[3], "CRITICAL: Outlier (rule 1) at characteristic 1 (and 12 more)");
    assert_eq!(case.way.attempts.lock().unwrap()[3].suppressed, 12);
}

#[test]
fn a_refused_message_comes_again_later_and_later_with_the_same_id() {
    let mut case = Case::new("again", json!({ "retry": { "first": "1s", "max": "3s" } }));
    case.answer((0..3).map(|_| Refused::later("busy")));
    case.violation(1, 1, 1);
    for (attempt, whole) in [1.0, 2.0, 3.0].into_iter().enumerate() {
        case.settle(attempt + 1);
        assert_eq!(case.harness.degraded().as_deref(), Some("messages are not delivered: busy"));
        let pause = case.harness.until_next_timer().unwrap().as_secs_f64();
        assert!(pause >= whole / 2.0 && pause <= whole, "{pause} of {whole}");
        case.harness.advance(Duration::from_secs_f64(pause)).unwrap();
    }
    case.settle(4);
    assert_eq!(case.ids(), ["alerts-test-1"; 4]);
    assert_eq!((case.harness.degraded(), case.metric("notifier_retried_total")), (None, 3.0));
    assert_eq!(case.gauge("notifier_queued"), 0.0);
}

#[test]
fn a_group_keeps_its_order_and_another_goes_on() {
    let mut case = Case::new("order", json!({ "retry": { "first": "10s" } }));
    case.answer([Refused::later("busy")]);
    case.violation(1, 1, 1);
    case.settle(1);
    case.violation(2, 1, 1);
    case.violation(3, 2, 1);
    case.settle(2);
    assert_eq!(case.ids(), ["alerts-test-1", "alerts-test-3"]);
    case.harness.advance(10 * SECOND).unwrap();
    case.settle(4);
    assert_eq!(case.ids()[2..], ["alerts-test-1", "alerts-test-2"]);
}

#[test]
fn a_receiver_that_asks_for_a_pause_gets_it_for_all() {
    let mut case = Case::new("pause", json!({ "retry": { "first": "1s" } }));
    case.answer([Refused::Later { why: "429".into(), after: Some(30 * SECOND) }]);
    case.violation(1, 1, 1);
    case.settle(1);
    case.violation(2, 2, 1);
    case.harness.advance(30 * SECOND - Duration::from_nanos(1)).unwrap();
    assert_eq!(case.ids().len(), 1);
    case.harness.advance(Duration::from_nanos(1)).unwrap();
    case.settle(3);
    case.answer([Refused::Later { why: "429".into(), after: Some(Duration::from_secs(u64::MAX >> 8)) }]);
    case.violation(3, 2, 1);
    case.settle(4);
    assert_eq!(case.harness.until_next_timer(), Some(crate::pause::LONGEST), "no longer than an hour");
}

#[test]
fn a_pause_outlives_an_instance_but_holds_for_its_receiver_alone() {
    let mut case = Case::new("paused", json!({ "retry": { "first": "1s" } }));
    case.answer([Refused::Later { why: "429".into(), after: Some(30 * SECOND) }]);
    case.violation(1, 1, 1);
    case.settle(1);
    case.harness.advance(10 * SECOND).unwrap();
    let saved = case.harness.save().unwrap();
    case.harness.restart().unwrap();
    assert_eq!(case.harness.until_next_timer(), Some(20 * SECOND));
    case.harness.restart_from(Some(saved.clone())).unwrap();
    assert_eq!(case.harness.until_next_timer(), Some(20 * SECOND));
    case.harness.advance(20 * SECOND).unwrap();
    case.settle(2);
    let mut other = Case::new("not paused", json!({}));
    other.harness.restart_from(Some(saved.clone())).unwrap();
    other.settle(1);
    let mut of_old: Value = serde_json::from_slice(&saved).unwrap();
    of_old.as_object_mut().unwrap().retain(|name, _| !["pause", "receiver"].contains(&name.as_str()));
    case.harness.restart_from(Some(of_old.to_string().into())).unwrap();
    case.settle(3);
}

#[test]
fn at_most_two_are_in_flight_and_a_hanging_one_holds_up_nobody() {
    let mut case = Case::new("flight", json!({ "timeout": "1s" }));
    let open = case.close();
    (1..=4).for_each(|id| case.violation(id, id, 1));
    open.send(()).unwrap(); // the first to come is through, and then a third is under way
    case.settle(1);
    case.harness.advance(40 * SECOND).unwrap();
    assert!(case.harness.degraded().unwrap().contains("attempts do not come back"), "{:?}", case.harness.degraded());
    case.violation(5, 5, 1);
    assert_eq!(case.gauge("notifier_queued"), 4.0, "events are taken all the same");
    drop(open); // those that wait go on
    case.settle(5);
}

#[test]
fn the_rate_holds_and_nothing_is_dropped() {
    let mut case = Case::new("rate", json!({ "rate": { "per_minute": 60, "burst": 2 } }));
    (1..=5).for_each(|id| case.violation(id, id, 1));
    case.settle(2);
    for attempts in 3..=5 {
        assert_eq!(case.harness.until_next_timer(), Some(SECOND));
        case.harness.advance(SECOND).unwrap();
        case.settle(attempts);
    }
}

#[test]
fn what_is_refused_for_ever_is_listed_tried_again_and_discarded() {
    let mut case = Case::new("dead", json!({}));
    case.answer([Refused::never("404"), Refused::never("410")]);
    (1..=2).for_each(|id| {
        case.violation(id, 1, 1);
        case.settle(id as usize);
    });
    case.harness.restart().unwrap();
    let told = Some("2 messages could not be delivered and are dead letters".to_owned());
    assert_eq!(case.harness.degraded(), told, "until somebody looks");
    let listed = case.command("list_dead_letters", &json!({}));
    assert_eq!(listed["dead_letters"][0]["id"], "alerts-test-1");
    assert_eq!((&listed["dead_letters"][1]["why"], &listed["dead_letters"][1]["attempts"]), (&json!("410"), &json!(1)));
    assert_eq!(case.command("retry_dead_letters", &json!({ "ids": ["alerts-test-2", "x"] })), json!({ "retried": 1 }));
    case.settle(3);
    assert_eq!(case.ids()[2], "alerts-test-2");
    assert_eq!(case.command("discard_dead_letters", &json!({})), json!({ "discarded": 1 }));
    assert_eq!(case.command("list_dead_letters", &json!({}))["dead_letters"], json!([]));
    assert_eq!((case.gauge("notifier_dead_letters"), case.harness.degraded()), (0.0, None));
}

#[test]
fn attempts_and_age_end() {
    let mut case = Case::new("attempts", json!({ "retry": { "first": "1s", "attempts": 2 } }));
    case.answer((0..2).map(|_| Refused::later("busy")));
    case.violation(1, 1, 1);
    case.settle(1);
    case.harness.advance(SECOND).unwrap();
    case.settle(2);
    assert_eq!((case.gauge("notifier_dead_letters"), case.gauge("notifier_queued")), (1.0, 0.0));

    let mut case = Case::new("age", json!({ "retry": { "first": "10s", "age": "10s" } }));
    case.answer((0..2).map(|_| Refused::Later { why: "busy".into(), after: Some(10 * SECOND) }));
    case.violation(1, 1, 1);
    case.settle(1);
    case.harness.advance(10 * SECOND).unwrap();
    case.settle(2);
    assert_eq!(case.gauge("notifier_dead_letters"), 1.0);
}

#[test]
fn a_full_queue_lets_the_oldest_go_to_the_dead_letters() {
    let mut case = Case::new("full", json!({ "queue_size": 2, "dead_letters": 1 }));
    case.answer([Refused::Later { why: "busy".into(), after: Some(60 * SECOND) }]);
    case.violation(1, 1, 1);
    case.settle(1);
    (2..=4).for_each(|id| case.violation(id, 1, 1));
    assert_eq!(
        (case.metric("notifier_dead_letters_total"), case.metric("notifier_dead_letters_dropped_total")),
        (2.0, 1.0)
    );
    let told = case.harness.degraded().unwrap();
    assert!(
        told.contains("not delivered: busy; 1 messages")
            && told.ends_with("1 dead letters were dropped for want of room")
    );
    let listed = case.command("list_dead_letters", &json!({}));
    assert_eq!((&listed["dead_letters"][0]["id"], &listed["queued"]), (&json!("alerts-test-2"), &json!(2)));
}

#[test]
fn a_crash_loses_nothing_and_repeats_with_the_same_id() {
    let mut case = Case::new("crash", json!({ "retry": { "first": "1h", "max": "1h" } }));
    case.answer([Refused::later("busy")]);
    case.violation(1, 1, 1);
    case.settle(1);
    case.violation(2, 1, 1);
    let saved = case.harness.save().unwrap();
    case.violation(3, 2, 1); // delivered, and nobody has saved that
    case.settle(2);
    case.harness.restart_from(Some(saved)).unwrap();
    case.settle(4);
    assert_eq!(case.ids()[2..], ["alerts-test-1", "alerts-test-2"], "at once, and in order");
    case.harness
        .input(&{
            let payload = json!({ "violation_id": 3, "characteristic_id": 2, "rule_id": 1 });
            broadcastd_plugin_api::testing::Input {
                seq: Some(3),
                ..broadcastd_plugin_api::testing::Input::new("alerts:2", "violation", &payload)
            }
        })
        .unwrap();
    case.settle(5);
    assert_eq!(case.ids()[4], case.ids()[1], "told again under its own id");
}

#[test]
fn a_queue_in_memory_is_not_saved() {
    let mut case = Case::new("memory", json!({ "queue": "memory", "retry": { "first": "1h", "max": "1h" } }));
    case.answer([Refused::later("busy")]);
    case.violation(1, 1, 1);
    case.settle(1);
    assert!(!String::from_utf8(case.harness.save().unwrap()).unwrap().contains("alerts-test-1"));
    case.harness.restart().unwrap();
    assert!(case.harness.logs().iter().any(|line| line.message.contains("messages are forgotten")));
    assert_eq!(case.gauge("notifier_queued"), 0.0);
    assert_eq!(case.command("list_dead_letters", &json!({}))["queued"], 0);
}

#[test]
fn an_attempt_that_panics_comes_again() {
    let mut case = Case::new("panic", json!({}));
    case.answer([Refused::never("panic")]);
    case.violation(1, 1, 1);
    case.settle(1);
    case.harness.advance(SECOND).unwrap();
    case.settle(2);
    assert_eq!(case.metric("notifier_sent_total"), 1.0);
}

#[test]
fn gaps_are_counted_and_told() {
    let mut case = Case::new("gap", json!({}));
    case.harness.gap("alerts", 0, 0).unwrap();
    assert_eq!(case.metric("notifier_input_gaps_total"), 1.0, "a daemon was killed");
    case.harness.gap("alerts", 3, 5).unwrap();
    assert_eq!(case.metric("notifier_input_gaps_total"), 2.0);
    case.violation(1, 1, 1);
    case.settle(1);
    assert!(case.harness.degraded().unwrap().contains("gone before they were read (2 times)"), "until somebody looks");
}

#[test]
fn settings_of_both_stand_in_one_table_and_are_refused_at_their_place() {
    let refused = |settings: Value| {
        let mut whole = json!({ "way": "settings" });
        whole.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        Harness::<Notifier<Fake>>::set_up(Setup::new(whole)).unwrap_err()
    };
    assert!(refused(json!({ "no_such": 1 })).message.contains("unknown field `no_such`"));
    assert!(refused(json!({ "match": { "no_such": [] } })).message.contains("unknown field `no_such`"));
    for (settings, pointer) in [
        (json!({ "way": "" }), "/way"),
        (json!({ "timeout": "99ms" }), "/timeout"),
        (json!({ "timeout": "121s" }), "/timeout"),
        (json!({ "queue_size": 0 }), "/queue_size"),
        (json!({ "queue_size": 10_001 }), "/queue_size"),
        (json!({ "dead_letters": 0 }), "/dead_letters"),
        (json!({ "dead_letters": 401 }), "/dead_letters"),
        (json!({ "group_by": ["a", "b", "c", "d", "e", "f", "g", "h", "i"] }), "/group_by"),
        (json!({ "text": { "a": { "subject": "{" } } }), "/text/a/subject"),
        (json!({ "rate": { "per_minute": 0 } }), "/rate/per_minute"),
        (json!({ "rate": { "per_minute": 1, "burst": 10_001 } }), "/rate/burst"),
    ] {
        assert_eq!(refused(settings.clone()).pointer, pointer, "{settings}");
    }
    let taken = json!({
        "timeout": "100ms", "queue_size": 10_000, "dead_letters": 400, "group_by": ["a", "b", "c", "d", "e", "f", "g", "h"],
        "rate": { "per_minute": 60_000, "burst": 10_000 },
    });
    Case::new("settings", taken);
    Case::new("settings", json!({ "timeout": "120s", "queue_size": 1, "dead_letters": 1 }));
    let schema = schemars::schema_for!(crate::Settings<FakeSettings>).to_value();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], json!(["way"]));
    for name in ["way", "match", "cooldown", "retry", "queue"] {
        assert!(schema["properties"][name].is_object(), "{name}");
    }
    assert_eq!(schema["properties"]["cooldown"]["default"], "0s");
}
