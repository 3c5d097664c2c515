//! Chores of this repository; users need none of them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use broadcastd::config::{SCHEMA, reference};
use broadcastd::metrics;

/// Long enough for each target to find what is easy to find.
const FUZZ_SECONDS: u32 = 60;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["docs"] => docs(),
        ["bench", ..] => bench(&arguments[1..]),
        ["soak", ..] => soak(&arguments[1..]),
        ["fuzz"] => fuzz(FUZZ_SECONDS),
        ["fuzz", seconds] if seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0) => {
            fuzz(seconds.parse().unwrap_or(FUZZ_SECONDS))
        }
        _ => {
            eprintln!("cargo xtask docs              writes docs/config.md and docs/metrics.md");
            eprintln!("cargo xtask bench [NAME…]     measures, and writes docs/bench.md; --help says more");
            eprintln!(
                "cargo xtask fuzz [SECONDS]    runs every fuzz target so long, {FUZZ_SECONDS} s unless said otherwise"
            );
            eprintln!("cargo xtask soak [MINUTES]    runs the daemon under everything at once; --help says more");
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

/// Runs every fuzz target in turn. What is new goes to `fuzz/corpus`, which is not committed; the seeds are only read.
fn fuzz(seconds: u32) -> Result<(), String> {
    for name in targets().map_err(|error| format!("fuzz/fuzz_targets cannot be read: {error}"))? {
        let corpus = format!("fuzz/corpus/{name}");
        std::fs::create_dir_all(root().join(&corpus)).map_err(|error| format!("{corpus} cannot be made: {error}"))?;
        println!("── {name}: {seconds} s");
        let status = Command::new("cargo")
            .args(["fuzz", "run", &name, &corpus, &format!("fuzz/seeds/{name}"), "--"])
            .args([&format!("-max_total_time={seconds}"), "-print_final_stats=1", "-max_len=4096"])
            .env("RUSTC_BOOTSTRAP", "1") // the sanitizer's flags are not stable; the compiler is the same
            .current_dir(root())
            .status()
            .map_err(|error| format!("cargo cannot be run: {error}"))?;
        if !status.success() {
            return Err(format!(
                "{name} ended with {status}; if cargo knows no `fuzz`: cargo install --locked cargo-fuzz"
            ));
        }
    }
    Ok(())
}

fn targets() -> io::Result<Vec<String>> {
    let files: Vec<PathBuf> = std::fs::read_dir(root().join("fuzz/fuzz_targets"))?
        .map(|file| file.map(|file| file.path()))
        .collect::<io::Result<_>>()?;
    let mut names: Vec<String> = files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// Builds the daemon, its plugins and the measures into one folder, then takes the measures. A smoke run is built as tests
/// are, because its figures mean nothing.
fn bench(arguments: &[&str]) -> Result<(), String> {
    let measures = root().join("bench/Cargo.toml").display().to_string();
    let folder = build_beside_daemon(arguments, &["--workspace", "--locked", "--manifest-path", &measures])?;
    run(Command::new(folder.join("broadcastd-bench")).args(arguments))
}

/// Builds the daemon, its plugins and the soak into one folder, then lets it run. A smoke run is built as tests are.
fn soak(arguments: &[&str]) -> Result<(), String> {
    let packages = ["--package", "broadcastd-plugin-faulty", "--package", "broadcastd-soak"];
    let folder = build_beside_daemon(arguments, &packages)?;
    run(Command::new(folder.join("broadcastd-soak")).args(arguments))
}

/// Builds the daemon as users build it, then what is to lie beside it in the same folder.
fn build_beside_daemon(arguments: &[&str], what: &[&str]) -> Result<PathBuf, String> {
    let is_smoke = arguments.contains(&"--smoke");
    let profile: &[&str] = if is_smoke { &[] } else { &["--release"] };
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    for packages in [&[], what] {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(root()).arg("build").args(profile).args(packages);
        run(cargo.arg("--target-dir").arg(&target))?;
    }
    Ok(target.join(if is_smoke { "debug" } else { "release" }))
}

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
