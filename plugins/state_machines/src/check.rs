//! What settings come to: the machines that are declared, everything that is wrong with them, and what is odd.

use std::collections::{BTreeMap, BTreeSet};

use broadcastd_plugin_api::duration::Duration;

use crate::guard::Guard;
use crate::input::{NAMES, is_name};
use crate::machine::{Machine, State, Timeout, Transition};
use crate::settings::{MachineSettings, Settings, StateSettings, TransitionSettings};

/// More machines than any desk runs; their states and transitions are series of metrics.
pub const MAX_MACHINES: usize = 64;
/// States of one machine: more than anybody draws.
pub const MAX_STATES: usize = 256;
/// Transitions of one machine; all that fit are tried one after the other.
pub const MAX_TRANSITIONS: usize = 1_024;

/// A shorter interval makes more up than anyone can read.
const SHORTEST_INTERVAL: Duration = Duration::from_ms(10);

/// A JSON pointer to the setting at fault, and why.
pub type Wrong = (String, String);

/// The machines of settings, and what is wrong with these. A machine with something wrong is left out.
#[derive(Debug, Default)]
pub struct Checked {
    pub machines: Vec<Machine>,
    pub wrong: Vec<Wrong>,
}

pub fn check(settings: &Settings) -> Checked {
    let mut checked = Checked::default();
    let mut wrong = Findings { at: String::new(), wrong: Vec::new() };
    if settings.interval < SHORTEST_INTERVAL {
        wrong.say("/interval", format!("the interval must be at least {SHORTEST_INTERVAL}"));
    }
    wrong.name("/initial", &settings.initial);
    wrong.count("/machines", settings.machines.len(), MAX_MACHINES);
    for (index, declared) in settings.machines.iter().enumerate() {
        let before = wrong.wrong.len();
        wrong.at = format!("/machines/{index}");
        if settings.machines[..index].iter().any(|other| other.id == declared.id) {
            wrong.say("/id", format!("a machine {:?} is declared before; each has an id of its own", declared.id));
        }
        let machine = read(declared, settings.stale_after, &mut wrong);
        if wrong.wrong.len() == before {
            checked.machines.push(machine);
        }
    }
    checked.wrong = wrong.wrong;
    checked
}

/// A declaration that was in force before, for as long as instances need it.
pub fn reread(declared: &MachineSettings, stale_after: Duration) -> Option<Machine> {
    let mut wrong = Findings { at: String::new(), wrong: Vec::new() };
    let machine = read(declared, stale_after, &mut wrong);
    wrong.wrong.is_empty().then_some(machine)
}

/// Where instances of the machines get stuck or never come, in the order of their states.
pub fn oddities(settings: &Settings) -> Vec<Wrong> {
    let machines = check(settings).machines;
    let declared = settings.machines.iter().enumerate();
    let pairs = declared.filter_map(|(index, declared)| {
        machines.iter().find(|machine| machine.id == declared.id).map(|machine| (index, declared, machine))
    });
    pairs.flat_map(|(index, declared, machine)| odd_states(index, declared, machine)).collect()
}

fn odd_states(index: usize, declared: &MachineSettings, machine: &Machine) -> Vec<Wrong> {
    let reached = reached(machine);
    let mut odd = Vec::new();
    for (place, StateSettings { id, .. }) in declared.states.iter().enumerate() {
        let mut say = |what: String| odd.push((format!("/machines/{index}/states/{place}/id"), what));
        if !reached.contains(id.as_str()) {
            say(format!("nothing leads to state {id:?}"));
        }
        let leaves = machine.timeout(id).is_some() || machine.transitions.iter().any(|one| one.leaves(id));
        if !machine.is_final(id) && !leaves {
            say(format!("nothing leads out of state {id:?}, which is not final"));
        }
    }
    odd
}

impl Transition {
    fn leaves(&self, state: &str) -> bool {
        self.to != state && self.from.as_deref().is_none_or(|from| from == state)
    }
}

