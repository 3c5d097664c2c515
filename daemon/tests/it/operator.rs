//! What operators do with the running daemon from a terminal, by the built binary on both ends.

mod connections;
mod doctor;
mod error_log;
mod log_level;
mod publish;
mod state;
mod tap;
mod token;
mod top;

use std::io::Write as _;
use std::process::Stdio;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::process::{self, Daemon, Ended};

pub fn tests() -> Vec<Trial> {
    let all = [
        publish::tests(),
        tap::tests(),
        log_level::tests(),
        error_log::tests(),
        token::tests(),
        state::tests(),
        connections::tests(),
        doctor::tests(),
        top::tests(),
    ];
    all.into_iter().flatten().collect()
}

fn run(daemon: &Daemon, arguments: &[&str]) -> Ended {
    process::run(daemon.folder.path(), arguments, &[])
}

/// The same with this as standard input.
fn run_with(daemon: &Daemon, arguments: &[&str], input: &str) -> Ended {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let output = command(daemon, arguments).stdin(Stdio::from(file)).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn command(daemon: &Daemon, arguments: &[&str]) -> std::process::Command {
    let mut command = process::command(daemon.folder.path(), &[]);
    command.args(arguments);
    command
}

/// What a command prints that succeeds.
fn printed(daemon: &Daemon, arguments: &[&str]) -> String {
    let ended = run(daemon, arguments);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}: {}", ended.stdout);
    ended.stdout
}

/// The JSON texts on the lines of something.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}
