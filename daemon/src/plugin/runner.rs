//! A broadcaster's own thread: makes the instance, feeds it, keeps checkpoints, and starts it again when it fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use broadcastd_plugin_api::abi;
use metrics::Histogram;

use super::broadcaster::{Answer, Order, Phase, Shared, fault};
use super::demand::Demand;
use super::handles;
use super::inputs::Inputs;
use super::library::Instance;
use super::port::{Fault, Gate, Port, Telling};
use super::restart::{Failures, Verdict};
use super::saved::{Checkpoint, State};
use super::timing::nanos;
use super::told::{Moment, Told};
use crate::hub::settings::Source;
use crate::hub::signal::Wakes;

/// Events in one call: enough to make the border cheap, few enough that a call stays short.
pub const MAX_BATCH: usize = 256;

pub struct Runner {
    shared: Arc<Shared>,
    port: Arc<Port>,
    instance: Option<Instance>,
    demand: Demand,
    failures: Failures,
    again_at: Option<i64>,
    /// Raised and not yet looked at, because the broadcaster does not run.
    pending: Wakes,
    /// Inputs may wait, although no signal says so.
    more: bool,
    since: Since,
    calls: BTreeMap<&'static str, Histogram>,
}

/// What happened since the last checkpoint and the last file.
#[derive(Default)]
struct Since {
    inputs: usize,
    told: bool,
    checkpoint_at: i64,
    unsaved: bool,
    file_at: i64,
}

/// Whether the thread goes on.
#[derive(PartialEq, Eq)]
enum Life {
    On,
    Over,
}

impl Runner {
    pub fn new(shared: Arc<Shared>) -> Self {
        let port = Port::new(shared.desk.clone(), shared.signal.clone());
        Self {
            shared,
            port,
            instance: None,
            demand: Demand::default(),
            failures: Failures::default(),
            again_at: None,
            pending: Wakes::default(),
            more: false,
            since: Since::default(),
            calls: BTreeMap::new(),
        }
    }

    /// The life of the thread: an instance is made and told, then orders and events until the order to stop.
    pub fn run(mut self, created: &SyncSender<Answer>) {
        self.shared.signal.belongs_here();
        let made = self.create();
        let is_made = made.is_ok();
        let is_wanted = created.send(made.map(|()| None)).is_ok();
        let mut life = if is_made && is_wanted { Life::On } else { Life::Over };
        while life == Life::On && !self.shared.lock().abandoned {
            self.pending = self.pending | self.shared.signal.take();
            life = self.obey();
            if life == Life::On {
                self.work();
                self.shared.desk.clock.park_until(self.next_deadline());
            }
        }
        self.destroy();
    }

    fn obey(&mut self) -> Life {
        loop {
            let Some((order, answered)) = self.shared.lock().orders.pop_front() else { return Life::On };
            let is_last = matches!(order, Order::Stop);
            let answer = self.follow(order);
            if is_last {
                self.destroy();
                self.set_phase(Phase::Stopped);
            }
            let _nobody_waits_any_more = answered.send(answer);
            if is_last {
                return Life::Over;
            }
        }
    }

    fn follow(&mut self, order: Order) -> Answer {
        match order {
            Order::Restore(checkpoint) => self.restore(&checkpoint).map(|()| None),
            Order::Begin(inputs, checkpoint) => {
                let mut inner = self.shared.lock();
                (inner.inputs, inner.checkpoint) = (inputs, checkpoint);
                drop(inner);
                if let Err(fault) = self.begin() {
                    self.failed(&fault);
                }
                Ok(None)
            }
            Order::HandOver => self.hand_over().map(Some),
            Order::Resume => {
                if self.instance.is_some() {
                    self.set_phase(Phase::Running);
                    self.port.set_gate(Gate::Open);
                }
                Ok(None)
            }
            Order::Reconfigure(settings) => self.reconfigure(settings).map(|()| None),
            Order::Stop => {
                self.stop();
                Ok(None)
            }
        }
    }

