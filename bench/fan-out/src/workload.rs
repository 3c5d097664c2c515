//! What the servers are put to, and one run of it.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::dialect::Kind;
use crate::figures::Figures;
use crate::peer::{self, Peer, Server, Tools};
use crate::process::{Seat, Started, memory_at_rest, possible_connections, program};

pub struct Workload {
    pub name: &'static str,
    pub what: &'static str,
    pub connections: usize,
    pub topics: u32,
    pub shape: Shape,
    pub peers: Peers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many events of each topic are always on their way.
    Closed {
        window: u64,
    },
    /// Half of the rate that the slowest server reaches with one event on its way.
    HalfOfTheSlowest,
    /// One event in this time.
    Paced {
        every: Duration,
    },
    Idle,
    Bars,
    Herd,
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Everybody, the daemon with its settings as shipped.
    All,
    /// And the daemon with other settings.
    AllAnd(&'static str),
    /// Servers: what a minimal loop keeps for a connection says nothing.
    Servers,
    Named(&'static [&'static str]),
}

pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "W1",
        what: "1,000 connections, one topic, 32 events on their way",
        connections: 1000,
        topics: 1,
        shape: Shape::Closed { window: 32 },
        peers: Peers::All,
    },
    Workload {
        name: "W1-serial",
        what: "1,000 connections, one topic, one event on its way",
        connections: 1000,
        topics: 1,
        shape: Shape::Closed { window: 1 },
        peers: Peers::AllAnd("broadcastd-epoll"),
    },
    Workload {
        name: "W1-burst",
        what: "1,000 connections, one topic, 256 events on their way",
        connections: 1000,
        topics: 1,
        shape: Shape::Closed { window: 256 },
        peers: Peers::All,
    },
    Workload {
        name: "W1-shards",
        what: "as W1, with more shards than its one processor has use for",
        connections: 1000,
        topics: 1,
        shape: Shape::Closed { window: 32 },
        peers: Peers::Named(&["broadcastd", "broadcastd-2", "broadcastd-4"]),
    },
    Workload {
        name: "W2",
        what: "10,000 connections, one topic, 32 events on their way",
        connections: 10_000,
        topics: 1,
        shape: Shape::Closed { window: 32 },
        peers: Peers::All,
    },
    Workload {
        name: "W3",
        what: "10,000 connections, 1,000 topics with 10 each, one event of each on its way",
        connections: 10_000,
        topics: 1000,
        shape: Shape::Closed { window: 1 },
        peers: Peers::All,
    },
    Workload {
        name: "W4",
        what: "19,500 idle connections, each subscribed to one topic",
        connections: 19_500,
        topics: 1,
        shape: Shape::Idle,
        peers: Peers::Servers,
    },
    Workload {
        name: "W5",
        what: "1,000 connections, one topic, half of what the slowest server can do",
        connections: 1000,
        topics: 1,
        shape: Shape::HalfOfTheSlowest,
        peers: Peers::All,
    },
    Workload {
        name: "W6",
        what: "bars of a plugin, 20 symbols ten times a second, to 500 native connections with all and 500 of `fastws` with one each",
        connections: 1000,
        topics: 1,
        shape: Shape::Bars,
        peers: Peers::Named(&["broadcastd"]),
    },
    Workload {
        name: "W7",
        what: "10,000 connections are cut off, come back at once and resume, while ten events a second are published",
        connections: 10_000,
        topics: 1,
        shape: Shape::Herd,
        peers: Peers::Named(&["broadcastd"]),
    },
    Workload {
        name: "W8",
        what: "500 events a second to 1,000 connections",
        connections: 1000,
        topics: 1,
        shape: Shape::Paced { every: Duration::from_millis(2) },
        peers: Peers::Named(&["broadcastd", "broadcastd-auto", "broadcastd-10ms", "limit-batch", "uws", "bun"]),
    },
];

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub runs: usize,
    pub warm_up: Duration,
    pub measure: Duration,
    /// No workload has more.
    pub most_connections: usize,
}

impl Effort {
    pub const FULL: Self = Self {
        runs: 5,
        warm_up: Duration::from_millis(700),
        measure: Duration::from_secs(2),
        most_connections: usize::MAX,
    };
    /// Only to see that everything works: the figures mean nothing.
    pub const QUICK: Self = Self {
        runs: 1,
        warm_up: Duration::from_millis(100),
        measure: Duration::from_millis(300),
        most_connections: 50,
    };
}

