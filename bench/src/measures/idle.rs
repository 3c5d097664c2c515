//! What a connection that is quiet costs in memory of the process.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::Effort;
use super::fanout::{TICKS, listening, load};
use crate::figures::{Spread, Table, count, ratio};
use crate::process::{Daemon, Memory, Seat, memory, possible_connections};

/// Between two looks at a process's memory; when both show the same it has come to rest.
const REST: Duration = Duration::from_millis(300);
const MOST_RESTS: usize = 30;

const CONTESTANTS: &[(&str, &str)] = &[
    ("axum", "axum + broadcast, in its channel"),
    ("daemon", "broadcastd, subscribed to one stream"),
    ("daemon-bare", "broadcastd, subscribed to nothing"),
];

pub fn run(effort: &Effort) -> Result<String> {
    let connections = possible_connections(effort.idle_connections);
    let mut resident = vec![Vec::new(); CONTESTANTS.len()];
    let mut proportional = vec![Vec::new(); CONTESTANTS.len()];
    for _ in 0..effort.runs {
        for (index, (kind, _)) in CONTESTANTS.iter().enumerate() {
            let each = per_connection(kind, connections)?;
            resident[index].push(each.resident);
            proportional[index].push(each.proportional);
        }
    }
    let what = format!("{connections} idle connections");
    let mut table = Table::new(&[&what, "RSS bytes each", "PSS bytes each", "of axum"]);
    for (index, (_, label)) in CONTESTANTS.iter().enumerate() {
        table.row([
            (*label).to_owned(),
            Spread::of(resident[index].iter().copied()).with(count),
            Spread::of(proportional[index].iter().copied()).with(count),
            Spread::of_ratios(&proportional[index], &proportional[0]).with(ratio),
        ]);
    }
    Ok(table.to_string())
}

fn per_connection(kind: &str, connections: usize) -> Result<Memory> {
    let (_server, pid, address): (Box<dyn std::any::Any>, _, _) = if kind == "axum" {
        let (process, address) = listening("bench-axum", &[])?;
        let pid = process.pid();
        (Box::new(process), pid, address)
    } else {
        let daemon = Daemon::start(Seat::Server, TICKS)?;
        let (pid, address) = (daemon.pid(), daemon.clients.clone());
        (Box::new(daemon), pid, address)
    };
    let before = at_rest(pid)?;
    let arguments = [
        ("--kind", kind.to_owned()),
        ("--address", address),
        ("--connections", connections.to_string()),
        ("idle", String::new()),
    ];
    let load = load(&arguments)?;
    load.line_within("ready=", super::fanout::CONNECTING)?;
    let after = at_rest(pid)?;
    let each = |before: f64, after: f64| (after - before) / connections as f64;
    Ok(Memory {
        resident: each(before.resident, after.resident),
        proportional: each(before.proportional, after.proportional),
    })
}

/// The memory of a process that no longer changes.
pub fn at_rest(pid: u32) -> Result<Memory> {
    let mut last = memory(pid)?;
    for _ in 0..MOST_RESTS {
        sleep(REST);
        let now = memory(pid)?;
        if now.resident == last.resident {
            break;
        }
        last = now;
    }
    Ok(last)
}
