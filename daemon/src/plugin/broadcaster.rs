//! One running broadcaster as the supervisor sees it: its thread, the orders it takes, how it is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use broadcastd_plugin_api::abi;
use serde::{Serialize, Serializer};

use super::bounded;
use super::handles::{self, Handle};
use super::inputs::Inputs;
use super::library::Library;
use super::news::{News, State, Tell};
use super::port::{Desk, Fault, Gate, Health, Port};
use super::restart::Restart;
use super::runner::Runner;
use super::saved::{Checkpoint, Saved};
use super::timing::{Timing, nanos};
use crate::hub::signal::{Signal, Wakes};
use crate::metrics::labels::{self, Failure};
use crate::{event, metrics};

/// Linux shows at most this much of a thread's name.
const THREAD_NAME: usize = 15;

/// What the supervisor asks of a broadcaster's thread.
pub enum Order {
    /// Take over this state before the beginning.
    Restore(Checkpoint),
    /// Own the stream and run. The checkpoint is what a restart goes back to until there is a newer one.
    Begin(Inputs, Checkpoint),
    /// Publish what is due, stop publishing, answer with the state.
    HandOver,
    /// The hand-over came to nothing: go on.
    Resume,
    /// Take these settings while running.
    Reconfigure(String),
    /// Save what is not handed over, end the instance and the thread.
    Stop,
}

/// What it answers: a checkpoint when it handed over.
pub type Answer = Result<Option<Checkpoint>, Fault>;

/// What a broadcaster's thread and the supervisor share.
pub struct Shared {
    pub desk: Arc<Desk>,
    pub library: Arc<Library>,
    pub timing: Timing,
    pub saved: Saved,
    pub signal: Arc<Signal>,
    pub metrics: metrics::Broadcaster,
    pub tell: Tell,
    pub inner: Mutex<Inner>,
    /// A call that does not return was told.
    pub is_stuck: AtomicBool,
}

/// The changing part of it.
pub struct Inner {
    pub orders: VecDeque<(Order, SyncSender<Answer>)>,
    pub settings: String,
    pub restart: Restart,
    pub phase: Phase,
    pub restarts: u64,
    pub errors: u64,
    /// Calls into the plugin that failed; other errors may be nobody's fault.
    pub failures: u64,
    pub last_error: Option<String>,
    /// While it does not run because it failed: how often that was, and what follows.
    pub next: Option<String>,
    /// When the present instance began.
    pub since: Option<i64>,
    /// The present instance.
    pub port: Option<(Arc<Port>, Handle)>,
    pub inputs: Inputs,
    /// What a new instance would go on from.
    pub checkpoint: Checkpoint,
    pub tenure: Tenure,
    /// It did not hand over in time, and its successor is made ready: it does not begin before it is told to go on.
    pub is_silenced: bool,
    /// The file that it was rolled back from, and why.
    pub rolled_back: Option<String>,
    /// Until when its plugin's file is on probation, by the clock of the wall.
    pub probation_until: Option<i64>,
    /// What was told of it last.
    told: Option<State>,
}

/// Whether what an instance does counts: its failures show on the stream, its state is saved, its metrics are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// It has not begun; another one may be in office.
    Waiting,
    Present,
    /// Its successor has begun.
    Replaced,
    /// It did not stop in time. What it does from here on does not count at all.
    Abandoned,
}

/// How a broadcaster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Running,
    /// It handed over its state and waits whether it goes on.
    Quiet,
    BackingOff,
    Quarantined,
    /// A call into the plugin does not return.
    Stuck,
    Stopped,
}

impl Phase {
    /// As metrics know it.
    pub fn label(self) -> labels::State {
        match self {
            Self::Starting => labels::State::Starting,
            Self::Running => labels::State::Running,
            Self::Quiet => labels::State::Quiet,
            Self::BackingOff => labels::State::BackingOff,
            Self::Quarantined => labels::State::Quarantined,
            Self::Stuck => labels::State::Stuck,
            Self::Stopped => labels::State::Stopped,
        }
    }
}

impl Serialize for Phase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label().text())
    }
}

pub struct Broadcaster {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its phase, with a call that does not return shown as such.
    pub fn phase(&self) -> Phase {
        self.phase_of(&self.lock())
    }

