//! Chores of this repository; users need none of them.

mod built;
mod fuzz;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use broadcastd::config::{SCHEMA, reference};
use broadcastd::metrics;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["docs"] => docs(),
        ["bench", ref rest @ ..] => built::bench(rest),
        ["soak", ref rest @ ..] => built::soak(rest),
        ["fuzz"] => fuzz::run(fuzz::SECONDS),
        ["fuzz", seconds] if seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0) => {
            fuzz::run(seconds.parse().unwrap_or(fuzz::SECONDS))
        }
        _ => {
            eprintln!("cargo xtask docs              writes docs/config.md and docs/metrics.md");
            eprintln!("cargo xtask bench [NAME…]     measures, and writes docs/bench.md; --help says more");
            eprintln!("cargo xtask soak [MINUTES]    runs the daemon under everything at once; --help says more");
            eprintln!(
                "cargo xtask fuzz [SECONDS]    runs every fuzz target so long, {} s unless said otherwise",
                fuzz::SECONDS
            );
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the documents that are made from the code; a test compares them with what is committed.
fn docs() -> Result<(), String> {
    for (name, text) in [("config.md", reference::markdown(&SCHEMA)), ("metrics.md", metrics::reference())] {
        std::fs::write(root().join("docs").join(name), text)
            .map_err(|error| format!("docs/{name} cannot be written: {error}"))?;
        println!("docs/{name}");
    }
    Ok(())
}

/// Waits for a program, which must succeed.
fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} ended with {status}")),
        Err(error) => Err(format!("{name} cannot be run: {error}")),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
