//! Runs the daemon for a long time under everything at once, and holds it to what it promises: nothing lost silently, nothing
//! that grows. `cargo xtask soak` builds everything first.

mod client;
mod config;
mod crowd;
mod daemon;
mod http;
mod ledger;
mod publisher;
mod reloads;
mod samples;
mod shared;
mod socket;
mod strangers;
mod tally;
mod truth;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::client::Client;
use crate::config::{DRAIN_SECONDS, FAILURES, MAX_CONNECTIONS, Setup};
use crate::daemon::{Daemon, Usage};
use crate::http::PATIENCE;
use crate::samples::{EVERY, Sample, Verdict};
use crate::shared::Shared;
use crate::socket::Temper;
use crate::truth::{Pattern, Truth};

/// Bytes that a record weighs beside its payload, and one whose payload is not known, at most.
const RECORD: u64 = 512;
const UNKNOWN_RECORD: u64 = 4 << 10;
/// Pages that an operator looks at while the daemon runs.
const PAGES: [&str; 5] = ["/metrics", "/readyz", "/healthz", "/v1/broadcasters", "/v1/streams"];

/// Runs broadcastd under everything at once and says whether it stays flat and loses nothing silently.
#[derive(Parser)]
struct Cli {
    /// How long
    #[arg(default_value_t = 30.0)]
    minutes: f64,
    /// What all randomness comes from, to run the same again
    #[arg(long)]
    seed: Option<u64>,
    /// Only to see that everything works, in seconds and with few clients
    #[arg(long)]
    smoke: bool,
}

/// How many of each there are.
#[derive(Clone, Copy)]
struct Numbers {
    fast: u64,
    slow: u64,
    strangers: u64,
    crowd: u64,
}

impl Numbers {
    /// Those of all at once.
    const fn connections(self) -> u64 {
        self.fast + self.slow + self.strangers + self.crowd
    }
}

