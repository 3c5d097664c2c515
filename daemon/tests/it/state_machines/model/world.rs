//! What programs report and what that must lead to: sessions on one clock, as the machine of these tests has it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fastrand::Rng;
use serde_json::{Value, json};

pub const PRODUCERS: usize = 3;
const BATCH: usize = 100;
const STRATEGIES: [&str; 2] = ["grid", "momentum"];
const SYMBOLS: [&str; 2] = ["BTC", "ETH"];
const EVENTS: [&str; 5] = ["signal", "filled", "closed", "error", "reset"];
/// What each session ends with: whoever has heard or been shown it has heard everything.
pub const END: &str = "end";
/// How long nothing is heard of an instance until it is stale, in milliseconds.
const STALE_AFTER: u64 = 3_000;
pub const MACHINE: &str = r#"
[[broadcasters.state_machines.settings.settings.machines]]
id = "strategy"
initial = "MONITORING"
final = ["EXITED"]
stale_after = "3s"
states = [
  { id = "MONITORING" }, { id = "S1", max_time = "1s", on_timeout = "ERROR" }, { id = "EXITED" }, { id = "ERROR" },
  { id = "POSITION_ACTIVE", max_time = "2s", on_timeout = "S1" },
]
transitions = [
  { from = "MONITORING", to = "S1", event = "signal" },
  { from = "S1", to = "POSITION_ACTIVE", event = "filled", guard = "data.quantity > 0" },
  { from = "POSITION_ACTIVE", to = "EXITED", event = "closed" },
  { from = "*", to = "ERROR", event = "error" },
  { from = "ERROR", to = "MONITORING", event = "reset" },
]
"#;

/// An event, as far as it can be foretold: kind, instance, and state or reason, with `since`, version and duration where
/// there are.
pub type Told = (String, String, String, Option<(String, u64, Option<u64>)>);

/// All sessions on one clock, which inputs bring with them, and what they must lead to.
pub struct World {
    rng: Rng,
    ms: u64,
    left: usize,
    pub sessions: [Session; PRODUCERS],
}

pub struct Session {
    pub id: String,
    instances: BTreeMap<String, Instance>,
    /// What is told of it, but for silences: a restarted broadcaster tells those later, or not at all.
    pub told: Vec<Told>,
    pub silences: Vec<Silence>,
}

#[derive(Clone)]
struct Instance {
    state: &'static str,
    since: u64,
    version: u64,
    reported: Option<u64>,
    heard: u64,
    /// Its silence, if it is stale.
    silence: Option<usize>,
}

/// A time of which an instance was not heard for too long.
pub struct Silence {
    pub id: String,
    /// The events of the session before it, and how long nothing was heard when that is noticed first.
    pub from: usize,
    pub idle: u64,
    /// The same of its end.
    pub until: Option<usize>,
    pub recovered: Option<u64>,
}

impl World {
    pub fn new(seed: u64, inputs: usize) -> Self {
        let session = |producer| Session {
            id: session(producer),
            instances: BTreeMap::new(),
            told: Vec::new(),
            silences: Vec::new(),
        };
        Self { rng: Rng::with_seed(seed), ms: 0, left: inputs, sessions: std::array::from_fn(session) }
    }

    /// The next inputs as programs publish them, and how many events all lead to so far; nothing when there were enough.
    pub fn batch(&mut self) -> Option<(String, usize)> {
        let count = self.left.min(BATCH);
        self.left -= count;
        let mut lines = String::new();
        (0..count).for_each(|_| writeln!(lines, "{}", self.input()).unwrap());
        let told = self.sessions.iter().map(|session| session.told.len()).sum();
        (count > 0).then_some((lines, told))
    }

    fn input(&mut self) -> Value {
        self.ms += self.rng.u64(1..200);
        self.pass();
        let Self { rng, ms, sessions, .. } = self;
        let (strategy, symbol) = (*rng.choice(&STRATEGIES).unwrap(), *rng.choice(&SYMBOLS).unwrap());
        let session = rng.choice(sessions.iter_mut()).unwrap();
        match rng.u8(..) {
            0..3 => session.begin_all(*ms),
            3..5 => session.stop_all(*ms),
            5..10 => session.start(strategy, symbol, *ms),
            10..14 => session.stop(strategy, symbol, *ms),
            14..40 => session.heartbeat(strategy, symbol, *ms),
            _ => session.transition(strategy, symbol, rng, *ms),
        }
    }

