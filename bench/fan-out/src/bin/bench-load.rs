//! The load: many subscribers and one publisher in one thread, cheap enough to be no part of what is measured. It prints one
//! line of figures.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use broadcastd_fan_out::dialect::Kind;
use broadcastd_fan_out::load::crowd::Crowd;
use broadcastd_fan_out::load::fanout::{self, Pace};
use broadcastd_fan_out::load::{bars, herd};
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[arg(long)]
    kind: Kind,
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    connections: usize,
    /// Connections that may be on their way in at the same time.
    #[arg(long, default_value_t = 100)]
    at_once: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Publishes and takes every delivery: so that `window` events of each topic are always on their way or, without a window,
    /// one event every so many microseconds.
    Fanout {
        /// The server, whose processor time counts.
        #[arg(long)]
        pid: u32,
        #[arg(long, default_value_t = 1)]
        topics: u32,
        #[arg(long)]
        window: Option<u64>,
        #[arg(long, default_value_t = 100_000)]
        every_us: u64,
        #[arg(long)]
        warm_up_ms: u64,
        #[arg(long)]
        measure_ms: u64,
    },
    /// Connects, says how fast, and stays until its input ends.
    Idle,
    /// Lets everybody come at once, cuts everybody off, and lets everybody come back at once.
    Herd {
        #[arg(long)]
        pid: u32,
        #[arg(long)]
        every_us: u64,
        #[arg(long)]
        measure_ms: u64,
    },
    /// Subscribes to price bars and measures how old each is when it comes.
    Bars {
        #[arg(long)]
        pid: u32,
        #[arg(long)]
        fastws: usize,
        #[arg(long)]
        symbols: usize,
        #[arg(long)]
        warm_up_ms: u64,
        #[arg(long)]
        measure_ms: u64,
    },
}

fn main() -> Result<()> {
    let Cli { kind, address, connections, at_once, what } = Cli::parse();
    ensure!(connections > 0 && at_once > 0, "somebody has to connect");
    let dialect = kind.dialect();
    let millis = Duration::from_millis;
    let figures = match what {
        What::Fanout { pid, topics, window, every_us, warm_up_ms, measure_ms } => {
            ensure!(topics > 0 && topics as usize <= connections, "each topic needs a subscriber");
            let open = Pace::Open { every: Duration::from_micros(every_us) };
            let pace = window.map_or(open, |window| Pace::Closed { window });
            let (warm_up, measure) = (millis(warm_up_ms), millis(measure_ms));
            fanout::run(&fanout::Plan { dialect, address, pid, connections, topics, at_once, pace, warm_up, measure })?
        }
        What::Idle => return idle(Crowd::new(|_| dialect, connections)?, kind, (address, at_once)),
        What::Herd { pid, every_us, measure_ms } => {
            let (every, measure) = (Duration::from_micros(every_us), millis(measure_ms));
            herd::run(&herd::Plan { address, pid, connections, at_once, every, measure })?
        }
        What::Bars { pid, fastws, symbols, warm_up_ms, measure_ms } => {
            let (warm_up, measure) = (millis(warm_up_ms), millis(measure_ms));
            bars::run(&bars::Plan { address, pid, connections, fastws, symbols, warm_up, measure })?
        }
    };
    println!("{figures}");
    Ok(())
}

fn idle(mut crowd: Crowd, kind: Kind, (address, at_once): (SocketAddr, usize)) -> Result<()> {
    let dialect = kind.dialect();
    let took = crowd.admit_all(address, at_once, &mut |_| dialect.subscribe(0), |_, _, _| Ok(()))?;
    println!("connects_per_second={:.0}", crowd.len() as f64 / took.as_secs_f64());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
