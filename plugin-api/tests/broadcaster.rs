//! A broadcaster in the harness: everything that crosses the border, both ways.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::time::Duration;

use broadcastd_plugin_api::abi;
use broadcastd_plugin_api::testing::{Harness, Input, Published, Setup};
use broadcastd_plugin_api::{
    Answer, Broadcaster, Cause, Command, Context, Demand, Failure, Flags, Gap, JobRefused, Message, Outgoing,
    PublishError, Reconfigured, RequestId, StreamSpec, TimerId, WORKER_JOBS, Worker,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Deserialize, JsonSchema)]
struct Config {
    #[serde(default)]
    symbols: Vec<String>,
    #[serde(default)]
    panic_in_drop: bool,
}

#[derive(Serialize, JsonSchema)]
struct Said {
    what: String,
}

/// Publishes what it is told.
struct Echo {
    config: Config,
    count: u64,
    waiting: Vec<(Cause, String)>,
    asked: Option<RequestId>,
    worker: Worker<u64>,
}

impl Broadcaster for Echo {
    type Config = Config;
    const STATE_VERSION: u32 = 3;

    fn stream() -> Option<StreamSpec> {
        Some(StreamSpec::new("{symbol}").kind::<Said>("said").collected("sayings"))
    }

    fn validate(config: &Config) -> Result<(), Failure> {
        let bad = config.symbols.iter().position(|symbol| symbol.is_empty());
        bad.map_or(Ok(()), |index| Err(Failure::at(format!("/symbols/{index}"), "a symbol has at least one letter")))
    }

    fn new(config: Config, cx: &mut Context<'_>) -> Result<Self, Failure> {
        assert!(config.symbols.len() < 9, "too many symbols");
        Ok(Echo { config, count: 0, waiting: Vec::new(), asked: None, worker: cx.worker() })
    }

    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.count += 1;
        let now = cx.now_mono().as_millis();
        say(cx, &format!("timer {} at {now}", timer.0)).map_err(|error| Failure::new(error.to_string()))
    }

    fn on_demand(&mut self, demand: &Demand<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        let reached = cx.demand("AAPL:1");
        tracing::info!(topic = demand.topic, now = demand.subscriptions, reached, "demand");
        Ok(())
    }

    fn on_message(&mut self, message: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        match message.kind {
            "panic" => panic!("message {}", message.seq),
            "fail" => Err(Failure::new("cannot go on")),
            "timers" => {
                cx.timer_every(TimerId(2), SECOND, SECOND)?;
                cx.timer_once(TimerId(1), 2 * SECOND)?;
                cx.timer_once(TimerId(3), SECOND)?;
                cx.timer_clear(TimerId(3));
                Ok(())
            }
            "log" => {
                let _span = tracing::info_span!("outer", seq = message.seq).entered();
                tracing::info!(answer = 42, "inside");
                tracing::debug!("detail");
                Ok(())
            }
            "count" => {
                metrics::describe_counter!("seen_total", "What was seen.");
                metrics::counter!("seen_total", "kind" => "count").increment(2);
                metrics::gauge!("level").set(5.0);
                metrics::gauge!("level").decrement(1.5);
                metrics::histogram!("took_seconds").record(0.25);
                Ok(())
            }
            "job" => {
                let job: u64 = message.json()?;
                self.worker
                    .run(move || if job == 0 { panic!("no job") } else { job * 2 })
                    .map_err(|e| Failure::new(e.to_string()))
            }
            "ill" => {
                cx.health_degraded("no ticks for a minute");
                Ok(())
            }
            "well" => {
                cx.health_ok();
                Ok(())
            }
            "batch" => {
                let events = [Outgoing { kind: "said", payload: b"{}", ..Outgoing::default() }; 40];
                let partly = cx.publish_all(&events).unwrap_err();
                tracing::info!(accepted = partly.accepted, why = ?partly.why);
                Ok(())
            }
            _ => {
                self.echo(message.kind, cx);
                self.echo(message.key, cx);
                Ok(())
            }
        }
    }

    fn on_gap(&mut self, gap: &Gap<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.echo(&format!("{} {} {}", gap.stream, gap.from, gap.to), cx);
        Ok(())
    }

    fn records(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.echo("record", cx);
        Ok(())
    }

    fn on_command(&mut self, command: &Command<'_>, _: &mut Context<'_>) -> Result<Answer, Failure> {
        match command.name {
            "now" => Ok(Answer::Now(json!({"who": command.principal, "said": command.json::<Value>()?}))),
            "later" => {
                self.asked = Some(command.request);
                Ok(Answer::Later)
            }
            "panic" => panic!("asked to"),
            _ => Err(Failure::at("/name", "ask for `now` or `later`")),
        }
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        for outcome in self.worker.done() {
            let text = outcome.map_or_else(|panicked| panicked.to_string(), |value| value.to_string());
            self.echo(&text, cx);
        }
        Ok(())
    }

    fn on_writable(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        for (cause, what) in std::mem::take(&mut self.waiting) {
            cx.event("said").cause(&cause).publish(&Said { what }).map_err(|error| Failure::new(error.to_string()))?;
        }
        Ok(())
    }

    fn quiesce(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        match self.asked.take() {
            Some(request) => cx.reply(request, Ok(&"at last")),
            None => Ok(()),
        }
    }

    fn save(&self) -> Result<Vec<u8>, Failure> {
        Ok(serde_json::to_vec(&self.count)?)
    }

    fn restore(&mut self, from_version: u32, state: &[u8], _: &mut Context<'_>) -> Result<(), Failure> {
        assert_eq!(from_version, 3);
        self.count = serde_json::from_slice(state)?;
        Ok(())
    }

    fn reconfigure(&mut self, config: Config, _: &mut Context<'_>) -> Result<Reconfigured, Failure> {
        if config.symbols.is_empty() {
            return Ok(Reconfigured::Replace);
        }
        self.config = config;
        Ok(Reconfigured::Done)
    }
}

