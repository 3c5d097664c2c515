//! Made-up sessions: what programs would report of a few strategies that walk through the states of their machine.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::machine::Machine;

/// The session of everything that is made up. Its name says so, and programs give theirs other names.
pub const SESSION: &str = "mock";

const STRATEGIES: [&str; 2] = ["momentum", "grid"];
const SYMBOLS: [&str; 2] = ["BTCUSDT", "ETHUSDT"];

/// In a step one instance of so many goes on; the others only show that they live. So something happens in most steps,
/// and a state lasts long enough to be read.
const PATIENCE: u32 = 4;

/// The walk where no machine is declared: from, to, by which event. From a state that is not here it goes to the first
/// one, and out of the last one nothing leads, so that the instance begins anew.
const WALK: [(&str, &str, &str); 4] = [
    ("S1", "O1", "order"),
    ("O1", "POSITION_ACTIVE", "filled"),
    ("O1", "Z1", "cancel"),
    ("POSITION_ACTIVE", "EXITED", "closed"),
];
const FIRST: (&str, &str) = ("S1", "signal");
const LAST: [&str; 2] = ["Z1", "EXITED"];

#[derive(Debug)]
pub struct Mock {
    random: Rng,
}

/// An input that no program has sent.
#[derive(Debug, Clone, PartialEq)]
pub struct MadeUp {
    pub kind: &'static str,
    pub data: Value,
}

impl Mock {
    /// The same `random` makes the same walk.
    pub fn new(random: Rng) -> Self {
        Self { random }
    }

    /// What is reported in one step of the interval. `state_of` says which state a strategy's instance on a symbol is in,
    /// so that nothing has to be remembered here: whatever else moves instances, the walk goes on from where they are.
    pub fn step(&mut self, machine: &Machine, state_of: impl Fn(&str, &str) -> Option<String>) -> Vec<MadeUp> {
        let places = STRATEGIES.into_iter().flat_map(|strategy| SYMBOLS.map(|symbol| (strategy, symbol)));
        let states: Vec<_> =
            places.map(|(strategy, symbol)| ((strategy, symbol), state_of(strategy, symbol))).collect();
        if states.iter().all(|(_, state)| state.is_none()) {
            let data = json!({"session_id": SESSION, "strategies": STRATEGIES, "symbols": SYMBOLS});
            return vec![MadeUp { kind: "session.started", data }];
        }
        states.into_iter().map(|(place, state)| self.report(machine, place, state.as_deref())).collect()
    }

    /// What ends everything that is made up.
    pub fn end() -> MadeUp {
        let data = json!({"session_id": SESSION, "reason": "nothing is made up any more"});
        MadeUp { kind: "session.stopped", data }
    }

    fn report(&mut self, machine: &Machine, (strategy, symbol): (&str, &str), state: Option<&str>) -> MadeUp {
        let mut data = json!({"session_id": SESSION, "strategy_id": strategy, "symbol": symbol});
        let Some(state) = state else { return MadeUp { kind: "instance.started", data } };
        if self.random.u32(..PATIENCE) > 0 {
            return MadeUp { kind: "instance.heartbeat", data };
        }
        let ways = ways(machine, state);
        let Some((to, event)) = self.random.choice(ways) else { return MadeUp { kind: "instance.started", data } };
        (data["to"], data["event"]) = (to.into(), event.into());
        MadeUp { kind: "instance.transition", data }
    }
}

