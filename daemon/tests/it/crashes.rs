//! A notifier and control charts that panic again and again in the middle of their work: no alert is lost, none is
//! invented, and what was acknowledged stays so.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::charts::{self, DOOR, sample};
use crate::house::{Client, hear_json, until};
use crate::http;
use crate::needs;
use crate::process::Daemon;
use crate::webhook::{self, AGAIN_SOON, ALERTS, Reaction, Receiver, TAKE, figure, violation};

pub fn tests() -> Vec<Trial> {
    vec![
        needs::nothing(every_alert_arrives_although_the_notifier_panics_again_and_again),
        needs::nothing(charts_that_panic_tell_what_charts_tell_that_do_not),
    ]
}

/// Three of each kind: before an input, behind one, while it is saved, and before records are told.
const PANICS: u32 = 12;
const RESTART: &str = "restart = { max = 1000, backoff = \"1ms..10ms\" }\n";

fn restarts(daemon: &Daemon, broadcaster: &str) -> f64 {
    let series = format!("broadcastd_broadcaster_restarts_total{{broadcaster=\"{broadcaster}\"}}");
    daemon.metric(&series).unwrap_or_default()
}

/// Alerts that are published before some of them arrive: fewer than a queue has room for, more than are on their way.
const AHEAD: u64 = 30;
const BATCH: u64 = 5;

fn every_alert_arrives_although_the_notifier_panics_again_and_again() {
    // So that there is always something in the queue that is saved.
    let receiver = Receiver::start(|number| if number % 3 == 2 { TAKE } else { Reaction::Answer(503, "") });
    let daemon = Daemon::start(&format!(
        "{ALERTS}[broadcasters.ops]\nplugin = \"fumbling\"\nlisten = [\"alerts\"]\n{RESTART}\
         settings = {{ panics = {PANICS}, every = 10, behind_saves = true, settings = {{ url = \"{}\"{AGAIN_SOON} }} }}\n",
        receiver.url()
    ));
    let arrived = || receiver.taken().iter().map(webhook::Request::violation).collect::<BTreeSet<u64>>();
    let mut published = 0;
    let mut publish = || {
        webhook::publish(&daemon, (published..published + BATCH).map(violation));
        published += BATCH;
        published
    };
    let mut newest = publish();
    until("it has panicked as often as it should", || {
        if arrived().len() as u64 + AHEAD > newest {
            newest = publish();
        }
        restarts(&daemon, "ops") >= f64::from(PANICS)
    });
    newest = publish();
    until("all arrive", || arrived().len() as u64 >= newest);
    until("nothing waits any more", || figure(&daemon, "queued") == 0.0);
    assert_eq!(arrived(), (0..newest).collect(), "each, and no other one");
    let mut told = BTreeMap::<String, BTreeSet<String>>::new();
    for request in receiver.requests() {
        told.entry(request.id()).or_default().insert(request.json().to_string());
    }
    assert!(told.values().all(|bodies| bodies.len() == 1), "a repeat says the same: {told:?}");
    assert_eq!(told.len() as u64, newest, "by their ids repeats are known");
    let taken = receiver.taken();
    for group in 0..3 {
        let mut first = BTreeSet::new();
        let of_group = taken.iter().map(webhook::Request::violation).filter(|id| id % 3 == group && first.insert(*id));
        assert!(of_group.is_sorted(), "each group keeps its order");
    }
    println!("{} deliveries of {newest} messages", taken.len());
    assert!(taken.len() as u64 > newest, "no panic came between a delivery and its saving");
    assert_eq!((figure(&daemon, "dead_letters"), figure(&daemon, "input_gaps_total")), (0.0, 0.0));
    assert_eq!(restarts(&daemon, "ops"), f64::from(PANICS));
}

const CHARACTERISTICS: u64 = 3;
const ACKNOWLEDGED: usize = 3;
const SEED: u64 = 42;
/// The stream of charts that never panic, and that of charts that do; both hear the same samples.
const STREAMS: [&str; 2] = ["alerts", "shaken"];

fn shaken(panics: u32) -> String {
    let settings = "{ auto = { limits = { samples = 10 }, rules = \"nelson\" } }";
    format!(
        "{DOOR}[streams.samples]\n[broadcasters.alerts]\nplugin = \"spc\"\nlisten = [\"samples\"]\nsettings = {settings}\n\
         [broadcasters.shaken]\nplugin = \"swaying\"\nlisten = [\"samples\"]\n{RESTART}\
         settings = {{ panics = {panics}, every = 10, settings = {settings} }}\n"
    )
}

/// A line of samples, and what each of the two streams tells of them.
struct Line {
    random: fastrand::Rng,
    samples: u64,
    clients: [Client; 2],
    told: [Vec<(String, Value)>; 2],
}

