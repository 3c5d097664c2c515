//! One instance by itself: it is told what happens and nothing else, and what it publishes is there to be read.

use broadcastd_plugin_api::abi;

use super::*;
use crate::plugin::alone::{Alone, HandClock};
use crate::plugin::stream::declaration;

/// The test plugin, not made yet.
fn alone(house: &House, definitions: &[&str]) -> (Alone, Arc<HandClock>) {
    house.build("single", definitions);
    let library = house.supervisor.library("single", None).unwrap();
    let spec = declaration(&library.facts.stream).unwrap();
    let clock = Arc::new(HandClock::default());
    (Alone::new(library, spec.as_ref(), "single", clock.clone()), clock)
}

fn said(alone: &mut Alone) -> Vec<String> {
    alone.take_published().iter().map(|event| String::from_utf8_lossy(&event.payload).into_owned()).collect()
}

fn input(alone: &mut Alone, audience: &str) {
    let draft = Draft { kind: "do", payload: b"{}", audience, ..Draft::default() };
    alone.publish("somewhere", &draft).unwrap();
}

fn turns(alone: &mut Alone) {
    while alone.turn().unwrap() {}
}

#[test]
fn it_is_told_of_demand_timers_and_inputs_and_says_what_follows() {
    let (mut alone, clock) = alone(&House::new(), &[]);
    alone.create(r#"{"mode":"tick demand"}"#).unwrap();
    assert_eq!(alone.last_call(), "create");
    alone.begin().unwrap();
    turns(&mut alone);
    assert_eq!(said(&mut alone), [r#"{"topic":"","value":1}"#], "who reads along wants all of it");
    assert!(!alone.turn().unwrap(), "nothing happens by itself");
    clock.advance_to(alone.port().next_timer().unwrap());
    turns(&mut alone);
    assert_eq!(said(&mut alone), [r#"{"n":1}"#]);
    assert_eq!(clock.unix_ns(), 1_767_625_201_000_000_000);
    input(&mut alone, "");
    input(&mut alone, "");
    turns(&mut alone);
    assert_eq!(alone.last_call(), "on_events (MESSAGE)");
    assert_eq!(said(&mut alone), [r#"{"n":2}"#, r#"{"n":3}"#]);
    assert_eq!(alone.stop().unwrap(), Some(3_u64.to_ne_bytes().to_vec()));
    assert_eq!(alone.last_call(), "destroy");
}

#[test]
fn a_stream_whose_first_input_is_for_somebody_is_private() {
    let (mut alone, _) = alone(&House::new(), &[]);
    alone.create("{}").unwrap();
    alone.begin().unwrap();
    input(&mut alone, "somebody");
    turns(&mut alone);
    assert_eq!(said(&mut alone), [r#"{"n":1}"#]);
}

#[test]
fn a_failure_says_which_call_it_was_and_another_instance_goes_on_from_its_state() {
    let (mut alone, _) = alone(&House::new(), &[]);
    let fault = alone.create(r#"{"mode":"refused"}"#).unwrap_err();
    assert_eq!((fault.pointer.as_str(), alone.last_call()), ("/mode", "create"));
    alone.create("{}").unwrap();
    alone.begin().unwrap();
    let draft = Draft { kind: "do", payload: br#"{"do":"poison"}"#, ..Draft::default() };
    alone.publish("somewhere", &draft).unwrap();
    assert_eq!(alone.turn().unwrap_err().message, "poisoned");
    alone.create("{}").unwrap();
    assert_eq!(alone.restore(7, b"12345678").unwrap_err().status, abi::E_INVALID);
    alone.restore(1, &40_u64.to_ne_bytes()).unwrap();
    alone.begin().unwrap();
    input(&mut alone, "");
    turns(&mut alone);
    assert_eq!(said(&mut alone), [r#"{"n":41}"#]);
}

#[test]
fn why_an_event_was_not_taken_is_kept() {
    let (mut alone, _) = alone(&House::new(), &[]);
    alone.create("{}").unwrap();
    alone.begin().unwrap();
    assert_eq!((alone.refused(), alone.port().last_refusal()), (0, None));
    let draft = Draft { kind: "do", payload: br#"{"do":"garbage"}"#, ..Draft::default() };
    alone.publish("somewhere", &draft).unwrap();
    turns(&mut alone);
    assert_eq!(alone.refused(), 1);
    assert!(alone.port().last_refusal().unwrap().starts_with("payload is no JSON"));
}

#[test]
fn who_asks_hears_of_each_call_before_it_is_made() {
    let (single, _) = alone(&House::new(), &[]);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let calls = heard.clone();
    let mut single = single.before_calls(Box::new(move |call| calls.lock().unwrap().push(call.to_owned())));
    single.create("{}").unwrap();
    single.begin().unwrap();
    single.tell_as_later_host(&[abi::Event::new(abi::EVENT_TIMER), abi::Event::new(4711)]).unwrap();
    single.stop().unwrap();
    let calls = ["create", "start", "on_events (RECORDS)", "on_events (of a later host)", "on_events (QUIESCE)"];
    assert_eq!(*heard.lock().unwrap(), [&calls[..], &["save_state", "on_events (STOP)", "destroy"]].concat());
    assert_eq!(said(&mut single), [r#"{"n":1}"#], "the stride of a later host's events is minded");
}
