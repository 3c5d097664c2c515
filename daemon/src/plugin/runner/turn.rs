//! One turn of a broadcaster's thread: what there is to tell is told, what was handled is kept.

use std::sync::atomic::Ordering;
use std::time::Duration;

use broadcastd_plugin_api::abi;

use super::{Runner, Since};
use crate::hub::signal::Wakes;
use crate::metrics::labels::Call;
use crate::plugin::broadcaster::{Phase, Tenure, fault};
use crate::plugin::due::{self, MAX_BATCH};
use crate::plugin::inputs::Inputs;
use crate::plugin::library::Instance;
use crate::plugin::port::{Fault, Gate};
use crate::plugin::saved::{Checkpoint, State};
use crate::plugin::timing::nanos;
use crate::plugin::told::{Moment, Told};

impl Runner {
    pub(super) fn turn(&mut self) -> Result<(), Fault> {
        let wakes = std::mem::take(&mut self.pending);
        let told = self.gather(wakes);
        if !told.is_empty() {
            self.handle(&told)?;
            if self.tenure() == Tenure::Abandoned {
                return Ok(()); // what it did no longer counts, so it must not be saved
            }
        }
        self.keep()
    }

    pub(super) fn handle(&mut self, told: &[Told]) -> Result<(), Fault> {
        self.tell(told)?;
        self.since.inputs += self.with_inputs(|inputs| inputs.handled(told));
        self.since.told = true;
        Ok(())
    }

    /// What there is to tell now, in an order that lets a broadcaster make room before it is fed.
    pub(super) fn gather(&mut self, wakes: Wakes) -> Vec<Told> {
        let linger = self.shared.timing.demand_linger;
        let mut told = due::gather(&self.port, &mut self.demand, wakes, linger);
        if wakes.has(Wakes::COMMAND) {
            told.extend(self.commands());
        }
        self.more |= wakes.has(Wakes::INPUT) || wakes.has(Wakes::WRITABLE);
        if self.more && !self.port.is_blocked() {
            let room = MAX_BATCH.saturating_sub(told.len()).max(1);
            self.more = self.with_inputs(|inputs| inputs.read(room, &mut told));
        }
        told
    }

    /// What is asked of it, unless somebody else may be asked soon: then it is looked up again when that is decided.
    fn commands(&mut self) -> Vec<Told> {
        if self.port.gate() == Gate::Open {
            return self.port.take_commands().into_iter().map(Told::Command).collect();
        }
        self.pending = self.pending | Wakes::COMMAND;
        Vec::new()
    }

