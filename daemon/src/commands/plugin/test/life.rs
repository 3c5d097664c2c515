//! Checks of an ordinary life: it begins, does what it does, publishes what it declared, and stops.

use std::time::{Duration, Instant};

use super::checks::{Checked, Flaw, Plugin, Subject, failed, is_panic, told};
use super::forms::Forms;
use crate::commands::plugin::given;
use crate::plugin::alone::{Alone, HandClock};
use crate::plugin::port::Fault;
use crate::plugin::timing::{Clock as _, Timing, nanos};

/// Turns of a life: enough for every timer to fire some times.
const TURNS: usize = 64;
/// A timer that is further away than this is not waited for, though the clock is virtual: who leaps over days is told of
/// them all.
const FARTHEST: Duration = Duration::from_secs(3600);
/// How long something that a thread of the plugin does is waited for, in real time, and how often.
const PATIENCE: Duration = Duration::from_millis(20);
const WAITS: usize = 5;

/// It begins, takes what happens, and fails in none of it.
pub fn life(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    let (mut alone, clock) = subject.alone(&plugin);
    live(subject, &plugin, &mut alone, &clock)?;
    let published = alone.take_published().len();
    Ok(format!("it begins, {TURNS} turns pass, {} published", events_word(published as u64)))
}

/// What it publishes is taken, is of a kind that it declares, and fits the schema of that kind.
pub fn events(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    let Some(spec) = &plugin.spec else {
        return Err(Flaw::NotApplicable("it declares no stream: it only listens".to_owned()));
    };
    let (mut alone, clock) = subject.alone(&plugin);
    live(subject, &plugin, &mut alone, &clock)?;
    if let Some(reason) = alone.port().last_refusal() {
        return Err(Flaw::Wrong(format!("{} refused, the last because {reason}", events_word(alone.refused()))));
    }
    let published = alone.take_published();
    if published.is_empty() {
        let why = "it published nothing; give it --inputs, or --settings with which it does";
        return Err(Flaw::NotApplicable(why.to_owned()));
    }
    let payloads = Forms::new(spec, "payload", |kind| &kind.schema)?;
    let told = published.iter().map(|event| (&*event.kind, &event.payload));
    payloads.fit(told).map(|seen| format!("all are taken and fit: {seen}"))
}

/// It is quiet, saves and goes within the time that the daemon gives it.
pub fn stop(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    let (mut alone, clock) = subject.alone(&plugin);
    live(subject, &plugin, &mut alone, &clock)?;
    let (began, deadline) = (Instant::now(), Timing::default().stop);
    alone.stop().map_err(|fault| failed(alone.last_call(), &fault))?;
    let took = began.elapsed();
    if took > deadline {
        return Err(Flaw::Wrong(format!("it took {took:?}; its thread is left behind after {deadline:?}")));
    }
    Ok(format!("within {deadline:?}"))
}

/// A panic ends the instance and nothing else.
pub fn panics(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    let (mut alone, clock) = subject.alone(&plugin);
    let Err(fault) = lived(subject, &plugin, &mut alone, &clock)? else {
        return Err(Flaw::NotApplicable("nothing panicked in an ordinary life".to_owned()));
    };
    if !is_panic(&fault) {
        return Err(Flaw::NotApplicable("nothing panicked until it failed".to_owned()));
    }
    let call = alone.last_call().to_owned();
    alone.destroy();
    match alone.create(&plugin.settings.to_string()) {
        Err(again) if !is_panic(&again) => Err(failed("after a panic, create", &again)),
        _ => Ok(format!("{call} panicked, which was caught, and another instance can be made")),
    }
}

/// A life until now; the calls of it that failed are a flaw.
pub fn live(subject: &Subject, plugin: &Plugin, alone: &mut Alone, clock: &HandClock) -> Result<(), Flaw> {
    let lived = lived(subject, plugin, alone, clock)?;
    lived.map_err(|fault| Flaw::Wrong(told(alone.last_call(), &fault)))
}

fn lived(subject: &Subject, plugin: &Plugin, alone: &mut Alone, clock: &HandClock) -> Result<Result<(), Fault>, Flaw> {
    alone.signal().belongs_here();
    let begun = alone.create(&plugin.settings.to_string()).and_then(|()| alone.begin());
    if begun.is_ok()
        && let Some(file) = &subject.asked.inputs
    {
        given::inputs(alone, file).map_err(Flaw::Wrong)?;
    }
    Ok(begun.and_then(|()| turns(alone, clock)))
}

/// Lets happen what would happen by itself.
pub fn turns(alone: &mut Alone, clock: &HandClock) -> Result<(), Fault> {
    let mut waits = 0;
    for _ in 0..TURNS {
        if alone.turn()? {
            continue;
        }
        let next = alone.port().next_timer();
        match next.filter(|due| due - clock.mono_ns() <= nanos(FARTHEST)) {
            Some(due) => clock.advance_to(due),
            None if waits == WAITS => return Ok(()),
            None => {
                waits += 1;
                std::thread::park_timeout(PATIENCE);
            }
        }
    }
    Ok(())
}

fn events_word(count: impl Into<u128> + Copy) -> String {
    match count.into() {
        1 => "1 event is".to_owned(),
        count => format!("{count} events are"),
    }
}
