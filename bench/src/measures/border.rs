//! The C border between daemon and plugin against the same work without it.

use anyhow::Result;

use super::Effort;
use super::micro::{Case, table};

const EVENTS: &[Case] = &[
    Case { case: "events-direct:256", label: "a Rust function called for each" },
    Case { case: "events:1", label: "`on_events` with 1 event" },
    Case { case: "events:16", label: "`on_events` with 16 events" },
    Case { case: "events:256", label: "`on_events` with 256 events" },
];
const PUBLISHES: &[Case] = &[
    Case { case: "publish:0", label: "`Stream::publish` from Rust" },
    Case { case: "border-publish:1", label: "one timer, one event" },
    Case { case: "border-publish:256", label: "one timer, 256 events one by one" },
    Case { case: "border-publish-all:256", label: "one wake-up, 256 events by `publish_all`" },
];

pub fn run(effort: &Effort) -> Result<String> {
    let events = table(EVENTS, ["into a plugin, 256-byte payload", "× direct"], effort)?;
    let publishes = table(PUBLISHES, ["out of a plugin, 256-byte payload", "× direct"], effort)?;
    Ok(format!("{events}\n{publishes}"))
}
