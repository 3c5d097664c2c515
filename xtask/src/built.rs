//! Programs that run the daemon as it is built: each is built with it into one folder, then run.

use std::process::Command;

use super::package::target;
use super::{root, run};

/// What a run that must only work is asked for; it is built as tests are, because its figures mean nothing.
const SMOKE: &[&str] = &["--smoke", "--quick"];

/// Builds the daemon, its plugins and the measures, then takes the measures.
pub fn bench(arguments: &[&str]) -> Result<(), String> {
    if let ["fan-out", rest @ ..] = arguments {
        return fan_out(rest);
    }
    if let ["guard", rest @ ..] = arguments {
        return guard(rest);
    }
    let measures = root().join("bench/Cargo.toml").display().to_string();
    let builds: [&[&str]; 2] = [&[], &["--workspace", "--locked", "--manifest-path", &measures]];
    build_and_run("broadcastd-bench", &builds, arguments)
}

/// Builds what is counted, and compares it with what is recorded.
fn guard(arguments: &[&str]) -> Result<(), String> {
    let measures = root().join("bench/Cargo.toml").display().to_string();
    let packages = ["--package", "broadcastd-bench", "--package", "broadcastd-bench-plugin"];
    let build = [&packages[..], &["--locked", "--manifest-path", &measures]].concat();
    build_and_run("bench-guard", &[&build], arguments)
}

/// Brings the servers of others, builds the daemon, its plugins and our own, then puts all to the same work.
fn fan_out(arguments: &[&str]) -> Result<(), String> {
    if !arguments.iter().any(|argument| SMOKE.contains(argument) || ["--render", "--help"].contains(argument)) {
        // What cannot be had has said so, and its rows in the tables say that it failed.
        _ = run(Command::new(root().join("bench/fan-out/fetch")).arg(target().join("peers")));
    }
    let measures = root().join("bench/Cargo.toml").display().to_string();
    let builds: [&[&str]; 2] = [&[], &["--package", "broadcastd-fan-out", "--locked", "--manifest-path", &measures]];
    build_and_run("bench-fan-out", &builds, arguments)
}

/// Builds the daemon, its plugins and the soak, then lets it run.
pub fn soak(arguments: &[&str]) -> Result<(), String> {
    // Apart from the others, so that the daemon is built as users build it.
    let builds: [&[&str]; 2] = [&[], &["--package", "broadcastd-plugin-faulty", "--package", "broadcastd-soak"]];
    build_and_run("broadcastd-soak", &builds, arguments)
}

fn build_and_run(program: &str, builds: &[&[&str]], arguments: &[&str]) -> Result<(), String> {
    let (profile, folder): (&[&str], _) = if arguments.iter().any(|argument| SMOKE.contains(argument)) {
        (&[], "debug")
    } else {
        (&["--release"], "release")
    };
    let target = target();
    for what in builds {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        run(cargo.current_dir(root()).arg("build").args(profile).args(*what).arg("--target-dir").arg(&target))?;
    }
    run(Command::new(target.join(folder).join(program)).args(arguments))
}
