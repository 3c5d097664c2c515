//! What a shard does for each delivery, without a network: the part that does not drown in the kernel's noise.

use anyhow::Result;

use super::Effort;
use super::micro::{Case, Thread, table};

const CASES: &[Case] = &[
    Case { case: "send:100:1", label: "a bare send, 1 event to each of 100 sockets", thread: Thread::Second },
    Case { case: "shard:100:1", label: "the shard, 1 event a turn", thread: Thread::Second },
    Case { case: "shard-uring:100:1", label: "the same, through io_uring", thread: Thread::Second },
    Case { case: "shard:1:1", label: "the shard, 1 event to 1 client: encoding it, too", thread: Thread::Second },
    Case { case: "send:100:32", label: "a bare send, 32 events joined", thread: Thread::Second },
    Case { case: "shard:100:32", label: "the shard, 32 events a turn", thread: Thread::Second },
    Case { case: "shard-batch:100:32", label: "the same, in batches of 1 ms", thread: Thread::Second },
    Case { case: "shard-deflate:100:32", label: "the same, deflated once for all", thread: Thread::Second },
    Case { case: "shard-tls:100:32", label: "the same, encrypted for each", thread: Thread::Second },
];

pub fn run(effort: &Effort) -> Result<String> {
    Ok(table(CASES, ["256-byte payload", "ns per delivery", "× first row"], effort)?.to_string())
}