    /// The last of each session.
    pub fn ends(&mut self) -> String {
        let ms = self.ms;
        self.sessions.iter_mut().map(|session| format!("{}\n", session.start(END, END, ms))).collect()
    }

    /// What time alone does.
    fn pass(&mut self) {
        let now = self.ms;
        for session in &mut self.sessions {
            while let Some((_, id)) = session.overdue(now) {
                let is_due =
                    |known: &Instance| timeout(known.state).is_some_and(|(after, _)| known.since + after <= now);
                while is_due(&session.instances[&id]) {
                    session.time_out(&id);
                }
            }
            session.fall_silent(now);
        }
    }
}

impl Session {
    fn report(&self, kind: &str, ms: u64, more: Value) -> Value {
        let mut data = json!({"session_id": self.id});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"type": kind, "timestamp": time(ms), "data": data})
    }

    fn begin_all(&mut self, ms: u64) -> Value {
        for strategy in STRATEGIES {
            SYMBOLS.iter().for_each(|symbol| self.begin(&id(strategy, symbol), ms));
        }
        self.report("session.started", ms, json!({"strategies": STRATEGIES, "symbols": SYMBOLS}))
    }

    fn stop_all(&mut self, ms: u64) -> Value {
        let ids: Vec<String> = self.instances.keys().cloned().collect();
        ids.iter().for_each(|id| self.end(id));
        self.report("session.stopped", ms, json!({}))
    }

    fn start(&mut self, strategy: &str, symbol: &str, ms: u64) -> Value {
        self.begin(&id(strategy, symbol), ms);
        self.report("instance.started", ms, json!({"strategy_id": strategy, "symbol": symbol}))
    }

    fn stop(&mut self, strategy: &str, symbol: &str, ms: u64) -> Value {
        self.end(&id(strategy, symbol));
        self.report("instance.stopped", ms, json!({"strategy_id": strategy, "symbol": symbol}))
    }

    fn heartbeat(&mut self, strategy: &str, symbol: &str, ms: u64) -> Value {
        self.hear(&id(strategy, symbol), ms);
        self.report("instance.heartbeat", ms, json!({"strategy_id": strategy, "symbol": symbol}))
    }

    fn begin(&mut self, id: &str, ms: u64) {
        let version = self.instances.get(id).map_or(0, |old| old.version) + 1;
        self.speak_again(id, None);
        let instance = Instance { state: "MONITORING", since: ms, version, reported: None, heard: ms, silence: None };
        let numbers = Some((time(ms), version, None));
        self.told.push(("instance_added".into(), id.to_owned(), "MONITORING".into(), numbers));
        self.instances.insert(id.to_owned(), instance);
    }

    fn end(&mut self, id: &str) {
        self.speak_again(id, None);
        if let Some(instance) = self.instances.remove(id) {
            self.told.push(("instance_removed".into(), id.to_owned(), instance.state.into(), None));
        }
    }

    fn hear(&mut self, id: &str, ms: u64) {
        let Some(heard) = self.instances.get_mut(id).map(|instance| std::mem::replace(&mut instance.heard, ms)) else {
            return;
        };
        self.speak_again(id, Some(ms - heard));
    }

    /// An instance that was silent is heard of, or is no longer there.
    fn speak_again(&mut self, id: &str, idle: Option<u64>) {
        if let Some(silence) = self.instances.get_mut(id).and_then(|instance| instance.silence.take()) {
            (self.silences[silence].until, self.silences[silence].recovered) = (Some(self.told.len()), idle);
        }
    }

    /// The instance that has been in its state for too long first, and since when.
    fn overdue(&self, now: u64) -> Option<(u64, String)> {
        let due = |(id, known): (&String, &Instance)| Some((known.since + timeout(known.state)?.0, id.clone()));
        self.instances.iter().filter_map(due).filter(|(due, _)| *due <= now).min()
    }

    fn time_out(&mut self, id: &str) {
        let (after, to) = timeout(self.instances[id].state).unwrap();
        let ms = self.instances[id].since + after;
        self.go(id, to, ms);
    }

    fn fall_silent(&mut self, now: u64) {
        let from = self.told.len();
        for (id, instance) in &mut self.instances {
            if instance.silence.is_none() && instance.state != "EXITED" && instance.heard + STALE_AFTER <= now {
                instance.silence = Some(self.silences.len());
                let idle = now - instance.heard;
                self.silences.push(Silence { id: id.clone(), from, idle, until: None, recovered: None });
            }
        }
    }

    /// A transition to the state that it is in keeps its time, unless it comes by the clock.
    fn go(&mut self, id: &str, state: &'static str, ms: u64) {
        let instance = self.instances.get_mut(id).unwrap();
        let duration = ms - instance.since;
        if instance.state != state {
            (instance.state, instance.since) = (state, ms);
        }
        instance.version += 1;
        let numbers = Some((time(instance.since), instance.version, Some(duration)));
        self.told.push(("state_change".into(), id.to_owned(), state.into(), numbers));
    }

    fn transition(&mut self, strategy: &str, symbol: &str, rng: &mut Rng, ms: u64) -> Value {
        let (event, quantity, draw) = (*rng.choice(&EVENTS).unwrap(), rng.u8(0..2), rng.u64(0..8));
        let id = id(strategy, symbol);
        self.hear(&id, ms);
        let known = self.instances.get(&id).cloned();
        let version = known.as_ref().and_then(|known| match draw {
            0 => known.reported.or(Some(known.version + 1)),
            1 => Some(known.version + 2),
            2 => known.reported.filter(|last| *last > 1).map(|last| last - 1),
            _ => None,
        });
        match known.ok_or("unknown_instance").and_then(|known| next(&known, event, quantity, version)) {
            Err(why) => self.told.push(("illegal_transition".into(), id, why.into(), None)),
            Ok(state) => {
                let instance = self.instances.get_mut(&id).unwrap();
                instance.reported = version.or(instance.reported);
                instance.version = (instance.version + 1).max(version.unwrap_or(0)) - 1;
                self.go(&id, state, ms);
            }
        }
        let mut about = json!({"strategy_id": strategy, "symbol": symbol, "event": event});
        about["data"] = json!({"quantity": quantity});
        if let Some(version) = version {
            about["version"] = version.into();
        }
        self.report("instance.transition", ms, about)
    }
}

