//! What one event costs without a network: `bench-micro CASE EVENTS` does a case about so often and prints how often that was,
//! and the processor time and the allocations of one event.

#[path = "../allocations.rs"]
mod allocations;
#[path = "../micro/border.rs"]
mod border;
#[path = "../micro/publish.rs"]
mod publish;
#[path = "../micro/reads.rs"]
mod reads;
#[path = "../micro/shard.rs"]
mod shard;

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use broadcastd::shard::poll::Means;
use rustix::time::{ClockId, clock_gettime};

use self::allocations::Allocations;
use self::border::Border;
use self::reads::Kept;
use self::shard::{Talk, Way};

/// Events before the measure begins: the history is full then, so that one leaves for each that comes.
const WARM_UP: u64 = 2_000;
/// A snapshot of a thousand records takes longer than so many events: one is taken where else as many would be published.
const EVENTS_A_SNAPSHOT: u64 = 100;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().context("which case?")?;
    let events: u64 = arguments.next().context("how many events?")?.parse()?;
    broadcastd::metrics::install()?; // as in the daemon, where counting is not free
    let mut words = case.split(':');
    let name = words.next().unwrap_or_default();
    let number = words.next().map_or(Ok(1), str::parse)?;
    let window = words.next().map_or(Ok(1), str::parse)?;
    let own = Measured { events, whose: Whose::Own, batch: 1 };
    let batches = Measured { batch: number, ..own };
    let turns = Measured { whose: Whose::Others, batch: number * window, ..own };
    let steps = WARM_UP + events;
    match name {
        "copy" => own.measure(publish::copy()),
        "copy-kept" => own.measure(publish::copy_kept()),
        "publish" => own.measure(publish::publish(number, "", publish::payload())?),
        "publish-large" => own.measure(publish::publish(number, "", publish::large())?),
        "publish-record" => own.measure(publish::publish(number, "current", publish::payload())?),
        "publish-in-turn" => own.measure(reads::publish_in_turn(number)?),
        "subscribe" => own.measure(reads::subscribe(number)?),
        "snapshot" => Measured { events: events.div_ceil(EVENTS_A_SNAPSHOT), ..own }.measure(reads::snapshot(number)?),
        "resume" => own.measure(reads::resume(number)?),
        "keep-event" => own.measure(reads::keep(Kept::Event, steps)),
        "keep-topic" => own.measure(reads::keep(Kept::Topic, steps)),
        "keep-record" => own.measure(reads::keep(Kept::Record, steps)),
        "events-direct" => batches.measure(border::events_direct(number)),
        "events" => batches.measure(Border::load()?.events(number)),
        "border-publish" => batches.measure(Border::load()?.publish(number)),
        "border-publish-all" => Measured { batch: border::TOGETHER, ..own }.measure(Border::load()?.publish_all()),
        "send" => turns.measure(shard::send(number, window)?),
        _ => {
            let (way, payload) = delivery(name)?;
            turns.measure(shard::shard((number, window), way, payload)?);
        }
    }
    Ok(())
}

/// How a shard's case sends, and what.
fn delivery(name: &str) -> Result<(Way, Arc<[u8]>)> {
    Ok(match name {
        "shard" => ((Means::Epoll, Talk::Plain), publish::payload()),
        "shard-uring" => ((Means::IoUring, Talk::Plain), publish::payload()),
        "shard-large" => ((Means::Epoll, Talk::Plain), publish::large()),
        "shard-tls" => ((Means::Epoll, Talk::Encrypted), publish::payload()),
        "shard-deflate" => ((Means::Epoll, Talk::Deflated), publish::payload()),
        "shard-batch" => ((Means::Epoll, Talk::Batched), publish::payload()),
        _ => bail!("there is no case {name}"),
    })
}

/// Whose processor time and allocations count.
#[derive(Clone, Copy)]
enum Whose {
    /// The thread's that does the steps.
    Own,
    /// All others': the thread that does the steps only makes them work.
    Others,
}

#[derive(Clone, Copy)]
struct Measured {
    /// How many events go through, at least.
    events: u64,
    whose: Whose,
    /// Events, or deliveries, of one step.
    batch: u64,
}

impl Measured {
    fn measure(self, mut step: impl FnMut()) {
        if matches!(self.whose, Whose::Others) {
            Allocations::count_others();
        }
        (0..WARM_UP.div_ceil(self.batch)).for_each(|_| step());
        let (began, before) = (self.whose.cpu_nanos(), self.whose.allocations());
        let steps = self.events.div_ceil(self.batch);
        do_steps(steps, &mut step);
        let (ended, after) = (self.whose.cpu_nanos(), self.whose.allocations());
        let each = |total: u64| total as f64 / (steps * self.batch) as f64;
        println!(
            "events={} ns={:.2} allocations={:.3} bytes={:.1} kept={:.1}",
            steps * self.batch,
            each(ended - began),
            each(after.count - before.count),
            each(after.bytes - before.bytes),
            each(after.bytes - before.bytes) - each(after.freed - before.freed)
        );
    }
}

/// A function of its own, by whose name callgrind counts nothing but this.
#[inline(never)]
fn do_steps(count: u64, step: &mut dyn FnMut()) {
    (0..count).for_each(|_| step());
}

impl Whose {
    /// Processor time: what other processes take in between does not count.
    fn cpu_nanos(self) -> u64 {
        let nanos = |clock| {
            let time = clock_gettime(clock);
            time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
        };
        let own = nanos(ClockId::ThreadCPUTime);
        match self {
            Self::Own => own,
            Self::Others => nanos(ClockId::ProcessCPUTime) - own,
        }
    }

    fn allocations(self) -> Allocations {
        match self {
            Self::Own => Allocations::own(),
            Self::Others => Allocations::others(),
        }
    }
}
