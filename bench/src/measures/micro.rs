//! Cases without sockets: each run is a process of its own, so that no case profits from the one before.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Effort, Instructions};
use broadcastd_fan_out::figures::{Figures, Spread, Table, ratio};
use broadcastd_fan_out::process::{Seat, Started, program};

/// Events of a run under callgrind.
const COUNTED: u64 = 25_600;
/// The function of `bench-micro` that holds the measured steps.
const STEPS: &str = "bench_micro::do_steps";
const ONE_RUN: Duration = Duration::from_secs(60);

/// A case of `bench-micro`, and how the table names it.
pub struct Case {
    pub case: &'static str,
    pub label: &'static str,
    pub thread: Thread,
}

/// The thread whose instructions count, by its number in the order of starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    Main = 1,
    Second = 2,
}

/// One table: the first case is what the others are compared with, run for run.
pub fn table(cases: &[Case], head: [&str; 3], effort: &Effort) -> Result<Table> {
    let mut nanos = vec![Vec::new(); cases.len()];
    let mut allocated = vec![[0.0; 3]; cases.len()];
    for _ in 0..effort.runs {
        for (index, case) in cases.iter().enumerate() {
            let said = one_run(case, effort.events)?;
            nanos[index].push(said.get("ns")?);
            allocated[index] = [said.get("allocations")?, said.get("bytes")?, said.get("kept")?];
        }
    }
    let [what, each, times] = head;
    let mut table = Table::new(&[what, each, times, "instructions", "allocations", "bytes allocated", "bytes kept"]);
    for (index, case) in cases.iter().enumerate() {
        let instructions = match effort.instructions {
            Instructions::Counted => instructions(case)?,
            Instructions::Left => None,
        };
        table.row([
            case.label.to_owned(),
            Spread::of(nanos[index].iter().copied()).with(ratio),
            Spread::of_ratios(&nanos[index], &nanos[0]).with(ratio),
            instructions.map_or("–".to_owned(), |count| format!("{count:.0}")),
            ratio(allocated[index][0]),
            format!("{:.0}", allocated[index][1]),
            kept(case, allocated[index][2]),
        ]);
    }
    Ok(table)
}

/// Where several threads work, each also gives back what others have allocated: the difference says nothing.
fn kept(case: &Case, bytes: f64) -> String {
    if case.thread == Thread::Main { format!("{bytes:.0}") } else { "–".to_owned() }
}

/// Allocations of one event.
pub fn allocations(case: &Case) -> Result<f64> {
    one_run(case, COUNTED)?.get("allocations")
}

fn one_run(case: &Case, events: u64) -> Result<Figures> {
    let arguments = [case.case.to_owned(), events.to_string()];
    Started::start(Seat::Server, &program("bench-micro")?, &arguments, &[])?.figures(ONE_RUN)
}

/// Instructions of one event in user space; `None` where there is no valgrind.
pub fn instructions(case: &Case) -> Result<Option<f64>> {
    let Some(once) = counted(case, COUNTED)? else { return Ok(None) };
    Ok(match case.thread {
        Thread::Main => Some(once.instructions / once.events), // nothing but the steps was counted
        // It has no part that could be told apart by name: the difference is free of its start.
        Thread::Second => counted(case, 2 * COUNTED)?
            .map(|twice| (twice.instructions - once.instructions) / (twice.events - once.events)),
    })
}

/// What a run under callgrind has shown.
struct Counted {
    instructions: f64,
    /// As many as went through: whole steps, and fewer than were asked for where each takes long.
    events: f64,
}

fn counted(case: &Case, events: u64) -> Result<Option<Counted>> {
    let folder = tempfile::tempdir()?;
    let counts = folder.path().join("counts");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--separate-threads=yes"]);
    valgrind.arg(format!("--callgrind-out-file={}", counts.display()));
    if case.thread == Thread::Main {
        valgrind.arg(format!("--toggle-collect={STEPS}"));
    }
    valgrind.arg(program("bench-micro")?).args([case.case, &events.to_string()]);
    let Ok(output) = valgrind.output() else { return Ok(None) };
    ensure!(output.status.success(), "callgrind of {}: {}", case.case, String::from_utf8_lossy(&output.stderr));
    let counts = fs::read_to_string(format!("{}-{:02}", counts.display(), case.thread as usize))?;
    let total = counts.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    let events = Figures::read(&String::from_utf8_lossy(&output.stdout)).get("events")?;
    Ok(total.map(|instructions| Counted { instructions, events }))
}
