//! Follows what programs report: each input changes instances and leads to events, the same ones whenever it comes again.

use std::sync::Arc;

use broadcastd_plugin_api::topic_part;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::book::{Alarms, Book, Instance};
use crate::figures::{Figures, Rejected};
use crate::guard::Scope;
use crate::input::{About, Input, MAX_STARTED, Transition};
use crate::machine::{Illegal, Machine, Reason, Step, Wish};
use crate::machines::Machines;
use crate::origin::{Origin, Part};
use crate::settings::{Key, OnIllegal};
use crate::time::Time;
use crate::told::{IllegalTransition, InstanceAdded, InstanceRemoved, Kind, Silence, StateChange, Told, Who, json};

/// All instances, and what is to be told of them.
pub struct Follower {
    pub machines: Machines,
    pub book: Book,
    pub figures: Figures,
    /// What is to be published, in order.
    pub out: Vec<Told>,
}

/// When an input happened, and which it is.
pub struct Moment {
    /// As the program says, or when its report arrived.
    pub at: Time,
    /// The clock.
    pub now: Time,
    pub origin: Origin,
}

/// What an instance does: where it goes, why, and what is told beside.
struct Change<'a> {
    step: Step,
    event: Option<&'a str>,
    reason: Option<&'a str>,
    data: Option<&'a RawValue>,
    version: Option<u64>,
}

impl Follower {
    pub fn new(machines: Machines) -> Self {
        Self { machines, book: Book::default(), figures: Figures::new(), out: Vec::new() }
    }

    pub fn take(&mut self, input: &Input, moment: &Moment) -> Result<(), Rejected> {
        match input {
            Input::SessionStarted { session, machine, strategies, symbols } => {
                self.start_session((session, machine.as_deref()), (strategies, symbols), moment)
            }
            Input::SessionStopped { session, reason } => {
                let reason = reason.as_deref().unwrap_or("session_stopped");
                for (slot, id) in self.book.ids(session).iter().enumerate() {
                    self.end(session, id, reason, &Moment { origin: moment.origin.in_slot(slot), ..*moment });
                }
                Ok(())
            }
            Input::Started(about) => {
                let (machine, id) = self.find(about)?;
                self.begin(&machine, newborn(&machine, id, about, moment), moment)
            }
            Input::Transition(about, transition) => {
                let (machine, id) = self.find(about)?;
                self.transition(&machine, &id, (about, transition), moment);
                Ok(())
            }
            Input::Heartbeat(about) => {
                let (machine, id) = self.find(about)?;
                self.hear(&about.session, &id, moment).ok_or(Rejected::UnknownInstance)?;
                self.set_alarms(&machine, &about.session, &id);
                Ok(())
            }
            Input::Stopped { about, reason } => {
                let (_, id) = self.find(about)?;
                let reason = reason.as_deref().unwrap_or("stopped");
                self.end(&about.session, &id, reason, moment).ok_or(Rejected::UnknownInstance)
            }
        }
    }

    /// The state that a strategy's instance on a symbol is in, in the machine of those that name none.
    pub fn state_of(&self, session: &str, strategy: &str, symbol: &str) -> Option<String> {
        let (strategy_id, symbol) = (Some(strategy.to_owned()), Some(symbol.to_owned()));
        let about = About { session: session.to_owned(), machine: None, strategy_id, symbol };
        let (_, id) = self.find(&about).ok()?;
        Some(self.book.get(session, &id)?.state.clone())
    }

    fn find(&self, about: &About) -> Result<(Arc<Machine>, String), Rejected> {
        let machine = self.machines.get(about.machine.as_deref()).ok_or(Rejected::UnknownMachine)?;
        let id = id_of(&machine, about).ok_or(Rejected::Malformed)?;
        Ok((machine, id))
    }

