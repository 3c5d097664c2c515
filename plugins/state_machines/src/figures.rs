//! The figures that a broadcaster of state machines shows of itself. No instance is named in them.

use std::collections::BTreeMap;

use broadcastd_plugin_api::histogram_bounds;
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::book::Book;
use crate::machine::{Machine, Reason};
use crate::machines::Machines;
use crate::time::Time;

/// Instances stay in a state for seconds or for weeks.
const TIMES: [f64; 12] = [0.1, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 604_800.0, 2_592_000.0];

/// What stands for a state that the machine does not know.
const OTHER: &str = "other";

/// Why an input was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Its payload is not what its kind has.
    Malformed,
    UnknownMachine,
    UnknownInstance,
    /// There are as many instances as there may be, or one input would begin too many.
    TooMany,
}

impl Rejected {
    const ALL: [Self; 4] = [Self::Malformed, Self::UnknownMachine, Self::UnknownInstance, Self::TooMany];

    const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownMachine => "unknown_machine",
            Self::UnknownInstance => "unknown_instance",
            Self::TooMany => "too_many",
        }
    }
}

pub struct Figures {
    pub inputs: Counter,
    pub ignored: Counter,
    pub gaps: Counter,
    pub clamped: Counter,
    pub missing_paths: Counter,
    rejected: [Counter; Rejected::ALL.len()],
    states: BTreeMap<(String, String), OfState>,
    transitions: BTreeMap<(String, String, String), Counter>,
    stale: BTreeMap<String, (Gauge, i64)>,
}

/// What is shown of the instances in one state.
struct OfState {
    count: i64,
    instances: Gauge,
    oldest: Gauge,
    time: Histogram,
}

impl OfState {
    fn new(machine: &str, state: &str) -> Self {
        let labels = [("machine", machine.to_owned()), ("state", state.to_owned())];
        Self {
            count: 0,
            instances: gauge!("instances", &labels),
            oldest: gauge!("oldest_in_state_seconds", &labels),
            time: histogram!("time_in_state_seconds", &labels),
        }
    }

    fn add(&mut self, by: i64) {
        self.count += by;
        self.instances.set(self.count as f64);
    }
}

impl Figures {
    pub fn new() -> Self {
        describe_gauge!("instances", "Instances by machine and state.");
        describe_gauge!("oldest_in_state_seconds", "How long the instance that came first has been in the state.");
        describe_gauge!("stale_instances", "Instances of which nothing was heard for long.");
        describe_gauge!("declaration_kept", "1 while a machine keeps its old declaration because a state is in use.");
        describe_histogram!("time_in_state_seconds", "How long instances were in the state that they left.");
        histogram_bounds("time_in_state_seconds", &TIMES);
        describe_counter!("transitions_total", "Changes of state.");
        describe_counter!("illegal_transitions_total", "Transitions that are not declared, or come twice or too late.");
        describe_counter!("inputs_total", "Inputs that were followed.");
        describe_counter!("inputs_rejected_total", "Inputs that could not be followed, by the reason.");
        describe_counter!("inputs_ignored_total", "Inputs of kinds that are no business of state machines.");
        describe_counter!("input_gaps_total", "Times that inputs were gone before they were read.");
        describe_counter!("clamped_times_total", "Times that lay before the state they end, and were moved there.");
        describe_counter!(
            "guard_missing_paths_total",
            "Guards that asked for what neither the event nor the instance has."
        );
        let rejected = |why: Rejected| counter!("inputs_rejected_total", "reason" => why.label());
        Self {
            inputs: counter!("inputs_total"),
            ignored: counter!("inputs_ignored_total"),
            gaps: counter!("input_gaps_total"),
            clamped: counter!("clamped_times_total"),
            missing_paths: counter!("guard_missing_paths_total"),
            rejected: Rejected::ALL.map(rejected),
            states: BTreeMap::new(),
            transitions: BTreeMap::new(),
            stale: BTreeMap::new(),
        }
    }

    pub fn reject(&self, why: Rejected) {
        self.rejected[why as usize].increment(1);
    }

    pub fn enters(&mut self, machine: &Machine, state: &str) {
        self.state(machine, state).add(1);
    }

    /// An instance is no longer in a state, in which it was for so long.
    pub fn leaves(&mut self, machine: &Machine, state: &str, ms: u64) {
        let shown = self.state(machine, state);
        shown.add(-1);
        shown.time.record(ms as f64 / 1_000.0);
    }

    pub fn moves(&mut self, machine: &Machine, from: &str, to: &str) {
        let (from, to) = (label(machine, from), label(machine, to));
        let key = (machine.id.clone(), from.to_owned(), to.to_owned());
        let open = |(machine, from, to): &(String, String, String)| {
            let labels = [("machine", machine.clone()), ("from", from.clone()), ("to", to.clone())];
            counter!("transitions_total", &labels)
        };
        self.transitions.entry(key).or_insert_with_key(open).increment(1);
    }

    /// No machine: one that is spoken of, and has no instance.
    pub fn illegal(&self, machine: Option<&Machine>, reason: Reason) {
        let machine = machine.map_or(OTHER, |machine| &machine.id).to_owned();
        counter!("illegal_transitions_total", "machine" => machine, "reason" => reason.label()).increment(1);
    }

    /// So many more instances are stale.
    pub fn stale(&mut self, machine: &str, by: i64) {
        let open = || (gauge!("stale_instances", "machine" => machine.to_owned()), 0);
        let (gauge, count) = self.stale.entry(machine.to_owned()).or_insert_with(open);
        *count += by;
        gauge.set(*count as f64);
    }

    pub fn keeps(&self, machine: &str, kept: f64) {
        gauge!("declaration_kept", "machine" => machine.to_owned()).set(kept);
    }

    /// Counts everything anew: instances were taken over, or states have other names now.
    pub fn recount(&mut self, book: &Book, machines: &Machines) {
        self.states.values_mut().for_each(|state| state.add(-state.count));
        self.stale.values_mut().for_each(|(_, count)| *count = 0);
        for machine in machines.all() {
            // Also those that nobody is in now: before a restart somebody may have been.
            let states = machine.states.keys().map(String::as_str).chain([OTHER]);
            states.for_each(|state| self.state(machine, state).add(0));
            self.stale(&machine.id, 0);
        }
        for instance in book.iter() {
            if let Some(machine) = machines.known(&instance.machine) {
                self.enters(machine, &instance.state);
                self.stale(&instance.machine, i64::from(instance.is_stale));
            }
        }
    }

    /// Shows who has been in a state for longest.
    pub fn show_oldest(&mut self, book: &Book, machines: &Machines, now: Time) {
        let mut oldest: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for instance in book.iter() {
            if let Some(machine) = machines.known(&instance.machine) {
                let since = oldest.entry((&instance.machine, label(machine, &instance.state))).or_insert(i64::MAX);
                *since = instance.since.min(*since);
            }
        }
        for ((machine, state), shown) in &self.states {
            let since = oldest.get(&(machine.as_str(), state.as_str()));
            shown.oldest.set(since.map_or(0.0, |since| now.ms_since(Time(*since)) as f64 / 1_000.0));
        }
    }

    fn state(&mut self, machine: &Machine, state: &str) -> &mut OfState {
        let key = (machine.id.clone(), label(machine, state).to_owned());
        self.states.entry(key).or_insert_with_key(|(machine, state)| OfState::new(machine, state))
    }
}

fn label<'a>(machine: &Machine, state: &'a str) -> &'a str {
    if machine.states.contains_key(state) { state } else { OTHER }
}
