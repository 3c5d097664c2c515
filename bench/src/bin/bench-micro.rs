//! What one event costs without any socket: `bench-micro CASE EVENTS` does a case so often and prints the processor time
//! and the allocations of one event. Run with twice as many events under callgrind, the difference is its instructions.

#[path = "../allocations.rs"]
mod allocations;
#[path = "../micro/border.rs"]
mod border;
#[path = "../micro/publish.rs"]
mod publish;

use anyhow::{Context, Result, bail};
use rustix::time::{ClockId, clock_gettime};

use self::allocations::Allocations;
use self::border::Border;

/// Events before the measure begins: the history is full then, so that one leaves for each that comes.
const WARM_UP: u64 = 2_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().context("which case?")?;
    let events: u64 = arguments.next().context("how many events?")?.parse()?;
    broadcastd::metrics::install()?; // as in the daemon, where counting is not free
    match case.split_once(':').unwrap_or((&case, "1")) {
        ("copy", _) => measure(events, 1, publish::copy()),
        ("copy-kept", _) => measure(events, 1, publish::copy_kept()),
        ("publish", outlets) => measure(events, 1, publish::publish(outlets.parse()?, "")?),
        ("publish-record", outlets) => measure(events, 1, publish::publish(outlets.parse()?, "current")?),
        ("events-direct", batch) => measure(events, batch.parse()?, border::events_direct(batch.parse()?)),
        ("events", batch) => measure(events, batch.parse()?, Border::load()?.events(batch.parse()?)),
        ("border-publish", batch) => measure(events, batch.parse()?, Border::load()?.publish(batch.parse()?)),
        ("border-publish-all", _) => measure(events, border::TOGETHER, Border::load()?.publish_all()),
        _ => bail!("there is no case {case}"),
    }
    Ok(())
}

/// Does it until so many events went through; each call of `step` handles `batch` of them.
fn measure(events: u64, batch: u64, mut step: impl FnMut()) {
    (0..WARM_UP.div_ceil(batch)).for_each(|_| step());
    let (began, before) = (cpu_nanos(), Allocations::now());
    let steps = events.div_ceil(batch);
    (0..steps).for_each(|_| step());
    let (ended, after) = (cpu_nanos(), Allocations::now());
    let each = |total: u64| total as f64 / (steps * batch) as f64;
    println!(
        "ns={:.2} allocations={:.3} bytes={:.1}",
        each(ended - began),
        each(after.count - before.count),
        each(after.bytes - before.bytes)
    );
}

/// Processor time of this thread: what others take in between does not count.
fn cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
