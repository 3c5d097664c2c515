//! Checks of what no daemon does and of what anybody may publish: nothing of it panics, and no input is a reason to fail.

use broadcastd_plugin_api::abi::{self, Bytes, Event, Str};

use super::checks::{Checked, Plugin, Subject, failed, is_panic};
use super::life::live;
use crate::plugin::alone::{Alone, HandClock};
use crate::plugin::port::Fault;

/// Inputs, gaps, demand and commands that nobody expects are taken or ignored: a failure would come again with the same
/// input, until the broadcaster is quarantined.
pub fn wrong_inputs(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    let (mut alone, clock) = subject.alone(&plugin);
    live(subject, &plugin, &mut alone, &clock)?;
    let events = unexpected();
    for (what, event) in &events {
        subject.report.under(&format!("with {what}"));
        alone.tell_as_is(&[*event]).map_err(|fault| failed(&format!("{}, with {what},", alone.last_call()), &fault))?;
    }
    Ok(format!("{} events that nobody expects are no failure", events.len()))
}

fn unexpected() -> Vec<(&'static str, Event<'static>)> {
    let text = Str::new;
    let message = |kind: &'static str, payload: &'static str, seq: u64| Event {
        stream: text("elsewhere"),
        topic: text("elsewhere:a:b"),
        r#type: text(kind),
        payload: Bytes::new(payload.as_bytes()),
        epoch: text("e"),
        seq,
        ..Event::new(abi::EVENT_MESSAGE)
    };
    let deep = r#"{"a":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{}]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"#;
    let long = "a key that is as long as keys may be, which is rather long, and longer than anybody who keeps it in a small \
                place on the stack would have thought when that was written; and it is not even over here, but goes on";
    vec![
        ("an input of an unknown kind", message("no_such_kind", "{}", 1)),
        ("an input without members", message("tick", "{}", 2)),
        ("an input of other types", message("tick", r#"{"symbol":7,"price":"x","size":null,"value":[]}"#, 3)),
        ("an input of huge numbers", message("tick", r#"{"symbol":"A","price":1e308,"size":-1e308,"value":1e308}"#, 4)),
        ("an input that is nested deep", message("tick", deep, 5)),
        ("an input on the root topic", Event { topic: text("elsewhere"), ..message("tick", "{}", 6) }),
        ("an input with a long key", Event { key: text(long), ..message("tick", "{}", 7) }),
        ("an input from before 1970", Event { unix_ns: i64::MIN, ..message("tick", "{}", 8) }),
        ("an input from the end of time", Event { unix_ns: i64::MAX, ..message("tick", "{}", 9) }),
        (
            "an input for a user",
            Event { audience: text("somebody"), session_id: text("s"), ..message("tick", "{}", 10) },
        ),
        ("an input with the largest number", message("tick", "{}", u64::MAX)),
        ("an input of another epoch", Event { epoch: text("f"), ..message("tick", "{}", 1) }),
        ("a gap", Event { stream: text("elsewhere"), epoch: text("f"), id: 0, seq: 4, ..Event::new(abi::EVENT_GAP) }),
        ("a gap that ends before it begins", Event { id: 9, seq: 2, ..Event::new(abi::EVENT_GAP) }),
        ("a timer that it did not set", Event { id: u64::MAX - 7, ..Event::new(abi::EVENT_TIMER) }),
        ("demand for a topic that is none", Event { topic: text("*:%:*"), value: 3, ..Event::new(abi::EVENT_DEMAND) }),
        ("demand that ends and never began", Event { topic: text("x"), value: 0, ..Event::new(abi::EVENT_DEMAND) }),
        ("a command that it does not know", command("no_such_command")),
        ("a command without a name", command("")),
        ("a wake that nobody asked for", Event::new(abi::EVENT_WAKE)),
        ("room that it did not wait for", Event::new(abi::EVENT_WRITABLE)),
        ("records once more", Event::new(abi::EVENT_RECORDS)),
        ("an event of a later minor", Event { flags: u32::MAX, ..Event::new(4711) }),
    ]
}

fn command(name: &'static str) -> Event<'static> {
    let (payload, principal) = (Bytes::new(b"null"), Str::new("operator:admin"));
    Event {
        id: 1 << 40,
        r#type: Str::new(name),
        payload,
        principal,
        value: 1_000_000_000,
        ..Event::new(abi::EVENT_COMMAND)
    }
}

/// A call that no daemon makes in this place.
type Step = fn(&mut Alone, &str) -> Result<(), Fault>;

/// Calls in an order that no daemon makes may fail, and nothing more.
pub fn odd_order(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    let settings = plugin.settings.to_string();
    for (what, step) in STEPS {
        subject.report.under(what);
        let (mut alone, _) = subject.alone(&plugin);
        tolerated(what, &alone_done(&mut alone, &settings, *step), &alone)?;
    }
    subject.report.under("while there are two at a time");
    two_at_a_time(subject, &plugin)?;
    Ok(format!("{} orders that no daemon follows, and nothing panics", STEPS.len() + 1))
}

fn alone_done(alone: &mut Alone, settings: &str, step: Step) -> Result<(), Fault> {
    alone.create(settings)?;
    step(alone, settings)
}

const STEPS: &[(&str, Step)] = &[
    ("destroyed right after create", |_, _| Ok(())),
    ("saved before the start", |alone, _| alone.save().map(drop)),
    ("told of events before the start", |alone, _| {
        let kinds = [abi::EVENT_TIMER, abi::EVENT_MESSAGE, abi::EVENT_WAKE, abi::EVENT_RECORDS, abi::EVENT_STOP];
        kinds.into_iter().try_for_each(|kind| alone.tell_as_is(&[Event::new(kind)]))
    }),
    ("reconfigured before the start", |alone, settings| alone.reconfigure(settings)),
    ("started twice", |alone, _| alone.begin().and_then(|()| alone.start())),
    ("told of nothing", |alone, _| alone.begin().and_then(|()| alone.tell_as_is(&[]))),
    ("told by a later host", |alone, _| {
        let kinds = [abi::EVENT_RECORDS, 4711, abi::EVENT_WAKE, abi::EVENT_MESSAGE];
        alone.begin()?;
        alone.tell_as_later_host(&kinds.map(Event::new))
    }),
    ("restored after the start", |alone, _| {
        alone.begin()?;
        let Some(state) = alone.save()? else { return Ok(()) };
        let version = alone.library().facts.state_version;
        alone.restore(version, &state)?;
        alone.turn().map(drop)
    }),
    ("saved again and again", |alone, _| {
        alone.begin()?;
        (0..10).try_for_each(|_| alone.save().map(drop))
    }),
    ("going on after a quiesce", |alone, _| {
        let kinds = [abi::EVENT_QUIESCE, abi::EVENT_WAKE, abi::EVENT_RECORDS, abi::EVENT_QUIESCE];
        alone.begin()?;
        kinds.into_iter().try_for_each(|kind| alone.tell_as_is(&[Event::new(kind)]))
    }),
    ("told to stop twice, and more after that", |alone, _| {
        let kinds = [abi::EVENT_STOP, abi::EVENT_STOP, abi::EVENT_WAKE, abi::EVENT_RECORDS];
        alone.begin()?;
        kinds.into_iter().try_for_each(|kind| alone.tell_as_is(&[Event::new(kind)]))
    }),
    ("saved after the stop", |alone, _| {
        alone.begin()?;
        alone.tell_as_is(&[Event::new(abi::EVENT_STOP)])?;
        alone.save().map(drop)
    }),
    ("destroyed without a word", |alone, _| alone.begin()),
];

/// As when one is made ready beside the other; what one does is not the other's.
fn two_at_a_time(subject: &Subject, plugin: &Plugin) -> Result<(), super::checks::Flaw> {
    let (mut one, clock): (Alone, _) = subject.alone(plugin);
    let (mut other, _) = subject.alone(plugin);
    let turns = |alone: &mut Alone, clock: &HandClock| super::life::turns(alone, clock);
    let settings = plugin.settings.to_string();
    let done = one.create(&settings).and_then(|()| one.begin());
    done.map_err(|fault| failed(one.last_call(), &fault))?;
    let done = other.create(&settings).and_then(|()| other.begin());
    done.map_err(|fault| failed(&format!("of a second instance, {}", other.last_call()), &fault))?;
    other.destroy();
    let done = turns(&mut one, &clock).and_then(|()| one.stop().map(drop));
    done.map_err(|fault| failed(&format!("after the end of another instance, {}", one.last_call()), &fault))
}

fn tolerated(what: &str, done: &Result<(), Fault>, alone: &Alone) -> Result<(), super::checks::Flaw> {
    match done {
        Err(fault) if is_panic(fault) => Err(failed(&format!("{what}, {}", alone.last_call()), fault)),
        _ => Ok(()),
    }
}
