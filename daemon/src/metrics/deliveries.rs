//! What became of a stream's events on their way to connections of one dialect.

use metrics::{Counter, counter};

use super::labels::{Dialect, Resume};

/// Deliveries of one stream in one dialect.
pub struct Deliveries {
    delivered: Counter,
    untold: Counter,
    recovered: Counter,
    snapshots: Counter,
}

impl Deliveries {
    pub fn new(stream: &str, dialect: Dialect) -> Self {
        let resumes = |outcome: Resume| counter!("broadcastd_resumes_total", "stream" => stream.to_owned(), "outcome" => outcome.text());
        Self {
            delivered: counter!("broadcastd_deliveries_total", "stream" => stream.to_owned(), "dialect" => dialect.text()),
            untold: counter!("broadcastd_events_untold_total", "stream" => stream.to_owned(), "dialect" => dialect.text()),
            recovered: resumes(Resume::Recovered),
            snapshots: resumes(Resume::Snapshot),
        }
    }

    pub fn delivered(&self, events: u64) {
        self.delivered.increment(events);
    }

    /// Nobody of so many was told of an event: their dialect has no word for it.
    pub fn untold(&self, subscriptions: usize) {
        self.untold.increment(subscriptions as u64);
    }

    pub fn resumed_exactly(&self) {
        self.recovered.increment(1);
    }

    pub fn resumed_by_snapshot(&self) {
        self.snapshots.increment(1);
    }
}
