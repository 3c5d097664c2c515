//! The broadcaster of bars: from the generation of a bar to the client's socket, and what it costs when nobody listens.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use broadcastd_fan_out::figures::{Spread, Table, millis, percent};
use broadcastd_fan_out::peer::{PEERS, Tools, daemon_with_bars};
use broadcastd_fan_out::process::{Daemon, ONE_SHARD, Seat, fine_cpu_seconds, memory, memory_at_rest};
use broadcastd_fan_out::workload::load;

use super::Effort;

/// Clients of the latency.
const CLIENTS: usize = 100;
/// Bars at once, and the time between two such bursts: 20,000 deliveries a second to the clients.
const SYMBOLS: usize = 20;
const EVERY_MS: u64 = 100;
/// As the shipped configuration has it: three symbols, every two seconds.
const SHIPPED: &str = "[broadcasters.bars]\nplugin = \"bars\"\n";
/// How many times as long as other measures the idle one takes: it counts in parts of a thousand.
const IDLE_TIMES: u32 = 5;

pub fn run(effort: &Effort) -> Result<String> {
    let mut latency = Latency::default();
    let mut rest = Rest::default();
    for _ in 0..effort.runs {
        latency.run_once(effort)?;
        rest.run_once(effort)?;
    }
    let mut table = Table::new(&["what", "measured", "promised"]);
    let mut row = |what: &str, measured: String, promised: &str| {
        table.row([what.to_owned(), measured, promised.to_owned()]);
    };
    let of = |runs: &[f64]| Spread::of(runs.iter().copied());
    let ms = |micros: f64| format!("{} ms", millis(micros));
    let share = |part: f64| format!("{:.2} %", part * 100.0);
    let mega = |bytes: f64| format!("{:.2} MB", bytes / 1e6);
    row("publish to the client's read, p50, at most", of(&latency.p50).with(ms), "");
    row("publish to the client's read, p99, at most", of(&latency.p99).with(ms), "< 5 ms");
    row("the same pace through the minimal loop, p50", of(&latency.loop_p50).with(ms), "");
    row("the same pace through the minimal loop, p99", of(&latency.loop_p99).with(ms), "");
    row("publish to the first write of a shard, within 5 ms", of(&latency.within).with(percent), "");
    row("processor time of the whole daemon, nobody connected", of(&rest.cpu).with(share), "< 1 %");
    row("of it the broadcaster", of(&rest.cpu_more).with(share), "< 1 %");
    row("memory that the broadcaster adds, RSS", of(&rest.resident_more).with(mega), "≤ 10 MB");
    row("memory that the broadcaster adds, PSS", of(&rest.proportional_more).with(mega), "≤ 10 MB");
    row("memory of the whole daemon with it, RSS", of(&rest.resident).with(mega), "");
    Ok(table.to_string())
}

#[derive(Default)]
struct Latency {
    p50: Vec<f64>,
    p99: Vec<f64>,
    within: Vec<f64>,
    loop_p50: Vec<f64>,
    loop_p99: Vec<f64>,
}

impl Latency {
    fn run_once(&mut self, effort: &Effort) -> Result<()> {
        let server = daemon_with_bars(SYMBOLS, EVERY_MS)?;
        let said = load(&[
            ("--kind", "broadcastd".to_owned()),
            ("--address", server.address.to_string()),
            ("--connections", CLIENTS.to_string()),
            ("bars", String::new()),
            ("--pid", server.pid.to_string()),
            ("--symbols", SYMBOLS.to_string()),
            ("--fastws", "0".to_owned()),
            ("--warm-up-ms", effort.warm_up.as_millis().to_string()),
            ("--measure-ms", effort.measure.as_millis().to_string()),
        ])?;
        let said = said.figures(effort.warm_up + effort.measure)?;
        self.p50.push(said.get("p50_us")?);
        self.p99.push(said.get("p99_us")?);
        self.within.push(within_5_ms(server.daemon().context("a daemon runs")?)?);
        drop(server);
        self.run_loop_once(effort)
    }

    /// What the machine itself adds at the moment: as many events to as many clients, through nothing.
    fn run_loop_once(&mut self, effort: &Effort) -> Result<()> {
        let peer = PEERS.iter().find(|peer| peer.name == "limit-batch").context("the minimal loop is a peer")?;
        let server = peer.start(&Tools(Default::default()))?;
        let every = Duration::from_millis(EVERY_MS) / SYMBOLS as u32;
        let said = load(&[
            ("--kind", "limit".to_owned()),
            ("--address", server.address.to_string()),
            ("--connections", CLIENTS.to_string()),
            ("fanout", String::new()),
            ("--pid", server.pid.to_string()),
            ("--every-us", every.as_micros().to_string()),
            ("--warm-up-ms", effort.warm_up.as_millis().to_string()),
            ("--measure-ms", effort.measure.as_millis().to_string()),
        ])?;
        let said = said.figures(effort.warm_up + effort.measure)?;
        self.loop_p50.push(said.get("p50_us")?);
        self.loop_p99.push(said.get("p99_us")?);
        Ok(())
    }
}

#[derive(Default)]
struct Rest {
    cpu: Vec<f64>,
    cpu_more: Vec<f64>,
    resident: Vec<f64>,
    resident_more: Vec<f64>,
    proportional_more: Vec<f64>,
}

impl Rest {
    /// Two daemons beside each other, one of them with the broadcaster: what disturbs one disturbs both.
    fn run_once(&mut self, effort: &Effort) -> Result<()> {
        let with = Daemon::start(Seat::Anywhere, ONE_SHARD, SHIPPED)?;
        let without = Daemon::start(Seat::Anywhere, ONE_SHARD, "")?;
        sleep(effort.warm_up);
        let cpu = || Ok::<_, anyhow::Error>((fine_cpu_seconds(with.pid())?, fine_cpu_seconds(without.pid())?));
        let (before, time) = (cpu()?, effort.measure * IDLE_TIMES);
        sleep(time);
        let after = cpu()?;
        let part = |before: f64, after: f64| (after - before) / time.as_secs_f64();
        let (own, other) = (part(before.0, after.0), part(before.1, after.1));
        self.cpu.push(own);
        self.cpu_more.push(own - other);
        let (own, other) = (memory_at_rest(with.pid())?, memory(without.pid())?);
        self.resident.push(own.resident);
        self.resident_more.push(own.resident - other.resident);
        self.proportional_more.push(own.proportional - other.proportional);
        Ok(())
    }
}

/// Of the turns in which a shard wrote events, those that wrote the oldest within 5 ms of its publishing.
fn within_5_ms(daemon: &Daemon) -> Result<f64> {
    let page = daemon.metrics()?;
    let buckets = |bound: &str| {
        let bound = format!("le=\"{bound}\"");
        let lines = page.lines().filter(|line| line.starts_with("broadcastd_publish_to_write_seconds_bucket{"));
        let counts = lines.filter(|line| line.contains(&bound)).filter_map(|line| line.split(' ').next_back());
        counts.filter_map(|count| count.parse::<f64>().ok()).reduce(|sum, count| sum + count)
    };
    Ok(buckets("0.005").context("no bucket of 5 ms")? / buckets("+Inf").context("no bucket of all")?)
}
