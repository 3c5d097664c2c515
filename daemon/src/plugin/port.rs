//! The daemon's side of one plugin instance: what its calls arrive at. Everything here may be called from any thread.

mod commands;
mod figures;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::{self, ThreadId};

use broadcastd_plugin_api::abi::{self, Msg, Status};
use serde::{Deserialize, Serialize};

use super::declared::Declared;
use super::declared::cell::Cell;
use super::message;
use super::timers::Timers;
use super::timing::Clock;
use super::voice::Voice;
use crate::event::Flags;
use crate::hub::Refused;
use crate::hub::commands::Seat;
use crate::hub::signal::{Signal, Wakes};
use crate::hub::stream::Stream;

/// What a broadcaster's instances have in common, through restarts.
pub struct Desk {
    pub name: Arc<str>,
    /// The stream it publishes to, once it is declared; never for a notifier.
    pub stream: OnceLock<Arc<Stream>>,
    pub clock: Arc<dyn Clock>,
    pub voice: Voice,
    pub declared: Arc<Declared>,
    pub counts: Arc<Counts>,
}

/// What a broadcaster did since it was first started.
#[derive(Debug, Default)]
pub struct Counts {
    /// Accepted, to be delivered.
    pub published: AtomicU64,
    /// Accepted as records only: nobody listened.
    pub skipped: AtomicU64,
    /// Not accepted because something was wrong with it.
    pub refused: AtomicU64,
    /// Threads that did not stop in time and were left behind.
    pub abandoned: AtomicU64,
}

/// Why a call into the plugin failed, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub status: Status,
    /// JSON pointer into the settings, or empty.
    pub pointer: String,
    pub message: String,
}

/// What the plugin says of its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Ok,
    Degraded(String),
}

/// Whether an instance may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Gate {
    Open,
    /// It has not begun, or its state is being handed over: what it published now would be lost with it.
    Quiet,
    /// It was replaced, stopped or abandoned.
    Closed,
}

/// The longest text that a plugin may give as a reason: it stands in logs, status and errors.
const MAX_REASON: usize = 4 << 10;
/// Reasons that one call may give. A file with more mistakes is best corrected step by step.
const MAX_FAULTS: usize = 100;
/// No time that a clock shows.
const NO_CALL: i64 = i64::MIN;

pub struct Port {
    desk: Arc<Desk>,
    signal: Arc<Signal>,
    /// The instance's own thread, the only one that waits for room by not reading inputs.
    home: OnceLock<ThreadId>,
    gate: AtomicU8,
    blocked: AtomicBool,
    /// A publish was put off because the gate was quiet.
    owes_writable: AtomicBool,
    telling_records: AtomicBool,
    /// When the present call into the plugin began, or `NO_CALL`.
    called_at: AtomicI64,
    faults: Mutex<Vec<Fault>>,
    timers: Mutex<Timers>,
    health: Mutex<Health>,
    metrics: RwLock<Vec<Arc<Cell>>>,
    /// Where they are opened until it begins.
    apart: Mutex<Option<figures::Apart>>,
    has_told_beyond: AtomicBool,
    /// Why an event was not taken last.
    refusal: Mutex<Option<String>>,
    /// Where it answers commands, once it has begun.
    seat: OnceLock<Seat>,
}

impl Port {
    pub fn new(desk: Arc<Desk>, signal: Arc<Signal>) -> Arc<Self> {
        Arc::new(Self {
            desk,
            signal,
            home: OnceLock::new(),
            gate: AtomicU8::new(Gate::Quiet as u8),
            blocked: AtomicBool::new(false),
            owes_writable: AtomicBool::new(false),
            telling_records: AtomicBool::new(false),
            called_at: AtomicI64::new(NO_CALL),
            faults: Mutex::default(),
            timers: Mutex::default(),
            health: Mutex::new(Health::Ok),
            metrics: RwLock::default(),
            apart: Mutex::default(),
            has_told_beyond: AtomicBool::new(false),
            refusal: Mutex::default(),
            seat: OnceLock::new(),
        })
    }

    /// For calls outside of any instance: loading a library and checking settings. It logs and takes failures.
    pub fn detached(name: &str) -> Arc<Self> {
        let desk = Desk {
            name: name.into(),
            stream: OnceLock::new(),
            clock: Arc::new(super::timing::SystemClock::default()),
            voice: Voice::new(name),
            declared: Arc::default(),
            counts: Arc::default(),
        };
        Self::new(Arc::new(desk), Arc::default())
    }

    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    pub fn set_home(&self) {
        self.home.get_or_init(|| thread::current().id());
    }

