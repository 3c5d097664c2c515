//! A stream as its listeners see it, which are broadcasters: inputs from where they saved, and causes.

use std::sync::Arc;

use super::Stream;
use crate::event::Position;
use crate::hub::inputs::{Batch, ListenerId};
use crate::hub::pattern::Pattern;
use crate::hub::signal::Signal;

impl Stream {
    pub fn listen(&self, signal: Arc<Signal>, saved: Option<&Position>) -> ListenerId {
        let mut inner = self.lock();
        let id = inner.inputs.add(signal, saved, &self.epoch);
        inner.demand_changes(&Pattern::whole(&self.name));
        id
    }

    pub fn unlisten(&self, listener: ListenerId) {
        let mut inner = self.lock();
        inner.inputs.remove(listener);
        inner.demand_changes(&Pattern::whole(&self.name));
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

    pub fn saved_inputs(&self, listener: ListenerId, number: u64) {
        self.lock().inputs.saved(listener, number);
    }

    pub fn rewind_inputs(&self, listener: ListenerId) {
        self.lock().inputs.rewind(listener);
    }
}
