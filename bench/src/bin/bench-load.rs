//! The load: many subscribers and one publisher in one thread, with raw sockets and one epoll, cheap enough to be no
//! part of what is measured. It prints one line of figures.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use broadcastd_bench::load::bars::{self, Watch};
use broadcastd_bench::load::crowd::{Crowd, Kind};
use broadcastd_bench::load::fanout::{self, Pace, Plan};
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[arg(long)]
    kind: Kind,
    /// Where subscribers connect.
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    connections: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Publishes and takes every delivery: so that `window` events are always on their way or, without a window, `burst`
    /// events every so many milliseconds.
    Fanout {
        #[arg(long)]
        publish: SocketAddr,
        /// The server, whose processor time counts.
        #[arg(long)]
        pid: u32,
        #[arg(long)]
        window: Option<u64>,
        #[arg(long, default_value_t = 1)]
        burst: u64,
        #[arg(long, default_value_t = 100)]
        every_ms: u64,
        #[arg(long)]
        warm_up_ms: u64,
        #[arg(long)]
        measure_ms: u64,
    },
    /// Connects, says `ready=N`, and stays until its input ends.
    Idle,
    /// Subscribes to bars and measures how old each is when it comes.
    Bars {
        #[arg(long)]
        warm_up_ms: u64,
        #[arg(long)]
        measure_ms: u64,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let stream = if matches!(cli.what, What::Bars { .. }) { "bars" } else { "ticks" };
    let crowd = Crowd::connect(cli.kind, cli.address, stream, cli.connections)?;
    match cli.what {
        What::Fanout { publish, pid, window, burst, every_ms, warm_up_ms, measure_ms } => {
            let open = Pace::Open { burst, every: Duration::from_millis(every_ms) };
            let pace = window.map_or(open, |window| Pace::Closed { window });
            let warm_up = Duration::from_millis(warm_up_ms);
            let plan = Plan { publish, pid, pace, warm_up, measure: Duration::from_millis(measure_ms) };
            println!("{}", fanout::run(crowd, &plan)?);
        }
        What::Idle => {
            println!("ready={}", crowd.len());
            std::io::stdin().read_to_end(&mut Vec::new())?;
        }
        What::Bars { warm_up_ms, measure_ms } => {
            let (warm_up, measure) = (Duration::from_millis(warm_up_ms), Duration::from_millis(measure_ms));
            println!("{}", bars::run(crowd, Watch { warm_up, measure })?);
        }
    }
    Ok(())
}
