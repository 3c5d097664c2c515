//! The way of an event through the hub against the least that keeping its payload can cost.

use anyhow::Result;

use super::Effort;
use super::micro::{Case, Thread, table};

const CASES: &[Case] = &[
    Case { case: "copy", label: "`Arc<[u8]>` copy of the payload, thrown away", thread: Thread::Main },
    Case { case: "copy-kept", label: "the same, kept until 1,000 newer ones came", thread: Thread::Main },
    Case { case: "publish:0", label: "`Stream::publish`, nobody subscribed", thread: Thread::Main },
    Case { case: "publish:1", label: "`Stream::publish`, one shard subscribed", thread: Thread::Main },
    Case { case: "publish:4", label: "`Stream::publish`, four shards subscribed", thread: Thread::Main },
    Case {
        case: "publish-record:1",
        label: "`Stream::publish` with a key, one shard subscribed",
        thread: Thread::Main,
    },
];

pub fn run(effort: &Effort) -> Result<String> {
    Ok(table(CASES, ["256-byte payload, history of 1,000", "ns per event", "× copy"], effort)?.to_string())
}
