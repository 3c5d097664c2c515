//! Chores of this repository; users need none of them.

use std::path::Path;
use std::process::ExitCode;

use broadcastd::config::{SCHEMA, reference};
use broadcastd::metrics;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("docs") => docs(),
        _ => {
            eprintln!("cargo xtask docs    writes docs/config.md and docs/metrics.md");
            ExitCode::from(64)
        }
    }
}

/// Writes the documents that are made from the code; a test compares them with what is committed.
fn docs() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for (name, text) in [("config.md", reference::markdown(&SCHEMA)), ("metrics.md", metrics::reference())] {
        if let Err(error) = std::fs::write(folder.join(name), text) {
            eprintln!("docs/{name} cannot be written: {error}");
            return ExitCode::FAILURE;
        }
        println!("docs/{name}");
    }
    ExitCode::SUCCESS
}
