//! The C border between daemon and plugin against the same work without it.

use anyhow::Result;

use super::Effort;
use super::micro::{Case, Thread, table};

const EVENTS: &[Case] = &[
    Case { case: "events-direct:256", label: "a Rust function called for each", thread: Thread::Main },
    Case { case: "events:1", label: "`on_events` with 1 event", thread: Thread::Main },
    Case { case: "events:16", label: "`on_events` with 16 events", thread: Thread::Main },
    Case { case: "events:256", label: "`on_events` with 256 events", thread: Thread::Main },
];
const PUBLISHES: &[Case] = &[
    Case { case: "publish:0", label: "`Stream::publish` from Rust", thread: Thread::Main },
    Case { case: "border-publish:1", label: "one timer, one event", thread: Thread::Main },
    Case { case: "border-publish:256", label: "one timer, 256 events one by one", thread: Thread::Main },
    Case { case: "border-publish-all:256", label: "one wake-up, 256 events by `publish_all`", thread: Thread::Main },
];

pub fn run(effort: &Effort) -> Result<String> {
    let events = table(EVENTS, ["into a plugin, 256-byte payload", "ns per event", "× direct"], effort)?;
    let publishes = table(PUBLISHES, ["out of a plugin, 256-byte payload", "ns per event", "× direct"], effort)?;
    Ok(format!("{events}\n{publishes}"))
}