    fn create(&mut self) -> Result<(), Fault> {
        let port = Port::new(self.shared.desk.clone(), self.shared.signal.clone());
        port.set_home();
        let handle = handles::open(port.clone());
        let mut inner = self.shared.lock();
        inner.port = Some((port.clone(), handle));
        let settings = inner.settings.clone();
        drop(inner);
        self.port = port;
        self.demand = Demand::default();
        let library = self.shared.library.clone();
        let made = self.timed("create", |_| Instance::create(&library, handle, &settings));
        match made {
            Ok(instance) => self.instance = Some(instance),
            Err(status) => {
                handles::close(handle);
                return Err(self.port.take_fault(status, "create"));
            }
        }
        Ok(())
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        match &checkpoint.state {
            None => Ok(()),
            Some(state) => self.call("restore_state", |instance| instance.restore_state(state.version, &state.bytes)),
        }
    }

    /// Goes to work: owns the stream, is started, publishes its records.
    fn begin(&mut self) -> Result<(), Fault> {
        let now = self.now();
        self.since = Since { checkpoint_at: now, file_at: now, unsaved: true, ..Since::default() };
        self.port.set_gate(Gate::Open);
        self.call("start", Instance::start)?;
        if let Some(stream) = self.shared.desk.stream.get().cloned() {
            stream.begin_records();
            self.port.set_telling_records(Telling::Records);
            let told = self.tell(&[Told::Records]);
            self.port.set_telling_records(Telling::Events);
            stream.end_records();
            told?;
            stream.set_owner(&self.shared.signal);
        }
        self.shared.lock().since = Some(now);
        self.set_phase(Phase::Running);
        let note = &self.shared.library.note;
        self.shared.metrics.started(&note.id, &note.version, &self.shared.library.sha256);
        self.more = true;
        Ok(())
    }

    fn work(&mut self) {
        let phase = self.shared.lock().phase;
        let worked = match phase {
            Phase::Running => self.turn(),
            Phase::BackingOff if self.again_at.is_some_and(|at| at <= self.now()) => self.revive(),
            _ => Ok(()),
        };
        if let Err(fault) = worked {
            self.failed(&fault);
        }
    }

    fn turn(&mut self) -> Result<(), Fault> {
        let wakes = std::mem::take(&mut self.pending);
        let told = self.gather(wakes);
        if !told.is_empty() {
            self.tell(&told)?;
            if self.shared.lock().abandoned {
                return Ok(()); // what it did no longer counts, so it must not be saved
            }
            self.since.inputs += self.with_inputs(|inputs| inputs.handled(&told));
            self.since.told = true;
        }
        self.keep()
    }

    /// What there is to tell now, in an order that lets a broadcaster make room before it is fed.
    fn gather(&mut self, wakes: Wakes) -> Vec<Told> {
        let now = self.now();
        let mut told = Vec::new();
        if wakes.has(Wakes::WRITABLE) {
            self.port.unblock();
            told.push(Told::Writable);
        }
        if wakes.has(Wakes::WAKE) {
            told.push(Told::Wake);
        }
        while told.len() < MAX_BATCH
            && let Some(timer) = self.port.take_due_timer(now)
        {
            told.push(Told::Timer(timer));
        }
        if wakes.has(Wakes::DEMAND)
            && let Some(stream) = self.shared.desk.stream.get()
        {
            let until = now.saturating_add(nanos(self.shared.timing.demand_linger));
            let changed = stream.take_demand().into_iter();
            told.extend(changed.filter_map(|(pattern, count)| self.demand.changed(pattern, count, until)));
        }
        told.extend(self.demand.take_ended(now));
        self.more |= wakes.has(Wakes::INPUT) || wakes.has(Wakes::WRITABLE);
        if self.more && !self.port.is_blocked() {
            let room = MAX_BATCH.saturating_sub(told.len()).max(1);
            self.more = self.with_inputs(|inputs| inputs.read(room, &mut told));
        }
        told
    }

