//! The events a log still has, oldest first, bounded by number, bytes and age.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::Event;

/// What a log keeps for clients that come back. All three bounds hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub events: usize,
    pub bytes: usize,
    pub age: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { events: 1000, bytes: 16 << 20, age: Duration::from_secs(300) }
    }
}

#[derive(Debug, Default)]
pub struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

impl History {
    pub fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.weight();
        self.events.push_back(event);
    }

    /// Takes out the oldest event while one of the bounds is exceeded; `None` when all of them hold.
    pub fn evict(&mut self, bounds: &Bounds, now: Instant) -> Option<Arc<Event>> {
        let oldest = self.events.front()?;
        let too_old = now.saturating_duration_since(oldest.published) > bounds.age;
        if !too_old && self.events.len() <= bounds.events && self.bytes <= bounds.bytes {
            return None;
        }
        let event = self.events.pop_front()?;
        self.bytes -= event.weight();
        Some(event)
    }

    /// The kept events with numbers above `seq`, oldest first.
    pub fn after(&self, seq: u64) -> impl Iterator<Item = &Arc<Event>> {
        let start = self.events.partition_point(|event| event.seq <= seq);
        self.events.range(start..)
    }

    /// The number of the oldest event.
    pub fn oldest(&self) -> Option<u64> {
        self.events.front().map(|event| event.seq)
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
