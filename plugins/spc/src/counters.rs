//! The figures that a broadcaster of control charts shows of itself.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use crate::book::Book;
use crate::characteristic::Outcome;
use crate::sample::Reject;

pub struct Counters {
    taken: Counter,
    missing: Counter,
    excluded: Counter,
    expired: Counter,
    pub ignored: Counter,
    pub gaps: Counter,
    pub acknowledged: Counter,
    pub recalculated: Counter,
    characteristics: Gauge,
    open: Gauge,
}

impl Counters {
    pub fn new() -> Self {
        describe_counter!("samples_total", "Samples that were taken.");
        describe_counter!("samples_missing_total", "Samples without a value; no run goes on behind them.");
        describe_counter!("samples_excluded_total", "Samples that the settings exclude.");
        describe_counter!("inputs_rejected_total", "Inputs that were refused, by the rule that they break.");
        describe_counter!("inputs_ignored_total", "Inputs of other kinds than sample and recalculate.");
        describe_counter!("input_gaps_total", "Times that inputs were gone before they were read.");
        describe_counter!("violations_total", "Violations, by the number of their rule.");
        describe_counter!("violations_expired_total", "Violations that gave way to newer ones, unacknowledged.");
        describe_counter!("violations_acknowledged_total", "Violations that were acknowledged.");
        describe_counter!("limits_recalculated_total", "Times that limits were computed anew because somebody asked.");
        describe_gauge!("characteristics", "Characteristics that are watched.");
        describe_gauge!("violations_open", "Violations that wait to be acknowledged.");
        Self {
            taken: counter!("samples_total"),
            missing: counter!("samples_missing_total"),
            excluded: counter!("samples_excluded_total"),
            expired: counter!("violations_expired_total"),
            ignored: counter!("inputs_ignored_total"),
            gaps: counter!("input_gaps_total"),
            acknowledged: counter!("violations_acknowledged_total"),
            recalculated: counter!("limits_recalculated_total"),
            characteristics: gauge!("characteristics"),
            open: gauge!("violations_open"),
        }
    }

    pub fn count(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Missing => self.missing.increment(1),
            Outcome::Excluded => self.excluded.increment(1),
            Outcome::Taken { violated, expired } => {
                self.taken.increment(1);
                for rule in violated {
                    counter!("violations_total", "rule" => rule.to_string()).increment(1);
                }
                if *expired > 0 {
                    self.expired.increment(*expired as u64);
                }
            }
        }
    }

    pub fn reject(&self, reject: Reject) {
        counter!("inputs_rejected_total", "reason" => reject.reason().0).increment(1);
    }

    /// How things are; looked at after violations have come or gone, not with each sample.
    pub fn show(&self, book: &Book) {
        self.characteristics.set(book.characteristic_count() as f64);
        self.open.set(book.open_count() as f64);
    }
}