    /// An instance for each strategy and symbol, as far as the machine tells them apart.
    fn start_session(
        &mut self,
        (session, machine): (&str, Option<&str>),
        (strategies, symbols): (&[String], &[String]),
        moment: &Moment,
    ) -> Result<(), Rejected> {
        let machine = self.machines.get(machine).ok_or(Rejected::UnknownMachine)?;
        let choices = |key, names: &[String]| match machine.keys.contains(&key) {
            true => names.iter().cloned().map(Some).collect(),
            false => vec![None],
        };
        let (strategies, symbols) = (choices(Key::StrategyId, strategies), choices(Key::Symbol, symbols));
        let count = strategies.len().saturating_mul(symbols.len());
        if count > MAX_STARTED {
            return Err(Rejected::TooMany);
        }
        let mut instances = Vec::with_capacity(count);
        for (strategy_id, symbol) in strategies.iter().flat_map(|one| symbols.iter().map(move |symbol| (one, symbol))) {
            let (session, strategy_id, symbol) = (session.to_owned(), strategy_id.clone(), symbol.clone());
            let about = About { session, machine: None, strategy_id, symbol };
            let id = id_of(&machine, &about).ok_or(Rejected::Malformed)?;
            instances.push(newborn(&machine, id, &about, moment));
        }
        if !self.book.has_room(count, instances.iter().map(Instance::weight).sum()) {
            return Err(Rejected::TooMany);
        }
        for (slot, instance) in instances.into_iter().enumerate() {
            self.begin(&machine, instance, &Moment { origin: moment.origin.in_slot(slot), ..*moment })?;
        }
        Ok(())
    }

    fn begin(&mut self, machine: &Arc<Machine>, mut instance: Instance, moment: &Moment) -> Result<(), Rejected> {
        let (session, id) = (instance.session.clone(), instance.id.clone());
        let weight = instance.weight();
        let more = self.book.get(&session, &id).map_or((1, weight), |old| (0, weight.saturating_sub(old.weight())));
        if !self.book.has_room(more.0, more.1) {
            return Err(Rejected::TooMany);
        }
        if !self.machines.open(machine) {
            return Err(Rejected::UnknownMachine);
        }
        if let Some(old) = self.book.remove(&session, &id) {
            self.forget(machine, &old, moment.at);
            instance.version += old.version;
        }
        self.figures.enters(machine, &machine.initial);
        instance.origin = moment.origin.clone();
        let Instance { ref state, version, .. } = instance;
        let added = InstanceAdded { who: instance.who(), state, since: instance.since(), version };
        let told = instance.told(Kind::InstanceAdded, json(&added), moment.origin.part(Part::Change));
        self.out.push(told);
        self.book.put(instance);
        self.set_alarms(machine, &session, &id);
        Ok(())
    }

    fn end(&mut self, session: &str, id: &str, reason: &str, moment: &Moment) -> Option<()> {
        let instance = self.book.remove(session, id)?;
        let lifetime_ms = moment.at.ms_since(Time(instance.started));
        let removed = InstanceRemoved { who: instance.who(), final_state: &instance.state, reason, lifetime_ms };
        self.out.push(Told {
            kind: Kind::InstanceRemoved,
            session: session.to_owned(),
            key: id.to_owned(),
            payload: json(&removed),
            record: String::new(),
            origin: moment.origin.part(Part::Change),
        });
        if let Some(machine) = self.machines.get(Some(&instance.machine)) {
            self.forget(&machine, &instance, moment.at);
        }
        Some(())
    }

    fn forget(&mut self, machine: &Machine, instance: &Instance, at: Time) {
        self.figures.leaves(machine, &instance.state, at.ms_since(instance.since()));
        self.figures.stale(&machine.id, -i64::from(instance.is_stale));
    }

    /// A sign of life.
    fn hear(&mut self, session: &str, id: &str, moment: &Moment) -> Option<&mut Instance> {
        let instance = self.book.get_mut(session, id)?;
        let idle_ms = moment.now.ms_since(Time(instance.heard));
        (instance.heard, instance.origin) = (moment.now.0, moment.origin.clone());
        if std::mem::take(&mut instance.is_stale) {
            self.figures.stale(&instance.machine, -1);
            let silence = Silence { who: instance.who(), state: &instance.state, since: instance.since(), idle_ms };
            let payload = json(&silence);
            self.out.push(instance.told(Kind::InstanceRecovered, payload, moment.origin.part(Part::Recovered)));
        }
        Some(instance)
    }