impl Echo {
    /// Says it now, or when there is room.
    fn echo(&mut self, what: &str, cx: &mut Context<'_>) {
        match say(cx, what) {
            Ok(()) => {}
            Err(PublishError::Again) => self.waiting.extend(cx.take_cause().map(|cause| (cause, what.to_owned()))),
            Err(error) => tracing::error!(%error),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        assert!(!self.config.panic_in_drop, "dropped");
    }
}

fn say(cx: &mut Context<'_>, what: &str) -> Result<(), PublishError> {
    cx.event("said").topic("AAPL:1").key("k").latest().record(&json!({"short": 1})).publish(&Said { what: what.into() })
}

fn harness() -> Harness<Echo> {
    Harness::new(json!({})).unwrap()
}

fn texts(published: &[Published]) -> Vec<&str> {
    published.iter().map(|event| event.payload["what"].as_str().unwrap()).collect()
}

#[test]
fn timers_fire_in_order_at_their_own_instant() {
    let mut harness = harness();
    harness.message("in", "timers", &()).unwrap();
    assert_eq!(harness.until_next_timer(), Some(SECOND));
    harness.advance(3 * SECOND + SECOND / 2).unwrap();
    let said = harness.published();
    assert_eq!(texts(&said), ["timer 2 at 1000", "timer 1 at 2000", "timer 2 at 2000", "timer 2 at 3000"]);
    assert!(said.iter().all(|event| event.cause.is_none()), "a timer is no input");
}

#[test]
fn an_event_arrives_as_it_was_built() {
    let mut harness = harness();
    harness.input(&Input { key: "second", ..Input::new("in:x", "first", &json!({})) }).unwrap();
    harness.message("in:y", "third", &json!({})).unwrap();
    let said = harness.published();
    assert_eq!(texts(&said), ["first", "second", "third", ""]);
    let event = &said[1];
    assert_eq!((event.kind.as_str(), event.topic.as_str(), event.key.as_str()), ("said", "AAPL:1", "k"));
    assert_eq!((event.flags, event.record.clone()), (Flags::LATEST, Some(json!({"short": 1}))));
    let causes: Vec<_> = said.iter().map(|event| event.cause.clone().unwrap()).collect();
    let cause = |seq, ordinal| Cause { stream: "in".into(), epoch: "test".into(), seq, ordinal };
    assert_eq!(causes, [cause(1, 0), cause(1, 1), cause(2, 0), cause(2, 1)]);
}

#[test]
fn an_event_that_has_to_wait_keeps_its_cause() {
    let mut harness = harness();
    harness.room(Some(1));
    harness.input(&Input { key: "second", ..Input::new("in", "first", &()) }).unwrap();
    assert_eq!(texts(&harness.published()), ["first"]);
    harness.writable().unwrap();
    let said = harness.published();
    assert_eq!(texts(&said), ["second"]);
    assert_eq!(said[0].cause, Some(Cause { stream: "in".into(), epoch: "test".into(), seq: 1, ordinal: 1 }));
}

#[test]
fn of_a_batch_the_first_are_accepted() {
    let mut harness = harness();
    harness.room(Some(37));
    harness.message("in", "batch", &()).unwrap();
    assert_eq!(harness.logs()[0].message, "accepted=37 why=Again");
    let ordinals: Vec<_> = harness.published().iter().map(|event| event.cause.clone().unwrap().ordinal).collect();
    assert_eq!(ordinals, (0..37).collect::<Vec<_>>());
}

#[test]
fn records_are_record_only_by_themselves() {
    let mut harness = harness();
    let records = harness.records().unwrap();
    assert_eq!(texts(&records), ["record"]);
    assert!(records[0].flags.has(Flags::RECORD_ONLY | Flags::LATEST));
    assert!(harness.published().is_empty());
}

#[test]
fn demand_is_told_from_nobody_to_somebody_and_back() {
    let mut harness = harness();
    for topic in ["AAPL:1", "AAPL:1", "*:1", "AAPL"] {
        harness.subscribe(topic).unwrap();
    }
    harness.unsubscribe("AAPL:1").unwrap();
    harness.unsubscribe("AAPL:1").unwrap();
    let told: Vec<_> = harness.logs().into_iter().map(|line| line.message).collect();
    let line = |topic, now, reached| format!("demand topic={topic:?} now={now} reached={reached}");
    assert_eq!(told, [line("AAPL:1", 1, 1), line("*:1", 1, 3), line("AAPL", 1, 3), line("AAPL:1", 0, 1)]);
}

#[test]
fn gaps_are_told() {
    let mut harness = harness();
    harness.gap("in", 4, 9).unwrap();
    assert_eq!(texts(&harness.published()), ["in 4 9"]);
}

#[test]
fn commands_are_answered_now_later_or_refused() {
    let mut harness = harness();
    let now = harness.command("now", "ada", &json!([1])).unwrap();
    let later = harness.command("later", "ada", &()).unwrap();
    let never = harness.command("never", "ada", &()).unwrap();
    harness.quiesce().unwrap();
    let replies = harness.replies();
    let replies: Vec<_> = replies.into_iter().map(|reply| (reply.request, reply.status, reply.payload)).collect();
    let refusal = json!({"message": "ask for `now` or `later`", "pointer": "/name"});
    let expected = [
        (now, abi::OK, json!({"who": "ada", "said": [1]})),
        (never, abi::E_INVALID, refusal),
        (later, abi::OK, json!("at last")),
    ];
    assert_eq!(replies, expected);
    harness.message("in", "still alive", &()).unwrap();
}

#[test]
fn a_panic_ends_at_the_border_and_poisons() {
    let mut harness = harness();
    let failed = harness.message("in", "panic", &()).unwrap_err();
    assert_eq!(failed.status, abi::E_PANIC);
    assert!(failed.message.starts_with("panicked at ") && failed.message.ends_with(": message 1"), "{failed}");
    assert!(failed.message.contains("broadcaster.rs:"), "{failed}");
    let logged = harness.logs();
    assert_eq!((logged[0].level, logged[0].target.as_str()), (abi::LOG_ERROR, "panic"));
    assert_eq!(harness.message("in", "hello", &()).unwrap_err().status, abi::E_PANIC);
    assert_eq!(harness.save().unwrap_err().status, abi::E_PANIC);
    assert_eq!(harness.reconfigure(&json!({"symbols": ["A"]})).unwrap_err().status, abi::E_PANIC);
    assert!(harness.published().is_empty(), "a poisoned instance is not called");
    harness.restart_from(None).unwrap();
    harness.message("in", "hello", &()).unwrap();
    assert_eq!(texts(&harness.published()), ["hello", ""]);
}

#[test]
fn panics_in_new_in_commands_and_in_drop_are_caught_too() {
    let symbols = vec!["A"; 9];
    let failed = Harness::<Echo>::new(json!({"symbols": symbols})).unwrap_err();
    assert_eq!(failed.status, abi::E_PANIC);
    assert!(failed.message.ends_with("too many symbols"), "{failed}");
    assert_eq!(harness().command("panic", "ada", &()).unwrap_err().status, abi::E_PANIC);
    let mut harness = Harness::<Echo>::new(json!({"panic_in_drop": true})).unwrap();
    harness.end();
    let logged = harness.logs();
    assert!(logged.len() == 1 && logged[0].message.ends_with("dropped"), "{logged:?}");
}

#[test]
fn a_failure_is_said_with_its_reason_and_does_not_poison() {
    let mut harness = harness();
    let failed = harness.message("in", "fail", &()).unwrap_err();
    assert_eq!((failed.status, failed.message.as_str()), (abi::E_FAILED, "cannot go on"));
    harness.message("in", "hello", &()).unwrap();
}

#[test]
fn wrong_settings_are_said_with_their_place() {
    let harness = harness();
    let place = |settings: Value| harness.validate(&settings).unwrap_err().pointer;
    assert_eq!(place(json!({"symbols": ["A", ""]})), "/symbols/1");
    assert_eq!(place(json!({"symbols": ["A", 7]})), "/symbols/1");
    assert_eq!(place(json!({"symbols": "A"})), "/symbols");
    assert_eq!(harness.validate(&json!({"symbols": ["A"]})), Ok(()));
    let failed = Harness::<Echo>::new(json!({"symbols": [""]})).unwrap_err();
    assert_eq!((failed.status, failed.pointer.as_str()), (abi::E_INVALID, "/symbols/0"));
}

#[test]
fn state_survives_a_restart() {
    let mut harness = harness();
    harness.message("in", "timers", &()).unwrap();
    harness.advance(2 * SECOND).unwrap();
    assert_eq!(harness.save().unwrap(), b"3");
    harness.restart().unwrap();
    assert_eq!(harness.until_next_timer(), None, "timers end with their instance");
    assert_eq!(harness.save().unwrap(), b"3");
    let refused = harness.restart_from(Some(b"no".to_vec())).unwrap_err();
    assert_eq!(refused.status, abi::E_INVALID);
}

#[test]
fn a_start_from_saved_state() {
    let setup = Setup { state: Some((3, b"41".to_vec())), ..Setup::new(json!({})) };
    assert_eq!(Harness::<Echo>::set_up(setup).unwrap().save().unwrap(), b"41");
}

#[test]
fn new_settings_are_taken_or_need_a_successor() {
    let mut harness = harness();
    assert_eq!(harness.reconfigure(&json!({"symbols": ["A"]})), Ok(true));
    assert_eq!(harness.reconfigure(&json!({})), Ok(false));
    assert_eq!(harness.reconfigure(&json!({"symbols": [""]})).unwrap_err().pointer, "/symbols/0");
}

#[test]
fn log_lines_carry_their_spans_and_obey_the_level() {
    let mut harness = harness();
    harness.message("in", "log", &()).unwrap();
    let lines: Vec<_> = harness.logs().into_iter().map(|line| (line.level, line.message)).collect();
    let inside = (abi::LOG_INFO, "outer{seq=1}: inside answer=42".to_owned());
    assert_eq!(lines, [inside, (abi::LOG_DEBUG, "outer{seq=1}: detail".to_owned())]);
    harness.log_level(abi::LOG_INFO);
    harness.message("in", "log", &()).unwrap();
    assert_eq!(harness.logs().len(), 1, "the level is asked for every line");
}

#[test]
fn metrics_reach_the_host_of_their_own_broadcaster() {
    let (mut one, mut other) = (harness(), harness());
    one.message("in", "count", &()).unwrap();
    one.message("in", "count", &()).unwrap();
    other.message("in", "count", &()).unwrap();
    let metrics = one.metrics();
    let values: Vec<_> = metrics.iter().map(|metric| (metric.name.as_str(), metric.values.as_slice())).collect();
    let expected: [(&str, &[f64]); 3] =
        [("seen_total", &[2.0, 2.0]), ("level", &[5.0, 3.5, 5.0, 3.5]), ("took_seconds", &[0.25, 0.25])];
    assert_eq!(values, expected);
    assert_eq!((metrics[0].help.as_str(), &metrics[0].labels), ("What was seen.", &json!({"kind": "count"})));
    assert_eq!(other.metrics()[0].values, [2.0]);
}

#[test]
fn health_is_said_with_its_reason() {
    let mut harness = harness();
    harness.message("in", "ill", &()).unwrap();
    assert_eq!(harness.degraded().as_deref(), Some("no ticks for a minute"));
    harness.message("in", "well", &()).unwrap();
    assert_eq!(harness.degraded(), None);
}

#[test]
fn work_comes_back_through_wake() {
    let mut harness = harness();
    let in_time = Duration::from_secs(60);
    harness.message("in", "job", &21).unwrap();
    assert_eq!(harness.wait_for_wake(in_time), Ok(true));
    assert_eq!(texts(&harness.published()), ["42"]);
    harness.message("in", "job", &0).unwrap();
    assert_eq!(harness.wait_for_wake(in_time), Ok(true));
    let said = harness.published();
    assert!(texts(&said)[0].ends_with("no job"), "{said:?}");
    assert_eq!(harness.logs()[0].target, "panic");
}

#[test]
fn a_worker_takes_so_many_jobs_and_no_more() {
    let mut harness = harness();
    for _ in 0..WORKER_JOBS {
        harness.message("in", "job", &1).unwrap();
    }
    let failed = harness.message("in", "job", &1).unwrap_err();
    assert_eq!(failed.message, JobRefused::Full.to_string(), "jobs that are done but not collected count, too");
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let mut harness = Harness::<Wrong>::new(json!({})).unwrap();
    harness.message("in", "go", &()).unwrap();
    assert!(harness.published().is_empty());
    assert_eq!(harness.logs().len(), 4, "each with its reason");
}

/// Publishes only what is wrong.
struct Wrong;

impl Broadcaster for Wrong {
    type Config = Config;

    fn new(_: Config, _: &mut Context<'_>) -> Result<Self, Failure> {
        Ok(Wrong)
    }

    fn on_message(&mut self, _: &Message<'_>, cx: &mut Context<'_>) -> Result<(), Failure> {
        let invalid = Err(PublishError::Invalid);
        assert_eq!(cx.event("").publish(&json!({})), invalid);
        assert_eq!(cx.event("a").publish(&json!([])), invalid);
        assert_eq!(cx.event("a").topic("x:*").publish(&json!({})), invalid);
        let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert_eq!(cx.event("a").publish(&no_json), invalid);
        Ok(())
    }
}