    fn tell(&mut self, told: &[Told]) -> Result<(), Fault> {
        let clock = &self.shared.desk.clock;
        let at = Moment { mono_ns: clock.mono_ns(), unix_ns: clock.unix_ns() };
        let mut rest = told;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(rest.len().min(MAX_BATCH));
            let events: Vec<abi::Event<'_>> = batch.iter().map(|one| one.event(at)).collect();
            self.call("on_events", |instance| instance.on_events(&events))?;
            rest = after;
        }
        Ok(())
    }

    /// Checkpoint and file, when they are due.
    fn keep(&mut self) -> Result<(), Fault> {
        let now = self.now();
        let timing = self.shared.timing;
        let is_due = self.since.inputs >= timing.checkpoint_inputs
            || self.since.told && now - self.since.checkpoint_at >= nanos(timing.checkpoint_every);
        if is_due {
            self.checkpoint()?;
        }
        if self.since.unsaved && now - self.since.file_at >= nanos(timing.save_every) {
            self.write_file();
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), Fault> {
        let state = self.save_state()?;
        let positions = self.with_inputs(|inputs| inputs.positions());
        self.shared.lock().checkpoint = Checkpoint { state, positions };
        self.with_inputs(|inputs| inputs.saved());
        let now = self.now();
        self.since = Since { checkpoint_at: now, unsaved: true, file_at: self.since.file_at, ..Since::default() };
        self.shared.metrics.skipped(self.shared.desk.counts.skipped.load(std::sync::atomic::Ordering::Relaxed));
        Ok(())
    }

    fn save_state(&mut self) -> Result<Option<State>, Fault> {
        let version = self.shared.library.state_version;
        self.port.forget_fault();
        let saved = self.timed("save_state", |runner| runner.instance.as_mut().map(Instance::save_state));
        match saved {
            Some(Ok(bytes)) => Ok(bytes.map(|bytes| State { version, bytes: bytes.into() })),
            Some(Err(status)) => Err(self.port.take_fault(status, "save_state")),
            None => Err(fault(abi::E_CLOSED, "there is no instance".to_owned())),
        }
    }

    fn write_file(&mut self) {
        self.since.file_at = self.now();
        let inner = self.shared.lock();
        if inner.abandoned || inner.checkpoint == Checkpoint::default() {
            return;
        }
        let checkpoint = inner.checkpoint.clone();
        drop(inner);
        let name = &*self.shared.desk.name;
        match self.shared.saved.write(name, &self.shared.library.note.id, &checkpoint) {
            Ok(()) => self.since.unsaved = false,
            Err(error) => {
                self.shared.metrics.failed("state_not_written");
                tracing::error!(broadcaster = name, %error, "state cannot be written; see the state directory");
            }
        }
    }

    fn hand_over(&mut self) -> Result<Checkpoint, Fault> {
        if self.shared.lock().phase == Phase::Running {
            self.tell(&[Told::Quiesce]).and_then(|()| self.checkpoint()).inspect_err(|fault| self.failed(fault))?;
            self.port.set_gate(Gate::Quiet);
            self.set_phase(Phase::Quiet);
        }
        Ok(self.shared.lock().checkpoint.clone())
    }

    fn reconfigure(&mut self, settings: String) -> Result<(), Fault> {
        if self.shared.lock().phase != Phase::Running {
            return Err(fault(abi::E_UNSUPPORTED, "it does not run".to_owned()));
        }
        let taken = self.call("reconfigure", |instance| instance.reconfigure(&settings));
        match &taken {
            Ok(()) => self.shared.lock().settings = settings,
            Err(fault) if fault.status == abi::E_PANIC => self.failed(fault),
            Err(_) => {}
        }
        taken
    }

    fn stop(&mut self) {
        if self.shared.lock().phase == Phase::Running {
            if let Err(fault) = self.tell(&[Told::Quiesce]).and_then(|()| self.checkpoint()) {
                self.report(&fault);
            }
        }
        if self.since.unsaved && self.shared.lock().phase != Phase::Quiet {
            self.write_file();
        }
        if self.instance.is_some() {
            let _it_ends_anyway = self.tell(&[Told::Stop]);
        }
        let inputs = std::mem::take(&mut self.shared.lock().inputs);
        drop(inputs);
        self.shared.metrics.stopped();
    }

    fn failed(&mut self, fault: &Fault) {
        self.destroy();
        self.shared.metrics.stopped();
        self.report(fault);
        let policy = self.shared.lock().restart;
        let verdict = self.failures.count(&policy, self.now(), fastrand::f64());
        let why = match verdict {
            Verdict::AgainAt(at) => {
                self.again_at = Some(at);
                self.set_phase(Phase::BackingOff);
                format!("starts again after a failure: {}", fault.message)
            }
            Verdict::Quarantine => {
                self.again_at = None;
                self.set_phase(Phase::Quarantined);
                let inputs = std::mem::take(&mut self.shared.lock().inputs);
                drop(inputs); // a stream does not keep its events for somebody who may never come back
                let (max, within) = (policy.max, policy.within);
                tracing::error!(broadcaster = &*self.shared.desk.name, "quarantined; correct it and reload");
                format!("quarantined after {max} failures in {within:?}: {}", fault.message)
            }
        };
        if let Some(stream) = self.shared.desk.stream.get() {
            stream.set_source(Source::Absent(why.into()));
        }
    }

    fn report(&self, fault: &Fault) {
        let reason = if fault.status == abi::E_PANIC { "panic" } else { "failed" };
        self.shared.metrics.failed(reason);
        let mut inner = self.shared.lock();
        inner.errors += 1;
        inner.last_error = Some(fault.message.clone());
        drop(inner);
        let broadcaster = &*self.shared.desk.name;
        tracing::error!(broadcaster, reason, pointer = fault.pointer, message = fault.message, "failed");
    }

    /// A new instance, from the last checkpoint.
    fn revive(&mut self) -> Result<(), Fault> {
        self.again_at = None;
        self.shared.metrics.restarted();
        let mut inner = self.shared.lock();
        inner.restarts += 1;
        let checkpoint = inner.checkpoint.clone();
        drop(inner);
        self.with_inputs(Inputs::rewind);
        self.create()?;
        self.restore(&checkpoint)?;
        self.begin()
    }

    fn destroy(&mut self) {
        self.port.set_gate(Gate::Closed);
        if self.instance.is_some() {
            self.timed("destroy", |runner| runner.instance = None);
        }
        let mut inner = self.shared.lock();
        inner.since = None;
        inner.port = None;
    }

    /// One call into the instance, with its reason when it fails.
    fn call(&mut self, name: &'static str, call: impl FnOnce(&mut Instance) -> i32) -> Result<(), Fault> {
        self.port.forget_fault();
        let status = self.timed(name, |runner| runner.instance.as_mut().map_or(abi::E_CLOSED, call));
        if status == abi::OK { Ok(()) } else { Err(self.port.take_fault(status, name)) }
    }

    fn timed<T>(&mut self, name: &'static str, call: impl FnOnce(&mut Self) -> T) -> T {
        let began = self.now();
        self.port.set_called_at(began.max(1));
        let result = call(self);
        self.port.set_called_at(0);
        let took = Duration::from_nanos(u64::try_from(self.now() - began).unwrap_or(0));
        let metrics = &self.shared.metrics;
        self.calls.entry(name).or_insert_with(|| metrics.calls(name)).record(took);
        if took > self.shared.timing.slow_call {
            metrics.slow_call(name);
            self.port.log(abi::LOG_WARN, "", &format!("{name} took {took:?}; work that waits belongs to a worker"));
        }
        result
    }

    fn next_deadline(&self) -> Option<i64> {
        let timing = &self.shared.timing;
        match self.shared.lock().phase {
            Phase::BackingOff => return self.again_at,
            Phase::Running => {}
            _ => return None,
        }
        if self.more && !self.port.is_blocked() {
            return Some(0);
        }
        let checkpoint =
            self.since.told.then(|| self.since.checkpoint_at.saturating_add(nanos(timing.checkpoint_every)));
        let file = self.since.unsaved.then(|| self.since.file_at.saturating_add(nanos(timing.save_every)));
        [self.port.next_timer(), self.demand.next_end(), checkpoint, file].into_iter().flatten().min()
    }

    /// The inputs are taken out for as long as they are used, so that a stream's lock is never taken under ours. Whoever
    /// was abandoned meanwhile gets them back no more.
    fn with_inputs<T>(&self, with: impl FnOnce(&mut Inputs) -> T) -> T {
        let mut inputs = std::mem::take(&mut self.shared.lock().inputs);
        let result = with(&mut inputs);
        let mut inner = self.shared.lock();
        if !inner.abandoned {
            std::mem::swap(&mut inner.inputs, &mut inputs);
        }
        drop(inner);
        result
    }

    fn set_phase(&self, phase: Phase) {
        self.shared.lock().phase = phase;
    }

    fn now(&self) -> i64 {
        self.shared.desk.clock.mono_ns()
    }
}