    fn transition(&mut self, machine: &Machine, id: &str, (about, asked): (&About, &Transition), moment: &Moment) {
        let wish = Wish { event: asked.event.as_deref(), to: asked.to.as_deref() };
        if self.hear(&about.session, id, moment).is_none() {
            let who = Who {
                machine: &machine.id,
                instance_id: id,
                strategy_id: about.strategy_id.as_deref(),
                symbol: about.symbol.as_deref(),
            };
            let told = illegal((who, None), &wish, Reason::UnknownInstance);
            self.report(machine, (&about.session, told), Reason::UnknownInstance, moment);
            return;
        }
        self.set_alarms(machine, &about.session, id);
        let Some(instance) = self.book.get(&about.session, id) else { return };
        let decided = decide(machine, instance, (asked, &wish), &self.figures, moment.at);
        let told = |reason| illegal((instance.who(), Some(&instance.state)), &wish, reason);
        let (step, reason) = match decided {
            Ok(step) => (Step { reenter: step.reenter || asked.reenter, ..step }, None),
            Err(refused) => {
                let passes = machine.on_illegal != OnIllegal::Reject && refused.can_pass();
                let told = told(refused.reason);
                self.report(machine, (&about.session, told), refused.reason, moment);
                let Some(to) = refused.target.filter(|_| passes) else { return };
                (Step { to, reenter: asked.reenter }, Some(refused.reason.label()))
            }
        };
        let (event, data, version) = (asked.event.as_deref(), asked.data.as_deref(), asked.version);
        let change = Change { step, event, reason, data, version };
        let at = moment.at;
        self.go(machine, (&about.session, id), &change, (at, moment.origin.part(Part::Change)));
    }

    /// An illegal transition is counted, logged, and told unless the operator alone is to know.
    fn report(&mut self, machine: &Machine, (session, payload): (&str, String), reason: Reason, moment: &Moment) {
        self.figures.illegal(self.machines.known(&machine.id), reason);
        if machine.on_illegal == OnIllegal::ReportOnly {
            tracing::warn!(session, transition = payload, "a transition is illegal");
            return;
        }
        tracing::debug!(session, transition = payload, "a transition is illegal");
        self.out.push(Told {
            kind: Kind::IllegalTransition,
            session: session.to_owned(),
            key: String::new(),
            payload,
            record: String::new(),
            origin: moment.origin.part(Part::Illegal),
        });
    }

    /// An instance changes its state, at a time that is not before the one at which it came into the last.
    fn go(
        &mut self,
        machine: &Machine,
        (session, id): (&str, &str),
        change: &Change<'_>,
        (at, origin): (Time, crate::told::From),
    ) {
        let Some(instance) = self.book.get_mut(session, id) else { return };
        if at < instance.since() {
            self.figures.clamped.increment(1);
        }
        let at = at.max(instance.since());
        let duration_ms = at.ms_since(instance.since());
        let to = change.step.to.clone();
        let stays = to == instance.state && !change.step.reenter;
        let previous_state = std::mem::replace(&mut instance.state, to);
        if !stays {
            instance.since = at.0;
            self.figures.leaves(machine, &previous_state, duration_ms);
            self.figures.enters(machine, &instance.state);
        }
        self.figures.moves(machine, &previous_state, &instance.state);
        instance.version = (instance.version + 1).max(change.version.unwrap_or(0));
        instance.reported = change.version.or(instance.reported);
        let payload = json(&StateChange {
            who: instance.who(),
            state: &instance.state,
            previous_state: &previous_state,
            since: instance.since(),
            event: change.event,
            version: instance.version,
            duration_ms,
            reason: change.reason,
            data: change.data,
        });
        instance.previous_state = Some(previous_state);
        self.out.push(instance.told(Kind::StateChange, payload, origin));
        self.set_alarms(machine, session, id);
    }