/// Where the machine of these tests leads, or why nowhere.
fn next(from: &Instance, event: &str, quantity: u8, version: Option<u64>) -> Result<&'static str, &'static str> {
    match (version, from.reported) {
        (Some(version), Some(last)) if version == last => return Err("duplicate"),
        (Some(version), Some(last)) if version < last => return Err("stale_version"),
        _ => {}
    }
    match (from.state, event) {
        ("EXITED", _) => Err("terminal"),
        (_, "error") => Ok("ERROR"),
        ("MONITORING", "signal") => Ok("S1"),
        ("S1", "filled") if quantity > 0 => Ok("POSITION_ACTIVE"),
        ("S1", "filled") => Err("guard_failed"),
        ("POSITION_ACTIVE", "closed") => Ok("EXITED"),
        ("ERROR", "reset") => Ok("MONITORING"),
        _ => Err("no_transition"),
    }
}

/// How long an instance may be in a state, and where it goes then.
fn timeout(state: &str) -> Option<(u64, &'static str)> {
    match state {
        "S1" => Some((1_000, "ERROR")),
        "POSITION_ACTIVE" => Some((2_000, "S1")),
        _ => None,
    }
}

fn time(ms: u64) -> String {
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (days, seconds) = (5 + seconds / 86_400, seconds % 86_400);
    format!("2026-01-{days:02}T{:02}:{:02}:{:02}.{ms:03}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

pub fn session(producer: usize) -> String {
    format!("exec_{producer}")
}

fn id(strategy: &str, symbol: &str) -> String {
    format!("strategy:{strategy}:{symbol}")
}