/// Where an instance may go, and by which event. What a guard asks for is nothing that can be made up.
fn ways<'a>(machine: &'a Machine, state: &str) -> Vec<(&'a str, Option<&'a str>)> {
    if machine.declaration.is_none() {
        let on = WALK.iter().filter(|(from, ..)| *from == state).map(|(_, to, event)| (*to, Some(*event)));
        let ways: Vec<_> = on.collect();
        let is_unknown = ways.is_empty() && !LAST.contains(&state);
        return if is_unknown { vec![(FIRST.0, Some(FIRST.1))] } else { ways };
    }
    if machine.is_final(state) {
        return Vec::new();
    }
    let leaves = machine.transitions.iter().filter(|way| way.from.as_deref().is_none_or(|from| from == state));
    let free = leaves.filter(|way| way.guard.is_none() && way.to != state);
    free.map(|way| (&*way.to, way.event.as_deref())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::check;
    use crate::input::MAX_NAME;
    use crate::settings::Settings;

    const STEPS: usize = 400;

    /// Instances that do what is reported of them, whatever it is: each `kind state`, or of a heartbeat nothing.
    fn walk(seed: u64, machine: &Machine) -> Vec<String> {
        let mut mock = Mock::new(Rng::with_seed(seed));
        let mut states: BTreeMap<(String, String), String> = BTreeMap::new();
        let mut told = Vec::new();
        for _ in 0..STEPS {
            let made = mock.step(machine, |strategy, symbol| states.get(&(strategy.into(), symbol.into())).cloned());
            for MadeUp { kind, data } in made {
                assert_eq!(data["session_id"], SESSION);
                let text = |name: &str| data[name].as_str().map(str::to_owned);
                let place = || (text("strategy_id").unwrap(), text("symbol").unwrap());
                match kind {
                    "session.started" => {
                        let names = |name: &str| data[name].as_array().unwrap().clone();
                        for (strategy, symbol) in names("strategies")
                            .iter()
                            .flat_map(|one| names("symbols").into_iter().map(move |two| (one.clone(), two)))
                        {
                            let place = (strategy.as_str().unwrap().into(), symbol.as_str().unwrap().into());
                            states.insert(place, machine.initial.clone());
                        }
                    }
                    "instance.started" => _ = states.insert(place(), machine.initial.clone()),
                    "instance.transition" => _ = states.insert(place(), text("to").unwrap()),
                    _ => continue,
                }
                told.push(format!("{kind} {}", text("to").unwrap_or_default()));
            }
        }
        told
    }

    fn open() -> Machine {
        Machine::open("strategy", "MONITORING", None)
    }

    fn declared() -> Machine {
        let settings: Settings = serde_json::from_value(json!({"machines": [{
            "id": "m", "initial": "A", "final": ["C"], "states": [{"id": "A"}, {"id": "B"}, {"id": "C"}, {"id": "D"}],
            "transitions": [
                {"from": "A", "to": "D", "event": "go", "guard": "data.quantity > 0"},
                {"from": "A", "to": "B", "event": "go"},
                {"from": "B", "to": "B", "event": "again"},
                {"from": "*", "to": "C"},
            ],
        }]}))
        .unwrap();
        check::check(&settings).machines.remove(0)
    }

    #[test]
    fn strategies_walk_through_all_states_and_begin_anew() {
        for seed in 0..8 {
            let told = walk(seed, &open());
            assert_eq!(told[0], "session.started ");
            let ways: BTreeSet<&str> = told[1..].iter().map(String::as_str).collect();
            let all = ["started ", "transition EXITED", "transition O1", "transition POSITION_ACTIVE", "transition S1"];
            let all = all.iter().chain(&["transition Z1"]).map(|way| format!("instance.{way}"));
            assert!(ways.iter().map(|way| (*way).to_owned()).eq(all), "seed {seed}: {ways:?}");
            let often = told.len();
            assert!((STEPS / 2..STEPS * 2).contains(&often), "one change a step, more or less: {often}");
        }
    }

    #[test]
    fn a_machine_that_is_declared_is_followed_where_no_guard_asks_for_something() {
        let ways: BTreeSet<String> = walk(7, &declared()).into_iter().skip(1).collect();
        assert!(ways.iter().eq(["instance.started ", "instance.transition B", "instance.transition C"]), "{ways:?}");
    }

    #[test]
    fn the_same_seed_makes_the_same_walk() {
        assert_eq!(walk(1, &open()), walk(1, &open()));
        assert_ne!(walk(1, &open()), walk(2, &open()));
    }

    #[test]
    fn one_that_is_missing_begins_and_the_others_stay() {
        let mut mock = Mock::new(Rng::with_seed(1));
        let made = mock.step(&open(), |strategy, symbol| {
            (strategy != "grid" || symbol != "BTCUSDT").then(|| "MONITORING".to_owned())
        });
        let kinds: Vec<&str> =
            made.iter().filter(|one| one.data["strategy_id"] == "grid").map(|one| one.kind).collect();
        assert_eq!((made.len(), kinds[0]), (4, "instance.started"));
        assert!(kinds[1] != "instance.started" && SESSION.len() <= MAX_NAME);
    }
}