    pub(super) fn tell(&mut self, told: &[Told]) -> Result<(), Fault> {
        let clock = &self.shared.desk.clock;
        let at = Moment { mono_ns: clock.mono_ns(), unix_ns: clock.unix_ns() };
        let mut rest = told;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(rest.len().min(MAX_BATCH));
            let events: Vec<abi::Event<'_>> = batch.iter().map(|one| one.event(at)).collect();
            self.call(Call::OnEvents, |instance| instance.on_events(&events))?;
            rest = after;
        }
        Ok(())
    }

    /// Checkpoint and file, when they are due.
    pub(super) fn keep(&mut self) -> Result<(), Fault> {
        let now = self.now();
        let timing = self.shared.timing;
        let is_due = self.since.inputs >= timing.checkpoint_inputs
            || self.since.told && now - self.since.checkpoint_at >= nanos(timing.checkpoint_every);
        if is_due {
            self.checkpoint()?;
        }
        self.keep_file();
        Ok(())
    }

    pub(super) fn checkpoint(&mut self) -> Result<(), Fault> {
        let state = self.save_state()?;
        let positions = self.with_inputs(|inputs| inputs.positions());
        self.shared.lock().checkpoint = Checkpoint { state, positions };
        self.with_inputs(|inputs| inputs.saved());
        let now = self.now();
        self.since = Since { checkpoint_at: now, unsaved: true, file_at: self.since.file_at, ..Since::default() };
        self.shared.metrics.skipped(self.shared.desk.counts.skipped.load(Ordering::Relaxed));
        Ok(())
    }

    pub(super) fn save_state(&mut self) -> Result<Option<State>, Fault> {
        let version = self.shared.library.facts.state_version;
        self.port.forget_fault();
        let saved = self.timed(Call::SaveState, |runner| runner.instance.as_mut().map(Instance::save_state));
        match saved {
            Some(Ok(bytes)) => Ok(bytes.map(|bytes| State { version, bytes: bytes.into() })),
            Some(Err(status)) => Err(self.port.take_fault(status, Call::SaveState.text())),
            None => Err(fault(abi::E_CLOSED, "there is no instance".to_owned())),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<i64> {
        let timing = &self.shared.timing;
        let inner = self.shared.lock();
        let (phase, is_in_office) = (inner.phase, inner.check_office().is_ok());
        drop(inner);
        match phase {
            Phase::BackingOff => return self.again_at.filter(|_| is_in_office), // else an order comes first
            Phase::Running => {}
            _ => return None,
        }
        if self.more && !self.port.is_blocked() {
            return Some(0);
        }
        let checkpoint =
            self.since.told.then(|| self.since.checkpoint_at.saturating_add(nanos(timing.checkpoint_every)));
        let can_write = self.since.unsaved && self.writing.is_none();
        let file = can_write.then(|| self.since.file_at.saturating_add(nanos(timing.save_every)));
        [self.port.next_timer(), self.demand.next_end(), checkpoint, file].into_iter().flatten().min()
    }

    /// One call into the instance, with its reason when it fails.
    pub(super) fn call(&mut self, kind: Call, call: impl FnOnce(&mut Instance) -> i32) -> Result<(), Fault> {
        self.port.forget_fault();
        let status = self.timed(kind, |runner| runner.instance.as_mut().map_or(abi::E_CLOSED, call));
        if status == abi::OK { Ok(()) } else { Err(self.port.take_fault(status, kind.text())) }
    }

    pub(super) fn timed<T>(&mut self, kind: Call, call: impl FnOnce(&mut Self) -> T) -> T {
        let began = self.now();
        self.port.set_called_at(Some(began));
        let result = call(self);
        self.port.set_called_at(None);
        let took = Duration::from_nanos(u64::try_from(self.now() - began).unwrap_or(0));
        match self.tenure() {
            Tenure::Waiting => self.early.push((kind, took)),
            _ => self.count_call(kind, took),
        }
        if took > self.shared.timing.slow_call {
            self.port.log(
                abi::LOG_WARN,
                "",
                &format!("{} took {took:?}; work that waits belongs to a worker", kind.text()),
            );
        }
        result
    }

    /// What it did until now counts from here on: one that never begins leaves nothing where operators look.
    pub(super) fn show(&mut self) {
        self.port.show_metrics();
        self.shared.metrics.begin();
        for (kind, took) in std::mem::take(&mut self.early) {
            self.count_call(kind, took);
        }
    }

    fn count_call(&mut self, kind: Call, took: Duration) {
        let metrics = &self.shared.metrics;
        self.calls.entry(kind).or_insert_with(|| metrics.calls(kind)).record(took);
        if took > self.shared.timing.slow_call {
            metrics.slow_call(kind);
        }
    }

    /// The inputs are taken out for as long as they are used, so that a stream's lock is never taken under ours. Whoever
    /// was abandoned meanwhile gets them back no more.
    pub(super) fn with_inputs<T>(&self, with: impl FnOnce(&mut Inputs) -> T) -> T {
        let mut inputs = std::mem::take(&mut self.shared.lock().inputs);
        let result = with(&mut inputs);
        let mut inner = self.shared.lock();
        if inner.tenure != Tenure::Abandoned {
            std::mem::swap(&mut inner.inputs, &mut inputs);
        }
        drop(inner);
        result
    }
}