    /// When an instance is looked at next: a final state is left by nothing, and nobody waits for a sign of life in it.
    pub fn set_alarms(&mut self, machine: &Machine, session: &str, id: &str) {
        let Some(instance) = self.book.get(session, id) else { return };
        let is_final = machine.is_final(&instance.state);
        let timeout = machine.timeout(&instance.state).map(|timeout| instance.since.saturating_add(timeout.after));
        let silence = machine.stale_after.filter(|_| !is_final && !instance.is_stale);
        let silence = silence.map(|after| instance.heard.saturating_add(after));
        self.book.set_alarms(session, id, Alarms { timeout, silence });
    }

    /// An instance has been in its state for as long as it may be, at this time.
    pub fn time_out(&mut self, machine: &Machine, place: (&str, &str), at: Time, newest: Option<&Origin>) {
        let Some(instance) = self.book.get_mut(place.0, place.1) else { return };
        let Some(timeout) = machine.timeout(&instance.state) else { return };
        let origin = instance.origin.timeout(newest);
        let step = Step { to: timeout.to.clone(), reenter: true };
        let change = Change { step, event: Some("timeout"), reason: Some("max_time"), data: None, version: None };
        self.go(machine, place, &change, (at, origin));
    }

    /// Nothing was heard of an instance for too long.
    pub fn fall_silent(&mut self, place: (&str, &str), now: Time, newest: Option<&Origin>) {
        let Some(instance) = self.book.get_mut(place.0, place.1) else { return };
        instance.is_stale = true;
        self.figures.stale(&instance.machine, 1);
        let idle_ms = now.ms_since(Time(instance.heard));
        let silence = Silence { who: instance.who(), state: &instance.state, since: instance.since(), idle_ms };
        let payload = json(&silence);
        let origin = instance.origin.silence(newest);
        self.out.push(instance.told(Kind::InstanceStale, payload, origin));
    }
}

/// An instance as it begins.
fn newborn(machine: &Machine, id: String, about: &About, moment: &Moment) -> Instance {
    Instance {
        session: about.session.clone(),
        machine: machine.id.clone(),
        strategy_id: about.strategy_id.clone(),
        symbol: about.symbol.clone(),
        state: machine.initial.clone(),
        since: moment.at.0,
        started: moment.at.0,
        heard: moment.now.0,
        version: 1,
        ..Instance::unknown(id)
    }
}

/// Machine and keys, each encoded as a part of a topic is, so that different instances never have the same.
fn id_of(machine: &Machine, about: &About) -> Option<String> {
    let mut id = topic_part(&machine.id).into_owned();
    for key in &machine.keys {
        let value = match key {
            Key::StrategyId => about.strategy_id.as_deref(),
            Key::Symbol => about.symbol.as_deref(),
        };
        id.extend([":", &topic_part(value?)]);
    }
    Some(id)
}

fn decide(
    machine: &Machine,
    instance: &Instance,
    (asked, wish): (&Transition, &Wish<'_>),
    figures: &Figures,
    at: Time,
) -> Result<Step, Illegal> {
    let repeated = |reason| Err(Illegal { reason, target: None });
    match (asked.version, instance.reported) {
        (Some(version), Some(last)) if version == last => return repeated(Reason::Duplicate),
        (Some(version), Some(last)) if version < last => return repeated(Reason::StaleVersion),
        _ => {}
    }
    let mut scope: Option<(Value, Value)> = None;
    machine.step(&instance.state, wish, |guard| {
        let (data, ctx) = scope.get_or_insert_with(|| (data_of(asked), ctx_of(instance, at)));
        let answer = guard.ask(&Scope { data, ctx });
        figures.missing_paths.increment(u64::from(answer.missed));
        answer.holds
    })
}

fn data_of(asked: &Transition) -> Value {
    asked.data.as_ref().and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default()
}

/// What guards find under `ctx`.
fn ctx_of(instance: &Instance, at: Time) -> Value {
    json!({
        "session_id": instance.session,
        "strategy_id": instance.strategy_id,
        "symbol": instance.symbol,
        "state": instance.state,
        "previous_state": instance.previous_state,
        "version": instance.version,
        "duration_ms": at.ms_since(instance.since()),
    })
}

fn illegal((who, from): (Who<'_>, Option<&str>), wish: &Wish<'_>, reason: Reason) -> String {
    json(&IllegalTransition { who, from, to: wish.to, event: wish.event, reason })
}
