//! One topic to many connections in a closed loop: the daemon, the minimal loop, and axum as most people use it.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Effort;
use crate::figures::{Said, Spread, Table, count, millis, percent, ratio};
use crate::process::{Daemon, Seat, Started, program};

/// The stream that is published to.
pub const TICKS: &str = "[streams.ticks]\nvisible = true\n";

/// A server that runs, and where it is reached.
struct Server {
    /// Keeps it running.
    _process: Box<dyn std::any::Any>,
    pid: u32,
    subscribe: String,
    publish: String,
}

/// How a server is called by the load, and in the table.
struct Contestant {
    kind: &'static str,
    label: &'static str,
    start: fn(&Effort) -> Result<Server>,
}

/// The first is what the others are compared with.
const CONTESTANTS: &[Contestant] = &[
    Contestant { kind: "limit", label: "minimal loop", start: limit },
    Contestant { kind: "daemon", label: "broadcastd", start: daemon },
    Contestant { kind: "axum", label: "axum + broadcast", start: axum },
];

pub fn run(effort: &Effort) -> Result<String> {
    let head = [
        "window",
        "server",
        "deliveries per CPU-second",
        "of the minimal loop",
        "best of best",
        "deliveries per second",
        "server busy",
        "load busy",
        "per read",
        "p50 ms",
        "p99 ms",
    ];
    let mut table = Table::new(&head);
    for window in effort.windows {
        let mut runs: Vec<Vec<Said>> = CONTESTANTS.iter().map(|_| Vec::new()).collect();
        for _ in 0..effort.runs {
            for (contestant, runs) in CONTESTANTS.iter().zip(&mut runs) {
                let said = run_once(contestant, *window, effort);
                runs.push(said.with_context(|| format!("{}, window {window}", contestant.label))?);
            }
        }
        let figures =
            |index: usize, name: &str| -> Result<Vec<f64>> { runs[index].iter().map(|said| said.get(name)).collect() };
        let limit = figures(0, "per_cpu")?;
        for (index, contestant) in CONTESTANTS.iter().enumerate() {
            let middle = |name: &str| Ok::<_, anyhow::Error>(Spread::of(figures(index, name)?).median);
            let per_cpu = figures(index, "per_cpu")?;
            // Whoever else uses the machine only ever takes away, so the best runs compare, too.
            let best = |runs: &[f64]| Spread::of(runs.iter().copied()).max;
            table.row([
                window.to_string(),
                contestant.label.to_owned(),
                Spread::of(per_cpu.iter().copied()).with(count),
                Spread::of_ratios(&per_cpu, &limit).with(percent),
                percent(best(&per_cpu) / best(&limit)),
                count(middle("per_second")?),
                percent(middle("server_busy")?),
                percent(middle("load_busy")?),
                ratio(middle("per_read")?),
                Spread::of(figures(index, "p50_us")?).with(millis),
                Spread::of(figures(index, "p99_us")?).with(millis),
            ]);
        }
    }
    Ok(table.to_string())
}

fn run_once(contestant: &Contestant, window: u64, effort: &Effort) -> Result<Said> {
    let server = (contestant.start)(effort)?;
    let arguments = [
        ("--kind", contestant.kind.to_owned()),
        ("--address", server.subscribe),
        ("--connections", effort.connections.to_string()),
        ("fanout", String::new()),
        ("--publish", server.publish),
        ("--pid", server.pid.to_string()),
        ("--window", window.to_string()),
        ("--warm-up-ms", effort.warm_up.as_millis().to_string()),
        ("--measure-ms", effort.measure.as_millis().to_string()),
    ];
    load(&arguments)?.said(effort.warm_up + effort.measure)
}

/// Starts the load with these arguments; an empty one stands for none.
pub fn load(arguments: &[(&str, String)]) -> Result<Started> {
    let words = arguments.iter().flat_map(|(name, value)| [(*name).to_owned(), value.clone()]);
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    Started::start(Seat::Load, &program("bench-load")?, &words, &[])
}

fn daemon(_: &Effort) -> Result<Server> {
    let daemon = Daemon::start(Seat::Server, TICKS)?;
    let (pid, subscribe, publish) = (daemon.pid(), daemon.clients.clone(), daemon.admin.clone());
    Ok(Server { _process: Box::new(daemon), pid, subscribe, publish })
}

fn limit(effort: &Effort) -> Result<Server> {
    one_address("bench-limit", &[effort.connections.to_string()])
}

fn axum(_: &Effort) -> Result<Server> {
    one_address("bench-axum", &[])
}

fn one_address(name: &str, arguments: &[String]) -> Result<Server> {
    let (process, address) = listening(name, arguments)?;
    Ok(Server { pid: process.pid(), _process: Box::new(process), subscribe: address.clone(), publish: address })
}

/// Starts one of our own servers, and waits until it says where it listens.
pub fn listening(name: &str, arguments: &[String]) -> Result<(Started, String)> {
    let process = Started::start(Seat::Server, &program(name)?, arguments, &[])?;
    let line = process.line("listening on ")?;
    let address = line.split_whitespace().last().context("the line names an address")?.to_owned();
    Ok((process, address))
}

/// How long the load may take to connect everybody.
pub const CONNECTING: Duration = Duration::from_secs(60);
