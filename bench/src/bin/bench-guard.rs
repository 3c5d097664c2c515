//! Holds the paths of an event to what they cost when that was last looked at: `cargo xtask bench guard`. Instructions and
//! allocations are nearly the same on a busy machine as on a quiet one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use broadcastd_bench::measures::micro::{Case, Thread, allocations, instructions};
use broadcastd_fan_out::process;
use clap::Parser;

/// How far instructions may be from what is recorded: less than a copy of a large payload or an allocation takes. A shard makes
/// a turn more or less, as the machine is busy.
const TOLERANCE: f64 = 0.03;
const TOLERANCE_OF_A_SHARD: f64 = 0.06;
/// How many allocations more or less are none: those of a turn are shared by all of its deliveries, one of an event's own is
/// one more.
const ALLOCATIONS_TOLERANCE: f64 = 0.02;
/// Whatever is recorded, a delivery to one of a hundred has fewer: each connection would have one of its own for each event, and
/// what belongs to the event is shared by all.
const ALLOCATIONS_OF_ITS_OWN: f64 = 1.0;
/// What the cases with a hundred connections have in their name.
const CROWD: &str = ":100:";
const FILE: &str = "guards.txt";
const HEAD: &str =
    "# What one event, or one delivery, costs in user space: case, instructions (callgrind), allocations.
# `cargo xtask bench guard` compares; `cargo xtask bench guard --record` writes what it finds.
";

const CASES: &[Case] = &[
    Case { case: "publish:1", label: "publish", thread: Thread::Main },
    Case { case: "publish-large:1", label: "publish of 16 KiB", thread: Thread::Main },
    Case { case: "publish-record:1", label: "publish that leaves a record", thread: Thread::Main },
    Case { case: "events:16", label: "into a plugin", thread: Thread::Main },
    Case { case: "border-publish:16", label: "out of a plugin", thread: Thread::Main },
    Case { case: "shard:1:1", label: "encode, and deliver to one", thread: Thread::Second },
    Case { case: "shard:100:1", label: "deliver to each of a hundred", thread: Thread::Second },
    Case { case: "shard-uring:100:1", label: "the same by io_uring", thread: Thread::Second },
    Case { case: "shard-large:100:1", label: "deliver 16 KiB to each", thread: Thread::Second },
    Case { case: "shard:100:32", label: "deliver 32 events joined", thread: Thread::Second },
];

/// Compares what an event costs with what is recorded.
#[derive(Parser)]
struct Cli {
    /// Records what it finds
    #[arg(long)]
    record: bool,
}

struct Cost {
    instructions: f64,
    allocations: f64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == process::UNDER) {
        return process::become_program(&arguments[2..]);
    }
    let cli = Cli::parse();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let allocated = CASES.iter().map(|case| Ok((case, allocations(case)?))).collect::<Result<Vec<_>>>()?;
    check_deliveries(&allocated)?;
    let mut found = Vec::new();
    for (case, allocations) in allocated {
        let instructions = instructions(case)?.context("instructions are counted with valgrind: install it")?;
        found.push((case, Cost { instructions, allocations }));
    }
    if cli.record {
        let mut text = HEAD.to_owned();
        for (case, cost) in &found {
            writeln!(text, "{} {:.0} {:.3}", case.case, cost.instructions, cost.allocations)?;
        }
        return fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()));
    }
    let recorded = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    compare(&recorded, &found)
}

/// Nothing is allocated for each connection and event.
fn check_deliveries(allocated: &[(&Case, f64)]) -> Result<()> {
    let deliveries = allocated.iter().filter(|(case, _)| case.case.contains(CROWD));
    let strayed = deliveries.filter(|(_, allocations)| *allocations >= ALLOCATIONS_OF_ITS_OWN);
    let strayed: Vec<String> =
        strayed.map(|(case, allocations)| format!("{} ({}): {allocations:.2}", case.label, case.case)).collect();
    ensure!(
        strayed.is_empty(),
        "something is allocated for each connection and event: a delivery has fewer than {ALLOCATIONS_OF_ITS_OWN}\n  {}",
        strayed.join("\n  ")
    );
    Ok(())
}

fn compare(recorded: &str, found: &[(&Case, Cost)]) -> Result<()> {
    let mut strayed = Vec::new();
    for (case, cost) in found {
        let before = read(recorded, case.case).with_context(|| format!("{FILE} has no line for {}", case.case))?;
        let tolerance = if case.thread == Thread::Main { TOLERANCE } else { TOLERANCE_OF_A_SHARD };
        let moved = [
            ("instructions", before.instructions, cost.instructions, tolerance * before.instructions),
            ("allocations", before.allocations, cost.allocations, ALLOCATIONS_TOLERANCE),
        ];
        for (what, before, now, tolerance) in moved {
            println!("{:<28} {what:<12} {now:>10.2}, recorded {before:.2}", case.label);
            if (now - before).abs() > tolerance {
                strayed.push(format!("{} ({}): {before:.2} {what} recorded, {now:.2} found", case.label, case.case));
            }
        }
    }
    if strayed.is_empty() {
        return Ok(());
    }
    bail!(
        "what an event costs has changed:\n  {}\nTake away what was added to the path; where it is meant, or better than before, \
         `cargo xtask bench guard --record` and commit bench/{FILE}",
        strayed.join("\n  ")
    )
}

fn read(recorded: &str, case: &str) -> Option<Cost> {
    let line = recorded.lines().find_map(|line| line.strip_prefix(case)?.strip_prefix(' '))?;
    let (instructions, allocations) = line.split_once(' ')?;
    Some(Cost { instructions: instructions.parse().ok()?, allocations: allocations.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(instructions: f64, allocations: f64) -> Result<()> {
        compare("# head\npublish:1 1000 4.000\n", &[(&CASES[0], Cost { instructions, allocations })])
    }

    #[test]
    fn what_strays_is_named_whichever_way_it_went() {
        assert!(judged(1029.0, 4.0).is_ok() && judged(971.0, 4.01).is_ok());
        for (instructions, allocations) in [(1031.0, 4.0), (969.0, 4.0), (1000.0, 5.0), (1000.0, 3.0)] {
            let message = judged(instructions, allocations).unwrap_err().to_string();
            assert!(message.contains("publish (publish:1)"), "{message}");
        }
    }

    #[test]
    fn no_connection_has_an_allocation_of_its_own_for_each_event() {
        let judged = |case: &'static str, allocations: f64| {
            check_deliveries(&[(&Case { case, label: "deliver", thread: Thread::Second }, allocations)])
        };
        for case in ["shard:100:1", "shard-uring:100:1", "shard-large:100:1", "shard:100:32"] {
            assert!(judged(case, 0.999).is_ok());
            let message = judged(case, 1.0).unwrap_err().to_string();
            assert!(message.contains(case), "{message}");
        }
        assert!(judged("shard:1:1", 7.0).is_ok(), "one connection has what belongs to the event");
    }

    #[test]
    fn a_case_that_is_not_recorded_is_no_success() {
        assert!(compare("", &[(&CASES[0], Cost { instructions: 1.0, allocations: 1.0 })]).is_err());
    }
}