    /// Takes messages until one is not accepted. The answer is the header's: how many were, or why the first was not.
    pub fn publish<'a>(&self, messages: impl Iterator<Item = Result<Msg<'a>, String>>) -> i64 {
        let mut accepted = 0;
        for message in messages {
            match self.publish_one(message) {
                Ok(()) => accepted += 1,
                Err(status) if accepted == 0 => return i64::from(status),
                Err(_) => return accepted,
            }
        }
        accepted
    }

    fn publish_one(&self, message: Result<Msg<'_>, String>) -> Result<(), Status> {
        match self.gate() {
            Gate::Open => {}
            Gate::Quiet => return Err(self.put_off()),
            Gate::Closed => return Err(abi::E_CLOSED),
        }
        let Some(stream) = self.desk.stream.get() else { return Err(abi::E_UNSUPPORTED) };
        let message = message.map_err(|reason| self.refuse(abi::E_INVALID, &reason))?;
        let draft = message::check(&message).map_err(|bad| self.refuse(abi::E_INVALID, &bad.0))?;
        match stream.publish(&draft, Some(&self.signal)) {
            Ok(_) => {
                self.count(draft.flags);
                Ok(())
            }
            // It goes on reading its inputs: that is how memory is let go.
            Err(Refused::NoMemory) => Err(abi::E_AGAIN),
            Err(Refused::Full) => {
                let at_home = self.home.get().is_some_and(|home| *home == thread::current().id());
                self.blocked.fetch_or(at_home, Ordering::Relaxed);
                Err(abi::E_AGAIN)
            }
            Err(Refused::Removed | Refused::Ended) => Err(abi::E_CLOSED),
            Err(
                refused @ (Refused::BadTopic(_) | Refused::BadKind(_) | Refused::NotPrivate | Refused::OldCause(_)),
            ) => Err(self.refuse(abi::E_INVALID, &refused.to_string())),
            Err(refused) => Err(self.refuse(abi::E_LIMIT, &refused.to_string())),
        }
    }

    /// Owes the publisher a word when the gate opens. It may have opened since it was looked at: then nobody else sees
    /// what is owed. Both sides write before they read, in one order for all, so that one of them sees the other.
    fn put_off(&self) -> Status {
        self.owes_writable.store(true, Ordering::SeqCst);
        if self.gate() == Gate::Open {
            self.pay_writable();
        }
        abi::E_AGAIN
    }

    fn pay_writable(&self) {
        if self.owes_writable.swap(false, Ordering::SeqCst) {
            self.signal.raise(Wakes::WRITABLE);
        }
    }

    fn count(&self, flags: Flags) {
        if !flags.has(Flags::RECORD_ONLY) {
            self.desk.counts.published.fetch_add(1, Ordering::Relaxed);
        } else if !self.telling_records.load(Ordering::Relaxed) {
            self.desk.counts.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts and logs what was wrong with an event, and passes the status on.
    pub fn refuse(&self, status: Status, reason: &str) -> Status {
        self.desk.counts.refused.fetch_add(1, Ordering::Relaxed);
        self.log(abi::LOG_ERROR, "publish", &format!("an event was not taken: {reason}"));
        *lock(&self.refusal) = Some(reason.to_owned());
        status
    }

    /// Why an event was not taken last, if one was not.
    pub fn last_refusal(&self) -> Option<String> {
        lock(&self.refusal).clone()
    }

    pub fn demand(&self, topic: &str) -> i64 {
        match self.desk.stream.get() {
            Some(stream) => i64::try_from(stream.demand(topic)).unwrap_or(i64::MAX),
            None => 0,
        }
    }

    pub fn log(&self, level: u32, target: &str, message: &str) {
        self.desk.voice.say(level, target, message, self.desk.clock.mono_ns());
    }

    pub fn log_level(&self) -> u32 {
        self.desk.voice.level()
    }

    /// The plugin says why the call that is about to return fails.
    pub fn fail(&self, status: Status, pointer: &str, message: &str) {
        let short = |text: &str| text[..text.floor_char_boundary(MAX_REASON)].to_owned();
        let mut faults = lock(&self.faults);
        if faults.len() < MAX_FAULTS {
            faults.push(Fault { status, pointer: short(pointer), message: short(message) });
        }
    }

    /// What was said to be odd in a call that went well.
    pub fn take_warnings(&self) -> Vec<Fault> {
        lock(&self.faults).drain(..).filter(|said| said.status == abi::OK).collect()
    }

    /// Every reason of the call that returned `status`, at least one. What is odd beside it waits until that is mended.
    pub fn take_faults(&self, status: Status, call: &str) -> Vec<Fault> {
        let mut said = std::mem::take(&mut *lock(&self.faults));
        said.retain(|fault| fault.status != abi::OK);
        said.iter_mut().for_each(|fault| fault.status = status);
        if !said.is_empty() {
            return said;
        }
        let message = format!("{call} answered {status} and gave no reason");
        vec![Fault { status, pointer: String::new(), message }]
    }

    /// The reason of the call that returned `status`: what was said first.
    pub fn take_fault(&self, status: Status, call: &str) -> Fault {
        self.take_faults(status, call).swap_remove(0)
    }

    /// What was said first since the last call, if anything.
    pub fn said_fault(&self) -> Option<Fault> {
        lock(&self.faults).drain(..).next()
    }

    pub fn forget_fault(&self) {
        lock(&self.faults).clear();
    }

    pub fn timer_set(&self, id: u64, delay_ns: i64, interval_ns: i64) -> Status {
        if delay_ns < 0 || interval_ns < 0 {
            return abi::E_INVALID;
        }
        let due = self.desk.clock.mono_ns().saturating_add(delay_ns);
        let set = lock(&self.timers).set(id, due, interval_ns);
        self.signal.raise(Wakes::CONTROL); // another thread may have set it, and its own one sleeps until the next
        set.map_or(abi::E_LIMIT, |()| abi::OK)
    }

    pub fn timer_clear(&self, id: u64) -> Status {
        lock(&self.timers).clear(id);
        abi::OK
    }

    pub fn take_due_timer(&self, now: i64) -> Option<u64> {
        lock(&self.timers).take_due(now)
    }

    pub fn next_timer(&self) -> Option<i64> {
        lock(&self.timers).next_due()
    }

    pub fn wake(&self) -> Status {
        self.signal.raise(Wakes::WAKE);
        abi::OK
    }

    pub fn set_health(&self, health: u32, reason: &str) {
        let reason = reason[..reason.floor_char_boundary(MAX_REASON)].to_owned();
        *lock(&self.health) = if health == abi::HEALTH_OK { Health::Ok } else { Health::Degraded(reason) };
    }

    pub fn health(&self) -> Health {
        lock(&self.health).clone()
    }

    pub fn gate(&self) -> Gate {
        match self.gate.load(Ordering::SeqCst) {
            0 => Gate::Open,
            1 => Gate::Quiet,
            _ => Gate::Closed,
        }
    }

    /// A closed gate never opens again.
    pub fn set_gate(&self, gate: Gate) {
        self.gate.fetch_max(gate as u8, Ordering::AcqRel);
        if gate == Gate::Open {
            let _closed_stays =
                self.gate.compare_exchange(Gate::Quiet as u8, Gate::Open as u8, Ordering::SeqCst, Ordering::SeqCst);
            self.pay_writable();
        }
        if gate == Gate::Closed {
            self.leave_office();
        }
    }

    /// A publish on the instance's own thread met a full stream, and no room was told since.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    pub fn unblock(&self) {
        self.blocked.store(false, Ordering::Relaxed);
    }

    pub fn set_telling_records(&self, telling: Telling) {
        self.telling_records.store(telling == Telling::Records, Ordering::Relaxed);
    }

    /// A call into the plugin begins, or has ended.
    pub fn set_called_at(&self, mono_ns: Option<i64>) {
        self.called_at.store(mono_ns.unwrap_or(NO_CALL), Ordering::Relaxed);
    }

    /// When the call that still runs began.
    pub fn called_at(&self) -> Option<i64> {
        Some(self.called_at.load(Ordering::Relaxed)).filter(|at| *at != NO_CALL)
    }
}

