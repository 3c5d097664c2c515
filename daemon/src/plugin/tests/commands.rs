//! Commands to real plugins: what is asked arrives, whatever is answered reaches whoever asked, once.

use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;

use super::panics::{at, house, in_mode};
use super::*;
use crate::hub::commands::{Ask, DEADLINE, Failure, Outcome, Reason};
use crate::hub::names::Names;

impl House {
    fn ask(&self, command: &str, payload: &Value) -> Result<Receiver<Outcome>, Failure> {
        let (answered, answer) = channel();
        let payload = Bytes::from(payload.to_string());
        let ask = Ask { broadcaster: "a", command, payload, principal: "alice", names: Names::NONE };
        let answered = Box::new(move |outcome| answered.send(outcome).unwrap_or_default());
        self.hub.command(ask, |_| true, answered).map(|()| answer)
    }

    fn asked(&self, command: &str, payload: &Value) -> Result<Value, (Reason, String)> {
        answered(&self.ask(command, payload).unwrap())
    }
}

fn answered(answer: &Receiver<Outcome>) -> Result<Value, (Reason, String)> {
    let outcome = answer.recv_timeout(Duration::from_secs(30)).expect("it is answered");
    assert!(answer.recv_timeout(Duration::from_secs(30)).is_err(), "only once: whoever could answer again is gone");
    let failed = |failure: Failure| (failure.reason, failure.message);
    outcome.map(|result| serde_json::from_slice(&result).unwrap()).map_err(failed)
}

fn reason(answer: &Receiver<Outcome>) -> Reason {
    answered(answer).unwrap_err().0
}

#[test]
fn every_way_to_answer_reaches_whoever_asked() {
    let house = house();
    house.reload(&[in_mode("well")]).unwrap();
    let payload = json!({"any": ["thing", 7]});
    assert_eq!(house.asked("echo", &payload), Ok(json!({"principal": "alice", "payload": payload})));
    assert_eq!(house.asked("from_worker", &Value::Null), Ok(json!("late")));
    assert_eq!(house.asked("twice", &Value::Null), Ok(json!("first")));
    for (kind, reason) in [
        ("failed", Reason::Failed),
        ("invalid", Reason::Invalid),
        ("unsupported", Reason::UnknownCommand),
        ("limit", Reason::Full),
        ("closed", Reason::Unavailable),
        ("not_found", Reason::NotFound),
        ("conflict", Reason::Conflict),
        ("forbidden", Reason::Forbidden),
    ] {
        assert_eq!(house.asked("fail", &json!({"kind": kind})), Err((reason, "fails on purpose".to_owned())));
    }
    let (reason, message) = house.asked("huge", &Value::Null).unwrap_err();
    assert_eq!((reason, &*message), (Reason::Failed, "the broadcaster's answer is wrong: an answer has at most 1 MiB"));
    let later = house.ask("later", &json!({"after_ms": 50})).unwrap();
    until("it is answered", || {
        house.tick(Duration::from_millis(50));
        later.try_recv().is_ok_and(|outcome| outcome == Ok(Bytes::from_static(b"\"late\"")))
    });
    assert_eq!(house.ask("fail", &json!({"kind": 7})).unwrap_err().reason, Reason::Invalid, "by its schema");
    assert_eq!(house.supervisor.status_of("a").unwrap().errors, 0);
    house.supervisor.stop();
}

#[test]
fn a_panic_in_a_command_answers_all_that_is_in_flight_and_the_next_instance_takes_more() {
    let house = house();
    house.reload(&[in_mode("well")]).unwrap();
    let before = house.ask("never", &Value::Null).unwrap();
    let panics = house.ask("panic", &Value::Null).unwrap();
    assert_eq!((reason(&before), reason(&panics)), (Reason::Unavailable, Reason::Unavailable));
    until("it runs again", || {
        house.tick(Duration::from_millis(100));
        let status = house.supervisor.status_of("a").unwrap();
        (status.restarts, status.state) == (1, Phase::Running)
    });
    assert_eq!(house.asked("echo", &json!(7)), Ok(json!({"principal": "alice", "payload": 7})));
    house.supervisor.stop();
}

#[test]
fn what_is_in_flight_when_it_is_replaced_or_stopped_is_unavailable() {
    let house = house();
    house.reload(&[in_mode("well")]).unwrap();
    let replaced = house.ask("never", &Value::Null).unwrap();
    house.asked("echo", &json!(1)).unwrap(); // and so the one before was told
    let other = Wanted { settings: json!({"interval_ms": 70}), ..in_mode("well") };
    house.reload(&[other]).unwrap();
    assert_eq!(reason(&replaced), Reason::Unavailable);
    let stopped = house.ask("never", &Value::Null).unwrap();
    house.supervisor.stop();
    assert_eq!(reason(&stopped), Reason::Unavailable);
    assert_eq!(house.ask("echo", &json!(2)).unwrap_err().reason, Reason::Unavailable);
}

#[test]
fn one_that_hangs_in_a_command_is_answered_for_and_can_be_replaced() {
    let mut house = house();
    house.supervisor.config.timing.hand_over = Duration::from_millis(300);
    house.supervisor.config.timing.stop = Duration::from_millis(50);
    house.reload(&[at("hang", "command")]).unwrap();
    let hangs = house.ask("echo", &json!(1)).unwrap();
    until("it hangs", || {
        house.clock.advance(Duration::from_millis(5100));
        house.phase("a") == Phase::Stuck
    });
    let waits = house.ask("echo", &json!(2)).unwrap();
    assert!(house.hub.expire_commands(Instant::now()).is_some(), "nobody has waited for too long yet");
    house.hub.expire_commands(Instant::now() + DEADLINE);
    assert_eq!((reason(&hangs), reason(&waits)), (Reason::Deadline, Reason::Deadline));
    let waits = house.ask("echo", &json!(3)).unwrap();
    house.reload(&[in_mode("well")]).unwrap();
    let told = answered(&waits).expect("its successor is told what nobody was told");
    assert_eq!(told["payload"], 3);
    house.supervisor.stop();
}

#[test]
fn wrong_answers_of_native_code_are_told_to_whoever_asked() {
    for (fault, expected) in [
        ("NONE", Ok("null")),
        ("REPLY_TWICE", Ok("null")),
        ("REPLY_FROM_THREAD", Ok("null")),
        ("REPLY_GARBAGE", Err((Reason::Failed, "the broadcaster's answer is wrong: the result is no JSON"))),
        ("REPLY_NULL", Err((Reason::Failed, "the broadcaster's answer is wrong: the result is no JSON"))),
        ("REPLY_HUGE", Err((Reason::Failed, "the broadcaster's answer is wrong: an answer has at most 1 MiB"))),
        ("REPLY_ODD_STATUS", Err((Reason::Failed, "the broadcaster gave no reason"))),
        ("REPLY_TO_OTHERS", Ok("null")),
    ] {
        let house = super::faulty::house(fault);
        house.reload(&[wanted("a", "faulty_c", "")]).unwrap();
        let got = house.asked("ask", &json!({"any": 1}));
        let expected = expected.map(|json| serde_json::from_str(json).unwrap());
        assert_eq!(got, expected.map_err(|(reason, message)| (reason, message.to_owned())), "{fault}");
        house.supervisor.stop();
        assert_eq!(house.supervisor.status_of("a").unwrap().errors, 0, "{fault}");
    }
}