impl Line {
    /// Measures every characteristic a few times, now and then far out, and hears what is told of it.
    fn go_on(&mut self, daemon: &Daemon) {
        let mut batch: Vec<Value> =
            (0..4 * CHARACTERISTICS).map(|number| self.measure(number % CHARACTERISTICS)).collect();
        // Nothing varies here, so that there are no limits, and no violations behind the last sample of a batch.
        self.samples += 1;
        batch.push(sample(json!("end"), json!({"value": 0, "sample_id": self.samples})));
        charts::publish(daemon, &batch);
        for (client, told) in self.clients.iter_mut().zip(&mut self.told) {
            hear(client, self.samples, told);
        }
    }

    fn measure(&mut self, characteristic: u64) -> Value {
        self.samples += 1;
        let value = if self.random.u8(..8) == 0 { 40.0 } else { self.random.f64() * 10.0 };
        sample(json!(characteristic), json!({"value": value, "sample_id": self.samples}))
    }

    /// The numbers of the violations that a stream has told of.
    fn violations(&self, stream: usize) -> Vec<u64> {
        let told = self.told[stream].iter().filter(|(kind, _)| kind == "violation");
        told.map(|(_, data)| data["violation_id"].as_u64().unwrap()).collect()
    }
}

/// Hears up to a sample. Between events it is said that the source goes and comes, and what the records are then.
fn hear(client: &mut Client, last: u64, told: &mut Vec<(String, Value)>) {
    loop {
        let mut said = hear_json(client);
        let (kind, data) = (said["type"].as_str().unwrap().to_owned(), said["data"].take());
        if ["sample", "violation", "control_limits"].contains(&&*kind) {
            let is_last = kind == "sample" && data["sample_id"] == last;
            told.push((kind, data));
            if is_last {
                return;
            }
        }
    }
}

fn charts_that_panic_tell_what_charts_tell_that_do_not() {
    let daemon = Daemon::start(&shaken(0));
    let mut line = Line {
        random: fastrand::Rng::with_seed(SEED),
        samples: 0,
        clients: STREAMS.map(|stream| daemon.subscriber(stream)),
        told: [Vec::new(), Vec::new()],
    };
    until("there is something to acknowledge", || {
        line.go_on(&daemon);
        line.violations(1).len() > ACKNOWLEDGED
    });
    let acknowledged = line.violations(1)[..ACKNOWLEDGED].to_vec();
    let acknowledge = |stream: &str, violation: &u64| {
        let path = format!("/v1/broadcasters/{stream}/commands/acknowledge");
        let body = json!({"violation_id": violation, "reason": "Tool Change"}).to_string();
        http::post(&daemon.admin, &path, "application/json", body.as_bytes()).status
    };
    for stream in STREAMS {
        assert!(acknowledged.iter().all(|violation| acknowledge(stream, violation) == 200), "{stream}");
    }
    daemon.reload(|| daemon.configure(&shaken(PANICS))); // what was acknowledged is handed over, and panics begin
    until("it has panicked as often as it should", || {
        line.go_on(&daemon);
        restarts(&daemon, "shaken") >= f64::from(PANICS)
    });
    line.go_on(&daemon);
    let [calm, shaken] = &line.told;
    let wrong = calm.iter().zip(shaken).position(|(one, other)| one != other);
    assert_eq!(wrong.map(|at| (&calm[at], &shaken[at])), None, "the first that differs");
    assert_eq!(calm.len(), shaken.len());
    let violations = line.violations(1);
    println!("{} samples, {} violations", line.samples, violations.len());
    assert_eq!(violations.iter().collect::<BTreeSet<_>>().len(), violations.len(), "each has a number of its own");
    assert!(violations.len() > 10 * ACKNOWLEDGED, "{}", violations.len());
    until("it runs again, and knows what is acknowledged", || acknowledge("shaken", &acknowledged[0]) == 409);
    for violation in &acknowledged {
        assert_eq!(acknowledge("shaken", violation), 409, "{violation} stays acknowledged");
    }
    until("the records are the same", || shown(&daemon, "alerts") == shown(&daemon, "shaken"));
    assert_eq!(restarts(&daemon, "shaken"), f64::from(PANICS));
}

/// The open violations and the limits that a stream shows who comes.
fn shown(daemon: &Daemon, stream: &str) -> [BTreeSet<String>; 2] {
    let shown = daemon.get(&format!("/v1/streams/{stream}/snapshot")).json();
    ["violations", "limits"].map(|collection| {
        let records = shown["data"][collection].as_array().unwrap_or_else(|| panic!("{shown}"));
        assert!(!records.is_empty(), "{shown}");
        records.iter().map(Value::to_string).collect()
    })
}
