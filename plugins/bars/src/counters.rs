//! The figures that a bars broadcaster shows of itself.

use metrics::{Counter, counter, describe_counter};

use crate::feed::Counts;
use crate::tick::Reject;

/// What came in.
pub struct Inputs {
    /// What the feed had counted when it was looked at last.
    seen: Counts,
    taken: Counter,
    /// In the order of [`Reject::ALL`].
    rejected: [Counter; Reject::ALL.len()],
    amended: Counter,
    too_late: Counter,
    pub malformed: Counter,
    pub ignored: Counter,
    pub gaps: Counter,
    pub bad_lines: Counter,
}

/// What went out.
pub struct Outputs {
    pub closed: Counter,
    pub sent: Counter,
    pub skipped: Counter,
    pub errors: Counter,
}

impl Inputs {
    pub fn new() -> Self {
        describe_counter!("ticks_total", "Trades that bars were made of.");
        describe_counter!("ticks_rejected_total", "Trades that were refused, by the rule that they break.");
        describe_counter!("bars_amended_total", "Closed bars that late trades have changed.");
        describe_counter!("late_ticks_total", "Trades that came too late for a bar; each bar they miss counts.");
        describe_counter!("inputs_ignored_total", "Inputs that are no business of the source.");
        describe_counter!("input_gaps_total", "Times that inputs were gone before they were read.");
        describe_counter!("replay_lines_skipped_total", "Lines of the replayed file that are no trades.");
        let rejected = |reason: &'static str| counter!("ticks_rejected_total", "reason" => reason);
        Self {
            seen: Counts::default(),
            taken: counter!("ticks_total"),
            rejected: Reject::ALL.map(|reject| rejected(reject.label())),
            amended: counter!("bars_amended_total"),
            too_late: counter!("late_ticks_total"),
            malformed: rejected("malformed"),
            ignored: counter!("inputs_ignored_total"),
            gaps: counter!("input_gaps_total"),
            bad_lines: counter!("replay_lines_skipped_total"),
        }
    }

    /// Shows what the feed has counted since the last call.
    pub fn follow(&mut self, counts: &Counts) {
        let seen = std::mem::replace(&mut self.seen, *counts);
        tell(&self.taken, seen.taken, counts.taken);
        tell(&self.amended, seen.amended, counts.amended);
        tell(&self.too_late, seen.too_late, counts.too_late);
        for (counter, (seen, now)) in self.rejected.iter().zip(seen.rejected.iter().zip(counts.rejected)) {
            tell(counter, *seen, now);
        }
    }

    /// A new feed counts from zero.
    pub fn start_over(&mut self) {
        self.seen = Counts::default();
    }
}

impl Outputs {
    pub fn new() -> Self {
        describe_counter!("bars_closed_total", "Bars that were closed.");
        describe_counter!("broadcasts_sent_total", "Updates of bars that were published for somebody.");
        describe_counter!("broadcasts_skipped_total", "Updates of bars that nobody listened to.");
        describe_counter!("publish_errors_total", "Updates of bars that the daemon refused for good.");
        Self {
            closed: counter!("bars_closed_total"),
            sent: counter!("broadcasts_sent_total"),
            skipped: counter!("broadcasts_skipped_total"),
            errors: counter!("publish_errors_total"),
        }
    }
}

/// Most figures stand still from one trade to the next, and a call over the border is not free.
fn tell(counter: &Counter, seen: u64, now: u64) {
    if now > seen {
        counter.increment(now - seen);
    }
}