    /// Goes on to another phase, and tells it.
    pub fn set_phase(&self, phase: Phase) {
        let mut inner = self.lock();
        inner.phase = phase;
        self.tell(&mut inner, None);
    }

    /// It is in office from here on.
    pub fn take_office(&self, inputs: Inputs, checkpoint: Checkpoint) {
        let mut inner = self.lock();
        (inner.inputs, inner.checkpoint, inner.tenure) = (inputs, checkpoint, Tenure::Present);
        self.tell(&mut inner, None);
    }

    /// Its plugin's file has proven itself, or nothing would come back in its place.
    pub fn end_probation(&self) {
        let health = self.health();
        let mut inner = self.lock();
        inner.probation_until = None;
        self.tell(&mut inner, Some(health));
    }

    /// Its plugin's file is the one that it runs.
    pub fn end_rollback(&self) {
        let health = self.health();
        let mut inner = self.lock();
        inner.rolled_back = None;
        self.tell(&mut inner, Some(health));
    }

    /// What the plugin says of itself.
    pub fn health(&self) -> Health {
        let port = self.lock().port.as_ref().map(|(port, _)| port.clone());
        port.map_or(Health::Ok, |port| port.health())
    }

    /// Tells of a failure where operators look: in the log, in the status, and counted by its reason.
    pub fn tell_failure(&self, reason: Failure, message: &str) {
        self.metrics.failed(reason);
        let mut inner = self.lock();
        inner.errors += 1;
        inner.last_error = Some(message.to_owned());
        drop(inner);
        tracing::error!(broadcaster = &*self.desk.name, reason = reason.text(), "failed: {message}");
    }

    /// Tells once that a call does not return, and once more if that happens again; and what the plugin says of itself.
    pub fn watch(&self) {
        let health = self.health();
        self.tell(&mut self.lock(), Some(health));
        let is_stuck = self.phase() == Phase::Stuck;
        if !self.is_stuck.swap(is_stuck, Ordering::Relaxed) && is_stuck {
            self.metrics.failed(Failure::Stuck);
            tracing::error!(
                broadcaster = &*self.desk.name,
                "a call into the plugin does not return; reload or restart it"
            );
        }
    }

    fn phase_of(&self, inner: &Inner) -> Phase {
        let stuck_after = nanos(self.timing.stuck_call);
        match inner.port.as_ref().and_then(|(port, _)| port.called_at()) {
            Some(at) if self.desk.clock.mono_ns() - at > stuck_after => Phase::Stuck,
            _ => inner.phase,
        }
    }

    /// Tells how it is, if that is another state than before and it is in office. What the plugin says of itself counts
    /// while it runs.
    fn tell(&self, inner: &mut Inner, health: Option<Health>) {
        let state = self.phase_of(inner);
        let degraded = match health {
            Some(Health::Degraded(reason)) if state == Phase::Running => Some(reason),
            _ => None,
        };
        let probation_until = inner.probation_until.map(event::timestamp_of);
        let before =
            inner.told.as_ref().map(|told| (told.state, &told.degraded, &told.probation_until, &told.rolled_back));
        if inner.tenure != Tenure::Present || before == Some((state, &degraded, &probation_until, &inner.rolled_back)) {
            return;
        }
        let told = State {
            name: self.desk.name.to_string(),
            version: self.library.note.version.clone(),
            state,
            restarts: inner.restarts,
            errors: inner.errors,
            last_error: inner.last_error.clone(),
            next: inner.next.clone(),
            degraded,
            rolled_back: inner.rolled_back.clone(),
            probation_until,
        };
        inner.told = Some(told.clone());
        (self.tell)(News::Changed(told));
    }
}

impl Inner {
    pub fn new(settings: String, restart: Restart) -> Self {
        Self {
            orders: VecDeque::new(),
            settings,
            restart,
            phase: Phase::Starting,
            restarts: 0,
            errors: 0,
            failures: 0,
            last_error: None,
            next: None,
            since: None,
            port: None,
            inputs: Inputs::default(),
            checkpoint: Checkpoint::default(),
            tenure: Tenure::Waiting,
            is_silenced: false,
            rolled_back: None,
            probation_until: None,
            told: None,
        }
    }

