//! What many topics cost, and whoever comes and comes back.

use anyhow::Result;

use super::Effort;
use super::micro::{Case, Thread, table};

const TOPICS: &[Case] = &[
    Case { case: "publish-in-turn:1", label: "published to 1 topic, with a record", thread: Thread::Main },
    Case { case: "publish-in-turn:1000", label: "to 1,000 topics in turn", thread: Thread::Main },
    Case { case: "publish-in-turn:100000", label: "to 100,000 topics in turn", thread: Thread::Main },
];
const READS: &[Case] = &[
    Case { case: "subscribe:1", label: "subscribes to 1 of 1 topic, and leaves", thread: Thread::Main },
    Case { case: "subscribe:100000", label: "subscribes to 1 of 100,000 topics, and leaves", thread: Thread::Main },
    Case { case: "snapshot:1000", label: "asks for 1,000 records, the first to do so", thread: Thread::Main },
    Case { case: "resume:1", label: "comes back and has missed 1 event", thread: Thread::Main },
    Case { case: "resume:1000", label: "comes back and has missed 1,000", thread: Thread::Main },
];
const KEPT: &[Case] = &[
    Case { case: "keep-event", label: "one more event in the history", thread: Thread::Main },
    Case { case: "keep-topic", label: "and its topic is new", thread: Thread::Main },
    Case { case: "keep-record", label: "and it leaves a record", thread: Thread::Main },
];

pub fn run(effort: &Effort) -> Result<String> {
    let what = "256-byte payload, history of 1,000, one shard subscribed";
    let topics = table(TOPICS, [what, "ns per event", "× 1 topic"], effort)?;
    let reads = table(READS, ["somebody", "ns each", "× first row"], effort)?;
    let kept = table(KEPT, ["256-byte payload", "ns each", "× first row"], effort)?;
    Ok(format!("{topics}\n{reads}\n{kept}"))
}
