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
    /// How many times as long as the others it is measured: where a second has few events, so that p99 would be the tail of
    /// one, or takes little of the server's time, which the kernel counts in ticks of 10 ms.
    pub times: u32,
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

/// The daemon on its other back end.
const BY_EPOLL: &str = "broadcastd-epoll";

pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "W1",
        what: "1,000 connections, one topic, 32 events on their way",
        connections: 1000,
        topics: 1,
        shape: Shape::Closed { window: 32 },
        peers: Peers::AllAnd(BY_EPOLL),
        times: 1,
    },
    Workload {
        name: "W1-serial",
        what: "1,000 connections, one topic, one event on its way",
        connections: 1000,
        topics: 1,
        shape: Shape::Closed { window: 1 },
        peers: Peers::AllAnd(BY_EPOLL),
        times: 1,
    },
    Workload {
        name: "W1-burst",
        what: "1,000 connections, one topic, 256 events on their way",
        connections: 1000,
        topics: 1,
        shape: Shape::Closed { window: 256 },
        peers: Peers::AllAnd(BY_EPOLL),
        times: 1,
    },
    Workload {
        name: "W1-shards",
        what: "as W1, with more shards than its one processor has use for",
        connections: 1000,
        topics: 1,
        shape: Shape::Closed { window: 32 },
        peers: Peers::Named(&["broadcastd", "broadcastd-2", "broadcastd-4"]),
        times: 1,
    },
    Workload {
        name: "W2",
        what: "10,000 connections, one topic, 32 events on their way",
        connections: 10_000,
        topics: 1,
        shape: Shape::Closed { window: 32 },
        peers: Peers::AllAnd(BY_EPOLL),
        times: 1,
    },
    Workload {
        name: "W3",
        what: "10,000 connections, 1,000 topics with 10 each, one event of each on its way",
        connections: 10_000,
        topics: 1000,
        shape: Shape::Closed { window: 1 },
        peers: Peers::AllAnd(BY_EPOLL),
        times: 1,
    },
    Workload {
        name: "W4",
        what: "19,500 idle connections, each subscribed to one topic",
        connections: 19_500,
        topics: 1,
        shape: Shape::Idle,
        peers: Peers::Servers,
        times: 1,
    },
    Workload {
        name: "W5",
        what: "1,000 connections, one topic, half of what the slowest server can do",
        connections: 1000,
        topics: 1,
        shape: Shape::HalfOfTheSlowest,
        peers: Peers::All,
        times: 5,
    },
    Workload {
        name: "W6",
        what: "price bars of a plugin, 20 symbols ten times a second, to 500 native connections with all and 500 of `fastws` \
               with one each",
        connections: 1000,
        topics: 1,
        shape: Shape::Bars,
        peers: Peers::Named(&["broadcastd"]),
        times: 3,
    },
    Workload {
        name: "W7",
        what: "10,000 connections come at once and are shown 100 records, then are cut off, come back at once and resume \
               while ten events a second are published",
        connections: 10_000,
        topics: 1,
        shape: Shape::Herd,
        peers: Peers::Named(&["broadcastd"]),
        times: 1,
    },
    Workload {
        name: "W8",
        what: "500 events a second to 1,000 connections",
        connections: 1000,
        topics: 1,
        shape: Shape::Paced { every: Duration::from_millis(2) },
        peers: Peers::Named(&["broadcastd", "broadcastd-auto", "broadcastd-10ms", "limit-batch", "uws", "bun", "axum"]),
        times: 1,
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
        let kind = clap::ValueEnum::to_possible_value(&peer.kind).context("each kind has a name")?;
        let mut words = vec![
            ("--kind", kind.get_name().to_owned()),
            ("--address", server.address.to_string()),
            ("--connections", connections.to_string()),
        ];
        words.extend(self.job(connections, effort, every)?);
        let mut figures = match self.shape {
            Shape::Idle => idle(&server, &words, connections)?,
            _ => {
                let measure = effort.measure * self.times;
                words.push(("--pid", server.pid.to_string()));
                words.push(("--measure-ms", measure.as_millis().to_string()));
                load(&words)?.figures(CONNECTING + effort.warm_up + measure)?
            }
        };
        figures.put("connections", connections as f64);
        if let (Shape::Herd, Some(daemon)) = (self.shape, server.daemon()) {
            figures.put("snapshots_sent", daemon.metric("broadcastd_snapshots_sent_total")?);
            figures.put("snapshots_made", daemon.metric("broadcastd_snapshots_made_total")?);
        }
        Ok(figures)
    }

    /// What so many connections of the load do, and how it is told: the server and the time of the measure come behind it.
    fn job(&self, connections: usize, effort: &Effort, every: Duration) -> Result<Vec<(&'static str, String)>> {
        let topics = self.topics.min(u32::try_from(connections.div_ceil(10))?);
        let every_us = |every: Duration| ("--every-us", every.as_micros().to_string());
        let warm_up = || ("--warm-up-ms", effort.warm_up.as_millis().to_string());
        let fan_out = |pace| vec![("fanout", String::new()), ("--topics", topics.to_string()), pace, warm_up()];
        Ok(match self.shape {
            Shape::Closed { window } => fan_out(("--window", window.to_string())),
            Shape::HalfOfTheSlowest => fan_out(every_us(every)),
            Shape::Paced { every } => fan_out(every_us(every)),
            Shape::Idle => vec![("idle", String::new())],
            Shape::Bars => vec![
                ("bars", String::new()),
                ("--symbols", SYMBOLS.to_string()),
                ("--fastws", (connections / 2).to_string()),
                warm_up(),
            ],
            Shape::Herd => {
                vec![("--at-once", connections.to_string()), ("herd", String::new()), every_us(HERD_EVERY)]
            }
        })
    }
}