fn reached(machine: &Machine) -> BTreeSet<&str> {
    let mut reached = BTreeSet::from([machine.initial.as_str()]);
    let mut open = vec![machine.initial.as_str()];
    while let Some(state) = open.pop() {
        let timeout = machine.timeout(state).map(|timeout| timeout.to.as_str());
        let taken = machine.transitions.iter().filter(|one| !machine.is_final(state) && one.leaves(state));
        for next in taken.map(|one| one.to.as_str()).chain(timeout) {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}

fn read(declared: &MachineSettings, stale_after: Duration, wrong: &mut Findings) -> Machine {
    wrong.name("/id", &declared.id);
    wrong.count("/states", declared.states.len(), MAX_STATES);
    wrong.count("/transitions", declared.transitions.len(), MAX_TRANSITIONS);
    let keys: BTreeSet<_> = declared.key.iter().copied().collect();
    if keys.is_empty() || keys.len() < declared.key.len() {
        wrong.say("/key", "name strategy_id, symbol or both, each once".into());
    }
    let names: BTreeSet<&str> = declared.states.iter().map(|state| state.id.as_str()).collect();
    match &declared.initial {
        None => wrong.say("", "the machine has no initial state; add initial = \"…\"".into()),
        Some(initial) => wrong.state("/initial", initial, &names),
    }
    for (index, name) in declared.final_states.iter().enumerate() {
        wrong.state(&format!("/final/{index}"), name, &names);
    }
    let states = declared.states.iter().enumerate().map(|(index, _)| read_state(index, declared, &names, wrong));
    let states: BTreeMap<String, State> = states.collect();
    let mut transitions = Vec::new();
    for index in 0..declared.transitions.len() {
        transitions.push(read_transition(index, declared, &names, wrong));
    }
    Machine {
        id: declared.id.clone(),
        keys,
        initial: declared.initial.clone().unwrap_or_default(),
        stale_after: Some(declared.stale_after.unwrap_or(stale_after).as_ms()).filter(|ms| *ms > 0),
        on_illegal: declared.on_illegal,
        declaration: Some(declared.clone()),
        states,
        transitions,
    }
}

fn read_state(
    index: usize,
    declared: &MachineSettings,
    names: &BTreeSet<&str>,
    wrong: &mut Findings,
) -> (String, State) {
    let StateSettings { id, max_time, on_timeout } = &declared.states[index];
    let at = format!("/states/{index}");
    wrong.name(&format!("{at}/id"), id);
    if id == "*" {
        wrong.say(&format!("{at}/id"), "`*` stands for every state; call this one otherwise".into());
    }
    if declared.states[..index].iter().any(|other| other.id == *id) {
        wrong.say(&format!("{at}/id"), format!("state {id:?} is listed twice; remove one"));
    }
    let is_final = declared.final_states.contains(id);
    let timeout = match (max_time, on_timeout) {
        (None, None) => None,
        (Some(_), None) => {
            wrong.say(&format!("{at}/max_time"), "say with on_timeout which state follows".into());
            None
        }
        (None, Some(_)) => {
            wrong.say(&format!("{at}/on_timeout"), "say with max_time after how long".into());
            None
        }
        (Some(max_time), Some(to)) => {
            wrong.state(&format!("{at}/on_timeout"), to, names);
            if max_time.as_ms() == 0 {
                wrong.say(&format!("{at}/max_time"), "an instance stays for some time; write at least 1ms".into());
            }
            if is_final {
                wrong.say(&format!("{at}/max_time"), format!("state {id:?} is final, and so it is never left"));
            }
            Some(Timeout { after: max_time.as_ms(), to: to.clone() })
        }
    };
    (id.clone(), State { is_final, timeout })
}

fn read_transition(
    index: usize,
    declared: &MachineSettings,
    names: &BTreeSet<&str>,
    wrong: &mut Findings,
) -> Transition {
    let TransitionSettings { from, to, event, guard, reenter } = &declared.transitions[index];
    let at = format!("/transitions/{index}");
    let is_any = from == "*";
    if !is_any {
        wrong.state(&format!("{at}/from"), from, names);
    }
    if declared.final_states.contains(from) {
        wrong.say(&format!("{at}/from"), format!("state {from:?} is final, and so it is never left"));
    }
    wrong.state(&format!("{at}/to"), to, names);
    if let Some(event) = event {
        wrong.name(&format!("{at}/event"), event);
    }
    let earlier = declared.transitions[..index].iter().position(|one| hides(one, &declared.transitions[index]));
    if let Some(earlier) = earlier {
        let text =
            format!("transition {earlier} (counted from 0) has no guard and comes first; this one is never taken");
        wrong.say(&at, text);
    }
    let guard = guard.as_deref().map(Guard::parse).transpose().unwrap_or_else(|why| {
        wrong.say(&format!("{at}/guard"), why);
        None
    });
    let (event, to) = (event.clone(), to.clone());
    Transition { from: (!is_any).then(|| from.clone()), to, event, guard, reenter: *reenter }
}

/// Whether whatever fits the later one is taken by the earlier one. Without an event it is the target that is asked for.
fn hides(earlier: &TransitionSettings, later: &TransitionSettings) -> bool {
    let covers = earlier.from == "*" || earlier.from == later.from;
    let is_same = earlier.event == later.event && (earlier.event.is_some() || earlier.to == later.to);
    earlier.guard.is_none() && covers && is_same
}

/// What is wrong so far, and where the machine at hand stands.
struct Findings {
    at: String,
    wrong: Vec<Wrong>,
}

impl Findings {
    fn say(&mut self, place: &str, why: String) {
        self.wrong.push((format!("{}{place}", self.at), why));
    }

    fn name(&mut self, place: &str, name: &str) {
        if !is_name(name) {
            self.say(place, NAMES.to_owned());
        }
    }

    fn count(&mut self, place: &str, count: usize, most: usize) {
        if count > most {
            self.say(place, format!("at most {most} entries, this list has {count}"));
        }
    }

    fn state(&mut self, place: &str, name: &str, names: &BTreeSet<&str>) {
        if !names.contains(name) {
            let known: Vec<&str> = names.iter().copied().collect();
            self.say(place, format!("there is no state {name:?}; states are {}", known.join(", ")));
        }
    }
}
