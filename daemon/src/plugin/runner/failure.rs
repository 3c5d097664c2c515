//! What follows when a broadcaster fails: it is told, and started again or left alone.

use broadcastd_plugin_api::abi;

use super::Runner;
use crate::hub::settings::Source;
use crate::metrics::labels::Failure;
use crate::plugin::broadcaster::{Phase, Tenure};
use crate::plugin::port::{Fault, Gate};
use crate::plugin::restart::Verdict;

impl Runner {
    pub(super) fn failed(&mut self, fault: &Fault) {
        self.port.set_gate(Gate::Closed);
        self.shared.lock().failures += 1;
        self.report(fault);
        self.settle();
        self.destroy(); // last, since it may hang
    }

    /// Decides when it is started again, and tells who waits for its events: not what went wrong, which may name what is
    /// nobody's business but the operator's.
    fn settle(&mut self) {
        if self.tenure() != Tenure::Present {
            self.shared.set_phase(Phase::Quarantined);
            return;
        }
        self.shared.metrics.stopped();
        let policy = self.shared.lock().restart;
        let now = self.now();
        let verdict = self.failures.count(&policy, now, fastrand::f64());
        let mut next = self.failures.told(&policy, verdict, &self.shared.library.note.version);
        let mut inner = self.shared.lock();
        if inner.probation_until.is_some() {
            next += "; it is on probation, and the file before comes back first";
        }
        inner.next = Some(next.clone());
        drop(inner);
        let broadcaster = &*self.shared.desk.name;
        let why = match verdict {
            Verdict::AgainAt(at) => {
                tracing::warn!(broadcaster, pause_ms = (at - now) / 1_000_000, "{next}");
                self.again_at = Some(at);
                self.shared.set_phase(Phase::BackingOff);
                "starts again after a failure".to_owned()
            }
            Verdict::Quarantine => {
                self.again_at = None;
                self.shared.set_phase(Phase::Quarantined);
                let inputs = std::mem::take(&mut self.shared.lock().inputs);
                drop(inputs); // a stream does not keep its events for somebody who may never come back
                let (max, within) = (policy.max, policy.within);
                tracing::error!(broadcaster, "quarantined; correct it and reload: {next}");
                format!("quarantined after {max} failures in {within:?}")
            }
        };
        if let Some(stream) = self.shared.desk.stream.get() {
            stream.set_source(Source::Absent(why.into()));
        }
    }

    pub(super) fn report(&self, fault: &Fault) {
        let reason = if fault.status == abi::E_PANIC { Failure::Panic } else { Failure::Failed };
        let place = if fault.pointer.is_empty() { String::new() } else { format!(" (at {})", fault.pointer) };
        self.shared.tell_failure(reason, &format!("{}{place}", fault.message));
    }
}