    /// Whether the stream, its records and its demand are this one's, or why not.
    pub fn check_office(&self) -> Result<(), Fault> {
        if self.tenure == Tenure::Present && !self.is_silenced {
            return Ok(());
        }
        Err(fault(abi::E_CLOSED, "it began too late: another one takes or has taken its place".to_owned()))
    }
}

impl Broadcaster {
    /// Starts the thread and lets it make an instance, which then waits for `Order::Begin`.
    pub fn create(shared: Shared) -> Result<Self, Fault> {
        let shared = Arc::new(shared);
        let (created, answer) = mpsc::sync_channel(1);
        let own = shared.clone();
        let name = thread_name(&shared.desk.name);
        let thread = thread::Builder::new().name(name).spawn(move || Runner::new(own).run(&created));
        let thread = thread.map_err(|error| bounded::no_thread(&error))?;
        let broadcaster = Self { shared, thread };
        let deadline = broadcaster.shared.timing.create;
        match answer.recv_timeout(deadline) {
            Ok(Ok(_)) => Ok(broadcaster),
            Ok(Err(fault)) => Err(fault),
            Err(_) => {
                broadcaster.abandon();
                Err(no_answer("create", deadline))
            }
        }
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Gives an order and waits for its answer, up to the deadline.
    pub fn ask(&self, order: Order, what: &str, deadline: Duration) -> Answer {
        let (answered, answer) = mpsc::sync_channel(1);
        self.shared.lock().orders.push_back((order, answered));
        self.shared.signal.raise(Wakes::CONTROL);
        match answer.recv_timeout(deadline) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(no_answer(what, deadline)),
            Err(RecvTimeoutError::Disconnected) => Err(fault(abi::E_CLOSED, "its thread has ended".to_owned())),
        }
    }

    /// Ends the instance, saving its state unless it was handed over. A thread that does not stop in time is left
    /// behind: it cannot be killed, but nothing that it does counts any more.
    pub fn stop(self) {
        let deadline = self.shared.timing.stop;
        match self.ask(Order::Stop, "stop", deadline) {
            Ok(_) => {
                let _a_panic_was_logged = self.thread.join();
            }
            Err(fault) => {
                tracing::error!(target: "broadcastd", broadcaster = %self.shared.desk.name, reason = fault.message, "did not stop; its thread is left behind");
                self.abandon();
            }
        }
    }

    /// Keeps one that does not answer from publishing while its successor is made ready.
    pub fn silence(&self) {
        let mut inner = self.shared.lock();
        inner.is_silenced = true;
        if let Some((port, _)) = &inner.port {
            port.set_gate(Gate::Quiet);
        }
    }

    /// A successor begins: from here on this one neither saves nor shows anything.
    pub fn step_down(&self) {
        self.shared.lock().tenure = Tenure::Replaced;
        let note = &self.shared.library.note;
        self.shared.metrics.replaced(&note.id, &note.version, &self.shared.library.sha256);
    }

    fn abandon(&self) {
        let mut inner = self.shared.lock();
        let was_present = inner.tenure == Tenure::Present;
        inner.phase = Phase::Stopped;
        let inputs = std::mem::take(&mut inner.inputs);
        let port = inner.port.take();
        self.shared.tell(&mut inner, None);
        inner.tenure = Tenure::Abandoned;
        drop(inner);
        drop(inputs);
        if let Some((port, handle)) = port {
            port.set_gate(Gate::Closed);
            handles::close(handle);
        }
        metrics::thread_abandoned(&self.shared.desk.name);
        self.shared.desk.counts.abandoned.fetch_add(1, Ordering::Relaxed);
        if was_present {
            self.shared.metrics.stopped();
        }
    }
}

pub fn fault(status: i32, message: String) -> Fault {
    Fault { status, pointer: String::new(), message }
}

/// What a thread that runs a plugin's code is called, as far as the system shows it.
pub fn thread_name(broadcaster: &str) -> String {
    let mut name = format!("p:{broadcaster}");
    name.truncate(THREAD_NAME);
    name
}

pub fn no_answer(what: &str, deadline: Duration) -> Fault {
    fault(
        abi::E_CLOSED,
        format!("the plugin did not return from {what} within {deadline:?}; it must not wait in a call"),
    )
}
