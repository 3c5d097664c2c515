//! What broadcasters ask of a stream: who wants it, their own records anew, and the inputs of those that listen.

use std::sync::Arc;

use super::Stream;
use crate::event::Position;
use crate::hub::inputs::{Batch, ListenerId};
use crate::hub::log::Log;
use crate::hub::pattern::Pattern;
use crate::hub::settings::Source;
use crate::hub::signal::{Signal, Wakes};

impl Stream {
    /// Subscriptions that an event of this topic (the part after the stream) reaches now; listeners count.
    pub fn demand(&self, part: &str) -> u64 {
        let inner = self.lock();
        let reached = if part.is_empty() {
            inner.interest.total()
        } else {
            inner.interest.reaching(&format!("{}:{part}", self.name))
        };
        reached + inner.inputs.listeners() as u64
    }

    /// Patterns whose number of subscriptions went from or to zero since the last call, with the number now.
    pub fn take_demand(&self) -> Vec<(Pattern, u64)> {
        let mut inner = self.lock();
        let changed = std::mem::take(&mut inner.demand_changed);
        changed.into_iter().map(|pattern| (pattern.clone(), inner.demand_of(&pattern))).collect()
    }

    /// The broadcaster that owns the stream runs, and is told of demand by this signal.
    pub fn set_owner(&self, owner: &Arc<Signal>) {
        let mut inner = self.lock();
        inner.owner = Some(owner.clone());
        inner.demand_changed = inner.interest.patterns().collect();
        if inner.inputs.has_listeners() {
            inner.demand_changed.insert(Pattern::whole(&self.name));
        }
        if !inner.demand_changed.is_empty() {
            owner.raise(Wakes::DEMAND);
        }
        inner.set_source(Source::Running);
    }

    pub fn set_source(&self, source: Source) {
        let mut inner = self.lock();
        if source != Source::Running {
            inner.owner = None;
        }
        inner.set_source(source);
    }

    /// From here until `end_records`, records gather apart and then replace the present ones in one step.
    pub fn begin_records(&self) {
        self.lock().logs.values_mut().for_each(Log::begin_records);
    }

    /// Whoever is subscribed is told when the set is another one than before.
    pub fn end_records(&self) {
        let mut inner = self.lock();
        let declared = inner.kinds.collections();
        inner.logs.values_mut().for_each(|log| log.end_records(&declared));
    }

    /// The broadcaster failed while it told its records: those from before stay.
    pub fn abandon_records(&self) {
        self.lock().logs.values_mut().for_each(Log::abandon_records);
    }

    /// Publishers that were refused try again.
    pub(in crate::hub) fn tell_writable(&self) {
        self.lock().inputs.tell_writable();
    }

    pub fn listen(&self, signal: Arc<Signal>, saved: Option<&Position>) -> ListenerId {
        let mut inner = self.lock();
        inner.change_demand(&Pattern::whole(&self.name), |inner| inner.inputs.add(signal, saved, &self.epoch))
    }

    pub fn unlisten(&self, listener: ListenerId) {
        let mut inner = self.lock();
        inner.change_demand(&Pattern::whole(&self.name), |inner| inner.inputs.remove(listener));
    }

    pub fn read_inputs(&self, listener: ListenerId, max: usize) -> Batch {
        self.lock().inputs.read(listener, max)
    }

    /// The number up to which a listener was handed its inputs: where it stands before the first one, too.
    pub fn inputs_read_up_to(&self, listener: ListenerId) -> u64 {
        self.lock().inputs.read_up_to(listener)
    }

    /// The newest input of this life of a stream that an event here was published for.
    pub fn newest_cause(&self, stream: &str, epoch: &str) -> u64 {
        self.lock().repeats.newest_input(stream, epoch)
    }

    /// The newest input that there is for listeners.
    pub fn newest_input(&self) -> u64 {
        self.lock().inputs.newest()
    }

    /// Takes no more events; where its inputs end.
    pub fn end(&self) -> Position {
        let mut inner = self.lock();
        inner.is_ended = true;
        Position { epoch: self.epoch.clone(), seq: inner.inputs.newest() }
    }

    pub fn saved_inputs(&self, listener: ListenerId, number: u64) {
        self.lock().inputs.saved(listener, number);
    }

    pub fn rewind_inputs(&self, listener: ListenerId) {
        self.lock().inputs.rewind(listener);
    }
}