/// Starts the load with these arguments; an empty one stands for none.
pub fn load(arguments: &[(&str, String)]) -> Result<Started> {
    let words = arguments.iter().flat_map(|(name, value)| [(*name).to_owned(), value.clone()]);
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    Started::start(Seat::Load, &program("bench-load")?, &words, &[])
}

/// What a process grows by for each connection that is quiet.
fn idle(server: &Server, words: &[(&str, String)], connections: usize) -> Result<Figures> {
    let before = memory_at_rest(server.pid)?;
    let load = load(words)?;
    let mut figures = Figures::read(&load.line_within("connects_per_second=", CONNECTING)?);
    let after = memory_at_rest(server.pid)?;
    let each = |before: f64, after: f64| (after - before) / connections as f64;
    figures.put("rss_bytes", each(before.resident, after.resident));
    figures.put("pss_bytes", each(before.proportional, after.proportional));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::PEERS;

    fn workload(name: &str) -> &'static Workload {
        WORKLOADS.iter().find(|workload| workload.name == name).unwrap()
    }

    #[test]
    fn every_loop_has_the_daemon_on_both_back_ends() {
        let includes =
            |name: &str, peer: &str| workload(name).includes(PEERS.iter().find(|known| known.name == peer).unwrap());
        for name in ["W1", "W1-serial", "W1-burst", "W2", "W3"] {
            assert!(includes(name, "broadcastd") && includes(name, "broadcastd-epoll"), "{name}");
            assert!(!includes(name, "broadcastd-2") && includes(name, "limit-write"), "{name}");
        }
        assert!(!includes("W5", "broadcastd-epoll") && !includes("W4", "limit-write"));
        assert!(includes("W8", "axum") && includes("W5", "axum"));
    }

    #[test]
    fn the_load_is_told_the_pace_of_a_workload_that_has_one() {
        let told = |name: &str, connections: usize| {
            let words = workload(name).job(connections, &Effort::FULL, Duration::from_millis(37)).unwrap();
            words.into_iter().map(|(name, value)| format!("{name} {value}").trim_end().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(told("W1", 1000), ["fanout", "--topics 1", "--window 32", "--warm-up-ms 700"]);
        assert_eq!(told("W3", 50), ["fanout", "--topics 5", "--window 1", "--warm-up-ms 700"]);
        assert_eq!(told("W5", 1000)[2], "--every-us 37000");
        assert_eq!(told("W8", 1000)[2], "--every-us 2000");
        assert_eq!(told("W4", 9), ["idle"]);
        assert_eq!(told("W6", 9), ["bars", "--symbols 20", "--fastws 4", "--warm-up-ms 700"]);
        assert_eq!(told("W7", 9), ["--at-once 9", "herd", "--every-us 100000"]);
    }
}