/// What an instance publishes at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    Events,
    Records,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_at_its_bound_between_letters() {
        let port = Port::detached("talks");
        let (fits, longer) = ("å".repeat(MAX_REASON / 2), format!("x{}", "å".repeat(MAX_REASON / 2)));
        port.fail(abi::E_FAILED, &fits, &longer);
        (0..=MAX_FAULTS).for_each(|_| port.fail(abi::E_FAILED, "", "another"));
        let faults = port.take_faults(abi::E_INVALID, "it");
        assert_eq!((faults.len(), faults[1].message.as_str()), (MAX_FAULTS, "another"));
        assert!(faults.iter().all(|fault| fault.status == abi::E_INVALID), "the call says which");
        let fault = &faults[0];
        assert_eq!((fault.pointer.len(), fault.message.len()), (MAX_REASON, MAX_REASON - 1));
        for (reason, kept) in [(&fits, MAX_REASON), (&longer, MAX_REASON - 1)] {
            port.set_health(abi::HEALTH_DEGRADED, reason);
            assert!(matches!(port.health(), Health::Degraded(reason) if reason.len() == kept));
        }
    }

    #[test]
    fn whoever_was_put_off_at_the_quiet_gate_is_told_when_it_is_open() {
        let port = Port::detached("waits");
        assert_eq!(port.put_off(), abi::E_AGAIN);
        assert!(!port.signal.take().has(Wakes::WRITABLE), "the gate is still quiet");
        port.set_gate(Gate::Open);
        assert!(port.signal.take().has(Wakes::WRITABLE));
        assert_eq!(port.put_off(), abi::E_AGAIN, "it saw the gate quiet before it was opened");
        assert!(port.signal.take().has(Wakes::WRITABLE));
        port.set_gate(Gate::Open);
        assert!(!port.signal.take().has(Wakes::WRITABLE), "once told is enough");
    }
}
