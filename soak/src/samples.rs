//! What is written every few seconds, and what the figures of a whole run say: flat or not.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::daemon::{Daemon, Usage};

/// How often a line is written.
pub const EVERY: Duration = Duration::from_secs(10);
/// Samples that a window needs for its median to say something.
const ENOUGH: usize = 6;
/// What the hub may hold: its bound, and what was on its way when that was reached.
const MOST_MEMORY: u64 = 17 << 20;
/// The first part of a run, in which histories, plugins and allocator fill up: one in so many samples.
const WARM_UP: usize = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    pub seconds: u64,
    pub usage: Usage,
    /// `broadcastd_memory_bytes`.
    pub memory: u64,
    pub connections: u64,
    pub subscriptions: u64,
    published: u64,
    delivered: u64,
    lagged: u64,
    /// Outboxes, histories and publishes that had to give way.
    relieved: [u64; 3],
    restarts: u64,
    generations: u64,
    events_per_second: u64,
    deliveries_per_second: u64,
}

impl Sample {
    pub fn take(daemon: &Daemon, began: Instant, before: &Sample) -> Result<Self> {
        let (page, usage) = (daemon.metrics()?, daemon.usage()?);
        let seconds = began.elapsed().as_secs();
        let passed = seconds.saturating_sub(before.seconds).max(1);
        let (published, delivered) =
            (page.sum("broadcastd_events_published_total"), page.sum("broadcastd_deliveries_total"));
        Ok(Self {
            seconds,
            usage,
            memory: page.sum("broadcastd_memory_bytes"),
            connections: page.sum("broadcastd_connections"),
            subscriptions: page.sum("broadcastd_subscriptions"),
            published,
            delivered,
            lagged: page.sum("broadcastd_lagged_total"),
            relieved: ["outbox", "history", "publish"]
                .map(|what| page.sum_of("broadcastd_memory_relieved_total", &format!("what=\"{what}\""))),
            restarts: page.sum("broadcastd_broadcaster_restarts_total"),
            generations: page.sum("broadcastd_plugin_generations_resident"),
            events_per_second: published.saturating_sub(before.published) / passed,
            deliveries_per_second: delivered.saturating_sub(before.delivered) / passed,
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            out,
            "{:>5} s  rss {:6.1} MiB  pss {:6.1} MiB  hub {:5.1} MiB  threads {:3}  descriptors {:4}  connections {:4}  \
             subscriptions {:4}  events/s {:5}  deliveries/s {:6}  lagged {:6}  relieved {:?}  restarts {:5}  generations {:2}",
            self.seconds,
            mebibytes(self.usage.resident),
            mebibytes(self.usage.proportional),
            mebibytes(self.memory),
            self.usage.threads,
            self.usage.descriptors,
            self.connections,
            self.subscriptions,
            self.events_per_second,
            self.deliveries_per_second,
            self.lagged,
            self.relieved,
            self.restarts,
            self.generations,
        )
    }
}

/// A figure that must not grow: by no more than a part of what it was, and so much beside.
struct Flat {
    name: &'static str,
    of: fn(&Sample) -> u64,
    part: u64,
    beside: u64,
}

const FLAT: [Flat; 4] = [
    // The allocator gives back late, and never all.
    Flat { name: "resident bytes", of: |sample| sample.usage.resident, part: 10, beside: 8 << 20 },
    Flat { name: "proportional bytes", of: |sample| sample.usage.proportional, part: 10, beside: 8 << 20 },
    // One broadcaster comes and goes, another is replaced.
    Flat { name: "threads", of: |sample| sample.usage.threads, part: u64::MAX, beside: 2 },
    // Between one figure and the other a client may have come.
    Flat {
        name: "descriptors beside connections",
        of: |sample| sample.usage.descriptors.saturating_sub(sample.connections),
        part: u64::MAX,
        beside: 10,
    },
];

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Flat,
    TooShort,
    /// What grew, from what to what.
    Growing(Vec<String>),
}

/// Compares the median of the middle with that of the end, after a warm-up.
pub fn judge(samples: &[Sample]) -> Verdict {
    let rest = &samples[samples.len() / WARM_UP..];
    let (middle, end) = rest.split_at(rest.len() / 2);
    if middle.len() < ENOUGH {
        return Verdict::TooShort;
    }
    let grown = FLAT.iter().filter_map(|flat| {
        let (was, is) = (median(middle, flat.of), median(end, flat.of));
        let most = was + was / flat.part + flat.beside;
        (is > most).then(|| format!("{} grew from {was} to {is}; at most {most} would be flat", flat.name))
    });
    // How much the hub holds goes by the configuration of the moment; only its bound holds always.
    let beyond = samples.iter().filter(|sample| sample.memory > MOST_MEMORY);
    let beyond = beyond.map(|sample| format!("the hub holds {} bytes, and may hold {MOST_MEMORY}", sample.memory));
    let grown: Vec<String> = grown.chain(beyond).collect();
    if grown.is_empty() { Verdict::Flat } else { Verdict::Growing(grown) }
}

fn median(samples: &[Sample], of: fn(&Sample) -> u64) -> u64 {
    let mut all: Vec<u64> = samples.iter().map(of).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_threads(threads: impl Fn(u64) -> u64) -> Vec<Sample> {
        let usage = |at| Usage { threads: threads(at), ..Usage::default() };
        (0..18).map(|at| Sample { usage: usage(at), ..Sample::default() }).collect()
    }

    #[test]
    fn what_grows_by_its_tolerance_is_flat_and_by_one_more_is_not() {
        assert_eq!(judge(&with_threads(|at| if at < 12 { 10 } else { 12 })), Verdict::Flat);
        let Verdict::Growing(grown) = judge(&with_threads(|at| if at < 12 { 10 } else { 13 })) else {
            panic!("it grew")
        };
        assert_eq!(grown, ["threads grew from 10 to 13; at most 12 would be flat"]);
    }

    #[test]
    fn a_warm_up_and_single_peaks_do_not_count() {
        assert_eq!(judge(&with_threads(|at| if at < 6 { at } else { 40 })), Verdict::Flat);
        assert_eq!(judge(&with_threads(|at| if at == 17 { 1000 } else { 10 })), Verdict::Flat);
    }

    #[test]
    fn the_hub_may_hold_its_bound_and_no_more() {
        let with_memory = |memory| -> Vec<Sample> { vec![Sample { memory, ..Sample::default() }; 18] };
        assert_eq!(judge(&with_memory(MOST_MEMORY)), Verdict::Flat);
        assert!(matches!(judge(&with_memory(MOST_MEMORY + 1)), Verdict::Growing(_)));
    }

    #[test]
    fn too_few_samples_say_nothing() {
        assert_eq!(judge(&with_threads(|_| 1)[..16]), Verdict::TooShort);
        assert_eq!(judge(&with_threads(|_| 1)[..17]), Verdict::Flat);
        assert_eq!(judge(&[]), Verdict::TooShort);
    }
}
