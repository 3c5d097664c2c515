//! Who is told of a log's events: one place to offer to per shard that has a subscriber, never one per client.

use std::sync::Arc;

use super::interest::Interest;
use super::pattern::Pattern;
use super::records::Snapshot;
use super::settings::Source;
use crate::event::{Event, LogId};

/// A place to offer an event to. A shard is one.
pub trait Outlet: Send + Sync {
    /// Unique among all outlets of the process.
    fn id(&self) -> u64;

    /// Takes the event, or refuses because too much waits already; then the outlet comes back for it with
    /// `Stream::catch_up`. Never waits.
    fn offer(&self, event: &Arc<Event>) -> Result<(), Full>;

    /// Tells that other records were put in the place of the log's, by the change that has the number `seq`. Never
    /// waits, never refuses.
    fn records_replaced(&self, log: LogId, seq: u64, records: &Snapshot);

    /// Tells that the log's source changed behind the number `seq`: it came, went, or the stream itself is gone. Never
    /// waits, never refuses.
    fn source_changed(&self, log: LogId, seq: u64, source: &Source);
}

/// The outlet has as many bytes waiting as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Default)]
pub struct Targets(Vec<Target>);

struct Target {
    outlet: Arc<dyn Outlet>,
    interest: Interest,
    /// The outlet was full: it has what it wants up to and including this number, and re-reads the history from there.
    behind: Option<u64>,
}

impl Targets {
    pub fn subscribe(&mut self, outlet: &Arc<dyn Outlet>, patterns: &[Pattern]) {
        let target = match self.0.iter().position(|target| target.outlet.id() == outlet.id()) {
            Some(index) => &mut self.0[index],
            None => {
                let target = Target { outlet: outlet.clone(), interest: Interest::default(), behind: None };
                self.0.push_mut(target)
            }
        };
        for pattern in patterns {
            target.interest.add(pattern);
        }
    }

    pub fn unsubscribe(&mut self, outlet: u64, patterns: &[Pattern]) {
        let Some(index) = self.0.iter().position(|target| target.outlet.id() == outlet) else { return };
        for pattern in patterns {
            self.0[index].interest.remove(pattern);
        }
        if self.0[index].interest.total() == 0 {
            self.0.swap_remove(index);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn subscriptions(&self) -> u64 {
        self.0.iter().map(|target| target.interest.total()).sum()
    }

    pub fn deliver(&mut self, event: &Arc<Event>) {
        for target in &mut self.0 {
            if target.behind.is_some() || !target.interest.reaches(&event.topic) {
                continue;
            }
            if target.outlet.offer(event) == Err(Full) {
                target.behind = Some(event.seq - 1);
            }
        }
    }

    pub fn records_replaced(&self, log: LogId, seq: u64, records: &Snapshot) {
        for target in &self.0 {
            target.outlet.records_replaced(log, seq, records);
        }
    }

    pub fn source_changed(&self, log: LogId, seq: u64, source: &Source) {
        for target in &self.0 {
            target.outlet.source_changed(log, seq, source);
        }
    }

    /// Where an outlet that was full stopped, if it is behind.
    pub fn behind(&self, outlet: u64) -> Option<u64> {
        self.0.iter().find(|target| target.outlet.id() == outlet)?.behind
    }

    /// The outlet has what it missed up to and including `seq`; with nothing left to catch up it is offered to again.
    pub fn caught_up(&mut self, outlet: u64, seq: u64, newest: u64) {
        if let Some(target) = self.0.iter_mut().find(|target| target.outlet.id() == outlet) {
            target.behind = (seq < newest).then_some(seq);
        }
    }
}
