//! What is measured: each gives its tables as text.

pub mod bars;
pub mod border;
pub mod doors;
pub mod micro;
pub mod publish;
pub mod reads;
pub mod shard;

use std::time::Duration;

use anyhow::Result;

/// How much is done for a measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often each thing is measured; the middle counts.
    pub runs: usize,
    pub measure: Duration,
    pub warm_up: Duration,
    /// Events of one run of a case without sockets.
    pub events: u64,
    pub instructions: Instructions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// With callgrind, where it is installed.
    Counted,
    Left,
}

impl Effort {
    /// For figures.
    pub const FULL: Self = Self {
        runs: 5,
        measure: Duration::from_secs(2),
        warm_up: Duration::from_millis(500),
        events: 300_000,
        instructions: Instructions::Counted,
    };
    /// Only to see that everything works: the figures mean nothing.
    pub const SMOKE: Self = Self {
        runs: 1,
        measure: Duration::from_millis(300),
        warm_up: Duration::from_millis(100),
        events: 2_000,
        instructions: Instructions::Left,
    };
}

/// A measure by its name, which is also that of its block on the page.
pub struct Measure {
    pub name: &'static str,
    pub run: fn(&Effort) -> Result<String>,
}

pub const ALL: &[Measure] = &[
    Measure { name: "publish", run: publish::run },
    Measure { name: "reads", run: reads::run },
    Measure { name: "border", run: border::run },
    Measure { name: "doors", run: doors::run },
    Measure { name: "shard", run: shard::run },
    Measure { name: "bars", run: bars::run },
];
