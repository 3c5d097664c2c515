//! Builds the daemon, its plugins and the soak into one folder, then lets it run.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// A smoke run is built as tests are, because nothing is measured.
pub fn run(arguments: &[String]) -> ExitCode {
    let is_smoke = arguments.iter().any(|argument| argument == "--smoke");
    let profile: &[&str] = if is_smoke { &[] } else { &["--release"] };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    // Apart from the others, so that the daemon is built as users build it.
    for packages in [&[][..], &["--package", "broadcastd-plugin-faulty", "--package", "broadcastd-soak"]] {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&root).arg("build").args(profile).args(packages).arg("--target-dir").arg(&target);
        if !succeeds(&mut cargo) {
            return ExitCode::FAILURE;
        }
    }
    let folder = target.join(if is_smoke { "debug" } else { "release" });
    if succeeds(Command::new(folder.join("broadcastd-soak")).args(arguments)) {
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
