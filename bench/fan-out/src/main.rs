//! Puts the daemon and its peers to the same work in turn, keeps what they showed, and makes tables of it: on the terminal
//! and, when asked, on docs/bench.md. `cargo xtask bench fan-out` builds everything first.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use broadcastd_fan_out::figures::{Figures, Spread};
use broadcastd_fan_out::page::{self, Setting};
use broadcastd_fan_out::peer::{PEERS, Peer, Tools};
use broadcastd_fan_out::results::{Results, Run};
use broadcastd_fan_out::workload::{Effort, Shape, WORKLOADS, Workload};
use broadcastd_fan_out::{process, table};
use clap::Parser;

/// Fan-out of broadcastd beside that of others.
#[derive(Parser)]
struct Cli {
    /// Only these workloads: W1,W1-serial,W3
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Only these servers: broadcastd,limit-batch,bun
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// How often each is measured
    #[arg(long)]
    runs: Option<usize>,
    /// Milliseconds of each measure
    #[arg(long)]
    measure_ms: Option<u64>,
    /// Only to see that everything works, in seconds: one run, 50 connections, and our own servers unless others are named
    #[arg(long)]
    quick: bool,
    /// Where the servers of others are
    #[arg(long)]
    tools: Option<PathBuf>,
    /// Where the figures of each run are kept
    #[arg(long)]
    results: Option<PathBuf>,
    /// Measures nothing: makes the tables of such a file
    #[arg(long)]
    render: Option<PathBuf>,
    /// Writes the tables on docs/bench.md
    #[arg(long)]
    record: bool,
}

/// The block of the page.
const BLOCK: &str = "fan-out";
/// The workload that shows how fast the slowest is with one event on its way.
const PACEMAKER: &str = "W1-serial";
/// The pace where nobody could say how fast the slowest is.
const SLOW: Duration = Duration::from_millis(50);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == process::UNDER) {
        return process::become_program(&arguments[2..]);
    }
    let cli = Cli::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let results = match &cli.render {
        Some(file) => Results::read(file)?,
        None => measure(&cli, &root)?,
    };
    let text = table::render(&results);
    println!("{text}");
    if cli.record {
        ensure!(!cli.quick, "the figures of a quick run mean nothing");
        let missing = results.workloads_without_runs();
        ensure!(missing.is_empty(), "the page shows all workloads, and nothing was measured of {}", missing.join(", "));
        page::write(&root.join("docs/bench.md"), BLOCK, &text)?;
    }
    // What was lost is shown above; a quick run is there to fail then.
    if cli.quick { nothing_went_wrong(&results) } else { Ok(()) }
}

fn measure(cli: &Cli, root: &Path) -> Result<Results> {
    let mut effort = if cli.quick { Effort::QUICK } else { Effort::FULL };
    effort.runs = cli.runs.unwrap_or(effort.runs);
    effort.measure = cli.measure_ms.map_or(effort.measure, Duration::from_millis);
    ensure!(effort.runs > 0, "at least one run is needed");
    let workloads = chosen(WORKLOADS, &cli.workloads, |workload| workload.name)?;
    let is_chosen = |name: &str| workloads.iter().any(|workload| workload.name == name);
    let needs_pace = workloads.iter().any(|workload| workload.shape == Shape::HalfOfTheSlowest);
    ensure!(
        cli.quick || !needs_pace || is_chosen(PACEMAKER),
        "half of the rate of the slowest is known when {PACEMAKER} has been measured: name that, too"
    );
    let peers: Vec<&Peer> = chosen(PEERS, &cli.peers, |peer| peer.name)?;
    let peers: Vec<&Peer> =
        peers.into_iter().filter(|peer| !cli.quick || !cli.peers.is_empty() || peer.is_own()).collect();
    let target = process::programs()?;
    // Absolute: some of the servers begin elsewhere.
    let tools = Tools(std::path::absolute(cli.tools.clone().unwrap_or_else(|| target.join("../peers")))?);
    let file = cli.results.clone().unwrap_or_else(|| target.join("../fan-out.json"));
    let setting = Setting::of_here(root)?;
    let runs = effort.runs;
    let said = format!("{runs} runs in turn of {:.1} s, median (least–most).", effort.measure.as_secs_f64());
    let mut results = Results { effort: said, ..Results::default() };
    for workload in workloads {
        let mut peers: Vec<&Peer> = peers.iter().copied().filter(|peer| workload.includes(peer)).collect();
        for round in 0..runs {
            for peer in &peers {
                let every = pace(&results, workload, cli.quick);
                let run = run_once(workload, peer, round, || workload.run(peer, &tools, &effort, every));
                results.runs.push(run);
                // After each, so that nothing is lost when this ends early.
                results.setting = setting.line()?;
                results.write(&file)?;
            }
            // Nobody is always the first, or behind the same.
            let next = 1.min(peers.len());
            peers.rotate_left(next);
        }
    }
    Ok(results)
}

fn run_once(workload: &Workload, peer: &Peer, round: usize, run: impl FnOnce() -> Result<Figures>) -> Run {
    let (figures, failure) = match run() {
        Ok(figures) => (figures, None),
        Err(error) => (Figures::default(), Some(format!("{error:#}"))),
    };
    let what = failure.as_ref().map_or_else(|| figures.to_string(), |failure| format!("failed: {failure}"));
    eprintln!("{} {} {round}: {what}", workload.name, peer.name);
    Run { workload: workload.name.to_owned(), peer: peer.name.to_owned(), round, failure, figures }
}

/// Half of what the slowest server did with one event on its way.
fn pace(results: &Results, workload: &Workload, quick: bool) -> Duration {
    if workload.shape != Shape::HalfOfTheSlowest || quick {
        return SLOW;
    }
    let rate = |peer: &Peer| {
        let runs = results.figures(PACEMAKER, peer.name, "per_second");
        (!runs.is_empty()).then(|| Spread::of(runs.into_iter().map(|(_, rate)| rate)).median)
    };
    let slowest = PEERS.iter().filter_map(rate).min_by(f64::total_cmp);
    slowest.map_or(SLOW, |rate| Duration::from_secs_f64(2.0 * workload.connections as f64 / rate))
}

fn chosen<T>(all: &'static [T], names: &[String], name_of: fn(&T) -> &'static str) -> Result<Vec<&'static T>> {
    if names.is_empty() {
        return Ok(all.iter().collect());
    }
    let known: Vec<&str> = all.iter().map(name_of).collect();
    let find = |name: &String| {
        let found = all.iter().find(|one| name_of(one) == name);
        found.with_context(|| format!("there is no {name}; there are: {}", known.join(", ")))
    };
    names.iter().map(find).collect()
}

fn nothing_went_wrong(results: &Results) -> Result<()> {
    for run in &results.runs {
        let name = format!("{} {}", run.workload, run.peer);
        if let Some(failure) = &run.failure {
            bail!("{name} failed: {failure}");
        }
        for fault in ["lost", "doubled", "disorder", "stalled"] {
            ensure!(run.figures.find(fault).unwrap_or(0.0) == 0.0, "{name}: {fault}: {}", run.figures);
        }
    }
    ensure!(!results.runs.is_empty(), "nothing was measured");
    Ok(())
}