const SYMBOLS: usize = 20;
const BARS_EVERY_MS: u64 = 100;
const HERD_EVERY: Duration = Duration::from_millis(100);
/// How long the load may take to connect everybody, beside what it measures.
const CONNECTING: Duration = Duration::from_secs(120);

impl Workload {
    pub fn includes(&self, peer: &Peer) -> bool {
        match self.peers {
            Peers::All => !peer.name.starts_with("broadcastd-"),
            Peers::AllAnd(other) => !peer.name.starts_with("broadcastd-") || peer.name == other,
            Peers::Servers => !peer.name.starts_with("broadcastd-") && peer.kind != Kind::Limit,
            Peers::Named(names) => names.contains(&peer.name),
        }
    }

    /// Starts the server, puts it to this once, and ends it. `every` is the pace of a workload that has to be told it.
    pub fn run(&self, peer: &Peer, tools: &Tools, effort: &Effort, every: Duration) -> Result<Figures> {
        let connections = possible_connections(self.connections.min(effort.most_connections));
        let server = match self.shape {
            Shape::Bars => peer::daemon_with_bars(SYMBOLS, BARS_EVERY_MS)?,
            _ => peer.start(tools)?,
        };
        let pace = match self.shape {
            Shape::Closed { window } => ("--window", window.to_string()),
            Shape::Paced { every } => ("--every-us", every.as_micros().to_string()),
            _ => ("--every-us", every.as_micros().to_string()),
        };
        let topics = self.topics.min(u32::try_from(connections.div_ceil(10))?);
        let warm_up = ("--warm-up-ms", effort.warm_up.as_millis().to_string());
        let measure = ("--measure-ms", effort.measure.as_millis().to_string());
        let pid = ("--pid", server.pid.to_string());
        let mut words = vec![
            (
                "--kind",
                clap::ValueEnum::to_possible_value(&peer.kind).context("each kind has a name")?.get_name().to_owned(),
            ),
            ("--address", server.address.to_string()),
            ("--connections", connections.to_string()),
        ];
        match self.shape {
            Shape::Idle => return idle(&server, words, connections),
            Shape::Bars => words.extend([
                ("bars", String::new()),
                pid,
                ("--symbols", SYMBOLS.to_string()),
                ("--fastws", (connections / 2).to_string()),
                warm_up,
                measure,
            ]),
            Shape::Herd => {
                let every = ("--every-us", HERD_EVERY.as_micros().to_string());
                words.extend([("--at-once", connections.to_string()), ("herd", String::new()), pid, every, measure]);
            }
            _ => {
                words.extend([("fanout", String::new()), pid, ("--topics", topics.to_string()), pace, warm_up, measure])
            }
        }
        let mut figures = load(&words)?.figures(CONNECTING + effort.warm_up + effort.measure)?;
        if let (Shape::Herd, Some(daemon)) = (self.shape, server.daemon()) {
            figures.put("connections", connections as f64);
            figures.put("snapshots_sent", daemon.metric("broadcastd_snapshots_sent_total")?);
            figures.put("snapshots_made", daemon.metric("broadcastd_snapshots_made_total")?);
        }
        Ok(figures)
    }
}

/// Starts the load with these arguments; an empty one stands for none.
pub fn load(arguments: &[(&str, String)]) -> Result<Started> {
    let words = arguments.iter().flat_map(|(name, value)| [(*name).to_owned(), value.clone()]);
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    Started::start(Seat::Load, &program("bench-load")?, &words, &[])
}

/// What a process grows by for each connection that is quiet.
fn idle(server: &Server, mut words: Vec<(&str, String)>, connections: usize) -> Result<Figures> {
    let before = memory_at_rest(server.pid)?;
    words.push(("idle", String::new()));
    let load = load(&words)?;
    let mut figures = Figures::read(&load.line_within("connects_per_second=", CONNECTING)?);
    let after = memory_at_rest(server.pid)?;
    let each = |before: f64, after: f64| (after - before) / connections as f64;
    figures.put("rss_bytes", each(before.resident, after.resident));
    figures.put("pss_bytes", each(before.proportional, after.proportional));
    figures.put("connections", connections as f64);
    Ok(figures)
}
