//! Chores of this repository; users need none of them.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use broadcastd::config::{SCHEMA, reference};
use broadcastd::metrics;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first().map(|(chore, rest)| (chore.as_str(), rest)) {
        Some(("docs", [])) => docs(),
        Some(("bench", rest)) => bench(rest),
        _ => {
            eprintln!("cargo xtask docs             writes docs/config.md and docs/metrics.md");
            eprintln!("cargo xtask bench [NAME…]    measures, and writes docs/bench.md; --help says more");
            ExitCode::from(64)
        }
    }
}

/// Writes the documents that are made from the code; a test compares them with what is committed.
fn docs() -> ExitCode {
    let folder = root().join("docs");
    for (name, text) in [("config.md", reference::markdown(&SCHEMA)), ("metrics.md", metrics::reference())] {
        if let Err(error) = std::fs::write(folder.join(name), text) {
            eprintln!("docs/{name} cannot be written: {error}");
            return ExitCode::FAILURE;
        }
        println!("docs/{name}");
    }
    ExitCode::SUCCESS
}

/// Builds the daemon, its plugins and the measures into one folder, then takes the measures. A smoke run is built as tests
/// are, because its figures mean nothing.
fn bench(arguments: &[String]) -> ExitCode {
    let is_smoke = arguments.iter().any(|argument| argument == "--smoke");
    let profile: &[&str] = if is_smoke { &[] } else { &["--release"] };
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let measures = root().join("bench/Cargo.toml");
    let cargo = || Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let mut daemon = cargo();
    daemon.current_dir(root()).arg("build");
    let mut bench = cargo();
    bench.current_dir(root()).args(["build", "--workspace", "--locked", "--manifest-path"]).arg(measures);
    for build in [&mut daemon, &mut bench] {
        if !succeeds(build.args(profile).arg("--target-dir").arg(&target)) {
            return ExitCode::FAILURE;
        }
    }
    let folder = target.join(if is_smoke { "debug" } else { "release" });
    if succeeds(Command::new(folder.join("broadcastd-bench")).args(arguments)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn succeeds(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{} cannot be run: {error}", command.get_program().display());
            false
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
