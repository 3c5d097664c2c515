//! What broadcasters that listen to a stream have not yet taken for good: kept until every saved position has passed.

use std::collections::VecDeque;
use std::sync::Arc;

use super::signal::{Signal, Wakes};
use crate::event::{Event, Position};

/// One listening broadcaster at one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(u64);

/// Events for a listener, with the number that positions and causes use.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Inputs from…to that are gone for good, told once and before anything newer.
    pub gap: Option<(u64, u64)>,
    pub events: Vec<Input>,
}

#[derive(Clone, Debug)]
pub struct Input {
    pub number: u64,
    pub event: Arc<Event>,
}

impl PartialEq for Input {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number && Arc::ptr_eq(&self.event, &other.event)
    }
}

impl Eq for Input {}

/// How far a listening broadcaster is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub name: Arc<str>,
    /// Inputs that wait to be handed to it.
    pub waiting: usize,
    /// Inputs that are kept until it has saved them.
    pub unsaved: usize,
}

#[derive(Debug)]
struct Listener {
    id: ListenerId,
    signal: Arc<Signal>,
    /// Handed to the broadcaster up to here.
    read: u64,
    /// Saved by the broadcaster up to here; what is above may be asked for again.
    saved: u64,
    /// What is gone for it. It is told with the next inputs, and again after a rewind, until that is saved.
    gap: Option<(u64, u64)>,
    gap_is_told: bool,
}

#[derive(Debug, Default)]
pub struct Inputs {
    kept: VecDeque<Input>,
    bytes: usize,
    listeners: Vec<Listener>,
    next_id: u64,
    newest: u64,
    /// The highest number that is no longer kept, or never was.
    gone: u64,
    /// Publishers that were refused because the buffer was full, told once when there is room again.
    refused: Vec<Arc<Signal>>,
}

impl Inputs {
    /// Adds a listener. It starts behind its saved position, or, without one, with what comes from now on. A position of
    /// another epoch, or one that the buffer no longer reaches, is answered by a gap, and what is kept follows; a gap that
    /// begins at 0 takes in what was left of the other epoch.
    pub fn add(&mut self, signal: Arc<Signal>, saved: Option<&Position>, epoch: &str) -> ListenerId {
        let id = ListenerId(self.next_id);
        self.next_id += 1;
        let (start, gap) = match saved {
            None => (self.newest, None),
            Some(position) if *position.epoch != *epoch => (self.gone, Some((0, self.gone))),
            Some(position) if position.seq < self.gone => (self.gone, Some((position.seq + 1, self.gone))),
            Some(position) => (position.seq.min(self.newest), None),
        };
        self.listeners.push(Listener { id, signal, read: start, saved: start, gap, gap_is_told: false });
        id
    }

    pub fn remove(&mut self, id: ListenerId) {
        self.listeners.retain(|listener| listener.id != id);
        self.trim();
    }

    pub fn has_listeners(&self) -> bool {
        !self.listeners.is_empty()
    }

    pub fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// How each listener stands.
    pub fn standings(&self) -> Vec<Standing> {
        let behind = |number: u64| self.kept.len() - self.kept.partition_point(|input| input.number <= number);
        let standing = |listener: &Listener| Standing {
            name: listener.signal.name().clone(),
            waiting: behind(listener.read),
            unsaved: behind(listener.saved),
        };
        self.listeners.iter().map(standing).collect()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Remembers whom to tell when there is room again.
    pub fn refuse(&mut self, publisher: &Arc<Signal>) {
        if !self.refused.iter().any(|known| Arc::ptr_eq(known, publisher)) {
            self.refused.push(publisher.clone());
        }
    }

    /// There may be room that there was not before: whoever was refused tries again.
    pub fn tell_writable(&mut self) {
        for publisher in self.refused.drain(..) {
            publisher.raise(Wakes::WRITABLE);
        }
    }

    pub fn push(&mut self, number: u64, event: &Arc<Event>) {
        self.newest = number;
        if self.listeners.is_empty() {
            self.gone = number;
            return;
        }
        self.bytes += event.weight();
        self.kept.push_back(Input { number, event: event.clone() });
        for listener in &self.listeners {
            listener.signal.raise(Wakes::INPUT);
        }
    }

    /// The next events for a listener, at most `max`.
    pub fn read(&mut self, id: ListenerId, max: usize) -> Batch {
        let Some(listener) = self.listeners.iter_mut().find(|listener| listener.id == id) else {
            return Batch::default();
        };
        let start = self.kept.partition_point(|input| input.number <= listener.read);
        let events: Vec<Input> = self.kept.range(start..).take(max).cloned().collect();
        if let Some(last) = events.last() {
            listener.read = last.number;
        }
        let gap = listener.gap.filter(|_| !listener.gap_is_told);
        listener.gap_is_told = true;
        Batch { gap, events }
    }

    /// The number up to which a listener was handed its inputs.
    pub fn read_up_to(&self, id: ListenerId) -> u64 {
        self.listeners.iter().find(|listener| listener.id == id).map_or(self.newest, |listener| listener.read)
    }

    /// The listener has saved everything up to and including `number`.
    pub fn saved(&mut self, id: ListenerId, number: u64) {
        if let Some(listener) = self.listeners.iter_mut().find(|listener| listener.id == id) {
            listener.saved = listener.saved.max(number);
            listener.gap = listener.gap.filter(|_| !listener.gap_is_told);
        }
        self.trim();
    }

    /// Sets a listener back to what it has saved, for a broadcaster that is started again.
    pub fn rewind(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.iter_mut().find(|listener| listener.id == id) {
            listener.read = listener.saved;
            listener.gap_is_told = false;
            listener.signal.raise(Wakes::INPUT);
        }
    }

    fn trim(&mut self) {
        let passed = self.listeners.iter().map(|listener| listener.saved).min().unwrap_or(u64::MAX);
        let before = self.bytes;
        while let Some(oldest) = self.kept.front()
            && oldest.number <= passed
        {
            self.gone = oldest.number;
            self.bytes -= oldest.event.weight();
            self.kept.pop_front();
        }
        if self.bytes < before {
            self.tell_writable();
        }
    }
}