/// Descriptors beside those of connections: files, pages that are looked at, what publishes.
const BESIDE: u64 = 500;
const NUMBERS: Numbers = Numbers { fast: 120, slow: 40, strangers: 6, crowd: 10_000 };
const _: () = assert!(NUMBERS.connections() < MAX_CONNECTIONS);
const SMALL_NUMBERS: Numbers = Numbers { fast: 16, slow: 6, strangers: 2, crowd: 500 };
const SMOKE: Duration = Duration::from_secs(12);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..));
    let (time, numbers) = match cli.smoke {
        true => (SMOKE, SMALL_NUMBERS),
        false => (Duration::from_secs_f64(cli.minutes * 60.0), NUMBERS),
    };
    println!("seed {seed}, {time:?}");
    match run(seed, time, numbers) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(found) => {
            println!("{found} promises were broken; seed {seed}");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("the run failed: {error:#}; seed {seed}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything, and counts the promises that were broken.
fn run(seed: u64, time: Duration, numbers: Numbers) -> Result<u64> {
    raise_descriptors(numbers)?;
    let mut daemon = Daemon::start(|folder| Setup::calm().text(folder))?;
    let shared = Arc::new(Shared::new(daemon.clients, daemon.admin, seed));
    daemon.until("what fails at the start is left alone", |now| {
        now.sum_of("broadcastd_broadcaster_errors_total", "fails") >= FAILURES
    })?;
    let at_start = daemon.usage()?;
    let samples = thread::scope(|scope| {
        (0..).zip(&shared.relays).for_each(|(number, relay)| {
            let random = shared.random(1000 + number);
            let shared = &shared;
            scope.spawn(move || publisher::publish(shared, relay, random));
        });
        let tempers = (0..numbers.fast).map(|_| Temper::Fast).chain((0..numbers.slow).map(|_| Temper::Slow));
        for (number, temper) in (0..).zip(tempers) {
            let client = Client::new(&shared, number, temper);
            scope.spawn(|| client.live());
        }
        for number in 0..numbers.strangers {
            let random = shared.random(2000 + number);
            scope.spawn(|| strangers::stray(&shared, random));
        }
        scope.spawn(|| reloads::reload(&shared, &daemon, shared.random(3000)));
        scope.spawn(|| look_at_pages(&shared));
        scope.spawn(|| publisher::publish(&shared, &shared.crowd, shared.random(4000)));
        scope.spawn(|| crowd::live(&shared, numbers.crowd, shared.random(5000)));
        let samples = watch(&shared, &daemon, time);
        shared.settle();
        samples
    })?;
    for (meaning, count) in shared.tally.lines() {
        println!("{count:>10} {meaning}");
    }
    judge(&shared, &samples);
    let afterwards = everybody_has_left(&shared, &daemon, &at_start).and_then(|()| end(&mut daemon));
    if let Err(error) = afterwards {
        shared.report(&format!("{error:#}"));
    }
    for line in daemon.complaints()? {
        shared.report(&format!("the daemon's log says {line}"));
    }
    if shared.found() > 0 {
        daemon.folder.disable_cleanup(true);
        println!("configuration and log are kept in {}", daemon.folder.path().display());
    }
    Ok(shared.found())
}

/// The crowd needs more than a shell usually gives; the daemon gets as many.
fn raise_descriptors(numbers: Numbers) -> Result<()> {
    let (limit, needed) = (getrlimit(Resource::Nofile), numbers.connections() + BESIDE);
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= needed),
        "{needed} descriptors are needed, and this system allows {:?}: raise the hard limit (ulimit -Hn)",
        limit.maximum
    );
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// Writes a line now and then, until the time is over.
fn watch(shared: &Shared, daemon: &Daemon, time: Duration) -> Result<Vec<Sample>> {
    let (began, mut samples) = (Instant::now(), Vec::new());
    let mut last = Sample::default();
    while began.elapsed() < time {
        sleep(EVERY.min(time.saturating_sub(began.elapsed())));
        match Sample::take(daemon, began, &last) {
            Ok(sample) => {
                println!("{sample}");
                last = sample;
                samples.push(sample);
            }
            Err(error) => {
                shared.report(&format!("the daemon cannot be measured: {error:#}"));
                shared.settle();
                return Err(error);
            }
        }
    }
    Ok(samples)
}

/// What an operator looks at answers always, with what it should hold.
fn look_at_pages(shared: &Shared) {
    for page in PAGES.iter().cycle() {
        if !shared.is_running() {
            return;
        }
        match http::get(shared.admin, page) {
            Ok(answer) if answer.status == 200 && !answer.body.is_empty() => {}
            Ok(answer) => shared.report(&format!("{page} answers {answer:?}")),
            Err(error) => shared.report(&format!("{page}: {error:#}")),
        }
        sleep(Duration::from_millis(400)); // a pace; nothing depends on it
    }
}

fn judge(shared: &Shared, samples: &[Sample]) {
    match samples::judge(samples) {
        Verdict::Flat => println!("flat: memory, threads and descriptors"),
        Verdict::TooShort => println!("too short to say whether memory, threads and descriptors are flat"),
        Verdict::Growing(grown) => grown.iter().for_each(|what| shared.report(what)),
    }
}

/// When all clients have left, everything that they needed is free again.
fn everybody_has_left(shared: &Shared, daemon: &Daemon, at_start: &Usage) -> Result<()> {
    daemon.until("no connection and no subscription is left", |now| {
        now.sum("broadcastd_connections") == 0
            && now.sum("broadcastd_subscriptions") == 0
            && now.sum("broadcastd_outbox_bytes") == 0
    })?;
    reloads::apply(daemon, &Setup::without_history())?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (page, usage) = (daemon.metrics()?, daemon.usage()?);
        let (memory, records) = (page.sum("broadcastd_memory_bytes"), weight_of_records(shared, daemon)?);
        if memory <= records && usage.threads <= at_start.threads && usage.descriptors <= at_start.descriptors {
            println!("when all had left: {memory} bytes of the hub, records weigh at most {records}; {usage:?}");
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "when all had left: {memory} bytes of the hub, and records weigh at most {records}; {usage:?}, at the start \
             {at_start:?}; threads {:?}",
            daemon.threads()?
        );
        sleep(Duration::from_millis(200)); // nobody tells what the daemon does in its own time
    }
}

/// What records and unread input can weigh at most, with nothing else kept.
fn weight_of_records(shared: &Shared, daemon: &Daemon) -> Result<u64> {
    const ALL: Pattern = Pattern { symbol: None, venue: None };
    let known = shared.relays.iter().flat_map(|relay| ALL.shown_at(relay.last()));
    let known: u64 = known.map(|seq| Truth::of(seq).pad as u64 + RECORD).sum();
    let page: Value = serde_json::from_str(&http::get(daemon.admin, "/v1/streams")?.body)?;
    let streams = page["streams"].as_array().or(page.as_array()).context("/v1/streams holds no list")?;
    let of_others = streams.iter().map(|stream| {
        let is_relay = shared.relays.iter().any(|relay| stream["name"] == relay.name);
        let records = if is_relay { 0 } else { stream["records"].as_u64().unwrap_or_default() };
        records * UNKNOWN_RECORD + stream["listen_bytes"].as_u64().unwrap_or_default()
    });
    Ok(known + of_others.sum::<u64>())
}

fn end(daemon: &mut Daemon) -> Result<()> {
    ensure!(daemon.is_running()?, "the daemon has ended by itself");
    let status = daemon.stop(Duration::from_secs(DRAIN_SECONDS) + PATIENCE)?;
    ensure!(status.code() == Some(0), "the daemon ended with {status}");
    println!("ended as asked");
    Ok(())
}
