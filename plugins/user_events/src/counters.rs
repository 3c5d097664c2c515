//! The figures that a broadcaster of user events shows of itself. No label has anything of a user.

use metrics::{Counter, counter, describe_counter};

use crate::board::Why;

pub struct Counters {
    pub unknown: Counter,
    pub malformed: Counter,
    pub keyless: Counter,
    pub gaps: Counter,
    pub errors: Counter,
    done: Counter,
    oldest: Counter,
    oldest_of_all: Counter,
}

impl Counters {
    pub fn new() -> Self {
        describe_counter!("user_inputs_ignored_total", "Inputs that went to nobody, by the reason.");
        describe_counter!(
            "user_events_keyless_total",
            "Events whose payload does not name what it is about; told, but not kept."
        );
        describe_counter!("user_input_gaps_total", "Times that inputs were gone before they were read.");
        describe_counter!("user_publish_errors_total", "Events that the daemon refused for good.");
        describe_counter!("user_records_gone_total", "Records that had to make room, by the reason that it was those.");
        let ignored = |reason: &'static str| counter!("user_inputs_ignored_total", "reason" => reason);
        let gone = |reason: &'static str| counter!("user_records_gone_total", "reason" => reason);
        Self {
            unknown: ignored("unknown_kind"),
            malformed: ignored("malformed"),
            keyless: counter!("user_events_keyless_total"),
            gaps: counter!("user_input_gaps_total"),
            errors: counter!("user_publish_errors_total"),
            done: gone("done"),
            oldest: gone("oldest"),
            oldest_of_all: gone("oldest_of_all"),
        }
    }

    pub fn gone(&self, why: Why) {
        let counter = match why {
            Why::Done => &self.done,
            Why::Oldest => &self.oldest,
            Why::OldestOfAll => &self.oldest_of_all,
        };
        counter.increment(1);
    }
}

/// The events of a kind that were published.
pub fn told(kind: &str) -> Counter {
    describe_counter!("user_events_total", "Events that were published, by kind.");
    counter!("user_events_total", "kind" => kind.to_owned())
}
