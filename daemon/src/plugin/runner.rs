//! A broadcaster's own thread: makes the instance, feeds it, keeps checkpoints, and starts it again when it fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use broadcastd_plugin_api::abi;
use metrics::Histogram;

use super::broadcaster::{Answer, Order, Phase, Shared, Tenure, fault};
use super::demand::Demand;
use super::due::MAX_BATCH;
use super::handles;
use super::inputs::Inputs;
use super::library::Instance;
use super::port::{Fault, Gate, Port, Telling};
use super::restart::Failures;
use super::saved::Checkpoint;
use super::timing::nanos;
use super::told::Told;
use crate::hub::signal::Wakes;
use crate::hub::stream::Stream;
use crate::metrics::labels::Call;

mod failure;
mod file;
mod turn;

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
    writing: Option<file::Writing>,
    calls: BTreeMap<Call, Histogram>,
    /// Calls from before it began, which count when it does: a few, since each was asked for.
    early: Vec<(Call, Duration)>,
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
            writing: None,
            calls: BTreeMap::new(),
            early: Vec::new(),
        }
    }

    /// The life of the thread: an instance is made and told, then orders and events until the order to stop.
    pub fn run(mut self, created: &SyncSender<Answer>) {
        self.shared.signal.belongs_here();
        let made = self.create();
        let is_made = made.is_ok();
        let is_wanted = created.send(made.map(|()| None)).is_ok();
        let mut life = if is_made && is_wanted { Life::On } else { Life::Over };
        while life == Life::On && self.tenure() != Tenure::Abandoned {
            self.pending = self.pending | self.shared.signal.take();
            life = self.obey();
            if life == Life::On {
                self.work();
                let deadline = self.next_deadline();
                self.shared.signal.wait(|| self.shared.desk.clock.park_until(deadline));
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
                self.shared.set_phase(Phase::Stopped);
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
                self.shared.take_office(inputs, checkpoint);
                self.show();
                if let Err(fault) = self.begin() {
                    self.failed(&fault);
                }
                Ok(None)
            }
            Order::HandOver => self.hand_over().map(Some),
            Order::Resume => {
                self.resume();
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
        if self.tenure() == Tenure::Waiting {
            port.keep_metrics_apart();
        }
        let handle = handles::open(port.clone());
        let mut inner = self.shared.lock();
        inner.port = Some((port.clone(), handle));
        let settings = inner.settings.clone();
        drop(inner);
        self.port = port;
        self.demand = Demand::default();
        let library = self.shared.library.clone();
        let made = self.timed(Call::Create, |_| Instance::create(&library, handle, &settings));
        match made {
            Ok(instance) => self.instance = Some(instance),
            Err(status) => {
                handles::close(handle);
                return Err(self.port.take_fault(status, Call::Create.text()));
            }
        }
        Ok(())
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        match &checkpoint.state {
            None => Ok(()),
            Some(state) => {
                self.call(Call::RestoreState, |instance| instance.restore_state(state.version, &state.bytes))
            }
        }
    }

    /// Goes to work: owns the stream, is started, publishes its records.
    fn begin(&mut self) -> Result<(), Fault> {
        let now = self.now();
        self.since = Since { checkpoint_at: now, file_at: now, unsaved: true, ..Since::default() };
        self.shared.lock().check_office().map(|()| self.port.set_gate(Gate::Open))?;
        self.call(Call::Start, Instance::start)?;
        self.catch_up()?;
        self.shared.lock().check_office()?;
        if let Some(stream) = self.shared.desk.stream.get().cloned() {
            self.tell_records(&stream)?;
            stream.set_owner(&self.shared.signal);
            self.port.take_office(&stream);
        }
        let mut inner = self.shared.lock();
        (inner.since, inner.next) = (Some(now), None);
        drop(inner);
        self.shared.set_phase(Phase::Running);
        let note = &self.shared.library.note;
        self.shared.metrics.started(&note.id, &note.version, &self.shared.library.sha256);
        self.more = true;
        Ok(())
    }

    /// Feeds it first what an earlier instance had handled and not saved: its records would else be older than what
    /// subscribers have seen, and the events that bring them up to date again are not published twice.
    fn catch_up(&mut self) -> Result<(), Fault> {
        if let Some(stream) = self.shared.desk.stream.get() {
            self.with_inputs(|inputs| inputs.repeat_what_led_to(stream));
        }
        while self.with_inputs(|inputs| inputs.are_repeated()) {
            let mut told = Vec::new();
            self.with_inputs(|inputs| inputs.read(MAX_BATCH, &mut told));
            if told.is_empty() {
                break;
            }
            self.handle(&told)?;
        }
        Ok(())
    }

    /// Its records replace those from before, but only the whole set. Once a successor has begun, what gathers is the
    /// successor's, and is left alone.
    fn tell_records(&mut self, stream: &Stream) -> Result<(), Fault> {
        stream.begin_records();
        self.port.set_telling_records(Telling::Records);
        let told = self.tell(&[Told::Records]);
        self.port.set_telling_records(Telling::Events);
        let inner = self.shared.lock();
        let (is_present, office) = (inner.tenure == Tenure::Present, inner.check_office());
        drop(inner);
        let told = told.and(office);
        match &told {
            Ok(()) => stream.end_records(),
            Err(_) if is_present => stream.abandon_records(),
            Err(_) => {}
        }
        told
    }

    fn work(&mut self) {
        let inner = self.shared.lock();
        let (phase, is_in_office) = (inner.phase, inner.check_office().is_ok());
        drop(inner);
        let worked = match phase {
            Phase::Running => self.turn(),
            Phase::BackingOff if is_in_office && self.again_at.is_some_and(|at| at <= self.now()) => self.revive(),
            _ => Ok(()),
        };
        if let Err(fault) = worked {
            self.failed(&fault);
        }
    }

    fn hand_over(&mut self) -> Result<Checkpoint, Fault> {
        let phase = self.shared.lock().phase;
        if phase == Phase::Running {
            self.tell(&[Told::Quiesce]).and_then(|()| self.checkpoint()).inspect_err(|fault| self.failed(fault))?;
            self.port.set_gate(Gate::Quiet);
        }
        if matches!(phase, Phase::Running | Phase::BackingOff) {
            self.shared.set_phase(Phase::Quiet); // one that rests does not start again beside its successor
        }
        self.finish_file();
        Ok(self.shared.lock().checkpoint.clone())
    }

    fn resume(&mut self) {
        let mut inner = self.shared.lock();
        inner.is_silenced = false;
        let was_quiet = inner.phase == Phase::Quiet;
        drop(inner);
        if self.instance.is_some() {
            self.shared.set_phase(Phase::Running);
            self.port.set_gate(Gate::Open);
        } else if was_quiet && self.again_at.is_some() {
            self.shared.set_phase(Phase::BackingOff);
        }
    }

    fn reconfigure(&mut self, settings: String) -> Result<(), Fault> {
        if self.shared.lock().phase != Phase::Running {
            return Err(fault(abi::E_UNSUPPORTED, "it does not run".to_owned()));
        }
        let taken = self.call(Call::Reconfigure, |instance| instance.reconfigure(&settings));
        match &taken {
            Ok(()) => self.shared.lock().settings = settings,
            Err(fault) if fault.status == abi::E_PANIC => self.failed(fault),
            Err(_) => {}
        }
        taken
    }

    fn stop(&mut self) {
        let was_running = self.shared.lock().phase == Phase::Running;
        let ready = if was_running { self.finish() } else { Ok(()) };
        self.write_file();
        let is_poisoned = ready.as_ref().is_err_and(|fault| fault.status == abi::E_PANIC);
        let told = if self.instance.is_some() && !is_poisoned { self.tell(&[Told::Stop]) } else { Ok(()) };
        for fault in [ready, told].into_iter().filter_map(Result::err) {
            self.report(&fault);
        }
        let inputs = std::mem::take(&mut self.shared.lock().inputs);
        drop(inputs);
        if self.tenure() == Tenure::Present {
            self.shared.metrics.stopped();
        }
    }

    /// What was accepted for it before is taken first, within half of the time that it has: nobody sends it again. What
    /// comes meanwhile is not, or it would never end where inputs never do.
    fn finish(&mut self) -> Result<(), Fault> {
        self.with_inputs(Inputs::end_here);
        let until = self.now().saturating_add(nanos(self.shared.timing.stop / 2));
        while self.now() < until && !self.port.is_blocked() {
            let mut told = Vec::new();
            self.with_inputs(|inputs| inputs.read(MAX_BATCH, &mut told));
            if told.is_empty() {
                break;
            }
            self.handle(&told)?;
        }
        self.tell(&[Told::Quiesce])?;
        self.checkpoint()
    }

    /// A new instance, from the last checkpoint.
    fn revive(&mut self) -> Result<(), Fault> {
        self.again_at = None;
        self.shared.metrics.restarted();
        let mut inner = self.shared.lock();
        inner.restarts += 1;
        let checkpoint = inner.checkpoint.clone();
        drop(inner);
        self.shared.set_phase(Phase::Starting);
        self.with_inputs(|inputs| inputs.rewind(&checkpoint.positions));
        self.create()?;
        self.restore(&checkpoint)?;
        self.begin()
    }

    fn destroy(&mut self) {
        self.port.set_gate(Gate::Closed);
        if self.instance.is_some() {
            self.port.forget_fault();
            self.timed(Call::Destroy, |runner| runner.instance = None);
            if let Some(fault) = self.port.said_fault() {
                self.report(&fault); // destroy answers nothing, but it may have said why it failed
            }
        }
        let mut inner = self.shared.lock();
        inner.since = None;
        inner.port = None;
    }

    fn tenure(&self) -> Tenure {
        self.shared.lock().tenure
    }

    fn now(&self) -> i64 {
        self.shared.desk.clock.mono_ns()
    }
}
