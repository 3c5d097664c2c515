//! Takes the measures and writes what they showed: on the terminal and, unless it was only a smoke run, into its block of
//! docs/bench.md. `cargo xtask bench` builds everything first.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use broadcastd_bench::measures::{ALL, Effort, Measure};
use broadcastd_fan_out::page::{self, Setting};
use broadcastd_fan_out::process;
use clap::Parser;

/// Measures broadcastd, and what it is compared with.
#[derive(Parser)]
struct Cli {
    /// Only these measures: publish, reads, border, doors, shard, bars
    names: Vec<String>,
    /// Only to see that everything works, in seconds; nothing is recorded
    #[arg(long)]
    smoke: bool,
    /// How often each thing is measured
    #[arg(long)]
    runs: Option<usize>,
    /// Prints, but records nothing
    #[arg(long)]
    dry: bool,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == process::UNDER) {
        return process::become_program(&arguments[2..]);
    }
    let cli = Cli::parse();
    let measures = chosen(&cli.names)?;
    let mut effort = if cli.smoke { Effort::SMOKE } else { Effort::FULL };
    effort.runs = cli.runs.unwrap_or(effort.runs);
    ensure!(effort.runs > 0, "at least one run is needed");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for measure in measures {
        let setting = Setting::of_here(&root)?;
        let table = (measure.run)(&effort)?;
        let runs = match effort.runs {
            1 => "One run".to_owned(),
            runs => format!("{runs} runs in turn, median (least–most)"),
        };
        let text = format!("{} {runs}.\n\n{table}", setting.line()?);
        println!("── {}\n{text}", measure.name);
        if !cli.smoke && !cli.dry {
            page::write(&root.join("docs/bench.md"), measure.name, &text)?;
        }
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Measure>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let all: Vec<&str> = ALL.iter().map(|measure| measure.name).collect();
    let find = |name: &String| match ALL.iter().find(|measure| measure.name == name) {
        Some(measure) => Ok(measure),
        None => bail!("there is no measure {name}; there are: {}", all.join(", ")),
    };
    names.iter().map(find).collect()
}
