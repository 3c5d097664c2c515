//! The figures that a notifier shows of itself.
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// What became of events and messages. No label says what they were about.
pub struct Figures {
    /// Messages that wait or are in flight.
    pub queued: Gauge,
    /// Dead letters that are kept.
    pub dead_letters: Gauge,
    /// Messages that the receiver has.
    pub sent: Counter,
    /// Attempts that were refused and come again.
    pub retried: Counter,
    /// Messages that became dead letters.
    pub dead: Counter,
    /// Dead letters that there was no room for.
    pub dropped: Counter,
    /// Events that the cool-down held back.
    pub suppressed: Counter,
    /// Events whose payload is no JSON object.
    pub malformed: Counter,
    /// Times that inputs were gone before they were read.
    pub gaps: Counter,
}

impl Figures {
    /// For the broadcaster that this thread works for.
    pub fn new() -> Self {
        describe_gauge!("notifier_queued", "Messages that wait or are being delivered.");
        describe_gauge!("notifier_dead_letters", "Messages that could not be delivered and are kept.");
        describe_counter!("notifier_sent_total", "Messages that were delivered.");
        describe_counter!("notifier_retried_total", "Attempts that failed and are made again.");
        describe_counter!("notifier_dead_letters_total", "Messages that could not be delivered.");
        describe_counter!("notifier_dead_letters_dropped_total", "Dead letters that there was no room for.");
        describe_counter!("notifier_suppressed_total", "Events that the cool-down held back.");
        describe_counter!("notifier_malformed_total", "Events whose payload is no JSON object.");
        describe_counter!("notifier_input_gaps_total", "Times that inputs were gone before they were read.");
        Figures {
            queued: gauge!("notifier_queued"),
            dead_letters: gauge!("notifier_dead_letters"),
            sent: counter!("notifier_sent_total"),
            retried: counter!("notifier_retried_total"),
            dead: counter!("notifier_dead_letters_total"),
            dropped: counter!("notifier_dead_letters_dropped_total"),
            suppressed: counter!("notifier_suppressed_total"),
            malformed: counter!("notifier_malformed_total"),
            gaps: counter!("notifier_input_gaps_total"),
        }
    }
}
