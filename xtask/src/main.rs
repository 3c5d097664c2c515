//! Chores of this repository; users need none of them.

mod built;
mod dashboard;
mod fuzz;
mod package;

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
        ["package", ref rest @ ..] => package::package(rest),
        ["fuzz"] => fuzz::run(fuzz::SECONDS),
        ["fuzz", seconds] if seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0) => {
            fuzz::run(seconds.parse().unwrap_or(fuzz::SECONDS))
        }
        _ => {
            eprintln!("cargo xtask docs              writes docs/config.md, docs/metrics.md and the dashboard");
            eprintln!("cargo xtask bench [NAME…]     measures, and writes docs/bench.md; --help says more");
            eprintln!("cargo xtask bench fan-out     puts the daemon and its peers to the same work; --help says more");
            eprintln!("cargo xtask bench guard       compares what an event costs with what is recorded");
            eprintln!("cargo xtask soak [MINUTES]    runs the daemon under everything at once; --help says more");
            eprintln!("cargo xtask package           makes the Debian package; --smoke from what tests are built from");
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
    for (file, text) in made() {
        std::fs::write(root().join(file), text).map_err(|error| format!("{file} cannot be written: {error}"))?;
        println!("{file}");
    }
    Ok(())
}

fn made() -> [(&'static str, String); 3] {
    [
        ("docs/config.md", reference::markdown(&SCHEMA)),
        ("docs/metrics.md", metrics::reference()),
        ("packaging/grafana/broadcastd.json", dashboard::json()),
    ]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_has_the_version_of_the_program() {
        let changelog = std::fs::read_to_string(root().join("packaging/debian/changelog")).unwrap_or_default();
        assert!(changelog.starts_with(&format!("broadcastd ({}-", env!("CARGO_PKG_VERSION"))), "{changelog}");
    }

    #[test]
    fn what_is_made_from_code_is_committed() {
        for (file, text) in made() {
            let committed = std::fs::read_to_string(root().join(file)).unwrap_or_default();
            assert!(committed == text, "{file} is not as it is made: run `cargo xtask docs`");
        }
    }
}
